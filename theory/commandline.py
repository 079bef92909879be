"""Command lines made from frozen dataclasses by tyro, with every complaint in one line.

No torch here: --help and bad usage answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TypeVar
from unittest import mock

import tyro

Options = TypeVar("Options")


class UsageError(Exception):
    """What was asked for cannot be meant: exit status 2, the message in one line."""


def parse(kind: type[Options], arguments: Sequence[str] | None, prog: str, default: Options | None = None) -> Options:
    """The options as a `kind`; --help prints and exits 0.

    Raises:
        UsageError: an unknown option, a missing or malformed value.
    """
    complaint = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "1000"}) if "--help" not in _given(arguments) else nothing()
    try:
        with wide, contextlib.redirect_stderr(complaint):
            if default is None:
                return tyro.cli(kind, args=arguments, prog=prog)
            return tyro.cli(kind, args=arguments, prog=prog, default=default)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UsageError(f"{_in_one_line(complaint.getvalue())} (see {prog} --help)") from None


nothing = contextlib.nullcontext


def _given(arguments: Sequence[str] | None) -> Sequence[str]:
    return sys.argv[1:] if arguments is None else arguments


def _in_one_line(box: str) -> str:
    """The message of tyro's box, and the first option that it suggests."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│| ") for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    title, *parts = re.split(r" *[─-]{9,} *", " ".join(lines))
    first = parts[0] if parts and "╭" not in text else title  # where only ASCII can be printed, the title is a part
    message = re.sub(r"^Error parsing \w+: (?!--)", "", first.strip().replace("Error parsing --", "--"))
    suggested = re.search(r"Perhaps you meant.*?(--[\w.-]+)", text, re.DOTALL)
    return message + (f"; did you mean {suggested.group(1)}?" if suggested else "")


def complain(message: object, status: int) -> int:
    """Says what went wrong as one line of standard error; gives the exit status back."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return status


def reason(error: OSError) -> str:
    """What the system refused."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def choose(value: str, choices: Sequence[str], what: str) -> str:
    """value, if it is one of the choices.

    Raises:
        ValueError: it is not; names the choices and the nearest of them.
    """
    if value in choices:
        return value
    close = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown {what} {value!r}: choose from {', '.join(choices)}{hint}")
