"""Own parts of a run: a file of the user's and, of a Python file, the object in it that is meant.

    --manifold points.csv                          these points (toy/OWN_PARTS.md)
    --manifold laws.py:heart                       the object `heart` in a Python file
    --score, --generator parts.py:NAME             the same for images (images/OWN_PARTS.md)

A relative path is one from the current directory, which the processes of a run share. A configuration holds the path
as it was given and, behind an @, the first 16 hexadecimal digits of the SHA-256 of the file's content: a run whose file
has changed is neither resumed nor taken from a cache. Of a Python file only this one is looked at, not what it imports
or reads. No torch here.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from theory.common.checks import choose, suggestion
from theory.common.errors import Failure, FileError

WRITTEN = re.compile(r"(?P<path>.+?\.(?P<kind>csv|npy|py))(:(?P<name>[^:@]*))?(@(?P<digest>[0-9a-f]{16}))?", re.I)
TABLES = ("csv", "npy")
OBJECTS: dict[str, Any] = {}
"""Objects that were given in Python, by the values of a configuration that mean them."""


class Part(NamedTuple):
    """An own part as it is written: PATH, PATH:NAME, with @DIGEST behind it where the content is known."""

    path: str
    kind: str
    name: str | None
    digest: str | None

    def __str__(self) -> str:
        return self.path if self.name is None else f"{self.path}:{self.name}"


def part_of(value: str) -> Part | None:
    """The part that is meant; None for a name of ours."""
    found = WRITTEN.fullmatch(value)
    return found and Part(found["path"], found["kind"].lower(), found["name"], found["digest"])


def is_own(value: str) -> bool:
    """Whether a value of a configuration is an own part."""
    return part_of(value) is not None


def label(value: str) -> str:
    """The value for titles: of an own part the file's name, and that of the object, without directory and digest."""
    part = part_of(value)
    if part is not None and value in OBJECTS:
        return str(part.name)
    return value if part is None else str(part._replace(path=Path(part.path).name))


def choose_or_own(option: str, value: Any, choices: Iterable[str], kinds: Iterable[str] = ("py",)) -> str:
    """The choice that the value names, or an own part of one of these kinds with the digest of its file.

    Raises:
        ValueError: it is neither. FileError: the file cannot be read, or is not the one that the digest is of.
    """
    if isinstance(value, str) and value in OBJECTS:
        return value
    written = " or ".join(f"FILE.{kind}" + (":NAME" if kind == "py" else "") for kind in kinds)
    part = part_of(value) if isinstance(value, str) else None
    if part is None:
        try:
            return choose(value, choices, option)
        except ValueError as error:
            raise ValueError(f"{error}; or your own: {written}") from None
    if part.kind not in kinds or (part.kind in TABLES and part.name is not None):
        raise ValueError(f"{option} must be {written}, or one of {', '.join(choices)}; given {value}")
    if part.kind == "py" and not (part.name or "").isidentifier():
        raise ValueError(f"{option} must name an object of the file: {part.path}:NAME; given {value}")
    return f"{part}@{digest_of(read(part))}"


def read(part: Part) -> bytes:
    """The content of the part's file.

    Raises:
        FileError: it cannot be read, or its digest is not that of the part.
    """
    try:
        content = Path(part.path).read_bytes()
    except OSError as error:
        if part.path == "<object>.py":
            raise FileError(f"{part.name} was an object given in Python: only Python can give it again") from None
        where = "" if os.path.isabs(part.path) else f" (in {os.getcwd()})"
        raise FileError(f"{part.path}: {error.strerror}{where}") from None
    if part.digest not in (None, digest_of(content)):
        raise FileError(
            f"{part.path} has changed since the run began: its SHA-256 begins with {digest_of(content)}, "
            f"that of the run with {part.digest}"
        )
    return content


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def given(name: str, value: Any) -> str:
    """What a configuration holds for an object that is given in Python: <object>.py:NAME@DIGEST.

    The digest is of the object as it is pickled and of the source of its class or function; not of what that calls.

    Args:
        name: in titles and tables, where the object has none of its own: a class or function has, of others it is
            that of their class.

    Raises:
        ValueError: it cannot be pickled, as work in other processes needs it.
    """
    import cloudpickle

    try:
        content = cloudpickle.dumps(value)
    except Exception as error:
        raise ValueError(f"{name} must be picklable; given {value!r:.80}: {error!s:.80}") from None
    code = value if isinstance(value, type) or inspect.isroutine(value) else type(value)
    with contextlib.suppress(OSError, TypeError):  # of what was typed, or is built in, there is no source
        content += inspect.getsource(code).encode()
    own = getattr(value, "__name__", name if type(value).__module__ == "builtins" else type(value).__name__)
    name = re.sub(r"\W", "_", own).strip("_")
    key = f"<object>.py:{name}@{digest_of(content)}"
    OBJECTS[key] = value
    return key


def load(value: str) -> Any:
    """The object that FILE.py:NAME means. Each content of a file is run once in a process.

    Raises:
        FileError: as `read`; the file cannot be run, or has no such object.
    """
    if value in OBJECTS:
        return OBJECTS[value]
    part = part_of(value)
    assert part is not None, value
    assert part.name is not None, value
    module = module_of(part.path, read(part))
    if not hasattr(module, part.name):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise FileError(f"{part.path} has no {part.name}{suggestion(part.name, known)}")
    return getattr(module, part.name)


@lru_cache(maxsize=32)
def module_of(path: str, content: bytes) -> ModuleType:
    """The file as a module of a name of its own: what it defines can be pickled in this process."""
    module = ModuleType(f"own_{digest_of(content)}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    tried(path, "cannot be run", lambda: exec(compile(content, path, "exec", dont_inherit=True), vars(module)))
    return module


def tried(part: str | Part, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the user's function returns.

    Raises:
        FileError: it raises; the message says `what`, why and, where it is known, in which line of the user's file.
    """
    try:
        return function(*arguments)
    except Failure:
        raise
    except (Exception, SystemExit) as error:
        found = part_of(part) if isinstance(part, str) else part
        path = str(part) if found is None else found.path
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
        why = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())[:160]
        where = "" if line is None else f", line {line}"
        raise FileError(f"{found or path} {what}: {type(error).__name__}{where}: {why}") from error
