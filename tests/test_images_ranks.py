"""Processes that share a batch: one is lost, all are asked to stop, torchrun is killed; sums in pairs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import torch

from tests.processes import forked, python
from tests.test_images_resume import alive, same
from theory.common.files import read_tensors

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available() or os.name != "posix", reason="no gloo"),
    pytest.mark.slow,
]

OURS, TORCHRUN = ["images.ranks", "--standalone"], ["torch.distributed.run", "--standalone"]
TINY = "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --evaluate-every 1000000 --save-every 20"
PATIENCE = 180.0  # seconds


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small classifier, trained once."""
    path = tmp_path_factory.mktemp("cache")
    words = [*shlex.split(TINY), "--images", "80", "--processes", "1", "--cache", path, "--out", path / "run"]
    assert forked("-m", "images.train", *words).status == 0
    return path


@contextmanager
def training(launcher: Sequence[str], cache: Path, out: Path) -> Iterator[tuple[subprocess.Popen, list[int]]]:
    """Two processes in the midst of training, and the numbers of both."""
    command = [sys.executable, "-m", *launcher, "--nproc_per_node", "2", "-m", "images.train", *shlex.split(TINY)]
    process = subprocess.Popen(
        [*command, "--images", "8000000", "--cache", str(cache), "--out", str(out)],
        stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE
        while not (out / "gan-0" / "checkpoint.pt").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        ranks = {}
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.Error):
                ranks[child.environ().get("RANK")] = child.pid
        yield process, [ranks["0"], ranks["1"]]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def ended(process: subprocess.Popen) -> tuple[int, list[str]]:
    """Its status, and what it said but for progress."""
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, [line for line in err.splitlines() if " % " not in line and "score model" not in line]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_is_lost(lost: int, cache: Path, tmp_path: Path) -> None:
    """kill -9 of one: the other one says in a line which, and how to go on; nothing runs on."""
    out = tmp_path / "run"
    with training(OURS, cache, out) as (process, ranks):
        os.kill(ranks[lost], signal.SIGKILL)
        status, said = ended(process)
        assert (status, len(said)) == (1, 1), said
        assert said[0] == (
            f"error: process {lost} (of 0 to 1) was lost: killed, or out of memory; "
            f"--resume --out {out} continues from the last checkpoints"
        )
        assert not alive(ranks[1 - lost])


def test_under_torchrun_its_report_stands_around_the_line(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with training(TORCHRUN, cache, out) as (process, ranks):
        os.kill(ranks[1], signal.SIGKILL)
        status, said = ended(process)
        assert status == 1
        assert sum(line.startswith("error: process 1 (of 0 to 1) was lost") for line in said) == 1
        assert len([line for line in said if "RuntimeError" in line or "images/train" in line]) == 0, said
        assert len(said) < 45, said


@pytest.mark.parametrize(("launcher", "status"), [(OURS, 143), (TORCHRUN, 1)], ids=["ours", "torchrun"])
def test_asked_to_stop(launcher: Sequence[str], status: int, cache: Path, tmp_path: Path) -> None:
    """SIGTERM of the launcher: the step is ended and saved, and told once."""
    out = tmp_path / "run"
    with training(launcher, cache, out) as (process, ranks):
        process.terminate()
        found, said = ended(process)
        assert found == status, said
        lines = [line for line in said if line.startswith("error: ")]
        assert lines == [f"error: stopped; --resume --out {out} continues from the last checkpoints"]
        assert not any(map(alive, ranks))
    assert 0 < read_tensors(out / "gan-0" / "checkpoint.pt", "checkpoint")["trainer"]["at"] < 1_000_000


def test_the_launcher_is_killed(cache: Path, tmp_path: Path) -> None:
    """Its processes end with it: none moves checkpoints on beside a run that is resumed."""
    with training(TORCHRUN, cache, tmp_path / "run") as (process, ranks):
        process.kill()
        end = time.monotonic() + 10
        while any(map(psutil.pid_exists, ranks)):
            assert time.monotonic() < end
            time.sleep(0.1)


def test_bad_usage_is_told_once(tmp_path: Path) -> None:
    said = python("-m", *OURS, "--nproc_per_node", "2", "-m", "images.train", "--widht", "3")
    assert (said.status, said.err.count("\n")) == (2, 1), said
    assert "--widht" in said.err
    said = python("-m", *OURS, "--nproc_per_nodes", "2", "-m", "images.train")
    assert (said.status, said.err.count("\n")) == (2, 1), said


SHORT = f"{TINY} --images 320 --save-every 40 --micro 2"


def trained(processes: int, out: Path, cache: Path, *more: str) -> dict:
    """The state after 40 steps."""
    launcher = [*OURS, "--nproc_per_node", str(processes), "-m"] if processes > 1 else []
    words = [*shlex.split(SHORT), *more, "--cache", cache, "--out", out, *([] if launcher else ["--processes", "1"])]
    done = python("-m", *launcher, "images.train", *words, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.status == 0, done.err
    return read_tensors(out / "gan-0" / "checkpoint.pt", "checkpoint")


def test_sums_in_pairs_are_the_same_over_any_number_of_processes(cache: Path, tmp_path: Path) -> None:
    """One process, two and four end with the same bits and write the same numbers; without --deterministic not."""
    found = {n: trained(n, tmp_path / f"{n}", cache, "--deterministic") for n in (1, 2, 4)}
    assert same(found[1], found[2])
    assert same(found[1], found[4])
    tables = {(tmp_path / f"{n}" / "metrics.csv").read_bytes() for n in found}
    assert len(tables) == 1
    plain = {n: trained(n, tmp_path / f"plain-{n}", cache) for n in (1, 2)}
    assert not same(plain[1]["trainer"], plain[2]["trainer"])
