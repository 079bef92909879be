"""The tables of an experiment, which grow cell by cell: what is in them and still holds is not measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from theory.common import files
from theory.common.comparing import verdicts
from theory.common.errors import FileError, UsageError
from toy.search.cache import Outcome
from toy.search.design import Entry, Experiment
from toy.search.propose import Trial, Values, best_inside
from toy.search.runner import WHOLE, Plan, Search
from toy.search.space import Range
from toy.sweep.design import said


class NotYet(UsageError):
    """Longer runs are asked for before the shorter ones are measured."""


@dataclass
class Tables:
    """The results of an experiment.

    Attributes:
        arms: a row a cell and arm: the cell's keys, the arm's options, its best setting, the ranges searched, the
            number of trials, kl on the seeds of the final, and `key`, the hash of what decides them all.
        values: a row a cell, arm and fresh seed: every metric at the end of training.
        trials: a row a trial: its setting, the share of the steps it was trained for, and kl there.
        made: cell -> where its numbers come from (command, commit, ...).
        lost: arms that could not be compared, and why.
    """

    experiment: Experiment
    arms: pd.DataFrame = field(default_factory=pd.DataFrame)
    values: pd.DataFrame = field(default_factory=pd.DataFrame)
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    made: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, directory: Path, experiment: Experiment) -> Tables:
        """Those of a directory; empty where it has none.

        Raises:
            FileError: one of the files is missing or damaged.
        """
        stem = directory / experiment.name
        if not stem.with_suffix(".json").exists():
            return cls(experiment)
        try:
            facts = files.read_json(stem.with_suffix(".json"), "record of a search")
            if not isinstance(facts["made"], dict) or not isinstance(facts["lost"], list):
                raise ValueError("made must be an object, and lost a list")
            if not all(isinstance(line, str) for line in facts["lost"]):
                raise ValueError("lost must hold text")
            arms = table(stem.with_suffix(".arms.csv"), ("cell", "arm", "key"), ())
            values = table(stem.with_suffix(".csv"), ("cell", "arm"), None)
            trials = table(stem.with_suffix(".trials.csv"), ("cell", "arm"), None)
            check(arms, values)
            return cls(experiment, arms, values, trials, facts["made"], facts["lost"])
        except FileError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(f"{stem}.json and its tables cannot be used: {str(error)[:150]}") from None

    def starts(self, entry: Entry) -> tuple[Values, ...] | None:
        """The best settings of its arm in runs of the next shorter length; None for those of the shortest.

        Raises:
            NotYet: the shorter runs are not here.
        """
        lengths = sorted(self.experiment.times)
        name, _, times = entry.cell.name.rpartition(", x")
        if int(times) == lengths[0]:
            return None
        shorter = f"{name}, x{lengths[lengths.index(int(times)) - 1]}"
        if shorter not in self.made:
            raise NotYet(f"{entry.cell.name} begins at the best settings of {shorter}, which is not measured yet")
        (arm,) = self.rows("arms", shorter, entry) or ({},)
        names = [name for name in entry.ranges if f"{name}_low" in arm]
        ranges = {name: Range(arm[f"{name}_low"], arm[f"{name}_high"], entry.ranges[name].zero) for name in names}
        trials = [
            Trial({name: row[name] for name in entry.ranges}, row["kl"], row["share"], row["round"])
            for row in self.rows("trials", shorter, entry)
        ]
        return tuple(best_inside(trials, ranges, WHOLE.finalists))

    def rows(self, kind: Literal["arms", "trials"], cell: str, entry: Entry) -> list[dict[str, Any]]:
        """Those of an entry's arm in a cell."""
        found = getattr(self, kind)
        return [] if found.empty else found[(found.cell == cell) & (found.arm == entry.arm.text)].to_dict("records")

    def missing(self, rows: Sequence[Entry], plan: Plan) -> list[Entry]:
        """The rows of the cells that are not here whole, measured as they would be now; NotYet as of `starts`."""
        keys = {(row["cell"], row["arm"]): row["key"] for row in self.arms.to_dict("records")}
        absent = [
            row.cell.name
            for row in rows
            if keys.get((row.cell.name, row.arm.text)) != Search(row, plan, self.starts(row)).key
        ]
        return [row for row in rows if row.cell.name in absent]

    def take(self, found: Sequence[tuple[Search, Outcome | None]], facts: Mapping[str, Any]) -> list[str]:
        """Takes these in the place of what is here of their cells; returns the arms that are lost, with reasons."""
        arms, values, trials, lost = [], [], [], []
        for search, outcome in found:
            trials += trials_of(search)
            if outcome is None or outcome.failure is not None:
                failure = search.failure or (None if outcome is None else outcome.failure)
                lost.append(f"{search.entry.name}: {failure or 'every setting diverged'}")
            else:
                arms.append(arm_of(search))
                values += values_of(search, outcome)
        cells = list(dict.fromkeys(search.entry.cell.name for search, _ in found))
        for name, rows in (("arms", arms), ("values", values), ("trials", trials)):
            old = getattr(self, name)
            kept = old if old.empty else old[~old.cell.isin(cells)]
            parts = [part for part in (kept, pd.DataFrame(rows)) if len(part)]
            setattr(self, name, pd.concat(parts, ignore_index=True) if parts else pd.DataFrame())
        self.made |= {cell: dict(facts) for cell in cells}
        prefixes = tuple(f"{self.experiment.name}: {cell}: " for cell in cells)
        self.lost = [line for line in self.lost if not line.startswith(prefixes)] + lost
        return lost

    def verdicts(self) -> pd.DataFrame:
        """As `theory.common.comparing.verdicts`, over all cells that are here."""
        if self.values.empty:
            return pd.DataFrame()
        metrics = {name: way for name, way in self.experiment.metrics.items() if name in self.values}
        return verdicts(self.values.melt(["cell", "arm", "seed"], list(metrics), "metric", "value"), metrics)

    def write(self, directory: Path) -> None:
        """NAME.csv (values), NAME.arms.csv, NAME.trials.csv, NAME.verdicts.csv and NAME.json; OSError: it cannot."""
        stem = directory / self.experiment.name
        files.write_table(stem.with_suffix(".csv"), self.values, digits=4)
        files.write_table(stem.with_suffix(".arms.csv"), self.arms, digits=4)
        files.write_table(stem.with_suffix(".trials.csv"), self.trials, digits=4)
        files.write_table(stem.with_suffix(".verdicts.csv"), self.verdicts(), digits=6)
        facts = {"experiment": self.experiment.name, "question": self.experiment.question}
        files.write_json(stem.with_suffix(".json"), facts | {"made": self.made, "lost": self.lost})


