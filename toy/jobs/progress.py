"""The progress of a run or a sweep: bars on a terminal, lines of standard error through a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from toy.jobs.board import Board
from toy.jobs.job import Job

EVERY = 10.0  # seconds between lines, at least
LOOK = 0.3  # seconds between looks at the board


class Lines:
    """Lines of standard error, one after every EVERY seconds or tenth of the time so far, whichever is longer."""

    def __init__(self) -> None:
        self.begun = self.last = time.monotonic()

    def tell(self, title: str, share: float, more: str = "") -> None:
        """'TITLE: 40 % done, 25 s left; MORE', if a line is due.

        Args:
            share: done of the whole, in [0, 1].
        """
        now = time.monotonic()
        if now - self.last < max(EVERY, (now - self.begun) / 10):
            return
        self.last = now
        left = f", {duration((now - self.begun) * (1 / share - 1))} left" if share else ""
        print(f"{title}: {100 * share:.0f} % done{left}{more and f'; {more}'}", file=sys.stderr, flush=True)


@contextmanager
def progress(board: Board, jobs: Sequence[Job]) -> Iterator[None]:
    """Shows how far the jobs are while the block runs: a bar an arm with the latest metrics, or such lines."""
    console, lines = Console(stderr=True), Lines()
    arms = list(dict.fromkeys(job.arm for job in jobs))
    slots = {arm: [i for i, job in enumerate(jobs) if job.arm == arm] for arm in arms}
    steps = {arm: sum(jobs[i].config.steps for i in slots[arm]) for arm in arms}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[live]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal) as bars:
        tasks = {arm: bars.add_task(arm, total=steps[arm], live="") for arm in arms}

        def look() -> None:
            rows = board.read()
            found = {arm: latest(rows[slots[arm]]) for arm in arms}
            if console.is_terminal:
                for arm, values in found.items():
                    live = "" if values is None else f"off {values[0]:.3f}  dist {values[1]:.3f}"
                    bars.update(tasks[arm], completed=rows[slots[arm], 0].sum(), live=live)
            else:
                known = ", ".join(f"{arm} {values[0]:.3f}" for arm, values in found.items() if values is not None)
                share = rows[:, 0].sum() / sum(steps.values())
                lines.tell("training", share, f"off the manifold: {known}" if known else "")

        with repeated(look, LOOK):
            yield


def latest(rows: np.ndarray) -> tuple[float, float] | None:
    """Off-manifold share and mean distance, the means over the jobs [job, 3] that took a step; None if none did."""
    begun = rows[rows[:, 0] > 0]
    return (begun[:, 1].mean(), begun[:, 2].mean()) if len(begun) else None


@contextmanager
def repeated(function: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls the function every so many seconds, in a thread, while the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            function()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Advance(Protocol):
    """Tells that the job of this index has ended."""

    def __call__(self, index: int) -> None: ...


@contextmanager
def meter(title: str, costs: Sequence[float]) -> Iterator[Advance]:
    """Shows jobs done and the time left at the pace so far; costs: what each job should take, in any unit."""
    begun = time.monotonic()
    done, cost = 0, 0.0
    console, lines = Console(stderr=True), Lines()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(title, total=len(costs), left="")

        def advance(index: int) -> None:
            nonlocal done, cost
            done, cost = done + 1, cost + costs[index]
            share = cost / sum(costs)
            left = duration((time.monotonic() - begun) * (1 / share - 1))
            bars.update(bar, completed=done, left=f"{left} left")
            if not console.is_terminal:
                lines.tell(title, share, f"{done} of {len(costs)} jobs")

        yield advance


def duration(seconds: float) -> str:
    """1 h 5 min, 12 min, 40 s."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
