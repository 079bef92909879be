"""The comparison: equal searches with halving, runs that go on where they were stopped, tables of what is there."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from images.compare import __main__ as command
from images.compare import design, runs, tables
from images.compare.design import ARMS, CELLS, RANGES, Cell, base_of, edges, kept, planned_steps, trials
from images.compare.offmanifold import LEVELS, SMALL, against_noise, gradients, perturbed, push, read_off
from images.compare.runs import Conductor, Run, alive, chosen, fresh, scattered, search, train, without_term
from images.compare.tables import Tables
from images.recipes import RECIPES
from tests.idx import write_idx
from theory.common.commandline import run as run_command
from theory.common.errors import FileError, Stopped
from theory.levels import Level

BASE = dataclasses.replace(RECIPES["fashion"], width=16, latent=4, batch=4, every=2)


class Grey:
    """A score that draws everything to mid grey."""

    def of(self, labels: object = None) -> object:
        return lambda x_t, level: x_t / torch.as_tensor(level.sigma)[:, None, None, None]


class Judge:
    """The mean pixel as the number that a search selects by."""

    n, real = 16, dict[str, float]()

    def __call__(self, x: torch.Tensor, labels: object, last: bool) -> dict[str, float]:
        mean = float(x.mean())
        return {"frechet_train": mean, "frechet_test": mean, "coverage": float(x.std())}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs of 8 steps, 4 trials, 3 seeds; a folder of images, a score and a judge that cost nothing."""
    monkeypatch.setattr(design, "STEPS", 8)
    monkeypatch.setattr(design, "TRIALS", 4)
    for module in (design, runs, tables):
        monkeypatch.setattr(module, "SEEDS", 3)
    for name in ("images.training.run.score_model", "images.training.inputs.score_model"):
        monkeypatch.setattr(name, lambda *_: Grey())
    monkeypatch.setattr("images.metrics.during_training.measures", lambda *_: Judge())
    return write_idx(tmp_path / "data", 40, 0)


CELL = Cell("saturated", 1)


def never() -> bool:
    return False


# The design


def test_all_arms_search_equally() -> None:
    """As many settings, the same learning rates, whatever else an arm has; each within its range."""
    for cell in CELLS:
        tried = {arm: trials(cell, arm, BASE) for arm in ARMS}
        assert {len(found) for found in tried.values()} == {design.TRIALS}
        for arm, found in tried.items():
            assert [row["lr"] for row in found] == [row["lr"] for row in tried["gan"]]
            assert [row["d_lr"] for row in found] == [row["d_lr"] for row in tried["gan"]]
            assert set(found[0]) == set(cell.options(arm))
            assert all(RANGES[name][0] <= x <= RANGES[name][1] for row in found for name, x in row.items())
        assert "weight" not in tried["gan"][0]
        assert tried["own-step"][0]["weight"] == BASE.weight == 0.01  # the paper's, for CIFAR10
        assert tried["own-step"][1]["weight"] != tried["own-step"][2]["weight"]
        assert ("gamma" in tried["gan"][0]) == (cell.game == "healthy")


def test_the_games_and_the_paper_s_term() -> None:
    values = {"lr": 1e-3, "d_lr": 4e-3, "gamma": 2.0, "weight": 0.3}
    saturated, healthy = (Cell(game, 3).recipe(base_of("fashion"), "own-step", values) for game in design.GAMES)
    assert (saturated.loss, saturated.penalty) == ("non-saturating", "none")
    assert (healthy.loss, healthy.penalty, healthy.gamma) == ("relativistic", "r1+r2", (2.0, 2.0))
    for recipe in (saturated, healthy):
        assert recipe.steps == 3 * design.STEPS
        assert (recipe.lr[0], recipe.lr[0] * recipe.d_rate) == pytest.approx((1e-3, 4e-3))
        assert (recipe.weight, recipe.every, recipe.low, recipe.high) == (0.3, 8, *recipe_interval())
        assert recipe.arm("own-step").lr == (1e-3, 1e-3)


def recipe_interval() -> tuple[float, float]:
    from images.recipes import interval

    return interval("cifar10", "ddpm")


