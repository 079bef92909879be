"""Lines through a pipe are not broken, progress is told now and then, and items pass unchanged."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from theory.common import terminal
from theory.common.checks import existing
from theory.common.terminal import console, tracked


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_row_through_a_pipe_is_a_line(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", columns)
    text = "a sentence of [95 %] brackets and [red] " * 10
    table = Table(text, "b", box=None)
    table.add_row(text, "[1, 2]")
    out = console()
    out.print(text.strip())
    out.print(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("sentence") for line in lines] == [10, 10, 10]
    assert lines[0] == text.strip()
    assert "[1, 2]" in lines[2]


@pytest.mark.parametrize(("seconds", "told"), [(0.01, 0), (4.0, 3)])
def test_progress_now_and_then(
    seconds: float, told: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten items of so many seconds each: a line after at least ten seconds without one, none when all is done."""
    clock = itertools.count(0, seconds)
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    assert list(tracked(iter(range(10)), "images", 10)) == list(range(10))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert (captured.out, len(lines)) == ("", told)
    if told:
        assert lines[0] == "images: 30 %, about 28 s left"
        assert "\x1b" not in captured.err


def test_an_error_of_the_loop_passes() -> None:
    items: Any = tracked(range(3), "images", 3)
    assert next(items) == 0
    with pytest.raises(ZeroDivisionError):
        items.throw(ZeroDivisionError)


def test_existing(tmp_path: Path) -> None:
    assert existing("--data", tmp_path) == tmp_path
    with pytest.raises(ValueError, match=rf"--data: {tmp_path}/no\.zip does not exist"):
        existing("--data", tmp_path / "no.zip")


def test_a_terminal_too_is_given_the_text_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither words in brackets are colours, nor numbers coloured."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(terminal.Console, "is_terminal", True)
    out = console()
    assert out.width == 40
    out.print("[red] 1.5 [/red] 'a'")
    assert capsys.readouterr().out == "[red] 1.5 [/red] 'a'\n"
