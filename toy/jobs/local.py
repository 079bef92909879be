"""A run: its jobs over processes, their progress, and the files that they leave."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from theory.common import files
from theory.common.errors import Stopped
from toy.config import Config, as_dict
from toy.jobs.board import Board
from toy.jobs.job import Job, Result, jobs_of
from toy.jobs.progress import progress

FILES = ("config.json", "metrics.csv", "summary.json", "samples.npz", "figure.png", "checkpoint.pt")


def start(*arguments: Any) -> Result:
    """In a worker, which imports torch: trains a job."""
    from toy.jobs.worker import work

    return work(*arguments)


def run_jobs(
    jobs: Sequence[Job], processes: int, checkpoint: Path | None, draws: bool = False, stop_on_failure: bool = True
) -> list[Result]:
    """Trains all jobs over processes, with progress on a terminal; Ctrl-C lets each save and stop.

    The first job also computes the gradient fields of the picture if `draws`; a job that fails stops all others if
    `stop_on_failure`. Results come in the order of jobs.
    """
    board = Board(len(jobs))
    try:
        with progress(board, jobs), stop_on_interrupt(board):
            return joblib.Parallel(n_jobs=min(processes, len(jobs)))(
                joblib.delayed(start)(job, slot, board, checkpoint, draws and slot == 0, stop_on_failure)
                for slot, job in enumerate(jobs)
            )
    finally:
        board.close()


@contextmanager
def stop_on_interrupt(board: Board) -> Iterator[None]:
    """The first Ctrl-C asks the jobs to stop; the second one interrupts."""

    def handle(*_: Any) -> None:
        if board.stopped:
            raise KeyboardInterrupt
        board.stop()
        print("\nstopping after the next evaluation (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def table_of(results: Sequence[Result]) -> pd.DataFrame:
    """The records of all jobs, tidy: arm, seed, step, metric, value."""
    rows = [
        (result.job.arm, seed, step, metric, value)
        for result in results
        for step, metric, values in result.records
        for seed, value in zip(result.job.seeds, values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "step", "metric", "value"])
    arms = list(dict.fromkeys(result.job.arm for result in results))
    order = table.assign(rank=table.arm.map(arms.index)).sort_values(["rank", "seed", "step"], kind="stable")
    return order.drop(columns="rank").reset_index(drop=True)


def begin(config: Config, directory: Path) -> None:
    """Makes the directory that of a new run: its config.json, and no file of an earlier run; others stay.

    Raises:
        OSError: it cannot be written; an earlier run there is then as it was.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sweep(directory)
    write_json(directory / "config.json", as_dict(config))
    for name in FILES[1:]:
        (directory / name).unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Removes what killed processes may have left: unfinished files and the checkpoint's lock."""
    for name in FILES:
        for partial in directory.glob(f".{name}.*.partial"):
            partial.unlink(missing_ok=True)
    (directory / ".checkpoint.pt.lock").unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    files.write(path, (json.dumps(value, indent=2) + "\n").encode())


def write_table(path: Path, table: pd.DataFrame) -> None:
    files.write(path, table.to_csv(index=False).encode())


def arrays_of(results: Sequence[Result]) -> dict[str, np.ndarray]:
    """What the picture draws: final samples by arm [seed, n, d], real ones, the start, and the gradient fields."""
    arrays: dict[str, np.ndarray] = {}
    for result in results:
        arrays |= result.picture
    for arm in dict.fromkeys(result.job.arm for result in results):
        parts = [result.samples for result in results if result.job.arm == arm and result.samples is not None]
        arrays[arm] = np.concatenate(parts)
    return arrays


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    files.write(path, buffer.getvalue())


def train(config: Config, directory: Path, processes: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Trains what is not yet in the directory's checkpoint; writes metrics.csv and samples.npz.

    Raises:
        Diverged, Stopped, OSError: why a job ended early; the checkpoint and the metrics so far are saved.
        CheckpointError: the checkpoint cannot be used.
    """
    try:
        results = run_jobs(jobs_of(config), processes, directory / "checkpoint.pt", draws=True)
    finally:
        sweep(directory)
    table = table_of(results)
    write_table(directory / "metrics.csv", table)
    failures = [result.failure for result in results if result.failure is not None]
    if failures:
        raise next((failure for failure in failures if not isinstance(failure, Stopped)), failures[0])
    arrays = arrays_of(results)
    write_arrays(directory / "samples.npz", arrays)
    return table, arrays
