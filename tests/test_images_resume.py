"""Whatever ends image training, the resumed run is an unbroken one, bit for bit; the last good checkpoint is kept."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from images.train import main
from tests.processes import alive, forked
from tests.trained import with_classifier
from theory.common.commandline import run
from theory.common.files import held, read_tensors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

TINY = shlex.split(
    "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --images 240 --save-every 5 --evaluate-every 10 "
    "--processes 1"
)
KILLED = """
import os, signal, sys
from images.train import main
from images.training import run
from theory.common import commandline, files

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
    files.os.replace = counted(os.replace, lambda a, b: "checkpoint.pt" not in str(b))
sys.exit(commandline.run(main))
"""


def contents(directory: Path) -> dict:
    return read_tensors(directory / "gan-0" / "checkpoint.pt", "checkpoint")


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
    return with_classifier(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def unbroken(cache: Path) -> Path:
    assert run(main, [*TINY, "--out", str(cache / "unbroken"), "--cache", str(cache)]) == 0
    return cache / "unbroken"


def test_killed_while_training_and_while_saving(unbroken: Path, cache: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    for point, count, more in (("training", 8, TINY), ("renaming", 3, ["--resume", "--processes", "1"])):
        ended = forked("-c", KILLED, point, str(count), *more, "--out", directory, "--cache", cache)
        assert ended.status == -signal.SIGKILL, ended.err
    assert {path.name.split(".")[1] for path in directory.rglob(".*")} == {"places", "checkpoint"}  # what is left
    assert contents(directory)["trainer"]["at"] < 30
    assert run(main, ["--out", str(directory), "--resume", "--processes", "1", "--cache", str(cache)]) == 0
    assert same(contents(directory), contents(unbroken))
    for name in ("metrics.csv", "summary.json"):
        assert (directory / name).read_bytes() == (unbroken / name).read_bytes()
    assert not list(directory.rglob(".*"))


ASKED = """
import os, signal, sys
from images.train import main
from images.training.progress import Place
from theory.common import commandline

number = int(sys.argv.pop(1))
told = Place.__call__


def tell(place, step):
    told(place, step)
    if step == 8:
        os.kill(os.getpid(), number)


Place.__call__ = tell
sys.exit(commandline.run(main))
"""


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop(number: int, status: int, unbroken: Path, cache: Path, tmp_path: Path) -> None:
    """The step is ended and saved, though no checkpoint is due; metrics.csv has what was evaluated until then."""
    directory = tmp_path / "run"
    command = ["-c", ASKED, str(int(number)), *TINY, "--evaluate-every", "4"]
    ended = forked(*command, "--out", directory, "--cache", cache)
    assert ended.status == status, ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last == f"error: stopped; --resume --out {directory} continues from the last checkpoints"
    assert contents(directory)["trainer"]["at"] == 9
    steps = {line.split(",")[2] for line in (directory / "metrics.csv").read_text().splitlines()[1:]}
    assert steps == {"4", "8"}
    assert not list(directory.rglob(".*"))


@pytest.mark.slow
def test_asked_to_stop_over_two_processes(cache: Path, tmp_path: Path) -> None:
    """A signal to all of them: each run ends its step and saves, and the resumed ones are unbroken ones."""
    arms = ["--couplings", "gan", "--seeds", "2", "--processes", "2", "--cache", str(cache)]
    options = [option for option in TINY if option not in ("--processes", "1", "--couplings", "gan", "--seeds")]
    process = subprocess.Popen(
        [sys.executable, "-m", "images.train", *options, *arms, "--out", str(tmp_path / "run"), "--images", "80000"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    checkpoints = [tmp_path / "run" / f"gan-{seed}" / "checkpoint.pt" for seed in (0, 1)]
    end = time.monotonic() + 120
    while not all(path.exists() for path in checkpoints):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert err.strip().splitlines()[-1].startswith("error: stopped; ")
    places = [read_tensors(path, "checkpoint")["trainer"]["at"] for path in checkpoints]
    assert all(0 < at < 10_000 for at in places)
    while alive(process.pid):
        assert time.monotonic() < end


def test_a_directory_in_use_is_refused(unbroken: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(unbroken):
        assert run(main, ["--out", str(unbroken), "--resume", "--processes", "1", "--cache", str(cache)]) == 2
    assert capsys.readouterr().err.endswith(f"{unbroken} is in use: a process that is still running writes to it\n")


def test_a_damaged_checkpoint_falls_back_on_the_one_before(unbroken: Path, cache: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(unbroken, directory)
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
