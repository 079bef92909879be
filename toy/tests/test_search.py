"""The search: ranges, proposals, halving, and the conductor's rounds. Small or made-up work."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from theory.common import commandline
from theory.common.errors import FileError
from toy.config import Arm as Setting
from toy.config import Config
from toy.search import __main__ as search
from toy.search import propose as proposing
from toy.search import runner, stack
from toy.search.cache import Cache, Outcome, Task, mean
from toy.search.design import Arm, Cell, Experiment, entries
from toy.search.experiments import EXPERIMENTS
from toy.search.propose import Trial, best, best_inside, propose
from toy.search.runner import Conductor, Plan, Search
from toy.search.space import RANGES, Range, around, at_edges, edge, extended
from toy.search.tables import NotYet, Tables

TINY = Config(width=8, layers=1, batch=8, steps=8, d_steps=1, d_ahead=3, samples=32, start=1.0, regulariser="r1")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# Ranges


def test_edges_are_a_tenth_of_the_logarithm() -> None:
    searched = Range(1e-4, 1e-2)
    low, high = 1e-4 * 10**0.2, 1e-2 / 10**0.2
    assert [edge(x, searched) for x in (low * 0.999, low * 1.001, high * 0.999, high * 1.001)] == [-1, 0, 0, 1]
    assert edge(0.0, Range(1e-3, 10.0, zero=True)) == 0


def test_ranges_are_extended_at_the_edge_alone() -> None:
    ranges = {"lr": Range(1e-4, 1e-2), "weight": Range(1e-6, 3.0), "gamma": Range(1e-3, 10.0, zero=True)}
    chosen = {"lr": 9e-3, "weight": 1e-3, "gamma": 0.0}
    assert at_edges(chosen, ranges) == ["lr"]
    found = extended(chosen, ranges)
    assert found["lr"] == Range(1e-4, 0.1)
    assert (found["weight"], found["gamma"]) == (ranges["weight"], ranges["gamma"])
    assert extended({"lr": 1.1e-4}, {"lr": Range(1e-4, 1e-2)}) == {"lr": Range(1e-5, 1e-2)}


# Proposals


def bowl(values: dict[str, float]) -> float:
    """Least, 1e-2, at lr 1e-2 and weight 1e-3."""
    return 1e-2 + sum(math.log10(values[name] / at) ** 2 for name, at in (("lr", 1e-2), ("weight", 1e-3)))


def test_first_round_fills_the_ranges_evenly() -> None:
    """32 different points, the same again, others for another seed; every eighth of each range holds 4 of them, which
    32 independent points do with a chance of 3e-5."""
    ranges = dict(RANGES)
    found = propose([ranges], [], 0)
    assert len(found) == proposing.FIRST
    assert found == propose([ranges], [], 0)
    assert found != propose([ranges], [], 1)
    for name in ("lr", "d_lr", "weight"):
        eighths = [min(7, int(8 * ranges[name].place(values[name]))) for values in found]
        assert np.bincount(eighths, minlength=8).tolist() == [4] * 8, name
    assert sum(values["gamma"] == 0 for values in found) == 16


def test_later_rounds_look_where_it_was_good() -> None:
    """Of a bowl the second round's median is below a third of the first one's."""
    ranges = {name: RANGES[name] for name in ("lr", "weight")}
    first = [Trial(values, bowl(values), 1.0) for values in propose([ranges], [], 0)]
    second = propose([ranges, ranges], [first], 1)
    assert len(second) == proposing.LATER
    assert second == propose([ranges, ranges], [first], 1)
    assert np.median([bowl(v) for v in second]) < np.median([t.number for t in first]) / 3
    # the near-miss: told that bad is good, it looks elsewhere
    wrong = [dataclasses.replace(t, number=1 / t.number) for t in first]
    assert np.median([bowl(v) for v in propose([ranges, ranges], [wrong], 1)]) > np.median([bowl(v) for v in second])


def test_a_trial_that_was_stopped_or_diverged_is_never_the_best() -> None:
    trials = [
        Trial({"lr": 1.0}, 0.1, 0.25),
        Trial({"lr": 2.0}, 0.5, 1.0),
        Trial({"lr": 3.0}, 0.4, 1.0),
        Trial({"lr": 4.0}, math.inf, 1.0),
    ]
    assert best(trials) == trials[2]
    assert best([trials[0], trials[3]]) is None
    ranges = [{"lr": Range(0.5, 5.0)}] * 2
    assert len(propose(ranges, [trials], 0)) == proposing.LATER


def test_half_of_a_round_looks_beyond_where_the_range_ended() -> None:
    """At the best values of the other options."""
    old = {"lr": Range(1e-4, 1e-2), "weight": Range(1e-6, 3.0)}
    trials = [Trial(values, 1 / values["lr"], 1.0) for values in propose([old], [], 0)]
    chosen = best(trials)
    assert chosen is not None
    found = propose([old, extended(chosen.values, old)], [trials], 1)
    beyond = [values for values in found if values["lr"] > 1e-2]
    assert len(found) == proposing.LATER
    assert len(beyond) >= proposing.LATER // 2
    assert [values["weight"] for values in found[: len(found) // 2]] == [chosen.values["weight"]] * (len(found) // 2)
    assert len({values["lr"] for values in beyond}) == len(beyond)


def test_ranges_around_settings() -> None:
    """Zeros count in no range; a range of which all settings are 0 is as usual."""
    usual = {"lr": Range(1e-4, 5e-2), "gamma": Range(1e-3, 10.0, zero=True), "d_lr": Range(1e-4, 5e-2)}
    settings = [{"lr": 1e-3, "gamma": 0.0, "d_lr": 0.1}, {"lr": 4e-3, "gamma": 0.0, "d_lr": 0.1}]
    assert around(settings, usual) == {"lr": Range(2e-4, 2e-2), "gamma": usual["gamma"], "d_lr": Range(0.02, 0.5)}
    assert around([{**settings[0], "gamma": 2.0}, settings[1]], usual)["gamma"] == Range(0.4, 10.0, zero=True)
    assert around([], usual) == usual


def test_a_search_that_begins_at_settings_tries_them_first() -> None:
    """As many trials, however few settings there are; without any they are a Sobol sequence."""
    starts = [{"lr": 1e-3 * (1 + i), "weight": 1e-2} for i in range(6)]
    ranges = around(starts, {name: RANGES[name] for name in ("lr", "weight")})
    found = propose([ranges], [], 0, starts)
    assert found[:6] == starts
    assert len(found) == len({values["lr"] for values in found}) == proposing.FIRST_FROM
    assert all(searched.low <= values[name] <= searched.high for values in found for name, searched in ranges.items())
    assert len(propose([ranges], [], 0, starts[:1])) == len(propose([ranges], [], 0, [])) == proposing.FIRST_FROM


def test_the_best_inside() -> None:
    """Neither one that was stopped, nor diverged, nor at an edge."""
    ranges = {"lr": Range(1e-4, 1e-2)}
    cases = [(1e-3, 0.5, 1.0), (2e-3, 0.3, 1.0), (3e-3, 0.1, 0.5), (4e-3, math.inf, 1.0), (9e-3, 0.2, 1.0)]
    trials = [Trial({"lr": lr}, number, share) for lr, number, share in cases]
    assert best_inside(trials, ranges, 2) == [{"lr": 2e-3}, {"lr": 1e-3}]
    assert best_inside(trials, ranges, 1) == [{"lr": 2e-3}]


# Halving


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_worse_half_is_stopped(float64: None) -> None:
    """Of 5 settings 3 go on at a quarter of the steps, 2 at a half; which they are, and their numbers, are those of
    each trained alone. One diverges: it has inf and is stopped first."""
    settings = [Setting(lr, 0.01, d_lr=1e-3, gamma=0.1) for lr in (1e-3, 3e-3, 1e-2, 3e-2, 1e200)]
    found = stack.search_round(TINY, "summed", settings, (5, 6))
    shares = [share for share, _ in found]
    assert sorted(shares) == [0.25, 0.25, 0.5, 1.0, 1.0]
    assert shares[4] == 0.25
    assert all(map(math.isinf, found[4][1]))

    def alone(setting: Setting, share: float) -> list[float]:
        trainer = stack.started(TINY, "summed", [setting], (5, 6))
        stack.train_to(trainer, round(share * TINY.steps))
        return stack.numbers_of(trainer, (5, 6), TINY.samples if share == 1 else TINY.samples // 2)

    for setting, (share, numbers) in zip(settings[:4], found[:4], strict=True):
        assert numbers == pytest.approx(alone(setting, share), rel=1e-6)
    early = [mean(alone(setting, 0.25)) for setting in settings[:4]]
    assert [share > 0.25 for share in shares[:4]] == [early[i] < sorted(early)[3] for i in range(4)]


def test_stacks_of_any_size_find_the_same(float64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [Setting(lr, 0.01, d_lr=1e-3, gamma=0.1) for lr in (1e-3, 3e-3, 1e-2)]
    whole = stack.search_round(TINY, "decoupled", settings, (5, 6))
    monkeypatch.setattr(stack, "ROWS", TINY.width * 2)
    parts = stack.search_round(TINY, "decoupled", settings, (5, 6))
    assert [share for share, _ in whole] == [share for share, _ in parts]
    for (_, a), (_, b) in zip(whole, parts, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


def test_a_comparison_has_every_metric_of_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In stacks of any size; a seed that diverged is NaN in all of them."""
    setting = Setting(1e-2, 0.01, d_lr=1e-3)
    whole = stack.compare_round(TINY, "summed", setting, (0, 1, 2))
    assert {"kl", "w2", "off_manifold", "total_variation_on"} <= set(whole)
    assert {len(values) for values in whole.values()} == {3}
    monkeypatch.setattr(stack, "ROWS", TINY.width * 2)
    parts = stack.compare_round(TINY, "summed", setting, (0, 1, 2))
    assert parts["kl"] == pytest.approx(whole["kl"], rel=1e-3)
    lost = stack.compare_round(TINY, "summed", Setting(1e30, 0.01, d_lr=1e-3), (0, 1))
    assert all(math.isnan(x) for x in lost["kl"])


