"""What a sweep trains: an experiment has cells, a cell has arms, an arm has a grid of settings to be tuned over.

No torch here: `--help` lists the experiments at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from theory.common.checks import choose
from toy.config import ARMS, Config
from toy.config import Arm as Setting
from toy.jobs.job import Job

RATES = (5e-4, 2e-3, 8e-3, 3.2e-2)
TUNING = 10_000  # the first seed of tuning; comparisons use 0, 1, ...
JUDGED = {"off_manifold": "lower", "mean_distance": "lower", "coverage": "higher", "total_variation": "lower"}


@dataclass(frozen=True)
class Arm:
    """One way to train, at its own best of `rates` times `weights`.

    What only the score term reads (its interval, k, ...) belongs into `overrides`, not into the cell: the plain GAN is
    then the same job in all cells, and trained once.

    Raises:
        ValueError: an unknown base; nothing to try; gan with a weight, another base with 0.
    """

    label: str
    base: str = "gan"
    """gan, smart or smart-decoupled."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Config that differ from the cell's."""
    weights: Sequence[float] = (0.0,)
    """The lambdas to try."""
    rates: Sequence[float] = RATES
    """The learning rates to try."""

    def __post_init__(self) -> None:
        choose(self.base, ARMS, "base")
        if not self.rates or not self.weights or (self.base == "gan") != (tuple(self.weights) == (0,)):
            raise ValueError(
                f"arm {self.label} needs rates and weights, of gan (0,), else above 0; "
                f"given {self.base}, rates {tuple(self.rates)}, weights {tuple(self.weights)}"
            )

    def settings(self) -> list[Setting]:
        """The grid, the learning rates in turn."""
        return [Setting(lr, weight) for lr in self.rates for weight in self.weights]


@dataclass(frozen=True)
class Cell:
    """One place of the table.

    Raises:
        ValueError: two arms have one label.
    """

    name: str
    keys: Mapping[str, Any]
    """Columns of the table: what sets this cell apart from the others."""
    config: Config
    arms: Sequence[Arm]

    def __post_init__(self) -> None:
        labels = [arm.label for arm in self.arms]
        if len(set(labels)) < len(labels):
            raise ValueError(f"cell {self.name} needs arms of different labels; given {', '.join(labels)}")


@dataclass(frozen=True)
class Experiment:
    """A question and the cells that answer it."""

    name: str
    question: str
    """One line, for --help."""
    cells: Callable[[bool], Sequence[Cell]]
    """cells(quick)."""
    metrics: Mapping[str, str] = field(default_factory=lambda: JUDGED)
    """The metrics that are judged -> which direction is better, lower or higher."""
    baseline: str = "gan"
    """The label of the arm that each cell's others are compared with."""
    measure: str | None = None
    """"module:function" of (config, samples [s n d]) -> {metric: [s]}, called in the worker after a comparison."""


@dataclass(frozen=True)
class Task:
    """A job, and what is measured when it is done."""

    job: Job
    measure: str | None = None


@dataclass(frozen=True)
class Entry:
    """One arm of one cell of an experiment: a row of the table."""

    experiment: Experiment
    cell: Cell
    arm: Arm

    @property
    def name(self) -> str:
        return f"{self.experiment.name}: {self.cell.name}: {self.arm.label}"

    @property
    def config(self) -> Config:
        """The cell's configuration as the arm changes it, but for the setting and the seeds."""
        return dataclasses.replace(self.cell.config, **self.arm.overrides, arms=(self.arm.base,))

    def check(self) -> None:
        """ValueError where what sets the cell or the arm apart decides nothing beside their other options."""
        for name, why in self.config.without_effect().items():
            value = getattr(self.config, name)
            if name in self.cell.keys or value != getattr(self.cell.config, name):
                raise ValueError(f"{self.name}: {name} has no effect: {why}; given {value}")

    def grid(self, seeds: int) -> list[Task]:
        """Trains every setting of the grid; nothing where there is nothing to choose."""
        settings = self.arm.settings()
        return [task for setting in settings for task in self.tuning(setting, seeds)] if len(settings) > 1 else []

    def tuning(self, setting: Setting, seeds: int) -> list[Task]:
        """Trains one setting of the grid on seeds that no comparison uses."""
        return self._tasks(setting, TUNING, seeds, None)

    def comparison(self, setting: Setting, seeds: int) -> list[Task]:
        """Trains the chosen setting, on the seeds of the comparison."""
        return self._tasks(setting, 0, seeds, self.experiment.measure)

    def _tasks(self, setting: Setting, first_seed: int, seeds: int, measure: str | None) -> list[Task]:
        name = self.arm.base.replace("-", "_")
        changes: dict[str, Any] = {"seeds": seeds, "first_seed": first_seed, name: setting}
        config = dataclasses.replace(self.config, eval_every=self.config.steps, **changes)
        return [Task(Job(config, self.arm.base, group), measure) for group in config.seed_groups()]


def entries(experiment: Experiment, quick: bool) -> list[Entry]:
    """All rows of an experiment, in the order of its table.

    Raises:
        ValueError: two cells have one name, one lacks the baseline, or an option decides nothing beside the others.
    """
    cells = experiment.cells(quick)
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"{experiment.name} needs cells of different names; given {', '.join(names)}")
    for cell in cells:
        if experiment.baseline not in [arm.label for arm in cell.arms]:
            raise ValueError(f"{experiment.name}: cell {cell.name} lacks the baseline arm {experiment.baseline}")
    found = [Entry(experiment, cell, arm) for cell in cells for arm in cell.arms]
    for entry in found:
        entry.check()
    return found
