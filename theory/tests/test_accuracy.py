"""The oracle of 60 digits against other integrals, the laws against the oracle, the alternatives where they fail."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from functools import cache

import mpmath as mp
import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.stats import gaussian_kde
from torch import Tensor

from theory.accuracy import __main__ as accuracy
from theory.accuracy import methods
from theory.accuracy import reference as highprecision
from theory.accuracy.__main__ import digits, main, measured, print_grids, print_summary, summary
from theory.accuracy.methods import (
    CASES,
    DRAWS,
    NODES,
    NSR,
    SAMPLES,
    Cell,
    Estimate,
    by_draws,
    by_kde,
    by_law,
    by_mixture,
    exact,
    prior,
    relative_errors,
    spread_evenly,
)
from theory.accuracy.reference import exact as in_60_digits
from theory.claims.snapshot import RESULTS, rows_of
from theory.common.commandline import run
from theory.manifolds import (
    Arc,
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    make,
)
from theory.tests.test_curves import board_by_erf
from theory.tests.test_laws import AROUND_THICK, LAWS

EPS = torch.finfo(torch.float64).eps


# --- The oracle


def by_integral(curve: Callable[[mp.mpf], mp.matrix], pieces: list[float], y: list[float], s: float) -> list[mp.mpf]:
    """[log p, x0hat ...] of X + s eps, X = curve(t), t uniform over the pieces, by plain adaptive quadrature."""
    with mp.workdps(40):
        constant = mp.log(2 * mp.pi * mp.mpf(s) ** 2) * len(y) / 2

        def likelihood(t: mp.mpf) -> mp.mpf:
            return mp.exp(-(mp.norm(curve(t) - mp.matrix(y)) ** 2) / (2 * mp.mpf(s) ** 2))

        mass = mp.quad(likelihood, pieces)
        means = [mp.quad(lambda t, i=i: likelihood(t) * curve(t)[i], pieces) / mass for i in range(len(y))]
        return [mp.log(mass / (pieces[-1] - pieces[0])) - constant, *means]


ARC = Arc(1.5, -0.5, 2.0, (0.25, -0.5))
LINE = Segment((-1.0, 0.5), (2.0, 1.0))


@pytest.mark.parametrize("s", [0.2, 3.0])
@pytest.mark.parametrize(
    ("law", "curve", "pieces"),
    [
        (ARC, lambda t: mp.matrix([0.25 + 1.5 * mp.cos(t), -0.5 + 1.5 * mp.sin(t)]), [-0.5, 0.5, 1.0, 1.5, 2.0]),
        (LINE, lambda t: mp.matrix([-1 + 3 * t, 0.5 + t / 2]), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (Sphere(2), lambda t: mp.matrix([mp.cospi(2 * t), mp.sinpi(2 * t)]), [k / 8 for k in range(9)]),
    ],
    ids=["arc", "segment", "circle"],
)
def test_oracle_is_the_integral_along_the_curve(law: Law, curve: Callable, pieces: list, s: float) -> None:
    y = [1.25, -0.75]
    log_density, mean, score = in_60_digits(law, tuple(y), s)
    with mp.workdps(40):
        assert mp.norm(mp.matrix([log_density, *mean]) - mp.matrix(by_integral(curve, pieces, y, s))) < 1e-25
        assert mp.norm(mp.matrix(mean) - mp.matrix(y) - mp.mpf(s) ** 2 * mp.matrix(score)) < 1e-30  # Tweedie


def test_oracle_of_the_sphere_is_langevins_function() -> None:
    """In R^3 the mean is (coth kappa - 1 / kappa) y / ||y||, at kappa = ||y|| / s^2."""
    y, s = (0.6, 0.0, 0.8), 0.5
    _, mean, _ = in_60_digits(Sphere(3), y, s)
    with mp.workdps(40):
        norm = mp.norm(y)
        kappa = norm / mp.mpf(s) ** 2
        wanted = [(mp.coth(kappa) - 1 / kappa) * mp.mpf(v) / norm for v in y]
        assert mp.norm(mp.matrix(mean) - mp.matrix(wanted)) < 1e-25


def test_oracle_at_the_centre_of_the_sphere() -> None:
    """All points are as far: log p is the noise's at the radius, the mean is 0."""
    log_density, mean, score = in_60_digits(Sphere(3, 2.0), (0.0, 0.0, 0.0), 0.5)
    assert mean == score == [0, 0, 0]
    assert float(log_density) == pytest.approx(-8 - 1.5 * math.log(2 * math.pi / 4), rel=1e-15)