# The conductor


def small() -> list[Cell]:
    return [Cell("a", {}, TINY, [Arm("gan"), Arm("summed")]), Cell("b", {}, TINY, [Arm("gan")], tuned=False)]


SMALL = Experiment("small", "Does it run?", small, (1,))


def made_up(task: Task, at: dict[str, float]) -> Outcome:
    """A bowl around `at` in place of training; each seed a little different."""
    numbers = [
        1e-2 + sum(math.log10(getattr(s, name) / x) ** 2 for name, x in at.items() if getattr(s, name)) + 1e-4 * seed
        for s in task.settings
        for seed in range(len(task.seeds))
    ]
    if task.compared:
        return Outcome({"kl": numbers, "w2": numbers, "off_manifold": numbers, "total_variation_on": numbers}, 1.0)
    return Outcome({"share": [1.0] * len(task.settings), "numbers": numbers}, 1.0)


@pytest.fixture
def conductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conductor:
    """One whose work is made up; its tasks are in `done`."""

    def run(tasks: Sequence[Task], work: object) -> Iterator[tuple[int, Outcome]]:
        done.extend(tasks)
        for index, task in enumerate(tasks):
            yield index, made_up(task, {"lr": LR[0]})

    done.clear()
    monkeypatch.setattr(runner, "run", run)
    return Conductor(Cache(tmp_path), Plan(seeds=4, tuning_seeds=2, final_seeds=3))


