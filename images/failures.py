"""How commands can end early. No torch here: the command lines read these before they load anything."""

from __future__ import annotations

import sys


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Diverged(Exception):
    """A loss is no longer finite; the message names the run and the step."""


class OutOfMemory(Exception):
    """The message names the part of the step, and what to lower."""


def complain(message: object, status: int) -> int:
    """Prints the message as one line of standard error; the exit status that it means."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return status
