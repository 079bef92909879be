"""FINDINGS.md says what the committed results say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from figures.report import sweeps as findings
from theory.common.errors import UsageError
from toy.sweep.experiments import EXPERIMENTS


def test_the_document_is_what_the_results_say() -> None:
    """`python -m figures.report.sweeps` would change nothing."""
    assert findings.FINDINGS.read_text() == findings.render(findings.TEMPLATE.read_text())


def test_every_experiment_has_results_and_is_spoken_of() -> None:
    assert findings.have() == list(EXPERIMENTS)
    template = findings.TEMPLATE.read_text()
    assert [name for name in EXPERIMENTS if f"{{{{table {name}}}}}" not in template] == []


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Results of one experiment, in a directory of its own."""
    monkeypatch.setattr(findings, "RESULTS", tmp_path)
    findings.facts.cache_clear()
    findings.verdicts.cache_clear()
    findings.runs.cache_clear()
    row = {
        "cell": "a",
        "arm": "smart",
        "baseline": "gan",
        "metric": "off_manifold",
        "mean": 0.0214,
        "baseline_mean": 0.8,
    }
    row |= {"difference": -0.7786, "low": -0.8, "high": -0.75, "ratio": 0.02675, "p": 0.01, "p_holm": 0.02}
    verdicts = pd.DataFrame([row | {"verdict": "helps"}, row | {"cell": "b", "verdict": "hurts"}])
    verdicts.to_csv(tmp_path / "modes.verdicts.csv", index=False)
    (tmp_path / "modes.json").write_text('{"core_seconds": 7200}')
    yield tmp_path
    findings.facts.cache_clear()
    findings.verdicts.cache_clear()
    findings.runs.cache_clear()


def test_places(small: Path) -> None:
    said = findings.render(
        "{{modes: a: smart: off_manifold}}; {{modes: a: smart: off_manifold: ratio}}; "
        "{{tally modes smart off_manifold}}; {{cost}}"
    )
    assert said == (
        ".0214 against .8 (-.779 [-.8, -.75], helps); .0267; helps in 1, hurts in 1, undecided in 0 of 2 cells; 2.0"
    )


@pytest.mark.parametrize(
    "place",
    [
        "modes: c: smart: off_manifold",
        "modes: a: smart",
        "modes: a: smart: off_manifold: maen",
        "modes: a: smart versus b: smart",
        "healthy: a: smart: off_manifold",
        "tally modes x y",
        "table",
    ],
)
def test_what_is_not_there_cannot_be_said(small: Path, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        findings.render(f"{{{{{place}}}}}")
    assert "\n" not in str(caught.value)


def test_results_that_are_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names what is missing."""
    (tmp_path / "modes.json").write_text("{}")
    assert findings.main(["--collect", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'modes.csv'}: No such file or directory\n"


def test_nothing_to_collect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings.main(["--collect", str(tmp_path)]) == 2
    assert "has none" in capsys.readouterr().err