done: list[Task] = []
LR = [1e-2]


def tables_of(conductor: Conductor, experiment: Experiment = SMALL) -> Tables:
    """The experiment's tables, of nothing kept."""
    tables = Tables(experiment)
    tables.take(conductor.conduct(experiment, entries(experiment)), {})
    return tables


def test_every_arm_has_as_many_trials_and_the_best_is_compared(conductor: Conductor) -> None:
    results = tables_of(conductor)
    arms = results.arms
    assert list(zip(arms.cell, arms.arm, strict=True)) == [("a, x1", "gan"), ("a, x1", "summed"), ("b, x1", "gan")]
    trials = results.trials.groupby(["cell", "arm"], sort=False)
    assert trials.size().tolist() == arms.trials.tolist()
    assert arms.groupby("cell").trials.nunique().tolist() == [1, 1]
    assert (arms.trials >= 80).all()
    for row, (_, part) in zip(arms.to_dict("records"), trials, strict=True):
        near = part[
            part.kl.isin(part.kl.nsmallest(runner.WHOLE.finalists))
        ]  # the made-up work is the same on all seeds
        assert row["lr"] == near.loc[near.kl.idxmin()].lr
    assert arms.d_lr.isna().tolist() == arms.gamma.isna().tolist() == [False, False, True]  # given in the second cell
    assert arms.weight.isna().tolist() == [True, False, True]
    compared = [task for task in done if task.compared]
    assert [len(task.settings) for task in compared] == [1, 1, 1]
    assert {task.seeds for task in compared} == {(0, 1, 2, 3)}
    assert {task.seeds for task in done if task.final} == {tuple(range(10_002, 10_005))}
    assert {len(task.settings) for task in done if task.final} == {runner.WHOLE.finalists}
    assert {task.seeds for task in done if not task.compared and not task.final} == {(10_000, 10_001)}
    assert len(results.values) == 3 * 4