def test_oracle_of_the_arc_has_nodes_of_30_digits() -> None:
    with mp.workdps(40):
        for power, wanted in ((0, mp.mpf(2)), (2, mp.mpf(2) / 3), (94, mp.mpf(2) / 95)):  # 48 nodes: exact to x^95
            assert abs(mp.fsum(weight * node**power for node, weight in highprecision._nodes()) - wanted) < 1e-30


@pytest.mark.parametrize("law", [Product(Sphere(2)), Mixture([Thickened(Sphere(2), 0.1)])], ids=repr)
def test_who_has_no_60_digits_or_nodes_is_told(law: Law) -> None:
    for ask in (lambda: in_60_digits(law, (0.0, 0.0), 1.0), lambda: spread_evenly(law)):
        with pytest.raises(TypeError, match="law must be made of Gaussians, Sphere, Segment, Arc and Mixture; given"):
            ask()


def test_there_are_as_many_as_the_text_says() -> None:
    assert accuracy.__doc__ is not None
    for words in (f"{NODES} points x_i", f"{DRAWS} draws of the prior", f"of {SAMPLES} samples"):
        assert words in accuracy.__doc__
    assert len(spread_evenly(Sphere(3))[0]) == NODES


def test_nodes_are_spread_evenly() -> None:
    """They have the law's mean and covariance; a Gaussian its own."""
    laws = {
        Sphere(2, 2.0): 2.0,
        Sphere(3): 1 / 3,
        Segment((1, 2), (3, 2)): 1 / 6,
        Arc(2.0, 0, math.pi): None,
        Mixture([Sphere(2, 1.0), Gaussians([(3, 0)], 0.5)], (0.25, 0.75)): None,
    }
    for law, variance in laws.items():
        x, std, weights = spread_evenly(law)
        draws = law.sample(200_000, torch.Generator().manual_seed(0), torch.float64)
        mean = weights @ x
        assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
        assert float((mean - draws.mean(0)).abs().max()) < 0.02  # 6 standard errors, for a standard deviation of 1.5
        spread = weights @ ((x - mean).square() + std.square()[:, None])
        torch.testing.assert_close(spread, draws.var(0), rtol=0.03, atol=1e-3)
        if variance is not None:
            assert float(spread.mean()) == pytest.approx(variance, rel=1e-2)
    x, _, weights = spread_evenly(Arc(2.0, 0, math.pi))
    torch.testing.assert_close(weights @ x, torch.tensor([0, 4 / math.pi], dtype=torch.float64), rtol=1e-5, atol=1e-9)
    with pytest.raises(TypeError, match=r"a sphere must be that of R\^2 or R\^3; given Sphere\(dim=4"):
        spread_evenly(Sphere(4))


# --- The laws


def shortly(*names: str) -> list:
    """Those of two moons, which take as long as all others together, are slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if "two-moons" in name else name for name in names]


@cache
def errors_of(name: str) -> pd.DataFrame:
    """Those of every method on the case's grid. 60 digits take long: the tests of a case share them."""
    return measured([name])


