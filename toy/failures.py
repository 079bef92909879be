"""How a command can end early, and what it says then. No torch here: the parent process reads these too."""

from __future__ import annotations


class Diverged(Exception):
    """A loss, or what is computed of the samples, is no longer finite; the message names arm, seed and step."""


class Stopped(Exception):
    """Somebody, or another job that failed, asked the job to stop."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Lost(Exception):
    """Those who did the work are gone: a cluster's scheduler, or worker after worker."""


def out_of_memory(error: Exception) -> bool:
    """Whether that is why; torch has no type of its own for it on a CPU."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
