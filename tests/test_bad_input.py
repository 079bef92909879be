"""Whatever is wrong: the right exit status, one clear line, nothing lost and nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from tests.commands import TINY, Command, contents
from tests.processes import forked, python
from theory.common.errors import OutOfMemory
from theory.common.files import write_tensors
from toy.config import Config
from toy.jobs import job
from toy.run import options_of

OPTIONS = {
    "--manifold rng": "unknown manifold 'rng': choose from points, .*; did you mean 'ring'",
    "--score analytical": "unknown score 'analytical': choose from analytic, .*did you mean 'analytic'",
    "--preset helthy": "unknown preset 'helthy': choose from saturated, healthy, lazy; did you mean 'healthy'",
    "--preset=lzy": "unknown preset 'lzy': .*did you mean 'lazy'",
    "--arms gan smart": "unknown arm 'smart': choose from gan, summed, own-step, two-adams, decoupled, bounded",
    "--arms gan gan": "arms must name one or more different arms",
    "--arms": "arms must name one or more different arms",
    "--loss saturatin": "unknown loss 'saturatin': choose from saturating, .*did you mean 'saturating'",
    "--seedz 3": "Unrecognized options: --seedz, 3; did you mean --seeds",
    "--summed.wieght 3": "--summed.wieght.*did you mean --summed.weight",
    "extra": "Unrecognized options: extra",
    "ring": "ring stands without its option; did you mean --manifold ring",
    "summed": "summed stands without its option; did you mean --arms summed",
    "R1 --steps 3": "R1 stands without its option; did you mean --regulariser R1",
    "--lr 0.1": "lr is an option of an arm: --gan.lr, --summed.lr, --own-step.lr, --two-adams.lr, .*; given --lr",
    "--bound=2": "bound is an option of an arm: --gan.bound, .*; given --bound=2",
    "--arms gan Own-Stp": "unknown arm 'Own-Stp': choose from .*; did you mean 'own-step'",
    "--regulariser spectral --regulariser-every 4": "regulariser_every has no effect: .*spectral has no penalty",
    "--no-game": "without a game, arms must be summed; given gan summed decoupled",
    "--no-game --arms summed --every 4": "without a game, every must be 1; given 4",
    "--no-game --arms summed --d-ahead 7": "d_ahead has no effect: there is no game; given 7",
    "--two-adams.lr 0.5": "two_adams.lr has no effect: two-adams is not among the arms; given 0.5",
    "--every 8 --corrected": "corrected has no effect: own-step is not among the arms; given True",
    "--arms gan --summed.lr 0.5": "summed.lr has no effect: summed is not among the arms; given 0.5",
    "--bounded.bound None": "bounded.bound must be a number: without a bound the arm is decoupled; given None",
    "--gan.bound 2": "gan is the arm without a score term, it takes no bound; given gan.bound 2",
    "--summed.bound 0": "summed.bound must be positive and finite; given 0.0",
    "--d-lr fast": "--d-lr: expected None or FLOAT, given 'fast'",
    "--seeds": "Missing value for argument '--seeds'",
    "--seeds two": "--seeds: .*'two'",
    "--seeds 1.5": "--seeds: .*'1.5'",
    "--seeds 0": "seeds must be a whole number of at least 1; given 0",
    "--first-seed 9223372036854775807": "first_seed must be at most 4611686018427387904; given 9223372036854775807",
    "--steps -3": "steps must be a whole number of at least 1; given -3",
    "--samples 1": "samples must be a whole number of at least 2; given 1",
    "--thickness -0.1": "thickness must be at least 0 and finite; given -0.1",
    "--low -0.1": "low must be positive and finite; given -0.1",
    "--low 0.3 --high 0.2": "the interval needs low <= high; given low=0.3, high=0.2",
    "--high inf": "high must be a finite number; given inf",
    "--anneal 0.5": "anneal must be at least 1 and finite; given 0.5",
    "--summed.weight -1": "summed.weight must be at least 0 and finite; given -1.0",
    "--decoupled.weight nan": "decoupled.weight must be a finite number; given nan",
    "--gan.weight 1": "gan is the arm without a score term, it takes no weight; given gan.weight 1",
    "--gan.lr 0": "gan.lr must be positive and finite; given 0.0",
    "--d-lr -1": "d_lr must be positive and finite; given -1.0",
    "--gamma -1": "gamma must be at least 0 and finite; given -1.0",
    "--beta2 1": r"beta2 must lie in \[0, 1\); given 1.0",
    "--dim 1": "dim must be at least 2, the dimension of ring; given 1",
    "--processes 0": "processes must be a whole number of at least 1; given 0",
    "--resume": "--resume needs --out",
    "--regulariser r1r2": "unknown regulariser 'r1r2': choose from none, r1, r2, r1-r2, .*did you mean 'r1-r2'",
    "--term ful": "unknown term 'ful': choose from full, detached, matching; did you mean 'full'",
    "--weighting x": "unknown weighting 'x': choose from eps, x0",
    "--weight-rule auto": "unknown weight_rule 'auto': choose from fixed, annealed, ratio, budget",
    "--generator gans": "unknown generator 'gans': choose from gan, vae, flow; did you mean 'gan'",
    "--optimizer adamw": "unknown optimizer 'adamw': choose from adam, sgd; did you mean 'adam'",
    "--score-steps 0": "score_steps must be a whole number of at least 1; given 0",
    "--score-error -1": "score_error must be at least 0 and finite; given -1.0",
    "--warm-up -1": "warm_up must be a whole number of at least 0; given -1",
    "--max-norm 0": "max_norm must be positive and finite; given 0.0",
    "--conditional": "conditional needs a mixture, whose parts are the classes; given Sphere",
    "--conditional --manifold 8-ring --batch 7": "a batch must have a row of each of the 8 classes; given 7 rows",
    "--conditional --manifold 8-ring --term matching": "conditional needs the score of each class; term matching",
    "--conditional --generator vae": "conditional is for generator gan; given generator vae",
    "--generator flow --weight-rule ratio": "ratio needs an adversarial gradient; given generator flow",
    "--weight-rule budget --summed.weight 2": r"summed.weight is a total variation in \[0, 1\) under budget; given 2.0",
    "--weight-rule budget --term matching": "weight_rule budget needs term full; given matching",
    "--weight-rule budget --anneal 3": "weight_rule budget needs anneal 1.0; given 3.0",
    "--weight-rule budget --loss hinge": "weight_rule budget needs loss saturating or non-saturating; given hinge",
    "--weight-rule budget --generator vae": "weight_rule budget needs generator gan; given vae",
    "--generator vae --loss hinge": "loss has no effect: generator vae is trained without a discriminator; given hinge",
    "--generator flow --d-steps 1": "d_steps has no effect: generator flow is trained without a discriminator; given 1",
    "--generator flow --latent 3": "latent has no effect: a flow's z has the dimension of its samples; given 3",
    "--preset healthy --generator vae --regulariser none": "regulariser has no effect: generator vae",
    "--regulariser none --gan.gamma 2": "gan.gamma has no effect: regulariser none has no strength; given 2.0",
    "--regulariser spectral --gamma 2": "gamma has no effect: regulariser spectral has no strength; given 2.0",
    "--arms gan summed --momentum 0.5": "momentum has no effect: no arm is decoupled; given 0.5",
    "--optimizer sgd --clip 1": "clip has no effect: sgd has no second moment to divide by; given 1.0",
    "--no-scale-by-every": "scale_by_every has no effect: the score term acts at every step; given False",
    "--score-steps 10": "score_steps has no effect: score analytic is not trained; given 10",
    "--score learned --score-error 0.1": "score_error has no effect: score learned is not perturbed; given 0.1",
    "--animate film.avi": "the film must be a .gif or .mp4; given film.avi",
    "--animate missing/film.gif": "the film's directory does not exist: missing",
    "--animate film.gif --generator vae": "animate shows a discriminator's gradient: generator must be gan; given vae",
    "--animate film.gif --tune": "give --animate or --tune, not both",
}


LARGE = {
    "--seeds 1000 --width 512 --dim 512": "takes about 8. GB, their samples 13 GB, of 69 GB: lower --seeds",
    "--seeds 100000 --samples 100000 --arms gan": "their samples 80 GB, of 69 GB: lower --seeds, --width, --dim",
    "--dim 100001": "dim must be at most 100000; given 100001",
    "--layers 2000": "layers must be at most 1000; given 2000",
    "--samples 3000000000": "samples must be at most 2147483647; given 3000000000",
    "--seeds 100001": "seeds must be at most 100000; given 100001",
}


@pytest.mark.parametrize("options", LARGE)
def test_sizes_beyond_the_memory(options: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to lower is said before anything is trained or written."""
    monkeypatch.setattr("toy.jobs.job.memory", lambda: 2**36)
    said = run.refuses(2 if "must be" in LARGE[options] else 1, "--out", tmp_path / "run", *options.split())
    assert pytest.raises(AssertionError, match=LARGE[options]).matches(AssertionError(said)), said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", OPTIONS)
