"""The ledger: every claim and every control is a case of its own; and the judge itself is judged."""

from __future__ import annotations

import math
import sys
from functools import cache

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from theory.__main__ import PROOFS
from theory.claims import snapshot as record
from theory.claims.claim import (
    MARGIN,
    Claim,
    Comparison,
    Control,
    Source,
    compare,
    compare_at_least,
    compare_exactly,
    judge,
    worst_error,
)
from theory.claims.game import Game
from theory.claims.ledger import ledger
from theory.common import provenance
from theory.common.commandline import run
from theory.divergences import Carrier
from theory.levels import Level
from theory.manifolds import Segment

RECORDED = record.read()
ARGUMENTS = record.read_arguments()
RECORDED_CLAIMS = record.rows_of(record.RESULTS / "claims.csv")
CLAIMS = {claim.id: claim for claim in ledger()}
CONTROLS = [(claim.id, control.title) for claim in ledger() for control in claim.controls]


def compared(name: str, title: str = "") -> tuple[Comparison, ...]:
    """What the claim compares, or one of its controls: computed once."""
    return computed(name, title)


@cache  # its keys are the arguments as they are given: always two
def computed(name: str, title: str) -> tuple[Comparison, ...]:
    changes = {control.title: control.changes for control in CLAIMS[name].controls}
    return tuple(CLAIMS[name].check(**changes.get(title, {})))


@pytest.mark.parametrize("name", CLAIMS)
def test_claim(name):
    assert compared(name)
    for found in compared(name):
        assert found.error <= CLAIMS[name].tolerance, found


@pytest.mark.parametrize(("name", "title"), CONTROLS, ids=[f"{name}: {title}" for name, title in CONTROLS])
def test_control_is_rejected(name, title):
    """By ten times the tolerance, or by less with a reason; a reason that is not needed is stale."""
    ratio = worst_error(compared(name, title)) / CLAIMS[name].tolerance
    (control,) = (control for control in CLAIMS[name].controls if control.title == title)
    print(f"{name}, {title}: {ratio:.3g} times the tolerance{f'; near: {control.near}' if control.near else ''}")
    assert ratio > 1
    assert (ratio < MARGIN) == bool(control.near)


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_checked_is_what_was_recorded(name):
    """Names, arguments and numbers of comparisons; values as far as two processors agree."""
    claim = CLAIMS[name]
    (row,) = (row for row in RECORDED_CLAIMS if row["claim"] == name)
    described = {key: str(value) for key, value in record.described(claim).items()}
    assert described == {key: row[key] for key in described}
    assert (row["verdict"], row["rejected"]) == ("holds", row["controls"])
    for title, changes in (("", record.defaults(claim)), *((c.title, c.changes) for c in claim.controls)):
        assert record.written(changes) == ARGUMENTS.get((name, title), {})
        assert not record.differences(compared(name, title), RECORDED[name, title], claim.tolerance)


def test_the_claims_are_those_recorded():
    assert len({claim.id for claim in ledger()}) == len(ledger())
    assert list(CLAIMS) == [row["claim"] for row in RECORDED_CLAIMS]
    assert list(RECORDED) == [
        (claim.id, title) for claim in ledger() for title in ("", *(control.title for control in claim.controls))
    ]


# What belongs to a claim


def texts_of(claim: Claim) -> list[str]:
    controls = [control.title for control in claim.controls]
    whole = [claim.title, claim.statement, *claim.assumptions, claim.source.reference, claim.why]
    return [*whole, *controls, *(found.what for found in RECORDED[claim.id, ""])]


@pytest.mark.parametrize("name", CLAIMS)
def test_texts_are_text(name):
    """No escape that was meant to be a new line, no line without an end, and one that can be printed."""
    claim = CLAIMS[name]
    for text in texts_of(claim):
        assert text == text.strip()
        assert "\\n" not in text
        assert "\t" not in text
    for text in (claim.title, claim.source.reference, claim.why, *claim.assumptions):
        assert "\n" not in text
    assert all([claim.title, claim.statement, claim.why, claim.source.reference])
    assert claim.source.kind in ("paper", "in print", "ours")
    assert len(claim.title) <= 120
    assert max(map(len, claim.statement.splitlines())) <= 120


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_proven_or_says_that_it_is_not(name):
    """A proof names its claim, and is more than a remark; what is not proven says so in its file as well."""
    path = PROOFS / f"{name}.md"
    text = path.read_text()
    heading, _, rest = text.partition("\n")
    assert heading.startswith(f"# {name}. ")
    assert len(rest.split()) > 40
    assert ("Proof" in rest or "Step" in rest) if CLAIMS[name].proven else "hecked, not proven" in rest
    assert text.count("$$") % 2 == 0


