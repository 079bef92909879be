"""How a command can end early, and what it says then. No torch here: the parent process reads these too."""

from __future__ import annotations

import sys


class Diverged(Exception):
    """A loss, or what is computed of the samples, is no longer finite; the message names arm, seed and step."""


class Stopped(Exception):
    """Somebody, or another job that failed, asked the job to stop."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Lost(Exception):
    """Those who did the work are gone: a cluster's scheduler, or worker after worker."""


def complain(message: object, status: int) -> int:
    """Says what went wrong on standard error, in one line; gives the exit status back."""
    print(f"error: {message}", file=sys.stderr)
    return status


def out_of_memory(error: Exception) -> bool:
    """Whether that is why; torch has no type of its own for it on a CPU."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def reason(error: OSError) -> str:
    """What the system refused, in one line."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
