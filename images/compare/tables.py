"""The tables of a comparison, made of the outcomes that are there: settings tried, settings chosen, values on fresh
seeds, verdicts, and what is missing.

NAME.csv (cell, arm, seed, metrics), NAME.trials.csv, NAME.arms.csv, NAME.verdicts.csv (against the GAN at its own best
setting), NAME.without.csv (each arm against the GAN at the arm's setting), NAME.controls.csv (as NAME.csv, of that GAN:
arm is whose setting it is), NAME.json (command, commit, what is done,
seconds a step, notes), NAME.outcomes.json (a line a run: what a comparison goes on from on another machine).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from images.compare.design import ARMS, JUDGED, RANGES, RUNGS, SECONDS, SEEDS, WITHOUT, Cell, edges, planned_steps
from images.compare.runs import Run, alive, chosen, fresh, gathered, search, without_term
from images.recipes import Recipe
from theory.common.comparing import verdicts
from theory.common.files import write, write_json, write_table


@dataclass(frozen=True)
class Progress:
    """Of a cell and an arm, or of the runs WITHOUT the term: steps that are planned and done, and the processor seconds
    that were spent."""

    cell: str
    arm: str
    planned: int
    done: int
    seconds: float
    seeds: int
    """Fresh seeds that are done."""


@dataclass
class Tables:
    """What there is of a comparison."""

    trials: pd.DataFrame
    arms: pd.DataFrame
    values: pd.DataFrame
    progress: list[Progress]
    plain: pd.DataFrame = field(default_factory=pd.DataFrame)
    """As values, of the plain GAN at the setting of `arm`."""

    @classmethod
    def of(cls, base: Recipe, cells: Sequence[Cell], directory: Path) -> Tables:
        """Of the outcomes in a directory."""
        tried, arms, values, plain = (list[dict[str, Any]]() for _ in range(4))
        progress = list[Progress]()
        for cell in cells:
            searches = {arm: search(base, cell, arm, directory) for arm in ARMS}
            for arm, runs in searches.items():
                names = {"cell": cell.name, "arm": arm}
                tried += [names | row for row in trials_of(runs)]
                best, compared = chosen(runs), list[Run]()
                if best is not None:
                    compared = fresh(best)
                    metrics = best.metrics(1.0) or {}
                    arms.append(names | best.values | {"edges": " ".join(edges(best.values)), **metrics})
                    values += [names | {"seed": run.seed} | row for run in compared if (row := values_of(run))]
                progress.append(progress_of(cell, arm, sum(planned_steps(cell).values()), runs, compared))
            beside = without_term(searches)
            for arm, runs in beside.items():
                names = {"cell": cell.name, "arm": arm}
                plain += [names | {"seed": run.seed} | row for run in runs if (row := values_of(run))]
            own = {run.place: run for runs in beside.values() for run in runs if run.group}
            if own:
                progress.append(progress_of(cell, WITHOUT, len(own) * cell.steps, [], [*own.values()]))
        return cls(pd.DataFrame(tried), pd.DataFrame(arms), pd.DataFrame(values), progress, pd.DataFrame(plain))

    @property
    def seconds_a_step(self) -> dict[str, float]:
        """Arm -> processor seconds of a step, its share of the evaluations included; SECONDS where none was taken."""
        found = {}
        for arm in ARMS:
            mine = [part for part in self.progress if part.arm == arm]
            steps = sum(part.done for part in mine)
            found[arm] = sum(part.seconds for part in mine) / steps if steps else SECONDS[arm]
        return found

    @property
    def hours(self) -> tuple[float, float]:
        """Core-hours of all, and of what is left."""
        rates = self.seconds_a_step | {WITHOUT: self.seconds_a_step[ARMS[0]]}
        whole = sum(part.planned * rates[part.arm] for part in self.progress)
        left = sum(max(0, part.planned - part.done) * rates[part.arm] for part in self.progress)
        return whole / 3600, left / 3600

    def verdicts(self) -> pd.DataFrame:
        """On the fresh seeds that all measured arms of a cell share; Holm over all rows that are there."""
        parts = []
        for _, part in self.values.groupby("cell", sort=False) if len(self.values) else ():
            common = set.intersection(*(set(rows.seed) for _, rows in part.groupby("arm")))
            part = part[part.seed.isin(common)]
            if ARMS[0] in set(part.arm) and len(common) >= 3:
                parts.append(part.melt(["cell", "arm", "seed"], list(JUDGED), "metric", "value"))
        return verdicts(pd.concat(parts, ignore_index=True), JUDGED) if parts else pd.DataFrame()

    def without(self) -> pd.DataFrame:
        """Verdicts of each arm against the plain GAN at the arm's own setting, on the seeds that both have; Holm over
        all rows that are there."""
        parts = []
        for (cell, arm), rows in self.plain.groupby(["cell", "arm"], sort=False) if len(self.plain) else ():
            mine = self.values[(self.values.cell == cell) & (self.values.arm == arm)]
            both = sorted(set(mine.seed) & set(rows.seed))
            if len(both) >= 3:
                pair = pd.concat([rows.assign(arm=ARMS[0]), mine]).assign(cell=f"{cell}: {arm}")
                pair = pair[pair.seed.isin(both)]
                parts.append(pair.melt(["cell", "arm", "seed"], list(JUDGED), "metric", "value"))
        if not parts:
            return pd.DataFrame()
        found = verdicts(pd.concat(parts, ignore_index=True), JUDGED)
        return found.assign(cell=found.cell.str.rpartition(": ")[0])

    def write(self, stem: Path, directory: Path, facts: Mapping[str, Any]) -> None:
        """The files beside `stem`, of the runs in a directory; those that would be empty are left out.

        Raises:
            OSError: one cannot be written.
        """
        stem.parent.mkdir(parents=True, exist_ok=True)
        tables = {"csv": self.values, "arms.csv": self.arms, "trials.csv": self.trials}
        tables |= {"controls.csv": self.plain, "verdicts.csv": self.verdicts(), "without.csv": self.without()}
        for ending, table in tables.items():
            if len(table):
                write_table(stem.with_suffix(f".{ending}"), table, digits=5)
        lines = [f"{json.dumps(name)}: {json.dumps(outcome)}" for name, outcome in gathered(directory).items()]
        write(stem.with_suffix(".outcomes.json"), "{\n" + ",\n".join(lines) + "\n}\n")
        whole, left = self.hours
        rates = {arm: round(rate, 4) for arm, rate in self.seconds_a_step.items()}
        counts = {"core_hours": round(whole, 2), "core_hours_left": round(left, 2), "seconds_a_step": rates}
        said = [part.__dict__ | {"seconds": round(part.seconds, 1)} for part in self.progress]
        write_json(stem.with_suffix(".json"), {**facts, **counts, "progress": said})


def progress_of(cell: Cell, arm: str, planned: int, trials: Sequence[Run], compared: Sequence[Run]) -> Progress:
    outcomes = [run.outcome() for run in [*trials, *compared]]
    done, seconds = (sum(found[name] for found in outcomes) for name in ("steps", "seconds"))
    ended = {run.seed for run in compared} - {run.seed for run in compared if not run.done(1.0)}
    return Progress(cell.name, arm, planned, done, seconds, len(ended))


def trials_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a trial and share that it was trained to."""
    rows = []
    for number, run in enumerate(runs):
        for share in (*RUNGS, 1.0):
            if run in alive(runs, share) and (found := run.number(share)) is not None:
                row = {name: run.values.get(name, np.nan) for name in RANGES}
                rows.append({"trial": number, **row, "share": share, "number": found})
    return rows


def values_of(run: Run) -> dict[str, float] | None:
    """The metrics of a fresh seed at the end; NaN if it diverged; None: it is not there yet."""
    if not run.done(1.0):
        return None
    found = run.metrics(1.0)
    return dict.fromkeys(JUDGED, float("nan")) if found is None else found


def told(name: str, tables: Tables) -> list[str]:
    """The plan in lines: what there is to do, what is done, and what it takes."""
    whole, left = tables.hours
    lines = [f"{name}: {whole:.1f} core-hours in all, {left:.1f} left, on one core at the pace below"]
    for part in tables.progress:
        steps = f"{part.done:>7,} of {part.planned:,} steps"
        arm = "gan, others' settings" if part.arm == WITHOUT else part.arm
        lines.append(f"  {part.cell:14} {arm:21} {steps}, {part.seeds} of {SEEDS} seeds")
    lines += [f"  {arm:10} {rate:.3f} s a step" for arm, rate in tables.seconds_a_step.items()]
    return lines
