"""Which jobs a sweep has, what decides a job, and that the code still trains as when VERSION was raised."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toy.config import ARMS, BOUND, CHOICES, PENALTY_STEPS, TERMS, Config, field_of
from toy.config import Arm as Setting
from toy.jobs.job import Job
from toy.sweep import cache as caching
from toy.sweep.cache import Cache, Outcome, description, key, source
from toy.sweep.costs import Costs
from toy.sweep.design import RATES, TUNING, Arm, Cell, Entry, Experiment, Task, entries, options_of
from toy.sweep.experiments import EXPERIMENTS
from toy.sweep.pool import finish
from toy.sweep.runner import best_setting

CONFIG = Config(width=8, layers=1, batch=8, steps=3, d_ahead=1, samples=16)
GAN, SUMMED = Arm("gan"), Arm("summed", {"every": 4}, (0.1, 0.3))


def entry(arm: Arm = SUMMED, config: Config = CONFIG, **options: Any) -> Entry:
    cell = Cell("c", {"loss": config.loss}, config, [GAN, SUMMED])
    return Entry(Experiment("e", "?", lambda quick: [cell], **options), cell, arm)


def test_tuning_and_comparison() -> None:
    """The same configuration but for the seeds, of which none is in both."""
    (tuning,) = entry().tuning(Setting(1e-3, 0.3), 4)
    (compared,) = entry(measure="m:f").comparison(Setting(1e-3, 0.3), 16)
    assert tuning.job.seeds == (TUNING, TUNING + 1, TUNING + 2, TUNING + 3)
    assert compared.job.seeds == tuple(range(16))
    assert (tuning.measure, compared.measure) == (None, "m:f")
    for task in (tuning, compared):
        assert (task.job.arm, task.job.config.summed, task.job.config.every) == ("summed", Setting(1e-3, 0.3), 4)
        assert task.job.config.eval_every == task.job.config.steps
    wide = entry(config=dataclasses.replace(CONFIG, width=64)).comparison(Setting(1e-3, 0.3), 16)
    assert [task.job.seeds for task in wide] == [tuple(range(8)), tuple(range(8, 16))]


def test_settings() -> None:
    assert GAN.settings() == [Setting(lr, 0.0) for lr in RATES]
    assert len(SUMMED.settings()) == len(RATES) * 2
    bounded = Arm("bounded", {"weight": 0.3}, (0.1, 0.2), (1e-3, 1e-2))
    assert bounded.settings() == [Setting(1e-3, 0.3, BOUND), Setting(1e-2, 0.3, BOUND)]
    assert Arm("summed", {"bound": 2.0}, (0.1,), (1e-3,)).settings() == [Setting(1e-3, 0.1, 2.0)]


def test_an_arm_is_its_coupling_and_options() -> None:
    """Columns of the table: a value for every arm, the cell's where the arm has none of its own."""
    arms = [GAN, SUMMED, Arm("bounded", {}, (0.1,)), Arm("summed", {"bound": 2.0, "term": "detached"}, (0.1,))]
    cell = Cell("c", {}, CONFIG, arms)
    assert [arm.text for arm in arms] == ["gan", "summed, every 4", "bounded", "summed, bound 2, term detached"]
    assert options_of([cell]) == ["every", "bound", "term"]
    assert [tuple(cell.columns(arm, options_of([cell])).values()) for arm in arms] == [
        ("gan", 1, None, "full"),
        ("summed", 4, None, "full"),
        ("bounded", 1, BOUND, "full"),
        ("summed", 1, 2.0, "detached"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"coupling": "gan", "weights": (0.1,)},
        {"coupling": "summed", "weights": (0.0,)},
        {"coupling": "summed", "weights": ()},
        {"coupling": "summed", "overrides": {"weight": 0.0}, "weights": (0.1,)},
        {"rates": ()},
        {"coupling": "smrt", "weights": (0.1,)},
        {"coupling": "summed", "overrides": {"evry": 4}, "weights": (0.1,)},
    ],
)
def test_bad_arms(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs rates and weights|unknown coupling 'smrt'|unknown option 'evry'"):
        Arm(**options)


def test_bad_cells() -> None:
    for twice in ([GAN, GAN], [GAN, Arm("gan", {"every": 1})]):  # 1 is the cell's own
        with pytest.raises(ValueError, match="cell c needs arms that differ; it has two of gan"):
            Cell("c", {}, CONFIG, twice)
    cell = Cell("c", {}, CONFIG, [SUMMED])
    with pytest.raises(ValueError, match="cell c needs one arm gan, the baseline"):
        entries(Experiment("e", "?", lambda quick: [cell]), False)
    cell = Cell("c", {}, CONFIG, [GAN, Arm("gan", {"regulariser": "r1"})])
    with pytest.raises(ValueError, match="cell c needs one arm gan, the baseline"):
        entries(Experiment("e", "?", lambda quick: [cell]), False)
    baseline = {"arm": "gan", "regulariser": "none"}
    assert len(entries(Experiment("e", "?", lambda quick: [cell], baseline=baseline), False)) == 2
    cells = [dataclasses.replace(cell, arms=[GAN])] * 2
    with pytest.raises(ValueError, match="e needs cells of different names; given c, c"):
        entries(Experiment("e", "?", lambda quick: cells), False)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("quick", [False, True])
def test_the_experiments_are_sound(name: str, quick: bool) -> None:
    """Every job of every grid can be described."""
    for row in entries(EXPERIMENTS[name], quick):
        for setting in row.arm.settings():
            assert all(key(task) for task in [*row.tuning(setting, 4), *row.comparison(setting, 16)])


def task(
    config: Config = CONFIG, arm: str = "summed", seeds: tuple[int, ...] = (0, 1), measure: str | None = None
) -> Task:
    return Task(Job(config, arm, seeds), measure)


@pytest.mark.parametrize(
    "change",
    [
        {"arms": ("gan", "summed")},
        {"seeds": 3, "first_seed": 7},
        {"eval_every": 2},
        {"gan": Setting(1e-5)},
        {"decoupled": Setting(1e-5, 0.7)},
        {"bounded": Setting(1e-5, 0.7, 2.0)},
    ],
)
def test_what_does_not_decide_a_job(change: dict[str, Any]) -> None:
    """Options of other arms, how often is evaluated, and what the run around it is."""
    assert key(task(dataclasses.replace(CONFIG, **change))) == key(task())


OTHERS = {"arms", "seeds", "first_seed", "eval_every", *map(field_of, ARMS)}


@pytest.mark.parametrize("name", sorted({field.name for field in dataclasses.fields(Config)} - OTHERS))
def test_every_other_option_decides(name: str) -> None:
    changed = task()
    object.__setattr__(changed.job, "config", dataclasses.replace(CONFIG))
    object.__setattr__(changed.job.config, name, "something else")
    assert key(changed) != key(task())


def test_setting_arm_seeds_measure_and_version_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Setting(1e-4, 0.1), Setting(8e-3, 0.2), Setting(8e-3, 0.1, 3.0)
    tasks = [task(), *(task(dataclasses.replace(CONFIG, summed=setting)) for setting in settings)]
    tasks += [task(arm="gan"), task(seeds=(0, 2)), task(seeds=(0, 1, 2))]
    tasks += [task(measure="tests.sweeps:radius"), task(measure="tests.sweeps:nothing")]
    found = [key(t) for t in tasks]
    monkeypatch.setattr(caching, "VERSION", caching.VERSION + 1)
    assert len({*found, key(task())}) == len(tasks) + 1


def test_the_code_of_a_measure_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its comments."""
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for body in ("return 1", "return 1  # one", "return 2"):
        (tmp_path / "measure_of_test.py").write_text(f"def f(config, samples):\n    {body}\n")
        source.cache_clear()
        found.append(source("measure_of_test:f"))
    assert found[0] == found[1] != found[2]
    for wrong in ("measure_of_test:g", "no_such_module:f", "f"):
        with pytest.raises(ValueError, match="measure must be module:function"):
            source(wrong)


def test_cache(tmp_path: Path) -> None:
    """What was put is got, from another object too; of what diverged the reason."""
    cache = Cache(tmp_path)
    assert cache.get(key(task())) is None
    done, diverged = Outcome({"w2": [0.1, 1 / 3]}, 2.5), Outcome({}, 1.0, "the loss is no longer finite")
    cache.put(task(), done)
    cache.put(task(seeds=(5,)), diverged)
    assert Cache(tmp_path).get(key(task())) == done
    assert Cache(tmp_path).get(key(task(seeds=(5,)))) == diverged
    assert list(cache.seconds()) == [(description(task()), 2.5)]
    assert len(list(tmp_path.iterdir())) == 2


def test_costs() -> None:
    """Known kinds by their median, others along the line through all."""
    jobs = [task(dataclasses.replace(CONFIG, steps=steps, d_ahead=0)) for steps in (100, 200, 400)]
    line = Costs([(description(job), 1 + 0.01 * job.job.config.steps) for job in jobs])
    assert line.seconds(task(dataclasses.replace(CONFIG, steps=1000, d_ahead=0))) == pytest.approx(11)
    known = Costs([(description(jobs[0]), seconds) for seconds in (1.0, 2.0, 9.0)] + [(description(jobs[2]), 50.0)])
    other = dataclasses.replace(jobs[0].job.config, summed=Setting(1e-5, 0.5))
    assert known.seconds(task(other, seeds=(8, 9))) == 2
    assert Costs([]).seconds(jobs[0]) < Costs([]).seconds(jobs[1])


def outcome(distance: float, coverage: float = 1.0, spread: float = 0.0) -> Outcome:
    found = {"off_manifold": 0.0, "mean_distance": distance, "coverage": coverage, "total_variation": 0.1, "w2": 0.0}
    return Outcome({name: [value - spread, value + spread] for name, value in found.items()}, 1.0)


def test_best_setting() -> None:
    """The rule of toy.sweep.tuning on the means over all tuning seeds; what diverged is out."""
    row = entry(Arm(rates=(1e-4, 1e-3, 1e-2, 1e-1)))
    (tasks,) = zip(*[row.tuning(setting, 2) for setting in row.arm.settings()], strict=True)
    diverged = Outcome({}, 1.0, "no longer finite")
    ended = [outcome(0.3), outcome(0.2, spread=0.15), outcome(0.1, coverage=0.9), diverged]
    found = best_setting(row, 2, {key(t): o for t, o in zip(tasks, ended, strict=True)})
    assert found == Setting(1e-3)
    assert best_setting(row, 2, {key(t): diverged for t in tasks}) is None
    assert best_setting(entry(Arm(rates=(7e-4,))), 2, {}) == Setting(7e-4)


GOLDEN = Path(__file__).with_name("golden.json")
FAST = dataclasses.replace(
    CONFIG,
    steps=6,
    ema=0.0,
    samples=32,
    gan=Setting(3e-2),
    summed=Setting(3e-2, 0.1),
    own_step=Setting(3e-2, 0.1),
    two_adams=Setting(3e-2, 0.1),
    decoupled=Setting(3e-2, 0.1),
    bounded=Setting(3e-2, 0.1, BOUND),
)
NEEDS: dict[str, dict[str, Any]] = {
    "learned": {"score_steps": 3},
    "perturbed": {"manifold": "8-ring"},
    "empirical": {"training_samples": 20},
    "sgd": {"summed": Setting(1e-4, 0.1)},
}
COUNTED = ("off_manifold", "coverage", "total_variation", "wrong_class", "copies")
MARGIN = 1e-3


def few_steps() -> dict[str, Task]:
    """Six large steps of every choice of every option, and of every arm, with nothing averaged."""
    found = {f"arm {arm}": task(FAST, arm=arm) for arm in ARMS}
    for name, choices in CHOICES.items():
        for choice in choices:
            changes: dict[str, Any] = {name: choice} | NEEDS.get(choice, {})
            found[f"{name} {choice}"] = task(dataclasses.replace(FAST, **changes))
    numbers: dict[str, Any] = {
        "every": 2,
        "warm_up": 5,
        "max_norm": 1e-3,
        "equal_length": True,
        "dim": 3,
        "thickness": 0.1,
        "training_samples": 20,
        "anneal": 10.0,
    }
    for name, value in numbers.items():
        changes = {name: value}
        found[name] = task(dataclasses.replace(FAST, **changes), arm="decoupled")
    lazy = dataclasses.replace(FAST, every=2)
    found |= {f"every, {arm}": task(lazy, arm=arm) for arm in ("own-step", "two-adams")}
    found["corrected"] = task(dataclasses.replace(lazy, corrected=True), arm="own-step")
    lazy = dataclasses.replace(FAST, regulariser="r1", regulariser_every=2)
    found |= {
        f"lazy r1, {how}": task(dataclasses.replace(lazy, regulariser_step=how), arm="gan") for how in PENALTY_STEPS
    }
    found |= {
        f"no game, {term}": task(dataclasses.replace(FAST, game=False, arms=("summed",), term=term), arm="summed")
        for term in TERMS
    }
    found["bound"] = task(FAST.with_arm("decoupled", Setting(3e-2, 0.1, 1e-2)), arm="decoupled")
    return found | {"conditional": task(dataclasses.replace(FAST, manifold="8-ring", conditional=True))}


def trained(t: Task) -> dict[str, float]:
    """The mean of each metric over seeds."""
    ended = finish(0, t)[1]
    assert ended.failure is None, ended.failure
    return {name: float(f"{np.mean(values):.5g}") for name, values in ended.values.items()}


def differ(one: dict[str, float], other: dict[str, float]) -> dict[str, tuple[float, float]]:
    """The metrics in which two runs differ by more than rounding makes of one.

    Two processors differ by rounding, which six steps do not amplify much. The kernels of AVX2, of
    ATEN_CPU_CAPABILITY=default and of ONEDNN_MAX_CPU_ISA=SSE41 differ by at most 1e-4 of a metric, the rounding to five
    digits included; MARGIN is ten times that. Where samples are counted, one may lie on the edge of a cell.
    """
    assert one.keys() == other.keys()
    margins = {name: 1 / FAST.samples if name in COUNTED else MARGIN * abs(value) + 1e-4 for name, value in one.items()}
    return {name: (one[name], other[name]) for name in one if abs(one[name] - other[name]) > margins[name]}


@pytest.mark.parametrize("name", few_steps())
def test_training_is_that_of_its_version(name: str) -> None:
    """If it fails, stored jobs would be mixed with new ones that train otherwise: raise VERSION in toy/sweep/cache.py,
    then `python -m toy.tests.test_cells` stores the new numbers."""
    stored = json.loads(GOLDEN.read_text())
    assert stored["version"] == caching.VERSION, "python -m toy.tests.test_cells stores the numbers of this version"
    assert name in stored["numbers"], "a new option: python -m toy.tests.test_cells adds its numbers"
    assert differ(stored["numbers"][name], trained(few_steps()[name])) == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("arm gan", {"beta2": 0.9}),
        ("arm gan", {"beta1": 0.4}),
        ("arm gan", {"d_lr": 2e-3}),
        ("arm summed", {"summed": Setting(3e-2, 0.05)}),
        ("arm decoupled", {"low": 0.04}),
        ("arm decoupled", {"momentum": 0.8}),
        ("arm decoupled", {"clip": 5.0}),
        ("arm bounded", {"bounded": Setting(3e-2, 0.1, 2.0)}),
        ("every", {"scale_by_every": False}),
        ("regulariser r1", {"gamma": 1.1}),
    ],
)
def test_a_change_of_the_training_shows(name: str, change: dict[str, Any]) -> None:
    """Near-misses of the test above: what little a change of one option does is more than its margin."""
    plain = few_steps()[name]
    changed = dataclasses.replace(plain.job, config=dataclasses.replace(plain.job.config, **change))
    assert differ(trained(plain), trained(dataclasses.replace(plain, job=changed))) != {}


def store() -> int:
    """Adds the numbers of new options; replaces those that are there only if VERSION is another."""
    stored: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"version": None}
    kept: dict[str, Any] = stored["numbers"] if stored["version"] == caching.VERSION else {}
    numbers = {name: kept[name] if name in kept else trained(t) for name, t in few_steps().items()}
    GOLDEN.write_text(json.dumps({"version": caching.VERSION, "numbers": numbers}, indent=1) + "\n")
    print(f"{len(numbers)} runs of version {caching.VERSION}, {len(numbers.keys() - kept.keys())} of them new")
    return 0


if __name__ == "__main__":
    sys.exit(store())
