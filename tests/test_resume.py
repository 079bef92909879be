"""Whatever ends a run, the resumed one is an unbroken one, bit for bit."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.commands import TINY, Command, contents, same_results
from tests.processes import Forked, alive, forked, without_progress
from theory.common.commandline import run
from theory.common.files import read_tensors
from toy.jobs.board import Board
from toy.jobs.run_directory import BOARD
from toy.run import main

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="signals"), pytest.mark.usefixtures("no_picture")]

STEPS = 300  # long enough to be interrupted: seconds
LONG = [*TINY, *shlex.split(f"--steps {STEPS} --eval-every 25")]
PATIENCE = 120.0  # seconds: a run that has not come that far is stuck


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unbroken") / "run"
    assert run(main, [*LONG, "--out", str(directory), "--processes", "1"]) == 0
    return directory


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps(directory: Path) -> np.ndarray:
    """Of each of the two jobs, as the board of a run tells."""
    try:
        rows = np.fromfile(directory / BOARD).reshape(-1, 3)
    except FileNotFoundError:
        rows = np.zeros((0, 3))
    return rows[:-1, 0] if len(rows) else np.zeros(2)


@contextmanager
def begun(directory: Path, processes: int) -> Iterator[Forked]:
    """A run in a group of its own, when every process has trained some steps and none is done: the board tells."""
    process = Forked("-m", "toy.run", *LONG, "--out", directory, "--processes", str(processes))
    with process:
        wait_until(lambda: np.count_nonzero(steps(directory)) >= processes or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        assert (steps(directory) < STEPS).any()
        yield process


def progress(directory: Path) -> dict[str, int]:
    """The step of each job in the checkpoint."""
    content = read_tensors(directory / "checkpoint.pt", "checkpoint")
    return {key: state["trainer"]["at"] for key, state in content["jobs"].items()}


def assert_resumes(directory: Path, unbroken: Path) -> None:
    assert run(main, ["--out", str(directory), "--resume", "--processes", "1"]) == 0
    assert same_results(directory, unbroken)
    assert (directory / "summary.json").read_bytes() == (unbroken / "summary.json").read_bytes()
    assert {path.name for path in directory.iterdir()} == {path.name for path in unbroken.iterdir()}


@pytest.mark.parametrize(
    ("processes", "send", "number", "status"),
    [
        (1, os.kill, signal.SIGINT, 1),
        pytest.param(2, os.killpg, signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(2, os.kill, signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
    ids=["Ctrl-C, one process", "SIGTERM, as a batch system does to all of two", "SIGHUP, the parent of two"],
)
def test_asked_to_stop(
    processes: int, send: Callable[[int, int], None], number: int, status: int, unbroken: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    with begun(directory, processes) as process:
        send(process.pid, number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (status, "")
    notice, last = without_progress(err).strip().splitlines()
    assert notice.startswith("stopping after the step")
    assert last == f"error: stopped; python -m toy.run --out {directory} --resume continues from the last checkpoint"
    assert {path.name for path in directory.iterdir()} == {"config.json", "metrics.csv", "checkpoint.pt"}
    assert 0 < min(progress(directory).values()) < STEPS
    assert_nothing_runs(process.pid)
    assert_resumes(directory, unbroken)


def assert_nothing_runs(group: int) -> None:
    """No process of a group is left, at the latest after a moment."""
    wait_until(lambda: not alive(group))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_killed_parent(number: int, unbroken: Path, tmp_path: Path) -> None:
    """kill -9 of the parent, or Ctrl-\\: its workers end at once, and move no checkpoint on beside a resumed run."""
    directory = tmp_path / "run"
    with begun(directory, 2) as process:
        os.kill(process.pid, number)
        assert process.wait() == -number
        assert_nothing_runs(process.pid)
    assert_resumes(directory, unbroken)


def test_a_directory_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, command = tmp_path / "run", Command(capsys)
    with begun(directory, 1):
        for option in ("--resume", "--overwrite"):
            assert f"{directory} is in use" in command.refuses(2, "--out", directory, option)


@pytest.mark.slow
def test_any_signal_at_any_moment(unbroken: Path, tmp_path: Path) -> None:
    """30 moments of a seeded generator, ten while the processes start and twenty at so many steps of both jobs: the
    same bits, no process, no partial file, no shared memory left."""
    random = np.random.default_rng(0)
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]
    shared = shared_memory()
    for i in range(30):
        directory, number = tmp_path / f"run-{i}" / "run", signals[i % len(signals)]
        directory.parent.mkdir()
        send = os.killpg if random.random() < 0.5 else os.kill
        process = subprocess.Popen(
            [sys.executable, "-m", "toy.run", *LONG, "--out", str(directory), "--processes", "2"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        if i < 10:
            time.sleep(random.uniform(0, 3))
        else:
            wanted = random.uniform(0, 2 * STEPS)
            wait_until(lambda d=directory, p=process, w=wanted: steps(d).sum() >= w or p.poll() is not None)
        with suppress(ProcessLookupError):
            send(process.pid, number)
        process.wait(PATIENCE)
        assert_nothing_runs(process.pid)
        kept = (directory / "config.json").exists()
        arguments = ["--resume"] if kept else ["--overwrite", *LONG]
        assert run(main, ["--out", str(directory), "--processes", "1", *arguments]) == 0
        assert same_results(directory, unbroken), (number, send)
        assert set(contents(directory)) == set(contents(unbroken))
    wait_until(lambda: shared_memory() <= shared)


def shared_memory() -> set[str]:
    """Names of what processes share in memory."""
    return {path.name for path in Path("/dev/shm").iterdir() if "joblib" in path.name or "loky" in path.name}


KILLED = """
import os, signal, sys
from theory.common.commandline import run
from toy.jobs import worker
from toy.run import main
from toy.training import checkpoint

