"""An experiment: all arms and seeds of a recipe, trained, compared, drawn and stored in a directory.

DIR/config.json, metrics.csv (arm, seed, step, metric, value), summary.json, samples.npz, run.json (command, date,
versions, cost); figure.png (curves), samples.png, interpolation.png, neighbours.png; DIR/ARM-SEED/checkpoint.pt and the
one before it.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.box import SIMPLE
from rich.table import Table

from images.generators.families import networks_of
from images.metrics.during_training import measures
from images.recipes import CLASSIFIED, Recipe, as_dict
from images.training.inputs import real_images, score_model
from images.training.parallel import World
from images.training.progress import Place, places
from images.training.run import SHOWN, Job, Result, result_of, trainer_of
from images.training.speed import SLOW, Speed
from theory.common import signals
from theory.common.errors import Stopped
from theory.common.files import clear_partials, held, replacing, write_json, write_table
from theory.common.logs import Log, close
from theory.common.logs import Table as Growing
from theory.common.parts import is_own
from theory.common.processes import children, clear_shared_memory, started
from theory.common.provenance import origin
from theory.common.seeds import one_thread
from theory.common.statistics import summary
from theory.common.terminal import console

PLACES = ".places"  # and the rank: the file of a process and its workers, see `images.training.progress`


@dataclass(frozen=True)
class Experiment:
    """All runs of a recipe in a directory."""

    recipe: Recipe
    directory: Path
    world: World
    device: str
    processes: int
    cache: Path
    command: str
    """That trains it; stored beside the results."""
    data: Path | None = None
    workers: int = 0
    """Processes of each run that read images of an archive ahead."""
    speed: Speed = SLOW

    def jobs(self) -> list[Job]:
        """The arms in turn, so that processes share them evenly."""
        recipe = self.recipe
        seeds = range(recipe.first_seed, recipe.first_seed + recipe.seeds)
        known = self.directory, self.cache, self.data, self.device, self.workers, self.speed
        return [Job(recipe, coupling, seed, *known) for seed in seeds for coupling in recipe.couplings]

    def begin(self, overwrite: bool, stack: ExitStack) -> None:
        """Checks data, networks and score model, trains a small score model if one is needed, writes config.json.

        Args:
            stack: until it ends the directory is this process's.

        Raises:
            ValueError, OSError: as `real_images`, `score_model`, and the networks. UsageError: the directory is in use.
        """
        if self.world.leads:
            start = time.monotonic()
            if is_own(self.recipe.generator):
                networks_of(self.recipe)  # its errors come before a score model is trained
            data = real_images(self.recipe, self.data, self.cache)
            if self.recipe.couplings != ("gan",):
                score_model(self.recipe, data, self.cache, self.device, self.data)
                console(stderr=True).print(f"score model ready ({time.monotonic() - start:.0f} s)")
            if self.recipe.source in CLASSIFIED:
                measures(self.recipe, self.cache, None if self.data is None else data)  # trains what it judges with
        self.world.wait()
        trainer_of(self.jobs()[-1], self.world)  # its errors come here, before any process starts
        if self.world.leads:
            self.directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(self.directory))
            self.clear_leftovers()
            if overwrite:
                for job in self.jobs():
                    shutil.rmtree(job.checkpoint.parent, ignore_errors=True)
                (self.directory / "metrics.csv").unlink(missing_ok=True)
            write_json(self.directory / "config.json", as_dict(self.recipe))
        self.world.wait()

    def clear_leftovers(self) -> None:
        """Removes what processes that were killed left in the directory, in those of the runs and in the cache."""
        for directory in (self.directory, self.cache, *(job.checkpoint.parent for job in self.jobs())):
            clear_partials(directory)
        clear_shared_memory()
        for file in self.directory.glob(f"{PLACES}.*"):
            file.unlink(missing_ok=True)

    @one_thread()
    def run(self, logs: Sequence[Log] = ()) -> None:
        """Trains and compares. On one thread, so that no number depends on how many processes there are.

        metrics.csv grows with every evaluation; the logs hear of each.

        Raises:
            As `result_of`; Stopped: it was asked to, and each run has saved; BrokenProcessPool: a process was killed.
        """
        start = time.monotonic()
        growing = Growing(self.directory / "metrics.csv")
        if self.world.leads:
            growing.begin()
        results = self.trained([growing, *logs] if self.world.leads else [])
        if not self.world.leads:
            return
        cost = {
            "cpu_seconds": round(sum(result.seconds for result in results)),
            "seconds": round(time.monotonic() - start),
            "processes": max(self.processes, self.world.size),
            "device": self.device,
        }
        table = pd.DataFrame(
            [
                {"arm": r.job.coupling, "seed": r.job.seed, "step": step, "metric": metric, "value": value}
                for r in results
                for step, metric, value in r.records
            ]
        )
        own = None if self.data is None else real_images(self.recipe, self.data, self.cache)
        found = summary(table) | {"real": measures(self.recipe, self.cache, own).real}
        write_table(self.directory / "metrics.csv", table, digits=6)
        write_json(self.directory / "summary.json", found)
        retries = {r.job.name: r.retries for r in results if r.retries}  # [diverged after step, went back to step]
        facts = {"cost": cost, "retries": retries}
        if note := getattr(getattr(own, "splits", None), "note", ""):
            facts["note"] = note
            console().print(f"note: {note}")
        write_json(self.directory / "run.json", origin(self.command) | facts)
        with replacing(self.directory / "samples.npz") as file:
            arrays = {r.job.name: r.samples for r in results}
            arrays |= {f"interpolation-{r.job.name}": r.interpolation for r in results}
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        self.draw(table, found["real"], results)
        self.print(found)

    def trained(self, logs: Sequence[Log]) -> list[Result]:
        """The results of all jobs: several at a time on a CPU, one after the other under torchrun or on CUDA."""
        jobs = self.jobs()
        asked: list[int] = []
        self.directory.mkdir(parents=True, exist_ok=True)  # where machines share no disk
        file = self.directory / f"{PLACES}.{self.world.rank}"
        with places(file, [job.name for job in jobs], self.recipe.steps, self.world.leads) as where:

            def handle(number: int, _frame: object) -> None:
                asked.append(number)
                if where[0].asked():
                    raise signals.interruption(number)
                where[0].stop()
                if self.world.size == 1:  # torchrun also ends those that are left when one is lost, which tell that
                    print("\nstopping after the step (Ctrl-C again: at once)", file=sys.stderr, flush=True)

            with signals.handled(handle):
                found = self.all_of(jobs, where, logs)
        results = [result for result in found if result is not None]
        if len(results) < len(jobs):
            stopped = Stopped("stopped")
            stopped.status = signals.status(asked[0] if asked else signal.SIGINT)
            raise stopped
        return results

    def all_of(self, jobs: Sequence[Job], where: Sequence[Place], logs: Sequence[Log]) -> list[Result | None]:
        """Of each job its result, or None where it stopped before its end."""
        if self.world.size > 1 or self.device != "cpu" or self.processes == 1:
            return [ended(job, self.world, place, logs) for job, place in zip(jobs, where, strict=True)]
        import joblib

        with started(), children():
            found = joblib.Parallel(n_jobs=self.processes, return_as="generator")(
                joblib.delayed(ended)(job, None, place, logs) for job, place in zip(jobs, where, strict=True)
            )
        return list(found)

    def draw(self, table: pd.DataFrame, reference: dict[str, float], results: list[Result]) -> None:
        """The pictures of the first seed, and the curves of all."""
        from images.training import pictures

        recipe, path = self.recipe, self.directory
        first = {r.job.coupling: r for r in results if r.job.seed == recipe.first_seed}
        data = real_images(recipe, self.data, self.cache)
        images, classes = data.take(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:4096])
        real, labels = images.numpy(), None if classes is None else classes.numpy()
        rows = {"real": arranged(real, labels)} | {k: arranged(r.samples, r.labels) for k, r in first.items()}
        title = f"{recipe.recipe}, seed {recipe.first_seed}, averaged generators, not selected"
        pictures.save(pictures.grids(rows, title), path / "samples.png")
        between = {k: r.interpolation for k, r in first.items()}
        pictures.save(pictures.grids(between, "from latent to latent along a great circle"), path / "interpolation.png")
        pictures.save(pictures.curves(table, reference, recipe.images_a_step), path / "figure.png")
        held_out = None if self.data is not None else held_out_images(recipe)
        found = {k: r.samples for k, r in first.items()}
        pictures.save(pictures.neighbours(found, real, held_out), path / "neighbours.png")

    def print(self, found: dict[str, Any]) -> None:
        """A table: means over seeds with intervals, real images, and paired differences to the first arm."""
        out = console()
        box = SIMPLE if out.is_terminal else None
        arms, comparisons = found["arms"], found["comparisons"]
        recipe = self.recipe
        many = f"mean over {recipe.seeds} seeds [95 % interval]" if recipe.seeds > 1 else "one seed: no intervals"
        out.print(f"{recipe.recipe}: {recipe.steps} steps of {recipe.images_a_step}; {many}")
        metrics = [m for m in next(iter(arms.values())) if m not in ("d_loss", "g_loss", "r1", "r2")]
        table = Table("", *arms, "real", box=box, padding=(0, 1, 0, 0))
        for metric in metrics:
            real = f"{found['real'][metric]:.3g}" if metric in found["real"] else ""
            table.add_row(metric.replace("_", " "), *(text(arms[arm].get(metric), "mean") for arm in arms), real)
        out.print(table)
        first, *others = arms
        if others:
            out.print("paired differences [95 % interval]")
            pairs = [f"{arm} - {first}" for arm in others]
            table = Table("", *pairs, box=box, padding=(0, 1, 0, 0))
            for metric in metrics:
                cells = comparisons.get(metric, {})
                table.add_row(metric.replace("_", " "), *(text(cells.get(pair), "difference") for pair in pairs))
            out.print(table)
        out.print(f"written to {self.directory}", soft_wrap=True)


def ended(job: Job, world: World | None, place: Place, logs: Sequence[Log]) -> Result | None:
    """The result; None if the job stopped before its end, as all that follow do."""
    try:
        return None if place.asked() else result_of(job, world, place, place.asked, logs)
    except Stopped:
        return None
    finally:
        close(logs)


def text(value: dict | None, mean: str) -> str:
    """A mean with its interval; empty where there is none."""
    if value is None:
        return ""
    ends = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
    return f"{value[mean]:.3g}{ends}"


def arranged(x: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """SHOWN images a row, each row of one class if there are classes; white where there are too few.

    [n, c, h, w] -> [rows, SHOWN, c, h, w]
    """

    def filled(part: np.ndarray, n: int) -> np.ndarray:
        return np.concatenate([part[:n], np.ones((max(0, n - len(part)), *x.shape[1:]), x.dtype)])

    if labels is None:
        return filled(x, SHOWN * SHOWN).reshape(SHOWN, SHOWN, *x.shape[1:])
    return np.stack([filled(x[labels == label], SHOWN) for label in range(min(SHOWN, labels.max() + 1))])


def held_out_images(recipe: Recipe) -> np.ndarray | None:
    """The digits of the test split; None for other recipes."""
    if recipe.source != "digits":
        return None
    from images.datasets.dataset import to_float
    from images.metrics.features import digits

    return to_float(digits("test").batch(torch.arange(len(digits("test"))))[0]).numpy()
