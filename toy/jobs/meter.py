"""How far a sweep is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

EVERY = 10.0  # seconds between lines


class Advance(Protocol):
    """Tells that the job of this index has ended."""

    def __call__(self, index: int) -> None: ...


@contextmanager
def meter(title: str, costs: Sequence[float]) -> Iterator[Advance]:
    """Shows jobs done and the time left at the pace so far; costs: what each job should take, in any unit."""
    begun = last = time.monotonic()
    done, cost = 0, 0.0
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(title, total=len(costs), left="")

        def advance(index: int) -> None:
            nonlocal last, done, cost
            done, cost, now = done + 1, cost + costs[index], time.monotonic()
            left = f"{duration((now - begun) * (sum(costs) / cost - 1))} left"
            bars.update(bar, completed=done, left=left)
            if not console.is_terminal and now - last > EVERY:
                print(f"{title}: {done} of {len(costs)} jobs, {left}", file=sys.stderr, flush=True)
                last = now

        yield advance


def duration(seconds: float) -> str:
    """1 h 5 min, 12 min, 40 s."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
