"""How the tests of the command line run it: in this process where they can, in its own where they must."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.processes import Ended, without_progress
from theory.common.commandline import run
from toy.run import main

TINY = shlex.split(
    "--seeds 2 --width 16 --layers 1 --steps 40 --d-ahead 5 --batch 16 --samples 64 --eval-every 10 "
    "--arms gan decoupled"
)


class Command:
    """python -m toy.run in this process, with one process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        self.capsys.readouterr()
        status = run(main, ["--processes", "1", *map(str, arguments)])
        out, err = self.capsys.readouterr()
        return Ended(status, out, without_progress(err))

    def refuses(self, status: int, *arguments: str | Path) -> str:
        """The one line that it says; fails unless it ends so."""
        ended = self(*arguments)
        assert ended.status == status, ended
        assert ended.err.startswith("error: "), ended.err
        assert ended.err.count("\n") == 1, ended.err
        assert ended.err.endswith("\n"), ended.err
        return ended.err


def contents(directory: Path) -> dict[str, bytes]:
    """Every file in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def same_results(a: Path, b: Path) -> bool:
    """metrics.csv byte for byte and the arrays of samples.npz bit for bit."""
    first, second = np.load(a / "samples.npz"), np.load(b / "samples.npz")
    return (
        (a / "metrics.csv").read_bytes() == (b / "metrics.csv").read_bytes()
        and first.files == second.files
        and all(first[name].dtype == second[name].dtype for name in first.files)
        and all(first[name].tobytes() == second[name].tobytes() for name in first.files)
    )