@pytest.mark.parametrize("name", shortly("ring", "sphere", "segment", "8-ring", "two-moons"))
def test_the_laws_have_ten_digits(name: str) -> None:
    law, points, distances = CASES[name]
    errors = errors_of(name).query("method == 'law' and bits == 64")
    assert len(errors) == len(NSR) * len(distances) * 3
    for cell in errors.itertuples():
        # modes whose means cancel: x0hat is 5e-7 at nsr 1e3, and moves by EPS with the modes, which are 1 from 0
        slack = 0.0
        if cell.quantity == "x0hat":
            truth = exact(law, points(law, cell.distance), float(torch.tensor(cell.nsr, dtype=torch.float32)))
            slack = EPS / float(torch.linalg.vector_norm(truth.x0hat, dim=-1).min())
        assert cell.error < 1e-10 + slack, cell


def tie(law: Mixture, distance: float, nsr: float) -> Tensor:
    """A point at that distance from 0 which is as likely to come from the first part as from the second; [1, 2]."""

    def place(t: float) -> Tensor:
        return distance * torch.tensor([[math.cos(t), math.sin(t)]], dtype=torch.float64)

    def first(t: float) -> bool:
        _, gaps, _ = law._compared(place(t), torch.tensor([nsr], dtype=torch.float64))
        return bool(gaps[0, 0] > gaps[0, 1])

    low = next(t for t in (0.1 * k for k in range(63)) if first(t) != first(t + 0.1))
    high, side = low + 0.1, first(low)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if first(middle) == side else (low, middle)
    return place(low)


@pytest.mark.parametrize("name", CASES)
def test_points_are_at_the_distance_that_the_table_says(name: str) -> None:
    """From the support, along its normals in float32; at a tie, from the two nearest parts."""
    law, points, distances = CASES[name]
    for distance in distances:
        y = points(law, distance)
        assert y.shape == (1 if "tie" in name else 2, law.dim)
        assert law.project(y).abs().max() < 3
        if "tie" in name:
            parts = law.laws if isinstance(law, Mixture) else [Gaussians([mean]) for mean in MEANS_OF_EIGHT]
            gaps = torch.cat([part.distance(y) for part in parts]).sort().values
            assert gaps[:2].tolist() == pytest.approx([distance] * 2, rel=1e-12)
        elif name != "8-ring":  # whose support is the plane
            assert law.distance(y).tolist() == pytest.approx([distance] * 2, rel=1e-6, abs=1e-6)


MEANS_OF_EIGHT = [(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)]


def relative_error(x0hat: Tensor, wanted: Tensor) -> float:
    return float(torch.linalg.vector_norm(x0hat - wanted) / torch.linalg.vector_norm(wanted))


def change(law: Law, y: Tensor, nsr: float) -> float:
    """The relative change of x0hat when a coordinate of y moves by EPS ||y||, the larger of the two."""
    step = EPS * torch.linalg.vector_norm(y) * torch.eye(2, dtype=torch.float64)
    wanted = exact(law, y, nsr).x0hat
    return max(relative_error(exact(law, y + move, nsr).x0hat, wanted) for move in step)


TIED = {
    "arcs": Mixture([Arc(1.0, 0, 2), Arc(0.7, 3, 5, (0.3, 0.2))]),
    "segments": Mixture([Segment((-1.3, 0.2), (0.1, 0.7)), Segment((0.9, 0.6), (1.1, -0.8))], (0.3, 0.7)),
    "circle and point": Mixture([Sphere(2), Gaussians([(1.2, 0.9)])]),
    "within a mixture": Mixture([Mixture([Sphere(2, 0.3), Segment((0.5, 0.1), (1.3, 0.4))]), Arc(1.0, 2, 4)]),
}


@pytest.mark.parametrize("name", TIED)
def test_ties_far_out_are_decided_to_a_rounding_of_y(name: str) -> None:
    """At 1e3 and nsr 1e-3 that is 4e-8 to 2e-7; log densities, which round at 1e-4, err by more when subtracted."""
    law, nsr = TIED[name], 1e-3
    y = tie(law, 1e3, nsr)
    wanted, moved = exact(law, y, nsr).x0hat, change(law, y, nsr)
    log_densities = torch.stack([part.log_density(y, 1.0, nsr) for part in law.laws], -1) + law._weights.log()
    means = torch.stack([part.denoise(y, 1.0, nsr) for part in law.laws], -2)
    plain = (log_densities.softmax(-1)[..., None] * means).sum(-2)
    assert 1e-8 < moved < 1e-6  # there is a tie
    assert relative_error(law.denoise(y, 1.0, nsr), wanted) < 2 * moved
    assert relative_error(plain, wanted) > 2 * moved


