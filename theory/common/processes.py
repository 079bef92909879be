"""Processes that joblib starts: requests to stop, sent to all of them, are the parent's alone; they end with it."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from theory.common.signals import REQUESTS, end_with_parent

SHARED = Path("/dev/shm")
T = TypeVar("T")


@contextmanager
def started() -> Iterator[None]:
    """A request to stop waits until the block ends; processes that are started in the block never get one.

    (Where other threads run it may come at once; it is not lost.)
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker  # 0.2 s, which --help does without

    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)  # again: starting a tracker unblocks some
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def closing(outcomes: Generator[T, None, None]) -> Iterator[Generator[T, None, None]]:
    """Gives up joblib's outcomes when the block ends, without its warning that tasks were cancelled."""
    try:
        yield outcomes
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* have been cancelled")
            outcomes.close()


@contextmanager
def children() -> Iterator[None]:
    """The processes that joblib starts in the block, on this machine, end when this one does."""
    import joblib

    with joblib.parallel_config(backend="loky", initializer=end_with_parent, initargs=(os.getpid(),)):
        yield


def clear_shared_memory() -> None:
    """Removes the empty folders and the semaphores that joblib left in shared memory for processes which were killed
    together with what cleans up."""
    for pattern, part, remove in (
        ("joblib_memmapping_folder_*", 3, Path.rmdir),
        ("sem.loky-*", 1, Path.unlink),
    ):
        for path in SHARED.glob(pattern):
            number = path.name.replace("-", "_").split("_")[part]
            if number.isdigit() and not Path("/proc", number).exists():
                with suppress(OSError):  # it is not empty, or somebody else's
                    remove(path)
