"""Checks of options and arguments. What is refused is named, with what was given and what is wanted. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path

LONGEST = 80  # characters of a value in a message
MOST = 2**62  # of a whole number: sums of two are still numbers of 64 bits


def told(value: object) -> str:
    """A value for a message: what repr says of it, cut where that is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of more than 4300 digits, lists in lists in lists, ...
        return f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def few(items: Iterable[object], most: int = 3, between: str = ", ") -> str:
    """The first of them, and how many more there are: "steps, width and 4 more"."""
    words = [str(item) if len(str(item)) <= LONGEST else f"{str(item)[: LONGEST - 3]}..." for item in items]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


def choose(value: str, choices: Iterable[str], what: str) -> str:
    """The choice that value names, whatever its case.

    Raises:
        ValueError: there is none; names the choices and the nearest of them.
    """
    known = tuple(choices)
    if not isinstance(value, str):
        raise ValueError(f"{what} must be one of {listed(known)}; given {told(value)}")
    for choice in known:
        if choice.casefold() == value.casefold():
            return choice
    raise ValueError(f"unknown {what} {told(value)}: choose from {listed(known)}{suggestion(value, known)}")


def listed(names: Sequence[str]) -> str:
    """The names between commas, in quotes where one of them has a comma itself."""
    return ", ".join(map(repr, names) if any("," in name for name in names) else names)


def suggestion(word: str, choices: Iterable[str]) -> str:
    """ "; did you mean 'ring'?", or nothing where no choice is close."""
    folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(str(word).casefold(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def whole(name: str, value: object, least: int = 0, most: int = MOST) -> int:
    """value as an int.

    Raises:
        ValueError: it is no whole number (True is none), below least or above most.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; given {told(value)}")
    if int(value) > most:
        raise ValueError(f"{name} must be at most {most}; given {told(value)}")
    return int(value)


def real(name: str, value: object) -> float:
    """value as a float.

    Raises:
        ValueError: it is no finite number (True is none).
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not _finite(value):
        raise ValueError(f"{name} must be a finite number; given {told(value)}")
    return float(value)


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond 1e308
        return False


def at_least(name: str, value: object, least: float) -> float:
    """value as a float.

    Raises:
        ValueError: it is no finite number, or is below least.
    """
    if real(name, value) < least:
        raise ValueError(f"{name} must be at least {least} and finite; given {told(value)}")
    return real(name, value)


def positive(name: str, value: object) -> float:
    """value as a float.

    Raises:
        ValueError: it is no finite number, or is not above 0.
    """
    if not real(name, value) > 0:
        raise ValueError(f"{name} must be positive and finite; given {told(value)}")
    return real(name, value)


def share(name: str, value: object) -> float:
    """value as a float.

    Raises:
        ValueError: it does not lie in [0, 1).
    """
    if not 0 <= real(name, value) < 1:
        raise ValueError(f"{name} must lie in [0, 1); given {told(value)}")
    return real(name, value)


def flag(name: str, value: object) -> bool:
    """value, if it is True or False.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; given {told(value)}")
    return value


def existing(name: str, path: Path) -> Path:
    """path, if there is a file or directory of this name.

    Raises:
        ValueError: there is none.
    """
    if not path.exists():
        raise ValueError(f"{name}: {path} does not exist")
    return path
