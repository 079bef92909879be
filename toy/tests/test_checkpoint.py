"""Checkpoints: bit for bit, side by side, whole or not at all, and nothing in them is executed."""

from __future__ import annotations

import dataclasses
import io
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import forked
from theory.common import files
from theory.common.errors import CheckpointError
from toy.config import Arm, Config
from toy.training.checkpoint import load, save

CONFIG = Config(seeds=2)


def state(seed: int = 0) -> dict[str, Any]:
    """Shaped like a job's."""
    numbers = torch.randn(40, generator=torch.Generator().manual_seed(seed))
    return {
        "records": [(0, "coverage", [0.1, 1 / 3]), (10, "coverage", [0.2, 0.7])],
        "picture": {},
        "trainer": {"at": 10, "g": numbers, "g_adam": {"step": torch.tensor(10.0), "exp_avg": numbers**3}},
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def test_round_trip(path: Path) -> None:
    save(path, CONFIG, "gan 0-1", state())
    assert same(load(path, CONFIG), {"gan 0-1": state()})


def test_jobs_side_by_side(path: Path) -> None:
    save(path, CONFIG, "gan 0-1", state(0))
    save(path, CONFIG, "smart 0-1", state(1))
    save(path, CONFIG, "gan 0-1", state(2))
    assert same(load(path, CONFIG), {"gan 0-1": state(2), "smart 0-1": state(1)})


def test_jobs_at_the_same_time(path: Path) -> None:
    """None overwrites what another one has just saved."""

    def work(job: int) -> None:
        for step in range(4):
            save(path, CONFIG, f"{job} {step}", {})

    threads = [threading.Thread(target=work, args=(job,)) for job in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load(path, CONFIG)) == 16


def test_another_configuration(path: Path) -> None:
    save(path, CONFIG, "gan 0-1", state())
    other = dataclasses.replace(CONFIG, steps=7).with_arm("decoupled", Arm(0.5, 0.25))
    with pytest.raises(CheckpointError, match=r"another configuration: steps is 1500 there, 7 here; decoupled"):
        load(path, other)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="another configuration"):
        save(path, other, "gan 0-1", state())
    assert path.read_bytes() == before


def test_truncated(path: Path) -> None:
    save(path, CONFIG, "gan 0-1", state())
    whole = path.read_bytes()
    for length in [0, 1, 10, *range(50, len(whole), len(whole) // 30), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is truncated, damaged or no checkpoint"):
            load(path, CONFIG)


def test_damaged(path: Path) -> None:
    """Wherever a bit is flipped: what is loaded is what was saved, or the file is refused."""
    save(path, CONFIG, "gan 0-1", state())
    whole, refused = path.read_bytes(), 0
    places = range(0, len(whole), 7)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = load(path, CONFIG)
        except CheckpointError:
            refused += 1
        else:
            assert same(found, {"gan 0-1": state()}), place
    assert refused > len(places) / 3  # much of the rest is padding


class Evil:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.target, "executed")


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_executed(path: Path, protocol: int) -> None:
    target = path.with_name("executed")
    evil = pickle.dumps(Evil(target), protocol=protocol)
    pickle.loads(evil)
    assert target.exists()  # the trap works
    target.unlink()

    zipped = io.BytesIO()
    torch.save({"config": {}, "jobs": {"gan 0-1": Evil(target)}}, zipped)
    for data in (evil, zipped.getvalue()):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="no checkpoint"):
            load(path, CONFIG)
        assert not target.exists()


@pytest.mark.parametrize("foreign", [{"weight": torch.zeros(3)}, torch.zeros(3), [1, 2], {"config": 1}], ids=str)
def test_foreign(path: Path, foreign: Any) -> None:
    files.write_tensors(path, foreign)
    with pytest.raises(CheckpointError, match="is no checkpoint of a run"):
        load(path, CONFIG)


@pytest.mark.parametrize("content", [{"config": 3, "jobs": {}}, {"config": {}, "jobs": 3}, {"config": {}, "jobs": {}}])
def test_nearly_a_checkpoint(path: Path, content: Any) -> None:
    files.write_tensors(path, content)
    with pytest.raises(CheckpointError):
        load(path, CONFIG)


def test_a_write_that_fails_leaves_the_old_file(path: Path) -> None:
    """A real one: files of this process may not grow beyond 100 bytes."""
    files.write(path, b"old")
    script = f"""
import resource, sys
from pathlib import Path
from theory.common.files import write
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write(Path({str(path)!r}), b"x" * 100)
try:
    write(Path({str(path)!r}), b"y" * 101)
except OSError as error:
    print(error.filename, error.strerror)
"""
    done = forked("-c", script)
    assert done.out.startswith(str(path))
    assert path.read_bytes() == b"x" * 100
    assert [file.name for file in path.parent.iterdir()] == [path.name]
