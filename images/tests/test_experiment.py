"""An experiment: what real images have, learning rates of arms, tuning, published files, pictures, progress."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from rich.console import Console

from images import publish, tune
from images.denoisers import small
from images.metrics.during_training import Digits, measures
from images.recipes import COUPLINGS, DECOUPLED, DIGITS, RECIPES, Recipe
from images.train import main
from images.training import experiment, pictures, progress
from images.training.inputs import real_images
from images.training.run import FRAMES, SHOWN, Job, result_of, trainer_of
from tests.trained import with_classifier
from theory.common.colours import ARM_LABELS
from theory.common.commandline import run
from theory.common.errors import Diverged, Stopped

TINY = dataclasses.replace(DIGITS, couplings=("gan",), seeds=2, width=4, latent=4, batch=8, images=80, evaluate_every=5)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return Digits(with_classifier(tmp_path_factory.mktemp("judge")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through the command line, two processes."""
    path = with_classifier(tmp_path_factory.mktemp("run"))
    options = "--couplings gan --seeds 2 --width 4 --latent 4 --batch 8 --images 80 --evaluate-every 5 --processes 2"
    assert run(main, [*options.split(), "--out", str(path / "out"), "--cache", str(path)]) == 0
    return path / "out"


# Measures


def test_real_digits_are_the_floor(judge: Digits) -> None:
    """What real images get is what they get as samples: training digits are as many as samples."""
    x = judge.train.float() / 127.5 - 1
    found = judge(x, None, last=True)
    assert found["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert found["frechet_held_out"] == pytest.approx(judge.real["frechet_held_out"], rel=1e-9)
    assert found["precision"] == found["recall"] == found["memorised"] == 1
    assert len(x) == judge.n
    assert 0.8 < judge.real["precision"] < 1
    assert judge.real["memorised"] < 0.05
    noise = judge(torch.rand(judge.n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, None, last=False)
    assert noise["frechet_held_out"] > 5 * judge.real["frechet_held_out"]
    assert noise["precision"] < 0.1


def test_what_nothing_can_judge_is_left(tmp_path: Path) -> None:
    silent = measures(RECIPES["photos"], tmp_path)
    assert silent(torch.zeros(4, 3, 32, 32), None, True) == silent.real == {}


# Recipes


def test_each_arm_has_its_learning_rate(tmp_path: Path) -> None:
    rates = 3.0, 2.0, 4.0, 0.5, 1.0, 8.0
    recipe = dataclasses.replace(TINY, lr=(0.5, 0.25), rates=rates)
    assert [recipe.arm(name).lr for name in COUPLINGS] == [(0.5 * rate, 0.25 * rate) for rate in rates]
    trainer = trainer_of(Job(recipe, "gan", 0, tmp_path, tmp_path))
    assert trainer.now(trainer.recipe.lr) == 1.5


def test_recipes_of_digits_share_their_score_model() -> None:
    files = [small.Denoiser.of(RECIPES[name]).file for name in ("digits", "digits-vanilla")]
    assert files[0] == files[1]


def test_score_models_are_trained_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    what = dataclasses.replace(small.Denoiser.of(DIGITS), width=4, batch=2, steps=1)
    original = small.score_matching_loss

    def loss(*given: Any, **named: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return original(*given, **named)

    monkeypatch.setattr(small, "score_matching_loss", loss)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        small.train(what, real_images(DIGITS, None, tmp_path))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_tuning_finds_the_least_distance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A distance with its least at (2, 3) for all arms that have a weight, infinite where it diverges."""

    def value(job: Job) -> float:
        rate = job.recipe.rates[COUPLINGS.index(job.coupling)]
        recipe, apart = job.recipe, job.coupling in DECOUPLED
        weight = 3.0 if job.coupling == "gan" else recipe.decoupled_weight if apart else recipe.weight
        return math.inf if rate == 1 and weight == 3 else (rate - 2) ** 2 + (weight - 3) ** 2 + 0.1 * (job.seed % 2)

    monkeypatch.setattr(tune, "RATES", (1.0, 2.0, 4.0))
    monkeypatch.setattr(
        tune, "WEIGHTS", dict.fromkeys(COUPLINGS, (1.0, 3.0, 9.0)) | {"gan": (0.0,), "decoupled": (3.0, 9.0)}
    )
    monkeypatch.setattr(tune, "value", value)
    monkeypatch.setattr("images.training.inputs.score_model", lambda *_: None)
    table = tune.tune(dataclasses.replace(DIGITS, couplings=COUPLINGS), tmp_path, tmp_path, processes=1)
    assert set(table["seed"]).isdisjoint(range(DIGITS.first_seed, DIGITS.first_seed + DIGITS.seeds))
    assert tune.best(table) == {arm: (2.0, 0.0 if arm == "gan" else 3.0) for arm in COUPLINGS}


# Files and pictures


def test_what_a_run_leaves(finished: Path) -> None:
    names = {"config.json", "metrics.csv", "summary.json", "run.json", "samples.npz"}
    assert names | {f"{name}.png" for name in ("figure", "samples", "interpolation", "neighbours")} <= {
        path.name for path in finished.iterdir()
    }
    facts = json.loads((finished / "run.json").read_text())
    assert facts["command"].startswith("python -m images.train")
    assert facts["cost"]["processes"] == 2
    assert facts["cost"]["cpu_seconds"] >= 0
    assert json.loads((finished / "summary.json").read_text())["real"]["precision"] > 0.8
    assert set(np.load(finished / "samples.npz")) == {
        f"{kind}gan-{seed}" for kind in ("", "interpolation-") for seed in (0, 1)
    }


def test_results_are_published(finished: Path, tmp_path: Path) -> None:
    publish.publish(finished, None, tmp_path, tmp_path)
    assert (tmp_path / "digits.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    facts = json.loads((tmp_path / "digits.json").read_text())
    assert facts["recipe"]["width"] == 4
    assert facts["arms"] == json.loads((finished / "summary.json").read_text())["arms"]
    grids = np.load(tmp_path / "digits-samples.npz")
    assert grids["gan"].shape == grids["real"].shape == (10, SHOWN, 1, 8, 8)
    assert grids["interpolation-gan"].shape == (10, FRAMES, 1, 8, 8)
    assert grids["gan"].dtype == np.uint8
    stored = np.load(finished / "samples.npz")["gan-0"]
    expected = np.clip(stored[[3, 13]] * 127.5 + 127.5, 0, 255)  # a row a class, classes in turn
    np.testing.assert_allclose(grids["gan"][3, :2], expected, atol=0.51)


def test_what_is_no_run_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "run"), "--into", str(tmp_path / "into")]
    assert run(publish.main, arguments) == 2
    assert capsys.readouterr().err == f"error: no finished run: {tmp_path}/run/config.json does not exist\n"
    (tmp_path / "run").mkdir()
    for name in ("config.json", "run.json", "summary.json", "metrics.csv"):
        (tmp_path / "run" / name).write_text('{"manifold": "ring"}')
    assert run(publish.main, arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/run is no finished run of images.train: ")
    assert not (tmp_path / "into").exists()


def test_pictures_of_samples_are_of_the_samples() -> None:
    rows = torch.linspace(-1, 1, 2 * 3 * 16).view(2, 3, 1, 4, 4).numpy()
    picture = pictures.tiled(rows)
    assert picture.shape == (9, 14, 1)
    np.testing.assert_allclose(picture[5:9, 10:14, 0], rows[1, 2, 0] * 0.5 + 0.5, atol=1e-6)
    assert (picture[4] == 1).all()


def test_nearest_is_nearest() -> None:
    generator = torch.Generator().manual_seed(0)
    train = torch.rand(50, 1, 8, 8, generator=generator).numpy()
    distances, which = pictures.nearest(train[[7, 3]] + 0.01, train)
    assert which.tolist() == [7, 3]
    np.testing.assert_allclose(distances, 0.01, rtol=1e-4)


def test_curves_show_arms_and_the_floor() -> None:
    rows = [
        {"arm": arm, "seed": seed, "step": step, "metric": metric, "value": 1.0 + seed}
        for arm in COUPLINGS for seed in (0, 1) for step in (10, 20) for metric in ("frechet_held_out", "recall")
    ]  # fmt: skip
    figure = pictures.curves(pd.DataFrame(rows), {"recall": 0.9}, 8)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*(ARM_LABELS[arm] for arm in COUPLINGS), "real digits"]
    first, second = figure.axes
    assert [len(place.lines) for place in (first, second)] == [3 * len(COUPLINGS), 3 * len(COUPLINGS) + 1]
    plt.close(figure)


def test_pictures_do_not_depend_on_the_settings_of_the_process() -> None:
    """A layout that is switched on for all figures would meet theirs, and be warned of: an error here."""
    rows = [{"arm": "gan", "seed": seed, "step": 10, "metric": "recall", "value": 1.0} for seed in (0, 1)]
    with mpl.rc_context({"figure.constrained_layout.use": True}):
        for figure in (
            pictures.grids({"real": np.zeros((2, 2, 1, 4, 4), np.float32)}, "title"),
            pictures.curves(pd.DataFrame(rows), {}, 8),
        ):
            figure.draw_without_rendering()
            plt.close(figure)


# Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal: bool, tmp_path: Path) -> None:
    """Places are written by whoever runs, and read until the block ends; a pipe gets no control characters."""
    file, ended, out = tmp_path / "steps", threading.Event(), io.StringIO()
    file.write_bytes(bytes(24))
    progress.Place(file, 1)(10)
    progress.Place(file, 0)(5)
    assert not progress.Place(file, 1).asked()
    progress.Place(file, 1).stop()
    assert progress.Place(file, 0).asked()
    ended.set()
    console = Console(file=out, force_terminal=terminal, width=150, highlight=False)
    (progress.bars if terminal else progress.lines)(console, file, ["gan-0", "gan-1"], 10, ended)
    said = out.getvalue()
    assert "1 of 2 runs done" in said
    assert ("now gan-0" in said) == terminal
    assert ("\x1b" in said) == terminal
    assert terminal or said == "70 % of all steps, 1 of 2 runs done\n"


def test_reports_reach_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    job = Job(TINY, "gan", 0, tmp_path / "run", tmp_path)
    result = result_of(job, report=seen.append)
    assert seen == list(range(1, 11))
    again: list[int] = []
    assert result_of(job, report=again.append).records == result.records
    assert again == [10]  # from its checkpoint


def test_a_recipe_says_which_rates_are_bad() -> None:
    with pytest.raises(ValueError, match=r"rates must be at least 0 and finite; given -1.0"):
        Recipe(rates=(1.0, -1.0, 1.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize("end", [Diverged("diverged"), Stopped("stopped")])
def test_logs_are_closed_however_a_job_ends(end: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    class Log:
        def __call__(self, arm: str, seeds: object, records: object) -> None: ...

        def close(self) -> None:
            closed.append(True)

    def result_of(*_: object) -> None:
        raise end

    monkeypatch.setattr(experiment, "result_of", result_of)
    (tmp_path / "steps").write_bytes(bytes(16))
    job, place = Job(TINY, "gan", 0, tmp_path / "run", tmp_path), progress.Place(tmp_path / "steps", 0)
    with nullcontext() if isinstance(end, Stopped) else pytest.raises(Diverged):
        assert experiment.ended(job, None, place, [Log()]) is None
    assert closed == [True]
