"""Requests to stop: Ctrl-C (SIGINT), SIGTERM of a batch system or of `kill`, SIGHUP of a terminal that is closed.

SIGQUIT (Ctrl-\\) is none: as SIGKILL does, it ends a process at once, and its workers with it. The last checkpoint is
then what there is.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
LOOK = 0.2  # seconds between two looks at the parent


class Terminated(KeyboardInterrupt):
    """What SIGTERM and SIGHUP raise, as Ctrl-C raises its KeyboardInterrupt; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def status(number: int) -> int:
    """The exit status of a command that a request ended: 1 for Ctrl-C, else the shells' 128 + number (143, 129)."""
    return 1 if number == signal.SIGINT else 128 + number


def interruption(number: int) -> KeyboardInterrupt:
    """The exception of a request."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


def interrupt(number: int, _frame: object = None) -> None:
    """A handler that raises the exception of the request."""
    raise interruption(number)


@contextmanager
def handled(handle: Callable[[int, object], object]) -> Iterator[None]:
    """In the block, requests call handle(number, frame); one that is ignored (nohup's SIGHUP) stays so.

    Outside of the main thread, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in REQUESTS}
    meant = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in meant:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in meant:
            signal.signal(number, before[number])


before_the_end: list[Callable[[], object]] = []
"""What `end_with_parent` calls, in this process, when the parent has ended; a lock that it waits for delays the end."""


def end_with_parent(parent: int) -> None:
    """Ends this process at most LOOK seconds after its parent, however that ended, also if it has ended by now.

    Args:
        parent: its process number.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        for call in before_the_end:
            call()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
