"""What a command prints beside its result: rich's console, and the progress of a long loop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
EVERY = 10.0  # seconds between two lines of progress


def console(stderr: bool = False) -> Console:
    """Rich's console. Through a pipe it breaks no line, whatever COLUMNS says: a row of a table is a line."""
    found = Console(stderr=stderr, highlight=False, markup=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=10_000)


def tracked(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, with progress on standard error: a bar with the time left on a terminal, else a line every 10 seconds.

    Args:
        what: the beginning of each line, "images".
        total: how many items there are.
    """
    shown = console(stderr=True)
    if shown.is_terminal:
        yield from track(items, what, total=total, console=shown, transient=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= EVERY and done < total:
            last = now
            left = (now - start) / done * (total - done)
            shown.print(f"{what}: {100 * done // total} %, about {left:.0f} s left")
