"""What a run leaves and says: the files of the contract, plain lines through a pipe, an answer to --help at once."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.commands import TINY, Command, same_results
from tests.processes import forked, python
from theory.common.files import read_tensors
from theory.manifolds import names
from toy.config import ADDED, CHOICES, MANIFOLDS, PRESETS, Config
from toy.jobs.run_directory import FILES
from toy.metrics import FINAL, METRICS
from toy.pictures import run_figure
from toy.pictures.terminal import name as name_of
from toy.run import options_of

ARMS = ["gan", "decoupled"]
ON_MANIFOLD = {"coverage_on", "total_variation_on"}
NORMS = ["adversarial_gradient", "score_gradient", "gradient_cosine"]


def test_exactly_the_files_of_the_contract(finished: Path) -> None:
    names = {"config.json", "metrics.csv", "summary.json", "samples.npz", "figure.png", "checkpoint.pt"}
    assert {path.name for path in finished.iterdir()} == names == set(FILES)


def test_config(finished: Path) -> None:
    """Every option; those of ADDED, a device for example, where they are not as usual."""
    stored = json.loads((finished / "config.json").read_text())
    assert (stored["seeds"], stored["steps"], stored["arms"]) == (2, 40, ARMS)
    assert {*stored, *ADDED} == set(Config.__dataclass_fields__)
    assert not set(ADDED) & set(stored)
    assert stored["decoupled"] == vars(PRESETS["saturated"].decoupled)


def test_metrics(finished: Path) -> None:
    """Tidy and complete: a value a seed, arm, evaluation and metric; the costly ones at the end."""
    table = pd.read_csv(finished / "metrics.csv")
    assert list(table.columns) == ["arm", "seed", "step", "metric", "value"]
    often = [name for name in METRICS if name not in FINAL] + NORMS
    wanted = {(a, s, t, m) for a in ARMS for s in (0, 1) for t in (0, 10, 20, 30, 40) for m in often}
    wanted |= {(a, s, 40, m) for a in ARMS for s in (0, 1) for m in FINAL}
    found = list(table[["arm", "seed", "step", "metric"]].itertuples(index=False, name=None))
    assert set(found) == wanted
    assert len(found) == len(wanted)
    ended = table[table.step == 40].pivot(index=["arm", "seed"], columns="metric", values="value")
    few = ended.off_manifold > 0.75  # less than a quarter of the samples of one evaluation are on the manifold
    for name in ON_MANIFOLD:
        assert (ended[name].isna() == few).all()
    assert np.isfinite(table.value[~table.metric.isin(ON_MANIFOLD)]).all()


def test_summary(finished: Path) -> None:
    """Of the last evaluation; strict JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    summary = json.loads((finished / "summary.json").read_text(), parse_constant=refuse)
    table = pd.read_csv(finished / "metrics.csv").query("step == 40")
    assert list(summary["arms"]) == ARMS
    for arm in ARMS:
        undefined = set(table.metric[(table.arm == arm) & table.value.isna()])
        assert undefined <= ON_MANIFOLD
        assert set(summary["arms"][arm]) == {*METRICS, *NORMS} - undefined
        for metric, entry in summary["arms"][arm].items():
            assert set(entry) == {"mean", "low", "high", "per_seed"}
            rows = table[(table.arm == arm) & (table.metric == metric)].sort_values("seed")
            assert entry["per_seed"] == rows.value.tolist()
            assert entry["mean"] == pytest.approx(rows.value.mean())
            assert entry["low"] <= entry["mean"] * (1 + 1e-9)
            assert entry["high"] >= entry["mean"] * (1 - 1e-9)
    for metric, entry in summary["comparisons"].items():
        assert set(entry["decoupled - gan"]) == {"difference", "low", "high", "p"}
        means = [summary["arms"][arm][metric]["mean"] for arm in ARMS]
        assert entry["decoupled - gan"]["difference"] == pytest.approx(means[1] - means[0], abs=1e-12)


