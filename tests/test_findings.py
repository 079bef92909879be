"""FINDINGS.md says what the committed results say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from figures.report import __main__ as report
from figures.report import searches
from figures.report import sweeps as findings
from theory.common.commandline import run
from theory.common.errors import UsageError
from toy.config import Config
from toy.sweep import collect
from toy.sweep.design import entries, said
from toy.sweep.experiments import EXPERIMENTS


def test_the_document_is_what_the_results_say() -> None:
    """`python -m figures.report` would not change it."""
    assert findings.FINDINGS.read_text() == findings.render(findings.TEMPLATE.read_text())


def test_every_experiment_has_results_and_is_spoken_of() -> None:
    assert findings.have() == list(EXPERIMENTS)
    template = findings.TEMPLATE.read_text()
    for kind in ("table", "settings"):
        assert [name for name in EXPERIMENTS if f"{{{{{kind} {name}}}}}" not in template] == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_committed_tables_have_the_arms_of_the_experiment(name: str) -> None:
    """Cell, coupling and options are those that a sweep of today would write, in its order."""
    wanted = []
    for entry in entries(EXPERIMENTS[name], quick=False):
        row = entry.columns | {option: entry.arm.settings()[0].weight for option in entry.options if option == "weight"}
        wanted.append((entry.cell.name, *map(said, row.values())))
    assert list(findings.by_arm(name, findings.runs(name))) == wanted
    assert findings.options(name) == list(entry.options)
    judged = findings.by_arm(name, findings.verdicts(name))
    baseline = EXPERIMENTS[name].baseline
    compared = [e for e in entries(EXPERIMENTS[name], quick=False) if not baseline.items() <= e.columns.items()]
    assert len(judged) == len(compared)
    assert set(judged) <= set(wanted)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Results of two experiments, in a directory of their own; in one of them arms differ in an option."""
    monkeypatch.setattr(collect, "RESULTS", tmp_path)
    for read in (findings.facts, findings.verdicts, findings.runs):
        read.cache_clear()
    names = {"cell": "a", "arm": "summed", "baseline": "gan", "metric": "off_manifold"}
    row: dict[str, float | str] = {"mean": 0.0214, "baseline_mean": 0.8, "difference": -0.7786, "difference_low": -0.8}
    row |= {"difference_high": -0.75, "ratio": 0.02675, "p": 0.01, "p_holm": 0.02, "verdict": "helps"}
    table = pd.DataFrame([names | row, names | row | {"cell": "b", "verdict": "hurts"}])
    table.to_csv(tmp_path / "modes.verdicts.csv", index=False)
    (tmp_path / "modes.json").write_text('{"core_seconds": 7200}')
    rows = [names | row | {"every": every, "scale_by_every": scaled, "mean": mean} for every, scaled, mean in LAZY]
    order = ["cell", "arm", "every", "scale_by_every", "baseline", "metric", *row]
    pd.DataFrame(rows)[order].to_csv(tmp_path / "frequency.verdicts.csv", index=False)
    yield tmp_path
    for read in (findings.facts, findings.verdicts, findings.runs):
        read.cache_clear()


LAZY = ((1, True, 0.1), (8, True, 0.8), (8, False, 0.3))


def test_places(small: Path) -> None:
    text = findings.render(
        "{{modes: a: summed: off_manifold}}; {{modes: a: summed: off_manifold: ratio}}; "
        "{{tally modes summed\n off_manifold}}; {{cost}}"
    )
    assert text == (
        "0.0214 against 0.8 (-0.779 [-0.8, -0.75], helps); 0.0267; "
        "helps in 1, hurts in 1, undecided in 0 of 2 cells; 2.0"
    )


@pytest.mark.parametrize(
    ("arm", "mean"),
    [
        ("summed, every 1", "0.1"),
        ("summed, every 8", "0.8"),  # of two the one that is scaled, as a plain configuration is
        ("summed, every 8, scale_by_every True", "0.8"),
        ("summed, every 8, scale_by_every False", "0.3"),
        ("summed, scale_by_every False", "0.3"),
        ("summed", "0.1"),
    ],
)
def test_an_arm_is_named_by_its_options(small: Path, arm: str, mean: str) -> None:
    assert (Config().every, Config().scale_by_every) == (1, True)
    assert findings.render(f"{{{{frequency: a: {arm}: off_manifold: mean}}}}") == mean


