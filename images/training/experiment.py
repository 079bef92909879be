"""Arms and seeds of a recipe: trained, compared, drawn, stored.

DIR/config.json, metrics.csv (arm, seed, step, metric, value), summary.json, samples.npz, run.json (command, date,
versions, cost); figure.png (curves), samples.png, interpolation.png, neighbours.png; DIR/ARM-SEED/checkpoint.pt and the
one before it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from images import comparison
from images.metrics.during_training import measures
from images.recipes import Recipe, as_dict
from images.training.inputs import real_images, score_model
from images.training.parallel import World
from images.training.progress import places
from images.training.run import SHOWN, Job, Result, run, trainer_of
from theory.common.files import replacing
from theory.common.provenance import origin


@dataclass(frozen=True)
class Experiment:
    """All runs of a recipe in a directory."""

    recipe: Recipe
    directory: Path
    world: World
    device: str
    processes: int
    cache: Path
    data: Path | None = None
    score: Path | None = None

    def jobs(self) -> list[Job]:
        """The arms in turn, so that processes share them evenly."""
        recipe = self.recipe
        seeds = range(recipe.first_seed, recipe.first_seed + recipe.seeds)
        known = self.directory, self.cache, self.data, self.score, self.device
        return [Job(recipe, coupling, seed, *known) for seed in seeds for coupling in recipe.couplings]

    def begin(self, overwrite: bool) -> None:
        """Checks what the runs need, trains what score model is wanted, and writes config.json.

        Raises:
            ValueError, OSError: as `real_images`, `score_model`, and the networks.
        """
        if self.world.leads:
            start = time.monotonic()
            data = real_images(self.recipe, self.data, self.cache)
            if self.recipe.couplings != ("none",):
                score_model(self.recipe, data, self.score, self.cache, self.device)
                self.say(f"score model ready ({time.monotonic() - start:.0f} s)")
        self.world.wait()
        trainer_of(self.jobs()[-1], self.world)  # raises here what would be raised in every process
        if self.world.leads:
            self.directory.mkdir(parents=True, exist_ok=True)
            if overwrite:
                for job in self.jobs():
                    shutil.rmtree(job.checkpoint.parent, ignore_errors=True)
            with replacing(self.directory / "config.json") as file:
                file.write((json.dumps(as_dict(self.recipe), indent=2) + "\n").encode())
        self.world.wait()

    def run(self) -> None:
        """Trains and compares. Raises what a run raises; ValueError: a process was killed."""
        start = time.monotonic()
        results = self.trained()
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
        found = comparison.summary(table) | {"real": measures(self.recipe, self.cache).real}
        with replacing(self.directory / "metrics.csv") as file:
            file.write(table.to_csv(index=False, float_format="%.6g").encode())
        for name, content in (
            ("summary.json", found),
            ("run.json", origin(" ".join(["python -m images.train", *sys.argv[1:]])) | {"cost": cost}),
        ):
            with replacing(self.directory / name) as file:
                file.write((json.dumps(content, indent=2) + "\n").encode())
        with replacing(self.directory / "samples.npz") as file:
            arrays = {r.job.name: r.samples for r in results}
            arrays |= {f"interpolation-{r.job.name}": r.interpolation for r in results}
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        self.draw(table, found["real"], results)
        self.print(found)

    def trained(self) -> list[Result]:
        """The results of all jobs: side by side on a CPU, one after the other where a job has all processes."""
        jobs = self.jobs()
        with places([job.name for job in jobs], self.recipe.steps, self.world.leads) as reports:
            if self.world.size > 1 or self.device != "cpu" or self.processes == 1:
                return [run(job, self.world, report) for job, report in zip(jobs, reports, strict=True)]
            import joblib

            tasks = (joblib.delayed(run)(job, None, report) for job, report in zip(jobs, reports, strict=True))
            try:
                return joblib.Parallel(n_jobs=self.processes)(tasks)
            except BrokenProcessPool:
                raise OSError(
                    "a process was killed (out of memory?); --resume continues from the last checkpoints"
                ) from None

    def say(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(text)

    def draw(self, table: pd.DataFrame, reference: dict[str, float], results: list[Result]) -> None:
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
        pictures.save(pictures.curves(table, reference, recipe.batch), path / "figure.png")
        held_out = held_out_images(recipe)
        found = {k: r.samples for k, r in first.items()}
        pictures.save(pictures.neighbours(found, real, held_out), path / "neighbours.png")

    def print(self, found: dict[str, Any]) -> None:
        """A table: means over seeds with intervals, real images, and paired differences to the first arm."""
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=1000)  # a row of the table is a line
        arms, comparisons = found["arms"], found["comparisons"]
        recipe = self.recipe
        many = f"mean over {recipe.seeds} seeds [95 % interval]" if recipe.seeds > 1 else "one seed: no intervals"
        console.print(f"{recipe.recipe}: {recipe.steps} steps of {recipe.batch}; {many}")
        metrics = [m for m in next(iter(arms.values())) if m not in ("d_loss", "g_loss", "r1", "r2")]
        table = Table("", *arms, "real", box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
        for metric in metrics:
            real = f"{found['real'][metric]:.3g}" if metric in found["real"] else ""
            table.add_row(metric.replace("_", " "), *(text(arms[arm].get(metric), "mean") for arm in arms), real)
        console.print(table, soft_wrap=not console.is_terminal)
        first, *others = arms
        if others:
            console.print("paired differences [95 % interval]")
            pairs = [f"{arm} - {first}" for arm in others]
            table = Table("", *pairs, box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
            for metric in metrics:
                cells = comparisons.get(metric, {})
                table.add_row(metric.replace("_", " "), *(text(cells.get(pair), "difference") for pair in pairs))
            console.print(table, soft_wrap=not console.is_terminal)
        console.print(f"written to {self.directory}", soft_wrap=True)


def text(value: dict | None, mean: str) -> str:
    if value is None:
        return ""
    ends = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
    return f"{value[mean]:.3g}{ends}"


def arranged(x: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """A row a class, at most SHOWN of them.   [n, c, h, w] -> [rows, SHOWN, c, h, w]"""
    if labels is None:
        return x[: SHOWN * SHOWN].reshape(SHOWN, SHOWN, *x.shape[1:])
    rows = [x[labels == label][:SHOWN] for label in range(min(SHOWN, labels.max() + 1))]
    return np.stack([row for row in rows if len(row) == SHOWN])


def held_out_images(recipe: Recipe) -> np.ndarray | None:
    """Real digits that nothing was trained on; None where a recipe has none."""
    if recipe.source != "digits":
        return None
    from images.datasets.dataset import to_float
    from images.metrics.features import digits

    return to_float(digits("test").batch(torch.arange(len(digits("test"))))[0]).numpy()