def test_samples(finished: Path) -> None:
    arrays = np.load(finished / "samples.npz")
    fields = {"real", "start", "origin", "plane", "field_points", "field_adversarial", "field_score"}
    assert set(arrays.files) == {*ARMS, *fields}
    for arm in ARMS:
        assert arrays[arm].shape == (2, 64, 2)
    distance = np.abs(np.linalg.norm(arrays["gan"], axis=-1) - 1).mean(-1)
    summary = json.loads((finished / "summary.json").read_text())
    np.testing.assert_allclose(distance, summary["arms"]["gan"]["mean_distance"]["per_seed"], rtol=1e-5)


def test_figure_and_checkpoint(finished: Path) -> None:
    with Image.open(finished / "figure.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
    content = read_tensors(finished / "checkpoint.pt", "checkpoint")
    assert set(content["jobs"]) == {"gan 0-1", "decoupled 0-1"}
    assert all(state["trainer"]["at"] == 40 for state in content["jobs"].values())


def test_through_a_pipe_over_two_processes(finished: Path, tmp_path: Path) -> None:
    """The same bits, and nothing but plain lines."""
    ended = forked("-m", "toy.run", *TINY, "--out", tmp_path / "run", "--processes", "2")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.isprintable() or set(ended.out) - {"\n"} <= set(map(chr, range(32, 127)))
    assert "\x1b" not in ended.out
    summary = json.loads((finished / "summary.json").read_text())
    means, gains = (numbers(line) for line in ended.out.splitlines() if line.strip().startswith("mean distance"))
    wanted = [summary["arms"][arm]["mean_distance"][key] for arm in ARMS for key in ("mean", "low", "high")]
    wanted.append(summary["floor"]["mean_distance"]["mean"])
    assert means == pytest.approx(wanted, abs=5.1e-4)
    gain = summary["comparisons"]["mean_distance"]["decoupled - gan"]
    assert gains == pytest.approx([gain[key] for key in ("difference", "low", "high", "p")], abs=5.1e-4)
    assert same_results(finished, tmp_path / "run")
    for name in ("config.json", "summary.json", "figure.png"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in finished.iterdir()}


def numbers(line: str) -> list[float]:
    """The numbers of a row, its name left out."""
    return [float(text) for text in re.findall(r"-?\d*\.\d+", line)]


def test_one_seed_one_arm_another_law(run: Command, tmp_path: Path) -> None:
    """Where there is no interval and nothing to compare."""
    options = ["--seeds", "1", "--first-seed", "5", "--arms", "summed", "--manifold", "two-moons", "--dim", "3"]
    ended = run(*TINY, *options, "--steps", "10", "--out", tmp_path)
    assert (ended.status, ended.err) == (0, "")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["arms"]["summed"]["w2"]["low"] is None
    (shown,) = (numbers(line) for line in ended.out.splitlines() if line.startswith("w2"))
    wanted = [summary["arms"]["summed"]["w2"]["mean"], summary["floor"]["w2"]["mean"]]
    assert shown == pytest.approx(wanted, abs=5.1e-4)


def test_without_out_each_run_gets_a_directory(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(*TINY, "--gan.lr", "1e30").status == 1
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ring-saturated", "ring-saturated-2"]


@pytest.mark.parametrize("preset", PRESETS)
def test_stacks_of_seeds(preset: str) -> None:
    """Every seed once, in order, in stacks that only the configuration decides."""
    groups = PRESETS[preset].seed_groups()
    assert [seed for group in groups for seed in group] == list(range(8))


# Every choice that has a name, in few runs; each with the metric that it adds
EVERYTHING = {
    "--generator vae --weighting x0": "negative_log_likelihood",
    "--generator vae --term matching --optimizer sgd": "negative_log_likelihood",
    "--generator flow --weight-rule annealed --score perturbed": "negative_log_likelihood",
    "--conditional --manifold 8-ring --regulariser gradient-penalty --loss wasserstein --term detached": "wrong_class",
    "--conditional --manifold two-moons --score learned --score-steps 3": "wrong_class",
    "--loss hinge --regulariser spectral --weighting x0 --every 2 --warm-up 2 --dim 3": "",
    "--loss least-squares --regulariser r2 --gamma 0.1 --term detached --score perturbed --score-error 0.5": "",
    "--loss relativistic --regulariser r1-r2 --regulariser-every 2 --regulariser-step corrected --term matching "
    "--weight-rule annealed": "",
    "--loss hinge --regulariser diffusion --gamma 0.3": "",
    "--loss non-saturating --regulariser instance-noise --gamma 0.2 --weight-rule ratio --optimizer sgd": "",
    "--loss saturating --regulariser r1 --regulariser-every 2 --regulariser-step own-step --manifold weighted "
    "--weight-rule budget --max-norm 1 --decoupled.bound 3": "",
    "--regulariser none --equal-length --score learned --score-steps 3 --every 2 --no-scale-by-every "
    "--thickness 0.1 --anneal 10": "",
    "--training-samples 30 --score empirical --dim 3": "copies",
}
FEW = shlex.split("--steps 4 --eval-every 2 --samples 32")


def test_everything_is_among_them() -> None:
    given = {word for options in EVERYTHING for word in options.split()}
    for option, choices in CHOICES.items():
        default = {getattr(Config(), option)}
        assert set(choices) <= given | default, option


@pytest.mark.parametrize("options", EVERYTHING)
def test_choices(options: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with them comes to its end and says what it was; the picture too where that is of another kind."""
    monkeypatch.chdir(tmp_path)  # where learned scores are kept
    if not {"vae", "--conditional", "--dim"} & set(options.split()):
        monkeypatch.setattr(run_figure, "draw", lambda *_: None)
        monkeypatch.setattr(run_figure, "png", lambda _: b"no picture")
    with_discriminator = "--generator" not in options
    tiny = TINY if with_discriminator else [word for word in TINY if word not in ("--d-ahead", "5")]
    ended = run(*tiny, *FEW, *options.split(), "--out", "run")
    assert (ended.status, ended.err) == (0, "")
    assert {path.name for path in Path("run").iterdir()} == set(FILES)
    table = pd.read_csv("run/metrics.csv")
    assert np.isfinite(table.value[~table.metric.isin(ON_MANIFOLD)]).all()
    added = EVERYTHING[options]
    assert {added} - {""} <= set(table.metric)
    assert not added or name_of(added) in ended.out
    assert (" loss" in ended.out.splitlines()[0]) == with_discriminator
    assert ("adversarial_gradient" in set(table.metric)) == with_discriminator
    assert ("field_adversarial" in np.load("run/samples.npz").files) == with_discriminator


@pytest.mark.slow  # toy/tests/test_film.py looks at films
def test_film(run: Command, tmp_path: Path) -> None:
    """Beside the run's own files, which it does not change."""
    film = tmp_path / "run" / "film.gif"
    ended = run(*TINY, *FEW, "--out", film.parent, "--animate", film)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.endswith(f"filmed: {film}\n")
    assert {path.name for path in film.parent.iterdir()} == {*FILES, "film.gif"}
    with Image.open(film) as image:
        assert image.format == "GIF"
        assert getattr(image, "n_frames", 1) > 1


LIGHT = """
import sys, time, toy.run, toy.config
try:
    toy.run.main(["--help"])
finally:
    print("seconds:", time.process_time())
    print("imported:", *sorted({"torch", "scipy", "pandas", "matplotlib"} & set(sys.modules)))
"""


def test_help() -> None:
    """In time: without torch, nor anything else that is slow to load. It names every option and every choice."""
    ended = python("-c", LIGHT)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.rstrip().endswith("imported:")
    assert float(ended.out.splitlines()[-2].removeprefix("seconds:")) < 1
    for name in Config.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in ended.out, name
    for choices in CHOICES.values():
        for name in choices:
            assert name in ended.out, name
    for name in MANIFOLDS:
        assert f"- {name}: " in ended.out, name
    assert "\x1b" not in ended.out
    assert io.StringIO(ended.out).readline().startswith("usage: python -m toy.run")


def test_commands_of_the_readme() -> None:
    """Each is one that this version takes."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    commands = re.findall(r"python -m toy\.run([^\n`#]*)", readme)
    assert len(commands) > 3
    for command in commands:
        arguments = shlex.split(command)
        if "--help" not in arguments:
            options_of(arguments)


def test_manifolds_are_the_catalogue() -> None:
    """Named without torch for --help, and only here compared."""
    assert tuple(MANIFOLDS) == names()
