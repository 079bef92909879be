"""Disks that become full: a file system in memory of a given size, and a writer that stops after a number of bytes."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

PAGE = 4096  # bytes: sizes of a tmpfs are multiples
ROOMY = 256 << 20
INSIDE = "SMART_TESTS_DISK"  # set in a process that has a mount namespace of its own


def mountable() -> bool:
    """Whether this machine lets us mount, in a namespace of our own."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return done.returncode == 0


class Tmpfs:
    """A new and empty file system of so many bytes at a directory. Only in a mount namespace of our own.

    Raises:
        RuntimeError: not there. subprocess.CalledProcessError: it cannot be mounted.
    """

    def __init__(self, directory: Path, size: int):
        if INSIDE not in os.environ:
            raise RuntimeError("start this process by `unshare -rm`")
        self.directory = directory
        directory.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], check=True)

    def grow(self) -> None:
        """There is room from now on."""
        subprocess.run(["mount", "-o", f"remount,size={ROOMY}", self.directory], check=True)

    @property
    def used(self) -> int:
        found = os.statvfs(self.directory)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.directory], check=True)


@contextmanager
def stopping(directory: Path, size: int) -> Iterator[None]:
    """In the block, what Python writes to files below the directory fails, as on a full disk, after so many bytes.

    What C code opens by itself is not seen; a real file system sees that.
    """
    left = size

    class Limited(io.FileIO):
        def write(self, data: Any) -> int:
            nonlocal left
            data = memoryview(data).cast("B")[:left] if left < len(memoryview(data).cast("B")) else data
            if not len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = super().write(data)
            left -= written
            return written

    plain: Callable[..., Any] = io.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, *given: Any, **more: Any) -> Any:
        there = isinstance(file, str | os.PathLike) and Path(file).is_relative_to(directory)
        if not there or not set(mode) & set("wax+"):
            return plain(file, mode, buffering, *given, **more)
        raw = Limited(file, mode.replace("b", "").replace("t", ""))
        if "b" in mode:
            return raw if buffering == 0 else io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return io.TextIOWrapper(io.BufferedWriter(raw), *given, **more)

    with mock.patch.object(builtins, "open", opened), mock.patch.object(io, "open", opened):
        yield
