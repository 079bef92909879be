"""Runs of a comparison: each is trained to a share of its length, and its metrics there are kept as they come.

DIR/CELL/ARM/trial-3/ and .../seed-3/ hold ARM-SEED/checkpoint.pt while they can go on, and outcome.json: share -> the
metrics there to six digits, the steps and processor seconds so far, and the share at which it diverged, if it did.
DIR/CELL/gan-at-7/ has the plain GAN's runs at the setting of trial 7.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import joblib

from images.compare.design import ARMS, LENGTHS, RUNGS, SEEDS, SELECTED, TUNING, Cell, kept, trials
from images.recipes import Recipe
from theory.common.checks import few
from theory.common.errors import CheckpointError, Diverged, FileError, Stopped
from theory.common.files import read_json, write_json
from theory.common.processes import children, started

PLACE = re.compile(r"(saturated|healthy)-x\d+/[a-z-]+(-at-\d+)?/(trial|seed)-\d+")


@dataclass(frozen=True)
class Run:
    """One setting of an arm on one seed."""

    base: Recipe
    cell: Cell
    arm: str
    label: str
    """trial-N or seed-N."""
    values: dict[str, float] = field(hash=False)
    directory: Path
    group: str = ""
    """Of runs beside those of the arm: their folder's name in the place of the arm's."""

    @property
    def seed(self) -> int:
        kind, number = self.label.split("-")
        return TUNING if kind == "trial" else int(number)

    @property
    def recipe(self) -> Recipe:
        found = self.cell.recipe(self.base, self.arm, self.values)
        last = self.cell.steps if self.label.startswith("seed") else found.evaluate_every
        return dataclasses.replace(found, evaluate_every=last)

    @property
    def place(self) -> Path:
        return self.directory / self.cell.name.replace(", ", "-") / (self.group or self.arm) / self.label

    def outcome(self) -> dict[str, Any]:
        """What is known of it; nothing of another setting, or where the file is damaged."""
        try:
            found = read_json(self.place / "outcome.json", "outcome", finite=False)
            known = found["values"] == self.values and found["steps_of_run"] == self.cell.steps
            if known and isinstance(found["shares"], dict):
                return found
        except (OSError, FileError, KeyError, TypeError):
            pass
        return {"values": self.values, "steps_of_run": self.cell.steps, "shares": {}, "steps": 0, "seconds": 0.0}

    def metrics(self, share: float) -> dict[str, float] | None:
        """Its metrics at a share of its steps; None: it was not trained so far, or diverged."""
        return self.outcome()["shares"].get(str(float(share)))

    def number(self, share: float) -> float | None:
        """What a search selects by, inf if it diverged; None: it was not trained so far."""
        found = self.outcome()
        if "diverged" in found:
            return math.inf
        metrics = found["shares"].get(str(float(share)))
        return None if metrics is None else metrics[SELECTED]

    def done(self, share: float) -> bool:
        return self.number(share) is not None

    def said(self, share: float) -> str:
        """A line of what came of it at a share of its steps."""
        found = self.metrics(share)
        result = "diverged" if found is None else f"{SELECTED} {found[SELECTED]:.4g}"
        arm = f"{self.arm} (at {self.group.rpartition('-at-')[2]})" if self.group else self.arm
        return f"{self.cell.name}: {arm}, {self.label.replace('-', ' ')}, {share:.0%} of its steps: {result}"


def train(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None = None) -> None:
    """Trains a run to a share of its steps, from where it is, and keeps what comes of it.

    Raises:
        Stopped: it was asked to, after a checkpoint. ValueError, OSError, FileError: as `images.training.run`.
    """
    from images.training.run import Job, result_of

    if run.done(share):
        return
    job = Job(run.recipe, run.arm, run.seed, run.place, cache, data)
    target, at = round(share * run.cell.steps), 0
    seen: dict[int, dict[str, float]] = {}

    def report(step: int) -> None:
        nonlocal at
        at = step

    def stops() -> bool:  # is asked before the step is reported
        return at + 1 >= target or asked()

    def log(arm: str, seeds: Sequence[int], records: Sequence[tuple[int, str, list[float]]]) -> None:
        for step, metric, values in records:
            seen.setdefault(step, {})[metric] = values[0]

    found = run.outcome()
    begun, before, ended = time.process_time(), found["steps"], True
    try:
        result_of(job, None, report, stops, [log])
        at = run.cell.steps
    except Stopped:
        ended = at >= target
    except Diverged:
        found["diverged"] = share
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete {run.place}, and it is trained again") from None
    for part in (*RUNGS, 1.0):
        if (step := round(part * run.cell.steps)) in seen and step <= at:
            found["shares"][str(float(part))] = {name: float(f"{x:.6g}") for name, x in seen[step].items()}
    seconds = round(found["seconds"] + time.process_time() - begun, 1)
    found |= {"steps": max(before, at), "seconds": seconds}
    run.place.mkdir(parents=True, exist_ok=True)
    write_json(run.place / "outcome.json", json.loads(json.dumps(found)))
    if not ended:
        raise Stopped("stopped")


def gathered(directory: Path) -> dict[str, Any]:
    """The outcomes of all runs in a directory, CELL/ARM/LABEL -> outcome; damaged ones left out."""
    found = {}
    for path in sorted(directory.glob("*/*/*/outcome.json")):
        with contextlib.suppress(OSError, FileError):
            found[path.parent.relative_to(directory).as_posix()] = read_json(path, "outcome", finite=False)
    return found


def scattered(path: Path, directory: Path) -> None:
    """Writes the outcomes that `gathered` found, of a file, into a directory that lacks them: a comparison goes on
    from its committed tables. The checkpoints of runs that had not ended are not there: they begin again.

    Raises:
        FileError: the file is damaged. OSError: one cannot be written.
    """
    if not path.exists():
        return
    found = read_json(path, "outcomes of a comparison", finite=False)
    if not isinstance(found, dict):
        raise FileError(f"{path} must hold an object")
    if bad := [name for name, outcome in found.items() if not PLACE.fullmatch(name) or not isinstance(outcome, dict)]:
        raise FileError(f"{path} must hold an outcome for each CELL/ARM/trial-N or seed-N; it has {few(bad)}")
    for name, outcome in found.items():
        there = directory / name / "outcome.json"
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            write_json(there, outcome)


def search(base: Recipe, cell: Cell, arm: str, directory: Path) -> list[Run]:
    """The trials of an arm."""
    settings = trials(cell, arm, base)
    return [Run(base, cell, arm, f"trial-{i}", values, directory) for i, values in enumerate(settings)]


def alive(runs: Sequence[Run], share: float) -> list[Run]:
    """The trials that are trained to this share: all at the first rung, then the better half of those before.

    Empty where that is not known yet.
    """
    shares = [*RUNGS, 1.0]
    going = list(range(len(runs)))
    for before in shares[: shares.index(share)]:
        numbers = {i: runs[i].number(before) for i in going}
        if any(number is None for number in numbers.values()):
            return []
        going = kept({i: number for i, number in numbers.items() if number is not None})
    return [runs[i] for i in going]


def chosen(runs: Sequence[Run]) -> Run | None:
    """The trial of least SELECTED at the end; None while one is not trained that far, or where all diverged."""
    last = alive(runs, 1.0)
    numbers = [run.number(1.0) for run in last]
    if not last or any(number is None for number in numbers):
        return None
    best = min(range(len(last)), key=lambda i: numbers[i] or 0.0)
    return last[best] if math.isfinite(numbers[best] or 0.0) else None


def fresh(best: Run) -> list[Run]:
    """The runs of a chosen setting on fresh seeds."""
    return [Run(best.base, best.cell, best.arm, f"seed-{i}", best.values, best.directory) for i in range(SEEDS)]


def without_term(searches: Mapping[str, Sequence[Run]]) -> dict[str, list[Run]]:
    """Arm -> the plain GAN on the fresh seeds at the setting that the arm chose, but for lambda, in the shortest runs.

    Arms that chose one trial share these runs, and where the GAN chose it too they are its own; empty until all have
    chosen.
    """
    best = {arm: chosen(runs) for arm, runs in searches.items()}
    plain, found = searches[ARMS[0]], dict[str, list[Run]]()
    if plain[0].cell.times > min(LENGTHS) or not all(best.values()):
        return {}
    for arm in ARMS[1:]:
        label = best[arm].label  # type: ignore[union-attr]
        same = next(run for run in plain if run.label == label)  # of one number: the same point of the sequence
        group = "" if best[ARMS[0]] == same else f"{ARMS[0]}-at-{label.removeprefix('trial-')}"
        found[arm] = [dataclasses.replace(run, group=group) for run in fresh(same)]
    return found


@dataclass(frozen=True)
class Conductor:
    """Trains what is missing, several runs at a time; no number depends on how many.

    Args:
        cache: where classifier and score model are kept.
        data: as that of `Job`.
        processes: 1 trains in this process.
        asked: whether to stop, asked after each step by the processes too.
        after: told each run that was trained, and the share of its steps that it has.
    """

    directory: Path
    cache: Path
    data: Path | None
    asked: Callable[[], bool]
    after: Callable[[Run, float], None]
    processes: int = 1

    def conduct(self, base: Recipe, cells: Sequence[Cell]) -> None:
        """Cell after cell: the rungs of all arms' searches, then seed after seed of all arms, so that what is there
        when it is stopped is of all arms alike; then the runs without the term.

        Raises:
            As `train`; BrokenProcessPool: a process was killed.
        """
        for cell in cells:
            searches = {arm: search(base, cell, arm, self.directory) for arm in ARMS}
            for share in (*RUNGS, 1.0):
                self.train_all(in_turn([alive(runs, share) for runs in searches.values()]), share)
            for runs in searches.values():
                for run in runs:
                    shutil.rmtree(run.place / f"{run.arm}-{run.seed}", ignore_errors=True)
            compared = in_turn([fresh(best) for runs in searches.values() if (best := chosen(runs)) is not None])
            without = in_turn([*without_term(searches).values()])
            self.train_all([*{run.place: run for run in (*compared, *without)}.values()], 1.0)

    def train_all(self, wanted: Sequence[Run], share: float) -> None:
        """Those of them that were not trained to this share."""
        missing = [run for run in wanted if not run.done(share)]
        known = self.asked, self.cache, self.data
        if self.processes == 1:
            results = ((run, trained(run, share, *known)) for run in missing)
        else:
            with started(), children():
                results = joblib.Parallel(n_jobs=self.processes, return_as="generator_unordered")(
                    joblib.delayed(in_child)(run, share, *known) for run in missing
                )
        ended = True
        for run, done in results:
            if done:
                self.after(run, share)
            ended &= done
        if not ended:
            raise Stopped("stopped")


def trained(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None) -> bool:
    """Trains it, unless it was asked to stop before; whether it came to its share."""
    if asked():
        return False
    try:
        train(run, share, asked, cache, data)
    except Stopped:
        return False
    return True


def in_child(run: Run, share: float, *known: Any) -> tuple[Run, bool]:
    """`trained`, with the run: those of several processes do not end in their order."""
    return run, trained(run, share, *known)


def in_turn(groups: Sequence[Sequence[Run]]) -> list[Run]:
    """The first of each group, then the second of each, ..."""
    return [run for row in zip_longest(*groups) for run in row if run is not None]