@pytest.mark.parametrize(
    "place",
    [
        "modes: c: summed: off_manifold",
        "modes: a: summed",
        "modes: a: summed: off_manifold: maen",
        "modes: a: summed versus b: summed",
        "modes: a: summed, every 8: off_manifold",
        "frequency: a: summed, every 4: off_manifold",
        "frequency: a: summed, evry 8: off_manifold",
        "healthy: a: summed: off_manifold",
        "tally modes x y",
        "table",
    ],
)
def test_what_is_not_there_cannot_be_said(small: Path, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        findings.render(f"{{{{{place}}}}}")
    assert "\n" not in str(caught.value)


def test_tables_fit_a_phone() -> None:
    """At most 8 columns and 60 characters a row, without rules and stars; rows of sentences wrap."""
    for line in findings.FINDINGS.read_text().splitlines():
        if line.startswith("|") and " against " not in line and " of " not in line:
            cells = [cell.replace("*", "").strip() for cell in line.strip("|").split("|")]
            assert len(cells) <= 8, line
            assert sum(len(cell) for cell in cells) <= 60, line


def test_results_that_are_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names what is missing; nothing is written."""
    before = findings.FINDINGS.stat().st_mtime_ns
    (tmp_path / "modes.json").write_text("{}")
    assert run(report.main, ["--collect", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'modes.csv'}: No such file or directory\n"
    assert findings.FINDINGS.stat().st_mtime_ns == before


def test_nothing_to_collect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(report.main, ["--collect", str(tmp_path)]) == 2
    assert "has none" in capsys.readouterr().err


def test_what_is_collected(tmp_path: Path) -> None:
    """The metrics KEPT in four digits, and the verdicts of these digits; facts as they are. Of its own directory: the
    same again, whatever verdicts are there."""
    where, seeds = {"cell": "a", "term": "full"}, range(6)
    rows = [where | {"arm": "gan", "seed": 0, "metric": "sliced_w2", "value": 0.5}]
    for arm, value in (("gan", 0.123456), ("summed", 0.543211)):
        rows += [where | {"arm": arm, "seed": s, "metric": "coverage", "value": value + s / 100} for s in seeds]
    pd.DataFrame(rows).to_csv(tmp_path / "modes.csv", index=False)
    (tmp_path / "modes.json").write_text('{"core_seconds":  1}')
    results = tmp_path / "results"
    collect.collect(tmp_path, results)
    kept = pd.read_csv(results / "modes.csv")
    assert list(kept.metric.unique()) == ["coverage"]
    assert kept.value[0] == 0.1235
    (found,) = pd.read_csv(results / "modes.verdicts.csv").to_dict("records")
    assert (found["arm"], found["verdict"]) == ("summed", "helps")
    assert (found["difference"], found["p"]) == pytest.approx((0.41976, 2 / 2**6), abs=1e-4)
    assert (results / "modes.json").read_text() == '{"core_seconds":  1}'
    before = {path: path.read_text() for path in results.iterdir()}
    (results / "modes.verdicts.csv").unlink()
    collect.collect(results, results)
    assert {path: path.read_text() for path in results.iterdir()} == before


@pytest.mark.parametrize("name", findings.have())
def test_committed_verdicts_are_those_of_the_committed_values(name: str) -> None:
    path = collect.RESULTS / f"{name}.verdicts.csv"
    assert (
        collect.judged(name, collect.RESULTS / f"{name}.csv").to_csv(index=False, float_format="%.6g")
        == path.read_text()
    )


def test_runs_over_games() -> None:
    """The rows are those of the arms; a run's KL is relative to the mean of its own game's GAN, a diverged one inf."""
    cells = ["saturated, x1", "space, x1", "modes, x1"]
    ratios = searches.relative("core", cells, "gan")
    assert ratios.mean(1) == pytest.approx(np.ones(3))
    lines = findings.render(f"{{{{searched across core: {'; '.join(cells)}}}}}").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {arm}" for arm in searches.arms("core", cells[0])]
    assert lines[2].endswith(f"| {(ratios <= 0.5).mean():.0%} | {(ratios <= 1).mean():.0%} |")
    middle = np.exp(stats.trim_mean(np.log(ratios), 0.25, axis=None))
    assert lines[2].startswith(f"| gan | {middle:.3g} [")


@pytest.mark.parametrize("name", searches.EXPERIMENTS)
def test_arms_of_a_search_are_told_apart_in_a_table(name: str) -> None:
    """By names that fit one, which leave out what all such arms of the cell have."""
    for cell in searches.EXPERIMENTS[name].cells():
        names = [searches.worded(arm.text) for arm in cell.arms]
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= 40
    assert searches.worded("summed, term detached, game False, weight 1, low 0.05, high 0.15") == (
        "no game, distillation, 0.05–0.15"
    )


def test_two_arms_of_a_search_and_a_setting() -> None:
    """Paired over seeds, the first less the second; an option of the setting that was chosen."""
    one, two = (searches.runs("lazy", "space, x1", f"summed, every {k}", "kl") for k in (8, 1))
    text = findings.render("{{searched versus lazy: space, x1: summed, every 8: summed, every 1: kl}}")
    assert text.startswith(f"{one.mean():.3g} against {two.mean():.3g} ({(one - two).mean():.3g} [")
    chosen = searches.read("lazy").arms.set_index(["cell", "arm"]).lr["space, x1", "summed, every 8"]
    assert findings.render("{{searched setting lazy: space, x1: summed, every 8: lr}}") == f"{chosen:.2g}"
    trials = searches.read("lazy").trials
    tried = trials[(trials.cell == "space, x1") & (trials.arm == "summed, every 8")]
    assert findings.render("{{searched setting lazy: space, x1: summed, every 8: trials}}") == str(len(tried))
    with pytest.raises(UsageError, match="has no setting of"):
        findings.render("{{searched setting lazy: space, x1: summed, every 8: dim}}")


def test_on_which_side_a_difference_lies_and_kl_relative_to_the_gan() -> None:
    names = "stabilisers", "space, x1"
    assert searches.side(*names, "summed", "gan", "kl") == -1
    assert searches.side(*names, "gan", "summed", "kl") == 1
    assert searches.side(*names, "gan, regulariser none", "gan", "kl") == 0
    assert searches.relative_mean(*names, "gan")[0] == pytest.approx(1)
    middle, low, high = searches.relative_mean(*names, "summed")
    assert low < middle < high < 1
