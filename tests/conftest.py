"""One finished tiny run for all tests that only look at it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest

from tests.commands import TINY, Command
from theory.common.commandline import run as run_command
from toy.pictures import run_figure
from toy.run import main

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background; what the tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def settings_are_kept() -> Iterator[None]:
    """No command leaves matplotlib's settings changed: the next picture of the process would look different."""
    before = mpl.rcParams.copy()
    yield
    changed = [name for name, value in before.items() if name != "backend" and mpl.rcParams[name] != value]
    assert not changed


@pytest.fixture
def no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture takes most of the time of a tiny run; nothing but the run that all look at has one."""
    if "finished" not in request.fixturenames:
        monkeypatch.setattr(run_figure, "draw", lambda *_: None)
        monkeypatch.setattr(run_figure, "png", lambda _: b"no picture")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run with one process. Read only."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    assert run_command(main, ["--processes", "1", *TINY, "--out", str(directory)]) == 0
    return directory
