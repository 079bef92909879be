"""Conducts searches: every arm of a cell has as many trials, then the best are compared on fresh seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from toy.jobs.progress import meter
from toy.search.cache import Cache, Outcome, Task, description, finish, mean
from toy.search.design import FAR, Entry, Experiment
from toy.search.propose import FIRST, LATER, Trial, Values, best, best_inside, propose
from toy.search.space import Range, around, at_edges, extended
from toy.sweep.cache import digest
from toy.sweep.design import TUNING
from toy.sweep.pool import run


class Amount(NamedTuple):
    """How much is tried in a search.

    Attributes:
        least: rounds; more where a best value lies at an edge, for all arms of the cell.
        most: rounds.
        finalists: settings of an arm that are trained again, on other seeds, before one is chosen.
    """

    least: int
    most: int
    finalists: int


WHOLE = Amount(4, 8, 6)  # 80 trials or more
GOES_ON = Amount(2, 4, 3)  # 32 or more: a search that begins at the best settings of shorter runs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is tried, and on which seeds."""

    seeds: int = 32
    """Seeds of a comparison."""
    tuning_seeds: int = 8
    """Seeds of a search; no comparison uses them."""
    final_seeds: int = 24
    """Seeds on which one of the FINALISTS is chosen: other ones again."""
    search: int = 0
    """Number of the search: another one has other proposals and other seeds."""

    @property
    def tuning(self) -> tuple[int, ...]:
        first = FAR * self.search + TUNING
        return tuple(range(first, first + self.tuning_seeds))

    @property
    def finals(self) -> tuple[int, ...]:
        first = FAR * self.search + TUNING + self.tuning_seeds
        return tuple(range(first, first + self.final_seeds))

    @property
    def fresh(self) -> tuple[int, ...]:
        return tuple(range(FAR * self.search, FAR * self.search + self.seeds))


@dataclass
class Search:
    """The search of one arm in one cell."""

    entry: Entry
    plan: Plan
    starts: tuple[Values, ...] | None = None
    """The best settings of shorter runs, where the search begins; None: it looks everywhere."""
    trials: list[list[Trial]] = field(default_factory=list)
    """Of each round."""
    ranges: list[dict[str, Range]] = field(default_factory=list)
    """Of each round."""
    asked: list[Values] = field(default_factory=list)
    """The settings of the last task."""
    chosen: Trial | None = None
    """The setting that is compared, and its number on the seeds of the final."""
    failure: str | None = None

    @property
    def amount(self) -> Amount:
        return WHOLE if self.starts is None else GOES_ON

    @property
    def key(self) -> str:
        """The hash of what decides the search and the comparison."""
        first = Search(self.entry, self.plan, self.starts).task()
        return digest([description(first), dataclasses.asdict(self.plan), FIRST, LATER, *self.amount])

    def task(self) -> Task:
        """The next round; of the same trials before it, always the same."""
        chosen = self.best()
        begin = self.entry.ranges if self.starts is None else around(self.starts, self.entry.ranges)
        last = self.ranges[-1] if self.ranges else begin
        self.ranges = [*self.ranges[: len(self.trials)], last if chosen is None else extended(chosen.values, last)]
        self.asked = propose(self.ranges, self.trials, 1000 * self.plan.search + len(self.trials), self.starts)
        settings = tuple(self.entry.setting(values) for values in self.asked)
        return Task(self.entry.config, self.entry.arm.coupling, settings, self.plan.tuning)

    def take(self, outcome: Outcome) -> None:
        """What came of the last task."""
        if outcome.failure is not None:
            self.failure = outcome.failure
            return
        n, numbers = self.plan.tuning_seeds, outcome.values["numbers"]
        self.trials.append(
            [
                Trial(values, mean(numbers[at * n : (at + 1) * n]), outcome.values["share"][at], len(self.trials))
                for at, values in enumerate(self.asked)
            ]
        )

    def best(self) -> Trial | None:
        return best([trial for trials in self.trials for trial in trials])

    def edges(self) -> list[str]:
        """The options whose best value lies at an edge of the last range that was searched."""
        chosen = self.best()
        return [] if chosen is None else at_edges(chosen.values, self.ranges[len(self.trials) - 1])

    def finalists(self) -> list[Values]:
        """The best settings of all rounds, without those at an edge of the last ranges."""
        every = [trial for trials in self.trials for trial in trials]
        return best_inside(every, self.ranges[len(self.trials) - 1], self.amount.finalists)

    def final(self) -> Task | None:
        """The finalists, to the end of training on seeds of their own: the least of many means on the seeds of the
        search is too low for its setting, and the setting may owe it to them. None where all settings diverged."""
        settings = tuple(self.entry.setting(values) for values in self.finalists())
        if not settings or self.failure is not None:
            return None
        return Task(self.entry.config, self.entry.arm.coupling, settings, self.plan.finals, final=True)

    def choose(self, outcome: Outcome) -> None:
        """Chooses the finalist of least mean."""
        if outcome.failure is not None:
            self.failure = outcome.failure
            return
        n, numbers = self.plan.final_seeds, outcome.values["numbers"]
        means = [mean(numbers[at : at + n]) for at in range(0, len(numbers), n)]
        least = min(range(len(means)), key=means.__getitem__)
        if math.isfinite(means[least]):
            self.chosen = Trial(self.finalists()[least], means[least], 1.0, len(self.trials))

    def comparison(self) -> Task | None:
        """The chosen setting on fresh seeds; None where all settings diverged, or the search failed."""
        chosen = self.chosen
        return None if chosen is None or self.failure is not None else self.comparison_of(chosen.values)

    def comparison_of(self, values: Values) -> Task:
        setting = self.entry.setting(values)
        return Task(self.entry.config, self.entry.arm.coupling, (setting,), self.plan.fresh, compared=True)


