"""Finished work on disk: one file a task, named by a hash of everything that decides its result, with a checksum.

Only the process that the user started writes here. A file that is damaged, or of another task, is not used.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from theory.common import files
from toy.config import ARMS, Config, as_dict, field_of
from toy.config import Arm as Setting
from toy.sweep.cache import DAMAGED, VERSION, digest, sound, tell_damaged


@dataclass(frozen=True)
class Task:
    """Work for one process: a round of a search (several settings, stopped on the way), its final (the best of them, to
    the end), or a comparison (one setting)."""

    config: Config
    arm: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    compared: bool = False
    final: bool = False

    @property
    def work(self) -> float:
        """Steps of one row of one network of width 32, of those that are not stopped."""
        config, rows = self.config, len(self.settings) * len(self.seeds)
        steps = config.steps * (config.d_steps + 1) * (1.0 if self.compared or self.final else 0.5) + config.d_ahead
        return rows * steps * (config.width / 32) ** 1.5


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        values: of a round or final: `share` and `numbers` (of all seeds in turn) of each setting; of a comparison: each
            metric's value on each seed.
        seconds: processor time.
        failure: why there are no values: a defect, not a divergence.
    """

    values: dict[str, list[Any]]
    seconds: float
    failure: str | None = None


def description(task: Task) -> dict[str, Any]:
    """Everything that decides the outcome, and nothing else."""
    config = as_dict(task.config)
    for name in ("arms", "seeds", "first_seed", "eval_every", *map(field_of, ARMS)):
        del config[name]
    return {
        "version": VERSION,
        "arm": task.arm,
        "settings": [asdict(setting) for setting in task.settings],
        "seeds": list(task.seeds),
        "compared": task.compared,
        "config": config,
        **({"final": True} if task.final else {}),
    }


class Cache:
    """The outcomes in a directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.told: set[Path] = set()

    def get(self, task: Task) -> Outcome | None:
        """The outcome of a task; None where there is none, or its file is damaged, which is said."""
        described = description(task)
        path = self.directory / f"{digest(described)}.json"
        try:
            content = files.read_json(path, "finished task", finite=False)
            if content["task"] != described:
                raise ValueError("it is of another task")
            return Outcome(**sound(content))
        except FileNotFoundError:
            return None
        except DAMAGED:
            tell_damaged(path, self.told)
            return None

    def put(self, task: Task, outcome: Outcome) -> None:
        """Stores an outcome whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        described, found = description(task), asdict(outcome)
        content = {"task": described, "outcome": found, "sha256": digest(found)}
        files.write(self.directory / f"{digest(described)}.json", (json.dumps(content) + "\n").encode())


def finish(index: int, task: Task) -> tuple[int, Outcome]:
    """(index, outcome): in a worker, which imports torch. A failure is an outcome."""
    import time

    import torch

    from toy.search.stack import RUNGS, compare_round, search_round

    torch.set_num_threads(1)
    begun = time.thread_time()
    try:
        if task.compared:
            values: dict[str, list[Any]] = dict(compare_round(task.config, task.arm, task.settings[0], task.seeds))
        else:
            found = search_round(task.config, task.arm, task.settings, task.seeds, () if task.final else RUNGS)
            values = {"share": [share for share, _ in found], "numbers": [x for _, part in found for x in part]}
        return index, Outcome(values, time.thread_time() - begun)
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return index, Outcome({}, time.thread_time() - begun, message)


def mean(numbers: list[float]) -> float:
    """The mean; inf where one is infinite."""
    return math.fsum(numbers) / len(numbers) if all(map(math.isfinite, numbers)) else math.inf
