"""critical_nsr: its examples, its invariances, laws of unequal parts, and what has no critical noise."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

from theory import critical_noise as critical
from theory.critical_noise import (
    critical_nsr,
    critical_nsr_of_sphere,
    detached_potential,
    full_potential,
    mean_and_width,
    mean_resultant,
    minimum_near,
    support_points,
)
from theory.manifolds import Embedded, Gaussians, Mixture, Scaled, Sphere, Thickened, make
from theory.regularity import pointwise_loss

PAIR = Gaussians([(-1.0,), (1.0,)])


def minima(law: Gaussians, nsr: float, low: float = -1.5, high: float = 3.5) -> list[float]:
    """The local minima of ell on a line, on a grid of 501 places, by the adaptive quadrature of `pointwise_loss`."""
    x = torch.linspace(low, high, 501, dtype=torch.float64)
    ell = pointwise_loss(law, x[:, None], 1.0, nsr)
    return x[1:-1][(ell[1:-1] < ell[:-2]) & (ell[1:-1] < ell[2:])].tolist()


def test_the_examples_run():
    found = doctest.testmod(critical)
    assert found.attempted >= 5
    assert found.failed == 0


def test_it_is_the_same_wherever_the_law_is_put_and_scales_with_it():
    at_home = critical_nsr(PAIR)
    moved = Gaussians([(40.0,), (40.5,)])  # half a unit apart: a quarter of the size
    assert critical_nsr(moved) == pytest.approx(at_home / 4, rel=1e-5)
    in_a_plane = Embedded(PAIR, ((0.6,), (0.8,)), offset=(3.0, -2.0))
    assert critical_nsr(in_a_plane) == pytest.approx(at_home, rel=1e-5)
    assert critical_nsr(Gaussians([(0.0, 0.0), (1.2, 1.6)])) == pytest.approx(at_home, rel=1e-5)
    assert critical_nsr(Scaled(PAIR, 3.0)) == pytest.approx(3 * at_home, rel=1e-9)
    assert critical_nsr(make("ring", dim=16, radius=2.0)) == pytest.approx(2 * critical_nsr(Sphere(2)), rel=1e-9)


def test_thickness_raises_it():
    assert critical_nsr(Thickened(PAIR, 0.1)) == pytest.approx(critical_nsr(Gaussians(PAIR.means, 0.1)), rel=1e-4)


@pytest.mark.parametrize(
    ("law", "at", "counts"),
    [
        (Gaussians([(-1.0,), (1.0,)], weights=(0.8, 0.2)), 0.80366, (2, 1)),
        (Gaussians([(-1.0,), (0.0,), (3.0,)]), 0.49809, (3, 2)),
    ],
)
def test_unequal_parts_lose_the_first_minimum_there(law, at, counts):
    """The counted minima are those of another quadrature, 1 % below and above."""
    assert critical_nsr(law) == pytest.approx(at, abs=1e-4)
    assert (len(minima(law, 0.99 * at)), len(minima(law, 1.01 * at))) == counts


def test_the_followed_minimum_is_one():
    law = Gaussians([(-1.0,), (0.0,), (3.0,)])
    found = float(minimum_near(full_potential(law), torch.tensor([3.0]).double(), 0.6, 0.5))
    assert min(abs(found - x) for x in minima(law, 0.6, 2.5, 3.5)) < 3e-3


def test_two_points_are_the_sphere_of_a_line():
    for detach in (False, True):
        assert critical_nsr(PAIR, detach) == pytest.approx(critical_nsr_of_sphere(1, detach), rel=1e-5)


def test_three_points_on_a_line_detached():
    """The outer two vanish at once, by folds: the middle one is a minimum on either side."""
    found = critical_nsr(Gaussians([(-1.0,), (0.0,), (1.0,)]), detach=True)
    potential = detached_potential(Gaussians([(-1.0,), (0.0,), (1.0,)]))
    for factor, stays in ((0.99, True), (1.01, False)):
        x = minimum_near(potential, torch.tensor([-0.8]).double(), factor * found, 0.5)
        assert (float(x.abs()) > 0.1) == stays


def test_spheres_of_every_dimension():
    assert critical_nsr(Sphere(3)) == pytest.approx(0.5979, abs=1e-4)
    for d in (100, 1000):
        assert critical_nsr(Sphere(d)) * math.sqrt(d) == pytest.approx(1.0479, rel=2e-3)
        assert critical_nsr(Sphere(d), detach=True) * math.sqrt(2 * d) == pytest.approx(1, rel=2e-3)


def test_laws_that_are_symmetric_about_a_mean_off_them():
    corners = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    square, points = critical_nsr(make("square")), critical_nsr(Gaussians(corners))
    assert 0.7 < square < 0.9 < points < 1.1


def test_mean_and_width():
    mean, width = mean_and_width(Gaussians([(0.0, 1.0), (2.0, 1.0)], weights=(0.25, 0.75)))
    assert mean.tolist() == pytest.approx([1.5, 1.0], abs=1e-9)
    assert width == pytest.approx(0.75**0.5, rel=1e-6)


def test_support_points():
    found = support_points(Mixture([Gaussians([(0.0, 1.0)], 0.3), Gaussians([(2.0, 1.0)])]))
    assert found is not None
    assert sorted(found.tolist()) == [[0.0, 1.0], [2.0, 1.0]]
    assert support_points(Sphere(2)) is None


def test_the_mean_resultant_has_its_limit_where_bessel_functions_underflow():
    for d, kappa in ((400, 1e-3), (128, 0.5)):
        assert mean_resultant(d, kappa) == pytest.approx(kappa / d, rel=1e-4)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (Gaussians([(0.0, 0.0)]), "more than one point: a single one attracts at every noise"),
        (Gaussians([(0.0, 0.0)], std=1.0), "more than one point: a single one attracts at every noise"),
        (make("segment"), "takes laws whose mean is off M; it is on M"),
        (make("mixed"), "E.X. is a critical point of ell at every noise; at nsr .* it has the slope"),
        (make("torus"), "dim at most 3, for which ell is a quadrature; given 4"),
    ],
)
def test_laws_without_one_are_refused_by_name(law, says):
    with pytest.raises(ValueError, match=says) as caught:
        critical_nsr(law)
    assert "\n" not in str(caught.value)


def test_a_minimum_is_found_as_finely_in_a_small_unit() -> None:
    """The slope there is below 1e-9 of the law's size."""
    for scale in (1e-3, 1.0, 1e3):

        def potential(x: torch.Tensor, nsr: float, scale: float = scale) -> torch.Tensor:
            u = x / scale
            return scale**2 * (u.square().sum() + u.pow(4).sum())

        start = torch.tensor([scale, -0.5 * scale], dtype=torch.float64)
        u = minimum_near(potential, start, 1.0, scale) / scale
        assert float((2 * u + 4 * u**3).norm()) < 1e-9
