"""What a sweep will take, from what finished jobs took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np

from toy.sweep.cache import description, digest
from toy.sweep.design import Task

Timing = tuple[dict[str, Any], float]  # the description of a job, and its seconds


class Costs:
    """Predicts processor time: the median of finished jobs of the same kind, else a + b work, fitted to all.

    Without timings it counts work itself, which is enough to order jobs.
    """

    def __init__(self, timings: Iterable[Timing]):
        by_kind: dict[str, list[float]] = {}
        points = []
        for task, seconds in timings:
            by_kind.setdefault(kind(task), []).append(seconds)
            points.append((work(task), seconds))
        self.known = {kind: statistics.median(seconds) for kind, seconds in by_kind.items()}
        self.line = fitted(np.array(points)) if points else (0.0, 1.0)

    def seconds(self, task: Task) -> float:
        described = description(task)
        a, b = self.line
        return self.known.get(kind(described), a + b * work(described))


def kind(task: dict[str, Any]) -> str:
    """Jobs of one kind differ in their numbers only: which seeds, learning rate, lambda."""
    return digest([task["arm"], len(task["seeds"]), task["measure"], task["config"]])


def work(task: dict[str, Any]) -> float:
    """How many steps of a network of a seed there are in a job."""
    config = task["config"]
    return len(task["seeds"]) * (config["steps"] * (config["d_steps"] + 1) + config["d_ahead"])


def fitted(points: np.ndarray) -> tuple[float, float]:
    """(a, b) of seconds = a + b work, from rows (work, seconds); a = 0 where one would be negative."""
    work, seconds = points.T
    if np.ptp(work):
        b, a = np.polyfit(work, seconds, 1)
        if a >= 0 and b >= 0:
            return float(a), float(b)
    return 0.0, float(seconds.sum() / work.sum())
