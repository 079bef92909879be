"""Arcs against mpmath: density and posterior mean, on the arc, at its ends, at the centre, opposite, far out, wide."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import atan2, cos, hypot, log, pi, sin
from typing import TypeAlias

import mpmath as mp
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath.calculus.quadrature import GaussLegendre

from theory.manifolds import Arc

RELATIVE = 1e-11  # the requirement is 1e-10; measured: 2e-13 (density), 1e-13 (mean)
EPS = torch.finfo(torch.float64).eps
Integrals: TypeAlias = Callable[
    [Callable[[mp.mpf], mp.mpf], list[tuple[mp.mpf, mp.mpf]]], tuple[mp.mpf, mp.mpc]
]  # of f and f e^(it) over pieces

angles = st.just(pi) | st.floats(0.01, 6.2)  # of the arc
levels = st.floats(-3, 3).map(lambda e: 10.0**e)
distances = st.just(0.0) | st.floats(-6, 3).map(lambda e: 10.0**e)
places = st.sampled_from(["from the centre", "about the circle", "opposite", "beyond an end", "inside an end"])


def place(kind: str, start: float, stop: float, s: float, distance: float, turn: float) -> tuple[float, float]:
    """A point of the plane; turn in [-1, 1]."""
    middle = (start + stop) / 2
    r, angle = {
        "from the centre": (distance, middle + turn * pi),
        "about the circle": (max(1 + s * (distance % 12 - 6), 0.0), middle + turn * pi),
        "opposite": (distance, middle + pi - 1e-3 * turn),
        "beyond an end": (distance, stop + s * (distance % 8) * abs(turn)),
        "inside an end": (distance, stop - s * (distance % 8) * abs(turn)),
    }[kind]
    return r * cos(angle), r * sin(angle)


def exact(
    y: tuple[float, float], start: float, stop: float, s: float, integrals: Integrals | None = None
) -> tuple[mp.mpf, mp.mpc, mp.mpf]:
    """(log density, mean as a complex number, its Lipschitz constant) of X + s eps, X uniform on the unit arc.

    Gauss-Legendre of 24 nodes in 30 digits over pieces graded about every place where the integrand may peak: the
    nearest point of the circle, and both ends. Exact to 1e-15 (`test_the_rule_is_the_adaptive_integral`).
    """
    integrals = by_rule if integrals is None else integrals
    with mp.workdps(30):
        start, stop, s = mp.mpf(start), mp.mpf(stop), mp.mpf(s)
        rho, phi = mp.hypot(mp.mpf(y[0]), mp.mpf(y[1])), mp.atan2(mp.mpf(y[1]), mp.mpf(y[0]))
        kappa = rho / s**2

        def exponent(t: mp.mpf) -> mp.mpf:
            return -2 * kappa * mp.sin((t - phi) / 2) ** 2

        peaks = [start, stop, *[t for n in range(-2, 3) if start < (t := phi + 2 * mp.pi * n) < stop]]
        cuts = {start, stop}
        for peak in peaks:
            width = 1 / max(kappa * abs(mp.sin(peak - phi)), mp.sqrt(kappa), mp.mpf("0.1"))
            steps = [sign * width * j for j in (0, 1, 2, 4, 8, 12, 16, 25, 40, 60, 90) for sign in (-1, 1)]
            cuts |= {peak + step for step in steps if start < peak + step < stop}
        top = max(map(exponent, peaks))
        ends = sorted(cuts)
        pieces = [
            (a, b)
            for a, b in pairwise(ends)
            if max(exponent(a), exponent(b)) > top - 80  # no peak lies inside a piece
        ]

        mass, moment = integrals(lambda t: mp.exp(exponent(t) - top), pieces)
        mean = moment / mass
        log_density = mp.log(mass / (stop - start)) + top - (rho - 1) ** 2 / (2 * s**2) - mp.log(2 * mp.pi * s**2)
        return log_density, mean, (1 - abs(mean) ** 2) / s**2  # Var[X | y] / s^2, as |X| = 1


def by_rule(f: Callable[[mp.mpf], mp.mpf], pieces: list[tuple[mp.mpf, mp.mpf]]) -> tuple[mp.mpf, mp.mpc]:
    """The integrals of f and f e^(it) over the pieces."""
    places = [((a + b) / 2 + (b - a) / 2 * x, w * (b - a) / 2) for a, b in pieces for x, w in nodes()]
    terms = [(t, w * f(t)) for t, w in places]
    return mp.fsum(term for _, term in terms), mp.fsum(term * mp.expj(t) for t, term in terms)


@cache
def nodes() -> list[tuple[mp.mpf, mp.mpf]]:
    """24 nodes and weights of Gauss and Legendre on [-1, 1]."""
    return GaussLegendre(mp.mp).calc_nodes(4, 110)


def adaptively(f: Callable[[mp.mpf], mp.mpf], pieces: list[tuple[mp.mpf, mp.mpf]]) -> tuple[mp.mpf, mp.mpc]:
    """The same by mpmath's adaptive quadrature."""
    mass = mp.fsum(mp.quad(f, piece) for piece in pieces)
    return mass, mp.fsum(mp.quad(lambda t: f(t) * mp.expj(t), piece) for piece in pieces)


def agrees(law: Arc, y: tuple[float, float], wanted: tuple[mp.mpf, mp.mpc, mp.mpf], s: float) -> bool:
    """To RELATIVE, or to what moving y by 4 units in its last place does to the mean, where that is more."""
    u = torch.tensor(y, dtype=torch.float64)
    log_density, mean, slope = wanted
    found = mp.mpc(*law.denoise(u, 1.0, s).tolist())
    slack = RELATIVE * abs(mean) + 4 * EPS * (hypot(*y) + 1) * slope
    return (
        abs(law.log_density(u, 1.0, s).item() - log_density) <= RELATIVE * max(abs(log_density), 1)
        and abs(found - mean) <= slack
    )