def table(path: Path, text: Sequence[str], numbers: Sequence[str] | None) -> pd.DataFrame:
    """As `theory.common.files.read_table`; without rows where all arms were lost."""
    if not path.read_bytes().strip():
        return pd.DataFrame()
    return files.read_table(path, text, numbers)


def check(arms: pd.DataFrame, values: pd.DataFrame) -> None:
    """ValueError unless both tables have the same arms, once, and those of a cell have the same seeds, once."""
    if arms.empty and values.empty:
        return
    if arms.empty or values.empty or "seed" not in values:
        raise ValueError("one of the tables is empty, or lacks its seeds")
    if arms.duplicated(["cell", "arm"]).any() or values.duplicated(["cell", "arm", "seed"]).any():
        raise ValueError("an arm or a seed stands twice")
    seeds = values.groupby(["cell", "arm"]).seed.agg(frozenset)
    if set(seeds.index) != set(zip(arms.cell, arms.arm, strict=True)):
        raise ValueError("the tables are not of the same arms")
    if (seeds.groupby("cell").nunique() > 1).any():
        raise ValueError("arms of one cell have different seeds")


def names_of(search: Search) -> dict[str, Any]:
    return {"cell": search.entry.cell.name, "arm": search.entry.arm.text}


def trials_of(search: Search) -> list[dict[str, Any]]:
    """A row a trial."""
    rows = [trial for trials in search.trials for trial in trials]
    return [names_of(search) | {"round": row.round, **row.values, "share": row.share, "kl": row.number} for row in rows]


def arm_of(search: Search) -> dict[str, Any]:
    """The row of an arm."""
    entry, chosen = search.entry, search.chosen
    assert chosen is not None
    row = names_of(search) | {**entry.cell.keys, "tuned": entry.cell.tuned, "coupling": entry.arm.coupling}
    row |= {name: said(value) for name, value in entry.arm.overrides.items()}
    row |= {"trials": sum(map(len, search.trials)), "kl": chosen.number}
    for name, searched in search.ranges[len(search.trials) - 1].items():
        row |= {name: chosen.values[name], f"{name}_low": searched.low, f"{name}_high": searched.high}
    return row | {"key": search.key}


def values_of(search: Search, outcome: Outcome) -> list[dict[str, Any]]:
    """A row a fresh seed."""
    return [
        names_of(search) | {"seed": seed, **{name: values[at] for name, values in outcome.values.items()}}
        for at, seed in enumerate(search.plan.fresh)
    ]
