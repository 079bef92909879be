"""A comparison in processes of its own, stopped as a terminal stops it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.idx import write_idx
from tests.processes import Forked, alive

UNTRAINED = """
import sys
from images.compare.__main__ import main
from images.denoisers import small
from images.denoisers.precondition import EDMScore
from images.metrics import classifier
from theory.common.commandline import run

small.train = lambda what, data: EDMScore(what.network())
classifier.train = lambda *_: None
sys.exit(run(main))
"""
PATIENCE = 180.0  # seconds


@pytest.mark.slow
def test_ctrl_c_ends_all_runs_after_their_step_and_they_go_on(tmp_path: Path) -> None:
    """Twice, sent to the whole group: the second time the same two runs have come farther."""
    data, out = write_idx(tmp_path / "data", 400, 0), tmp_path / "out"
    places = ["--data", data, "--out", out, "--cache", tmp_path / "cache", "--into", tmp_path / "tables"]
    seen: list[dict[str, int]] = []
    for _ in range(2):
        with Forked("-c", UNTRAINED, "fashion", *places, "--cells", "healthy, x1", "--processes", "2") as process:
            end = time.monotonic() + PATIENCE
            while len(training(process.pid)) < 2:
                assert process.poll() is None, process.written()
                assert time.monotonic() < end
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
            assert process.returncode == 1, said
            while alive(process.pid):
                assert time.monotonic() < end
        assert said.strip().splitlines()[-1] == "error: stopped; what is done is kept: the same command continues"
        assert "Traceback" not in said
        kept = json.loads((tmp_path / "tables" / "fashion.outcomes.json").read_text())
        seen.append({name: outcome["steps"] for name, outcome in kept.items()})
    assert set(seen[0]) == {"healthy-x1/gan/trial-0", "healthy-x1/summed/trial-0"}
    assert all(0 < seen[0][name] < seen[1][name] for name in seen[0])


def training(parent: int) -> list[int]:
    """Worker processes that have used some seconds of a processor: they have imported torch, and train."""
    return [child.pid for child in psutil.Process(parent).children() if sum(child.cpu_times()[:2]) > 8]
