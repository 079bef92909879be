"""Whatever ends image training, the resumed run is an unbroken one, bit for bit; the last good checkpoint is kept."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from images.train import main
from theory.common.commandline import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

TINY = shlex.split(
    "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --images 240 --save-every 5 --evaluate-every 10 "
    "--processes 1"
)
KILLED = """
import os, signal, sys
from images.train import main
from images.training import checkpoint, run
from theory.common import commandline

point, count = sys.argv.pop(1), int(sys.argv.pop(1))


def counted(function, kills):
    def call(*arguments):
        global count
        count -= not kills(*arguments)
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call


if point == "training":
    run.Trainer.step = counted(run.Trainer.step, lambda *_: False)
if point == "renaming":
    checkpoint.replacing.__globals__["os"].replace = counted(os.replace, lambda a, b: "checkpoint.pt" not in str(b))
sys.exit(commandline.run(main))
"""


def contents(directory: Path) -> dict:
    return torch.load(directory / "gan-0" / "checkpoint.pt", weights_only=True)


def same(a: object, b: object) -> bool:
    """Equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    return a == b


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def unbroken(cache: Path) -> Path:
    assert run(main, [*TINY, "--out", str(cache / "unbroken"), "--cache", str(cache)]) == 0
    return cache / "unbroken"


def test_killed_while_training_and_while_saving(unbroken: Path, cache: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    for point, count, more in (("training", 8, TINY), ("renaming", 3, ["--resume", "--processes", "1"])):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, point, str(count), *more, "--out", directory, "--cache", cache],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert contents(directory)["trainer"]["at"] < 30
    assert run(main, ["--out", str(directory), "--resume", "--processes", "1", "--cache", str(cache)]) == 0
    assert same(contents(directory), contents(unbroken))
    for name in ("metrics.csv", "summary.json"):
        assert (directory / name).read_bytes() == (unbroken / name).read_bytes()


def test_a_damaged_checkpoint_falls_back_on_the_one_before(unbroken: Path, cache: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert run(main, [*TINY, "--out", str(directory), "--cache", str(cache)]) == 0
    path = directory / "gan-0" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-200])
    assert run(main, ["--out", str(directory), "--resume", "--processes", "1", "--cache", str(cache)]) == 0
    assert same(contents(directory), contents(unbroken))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resume", "--latent", "5"], "latent is 4 there, 5 here"),
        (["--resume", "--recipe", "cifar10"], "resolution is 8 there, 32 here"),
        ([], "is not empty: --resume continues"),
        (["--recipe", "digit"], "did you mean 'digits'"),
        (["--overwrite", "--device", "cuda"], "no device 'cuda' here"),
        (["--overwrite", "--classes", "9"], "has 10 classes, the recipe 9"),
        (["--overwrite", "--recipe", "cifar10"], "needs --data"),
        (["--overwrite", "--low", "0.5"], "0 < low <= high"),
        (["--overwrite", "--widht", "5"], "--width"),
        (["--overwrite", "--reading", "edm"], "the paper gives no interval for digits"),
    ],
)
def test_bad_usage_is_one_line(
    unbroken: Path, cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("CUDA is here")
    capsys.readouterr()
    assert run(main, [*arguments, "--out", str(unbroken), "--cache", str(cache)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert contents(unbroken)["trainer"]["at"] == 30  # nothing was lost
