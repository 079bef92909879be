"""What toy/OWN_PARTS.md says, run as it stands there: own points, law, generator, loss, regulariser and score."""

from __future__ import annotations

import json
import re
import shlex
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands import Command, same_results
from tests.processes import forked
from toy.jobs.board import Board

pytestmark = pytest.mark.usefixtures("no_picture")

ROOT = Path(__file__).parents[1]
FEW = shlex.split(
    "--seeds 2 --width 16 --layers 1 --steps 20 --d-ahead 5 --batch 16 --samples 64 --eval-every 5 --arms gan decoupled"
)
NAMES = ("manifold", "generator", "loss", "regulariser", "score")
BLOCK = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)


def documented() -> tuple[dict[str, str], list[list[str]]]:
    """The files and the commands of the page, in order."""
    blocks = BLOCK.findall((ROOT / "toy/OWN_PARTS.md").read_text())
    files = {text.split("\n")[0].removeprefix("# "): text for text in blocks if text.startswith("# ")}
    return files, [shlex.split(text)[3:] for text in blocks if text.startswith("python -m toy.run ")]


FILES, (POINTS, LAW, GENERATOR, PARTS, LOG) = documented()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the files of the page and points on a circle."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    angles = np.arange(40) / 40 * 2 * np.pi
    pd.DataFrame({"x": np.cos(angles), "y": np.sin(angles)}).to_csv("points.csv", index=False)
    return tmp_path


def test_how_many_lines() -> None:
    """Of the user's: one command for points, at most ten lines of a file and one command for all others."""
    for text in FILES.values():
        assert len([line for line in text.splitlines() if line]) <= 10


def test_log(here: Path, run: Command) -> None:
    ended = run(*LOG, *FEW, "--arms", "gan", "--out", "run")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.count("gan {'off_manifold': [") == 5
    assert {path.name for path in Path("run/tensorboard").iterdir()} == {"gan-0", "gan-1"}


def test_points(here: Path, run: Command) -> None:
    ended = run(*POINTS, *FEW)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("points.csv, saturating loss, 20 steps; ")
    assert "written to runs/points-saturated: " in ended.out
    real = np.load("runs/points-saturated/samples.npz")["real"]
    assert abs(np.linalg.norm(real, axis=1) - 1).mean() == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.1)


ALL = [*PARTS, *LAW, *GENERATOR, *FEW]


@pytest.mark.slow
def test_all_parts_over_two_processes(here: Path, run: Command) -> None:
    """The numbers of one."""
    assert ALL.count("--processes") == 1
    ended = forked("-m", "toy.run", *ALL, "--out", "two")
    assert (ended.status, ended.err) == (0, "")
    assert run(*ALL, "--processes", "1", "--out", "one").status == 0
    assert same_results(Path("one"), Path("two"))


def test_all_parts_and_resumed(here: Path, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of a run that is not stopped on the way; and it is not resumed once a file has changed."""
    options = [*ALL, "--processes", "1"]
    ended = run(*options, "--out", "two")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("laws.py:eye, net.py:Net, own.py:loss loss, own.py:r1, 20 steps; ")
    stored = json.loads(Path("two/config.json").read_text())
    assert [re.sub("@[0-9a-f]{16}$", "@", stored[name]) for name in NAMES] == [
        "laws.py:eye@",
        "net.py:Net@",
        "own.py:loss@",
        "own.py:r1@",
        "own.py:score@",
    ]

    with monkeypatch.context() as patch:
        asked = chain(repeat(False, 2), repeat(True))
        patch.setattr(Board, "stopped", property(lambda board: next(asked)))
        ended = run(*options, "--out", "one")
        assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert not Path("one/samples.npz").exists()

    for name in ("own.py", "laws.py", "net.py"):
        Path(name).write_text(FILES[name] + "# changed\n")
        said = run.refuses(2, "--out", "one", "--resume")
        assert said.startswith(f"error: {name} has changed since the run began: its SHA-256 begins with ")
        Path(name).unlink()
        assert run.refuses(2, "--out", "one", "--resume") == f"error: {name}: No such file or directory (in {here})\n"
        Path(name).write_text(FILES[name])
    ended = run("--out", "one", "--resume")
    assert (ended.status, ended.err) == (0, "")
    assert same_results(Path("one"), Path("two"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--manifold none.csv", "error: none.csv: No such file or directory (in "),
        ("--manifold wrong.csv", "error: wrong.csv, line 2: 'nan' is no finite number\n"),
        ("--manifold line.csv", "error: line.csv lies in R^1: the toy needs points of two coordinates or more\n"),
        ("--manifold points.csv --dim 1", "error: dim must be at least 2, the dimension of points.csv; given 1\n"),
        ("--loss own.py:los", "error: own.py has no los; did you mean 'loss'?\n"),
        (
            "--loss own.py:r1",
            "error: own.py:r1 must be a pair of functions (d_loss, g_loss), or an object that has both\n",
        ),
        ("--regulariser own.py:score", "error: own.py:score is no penalty: TypeError: score() takes 2 positional "),
        ("--score own.py:loss", "error: own.py:loss must be a function (x_t, level); given tuple\n"),
        (
            "--loss own.py:loss --weight-rule budget",
            "error: weight_rule budget needs loss saturating or non-saturating; ",
        ),
        ("--generator net.py:Ne", "error: net.py has no Ne; did you mean 'Net'?\n"),
        (
            "--generator own.py:loss",
            "error: own.py:loss must be a class or function (latent, dim) of a module; given tuple\n",
        ),
        (
            "--generator net.py:Net --start 1",
            "error: start has no effect: a generator of your own starts as it is made",
        ),
        ("--score own.py", "error: score must name an object of the file: own.py:NAME; given own.py "),
    ],
)
def test_refused(options: str, says: str, here: Path, run: Command) -> None:
    """In one line, before anything is written."""
    Path("wrong.csv").write_text("0,1\n2,nan\n")
    Path("line.csv").write_text("0\n1\n")
    before = set(here.iterdir())
    assert run.refuses(2, *options.split(), *FEW).startswith(says)
    assert set(here.iterdir()) == before
