"""Ctrl-C, which a terminal sends to every process, is the parent's to handle: no worker sees it, and none is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


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
