"""How training can end early. No torch here: the command line reads these before it loads anything."""

from __future__ import annotations


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Diverged(Exception):
    """A loss is no longer finite; the message names the run and the step."""


class OutOfMemory(Exception):
    """The message names the part of the step, and what to lower."""
