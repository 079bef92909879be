"""Progress through a pipe: lines of standard error, rare enough to be read."""

from __future__ import annotations

import time

import pytest

from toy.config import Config
from toy.jobs import progress as module
from toy.jobs.board import Board
from toy.jobs.job import jobs_of
from toy.jobs.progress import Lines, duration, meter, progress

CONFIG = Config(seeds=2, width=256, steps=100, arms=("gan", "summed"))  # a stack a seed: four jobs


class Clock:
    """time.monotonic, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def test_a_line_when_one_is_due(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After 10 s; later after a tenth of the time so far."""
    clock = Clock(monkeypatch)
    lines, told = Lines(), []
    for second in range(1, 601):
        clock.now = 1000.0 + second
        lines.tell("training", second / 1003)
        if err := capsys.readouterr().err:
            told.append(second)
            assert err == f"training: {100 * second / 1003:.0f} % done, {duration(1003 - second)} left\n"
    assert told[:12] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 112, 125]
    assert len(told) < 30


def test_a_run_tells_share_time_and_metrics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setattr(module, "LOOK", 0.01)
    board = Board(4)
    try:
        with progress(board, jobs_of(CONFIG)):
            board.tell(0, 100, 0.5, 0.1)  # jobs: gan, summed of the first seed, gan, summed of the second
            board.tell(2, 20, 0.25, 0.1)
            said = ""
            while "gan 0.375" not in said:
                time.sleep(0.01)
                said += capsys.readouterr().err
    finally:
        board.close()
    said += capsys.readouterr().err
    assert capsys.readouterr().out == ""
    last = said.splitlines()[-1]
    assert last.startswith("training: 30 % done, ")
    assert last.endswith(" left; off the manifold: gan 0.375")


def test_before_the_first_evaluation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    lines = Lines()
    clock.now += 11
    lines.tell("training", 0.0)
    assert capsys.readouterr().err == "training: 0 % done\n"


def test_a_sweep_tells_its_jobs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The time left is that of the jobs' costs, not of their number."""
    clock = Clock(monkeypatch)
    with meter("tuning", [3.0, 1.0]) as advance:
        clock.now += 30
        advance(0)
    assert capsys.readouterr().err == "tuning: 75 % done, 10 s left; 1 of 2 jobs\n"


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.4, "0 s"), (89, "89 s"), (95, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")]
)
def test_duration(seconds: float, says: str) -> None:
    assert duration(seconds) == says
