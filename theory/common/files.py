"""Files that are written whole or not at all, and read without executing anything in them. No torch until tensors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from theory.common.errors import FileError, UsageError

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well; else `path` stays as it was.

    It is written beside `path` and then renamed: a reader sees the old bytes or the new ones. What is no file
    (/dev/stdout, a named pipe) is not replaced: it is written to.

    Raises:
        OSError: the disk is full, read-only, ...; it names `path`.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, "wb") as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # there is none, or nothing can be written there
            partial.unlink()


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """The directory is this process's for the block: it is locked, not written to. The lock ends with the process.

    Where the file system has no locks, as some network ones, nothing is held.

    Raises:
        UsageError: another process, of this machine or of one that shares the file system, holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{directory} is in use: a process that is still running writes to it") from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """The data as the file, whole or not at all; text in UTF-8.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """value as indented JSON; OSError as `replacing`."""
    write(path, json.dumps(value, indent=2) + "\n")


def write_table(path: str | os.PathLike[str], table: pd.DataFrame, digits: int | None = None) -> None:
    """The table as CSV without its index, numbers to `digits` significant digits; OSError as `replacing`."""
    write(path, table.to_csv(index=False, float_format=None if digits is None else f"%.{digits}g"))


def read_tensors(path: str | os.PathLike[str], what: str, error: type[FileError] = FileError) -> Any:
    """What torch.save wrote, on the CPU. Check sums are verified, and nothing in the file is executed.

    Args:
        what: of what kind the file should be, for the message: "checkpoint".
        error: raised where it is not.

    Raises:
        FileError: the file is truncated, damaged or holds other things than tensors, numbers, text and containers.
        OSError: it cannot be read.
        MemoryError: it is larger than the memory.
    """
    import torch

    data = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # torch does not look at the check sums
            records = archive.infolist()
            packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
            if packed or sum(record.file_size for record in records) > len(data):
                raise ValueError("its records hold more than the file")
            if damaged := archive.testzip():
                raise ValueError(f"check sum of {damaged}")
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as found:  # whatever damage makes torch raise
        why = str(found).splitlines()[0] if str(found) else type(found).__name__
        raise error(f"{path} is truncated, damaged or no {what}: {why[:120]}") from None


def workplace() -> Path:
    """The checkout that this code lies in; the current directory if it is installed.

    Results that a command keeps, and pictures, are written below it: never beside an installed package.
    """
    root = Path(__file__).parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()