def test_options(options: str, run: Command, tmp_path: Path) -> None:
    where = [] if options == "--resume" else ["--out", tmp_path / "run"]
    said = run.refuses(2, *where, *options.split())
    assert pytest.raises(AssertionError, match=OPTIONS[options]).matches(AssertionError(said)), said
    assert not list(tmp_path.iterdir())


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Also through a worker, which is where the law is made: no traceback of any process."""
    ended = forked("-m", "toy.run", "--dim", "1", "--out", tmp_path / "run", "--processes", "2")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("error: dim must be at least 2")


def test_where_only_ascii_can_be_printed() -> None:
    ended = python("-m", "toy.run", "--steppes", "3", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    wanted = "error: Unrecognized options: --steppes, 3; did you mean --steps? (see python -m toy.run --help)\n"
    assert ended == (2, "", wanted)


ROOM = """
import sys
from theory.common.commandline import run
from toy.__main__ import main
status = run(main, sys.argv[1:])
assert not {"torch", "numpy"} & set(sys.modules)
sys.exit(status)
"""


def test_the_room_lists_its_commands() -> None:
    """One line each, within 80 columns, at once; a command that there is not names the nearest."""
    ended = python("-c", ROOM)
    assert (ended.status, ended.err) == (0, "")
    assert re.findall(r"^  (\w+) +\w", ended.out, re.MULTILINE) == ["run", "sweep", "search", "explore", "bench"]
    assert max(map(len, ended.out.splitlines())) <= 80
    ended = python("-c", ROOM, "rnu")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(
        "error: unknown command 'rnu': choose from run, sweep, search, explore, bench; did you mean 'run'?"
    )
    assert forked("-m", "toy", "Run", "--steps", "0").err.startswith(
        "error: steps must be a whole number of at least 1"
    )


@pytest.mark.parametrize("options", ["--manifold Ring --arms GAN Summed --preset Healthy --loss Hinge"])
def test_names_in_any_case(options: str) -> None:
    found = options_of(options.split())
    assert (found.manifold, found.arms, found.preset, found.loss) == ("ring", ("gan", "summed"), "healthy", "hinge")
    assert found.regulariser == "r1"


def test_an_extra_that_is_not_installed() -> None:
    code = "import sys, runpy; sys.modules['tornado'] = None; runpy.run_module('toy.explore', None, '__main__', True)"
    ended = python("-c", code, "--port", "0")
    assert ended == (1, "", "error: tornado is not installed: pip install 'smart-verified[explore]'\n")


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ("--width 1000000000000000", 2, "width must be at most 100000"),
        ("--dim 1000000000000000", 2, "dim must be at most 100000"),
        ("--width 100000 --seeds 1000", 1, "not enough memory: the checkpoint of all seeds takes about "),
    ],
)
def test_more_memory_than_there_can_be(options: str, status: int, says: str, run: Command, tmp_path: Path) -> None:
    said = run.refuses(status, *TINY, *options.split(), "--out", tmp_path / "run")
    assert said.startswith(f"error: {says}")


@pytest.mark.parametrize(
    ("dim", "processes", "fits"), [(800, 1, True), (900, 1, False), (420, 2, True), (430, 2, False)]
)
def test_memory_of_the_cells_of_each_process(
    dim: int, processes: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(dim=dim, seeds=1, arms=("gan", "summed"), width=32, samples=256)
    monkeypatch.setattr(job, "memory", lambda: 10**9)  # bytes; a process takes 1.18e6 a dimension
    with nullcontext() if fits else pytest.raises(OutOfMemory, match="lower --dim or --processes"):
        job.check_memory(config, dim, processes)


# --out


def test_out_is_not_empty(run: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = run.refuses(2, *TINY, "--out", tmp_path)
    assert "not empty" in said
    assert "--resume" in said
    assert "--overwrite" in said
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_out_is_a_file(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert f"given the file {file}" in run.refuses(2, *TINY, "--out", file)
    assert f"given the file {file}" in run.refuses(2, *TINY, "--out", file, "--overwrite")
    assert "nothing to resume" in run.refuses(2, *TINY, "--out", file, "--resume")
    assert str(file / "below") in run.refuses(1, *TINY, "--out", file / "below")
    assert file.read_text() == "mine"


def test_overwrite_removes_what_a_run_writes_and_nothing_else(run: Command, finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    mine = ["notes.txt", "figure.pdf", ".hidden", "metrics.csv.old"]
    for name in mine:
        (directory / name).write_text(name)
    (directory / ".metrics.csv.77.partial").write_text("what a killed run left")
    assert run(*TINY, "--out", directory, "--overwrite", "--gan.lr", "1e30").status == 1
    assert {path.name for path in directory.iterdir()} == {"config.json", "metrics.csv", *mine} | (
        {"checkpoint.pt"} if (directory / "checkpoint.pt").exists() else set()
    )
    assert all((directory / name).read_text() == name for name in mine)
    assert json.loads((directory / "config.json").read_text())["gan"]["lr"] == 1e30


def test_overwrite_with_bad_options_loses_nothing(run: Command, finished: Path) -> None:
    before = contents(finished)
    for options in ("--seeds 0", "--manifold rng", "--dim 1", "--resume"):
        run.refuses(2, *TINY, "--out", finished, "--overwrite", *options.split())
    assert contents(finished) == before


# --resume


def test_nothing_to_resume(run: Command, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert f"nothing to resume: {missing / 'config.json'} does not exist" in run.refuses(
        2, "--out", missing, "--resume"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--steps 41", "steps is 40 there, 41 here"),
        ("--decoupled.weight 0.2", "decoupled.weight is 0.07706 there, 0.2 here"),
        ("--arms gan", r"arms is \['gan', 'decoupled'\] there, \['gan'\] here"),
        ("--manifold two-moons --seeds 3", "manifold is ring there, two-moons here; seeds is 2 there, 3 here"),
        ("--preset lazy", r"dim is None there, 16 here; .* and \d+ more"),
    ],
)
def test_resume_with_other_options(options: str, named: str, run: Command, finished: Path) -> None:
    before = contents(finished)
    said = run.refuses(2, "--out", finished, "--resume", *options.split())
    assert pytest.raises(AssertionError, match=named).matches(AssertionError(said)), said
    assert contents(finished) == before


def test_resume_with_other_options_before_the_first_checkpoint(run: Command, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    said = run.refuses(2, "--out", tmp_path, "--resume", "--steps", "7")
    assert said == f"error: cannot resume {tmp_path} with other options: steps is 40 there, 7 here\n"


@pytest.mark.parametrize("damage", ["{", "[]", "3", "{}", '{"seeds": 3}', '{"seeds": '], ids=str)
def test_damaged_config(damage: str, run: Command, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(damage)
    assert "config.json is" in run.refuses(2, "--out", tmp_path, "--resume")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", "8"),
        ("gan", 3),
        ("arms", None),
        ("summed", {"lr": 1, "x": 1}),
        ("loss", 3),
        ("low", None),
        ("gamma", -1),
    ],
)
def test_config_of_wrong_values(key: str, value: object, run: Command, finished: Path, tmp_path: Path) -> None:
    good = json.loads((finished / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**good, key: value}))
    assert "config.json is damaged: " in run.refuses(2, "--out", tmp_path, "--resume")


class Evil:
    """A pickle that writes a file when it is loaded."""

    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("executed"), "executed")


def foreign(kind: str, whole: bytes) -> bytes:
    return {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a checkpoint\n",
        "code": pickle.dumps(Evil()),
        "damaged": whole.replace(b"decoupled 0-1", b"decoupled 0-2"),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "code", "damaged"])
def test_checkpoint_that_is_none(
    kind: str, run: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    (directory / "checkpoint.pt").write_bytes(foreign(kind, (finished / "checkpoint.pt").read_bytes()))
    before = contents(directory)
    assert "checkpoint.pt is truncated, damaged or no checkpoint" in run.refuses(2, "--out", directory, "--resume")
    assert contents(directory) == before
    assert not (tmp_path / "executed").exists()


def test_checkpoint_of_something_else(run: Command, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    write_tensors(tmp_path / "checkpoint.pt", {"weight": torch.zeros(3)})
    assert "is no checkpoint of a run" in run.refuses(2, "--out", tmp_path, "--resume")


def test_checkpoint_from_another_configuration(run: Command, finished: Path, tmp_path: Path) -> None:
    """Even one whose tensors have the same shapes."""
    config = json.loads((finished / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "gamma": 1.5}))
    shutil.copy(finished / "checkpoint.pt", tmp_path)
    said = run.refuses(2, "--out", tmp_path, "--resume")
    assert "checkpoint.pt is from another configuration: gamma is 1.0 there, 1.5 here" in said


def test_checkpoint_that_cannot_be_read(run: Command, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    (tmp_path / "checkpoint.pt").mkdir()
    assert "checkpoint.pt" in run.refuses(1, "--out", tmp_path, "--resume")


# The disk


LIMITED = """
import resource, sys
from theory.common.commandline import run
from toy.run import main
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(run(main))
"""


@pytest.mark.parametrize(
    ("limit", "names"), [pytest.param(200, "config.json", marks=pytest.mark.slow), (6000, "checkpoint.pt")]
)
def test_full_disk(limit: int, names: str, finished: Path, tmp_path: Path) -> None:
    """Emulated: no file may grow beyond some bytes. An earlier run there survives if not even config.json fits."""
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    before = contents(directory)
    ended = forked("-c", LIMITED, limit, *TINY, "--steps", "20", "--out", directory, "--overwrite", "--processes", "1")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {directory / names}: File too large"), ended.err
    assert ended.err.count("\n") == 1
    if names == "config.json":
        assert contents(directory) == before
    else:
        assert {path.name for path in directory.iterdir()} == {"config.json", "metrics.csv"}


def test_full_disk_on_resume_keeps_the_checkpoint(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    before = contents(directory)
    ended = forked("-c", LIMITED, "1000", "--out", directory, "--resume", "--processes", "1")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert "File too large" in ended.err
    assert contents(directory) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody may write")
def test_where_nobody_may_write(run: Command) -> None:
    assert "/proc/run" in run.refuses(1, *TINY, "--out", "/proc/run")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(run: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in run.refuses(1, *TINY, "--out", tmp_path)
        assert "Permission denied" in run.refuses(1, *TINY, "--out", tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


# Losses


@pytest.mark.parametrize(
    "options", ["--gan.lr 1e20", "--gan.lr 1e20 --eval-every 1", "--gan.lr 1e10 --regulariser r1 --gamma 1e30"]
)
def test_divergence(options: str, run: Command, tmp_path: Path) -> None:
    said = run.refuses(1, *TINY, "--out", tmp_path / "run", *options.split())
    assert "no longer finite: arm gan, seed 0, step " in said
    assert "--resume" not in said  # it would end there again
    found = contents(tmp_path / "run")
    assert {"config.json", "metrics.csv"} <= set(found)
    assert found["metrics.csv"].startswith(b"arm,seed,step,metric,value\ngan,0,0,off_manifold,")
    assert not {"summary.json", "figure.png", "samples.npz"} & set(found)


def test_divergence_of_the_score_term(run: Command, tmp_path: Path) -> None:
    said = run.refuses(1, *TINY, "--out", tmp_path, "--arms", "summed", "--summed.lr", "1e30", "--loss", "saturating")
    assert "no longer finite: arm summed, seed 0, step " in said


@pytest.mark.slow
def test_divergence_in_a_process_of_its_own(tmp_path: Path) -> None:
    ended = forked("-m", "toy.run", *TINY, "--out", tmp_path, "--gan.lr", "1e20", "--processes", "2")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1), ended
    assert "arm gan, seed 0, step" in ended.err
    assert sys.platform == "win32" or not list(tmp_path.glob(".*"))
