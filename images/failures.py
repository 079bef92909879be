"""How commands can end early. No torch here: the command lines read these before they load anything."""

from __future__ import annotations


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Diverged(Exception):
    """A loss is no longer finite; the message names the run and the step."""


class OutOfMemory(Exception):
    """The message names the part of the step, and what to lower."""