def test_the_worse_half_is_stopped() -> None:
    assert kept({0: 3.0, 1: math.inf, 2: 1.0, 3: 2.0}) == [2, 3]
    assert kept({5: 2.0, 1: 1.0, 7: 3.0}) == [1, 5]


def test_the_whole_is_within_twelve_core_hours() -> None:
    """By the pace that --plan starts from; 12 trials cost 6 whole runs: 12/4 + 6/4 + 3/2."""
    assert planned_steps(CELL) == {"search": 6 * design.STEPS, "comparison": design.SEEDS * design.STEPS}
    hours = sum(sum(planned_steps(cell).values()) * design.SECONDS[arm] for cell in CELLS for arm in ARMS) / 3600
    assert hours <= 12


def test_edges_are_the_outer_tenths() -> None:
    low, high = RANGES["lr"]
    assert edges({"lr": low * 1.1}) == edges({"lr": high / 1.1}) == ["lr"]
    assert edges({"lr": (low * high) ** 0.5, "weight": 0.1}) == []


# Runs


def test_a_run_goes_on_where_it_was_stopped(small: Path, tmp_path: Path) -> None:
    """Through a rung, and through a request between the rungs, to the numbers of a run in one go."""
    made = [search(BASE, CELL, "own-step", tmp_path / name)[1] for name in ("whole", "parts")]
    train(made[0], 1.0, never, tmp_path, small)
    train(made[1], 0.25, never, tmp_path, small)
    assert made[1].outcome()["steps"] == 2
    with pytest.raises(Stopped):
        train(made[1], 0.5, lambda: True, tmp_path, small)
    assert made[1].outcome()["steps"] == 3
    assert not made[1].done(0.5)
    train(made[1], 0.5, never, tmp_path, small)
    train(made[1], 1.0, never, tmp_path, small)
    for share in (0.25, 0.5, 1.0):
        assert made[0].number(share) == made[1].number(share) is not None
    assert made[0].outcome()["steps"] == made[1].outcome()["steps"] == 8
    before = made[1].outcome()
    train(made[1], 1.0, lambda: pytest.fail("it was trained again"), tmp_path, small)
    assert made[1].outcome() == before


def test_an_outcome_of_another_setting_is_not_used(small: Path, tmp_path: Path) -> None:
    one = search(BASE, CELL, "gan", tmp_path / "runs")[0]
    train(one, 0.25, never, tmp_path, small)
    assert one.done(0.25)
    other = dataclasses.replace(one, values=one.values | {"lr": 1e-3})
    assert not other.done(0.25)
    whole = one.outcome()
    numbers = whole["shares"]["0.25"].values()
    assert all(x == float(f"{x:.6g}") for x in numbers)  # what files keep: tables made elsewhere agree to the digit
    for damaged in ("{", json.dumps({name: part for name, part in whole.items() if name != "shares"})):
        (one.place / "outcome.json").write_text(damaged)
        assert not one.done(0.25)


def outcome(run: Run, numbers: dict[float, float]) -> None:
    run.place.mkdir(parents=True, exist_ok=True)
    shares = {str(share): {"frechet_train": x, "frechet_test": x, "coverage": 1 / x} for share, x in numbers.items()}
    found = {"values": run.values, "steps_of_run": run.cell.steps, "shares": shares, "steps": 8, "seconds": 4.0}
    (run.place / "outcome.json").write_text(json.dumps(found))


def test_the_best_of_the_last_rung_is_chosen(small: Path, tmp_path: Path) -> None:
    """Trial 3 is the best early and stays; trial 0 would have been, and was stopped at the first rung."""
    found = search(BASE, CELL, "gan", tmp_path)
    for run, numbers in zip(
        found, ({0.25: 9.0}, {0.25: 2.0, 0.5: 2.0}, {0.25: 8.0}, {0.25: 1.0, 0.5: 1.0}), strict=True
    ):
        outcome(run, numbers)
    assert [run.label for run in alive(found, 0.5)] == ["trial-3", "trial-1"]
    assert chosen(found) is None  # the last is not trained to its end
    assert [run.label for run in alive(found, 1.0)] == ["trial-3"]
    outcome(found[3], {0.25: 1.0, 0.5: 1.0, 1.0: 1.5})
    best = chosen(found)
    assert best is found[3]
    seeds = fresh(best)
    assert [run.seed for run in seeds] == [0, 1, 2]
    assert {run.seed for run in found} == {design.TUNING}
    assert seeds[0].recipe.evaluate_every == CELL.steps


