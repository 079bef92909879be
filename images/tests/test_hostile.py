"""Hostile files of every format: none executes, hangs, takes much memory, or is refused in more than a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from images.tests.hostile import CANARY, COUNT, SECONDS

ROOT = Path(__file__).parents[2]
SEED, SHARE = 0, 300  # files a process
LONGEST = 300  # characters of a complaint


def harmless(where: Path, first: int, last: int, step: int = 1) -> list[str]:
    """The names of the files range(first, last, step), read in a process of its own, after all were found harmless."""
    arguments = [str(SEED), str(first), str(last), str(step), str(where)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "images.tests.hostile", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
                           timeout=60 + 10 * SECONDS + len(range(first, last, step)) * 2)  # fmt: skip
    results = [json.loads(line) for line in ended.stdout.splitlines()]
    wrong = [
        result
        for result in results
        if result["status"] not in (0, 2)
        or result["seconds"] > SECONDS
        or result["characters"] > LONGEST
        or result["said"].startswith("error: ") != (result["status"] == 2)
        or "\n" in result["said"]
        or result["tried"]
    ]
    assert not wrong, wrong[:5]
    assert (ended.returncode, len(results)) == (0, len(range(first, last, step))), ended.stderr[-2000:]
    assert not (where / CANARY).exists()
    return [result["name"] for result in results]


def test_some_hostile_files_do_no_harm(tmp_path: Path) -> None:
    names = harmless(tmp_path, 0, COUNT, 60)
    assert len({name.partition(":")[0] for name in names}) >= 7  # readers


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, COUNT, SHARE))
def test_all_hostile_files_do_no_harm(first: int, tmp_path: Path) -> None:
    harmless(tmp_path, first, min(COUNT, first + SHARE))
