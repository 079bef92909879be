"""How a command can end early: each exception has the exit status of a command that it ends. No torch here."""

from __future__ import annotations


class Failure(Exception):
    """Ends a command with its message as one line; see `theory.common.commandline.run`."""

    status = 1


class UsageError(Failure):
    """The options cannot be meant."""

    status = 2


class FileError(Failure, ValueError):
    """A file that a user gave and that cannot be used; the message names it and says why."""

    status = 2


class CheckpointError(FileError):
    """A checkpoint that cannot be used; the message names the file and says why."""


class Diverged(Failure):
    """A loss, or what is computed of the samples, is no longer finite; the message names arm, seed and step."""


class Stopped(Failure):
    """The job was asked to stop: by Ctrl-C, or because another job failed."""


class Lost(Failure):
    """The processes that did the work are gone: a cluster's scheduler, or worker after worker."""


class OutOfMemory(Failure):
    """The message names the part that asked for the memory, and what to lower."""


NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether that is why; on a CPU torch raises a plain RuntimeError, and another one for more than 2^63 bytes."""
    text = str(error)
    return isinstance(error, MemoryError) or any(said in text for said in NO_MEMORY)
