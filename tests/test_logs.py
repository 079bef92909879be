"""What hears of evaluations when they come."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.commands import TINY, Command
from toy.jobs.board import Board

pytestmark = pytest.mark.usefixtures("no_picture")

OWN = """
def keep(arm, seeds, records):
    with open("heard.txt", "a") as file:
        for step, metric, values in records:
            print(arm, *seeds, step, metric, *values, file=file)

def broken(arm, seeds, records):
    raise KeyError(arm)

number = 3
"""


def test_the_table_grows_in_training_and_is_complete_at_the_end(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    tell = Board.tell

    def count(board: Board, *values: float) -> None:
        tell(board, *values)
        rows.append(len((tmp_path / "run" / "metrics.csv").read_text().splitlines()))

    monkeypatch.setattr(Board, "tell", count)
    assert run(*TINY, "--out", tmp_path / "run").status == 0
    end = len((tmp_path / "run" / "metrics.csv").read_text().splitlines())
    assert len(rows) == 10
    assert sorted(set(rows)) == rows
    assert rows[-1] == end


def test_a_resumed_run_tells_all_of_it(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at half, and continued: an own log hears of each evaluation, of those before the stop again."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    tell = Board.tell

    def stop(board: Board, slot: int, step: int, *values: float) -> None:
        tell(board, slot, step, *values)
        if step == 20:
            board.stop()

    one_arm = [*TINY[: TINY.index("--arms")], "--arms", "gan"]
    with monkeypatch.context() as patch:
        patch.setattr(Board, "tell", stop)
        assert run(*one_arm, "--out", "run", "--log", "own.py:keep").status == 1
    heard = Path("heard.txt").read_text().splitlines()
    steps = sorted({int(line.split()[3]) for line in heard})
    assert steps == [0, 10, 20]
    assert len(Path("run/metrics.csv").read_text().splitlines()) == 1 + 2 * len(heard)
    shutil.move("heard.txt", "first.txt")
    assert run("--out", "run", "--resume", "--log", "own.py:keep").status == 0
    again = Path("heard.txt").read_text().splitlines()
    assert again[: len(heard)] == heard
    assert sorted({int(line.split()[3]) for line in again}) == [0, 10, 20, 30, 40]


def test_tensorboard_holds_what_metrics_csv_does(run: Command, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    out = tmp_path / "run"
    for _ in range(2):  # the second run replaces the first one's event files
        assert run(*TINY, "--log", "tensorboard", "--out", out, "--overwrite").status == 0
    (file,) = (out / "tensorboard" / "decoupled-1").iterdir()
    scalars = {
        (value.tag, event.step): value.tensor.float_val[0]
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }
    table = pd.read_csv(out / "metrics.csv").query("arm == 'decoupled' and seed == 1")
    wanted = {(row.metric, row.step): row.value for row in table.itertuples()}
    assert scalars == pytest.approx(wanted, rel=1e-6, nan_ok=True)
    assert {path.name for path in (out / "tensorboard").iterdir()} == {"gan-0", "gan-1", "decoupled-0", "decoupled-1"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("own.py:broken", "own.py:broken fails as a log: KeyError, line 8: 'gan'"),
        ("own.py:number", "must be callable as log(arm, seeds, records); given 3"),
        ("own.py:nothing", "own.py has no nothing"),
        ("wandb", "unknown log 'wandb': choose from tensorboard; or your own: FILE.py:NAME"),
    ],
)
def test_refused(value: str, says: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    assert says in run.refuses(2, *TINY, "--out", "run", "--log", value)