def test_the_final_chooses_on_its_own_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Numbers of a search that are noise around one value: the finalist that is best on the seeds of the final is
    chosen, and its number there is that value to 3 standard errors. The least number of the search is too low."""
    g = np.random.default_rng(3)

    def run(tasks: Sequence[Task], work: object) -> Iterator[tuple[int, Outcome]]:
        for index, task in enumerate(tasks):
            numbers = g.exponential(1.0, len(task.settings) * len(task.seeds)).tolist()
            values = {"share": [1.0] * len(task.settings), "numbers": numbers}
            yield index, Outcome({"kl": numbers} if task.compared else values, 1.0)

    monkeypatch.setattr(runner, "run", run)
    conductor = Conductor(Cache(tmp_path), Plan(seeds=4))
    found = [one for one, _ in conductor.conduct(SMALL, entries(SMALL))]
    for one in found:
        chosen, least = one.chosen, one.best()
        assert chosen is not None
        assert least is not None
        assert chosen.values in one.finalists()
        assert abs(chosen.number - 1) < 3 / 24**0.5
        assert least.number < 1 - 1.5 / 8**0.5


@pytest.mark.parametrize("at", [0.2, 2e-5])
def test_a_search_goes_on_until_its_best_is_inside(conductor: Conductor, at: float) -> None:
    """The best learning rate lies outside the usual range; all arms of the cell have the rounds that one needs."""
    LR[0] = at
    try:
        results = tables_of(conductor)
    finally:
        LR[0] = 1e-2
    for row in results.arms.to_dict("records"):
        assert edge(row["lr"], Range(row["lr_low"], row["lr_high"])) == 0
        assert row["lr"] == pytest.approx(at, rel=1)
        assert row["lr_low"] < RANGES["lr"].low or row["lr_high"] > RANGES["lr"].high
    assert results.arms.groupby("cell").trials.nunique().tolist() == [1, 1]


def test_again_trains_nothing_and_finds_the_same(conductor: Conductor, tmp_path: Path) -> None:
    first = tables_of(conductor)
    count = len(done)
    again = tables_of(conductor)
    assert len(done) == count
    for name in ("arms", "trials", "values"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    assert conductor.left(entries(SMALL)) == (count, count, 0)
    # files of which a bit or all is lost are computed again
    paths = sorted(tmp_path.iterdir())
    content = json.loads(paths[0].read_text())
    values = content["outcome"]["values"]
    values[next(iter(values))][0] = 0.123
    paths[0].write_text(json.dumps(content))
    paths[1].write_text("{")
    assert conductor.left(entries(SMALL)).done < count
    third = tables_of(conductor)
    assert len(done) == count + 2
    pd.testing.assert_frame_equal(third.values, first.values)


def test_another_search_has_other_proposals_and_seeds() -> None:
    row = entries(SMALL)[0]
    tasks = [Search(row, Plan(search=number)).task() for number in (0, 1)]
    assert not set(tasks[0].settings) & set(tasks[1].settings)
    assert not set(tasks[0].seeds) & set(tasks[1].seeds)
    assert not set(Plan(search=0).fresh) & set(Plan(search=1).fresh)
    parts = [Plan().fresh, Plan().tuning, Plan().finals]
    assert len(set().union(*parts)) == sum(map(len, parts)) == 64


LONGER = Experiment("longer", "Does it go on?", small, (1, 3))


def test_longer_runs_begin_at_the_best_settings_of_shorter_ones(conductor: Conductor, tmp_path: Path) -> None:
    """Those of the same arm that lie inside; all arms have as many trials; their key is that of the settings."""
    tables = Tables(LONGER)
    conductor.starts = tables.starts
    rows = entries(LONGER)
    short, long = rows[:3], rows[3:]
    assert [tables.starts(row) for row in short] == [None] * 3
    with pytest.raises(NotYet, match=r"^a, x3 begins at the best settings of a, x1, which is not measured yet$"):
        tables.missing(long, conductor.plan)
    searches = conductor.conduct(LONGER, short)
    tables.take(searches, {})
    tables.write(tmp_path)
    tables = Tables.read(tmp_path, LONGER)  # a file holds four digits of a setting
    conductor.starts = tables.starts
    for (shorter, _), row in zip(searches, long, strict=True):
        starts = tables.starts(row)
        assert starts is not None
        wanted = sorted(values["lr"] for values in shorter.finalists())
        assert sorted(values["lr"] for values in starts) == pytest.approx(wanted, rel=1e-3)
        assert all(values.keys() == row.ranges.keys() for values in starts)
        assert len(starts) == runner.WHOLE.finalists
    assert tables.missing(rows, conductor.plan) == long
    done.clear()
    left = conductor.left(long)
    tables.take(conductor.conduct(LONGER, long), {})
    assert left.tasks == len(done) == 3 * 4  # two rounds, the final and the comparison of three arms
    assert tables.missing(rows, conductor.plan) == []
    arms = tables.arms
    assert arms.groupby("cell", sort=False).trials.unique().str[0].tolist() == [80, 80, 32, 32]
    assert {len(task.settings) for task in done if task.final} == {runner.GOES_ON.finalists}
    assert {task.config.steps for task in done} == {3 * TINY.steps}
    first = tables.trials[tables.trials.cell == "b, x3"].iloc[: runner.WHOLE.finalists]
    assert first.lr.tolist() == [values["lr"] for values in tables.starts(long[2]) or ()]
    tables.trials.loc[(tables.trials.cell == "b, x1") & (tables.trials.kl == tables.trials.kl.min()), "lr"] *= 1.5
    assert tables.missing(rows, conductor.plan) == long[2:]  # it would begin elsewhere


def test_the_longest_runs_may_have_fewer_arms() -> None:
    experiment = dataclasses.replace(LONGER, fewer={3: ("gan",)})
    found = [(row.cell.name, row.arm.text) for row in entries(experiment)]
    every = [(cell.longer(1).name, arm.text) for cell in small() for arm in cell.arms]
    assert len(every) > len(small())
    assert found == [*every, *((cell.longer(3).name, "gan") for cell in small())]


def test_longer_runs_of_an_arm_without_a_setting_look_everywhere(conductor: Conductor) -> None:
    tables = Tables(LONGER)
    conductor.starts = tables.starts
    rows = entries(LONGER)
    tables.take(conductor.conduct(LONGER, rows[:3]), {})
    tables.trials["share"] = 0.5
    starts = tables.starts(rows[5])
    assert starts == ()
    first = Search(rows[5], conductor.plan, starts).task()
    assert len(first.settings) == proposing.FIRST_FROM
    assert max(s.lr for s in first.settings) / min(s.lr for s in first.settings) > 100


def test_what_crashes_or_always_diverges_is_lost_by_name(conductor: Conductor, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(tasks: Sequence[Task], work: object) -> Iterator[tuple[int, Outcome]]:
        for index, task in enumerate(tasks):
            outcome = made_up(task, {"lr": 1e-2})
            if task.arm == "summed":
                outcome = Outcome({}, 1.0, "ValueError: broken")
            elif task.config.d_lr == 7.0:
                outcome.values["numbers"] = [math.inf] * len(outcome.values["numbers"])
            yield index, outcome

    monkeypatch.setattr(runner, "run", run)
    far = Cell("far", {}, dataclasses.replace(TINY, d_lr=7.0), [Arm("gan")], tuned=False)
    experiment = Experiment("some", "?", lambda: [small()[0], far], (1,))
    results = tables_of(conductor, experiment)
    assert results.lost == [
        "some: a, x1: summed: ValueError: broken",
        "some: far, x1: gan: every setting diverged",
    ]
    assert results.arms.arm.tolist() == ["gan"]


def test_tables_grow_cell_by_cell(conductor: Conductor, tmp_path: Path) -> None:
    """Cells that are there are not measured again; one whose definition changed is, and replaces what was there."""
    out = tmp_path / "out"
    out.mkdir()
    rows, plan = entries(SMALL), conductor.plan
    first, second = rows[:2], rows[2:]
    tables = Tables.read(out, SMALL)
    assert tables.missing(rows, plan) == rows
    tables.take(conductor.conduct(SMALL, first), {"command": "one"})
    tables.write(out)
    tables = Tables.read(out, SMALL)
    assert tables.missing(rows, plan) == second
    tables.take(conductor.conduct(SMALL, second), {"command": "two"})
    tables.write(out)
    tables = Tables.read(out, SMALL)
    assert tables.missing(rows, plan) == []
    assert {cell: facts["command"] for cell, facts in tables.made.items()} == {"a, x1": "one", "b, x1": "two"}
    verdicts = pd.read_csv(out / "small.verdicts.csv")
    assert set(zip(verdicts.cell, verdicts.arm, strict=True)) == {("a, x1", "summed")}
    assert tables.missing(rows, dataclasses.replace(plan, seeds=5)) == rows
    wider = dataclasses.replace(small()[0], config=dataclasses.replace(TINY, batch=9))
    changed = Experiment("small", "?", lambda: [wider, small()[1]], (1,))
    assert tables.missing(entries(changed), plan) == entries(changed)[:2]
    tables.take(conductor.conduct(changed, entries(changed)[:2]), {"command": "three"})
    assert len(tables.arms) == 3
    assert tables.missing(entries(changed), plan) == []
    (out / "small.trials.csv").unlink()
    with pytest.raises(FileError, match=r"small.json and its tables cannot be used: .*trials"):
        Tables.read(out, SMALL)


# Definitions


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_definitions(name: str) -> None:
    """Every arm searches its learning rate; a score term's weight and the discriminator's side where they decide
    something; the first arm of a cell is the plain GAN."""
    rows = entries(EXPERIMENTS[name])
    firsts: dict[str, str] = {}
    for row in rows:
        firsts.setdefault(row.cell.name, row.arm.coupling)
        assert "lr" in row.ranges
        assert ("weight" in row.ranges) == (row.arm.coupling != "gan" and "weight" not in row.arm.overrides)
        with_d = row.cell.tuned and row.config.game
        assert ("d_lr" in row.ranges, "gamma" in row.ranges) == (with_d, with_d and row.config.regulariser != "none")
        if not row.config.game:  # Adam's step does not see the scale of its only gradient
            assert set(row.ranges) == {"lr"}
    assert set(firsts.values()) == {"gan"}


def test_cells_are_chosen_by_name_and_length() -> None:
    core = EXPERIMENTS["core"]
    found = entries(core, (3,), ("space",))
    assert {row.cell.name for row in found} == {"space, x3"}
    assert {row.config.steps for row in found} == {3000}
    with pytest.raises(ValueError, match=r"unknown cell 'spac': .*did you mean 'space'"):
        entries(core, (1,), ("spac",))
    idle = Experiment("idle", "?", lambda: [Cell("a", {}, TINY, [Arm("gan", {"clip": 2.0})])], (1,))
    with pytest.raises(ValueError, match="clip has no effect"):
        entries(idle)


# The command


@pytest.fixture
def command(
    conductor: Conductor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """python -m toy.search with the small experiment and made-up work; its status and what it prints."""
    monkeypatch.setattr(search, "EXPERIMENTS", {"small": SMALL})

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        where = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--processes", "1"]
        status = commandline.run(search.main, [*where, *arguments])
        return status, *capsys.readouterr()

    return call


def test_the_command_plans_measures_and_measures_nothing_again(command: Callable, tmp_path: Path) -> None:
    status, told, said = command("small", "--plan")
    assert (status, said) == (0, "")
    assert told == "small, x1: 3 arms, 0 measured; of the others 0 of 18 tasks done, 100% of the work left\n"
    assert done == []
    status, told, _ = command("small", "--seeds", "5")
    assert status == 0
    assert re.search(r"^ +summed +.*", told, re.MULTILINE)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "small.csv", "small.arms.csv", "small.trials.csv", "small.verdicts.csv", "small.json"
    }  # fmt: skip
    (facts,) = {json.dumps(made) for made in json.loads((tmp_path / "out" / "small.json").read_text())["made"].values()}
    assert json.loads(facts)["seeds"] == 5
    assert json.loads(facts)["final_seeds"] == len(Plan().finals) == 24
    assert {len(task.seeds) for task in done if task.final} == {24}
    count = len(done)
    assert command("small", "--seeds", "5")[1].splitlines() == told.splitlines()
    assert len(done) == count
    assert command("small", "--seeds", "5", "--plan")[1] == "small, x1: 3 arms, 3 measured\n"


def test_the_command_measures_shorter_runs_first(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXPERIMENTS", {"longer": LONGER})
    why = "a, x3 begins at the best settings of a, x1, which is not measured yet"
    assert command("longer", "--times", "3") == (2, "", f"error: {why}\n")
    assert command("longer", "--plan")[1].splitlines()[1] == f"longer, x3: 3 arms; {why}"
    assert command("longer")[0] == 0
    told = ["longer, x1: 3 arms, 3 measured", "longer, x3: 3 arms, 3 measured"]
    assert command("longer", "--plan")[1].splitlines() == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smal"], "unknown experiment 'smal': choose from small, all; did you mean 'small'"),
        ([], "name experiments, or all: small"),
        (["small", "--cells", "c"], "unknown cell 'c': choose from a, b"),
        (["small", "--seeds", "2"], "seeds must be a whole number of at least 3; given 2"),
        (["small", "--seeds", "10001"], "seeds must be at most 10000, where those of tuning begin; given 10001"),
        (["small", "--search", "-1"], "search must be a whole number of at least 0; given -1"),
        (["small", "--times", "7"], "times must be of 1; given 7"),
        (["small", "--out", "/dev/null/x"], "cannot write to /dev/null/x: Not a directory"),
    ],
)
def test_bad_input(command: Callable, arguments: list[str], said: str) -> None:
    status, told, complaint = command(*arguments)
    assert (status, told) == (2, "")
    assert re.match(f"error: {said}", complaint), complaint
    assert complaint.count("\n") == 1