@dataclass
class Conductor:
    """Runs experiments on what the cache does not have yet."""

    cache: Cache
    plan: Plan
    starts: Callable[[Entry], tuple[Values, ...] | None] = lambda entry: None
    """Where the search of an arm begins."""

    def outcomes(self, tasks: Iterable[Task], title: str) -> dict[Task, Outcome]:
        """The outcome of every task, the longest begun first; stored as they come.

        Raises:
            OSError: one cannot be stored.
        """
        wanted = list(dict.fromkeys(tasks))
        found = {task: outcome for task in wanted if (outcome := self.cache.get(task)) is not None}
        missing = sorted((task for task in wanted if task not in found), key=lambda task: task.work, reverse=True)
        if missing:
            with meter(title, [task.work for task in missing]) as advance:
                for index, outcome in run(missing, finish):
                    if outcome.failure is None:
                        self.cache.put(missing[index], outcome)
                    found[missing[index]] = outcome
                    advance(index)
        return found

    def conduct(self, experiment: Experiment, rows: Sequence[Entry]) -> list[tuple[Search, Outcome | None]]:
        """Searches all arms, round by round, and compares the best of each.

        Raises:
            OSError: an outcome cannot be stored.
        """
        cells = self.cells(rows)
        while going := [search for part in cells for search in next_round(part)]:
            tasks = [search.task() for search in going]
            title = f"{experiment.name}, round {len(going[0].trials) + 1} of the search"
            found = self.outcomes(tasks, title)
            for search, task in zip(going, tasks, strict=True):
                search.take(found[task])
        searches = [search for part in cells for search in part]
        finals = [(search, final) for search in searches if (final := search.final()) is not None]
        found = self.outcomes((final for _, final in finals), f"{experiment.name}, final")
        for search, final in finals:
            search.choose(found[final])
        compared = [search.comparison() for search in searches]
        found = self.outcomes((task for task in compared if task is not None), f"{experiment.name}, comparison")
        return [
            (search, None if last is None else found[last]) for search, last in zip(searches, compared, strict=True)
        ]

    def cells(self, rows: Sequence[Entry]) -> list[list[Search]]:
        """A search of each row, by cells."""
        cells: dict[str, list[Search]] = {}
        for row in rows:
            cells.setdefault(row.cell.name, []).append(Search(row, self.plan, self.starts(row)))
        return list(cells.values())

    def left(self, rows: Sequence[Entry]) -> Left:
        """What is left of these rows, as far as it is known."""
        tasks: list[tuple[Task, bool]] = []
        for part in self.cells(rows):
            while going := next_round(part):
                asked = [search.task() for search in going]
                known = [self.cache.get(task) for task in asked]
                tasks += [(task, outcome is not None) for task, outcome in zip(asked, known, strict=True)]
                if not all(known):
                    amount = going[0].amount
                    later = amount.least - len(going[0].trials) - 1
                    tasks += [(dataclasses.replace(t, settings=t.settings[:LATER]), False) for t in asked] * later
                    for search, task in zip(going, asked, strict=True):
                        few = dataclasses.replace(
                            task, settings=task.settings[: amount.finalists], seeds=self.plan.finals, final=True
                        )
                        tasks += [(few, False), (search.comparison_of(search.asked[0]), False)]
                    break
                for search, outcome in zip(going, known, strict=True):
                    if outcome is not None:
                        search.take(outcome)
            else:
                for search in part:
                    if (final := search.final()) is not None:
                        outcome = self.cache.get(final)
                        tasks.append((final, outcome is not None))
                        if outcome is not None:
                            search.choose(outcome)
                        last = search.comparison() or search.comparison_of(search.finalists()[0])
                        tasks.append((last, outcome is not None and self.cache.get(last) is not None))
        work = sum(task.work for task, _ in tasks)
        ready = sum(task.work for task, known in tasks if known)
        return Left(len(tasks), sum(known for _, known in tasks), 1 - ready / work)


class Left(NamedTuple):
    """Of a plan: its tasks, as few rounds an arm as there can be; those done; the share of the work left."""

    tasks: int
    done: int
    share: float


def next_round(part: Sequence[Search]) -> list[Search]:
    """The searches of a cell that go on: none after the least rounds, unless a best value lies at an edge; then all."""
    alive = [search for search in part if search.failure is None]
    done = max((len(search.trials) for search in alive), default=0)
    more = any(done < s.amount.least or (done < s.amount.most and bool(s.edges())) for s in alive)
    return alive if more else []