def test_a_diverged_trial_is_the_worst(small: Path, tmp_path: Path) -> None:
    found = search(BASE, CELL, "gan", tmp_path)[:2]
    outcome(found[0], {0.25: 100.0})
    outcome(found[1], {})
    path = found[1].place / "outcome.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"diverged": 0.25}))
    assert found[1].number(0.25) == math.inf
    assert alive(found, 0.5) == [found[0]]


# Tables


def test_what_is_there_is_told(small: Path, tmp_path: Path) -> None:
    """Everything once, as the command does it: the tables hold every arm, and the verdict is that of the numbers."""
    directory, written = tmp_path / "runs", list[int]()

    def shift(run: Run) -> float:
        return 0.0 if run.arm == "gan" else -5.0

    def instead(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None = None) -> None:
        number = 10 + shift(run) + 0.1 * run.seed % 1 + run.values["lr"]
        outcome(run, {part: number for part in (0.25, 0.5, 1.0) if part <= share})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", instead)
        Conductor(directory, tmp_path, small, never, lambda *_: written.append(1)).conduct(BASE, [CELL])
    assert len(written) == len(ARMS) * (4 + 2 + 1 + 3)
    found = Tables.of(BASE, [CELL, Cell("healthy", 1)], directory)
    assert list(found.arms.arm) == list(ARMS)
    assert found.values.groupby("arm").seed.apply(list).tolist() == [[0, 1, 2]] * len(ARMS)
    assert len(found.trials) == len(ARMS) * (4 + 2 + 1)
    judged = found.verdicts().set_index(["arm", "metric"])
    assert judged.difference["summed", "frechet_test"] == pytest.approx(-5, abs=0.1)
    assert judged.p["summed", "frechet_test"] == pytest.approx(2 / 8)  # exact, of three seeds
    assert set(judged.verdict) == {"unknown"}  # three seeds cannot decide
    assert found.seconds_a_step["gan"] == pytest.approx(0.5)  # 4 seconds for 8 steps
    whole, left = found.hours
    assert 0 < left < whole
    found.write(tmp_path / "tables" / "fashion", directory, {"command": "c"})
    facts = json.loads((tmp_path / "tables" / "fashion.json").read_text())
    assert [part["seeds"] for part in facts["progress"]] == [3] * 4 + [0] * 4
    assert len(pd.read_csv(tmp_path / "tables" / "fashion.verdicts.csv")) == 6
    goes_on_elsewhere(tmp_path / "tables" / "fashion.outcomes.json", tmp_path / "elsewhere", found)


