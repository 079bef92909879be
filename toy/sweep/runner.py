"""A sweep from its definition to its tables: tune every arm of every cell, train the chosen setting, compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from theory.common import files
from toy.jobs.progress import meter
from toy.sweep.cache import Cache, Outcome, description, key
from toy.sweep.costs import Costs
from toy.sweep.design import Entry, Experiment, Setting, Task, entries, said
from toy.sweep.pool import finish, run
from toy.sweep.tuning import METRICS as TUNED
from toy.sweep.tuning import best
from toy.sweep.verdicts import verdicts

TIMED = (20, 120)  # steps of the jobs that are timed where nothing has been


@dataclass
class Conductor:
    """Runs experiments on what the cache does not have yet."""

    cache: Cache
    processes: int
    seeds: int
    tuning_seeds: int
    quick: bool
    costs: Costs = field(default_factory=lambda: Costs(()))
    trained: set[str] = field(default_factory=set)
    """Keys of the jobs that were not in the cache."""

    def outcomes(self, tasks: Iterable[Task], title: str) -> dict[str, Outcome]:
        """Key -> outcome of every task, the longest begun first; stored as they come.

        Raises:
            OSError: one cannot be stored.
        """
        wanted = {key(task): task for task in tasks}
        found = {k: outcome for k in wanted if (outcome := self.cache.get(k)) is not None}
        cost = self.costs.seconds
        missing = sorted((task for k, task in wanted.items() if k not in found), key=cost, reverse=True)
        if missing:
            with meter(title, [cost(task) for task in missing]) as advance:
                for index, outcome in run(missing, finish):
                    if not outcome.crashed:
                        self.cache.put(missing[index], outcome)
                    found[key(missing[index])] = outcome
                    advance(index)
            self.trained |= {key(task) for task in missing}
        return found

    def conduct(self, experiment: Experiment) -> Results:
        """Both stages of an experiment."""
        rows = entries(experiment, self.quick)
        tuned = self.outcomes((t for row in rows for t in row.grid(self.tuning_seeds)), f"{experiment.name}, tuning")
        results = Results(experiment, rows[0].options)
        chosen = [results.settle(row, self.tuning_seeds, tuned) for row in rows]
        comparisons = [row.comparison(s, self.seeds) if s else [] for row, s in zip(rows, chosen, strict=True)]
        compared = self.outcomes((t for tasks in comparisons for t in tasks), f"{experiment.name}, comparison")
        for row, setting, tasks in zip(rows, chosen, comparisons, strict=True):
            results.add(row, setting, [(task, compared[key(task)]) for task in tasks])
        used = tuned | compared
        results.facts |= {
            "jobs": len(used),
            "trained_now": len(self.trained & set(used)),
            "core_seconds": round(sum(outcome.seconds for outcome in used.values()), 1),
        }
        return results

    def plan(self, experiment: Experiment) -> dict[str, tuple[Task, bool]]:
        """Key -> (task, whether it is in the cache); what is not chosen yet is planned with the first of its grid."""
        planned: dict[str, tuple[Task, bool]] = {}
        for entry in entries(experiment, self.quick):
            grid = {key(task): task for task in entry.grid(self.tuning_seeds)}
            stored = {k: self.cache.get(k) for k in grid}
            planned |= {k: (task, stored[k] is not None) for k, task in grid.items()}
            outcomes = {k: outcome for k, outcome in stored.items() if outcome is not None}
            setting = best_setting(entry, self.tuning_seeds, outcomes) if len(outcomes) == len(stored) else None
            for task in entry.comparison(setting or entry.arm.settings()[0], self.seeds):
                known = setting is not None and self.cache.get(key(task)) is not None
                planned[key(task)] = (task, known)
        return planned

    def estimate_costs(self, task: Task) -> str:
        """Fits the costs; says to what. Where no finished job can be asked, two short versions of the task are run."""
        timings = list(self.cache.seconds())
        if timings:
            self.costs = Costs(timings)
            return f"from {len(timings)} finished jobs"
        short = [shortened(task, steps) for steps in TIMED]
        ended = sorted(run(short, finish))
        timings = [(description(short[i]), outcome.seconds) for i, outcome in ended if outcome.failure is None]
        self.costs = Costs(timings)
        return "from a short run" if timings else f"no estimate: the run to be timed failed, {ended[0][1].failure}"


def shortened(task: Task, steps: int) -> Task:
    config = dataclasses.replace(task.job.config, steps=steps, eval_every=steps)
    return Task(dataclasses.replace(task.job, config=config))


def best_setting(entry: Entry, seeds: int, outcomes: dict[str, Outcome]) -> Setting | None:
    """What toy.sweep.tuning's rule takes of an arm's grid, of the settings that did not diverge; None if all did."""
    settings, rows = entry.arm.settings(), {}
    if len(settings) == 1:
        return settings[0]
    for place, setting in enumerate(settings):
        parts = [outcomes[key(task)] for task in entry.tuning(setting, seeds)]
        if all(part.failure is None for part in parts):
            rows[place] = {name: np.mean([value for part in parts for value in part.values[name]]) for name in TUNED}
    return settings[best(pd.DataFrame.from_dict(rows, orient="index")).name] if rows else None


class Results:
    """The tables of an experiment, and what was lost.

    Args:
        options: the columns in which its arms differ.
    """

    def __init__(self, experiment: Experiment, options: Sequence[str]):
        self.experiment = experiment
        self.options = list(options)
        self.rows: list[dict[str, Any]] = []
        self.compared: dict[tuple[str, ...], tuple[str, Setting]] = {}
        """Of each arm: `identity` -> its text and setting."""
        self.lost: list[str] = []
        self.facts: dict[str, Any] = {}

    def settle(self, entry: Entry, seeds: int, tuned: dict[str, Outcome]) -> Setting | None:
        """The setting that the arm is compared at; None, and the arm is lost, where it crashed or always diverged."""
        crashes = [outcome.failure for task in entry.grid(seeds) if (outcome := tuned[key(task)]).crashed]
        setting = None if crashes else best_setting(entry, seeds, tuned)
        if setting is None:
            self.lost.append(f"{entry.name}: {crashes[0] if crashes else 'every setting of the grid diverged'}")
        return setting

    def add(self, entry: Entry, setting: Setting | None, ended: Sequence[tuple[Task, Outcome]]) -> None:
        """The rows of an arm, if all its seeds came to their end."""
        if setting is None:
            return
        failures = [outcome.failure for _, outcome in ended if outcome.failure is not None]
        if failures:
            self.lost.append(f"{entry.name}: {failures[0]}")
            return
        names = {"experiment": self.experiment.name, "cell": entry.cell.name, **entry.cell.keys, **entry.columns}
        names |= {"lr": setting.lr, "weight": setting.weight}
        self.compared[self.identity(names)] = entry.arm.text, setting
        self.rows += [
            names | {"seed": seed, "metric": metric, "value": value}
            for task, outcome in ended
            for metric, values in outcome.values.items()
            for seed, value in zip(task.job.seeds, values, strict=True)
        ]

    def identity(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What tells a row of a table from those of other arms and cells."""
        return row["cell"], row["arm"], *(said(row[option]) for option in self.options)

    def table(self) -> pd.DataFrame:
        """Tidy: experiment, cell, its keys, arm, its options, lr, weight, seed, metric, value."""
        options = [option for option in self.options if option not in ("lr", "weight")]
        ends = ["arm", *options, "lr", "weight", "seed", "metric", "value"]
        keys = [name for row in self.rows for name in row if name not in ends]
        return pd.DataFrame(self.rows, columns=[*dict.fromkeys(["experiment", "cell", *keys]), *ends])

    def verdicts(self) -> pd.DataFrame:
        return verdicts(self.table(), self.experiment.metrics, self.experiment.baseline, self.options)

    def write(self, directory: Path, facts: dict[str, Any]) -> None:
        """NAME.csv, NAME.verdicts.csv and NAME.json. OSError: they cannot be written."""
        path = directory / self.experiment.name
        files.write_table(path.with_suffix(".csv"), self.table(), digits=6)
        files.write_table(path.with_suffix(".verdicts.csv"), self.verdicts(), digits=6)
        facts = {"experiment": self.experiment.name, "question": self.experiment.question} | facts | self.facts
        files.write_json(path.with_suffix(".json"), facts | {"lost": self.lost})
