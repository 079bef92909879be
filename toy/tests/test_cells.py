"""Which jobs a sweep has, what decides a job, and that the stored numbers of a job are still those of the code."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toy.config import CHOICES, Config
from toy.config import Arm as Setting
from toy.jobs.job import Job
from toy.sweep import cache as caching
from toy.sweep.cache import Cache, Outcome, description, key, source
from toy.sweep.costs import Costs
from toy.sweep.design import RATES, TUNING, Arm, Cell, Entry, Experiment, Task, entries
from toy.sweep.experiments import EXPERIMENTS
from toy.sweep.pool import finish
from toy.sweep.runner import best_setting

CONFIG = Config(width=8, layers=1, batch=8, steps=3, d_ahead=1, samples=16)
GAN, SMART = Arm("gan"), Arm("k=4", "smart", {"every": 4}, (0.1, 0.3))


def entry(arm: Arm = SMART, config: Config = CONFIG, **options: Any) -> Entry:
    cell = Cell("c", {"loss": config.loss}, config, [GAN, SMART])
    return Entry(Experiment("e", "?", lambda quick: [cell], **options), cell, arm)


def test_tuning_and_comparison() -> None:
    """The same configuration but for the seeds, which never meet."""
    (tuning,) = entry().tuning(Setting(1e-3, 0.3), 4)
    (compared,) = entry(measure="m:f").comparison(Setting(1e-3, 0.3), 16)
    assert tuning.job.seeds == (TUNING, TUNING + 1, TUNING + 2, TUNING + 3)
    assert compared.job.seeds == tuple(range(16))
    assert (tuning.measure, compared.measure) == (None, "m:f")
    for task in (tuning, compared):
        assert (task.job.arm, task.job.config.smart, task.job.config.every) == ("smart", Setting(1e-3, 0.3), 4)
        assert task.job.config.eval_every == task.job.config.steps
    wide = entry(config=dataclasses.replace(CONFIG, width=64)).comparison(Setting(1e-3, 0.3), 16)
    assert [task.job.seeds for task in wide] == [tuple(range(i, i + 4)) for i in (0, 4, 8, 12)]


def test_settings() -> None:
    assert GAN.settings() == [Setting(lr, 0.0) for lr in RATES]
    assert len(SMART.settings()) == len(RATES) * 2


@pytest.mark.parametrize(
    "options",
    [
        {"base": "gan", "weights": (0.1,)},
        {"base": "smart", "weights": (0.0,)},
        {"base": "smart", "weights": ()},
        {"rates": ()},
        {"base": "smrt", "weights": (0.1,)},
    ],
)
def test_bad_arms(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"arm a needs rates and weights|unknown base 'smrt'"):
        Arm("a", **options)


def test_bad_cells() -> None:
    with pytest.raises(ValueError, match="cell c needs arms of different labels; given gan, gan"):
        Cell("c", {}, CONFIG, [GAN, GAN])
    cell = Cell("c", {}, CONFIG, [SMART])
    with pytest.raises(ValueError, match="cell c lacks the baseline arm gan"):
        entries(Experiment("e", "?", lambda quick: [cell]), False)
    twice = [dataclasses.replace(cell, arms=[GAN])] * 2
    with pytest.raises(ValueError, match="e needs cells of different names; given c, c"):
        entries(Experiment("e", "?", lambda quick: twice), False)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("quick", [False, True])
def test_the_experiments_are_sound(name: str, quick: bool) -> None:
    """Every job of every grid can be described."""
    for row in entries(EXPERIMENTS[name], quick):
        for setting in row.arm.settings():
            assert all(key(task) for task in [*row.tuning(setting, 4), *row.comparison(setting, 16)])


def task(
    config: Config = CONFIG, arm: str = "smart", seeds: tuple[int, ...] = (0, 1), measure: str | None = None
) -> Task:
    return Task(Job(config, arm, seeds), measure)


@pytest.mark.parametrize(
    "change",
    [
        {"arms": ("gan", "smart")},
        {"seeds": 3, "first_seed": 7},
        {"eval_every": 2},
        {"gan": Setting(1e-5)},
        {"smart_decoupled": Setting(1e-5, 0.7)},
    ],
)
def test_what_does_not_decide_a_job(change: dict[str, Any]) -> None:
    """Options of other arms, how often is evaluated, and what the run around it is."""
    assert key(task(dataclasses.replace(CONFIG, **change))) == key(task())


OTHERS = {"arms", "seeds", "first_seed", "eval_every", "gan", "smart", "smart_decoupled"}


@pytest.mark.parametrize("name", sorted({field.name for field in dataclasses.fields(Config)} - OTHERS))
def test_every_other_option_decides(name: str) -> None:
    changed = task()
    object.__setattr__(changed.job, "config", dataclasses.replace(CONFIG))
    object.__setattr__(changed.job.config, name, "something else")
    assert key(changed) != key(task())


def test_setting_arm_seeds_measure_and_version_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, weight = (dataclasses.replace(CONFIG, smart=Setting(*s)) for s in ((1e-4, 0.1), (8e-3, 0.2)))
    tasks = [task(), task(rate), task(weight), task(arm="gan"), task(seeds=(0, 2)), task(seeds=(0, 1, 2))]
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
    other = dataclasses.replace(jobs[0].job.config, smart=Setting(1e-5, 0.5))
    assert known.seconds(task(other, seeds=(8, 9))) == 2
    assert Costs([]).seconds(jobs[0]) < Costs([]).seconds(jobs[1])


def outcome(distance: float, coverage: float = 1.0, spread: float = 0.0) -> Outcome:
    found = {"off_manifold": 0.0, "mean_distance": distance, "coverage": coverage, "total_variation": 0.1, "w2": 0.0}
    return Outcome({name: [value - spread, value + spread] for name, value in found.items()}, 1.0)


def test_best_setting() -> None:
    """The rule of toy.sweep.tuning on the means over all tuning seeds; what diverged is out."""
    row = entry(Arm("gan", rates=(1e-4, 1e-3, 1e-2, 1e-1)))
    (tasks,) = zip(*[row.tuning(setting, 2) for setting in row.arm.settings()], strict=True)
    diverged = Outcome({}, 1.0, "no longer finite")
    ended = [outcome(0.3), outcome(0.2, spread=0.15), outcome(0.1, coverage=0.9), diverged]
    found = best_setting(row, 2, {key(t): o for t, o in zip(tasks, ended, strict=True)})
    assert found == Setting(1e-3)
    assert best_setting(row, 2, {key(t): diverged for t in tasks}) is None
    assert best_setting(entry(Arm("gan", rates=(7e-4,))), 2, {}) == Setting(7e-4)


GOLDEN = Path(__file__).with_name("golden.json")
NEEDS: dict[str, dict[str, Any]] = {
    "budget": {"smart": Setting(1e-2, 0.1), "smart_decoupled": Setting(1e-2, 0.1)},
    "learned": {"score_steps": 3},
    "perturbed": {"manifold": "8-ring"},
}


def few_steps() -> dict[str, Task]:
    """Three steps of every choice of every option, and of every arm."""
    found = {f"arm {arm}": task(arm=arm) for arm in ("gan", "smart", "smart-decoupled")}
    for name, choices in CHOICES.items():
        for choice in choices:
            changes: dict[str, Any] = {name: choice} | NEEDS.get(choice, {})
            found[f"{name} {choice}"] = task(dataclasses.replace(CONFIG, **changes))
    numbers: dict[str, Any] = {
        "every": 2,
        "warm_up": 5,
        "max_norm": 1e-3,
        "max_push": 1e-2,
        "equal_length": True,
        "dim": 3,
        "thickness": 0.1,
    }
    for name, value in numbers.items():
        changes = {name: value}
        found[name] = task(dataclasses.replace(CONFIG, **changes), arm="smart-decoupled")
    return found | {"conditional": task(dataclasses.replace(CONFIG, manifold="8-ring", conditional=True))}


def trained(t: Task) -> dict[str, float]:
    """The mean of each metric."""
    ended = finish(0, t)[1]
    assert ended.failure is None, ended.failure
    return {name: float(f"{np.mean(values):.5g}") for name, values in ended.values.items()}


@pytest.mark.parametrize("name", few_steps())
def test_training_is_that_of_its_version(name: str) -> None:
    """If not, stored jobs would be mixed with new ones that train otherwise: raise VERSION in toy/sweep/cache.py, then
    `python -m toy.tests.test_cells` stores the new numbers. They are compared to 1 %: three steps are the same on every
    machine up to rounding, and a change of the method shows."""
    stored = json.loads(GOLDEN.read_text())
    assert stored["version"] == caching.VERSION, "python -m toy.tests.test_cells stores the numbers of this version"
    assert name in stored["numbers"], "a new option: python -m toy.tests.test_cells adds its numbers"
    assert trained(few_steps()[name]) == pytest.approx(stored["numbers"][name], rel=1e-2, abs=1e-4)


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
