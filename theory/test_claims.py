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

from theory import claims as claims_module
from theory.__main__ import main
from theory.claims import (
    Claim,
    Comparison,
    Control,
    compare,
    compare_at_least,
    compare_exactly,
    judge,
    judge_control,
    ledger,
    worst_error,
)
from theory.claims_p import BEYOND_THE_END, Case, check_pythagoras
from theory.claims_p_kl import LAWS, check_kl
from theory.claims_s_beyond import meet_in_space, random_circles
from theory.manifolds import Box, Segment
from theory.pictures import PICTURES

# How many comparisons each claim makes: one that goes missing would never fail.
COMPARISONS = {"S1": 23, "S2": 13, "S3": 33, "S4": 66, "S5": 4, "S6": 5, "S7": 4, "S8": 3}
COMPARISONS |= {"P1": 190, "P2": 20, "P2b": 9, "P3": 11, "P4": 8, "P5": 9, "P6": 18}
COMPARISONS |= {"E1": 16, "E2": 48, "E3": 14, "E3b": 10, "L1": 6, "L2": 11, "L3": 12, "I1": 8, "I2": 8, "I3": 30}
IDS = list(COMPARISONS)
CONTROLS = [(claim, control) for claim in ledger() for control in claim.controls]


@pytest.mark.parametrize("claim", ledger(), ids=lambda claim: claim.id)
def test_claim(claim):
    comparisons = list(claim.check())
    for found in comparisons:
        assert found.error <= claim.tolerance, found
    assert len(comparisons) == COMPARISONS[claim.id]


@pytest.mark.parametrize(("claim", "control"), CONTROLS, ids=[f"{c.id}: {k.title}" for c, k in CONTROLS])
def test_control_is_rejected(claim, control):
    judged = judge_control(claim, control)
    assert judged.rejected, judged
    assert judged.worst_error > 10 * claim.tolerance  # a near-miss, and no near thing


def test_the_ledger_names_each_claim_once():
    assert [claim.id for claim in ledger()] == IDS


def test_what_the_theory_is_made_of_cannot_change():
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("theory.")]
    kinds = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    parameters = {kind: vars(kind).get("__dataclass_params__") for kind in kinds if "test_" not in kind.__module__}
    frozen = {kind.__name__: found.frozen for kind, found in parameters.items() if found is not None}
    assert {"Claim", "Level", "Mixture"} <= frozen.keys()
    assert all(frozen.values()), frozen


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
        source="ours",
        tolerance=0.5,
        why="any",
        check=lambda which="statement": [Comparison(which, errors[which], 0.0, errors[which])],
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


def test_a_claim_that_nothing_could_fail_is_no_claim():
    with pytest.raises(ValueError, match="claim X1 needs at least one control"):
        Claim("X1", "", "", (), "ours", 1.0, "", lambda: [], ())
    with pytest.raises(ValueError, match="the tolerance of claim X1 must lie"):
        Claim("X1", "", "", (), "ours", 0.0, "", lambda: [], (Control("", {}),))


def test_comparisons_report_the_worst_element():
    measured, predicted = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([1.0, 4.0, 4.0])
    assert compare("", measured, predicted) == Comparison("", 2.0, 4.0, 2.0)
    assert compare("", measured, predicted, torch.tensor([1.0, 0.25, 1.0])) == Comparison("", 5.0, 4.0, 4.0)
    assert math.isnan(compare("", torch.tensor([1.0, math.inf, math.nan, 9.0]), 0.0).error)
    assert compare("", torch.tensor([1.0, math.inf]), 0.0).error == math.inf
    assert compare_at_least("", measured, predicted) == Comparison("", 2.0, 4.0, 2.0)
    assert compare_at_least("", measured, 1.0).error == 0
    assert compare_exactly("", torch.tensor([0.0, 1e-30]), 0.0).error == math.inf
    assert compare_exactly("", torch.zeros(2), 0.0).error == 0


def test_no_number_and_nan_are_no_agreement():
    assert math.isnan(worst_error([]))
    assert math.isnan(worst_error([Comparison("", 0, 0, 0.0), Comparison("", 0, 0, math.nan)]))


# The command


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
    """S8 counts pairs that meet: each second circle is moved to a point of the first; and off it, by 1e-6."""
    generator = torch.Generator().manual_seed(1)
    first, second = random_circles(200, 3, generator), random_circles(200, 3, generator)
    point = first.c + first.r[:, None] * first.u
    for apart, wanted in ((0.0, 200), (1e-6, 0)):
        moved = dataclasses.replace(second, c=point - (second.r[:, None] + apart) * second.u)
        assert int(meet_in_space(first, moved).sum()) == wanted
