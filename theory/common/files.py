"""Files that are written whole or not at all, and read without executing anything in them. No torch until tensors."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Collection, Iterator
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
def naming(path: str | os.PathLike[str], *partial: Path) -> Iterator[None]:
    """An OSError in the block that names no file, as that of a write to a full disk, or `partial`, names this path."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, *map(str, partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
        with naming(path), open(path, "wb") as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path, partial), _unfinished(partial) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # there is none, or nothing can be written there
            partial.unlink()


def _unfinished(partial: Path) -> BinaryIO:
    """The new file, locked while it is open: `clear_partials` leaves it."""
    while True:
        file = open(partial, "wb")  # noqa: SIM115
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):  # no locks there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was cleared before it was locked


def clear_partials(directory: str | os.PathLike[str]) -> None:
    """Removes what `replacing` left in a directory in processes that were killed; what is being written stays."""
    for path in Path(directory).glob(".*.partial"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


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


def write_tensors(path: str | os.PathLike[str], content: Any) -> None:
    """Tensors, numbers, text, and lists, tuples and dictionaries of them, with a checksum; OSError as `replacing`."""
    import torch

    buffer = io.BytesIO()  # a full disk is then an OSError of ours, and not one of torch's writer
    torch.save({"sha256": checksum(content), "content": content}, buffer)
    write(path, buffer.getvalue())


def read_tensors(path: str | os.PathLike[str], what: str, error: type[FileError] = FileError, like: Any = None) -> Any:
    """What `write_tensors` wrote, on the CPU. The checksum is compared, and nothing in the file is executed.

    Args:
        what: of what kind the file should be, for the message: "checkpoint".
        error: raised where it is not.
        like: what it should be `unlike` in numbers alone, which must then be finite.

    Raises:
        FileError: the file is truncated, damaged or changed, or holds other things than `write_tensors` writes.
        OSError: it cannot be read.
        MemoryError: it is larger than the memory.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    data = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # torch does not look at the check sums
            records = archive.infolist()
            packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
            if packed or sum(record.file_size for record in records) > len(data):
                raise ValueError("its records hold more than the file")
            if damaged := archive.testzip():
                raise ValueError(f"check sum of {damaged}")
        content = content_of(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))
        if like is not None and (wrong := unlike(content, like)) is not None:
            raise ValueError(wrong)
        if like is not None and not all(bool(torch.as_tensor(part).isfinite().all()) for part in tree_leaves(content)):
            raise ValueError("a number in it is not finite")
        return content
    except MemoryError:
        raise
    except Exception as found:  # whatever damage makes torch raise
        why = str(found).splitlines()[0] if str(found) else type(found).__name__
        raise error(f"{path} is truncated, damaged or no {what}: {why[:120]}") from None


def content_of(found: Any) -> Any:
    """The content of what `write_tensors` wrote, however it was read.

    Raises:
        ValueError: it was written by something else, or has changed since.
    """
    if not isinstance(found, dict) or set(found) != {"sha256", "content"}:
        raise ValueError("it was written by another program, or another version")
    if found["sha256"] != checksum(found["content"]):
        raise ValueError("its content is not what was written: the checksum differs")
    return found["content"]


def unlike(found: Any, pattern: Any, name: str = "") -> str | None:
    """Where a value differs from a pattern in type, names, length, dtype or shape; None: nowhere. Numbers may differ.

    >>> unlike({"at": 2.0}, {"at": 0})
    'at is of type float, not int'
    """
    import torch

    here = name or "it"
    if isinstance(pattern, torch.Tensor) and isinstance(found, torch.Tensor):
        told, wanted = (f"{x.dtype} {list(x.shape)}".removeprefix("torch.") for x in (found, pattern))
        return None if told == wanted else f"{here} is {told}, not {wanted}"
    if type(found) is not type(pattern):
        return f"{here} is of type {type(found).__name__}, not {type(pattern).__name__}"
    if isinstance(pattern, dict):
        if other := [key for key in [*found, *pattern] if (key in found) != (key in pattern)]:
            return f"{here} lacks or adds {str(other[0])[:40]!r}"
        inner = [(f"{name}.{key}".lstrip("."), found[key], pattern[key]) for key in pattern]
    elif isinstance(pattern, list | tuple):
        if len(found) != len(pattern):
            return f"{here} has {len(found)} parts, not {len(pattern)}"
        inner = [(f"{name}[{at}]", *pair) for at, pair in enumerate(zip(found, pattern, strict=True))]
    else:
        return None
    return next((said for key, one, other in inner if (said := unlike(one, other, key)) is not None), None)


def checksum(content: Any) -> str:
    """SHA-256 of what `write_tensors` writes: types, shapes, dtypes, and every bit.

    Raises:
        TypeError: something else is among it.
    """
    found = hashlib.sha256()
    _add(found, content)
    return found.hexdigest()


def _add(found: hashlib._Hash, value: Any) -> None:
    import torch

    if isinstance(value, torch.Tensor):
        found.update(f"tensor {value.dtype} {list(value.shape)};".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        found.update(f"dict {len(value)};".encode())
        for key, part in value.items():
            _add(found, key)
            _add(found, part)
    elif isinstance(value, list | tuple):
        found.update(f"{'list' if isinstance(value, list) else 'tuple'} {len(value)};".encode())
        for part in value:
            _add(found, part)
    elif value is None or isinstance(value, bool | int | float | str):
        found.update(f"{type(value).__name__} {value!r};".encode())
    else:
        raise TypeError(f"a file of tensors holds no {type(value).__name__}")


LARGEST_JSON = 1 << 26  # bytes


def read_json(path: str | os.PathLike[str], what: str, error: type[FileError] = FileError, finite: bool = True) -> Any:
    """What a file of JSON holds. A name that stands twice in an object is refused.

    Args:
        what, error: as in `read_tensors`.
        finite: whether NaN and infinity, which Python writes and JSON does not have, are refused too.

    Raises:
        FileError: it is none. OSError: it cannot be read.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
            raise ValueError(f"{twice[:40]!r} stands twice")
        return found

    def refused(text: str) -> float:
        raise ValueError(f"{text[:40]} is no number of JSON")

    def number(text: str) -> float:
        return float(text) if not finite or math.isfinite(float(text)) else refused(text)  # 1e999

    if os.path.getsize(path) > LARGEST_JSON:
        raise error(f"{path} is no {what}: it is larger than {LARGEST_JSON >> 20} MiB")
    try:
        text = Path(path).read_text("utf-8")
        return json.loads(
            text, object_pairs_hook=unique, parse_constant=refused if finite else None, parse_float=number
        )
    except RecursionError:
        raise error(f"{path} is no {what}: it is nested too deeply") from None
    except ValueError as found:
        raise error(f"{path} is damaged or no {what}: {str(found)[:120]}") from None


def read_table(
    path: str | os.PathLike[str],
    text: Collection[str] = (),
    numbers: Collection[str] | None = (),
    error: type[FileError] = FileError,
    comment: str | None = None,
) -> pd.DataFrame:
    """A table of CSV: whole rows under their names, each column of one kind.

    Args:
        text: columns that must be there, without a gap.
        numbers: columns that must be there and hold numbers alone, NaN and infinity among them; None: all but `text`.
        error: as in `read_tensors`.
        comment: begins lines that are left out.

    Raises:
        FileError: it is none. OSError: it cannot be read.
    """
    import pandas as pd

    data = Path(path).read_bytes()
    try:
        if not data.endswith(b"\n"):
            raise ValueError("its last row is not whole")
        found = pd.read_csv(io.BytesIO(data), comment=comment, low_memory=False)
        if not isinstance(found.index, pd.RangeIndex):
            raise ValueError("rows are longer than the line of names")
        wanted = [*text, *(numbers or ())]
        if missing := [name for name in wanted if name not in found]:
            raise ValueError(f"lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}")
        for name in text:
            if found[name].isna().any():
                raise ValueError(f"column {name} has a gap in row {int(found[name].isna().argmax()) + 1}")
        for name in [name for name in found if name not in text] if numbers is None else numbers:
            kind = found[name].dtype
            if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
                raise ValueError(f"column {str(name)[:40]!r} holds more than numbers")
    except ValueError as why:
        raise error(f"{path} is damaged or no such table: {' '.join(str(why).split())[:150]}") from None
    return found


def workplace() -> Path:
    """The checkout that this code lies in; the current directory if it is installed.

    Results that a command keeps, and pictures, are written below it: never beside an installed package.
    """
    root = Path(__file__).parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()