def test_each_arm_is_compared_with_the_gan_at_its_own_setting(small: Path, tmp_path: Path) -> None:
    """The GAN's best is trial 0, the others' trial 2, and decoupled's trial 0 too: the GAN is trained at trial 2 on the
    fresh seeds, once for the two arms, and only in the short runs."""
    trained = list[str]()

    def instead(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None = None) -> None:
        best = "trial-0" if run.arm in ("gan", "decoupled") else "trial-2"
        trained.append(run.place.relative_to(tmp_path).as_posix())
        number = 1.0 if run.label == best else 5.0
        if run.label.startswith("seed"):
            number = 4.0 + 0.1 * run.seed if run.group else 2.0
        outcome(run, {part: number for part in (0.25, 0.5, 1.0) if part <= share})

    conductor = Conductor(tmp_path, tmp_path, small, never, lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", instead)
        for times in (1, 3):
            conductor.conduct(BASE, [Cell("healthy", times)])
    assert [name for name in trained if "-at-" in name] == [f"healthy-x1/gan-at-2/seed-{i}" for i in range(3)]
    searches = {arm: search(BASE, Cell("healthy", 1), arm, tmp_path) for arm in ARMS}
    beside = without_term(searches)
    assert beside["decoupled"] == fresh(searches["gan"][0])
    setting = chosen(searches["summed"])
    assert setting is not None
    assert beside["summed"][0].values == {k: v for k, v in setting.values.items() if k != "weight"}
    assert beside["summed"][0].arm == "gan"

    found = Tables.of(BASE, [Cell("healthy", 1), Cell("healthy", 3)], tmp_path)
    assert [part.seeds for part in found.progress if part.arm == design.WITHOUT] == [3]
    table = found.without().set_index(["arm", "metric"])
    assert table.baseline_mean["summed", "frechet_test"] == pytest.approx(4.1)
    assert table.difference["summed", "frechet_test"] == pytest.approx(-2.1)
    assert table.difference["decoupled", "frechet_test"] == 0
    assert set(table.cell) == {"healthy, x1"}
    assert (len(table), len(found.verdicts())) == (6, 12)
    found.write(tmp_path / "tables" / "fashion", tmp_path, {"command": "c"})
    assert len(pd.read_csv(tmp_path / "tables" / "fashion.without.csv")) == 6
    controls = pd.read_csv(tmp_path / "tables" / "fashion.controls.csv")
    assert controls[controls.arm == "summed"].frechet_test.tolist() == pytest.approx([4.0, 4.1, 4.2])
    scattered(tmp_path / "tables" / "fashion.outcomes.json", tmp_path / "elsewhere")
    again = Tables.of(BASE, [Cell("healthy", 1), Cell("healthy", 3)], tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(again.plain, found.plain)


def goes_on_elsewhere(path: Path, directory: Path, found: Tables) -> None:
    """A directory that has but one outcome, of its own, gets the others of the file, and has nothing left to train."""
    own = search(BASE, CELL, "gan", directory)[0]
    outcome(own, {0.25: 7.0})
    scattered(path, directory)
    assert own.number(0.25) == 7.0
    (own.place / "outcome.json").unlink()
    scattered(path, directory)
    again = Tables.of(BASE, [CELL, Cell("healthy", 1)], directory)
    pd.testing.assert_frame_equal(again.trials, found.trials)
    pd.testing.assert_frame_equal(again.values, found.values)
    assert again.progress == found.progress


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of this process in the place of joblib's processes, which know nothing of what a test has changed."""
    monkeypatch.setattr(runs, "children", lambda: joblib.parallel_config(backend="threading"))


def test_several_runs_at_a_time_give_the_tables_of_one(small: Path, tmp_path: Path, threads: None) -> None:
    """Two trials really are trained at the same time, and a rung waits for all of the one before it."""
    together, rungs = threading.Barrier(2, timeout=20), list[float]()

    def instead(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None = None) -> None:
        if run.directory.name == "2" and share == 0.25:
            together.wait()
        number = 1 + run.seed % 7 + run.values["lr"] + run.values.get("weight", 0.0)
        outcome(run, {part: number for part in (0.25, 0.5, 1.0) if part <= share})

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", instead)
        for processes in (1, 2):
            directory = tmp_path / str(processes)
            after = lambda run, share: rungs.append(share)  # noqa: E731
            Conductor(directory, tmp_path, small, never, after, processes).conduct(BASE, [CELL])
            found[processes] = Tables.of(BASE, [CELL], directory)
            assert rungs == sorted(rungs)
            assert len(rungs) >= len(ARMS) * (4 + 2 + 1 + 3)
            rungs.clear()
    for name in ("trials", "arms", "values", "plain"):
        pd.testing.assert_frame_equal(getattr(found[1], name), getattr(found[2], name))
    assert found[1].progress == found[2].progress


@pytest.mark.parametrize("processes", [1, 2])
def test_all_runs_stop_when_asked(processes: int, small: Path, tmp_path: Path, threads: None) -> None:
    """What was trained before is told; what is asked in the middle of a run ends after its step, and nothing begins."""
    begun, told = list[str](), list[str]()

    def instead(run: Run, share: float, asked: Callable[[], bool], cache: Path, data: Path | None = None) -> None:
        begun.append(run.arm)
        if len(begun) > 2:
            raise Stopped("stopped")
        outcome(run, {0.25: 1.0})

    conductor = Conductor(
        tmp_path, tmp_path, small, lambda: len(begun) > 3, lambda run, _: told.append(run.arm), processes
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", instead)
        with pytest.raises(Stopped):
            conductor.conduct(BASE, [CELL])
    assert len(told) == 2
    assert len(begun) in (4, 5)  # 5: the last two asked at the same time


def test_what_came_of_a_run_is_said(small: Path, tmp_path: Path) -> None:
    one = search(BASE, CELL, "own-step", tmp_path)[3]
    outcome(one, {0.25: 123.456})
    assert one.said(0.25) == "saturated, x1: own-step, trial 3, 25% of its steps: frechet_train 123.5"
    beside = dataclasses.replace(one, arm="gan", label="seed-2", group="gan-at-7")
    assert beside.said(1.0) == "saturated, x1: gan (at 7), seed 2, 100% of its steps: diverged"


@pytest.mark.parametrize("content", ['{"../x": {}}', '{"healthy-x1/gan/seed-0": 3}', "[]", "{"])
def test_outcomes_of_a_damaged_file_are_not_used(content: str, tmp_path: Path) -> None:
    (tmp_path / "fashion.outcomes.json").write_text(content)
    with pytest.raises(FileError, match=r"fashion\.outcomes\.json"):
        scattered(tmp_path / "fashion.outcomes.json", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_verdicts_are_of_the_seeds_that_all_arms_have() -> None:
    """The first arm is ahead by a seed; ten equal differences of one sign are decided by the exact test."""
    levels = {arm: 5.0 if arm == "gan" else 3.0 for arm in ARMS}
    values = [
        {"cell": "c", "arm": arm, "seed": seed, "frechet_test": level + 0.01 * seed, "coverage": 0.5}
        for arm, level in levels.items()
        for seed in range(11 if arm == "gan" else 10)
    ]
    found = Tables(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(values), []).verdicts().set_index(["arm", "metric"])
    assert set(found.seeds) == {10}
    assert found.p["summed", "frechet_test"] == pytest.approx(2 / 2**10)
    assert found.verdict["summed", "frechet_test"] == "helps"
    assert found.verdict["summed", "coverage"] == "equal"
    assert np.isclose(found.difference["summed", "frechet_test"], -2)


# The command


def test_the_plan_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command.main, ["fashion", "--plan", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "core-hours in all" in out.splitlines()[0]
    assert sum("of 10 seeds" in line for line in out.splitlines()) == len(CELLS) * len(ARMS)
    assert run_command(command.main, ["digits", "--plan"]) == 2
    assert "choose from fashion" in capsys.readouterr().err
    assert run_command(command.main, ["fashion", "--cells", "saturated"]) == 2
    assert "choose from 'saturated, x1', 'healthy, x1', " in capsys.readouterr().err
    assert run_command(command.main, ["fashion", "--processes", "0"]) == 2


def test_names_are_those_of_the_design() -> None:
    assert command.NAMES == design.NAMES
    assert set(design.NAMES) <= set(RECIPES)


@pytest.mark.slow
def test_the_command_trains_a_cell(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Networks of full width on 8 steps; the same command again has nothing left to do."""
    arguments = ["fashion", "--cells", "saturated, x1", "--data", str(small), "--out", str(tmp_path / "out")]
    arguments += ["--processes", "1"]  # others would know nothing of the 8 steps
    for _ in range(2):
        assert run_command(command.main, arguments) == 0
        out = capsys.readouterr().out
        assert "saturated, x1: summed, frechet_test: " in out
    facts = json.loads((tmp_path / "out" / "fashion" / "fashion.json").read_text())
    assert [part["seeds"] for part in facts["progress"] if part["cell"] == "saturated, x1"] == [3] * 4


# What the score term reads


class Flat:
    """The exact score of a flat manifold: images whose pixels beyond the first k are 0."""

    def __init__(self, k: int):
        self.k = k

    def of(self, labels: object = None) -> object:
        def eps_model(x_t: torch.Tensor, level: Level) -> torch.Tensor:
            normal = x_t.flatten(1).clone()
            normal[:, : self.k] = 0
            return normal.view(x_t.shape) / torch.as_tensor(level.sigma)[:, None, None, None]

        return eps_model


def test_distance_and_dimension_are_read_off() -> None:
    """Of 200 images of 64 pixels beside a flat manifold of dimension 20, by claim P2. The mean of ell over 400 draws
    has a relative error of (2 / 20 / 400)^(1/2), 1.6 %: the limits are five of these."""
    draws = torch.Generator().manual_seed(0)
    on = torch.zeros(200, 1, 8, 8)
    on.flatten(1)[:, :20] = torch.randn(200, 20, generator=draws)
    off = on.clone()
    off.flatten(1)[:, 20:] += 0.5 / 44**0.5
    score = Flat(20)
    table = against_noise(score, {"on": (on, None), "off": (off, None)})  # type: ignore[arg-type]
    assert len(table) == 2 * len(LEVELS)
    found = read_off(table).set_index("set")
    assert found.dimension["on"] == pytest.approx(20, rel=0.08)
    assert found.distance["on"] < 0.05
    assert found.distance["off"] == pytest.approx(0.5, rel=0.02)
    shifted = perturbed(on)
    assert list(shifted) == ["real + 0.02", "real + 0.05", "real + 0.1"]
    assert (shifted["real + 0.1"] - on).square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)


def test_gradients_are_those_of_the_losses() -> None:
    """Of D(x) = sum of pixels + c: |d log(1 - D)| = D sqrt(pixels), |d -log D| = (1 - D) sqrt(pixels)."""

    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            return x.flatten(1).sum(1) - 3

    x = torch.linspace(-0.5, 0.5, 30)[:, None, None, None].expand(30, 1, 4, 4).clone()
    found = gradients(Sum(), x, None)
    p = torch.sigmoid(16 * x[:, 0, 0, 0] - 3)
    torch.testing.assert_close(found["saturating"], 4 * p)
    torch.testing.assert_close(found["non-saturating"], 4 * (1 - p))
    x_labels = x, None
    rows = push(Flat(1), Sum(), *x_labels)  # type: ignore[arg-type]
    assert [row["group"] for row in rows] == list(range(10))
    assert [row["ell"] for row in rows] == sorted(row["ell"] for row in rows)
    assert -1 <= rows[0]["rank saturating"] <= 1


def test_the_command_measures_ell(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run's images, of the test images and of perturbed ones; with a score that draws to grey, dimension 0."""
    run = search(BASE, CELL, "gan", tmp_path / "runs")[0]
    train(run, 0.25, never, tmp_path, small)
    place = run.place / f"gan-{design.TUNING}"
    arguments = ["fashion", "--ell", str(place), "--data", str(small), "--into", str(tmp_path / "tables")]
    assert run_command(command.main, arguments) == 0
    out = capsys.readouterr().out
    assert "saturated-x1 gan trial-0" in out
    tables = {name: pd.read_csv(tmp_path / "tables" / f"fashion.{name}.csv") for name in ("ell", "p2", "push")}
    sets = ["real", "real + 0.02", "real + 0.05", "real + 0.1", "saturated-x1 gan trial-0"]
    assert list(tables["ell"].set.unique()) == list(tables["p2"].set) == sets
    read = tables["p2"].set_index("set")
    assert read.dimension.abs().max() < 0.01 * read.distance["real"] ** 2 / SMALL[1] ** 2
    assert read.distance["real + 0.1"] ** 2 - read.distance["real"] ** 2 == pytest.approx(0.01 * 32 * 32, rel=0.3)
    assert set(tables["push"].set) == {sets[-1], f"real, D of {sets[-1]}"}
    assert run_command(command.main, [*arguments[:2], str(tmp_path)]) == 2
    assert "checkpoint.pt does not exist" in capsys.readouterr().err
