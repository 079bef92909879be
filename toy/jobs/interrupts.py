"""Ctrl-C, which a terminal sends to every process, is the parent's to handle: no worker sees it, and none is lost."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def held() -> Iterator[None]:
    """A Ctrl-C waits until the block ends; processes that are started in the block inherit that it waits for ever.

    (Where other threads run it may come at once; it is not lost.)
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@contextmanager
def closing(outcomes: Generator[T, None, None]) -> Iterator[Generator[T, None, None]]:
    """Gives up joblib's outcomes when the block ends, without its warning that tasks were cancelled."""
    try:
        yield outcomes
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* have been cancelled")
            outcomes.close()
