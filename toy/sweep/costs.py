"""The processor time of a sweep, estimated from that of finished jobs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np

from toy.sweep.cache import description, digest
from toy.sweep.design import Task

Timing = tuple[dict[str, Any], float]  # the description of a job, and its seconds


class Costs:
    """Estimates processor time: the median of finished jobs of the same kind, else a + b work, fitted to all.

    Without timings the estimate is the work itself, by which jobs can be ordered.
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
    """What jobs of one kind have in common: they differ in seeds, learning rate, lambda and bound only."""
    return digest([task["arm"], len(task["seeds"]), task["measure"], task["config"]])


def work(task: dict[str, Any]) -> float:
    """The number of steps of one network of one seed in a job."""
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
