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
from scipy.special import roots_genlaguerre

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
from theory.claims.game import Game, curvature_of_sphere
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


# What P2's control about boundaries says in numbers: see its assumptions.


@pytest.mark.parametrize(
    ("case", "reads"),
    [
        (Case("on a segment's end", Segment((-1, 0), (1, 0)), ((1.0, 0.0),), k=1), 1),
        (BEYOND_THE_END[0], 2),
        (Case("on a square's corner", Box((-1, -1), (1, 1)), ((1.0, 1.0),), k=2), 2),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_boundaries_read(case, reads):
    limit = next(iter(check_pythagoras((case,))))
    assert limit.measured == pytest.approx(reads, abs=1e-4)


def test_without_the_information_the_identity_fails_for_every_law_that_is_no_point():
    for found in check_kl(laws=LAWS[:3], information=0.0):
        assert (found.error > 0.1) == ("three atoms" in found.what)


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


def test_the_discriminator_and_the_places_of_s2():
    x, turn = on_circle(4), torch.arange(4, dtype=torch.float64) * math.pi / 2
    wanted = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-15)
    p, q = 1 + torch.cos(turn) / 2, (1 + torch.sin(turn) / 2) / 2
    torch.testing.assert_close(log_one_minus_discriminator(x), torch.log(q / (p + q)), rtol=1e-14, atol=0)
    off = off_circle(200)
    assert torch.equal(off, off_circle(200))
    assert bool((log_one_minus_discriminator(off) == 0).all())
    gap = torch.linalg.vector_norm(off, dim=-1) - 1
    assert 1e-9 < float(gap.abs().min()) < 1e-7
    assert 1 < float(gap.max()) < 3
    assert -1 < float(gap.min()) < -0.3
    for inside in (gap < 0, gap > 0):
        quarters = torch.atan2(off[inside, 1], off[inside, 0]).div(math.pi / 2).floor()
        assert set(quarters.tolist()) == {-2, -1, 0, 1}


def test_who_touches_cannot_be_told_and_few_do():
    gap, r, s = torch.tensor([3.0, 3.0 + 9e-6, 3.0 + 2e-5, 1.0, 1.0 - 9e-6, 0.9, 2.5]), 2.0, torch.tensor(1.0)
    assert touching(gap.double(), torch.tensor(r), s).tolist() == [True, True, False, True, True, False, False]
    assert touching(torch.tensor(1.0), s, torch.tensor(r)) == torch.tensor(True)


def test_the_mean_resultant_has_its_limit_where_bessel_functions_underflow():
    for d, kappa in ((400, 1e-3), (128, 0.5)):
        assert mean_resultant(d, kappa) == pytest.approx(kappa / d, rel=1e-4)


@pytest.mark.parametrize(("n", "radius"), [(1, 2.0), (2, 1.0), (3, 1.0), (3, 2.0), (4, 2.0)])
def test_the_curvature_of_spheres_of_more_dimensions(n, radius):
    """E3b asks on curves and surfaces alone. Here ell is a mean over a normal and a chi variable: eps towards the pole
    and across it, with x0hat = A(R |x_t| / s^2) R x_t / |x_t|."""
    along, weights = np.polynomial.hermite_e.hermegauss(30)
    half_square, chi_weights = roots_genlaguerre(30, n / 2 - 1)
    product = np.outer(weights / weights.sum(), chi_weights / chi_weights.sum())

    def rate(s):
        x1 = (radius + s * along)[:, None]
        norm = np.hypot(x1, s * np.sqrt(2 * half_square))
        mean = radius * np.vectorize(mean_resultant)(n + 1, radius * norm / s**2)
        ell = (product * (radius**2 + mean**2 - 2 * radius * mean * x1 / norm)).sum() / s**2
        return (ell - n) / s**2

    assert (4 * rate(0.04) - rate(0.08)) / 3 == pytest.approx(curvature_of_sphere(n, radius), rel=1e-3)


# The command


def test_options_start_from_those_given():
    given = Options(only=("S1",), explain="P2")
    assert parse(Options, [], "prog", default=given) == given
    assert parse(Options, ["--explain", "P3"], "prog", default=given) == dataclasses.replace(given, explain="P3")


def test_help_names_the_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["prog", "--help"])
    for arguments in (["--help"], None):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        printed = capsys.readouterr().out
        assert stop.value.code == 0
        assert printed.startswith("usage: python -m theory ")
        assert max(map(len, printed.splitlines())) <= 80


def test_only_and_bad_usage(capsys, tmp_path):
    assert main(["--only", "S1", "S3"]) == 0
    assert [line[:2] for line in capsys.readouterr().out.splitlines()] == ["S1", "S3"]
    for arguments, message in (
        (["--only", "Q7"], f"unknown claim 'Q7': choose from {', '.join(IDS)}"),
        (["--explain", "P33"], f"unknown claim 'P33': choose from {', '.join(IDS)}; did you mean 'P3'?"),
        (["--json", str(tmp_path / "no" / "x")], f"--json: {tmp_path / 'no'} is not a directory"),
        (["--explain", "P2", "--plot", str(tmp_path / "no" / "x.png")], f"--plot: {tmp_path / 'no'} is not a dir"),
        (["--plot", "x.png"], "--plot draws the picture of one claim: name it by --explain"),
        (["--explain", "P2", "--plot", "x.doc"], "--plot must end in .png, .pdf, .svg; given x.doc"),
        (["--olny", "P2"], "Unrecognized options: --olny"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: {message}")
        assert captured.err.count("\n") == 1
        assert captured.out == ""


def test_a_ledger_that_cannot_be_written_leaves_nothing(capsys, tmp_path):
    (tmp_path / "taken").mkdir()
    assert main(["--only", "S1", "--json", str(tmp_path / "taken")]) == 1
    assert "error: cannot write" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", IDS)
def test_every_claim_has_a_picture_with_curves_labels_and_a_title(name):
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    PICTURES[name](axes)
    curves = [np.asarray(line.get_ydata()) for line in axes.lines]
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


def test_plot_writes_the_picture(tmp_path, capsys):
    path = tmp_path / "picture.png"
    assert main(["--explain", "L3", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "Verdict: L3 holds" in capsys.readouterr().out


def test_help_needs_no_torch():
    script = (
        "import sys\nfrom theory.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit as stop: sys.exit(3 if 'torch' in sys.modules else stop.code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "--explain" in done.stdout) == (0, True)
    assert "python -m theory" in done.stdout


def test_circles_made_to_meet_are_found() -> None:
    """S8 counts pairs that meet: each second circle is moved to any point of the first; and off it, by 1e-6."""
    generator = torch.Generator().manual_seed(1)
    first, second = random_circles(200, 3, generator), random_circles(200, 3, generator)
    angle = 2 * math.pi * torch.rand(200, 1, generator=generator, dtype=torch.float64)
    point = first.c + first.r[:, None] * (torch.cos(angle) * first.u + torch.sin(angle) * first.v)
    for apart, wanted in ((0.0, 200), (1e-6, 0)):
        moved = dataclasses.replace(second, c=point - (second.r[:, None] + apart) * second.u)
        assert int(meet_in_space(first, moved).sum()) == wanted
