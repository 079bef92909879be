"""One finished tiny run for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import TINY, Command
from toy.run import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run with one process. Read only."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    assert main(["--processes", "1", *TINY, "--out", str(directory)]) == 0
    return directory
