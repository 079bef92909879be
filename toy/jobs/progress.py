"""How far a run is, on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from toy.jobs.board import Board
from toy.jobs.job import Job


@contextmanager
def progress(board: Board, jobs: Sequence[Job]) -> Iterator[None]:
    """On a terminal: a bar an arm, with time left and the latest metrics. Elsewhere: nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description:18}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[live]}"),
    )
    arms = list(dict.fromkeys(job.arm for job in jobs))
    slots = {arm: [i for i, job in enumerate(jobs) if job.arm == arm] for arm in arms}
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        tasks = {arm: bars.add_task(arm, total=sum(jobs[i].config.steps for i in slots[arm]), live="") for arm in arms}
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.3):
                rows = board.read()
                for arm, task in tasks.items():
                    mine = rows[slots[arm]]
                    begun = mine[mine[:, 0] > 0]
                    live = f"off {begun[:, 1].mean():.3f}  dist {begun[:, 2].mean():.3f}" if len(begun) else ""
                    bars.update(task, completed=mine[:, 0].sum(), live=live)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
