"""How a run can end early. No torch here: the parent process reads these too."""

from __future__ import annotations


class Diverged(Exception):
    """A loss, or what is computed of the samples, is no longer finite; the message names arm, seed and step."""


class Stopped(Exception):
    """Somebody, or another job that failed, asked the job to stop."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Lost(Exception):
    """Those who did the work are gone: a cluster's scheduler, or worker after worker."""


def reason(error: OSError) -> str:
    """What the system refused, in one line."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
