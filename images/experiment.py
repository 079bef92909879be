"""Arms and seeds of a recipe: trained, compared, drawn, stored.

DIR/config.json, metrics.csv (arm, seed, step, metric, value), summary.json, samples.npz; figure.png (curves and last
values), samples.png, interpolation.png, neighbours.png; DIR/ARM-SEED/checkpoint.pt and the one before it.
"""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from images import comparison
from images.files import replacing
from images.inputs import real_images, score_model
from images.parallel import World
from images.recipes import Recipe, as_dict
from images.runs import SHOWN, Job, Result, in_process, run, trainer_of

CURVES = ("d_loss", "g_loss", "score_loss", "frechet_distance", "precision", "recall")


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
        results = self.trained()
        if not self.world.leads:
            return
        table = pd.DataFrame(
            [
                {"arm": r.job.coupling, "seed": r.job.seed, "step": step, "metric": metric, "value": value}
                for r in results
                for step, metric, value in r.records
            ]
        )
        found = comparison.summary(table)
        with replacing(self.directory / "metrics.csv") as file:
            file.write(table.to_csv(index=False, float_format="%.6g").encode())
        with replacing(self.directory / "summary.json") as file:
            file.write((json.dumps(found, indent=2) + "\n").encode())
        with replacing(self.directory / "samples.npz") as file:
            np.savez_compressed(file, **{r.job.name: r.samples for r in results})  # type: ignore[arg-type]
        self.draw(table, results)
        self.print(found, results)

    def trained(self) -> list[Result]:
        """The results of all jobs: side by side on a CPU, one after the other where a job has all processes."""
        jobs = self.jobs()
        if self.world.size > 1 or self.device != "cpu" or self.processes == 1:
            return [run(job, self.world, self.progress) for job in jobs]
        import joblib

        results: list[Result] = []
        try:
            for result in joblib.Parallel(n_jobs=self.processes, return_as="generator")(
                joblib.delayed(in_process)(job) for job in jobs
            ):
                results.append(result)
                self.say(f"{len(results)} of {len(jobs)} runs done: {result.job.name}, {result.seconds:.0f} s of CPU")
        except BrokenProcessPool:
            raise OSError(
                "a process was killed (out of memory?); --resume continues from the last checkpoints"
            ) from None
        return results

    def progress(self, job: Job, step: int) -> None:
        if step % self.recipe.evaluate_every == 0 and self.world.leads:
            self.say(f"{job.name}: step {step} of {self.recipe.steps}")

    def say(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(text)

    def draw(self, table: pd.DataFrame, results: list[Result]) -> None:
        from images import pictures

        recipe, path = self.recipe, self.directory
        first = {r.job.coupling: r for r in results if r.job.seed == recipe.first_seed}
        data = real_images(recipe, self.data, self.cache)
        images, classes = data.take(torch.arange(min(len(data), 4096)))
        real, labels = images.numpy(), None if classes is None else classes.numpy()
        rows = {"real": arranged(real, labels)} | {k: arranged(r.samples, r.labels) for k, r in first.items()}
        title = f"{recipe.recipe}, seed {recipe.first_seed}, averaged generators, not selected"
        pictures.save(pictures.grids(rows, title), path / "samples.png")
        between = {k: r.interpolation for k, r in first.items()}
        pictures.save(pictures.grids(between, "from latent to latent along a great circle"), path / "interpolation.png")
        pictures.save(pictures.curves(table, CURVES, recipe.batch), path / "figure.png")
        held_out = held_out_images(recipe)
        found = {k: r.samples for k, r in first.items()}
        pictures.save(pictures.neighbours(found, real, held_out), path / "neighbours.png")

    def print(self, found: dict, results: list[Result]) -> None:
        """A table: means over seeds with intervals, and paired differences to the first arm."""
        console = Console(highlight=False)
        arms, comparisons = found["arms"], found["comparisons"]
        recipe = self.recipe
        console.print(
            f"{recipe.recipe}: {recipe.steps} steps of {recipe.batch}; mean over {recipe.seeds} seeds [95 % interval]"
        )
        metrics = [m for m in next(iter(arms.values())) if m not in ("d_loss", "g_loss", "r1", "r2")]
        table = Table("", *arms, box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
        for metric in metrics:
            table.add_row(metric.replace("_", " "), *(text(arms[arm].get(metric), "mean") for arm in arms))
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
    if recipe.recipe != "digits":
        return None
    from images.dataset import to_float
    from images.features import digits

    return to_float(digits("test").batch(torch.arange(len(digits("test"))))[0]).numpy()