def test_every_proof_is_of_a_claim():
    assert {path.stem for path in PROOFS.glob("*.md")} <= set(CLAIMS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if i % 3 == 1 else pytest.mark.slow) for i, name in enumerate(CLAIMS)]
)
def test_every_claim_has_a_picture_with_curves_labels_and_a_title(name):
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    picture = CLAIMS[name].picture
    assert picture is not None
    picture(axes)
    curves = [np.asarray(line.get_ydata(orig=False), dtype=np.float64) for line in axes.lines]
    assert sum(curve.size > 0 for curve in curves) >= 2
    assert all(np.isfinite(curve).all() for curve in curves)
    assert all([axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), axes.get_legend_handles_labels()[1]])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    inside = axes.get_window_extent()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]  # row 0 at the bottom
    pixels = pixels[int(inside.y0) + 3 : int(inside.y1) - 3, int(inside.x0) + 3 : int(inside.x1) - 3]
    coloured = np.ptp(pixels.astype(int), axis=-1) > 60  # curves have colours; the frame and its ticks have none
    assert coloured.mean() > 1e-3


def test_what_the_theory_is_made_of_cannot_change():
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("theory.")]
    kinds = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    parameters = {kind: vars(kind).get("__dataclass_params__") for kind in kinds if "test_" not in kind.__module__}
    found = {kind: value.frozen for kind, value in parameters.items() if value is not None}
    assert {"Claim", "Level", "Mixture"} <= {kind.__name__ for kind in found}
    assert [kind for kind, frozen in found.items() if not frozen] == []


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
        source=Source("ours", "nothing"),
        tolerance=0.5,
        why="any",
        check=lambda which="statement": [compare(which, errors[which], 0.0)],
        controls=(Control("a near-miss", {"which": "control"}),),
    )


@pytest.mark.parametrize(
    ("statement", "control", "outcome"),
    [
        (0.1, 0.9, "holds"),
        (0.5, 0.9, "holds"),
        (0.1, 0.5, "defect"),
        (0.9, 0.9, "fails"),
        (math.nan, 0.9, "fails"),
        (0.1, 0.1, "defect"),
        (0.1, math.nan, "defect"),
        (0.1, math.inf, "holds"),
        (0.9, 0.1, "defect"),
    ],
)
def test_outcomes(statement, control, outcome):
    verdict = judge(a_claim({"statement": statement, "control": control}))
    assert verdict.outcome == outcome
    assert verdict.rejected == int(control > 0.5)


def test_a_claim_that_nothing_could_fail_is_no_claim():
    nothing = Source("ours", "")
    with pytest.raises(ValueError, match="claim X1 needs at least one control"):
        Claim("X1", "", "", (), nothing, 1.0, "", lambda: [], ())
    with pytest.raises(ValueError, match="the tolerance of claim X1 must lie"):
        Claim("X1", "", "", (), nothing, 0.0, "", lambda: [], (Control("", {}),))


def test_comparisons_report_the_worst_element_and_the_means():
    measured, predicted = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([1.0, 4.0, 5.5])
    means = (3, 3.0, 3.5)
    assert compare("a", measured, predicted) == Comparison("a", 3.0, 5.5, 2.5, *means)
    scaled = compare("a", measured, predicted, torch.tensor([1.0, 0.25, 1.0]))
    assert scaled == Comparison("a", 5.0, 4.0, 4.0, *means, mean_unit=0.75)
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


def test_a_source_is_told_with_its_kind():
    assert str(Source("in print", "Lin 1991")) == "in print: Lin 1991"
    assert str(Source("ours", "")) == "ours"


# The record


