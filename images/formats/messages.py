"""What is said of a file that cannot be used: one short line, whatever the file holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from theory.common.errors import FileError, out_of_memory

LONGEST = 220  # characters of a message, beside the file's name
WORD = 60  # characters of a name or a number from a file


def shown(value: object) -> str:
    """A value from a file: at most 60 characters, none of them a control character; of a container its kind and length.

    repr() of a tuple that holds a tuple twice, that holds a tuple twice, ..., takes 2^depth characters.
    """
    if isinstance(value, bool | float | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**20 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        return clipped(repr(value[:WORD]), len(value) > WORD)
    if isinstance(value, list | tuple) and len(value) <= 8 and all(type(item) in (int, float, str) for item in value):
        return clipped(f"({', '.join(shown(item) for item in value)}{',' * (len(value) == 1)})")
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | dict | bytes) else "")


def clipped(text: str, more: bool = False) -> str:
    """The first 60 characters, with dots where there are more."""
    return f"{text[: WORD - 3]}..." if more or len(text) > WORD else text


def line(text: str) -> str:
    """One line of at most 220 characters, none of them a control character."""
    text = " ".join(text[: 4 * LONGEST].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def said(error: BaseException) -> str:
    """An exception's message as such a line; its kind where it has none."""
    text = str(error)
    return line(f"no {text}" if isinstance(error, KeyError) else text) or type(error).__name__


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """In the block, whatever a damaged file makes a reader raise becomes one line that begins with the file's name.

    What is not the file's fault passes: a lack of memory, and what the system refused.

    Raises:
        FileError: in place of any other Exception.
    """
    try:
        yield
    except FileError as error:
        raise FileError(f"{path}: {said(error)}") from None
    except Exception as error:
        system = isinstance(error, OSError) and error.filename is not None  # false offsets have no file's name
        if system or out_of_memory(error):
            raise
        raise FileError(f"{path}: truncated or damaged ({said(error)})") from None
