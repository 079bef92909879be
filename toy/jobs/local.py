"""Training of jobs over the processes of this machine, with progress and an orderly end at a request to stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from theory.common import signals
from theory.common.errors import Stopped
from theory.common.files import write_table
from theory.common.logs import Log, Table
from theory.common.processes import children
from toy.config import Config
from toy.jobs.board import Board
from toy.jobs.job import Job, Result, jobs_of
from toy.jobs.progress import progress
from toy.jobs.run_directory import BOARD, arrays_of, clear_leftovers, table_of, write_arrays


def train(
    config: Config, directory: Path, processes: int, logs: Sequence[Log] = ()
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Trains what the directory's checkpoint does not have yet; writes and returns metrics.csv and samples.npz.

    metrics.csv grows with every evaluation; the logs hear of each, see `theory.common.logs`.

    Raises:
        Diverged, Stopped, OSError: why a job ended early; the checkpoint and the metrics so far are saved.
        CheckpointError: the checkpoint cannot be used.
    """
    growing = Table(directory / "metrics.csv")
    growing.begin()
    try:
        results = run_jobs(jobs_of(config), processes, directory / "checkpoint.pt", draws=True, logs=[growing, *logs])
    finally:
        clear_leftovers(directory)
    table = table_of(results)
    write_table(directory / "metrics.csv", table)
    failures = [result.failure for result in results if result.failure is not None]
    if failures:
        raise next((failure for failure in failures if not isinstance(failure, Stopped)), failures[0])
    arrays = arrays_of(results)
    write_arrays(directory / "samples.npz", arrays)
    return table, arrays


def run_jobs(
    jobs: Sequence[Job],
    processes: int,
    checkpoint: Path | None,
    draws: bool = False,
    stop_on_failure: bool = True,
    logs: Sequence[Log] = (),
) -> list[Result]:
    """Trains all jobs over processes and tells their progress; at a request each job ends its step, saves and stops.

    The first job also computes the gradient fields of the picture if `draws`; a job that fails stops all others if
    `stop_on_failure`. Results come in the order of jobs.
    """
    board = Board(len(jobs), checkpoint and checkpoint.with_name(BOARD))
    try:
        with stop_on_request(board) as asked, progress(board, jobs), children():
            results = joblib.Parallel(n_jobs=min(processes, len(jobs)))(
                joblib.delayed(start)(job, slot, board, checkpoint, draws and slot == 0, stop_on_failure, logs)
                for slot, job in enumerate(jobs)
            )
        for result in results:
            if asked and isinstance(result.failure, Stopped):
                result.failure.status = signals.status(asked[0])
        return results
    finally:
        board.close()


def start(*arguments: Any) -> Result:
    """In a worker, which imports torch: trains a job."""
    from toy.jobs.worker import work

    return work(*arguments)


@contextmanager
def stop_on_request(board: Board) -> Iterator[list[int]]:
    """The first request asks the jobs to stop; the second one interrupts. Gives the numbers of those that came."""
    asked: list[int] = []

    def handle(number: int, _frame: object) -> None:
        asked.append(number)
        if board.stopped:
            raise signals.interruption(number)
        board.stop()
        print("\nstopping after the step (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    with signals.handled(handle):
        yield asked