def test_what_differs_from_the_record_is_told():
    then = [compare("ell", torch.tensor([1.0, 2.0]), 1.0), compare("exact", math.inf, 0.0)]

    def told(*found, tolerance=1e-3):
        return record.differences(found, then, tolerance)

    def near(gap):
        return compare("ell", torch.tensor([1.0, 2.0 + gap], dtype=torch.float64), 1.0)

    assert told(*then) == []
    assert told(near(1.9e-3), then[1]) == []  # the mean is 1.5, its margin 3e-3; that of the error 2e-3
    assert told(near(2**-8), then[1]) == [f"ell: error {1 + 2**-8}; recorded: 1.0"]
    assert told(near(2**-7), then[1]) == [
        f"ell: mean_measured {1.5 + 2**-8}; recorded: 1.5",
        f"ell: error {1 + 2**-7}; recorded: 1.0",
    ]
    assert told(then[0]) == ["1 comparisons, 2 recorded"]
    assert told(compare("ell", torch.tensor([1.0, 1.5, 2.0]), 1.0), then[1]) == [
        "ell of 3 elements; recorded: ell of 2"
    ]
    assert told(compare("el", torch.tensor([1.0, 2.0]), 1.0), then[1]) == ["el of 2 elements; recorded: ell of 2"]
    assert told(then[0], compare("exact", 1.0, 0.0))[0] == "exact: mean_measured 1.0; recorded: inf"
    nothing = [compare("0", 0.0, 0.0)]
    for measured, tolerance, told_of in ((1.9e-3, 1e-3, 0), (2.1e-3, 1e-3, 2), (1e-10, 1e-12, 2)):
        assert len(record.differences([compare("0", measured, 0.0)], nothing, tolerance)) == told_of
    tenth = [compare("0", 0.0, 0.0, 0.1)]  # in units of 0.1
    for measured, told_of in ((1.9e-4, 0), (2.1e-4, 2)):
        assert len(record.differences([compare("0", measured, 0.0, 0.1)], tenth, 1e-3)) == told_of


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
    results = tmp_path / "results"
    monkeypatch.setattr(record, "ledger", lambda: (claim,))
    monkeypatch.setattr(record, "CASES", ("segment",))
    assert run(record.main, ["--out", str(results)]) == status
    if status:
        assert capsys.readouterr().err == "error: nothing is recorded, for these claims do not hold: X1\n"
        assert not results.exists()
        return
    verdict = judge(claim)
    assert record.read(results) == {
        ("X1", ""): list(verdict.comparisons),
        ("X1", "a near-miss"): list(verdict.controls[0].comparisons),
    }
    assert record.rows_of(results / "claims.csv") == [
        {
            "claim": "X1",
            "title": "a claim about nothing",
            "source": "ours",
            "reference": "nothing",
            "proven": "True",
            "tolerance": "0.5",
            "controls": "1",
            "worst_error": "0.1",
            "rejected": "1",
            "verdict": "holds",
        }
    ]
    assert record.read_arguments(results) == {
        ("X1", ""): {"which": "'statement'"},
        ("X1", "a near-miss"): {"which": "'control'"},
    }
    assert record.rows_of(results / "arguments.csv") == [
        {"claim": "X1", "control": "", "argument": "which", "value": "'statement'"},
        {"claim": "X1", "control": "a near-miss", "argument": "which", "value": "'control'"},
    ]
    digits = record.rows_of(results / "accuracy.csv")
    keys = ("law", "method", "bits", "quantity")
    wanted = [row for row in record.rows_of(record.RESULTS / "accuracy.csv") if row["law"] == "segment"]
    assert [[row[key] for key in keys] for row in digits] == [[row[key] for key in keys] for row in wanted]
    written = (results / "ledger.json").read_text()
    assert '"command": "python -m theory.claims.snapshot"' in written
    assert provenance.processor() in written
    monkeypatch.setattr(record, "commit", lambda: None)
    for arguments, message in (
        (["--out", str(tmp_path / "no" / "x")], f"--out: {tmp_path / 'no'} is not a directory"),
        ([], "this code is in no repository: name a directory by --out"),
        (["--seed", "1"], "Unrecognized options: --seed"),
    ):
        assert run(record.main, arguments) == 2
        assert capsys.readouterr().err.startswith(f"error: {message}")
