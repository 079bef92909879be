"""Finished jobs on disk: one file each, named by a hash of everything that decides the result, with a checksum.

It holds the numbers of the last step. Only the process that the user started writes here: workers need no shared disk,
and one that is killed leaves no partial file. A job that diverged is finished and stored; one that crashed is not.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from theory.common import files
from toy.config import ARMS, as_dict, field_of
from toy.sweep.design import Task

VERSION = 1
"""Of the training: raise it when a configuration comes to train to other numbers; jobs stored before are then not used.
A hash of the source would discard hours of work for a renamed variable. test_cells.py fails if the training changes and
VERSION does not: it trains every option for a few steps and compares with stored numbers."""


@dataclass(frozen=True)
class Outcome:
    """The result of a task: the last value of each metric for each seed, or why there is none."""

    values: dict[str, list[float]]
    seconds: float
    """Processor time, evaluation included."""
    failure: str | None = None
    crashed: bool = False
    """It failed in another way than by diverging: a defect, not a result."""


def description(task: Task) -> dict[str, Any]:
    """Everything that decides the outcome, and nothing else: of the arms' options only those of this one."""
    job = task.job
    config = as_dict(job.config)
    options = {arm: config.pop(field_of(arm)) for arm in ARMS}
    for name in ("arms", "seeds", "first_seed", "eval_every"):
        del config[name]
    return {
        "version": VERSION,
        "arm": job.arm,
        "options": options[job.arm],
        "seeds": list(job.seeds),
        "measure": task.measure and [task.measure, source(task.measure)],
        "config": config,
    }


def key(task: Task) -> str:
    """The hash of its description."""
    return digest(description(task))


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache
def source(measure: str) -> str:
    """The hash of the code of a function ("module:function"), which is not imported; comments and spaces do not count.

    Raises:
        ValueError: there is no such function.
    """
    module, _, name = measure.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        for node in ast.parse(Path(spec.origin).read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return digest(ast.dump(node))
    raise ValueError(f"measure must be module:function, a function of a module; given {measure!r}")


def sound(content: Any) -> dict[str, Any]:
    """The outcome in an entry of a cache, if it is what was written.

    Raises:
        ValueError, KeyError, TypeError: it has changed since, or its values are no lists of numbers.
    """
    outcome = content["outcome"]
    if digest(outcome) != content["sha256"]:
        raise ValueError("the checksum differs")
    numbers = [number for row in outcome["values"].values() for number in row]
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in (outcome["seconds"], *numbers)):
        raise ValueError("a value is no number")
    if not isinstance(outcome["failure"], str | None) or not isinstance(outcome.get("crashed", False), bool):
        raise ValueError("failure is no text, or crashed no flag")
    return outcome


def tell_damaged(path: Path, told: set[Path]) -> None:
    """Says, once a path, that an entry of a cache is not used."""
    if path not in told:
        print(f"{path} is damaged: it is computed again", file=sys.stderr, flush=True)
    told.add(path)


DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # raised where an entry is


class Cache:
    """The outcomes in a directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.told: set[Path] = set()

    def get(self, key: str) -> Outcome | None:
        """The outcome stored under a key; None where there is none, or its file is damaged, which is said."""
        path = self._path(key)
        try:
            return self._read(path)[1]
        except FileNotFoundError:
            return None
        except DAMAGED:
            tell_damaged(path, self.told)
            return None

    def _read(self, path: Path) -> tuple[dict[str, Any], Outcome]:
        """The description and outcome of a job, if the file holds what was written under its name; else one of DAMAGED.

        Raises:
            FileNotFoundError: there is none.
        """
        content = files.read_json(path, "finished job", finite=False)
        if digest(content["task"]) != path.stem:
            raise ValueError("it is of another job")
        return content["task"], Outcome(**sound(content))

    def put(self, task: Task, outcome: Outcome) -> None:
        """Stores an outcome whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        found = asdict(outcome)
        content = {"task": description(task), "outcome": found, "sha256": digest(found)}
        files.write(self._path(key(task)), (json.dumps(content) + "\n").encode())

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def seconds(self) -> Iterator[tuple[dict[str, Any], float]]:
        """The descriptions of all jobs that did not diverge, and their processor time."""
        for path in sorted(self.directory.glob("*.json")):
            try:
                task, outcome = self._read(path)
            except DAMAGED:
                continue
            if outcome.failure is None:
                yield task, outcome.seconds