@settings(max_examples=70)
@given(angle=angles, start=st.floats(-4, 4), s=levels, kind=places, distance=distances, turn=st.floats(-1, 1))
@example(angle=pi, start=0.0, s=1e-3, kind="opposite", distance=1e3, turn=1.0)
@example(angle=6.2, start=0.0, s=1e-3, kind="opposite", distance=1.0, turn=0.0)
@example(angle=pi, start=0.0, s=1e-3, kind="about the circle", distance=0.0, turn=0.1)
@example(angle=1.0, start=0.0, s=1e-3, kind="from the centre", distance=1e3, turn=0.1)
@example(angle=6.2, start=0.0, s=0.316, kind="about the circle", distance=6.0, turn=0.98)  # mass 3 rad away counts
@example(angle=1.0, start=0.0, s=0.05, kind="from the centre", distance=1.0, turn=0.7)  # a slope at the end
@example(angle=2.0, start=0.0, s=0.3, kind="beyond an end", distance=5.0, turn=1.0)  # a quarter turn beyond it
@example(angle=1.0, start=0.0, s=1e3, kind="from the centre", distance=0.0, turn=0.0)
def test_density_and_mean(angle: float, start: float, s: float, kind: str, distance: float, turn: float) -> None:
    y = place(kind, start, start + angle, s, distance, turn)
    assert agrees(Arc(1.0, start, start + angle), y, exact(y, start, start + angle, s), s)


@pytest.mark.parametrize("s", [1e-3, 0.05, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("kind", ["about the circle", "opposite", "beyond an end", "inside an end"])
def test_the_rule_is_the_adaptive_integral(kind: str, s: float) -> None:
    y = place(kind, 0.3, 4.3, s, 0.9, 0.4)
    by_24, wanted = (exact(y, 0.3, 4.3, s, integrals) for integrals in (by_rule, adaptively))
    assert max(abs(a - b) for a, b in zip(by_24[:2], wanted[:2], strict=True)) < 1e-15


@settings(max_examples=10)
@given(angle=st.floats(0.5, 5), s=levels, distance=distances)
def test_control_a_longer_arc_is_rejected(angle: float, s: float, distance: float) -> None:
    y = place("beyond an end", 0.0, angle, s, distance, 1.0)
    longer = Arc(1.0, -1e-9 * angle, angle * (1 + 1e-9))
    assert not agrees(longer, y, exact(y, 0.0, angle, s), s)


def test_radius_and_centre() -> None:
    """By similarity: y = c + R u at nsr R s."""
    law, unit = Arc(2.5, 0.3, 2.0, (1.0, -2.0)), Arc(1.0, 0.3, 2.0)
    u = torch.tensor([[0.3, 0.9], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([1.0, -2.0], dtype=torch.float64) + 2.5 * u
    wanted = torch.tensor([1.0, -2.0], dtype=torch.float64) + 2.5 * unit.denoise(u, 1.0, 0.3)
    torch.testing.assert_close(law.denoise(y, 1.0, 0.75), wanted, rtol=1e-13, atol=1e-13)
    shift = law.log_density(y, 1.0, 0.75) - unit.log_density(u, 1.0, 0.3)
    torch.testing.assert_close(shift, torch.full_like(shift, -2 * log(2.5)), rtol=1e-13, atol=1e-13)


def test_far_beyond_what_the_window_resolves() -> None:
    """At distance 1e30 in float32, 1e100 in float64: the mean is the nearest point, no rounding overflows."""
    law = Arc(1.0, 0.0, 2.0)
    angles = [0.1 * k for k in range(1, 20)] + [3.0, -0.5, 4.0]
    directions = torch.tensor([(cos(angle), sin(angle)) for angle in angles], dtype=torch.float64)
    for y in [*(1e30 * directions).float(), *(1e100 * directions)]:
        y.requires_grad_()
        mean = law.denoise(y, 1.0, 1e-3)
        torch.testing.assert_close(mean, law.project(y))
        (slope,) = torch.autograd.grad(mean.sum() + law.log_density(y, 1.0, 1e-3), y)
        assert slope.isfinite().all()


def test_gradgradcheck() -> None:
    """Two derivatives in the point (at the centre, on the axis, outside) and in the level."""
    law = Arc(1.0, -1.0, 1.5)
    u = torch.tensor([[0.3, 0.9], [0.0, 0.0], [-2.0, 0.1], [cos(0.25), sin(0.25)]], dtype=torch.float64)
    s = torch.tensor([0.4, 0.8, 2.5, 0.2], dtype=torch.float64)
    for f in (law.denoise, law.log_density):
        inputs = (u.clone().requires_grad_(), s.clone().requires_grad_())
        assert torch.autograd.gradcheck(lambda u, s, f=f: f(u, 1.0, s), inputs)
        assert torch.autograd.gradgradcheck(lambda u, s, f=f: f(u, 1.0, s), inputs)


@pytest.mark.parametrize(("point", "nearest"), [((2.0, 2.0), pi / 4), ((-1.0, -0.1), pi), ((0.1, -3.0), 0.0)])
def test_projection(point: tuple[float, float], nearest: float) -> None:
    found = Arc().project(torch.tensor(point, dtype=torch.float64)).tolist()
    assert atan2(found[1], found[0]) == pytest.approx(nearest, abs=1e-15)
    assert hypot(*found) == pytest.approx(1)