point, count = sys.argv.pop(1), int(sys.argv.pop(1))
worker.SAVE_EVERY = 0.0


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function, at_last):
    def call(*arguments):
        global count
        count -= 1
        if not count:
            at_last(*arguments)
        return function(*arguments)

    return call


if point == "between":
    checkpoint.save = counted(checkpoint.save, kill)
if point == "renaming":
    checkpoint.files.os.replace = counted(os.replace, kill)
sys.exit(run(main))
"""


def test_killed_while_and_between_saving(unbroken: Path, tmp_path: Path) -> None:
    """kill -9, twice: between two checkpoints of the first job, and in the middle of writing one of the second."""
    directory = tmp_path / "run"
    ended = forked("-c", KILLED, "between", "4", *LONG, "--out", directory, "--processes", "1")
    assert ended.status == -signal.SIGKILL, ended
    assert progress(directory) == {"gan 0-1": 75}

    left = STEPS // 25 - 2  # saves of the first job, which begins with one
    ended = forked("-c", KILLED, "renaming", str(left + 3), "--out", directory, "--resume", "--processes", "1")
    assert ended.status == -signal.SIGKILL, ended
    assert progress(directory) == {"gan 0-1": STEPS, "decoupled 0-1": 50}
    assert any(name.endswith(".partial") for name in contents(directory))
    assert_resumes(directory, unbroken)


STATEFUL = {
    "vae": "--generator vae",
    "flow": "--generator flow",
    "conditional": "--conditional --manifold 8-ring --d-ahead 5",
    "own score": "--term matching --d-ahead 5",
    "spectral": "--regulariser spectral --d-ahead 5",
    "noise of the regulariser": "--regulariser instance-noise --gamma 0.2 --d-ahead 5",
    "every k-th step, SGD": "--every 3 --warm-up 30 --optimizer sgd --equal-length --d-ahead 5",
}


@pytest.mark.parametrize("options", STATEFUL.values(), ids=STATEFUL)
def test_every_state_is_kept(options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in mid-training, between two draws of random numbers, and continued."""
    directory, whole = tmp_path / "run", tmp_path / "whole"
    small = "--arms decoupled --seeds 2 --width 8 --layers 1 --batch 16 --samples 32 --steps 40 --eval-every 10"
    arguments = ["--processes", "1", *small.split(), *options.split()]
    assert run(main, [*arguments, "--out", str(whole)]) == 0

    tell = Board.tell

    def stop_at_20(board: Board, slot: int, step: int, *values: float) -> None:
        tell(board, slot, step, *values)
        if step == 20:
            board.stop()

    with monkeypatch.context() as patch:
        patch.setattr(Board, "tell", stop_at_20)
        assert run(main, [*arguments, "--out", str(directory)]) == 1
    assert progress(directory) == {"decoupled 0-1": 20}
    assert_resumes(directory, whole)


def test_resuming_what_is_done_changes_nothing(finished: Path, tmp_path: Path) -> None:
    before = contents(finished)
    assert run(main, ["--out", str(finished), "--resume", "--processes", "1"]) == 0
    after = contents(finished)
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in after if name != "checkpoint.pt")


def test_resuming_before_the_first_checkpoint(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    assert run(main, ["--out", str(tmp_path), "--resume", "--processes", "1"]) == 0
    assert same_results(tmp_path, finished)