MEANS = [(0.25, -1.0), (1.5, 0.5)]
POINTS = [Gaussians([mean]) for mean in MEANS]
WRAPPED: dict[str, tuple[list[Law], float]] = {  # ways to write points (with a std) at MEANS
    "scaled": ([Scaled(Gaussians([(0.125, -0.5)]), 2.0), Scaled(Gaussians([(3.0, 1.0)]), 0.5)], 0.0),
    "embedded": (
        [Embedded(Gaussians([(0.25,)]), [(1,), (0,)], (0, -1)), Embedded(Gaussians([(0.5,)]), [(0,), (1,)], (1.5, 0))],
        0.0,
    ),
    "rotated": ([POINTS[0], Embedded(Gaussians([(0.0, 1.0)]), [(0, 1), (-1, 0)], (0.5, 0.5))], 0.0),
    "product": ([Product(Gaussians([(a,)]), Gaussians([(b,)])) for a, b in MEANS], 0.0),
    "thickened": ([Thickened(point, 0.001) for point in POINTS], 0.001),
    "thickened product": (
        [Product(*[Thickened(Gaussians([(v,)]), 0.001) for v in mean]) for mean in MEANS],
        0.001,
    ),
    "thickened, embedded": (
        [Thickened(Embedded(Gaussians([(0.25,)]), [(1,), (0,)], (0, -1)), 0.001), Gaussians([MEANS[1]], 0.001)],
        0.001,
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("distance", [1.0, 1e3])
def test_combinators_hand_on_the_digits_at_ties(name: str, distance: float) -> None:
    parts, std = WRAPPED[name]
    law, plain = Mixture(parts), Gaussians(MEANS, std)
    nsr = 1e-3
    y = tie(Mixture([Gaussians([mean], std) for mean in MEANS]), distance, nsr)
    moved = change(plain, y, nsr)
    score, x0hat, log_density = relative_errors(by_law(law, y, nsr), exact(plain, y, nsr), nsr)
    assert moved > 1e-11  # there is a tie
    assert x0hat < 2 * moved
    assert score < 2 * moved
    assert log_density < 1e-14


def test_parts_of_unequal_thickness_at_a_tie() -> None:
    law, plain = (
        Mixture([Gaussians([m], s) for m, s in zip(MEANS, (0.1, 0.3), strict=True)]),
        Gaussians(MEANS, (0.1, 0.3)),
    )
    y = tie(law, 1.0, 0.2)
    assert max(relative_errors(by_law(law, y, 0.2), exact(plain, y, 0.2), 0.2)) < 1e-14


UNLIKE = [Embedded(Gaussians([(0.5,)], 0.4), [(1,), (0,)]), Product(Gaussians([(1.0,)]), Gaussians([(0.5,)], 0.2))]


@pytest.mark.parametrize("law", [*LAWS.values(), *AROUND_THICK.values(), *UNLIKE, Mixture(UNLIKE)], ids=repr)
def test_the_two_parts_make_the_density(law: Law) -> None:
    y = 2 * torch.randn(20, law.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nsr = torch.linspace(0.1, 2, 20, dtype=torch.float64)
    log_density, mean, anchor, variance, rest = law._anchored(y, nsr)
    whole = rest - (y - anchor).square().sum(-1) / (2 * variance)
    torch.testing.assert_close(whole, log_density, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_density, law.log_density(y, 1.0, nsr), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(mean, law.denoise(y, 1.0, nsr), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["checkerboard", "ring", "segment", "box", "mixed", "8-ring", "swiss-roll", "square"])
def test_the_anchor_is_the_nearest_point_where_there_is_little_noise(name: str) -> None:
    law = make(name, std=0.0) if name == "8-ring" else make(name)
    y = 3 * torch.randn(50, law.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    anchor = law._anchored(y, torch.full((50,), 1e-3, dtype=torch.float64)).anchor
    torch.testing.assert_close(anchor, law.project(y), rtol=0, atol=1e-12)


def test_squares_of_a_board_at_a_tie() -> None:
    """Far along a diagonal two black squares are nearest; a change of y in its last place moves x0hat by 1e-8."""
    y = (-700.0, 700.0 + 1e-6)
    _, wanted = board_by_erf(y, 4, 1e-3)
    found = make("checkerboard").denoise(torch.tensor(y, dtype=torch.float64), 1.0, 1e-3)
    assert float((found - torch.from_numpy(wanted)).norm()) < 1e-7  # shares: 0.25 ulp(700) / 2 nsr^2 = 3e-8, 4 times


# --- What one would otherwise write


@pytest.mark.parametrize(("dtype", "least"), [(torch.float64, 38.6), (torch.float32, 14.4)])
def test_the_plain_mixture_is_nan_where_exp_underflows(dtype: torch.dtype, least: float) -> None:
    """exp(-r^2 / 2) is 0 from r = 38.6 on in float64, from 14.4 on in float32."""
    law = Gaussians([(0.0, 0.0)])
    inside, outside = (torch.tensor([[r * least, 0.0]], dtype=dtype) for r in (0.98, 1.02))
    assert all(part.isfinite().all() for part in by_mixture(law, inside, 1.0))
    assert not any(part.isfinite().any() for part in by_mixture(law, outside, 1.0))
    assert relative_errors(by_mixture(law, outside, 1.0), exact(law, outside, 1.0), 1.0) == [math.inf] * 3
    assert all(part.isfinite().all() for part in by_law(law, outside, 1.0))


@pytest.mark.parametrize("name", ["ring", "sphere", "segment", "8-ring", "two-moons"])
def test_the_plain_mixture_is_the_law_where_nothing_underflows(name: str) -> None:
    """Its nodes are 1e-3 of the law apart, and 4e-2 on the sphere: it errs by their square at most."""
    law, points, _ = CASES[name]
    y = points(law, 1.0)
    errors = relative_errors(by_mixture(law, y, 1.0), exact(law, y, 1.0), 1.0)
    assert max(errors) < (1e-3 if name == "sphere" else 1e-5)


def test_draws_are_an_average_about_the_truth() -> None:
    """A mean of 8 samples is 10 of its standard errors from the truth once in 5e4 (Student, 7 degrees of freedom)."""
    law, points, _ = CASES["ring"]
    y = points(law, 1.0)
    truth, found = exact(law, y, 1.0), by_draws(law, y, 1.0)
    for samples, wanted in zip(found, truth, strict=True):
        assert len(samples) == SAMPLES
        spread = samples.std(0) / math.sqrt(SAMPLES)
        assert (spread > 0).all()
        assert ((samples.mean(0) - wanted).abs() < 10 * spread).all()


def test_kernel_density_is_scipys() -> None:
    law, points, _ = CASES["ring"]
    y = points(law, 0.01)
    estimate = by_kde(law, y, 0.1)
    noise = torch.randn(DRAWS, 2, generator=torch.Generator().manual_seed(SAMPLES + 1), dtype=torch.float64)
    density = gaussian_kde((prior(law, SAMPLES, torch.float64) + 0.1 * noise).T.numpy(), bw_method="scott")
    torch.testing.assert_close(estimate.log_density, torch.from_numpy(density.logpdf(y.T.numpy())))
    slopes = []
    for i in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[i] = 1e-5
        up, down = (torch.from_numpy(density.logpdf((y + sign * step).T.numpy())) for sign in (1, -1))
        slopes.append((up - down) / 2e-5)
    torch.testing.assert_close(estimate.score, torch.stack(slopes, -1), rtol=1e-6, atol=1e-6)


RECORDED = {(r["law"], r["method"], int(r["bits"]), r["quantity"]): r for r in rows_of(RESULTS / "accuracy.csv")}


def differing(found: pd.DataFrame, recorded: dict, cells: int) -> list[tuple]:
    """The keys of rows that are not as recorded, as far as two processors agree.

    nan: one cell of the grid may be on the other side of an underflow. digits: on another processor all errors may be
    other draws of rounding (the worst of two numbers: log10 has the standard deviation 0.3). Then the mean of the
    difference over n cells has 0.3 sqrt(2 / n), and five of these are allowed: 0.39 for n = 30.
    """
    return [
        key
        for key, row in found.iterrows()
        if abs(row["nan"] - float(recorded[key]["nan"])) > 1.01 / cells
        or abs(row.digits - float(recorded[key]["digits"])) > 5 * 0.3 * math.sqrt(2 / cells) + 16 * 1.01 / cells
        or (
            abs(row["nan"] - float(recorded[key]["nan"])) < 1e-9
            and abs(row.digits - float(recorded[key]["digits"])) > 5 * 0.3 * math.sqrt(2 / cells)
        )
    ]


@pytest.mark.parametrize("name", shortly(*CASES))
def test_the_table_is_the_one_recorded(name: str) -> None:
    errors = errors_of(name)
    cells = errors.groupby(["method", "bits", "quantity"]).size().min()
    found = summary(errors)
    assert list(found.index) == [key for key in RECORDED if key[0] == name]
    assert differing(found, RECORDED, cells) == []


def test_a_table_of_other_numbers_is_told() -> None:
    """Ten times the errors everywhere; a share of NaN that grew by two cells; float32 for float64."""
    errors = errors_of("segment")
    found, cells = summary(errors), 30
    recorded = found.to_dict("index")
    assert differing(found, recorded, cells) == []
    worse = errors.assign(error=errors.error.where(errors.error > 1e-2, 10 * errors.error.clip(1e-16)))
    law = [key for key in found.index if key[1] == "law"]
    assert set(law) <= set(differing(summary(worse), recorded, cells))
    gone = errors.copy()
    rows = gone.index[(gone.method == "draws") & (gone.bits == 64) & (gone.quantity == "score")][:2]
    gone.loc[rows, "error"] = math.inf
    assert differing(summary(gone), recorded, cells) == [("segment", "draws", 64, "score")]
    coarse = errors.assign(bits=errors.bits.map({32: 64, 64: 32}))
    assert set(law) <= set(differing(summary(coarse), recorded, cells))


def test_cases_are_those_recorded() -> None:
    assert list(dict.fromkeys(law for law, *_ in RECORDED)) == list(CASES)


# --- The command


def test_the_table_is_printed_whole() -> None:
    rows = [
        ("ring", "draws", 64, "score", 1.0, 0.0, 0.02, 0.01, 0.04),
        ("ring", "draws", 64, "score", 1.0, 1.0, 0.02, 0.01, 0.06),
        ("ring", "draws", 64, "score", 1.0, 2.0, 0.02, 0.0, 0.06),
        ("ring", "law", 32, "score", 1.0, 0.0, 2e-9, 2e-9, 2e-9),
        ("ring", "law", 32, "score", 1.0, 1.0, math.inf, math.inf, math.inf),
    ]
    console = Console(file=io.StringIO(), width=200)
    print_summary(pd.DataFrame(rows, columns=Cell._fields), console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines == [
        "share of the grid (%) that is NaN, has fewer than 3, than 8 digits; worst error",
        "         score",
        "ring       NaN  <3  <8 worst",
        "law 32      50  50  50   NaN",
        "draws 64     0 100 100 2e-02",
        "draws: of 8 samples, the worst errs 5.0 times as much as the best (score, median)",
    ]


def test_on_a_terminal_numbers_have_no_colours(monkeypatch, capsys) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    rows = [("ring", "draws", 64, "score", 1.0, 0.0, 0.02, 0.01, 0.04)]
    monkeypatch.setattr(accuracy, "measured", lambda names: pd.DataFrame(rows, columns=Cell._fields))
    assert run(main, []) == 0
    printed = capsys.readouterr().out
    assert "\x1b[1m" in printed  # headings are bold
    assert "draws: of 8 samples, the worst errs 4.0 times" in printed


def test_the_digits_are_printed_by_nsr_and_distance() -> None:
    rows = [
        ("ring", "law", 64, "score", 10.0, 0.01, 1e-12, 0.0, 0.0),
        ("ring", "law", 64, "score", 10.0, 100.0, 3e-5, 0.0, 0.0),
        ("ring", "law", 64, "score", 0.1, 0.01, math.inf, 0.0, 0.0),
        ("ring", "law", 64, "score", 0.1, 100.0, 7.0, 0.0, 0.0),
    ]
    console = Console(file=io.StringIO(), width=200)
    print_grids(pd.DataFrame(rows, columns=Cell._fields), console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "",
        "correct digits of score, law in float64: distance across, nsr down",
        "           0.01    100",
        "     0.1    NaN    0.0",
        "      10   12.0    4.5",
    ]


def test_summary_counts_what_is_not_finite_as_without_digits() -> None:
    errors = pd.DataFrame(
        {"law": "ring", "method": "kde", "bits": 64, "quantity": "score", "error": [1e-12, 1e-5, 1e-2, math.inf]}
    )
    row = summary(errors).loc[("ring", "kde", 64, "score")]
    assert row.to_dict() == {"nan": 0.25, "below3": 0.5, "below8": 0.75, "digits": 19 / 4, "worst": math.inf}
    assert [digits(error) for error in (0.0, 1e-5, 7.0, math.inf)] == ["16.0", "5.0", "0.0", "NaN"]


def test_command_prints_and_writes(tmp_path, capsys) -> None:
    path = tmp_path / "accuracy.json"
    assert run(main, ["--law", "segment", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "mixture 64" in printed
    assert "correct digits of x0hat, kde in float32" in printed
    entries = json.loads(path.read_text())
    assert len(entries) == 6 * 5 * 4 * 2 * 3  # nsr, distances, methods, dtypes, quantities
    own = [entry["error"] for entry in entries if entry["method"] == "law" and entry["bits"] == 64]
    assert max(own) < 1e-10
    plain = {(e["nsr"], e["distance"]): e["error"] for e in entries if e["method"] == "mixture" and e["bits"] == 64}
    assert plain[0.01, 1e3] is None
    assert plain[1.0, 1.0] < 1e-3


def test_errors_that_cannot_be_written_leave_nothing(tmp_path, capsys) -> None:
    (tmp_path / "taken").mkdir()
    assert run(main, ["--law", "segment", "--json", str(tmp_path / "taken")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'taken'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--law", "rign"], "unknown law 'rign'.*did you mean 'ring'"),
        (["--json", "/nowhere/a.json"], "--json: /nowhere is not a directory"),
        (["--others", "--csv", "/nowhere/a.csv"], "--csv: /nowhere is not a directory"),
        (["--others", "--law", "ring"], "--others prints a table of its own"),
        (["--csv", "a.csv"], "--csv writes the table of --others"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], says: str, capsys) -> None:
    assert run(main, arguments) == 2
    error = capsys.readouterr().err
    assert re.search(says, error)
    assert error.count("\n") == 1


def test_each_coordinate_moves_alone() -> None:
    """To the next number in float64, above."""
    seen: list[torch.Tensor] = []

    def keep(law: Law, y: torch.Tensor, nsr: float) -> Estimate:
        seen.append(y)
        return Estimate(y, y, y[..., 0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "exact", keep)
        found = methods.by_moving(Sphere(2), torch.tensor([[1.0, -3.0]], dtype=torch.float64), 0.1)
    one, three = 1 + 2.0**-52, -3 + 2.0**-51
    assert seen[0].tolist() == [[one, -3.0], [1.0, three]]
    assert found.score.shape == (2, 1, 2)
