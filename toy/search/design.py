"""What is searched and compared: an experiment has cells, a cell has arms, each at its own best setting.

An arm is a coupling and the options in which it differs from its cell. Two questions are kept apart: *in this game*,
where the discriminator's side is the cell's, and *after all tuning*, where each arm searches that side too. No torch
here: `--help` lists the experiments at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from theory.common.checks import choose
from toy.config import ARMS, BOUND, Config, field_of
from toy.config import Arm as Setting
from toy.search.space import RANGES, Range
from toy.sweep.design import OF_CONFIG, OF_SETTING, text

D_SIDE = ("d_lr", "gamma")  # the discriminator's side of a setting
JUDGED = {"kl": "lower", "w2": "lower", "off_manifold": "lower", "total_variation_on": "lower"}
FAR = 1_000_000  # between the seeds of one search and those of another


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Raises:
        ValueError: an unknown coupling or option.
    """

    coupling: str = "gan"
    """One of the arms of `toy.config`."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the cell's. Those of a setting (lr, weight, ...) are then not searched."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "coupling", choose(self.coupling, ARMS, "coupling"))
        for name in self.overrides:
            choose(name, (*OF_CONFIG, *OF_SETTING), "option")

    @property
    def text(self) -> str:
        """The arm in words: "summed, every 8"."""
        return text({"arm": self.coupling, **self.overrides})


@dataclass(frozen=True)
class Cell:
    """One place of the table."""

    name: str
    keys: Mapping[str, Any]
    """Columns of the table: what sets this cell apart from the others."""
    config: Config
    arms: Sequence[Arm]
    tuned: bool = True
    """Whether each arm searches the discriminator's side too; else it is the cell's: `in this game`."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Ranges that differ from the usual ones."""

    def longer(self, times: int) -> Cell:
        """This cell with that many times the steps; the schedule is as long as the run."""
        config = dataclasses.replace(self.config, steps=times * self.config.steps)
        return dataclasses.replace(
            self, name=f"{self.name}, x{times}", keys={**self.keys, "times": times}, config=config
        )


@dataclass(frozen=True)
class Experiment:
    """A question and the cells that answer it; the first arm of a cell is the one that the others are compared with."""

    name: str
    question: str
    """One line, for --help."""
    cells: Callable[[], Sequence[Cell]]
    times: Sequence[int] = (1, 3, 10)
    """Lengths of the runs, in multiples of the cells' steps."""
    metrics: Mapping[str, str] = field(default_factory=lambda: JUDGED)
    """The metrics that are judged -> which direction is better, lower or higher."""
    fewer: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Length -> the arms that such runs have, where not all."""

    def longer(self, cell: Cell, times: int) -> Cell:
        """A cell at one of the lengths, with the arms that it has there."""
        kept = self.fewer.get(times)
        arms = [arm for arm in cell.arms if kept is None or arm.text in kept]
        return dataclasses.replace(cell.longer(times), arms=arms)


@dataclass(frozen=True)
class Entry:
    """One arm of one cell of an experiment: a row of the table."""

    experiment: Experiment
    cell: Cell
    arm: Arm

    @property
    def name(self) -> str:
        return f"{self.experiment.name}: {self.cell.name}: {self.arm.text}"

    @property
    def config(self) -> Config:
        """The cell's configuration as the arm changes it, but for the setting and the seeds."""
        changes = {name: value for name, value in self.arm.overrides.items() if name in OF_CONFIG}
        config = dataclasses.replace(self.cell.config, **changes, arms=(self.arm.coupling,))
        return dataclasses.replace(config, eval_every=config.steps)

    @property
    def ranges(self) -> dict[str, Range]:
        """Where each searched option of its setting is looked for."""
        idle = self.config.without_effect()
        named = field_of(self.arm.coupling)
        found = {}
        for name, usual in RANGES.items():
            absent = name == "weight" and self.arm.coupling == "gan"
            given = name in self.arm.overrides or (name in D_SIDE and not self.cell.tuned)
            if not absent and not given and f"{named}.{name}" not in idle:
                found[name] = self.cell.ranges.get(name, usual)
        return found

    def setting(self, values: Mapping[str, float]) -> Setting:
        """The setting of these searched values and the arm's own."""
        fixed = {name: value for name, value in self.arm.overrides.items() if name in OF_SETTING}
        bound = BOUND if self.arm.coupling == "bounded" else None
        return Setting(**{"lr": 1e-3, "bound": bound, **values, **fixed})

    def check(self) -> None:
        """ValueError where what sets the cell or the arm apart decides nothing beside their other options."""
        for name, why in self.config.without_effect().items():
            value, usual = map(attrgetter(name), (self.config, self.cell.config))
            if name in self.cell.keys or value != usual:
                raise ValueError(f"{self.name}: {name} has no effect: {why}; given {value}")


def entries(experiment: Experiment, times: Sequence[int] = (), only: Sequence[str] = ()) -> list[Entry]:
    """All rows of an experiment, in the order of its table.

    Args:
        times: the lengths that are wanted; all of the experiment's if there are none.
        only: the names of the cells that are wanted, without their lengths; all if there are none.

    Raises:
        ValueError: two cells have one name, or an option decides nothing beside the others; no such cell
            or length.
    """
    cells = list(experiment.cells())
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"{experiment.name} needs cells of different names; given {', '.join(names)}")
    wanted = [choose(name, names, "cell") for name in only] or names
    if unknown := [n for n in times if n not in experiment.times]:
        raise ValueError(f"times must be of {', '.join(map(str, experiment.times))}; given {unknown[0]}")
    lengths = [n for n in experiment.times if not times or n in times]
    longer = [experiment.longer(cell, n) for n in lengths for cell in cells if cell.name in wanted]
    found = [Entry(experiment, cell, arm) for cell in longer for arm in cell.arms]
    for entry in found:
        entry.check()
    return found
