"""The ledger: every claim and every control is a case of its own; and the judge itself is judged."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from theory.__main__ import Options, main
from theory.claims import claim as claims_module
from theory.claims import snapshot as record
from theory.claims.claim import (
    Claim,
    Comparison,
    Control,
    Source,
    compare,
    compare_at_least,
    compare_exactly,
    judge,
    judge_control,
    worst_error,
)
from theory.claims.game import Game
from theory.claims.information import LAWS, check_kl
from theory.claims.ledger import ledger
from theory.claims.noise import mean_resultant
from theory.claims.other_divergences import meet_in_space, random_circles, touching
from theory.claims.pictures import PICTURES
from theory.claims.saturation import log_one_minus_discriminator, off_circle, on_circle
from theory.claims.squared_distance import BEYOND_THE_END, Case, check_pythagoras
from theory.common.commandline import parse
from theory.divergences import Carrier
from theory.levels import Level
from theory.manifolds import Box, Segment

RECORDED = record.read()
ARGUMENTS = record.read_arguments()
RECORDED_CLAIMS = record.rows_of(record.RESULTS / "claims.csv")
IDS = [row["claim"] for row in RECORDED_CLAIMS]
CONTROLS = [(claim, control) for claim in ledger() for control in claim.controls]


@pytest.mark.parametrize("claim", ledger(), ids=lambda claim: claim.id)
def test_claim(claim):
    assert record.written(record.defaults(claim)) == ARGUMENTS.get((claim.id, ""), {})
    (row,) = (row for row in RECORDED_CLAIMS if row["claim"] == claim.id)
    described = {key: str(value) for key, value in record.described(claim).items()}
    assert described == {key: row[key] for key in described}
    comparisons = list(claim.check())
    for found in comparisons:
        assert found.error <= claim.tolerance, found
    assert not record.differences(comparisons, RECORDED[claim.id, ""], claim.tolerance)


@pytest.mark.parametrize(("claim", "control"), CONTROLS, ids=[f"{c.id}: {k.title}" for c, k in CONTROLS])
def test_control_is_rejected(claim, control):
    assert record.written(control.changes) == ARGUMENTS[claim.id, control.title]
    judged = judge_control(claim, control)
    assert judged.rejected, judged
    assert judged.worst_error > 10 * claim.tolerance  # a near-miss, and no near thing
    assert not record.differences(judged.comparisons, RECORDED[claim.id, control.title], claim.tolerance)


def test_the_claims_are_those_recorded():
    assert len(set(IDS)) == len(IDS)
    assert [claim.id for claim in ledger()] == IDS
    for row in RECORDED_CLAIMS:
        assert row["rejected"] == row["controls"]
        assert row["verdict"] == "holds"
    assert list(RECORDED) == [
        (claim.id, title) for claim in ledger() for title in ("", *(control.title for control in claim.controls))
    ]


def test_what_the_theory_is_made_of_cannot_change():
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("theory.")]
    kinds = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    parameters = {kind: vars(kind).get("__dataclass_params__") for kind in kinds if "test_" not in kind.__module__}
    frozen = {kind.__name__: found.frozen for kind, found in parameters.items() if found is not None}
    assert {"Claim", "Level", "Mixture"} <= frozen.keys()
    assert all(frozen.values()), frozen


def test_what_holds_tensors_is_compared_by_identity():
    """Equality of tensors is no yes or no, so that dataclasses of them cannot ask for it."""
    ones = torch.ones(2)
    for make in (lambda: Game("", ones, ones), lambda: Level(ones, ones), lambda: Carrier(ones)):
        assert make() != make()


# The judge


def a_claim(errors: dict[str, float]) -> Claim:
    """A claim whose errors are those given: under "statement", and under "control" for its control."""
    return Claim(
        id="X1",
        title="a claim about nothing",
        statement="0 = 0",
        assumptions=(),
        source=Source("ours", ""),
        tolerance=0.5,
        why="any",
        check=lambda which="statement": [compare(which, errors[which], 0.0)],
        controls=(Control("a near-miss", {"which": "control"}),),
    )


@pytest.mark.parametrize(
    ("statement", "control", "outcome", "status"),
    [
        (0.1, 0.9, "holds", 0),
        (0.5, 0.9, "holds", 0),
        (0.1, 0.5, "defect", 1),
        (0.9, 0.9, "fails", 1),
        (math.nan, 0.9, "fails", 1),
        (0.1, 0.1, "defect", 1),
        (0.1, math.nan, "defect", 1),
        (0.1, math.inf, "holds", 0),
        (0.9, 0.1, "defect", 1),
    ],
)
def test_outcomes_and_exit_codes(monkeypatch, capsys, tmp_path, statement, control, outcome, status):
    claim = a_claim({"statement": statement, "control": control})
    assert judge(claim).outcome == outcome
    monkeypatch.setattr(claims_module, "ledger", lambda: (claim,))
    path = tmp_path / "ledger.json"
    assert main(["--json", str(path)]) == status
    printed = capsys.readouterr().out
    assert printed.startswith(f"X1  {outcome}")
    assert f"controls rejected {int(control > 0.5)}/1" in printed
    (entry,) = json.loads(path.read_text())
    assert entry["verdict"] == outcome
    assert entry["worst_error"] == (None if math.isnan(statement) else statement)
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.json"]
    assert main(["--explain", "X1"]) == status
    assert f"Verdict: X1 {outcome}" in capsys.readouterr().out


def test_an_explanation_says_all_there_is(monkeypatch, capsys):
    claim = dataclasses.replace(
        a_claim({"statement": 0.25, "control": 0.75}), assumptions=("one is one", "two is two"), why="a half is enough"
    )
    passing = Control("no near-miss", {"which": "statement"})
    claim = dataclasses.replace(claim, controls=(*claim.controls, passing))
    monkeypatch.setattr(claims_module, "ledger", lambda: (claim,))
    assert main(["--explain", "X1"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "X1  a claim about nothing",
        "",
        "0 = 0",
        "",
        "Assumptions",
        "  - one is one",
        "  - two is two",
        "Source: ours. The statement is this project's own.",
        "",
        "Tolerance 5e-01: a half is enough",
        "",
        "Compared",
        "   2.5e-01  0.25 for 0  statement",
        "",
        "Controls, to be rejected by the same check",
        "   7.5e-01  rejected  a near-miss",
        "   2.5e-01  PASSES  no near-miss",
        "",
        "Verdict: X1 defect, worst error 2.5e-01.",
    ]


def test_the_ledger_in_a_file_and_on_a_terminal(monkeypatch, capsys, tmp_path):
    """Every field of the file; on a terminal a table in which what does not hold is red."""
    holds, fails = (
        dataclasses.replace(a_claim({"statement": error, "control": 0.75}), id=name, assumptions=("none",))
        for name, error in (("X1", 0.25), ("X2", math.inf))
    )
    monkeypatch.setattr(claims_module, "ledger", lambda: (holds, fails))
    path = tmp_path / "ledger.json"
    assert main(["--json", str(path)]) == 1
    entries = json.loads(path.read_text())
    assert entries[1].pop("seconds") >= 0
    assert entries[1] == {
        "id": "X2",
        "title": "a claim about nothing",
        "statement": "0 = 0",
        "assumptions": ["none"],
        "source": {"kind": "ours", "reference": ""},
        "tolerance": 0.5,
        "why": "any",
        "verdict": "fails",
        "worst_error": None,
        "comparisons": [
            {
                "what": "statement",
                "measured": None,
                "predicted": 0.0,
                "error": None,
                "elements": 1,
                "mean_measured": None,
                "mean_predicted": 0.0,
            }
        ],
        "controls": [{"title": "a near-miss", "worst_error": 0.75, "rejected": True}],
    }
    capsys.readouterr()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["--only", "X1", "X2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (good,), (bad,) = ([line for line in lines if name in line] for name in ("X1", "X2"))
    assert "\x1b[1;31m" in bad
    assert "\x1b[1;31m" not in good
    for word in ("a claim about nothing", "2.5e-01", "5e-01", "1/1", "holds", "0.0"):
        assert word in good
    assert main(["--explain", "X1"]) == 0
    assert "┃" not in capsys.readouterr().out


def test_a_claim_that_nothing_could_fail_is_no_claim():
    with pytest.raises(ValueError, match="claim X1 needs at least one control"):
        Claim("X1", "", "", (), Source("ours", ""), 1.0, "", lambda: [], ())
    with pytest.raises(ValueError, match="the tolerance of claim X1 must lie"):
        Claim("X1", "", "", (), Source("ours", ""), 0.0, "", lambda: [], (Control("", {}),))


def test_comparisons_report_the_worst_element_and_the_means():
    measured, predicted = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([1.0, 4.0, 5.5])
    means = (3, 3.0, 3.5)
    assert compare("a", measured, predicted) == Comparison("a", 3.0, 5.5, 2.5, *means)
    assert compare("a", measured, predicted, torch.tensor([1.0, 0.25, 1.0])) == Comparison("a", 5.0, 4.0, 4.0, *means)
    assert compare_exactly("a", measured, predicted) == Comparison("a", 3.0, 5.5, math.inf, *means)
    assert compare_at_least("a", measured, predicted) == Comparison("a", 3.0, 5.5, 2.5, *means)
    assert compare_at_least("a", measured, 1.0) == Comparison("a", 1.0, 1.0, 0.0, 3, 3.0, 1.0)
    assert math.isnan(compare_at_least("a", math.nan, 1.0).error)
    assert math.isnan(compare("", torch.tensor([1.0, math.inf, math.nan, 9.0]), 0.0).error)
    assert compare("", torch.tensor([1.0, math.inf]), 0.0).error == math.inf
    assert compare_exactly("", torch.tensor([0.0, 1e-30]), 0.0).error == math.inf
    assert compare_exactly("", torch.zeros(2), 0.0).error == 0


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_scale_that_hides_an_error_is_refused(scale):
    with pytest.raises(ValueError, match=f"scale must be positive; given {scale} to compare 'ell'"):
        compare("ell", torch.ones(2), 0.0, torch.tensor([1.0, scale]))


def test_no_number_and_nan_are_no_agreement():
    assert math.isnan(worst_error([]))
    assert math.isnan(worst_error([compare("", 0.0, 0.0), compare("", math.nan, 0.0)]))


# The record


def test_what_differs_from_the_record_is_told():
    then = [compare("ell", torch.tensor([1.0, 2.0]), 1.0), compare("exact", math.inf, 0.0)]

    def told(*found, tolerance=1e-3):
        return record.differences(found, then, tolerance)

    assert told(*then) == []

    def near(gap):
        return compare("ell", torch.tensor([1.0, 2.0 + gap], dtype=torch.float64), 1.0)

    assert told(near(2**-25), then[1]) == []
    assert told(near(2**-22), then[1]) == [
        f"ell: mean_measured {1.5 + 2**-23}; recorded: 1.5",
        f"ell: error {1 + 2**-22}; recorded: 1.0",
    ]
    assert told(then[0]) == ["1 comparisons, 2 recorded"]
    assert told(compare("ell", torch.tensor([1.0, 1.5, 2.0]), 1.0), then[1]) == [
        "ell of 3 elements; recorded: ell of 2"
    ]
    assert told(then[0], compare("exact", 1.0, 0.0))[0] == "exact: mean_measured 1.0; recorded: inf"
    nothing = [compare("0", 0.0, 0.0)]
    for measured, tolerance, told_of in ((5e-10, 1e-3, 0), (5e-8, 1e-3, 1), (2e-7, 1e-3, 2), (1e-10, 1e-12, 2)):
        assert len(record.differences([compare("0", measured, 0.0)], nothing, tolerance)) == told_of


def test_arguments_are_written_alike_everywhere():
    values = {"law": Segment((0, 1), (2 / 3, 1e-17 / 3)), "f": [compare, 12, None], "shift": -1 / 3}
    assert record.written(values) == {
        "law": "Segment(start=(0, 1), end=(0.6666666667, 3.333333333e-18))",
        "f": "[compare, 12, None]",
        "shift": "-0.3333333333",
    }


@pytest.mark.parametrize(("measured", "status"), [(0.1, 0), (0.9, 1), (math.nan, 1)])
def test_a_record_is_read_as_it_was_written_and_never_of_a_claim_that_fails(
    monkeypatch, capsys, tmp_path, measured, status
):
    claim = a_claim({"statement": measured, "control": math.inf})
    monkeypatch.setattr(record, "ledger", lambda: (claim,))
    monkeypatch.setattr(record, "CASES", ("segment",))
    assert record.main([], tmp_path / "results") == status
    if status:
        assert capsys.readouterr().err == "error: nothing is recorded, for these claims do not hold: X1\n"
        assert not (tmp_path / "results").exists()
        return
    verdict = judge(claim)
    assert record.read(tmp_path / "results") == {
        ("X1", ""): list(verdict.comparisons),
        ("X1", "a near-miss"): list(verdict.controls[0].comparisons),
    }
    assert record.rows_of(tmp_path / "results" / "claims.csv") == [
        {
            "claim": "X1",
            "title": "a claim about nothing",
            "source": "ours",
            "tolerance": "0.5",
            "controls": "1",
            "worst_error": "0.1",
            "rejected": "1",
            "verdict": "holds",
        }
    ]
    assert record.read_arguments(tmp_path / "results") == {
        ("X1", ""): {"which": "'statement'"},
        ("X1", "a near-miss"): {"which": "'control'"},
    }
    assert record.rows_of(tmp_path / "results" / "arguments.csv") == [
        {"claim": "X1", "control": "", "argument": "which", "value": "'statement'"},
        {"claim": "X1", "control": "a near-miss", "argument": "which", "value": "'control'"},
    ]
    digits = record.rows_of(tmp_path / "results" / "accuracy.csv")
    assert digits == [row for row in record.rows_of(record.RESULTS / "accuracy.csv") if row["law"] == "segment"]
    origin = json.loads((tmp_path / "results" / "ledger.json").read_text())
    assert origin["torch"] == torch.__version__
    assert len(origin["commit"].rstrip("+")) in (0, 40)
    assert record.main([], tmp_path / "no" / "results") == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path / 'no' / 'results'}: ")
    assert record.main(["--seed", "1"], tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: Unrecognized options: --seed")


