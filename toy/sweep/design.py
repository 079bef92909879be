"""What a sweep trains: an experiment has cells, a cell has arms, an arm has a grid of settings to be tuned over.

An arm is a coupling and the options in which it differs from its cell. In a table they are columns: arm, and one for
each option in which arms of the experiment differ. No torch here: `--help` lists the experiments at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

from theory.common.checks import choose
from toy.config import ARMS, BOUND, Config, field_of
from toy.config import Arm as Setting
from toy.jobs.job import Job

RATES = (5e-4, 2e-3, 8e-3, 3.2e-2)
TUNING = 10_000  # the first seed of tuning; comparisons use 0, 1, ...
JUDGED = {"off_manifold": "lower", "mean_distance": "lower", "coverage": "higher", "total_variation": "lower"}
SHORT = {"off_manifold": "off", "mean_distance": "distance", "total_variation": "TV", "w2": "W2"}  # headings of tables
OF_SETTING = tuple(option.name for option in dataclasses.fields(Setting))
OF_CONFIG = tuple(option.name for option in dataclasses.fields(Config) if option.name not in map(field_of, ARMS))


def text(columns: Mapping[str, Any]) -> str:
    """An arm in words, "summed, every 8", from the column arm and those of options."""
    return ", ".join(said(value) if name == "arm" else f"{name} {said(value)}" for name, value in columns.items())


def said(value: object) -> str:
    """A value of an option in words; "none" for None, and for NaN, as which a table holds it."""
    if value is None or value != value:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


@lru_cache
def default(option: str) -> Any:
    """The value of an option in a plain configuration."""
    return getattr(Config() if option in OF_CONFIG else Setting(1.0), option)


@dataclass(frozen=True)
class Arm:
    """One way to train, at its own best of `rates` times `weights`.

    What only the score term reads (its interval, k, ...) belongs into `overrides`, not into the cell: the plain GAN is
    then the same job in all cells, and trained once.

    Raises:
        ValueError: an unknown coupling or option; nothing to try; gan with a weight, another coupling with 0.
    """

    coupling: str = "gan"
    """One of the arms of `toy.config`."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the cell's. Those of a setting (lr, weight, bound) are then not tuned."""
    weights: Sequence[float] = (0.0,)
    """The lambdas to try."""
    rates: Sequence[float] = RATES
    """The learning rates to try."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "coupling", choose(self.coupling, ARMS, "coupling"))
        for name in self.overrides:
            choose(name, (*OF_CONFIG, *OF_SETTING), "option")
        weights = [setting.weight for setting in self.settings()]
        if not weights or any((weight > 0) == (self.coupling == "gan") for weight in weights):
            raise ValueError(
                f"arm {self.text} needs rates and weights, of gan (0,), else above 0; "
                f"given rates {tuple(self.rates)}, weights {tuple(self.weights)}"
            )

    @property
    def text(self) -> str:
        return text({"arm": self.coupling, **self.overrides})

    def settings(self) -> list[Setting]:
        """The grid, the learning rates in turn."""
        fixed = {name: value for name, value in self.overrides.items() if name in OF_SETTING}
        plain = (Setting(lr, weight, self.bound) for lr in self.rates for weight in self.weights)
        return list(dict.fromkeys(dataclasses.replace(setting, **fixed) for setting in plain))

    @property
    def bound(self) -> float | None:
        """The bound that belongs to the coupling."""
        return BOUND if self.coupling == "bounded" else None

    def value(self, option: str, config: Config) -> Any:
        """The value of an option in a cell of this configuration; None where it is tuned."""
        if option in self.overrides:
            return self.overrides[option]
        return self.bound if option == "bound" else getattr(config, option, None)


@dataclass(frozen=True)
class Cell:
    """One place of the table.

    Raises:
        ValueError: two arms have the same coupling and options.
    """

    name: str
    keys: Mapping[str, Any]
    """Columns of the table: what sets this cell apart from the others."""
    config: Config
    arms: Sequence[Arm]

    def __post_init__(self) -> None:
        rows = [self.columns(arm, options_of([self])) for arm in self.arms]
        for place, row in enumerate(rows):
            if row in rows[:place]:
                raise ValueError(f"cell {self.name} needs arms that differ; it has two of {self.arms[place].text}")

    def columns(self, arm: Arm, options: Sequence[str]) -> dict[str, Any]:
        """arm, and the value of each option: what identifies the arm in this cell."""
        return {"arm": arm.coupling} | {option: arm.value(option, self.config) for option in options}


def options_of(cells: Sequence[Cell]) -> list[str]:
    """The options in which arms of these cells differ."""
    return list(dict.fromkeys(name for cell in cells for arm in cell.arms for name in arm.overrides))


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
    baseline: Mapping[str, Any] = field(default_factory=lambda: {"arm": "gan"})
    """The values of the columns that identify, in each cell, the arm that the others are compared with."""
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
    options: Sequence[str] = ()
    """The options in which arms of the experiment differ."""

    @property
    def name(self) -> str:
        return f"{self.experiment.name}: {self.cell.name}: {self.arm.text}"

    @property
    def columns(self) -> dict[str, Any]:
        return self.cell.columns(self.arm, self.options)

    @property
    def config(self) -> Config:
        """The cell's configuration as the arm changes it, but for the setting and the seeds."""
        changes = {name: value for name, value in self.arm.overrides.items() if name in OF_CONFIG}
        return dataclasses.replace(self.cell.config, **changes, arms=(self.arm.coupling,))

    def check(self) -> None:
        """ValueError where what sets the cell or the arm apart decides nothing beside their other options."""
        for name, why in self.config.without_effect().items():
            value, usual = map(attrgetter(name), (self.config, self.cell.config))
            if name in self.cell.keys or value != usual:
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
        changes: dict[str, Any] = {"seeds": seeds, "first_seed": first_seed, self.arm.coupling: setting}
        config = dataclasses.replace(self.config, eval_every=self.config.steps, **changes)
        return [Task(Job(config, self.arm.coupling, group), measure) for group in config.seed_groups()]


def entries(experiment: Experiment, quick: bool) -> list[Entry]:
    """All rows of an experiment, in the order of its table.

    Raises:
        ValueError: two cells have one name, one has not one baseline, or an option decides nothing beside the others.
    """
    cells = experiment.cells(quick)
    names, options = [cell.name for cell in cells], options_of(cells)
    if len(set(names)) < len(names):
        raise ValueError(f"{experiment.name} needs cells of different names; given {', '.join(names)}")
    found = [Entry(experiment, cell, arm, options) for cell in cells for arm in cell.arms]
    for entry in found:
        entry.check()
    for name in names:
        rows = [entry.columns.items() for entry in found if entry.cell.name == name]
        if sum(experiment.baseline.items() <= row for row in rows) != 1:
            raise ValueError(f"{experiment.name}: cell {name} needs one arm {text(experiment.baseline)}, the baseline")
    return found
