"""curvature_term: its examples, against the loss itself, the rules for combined laws, and what it refuses."""

from __future__ import annotations

import doctest
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.special import roots_genlaguerre

from theory import curvature
from theory.critical_noise import mean_resultant
from theory.curvature import curvature_term
from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    make,
    random_isometry,
)


def at(*x: float) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


def test_the_examples_run():
    found = doctest.testmod(curvature)
    assert found.attempted >= 5
    assert found.failed == 0


@pytest.mark.parametrize(("n", "radius"), [(1, 2.0), (2, 1.0), (3, 1.0), (3, 2.0), (4, 2.0)])
def test_spheres_of_more_dimensions(n, radius):
    """C1 asks on curves and surfaces alone. Here ell is a mean over a normal and a chi variable: eps towards the pole
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

    pole = radius * torch.eye(n + 1, dtype=torch.float64)[0]
    predicted = float(curvature_term(Sphere(n + 1, radius), pole))
    assert (4 * rate(0.04) - rate(0.08)) / 3 == pytest.approx(predicted, rel=1e-3)


def test_a_smooth_density_has_hyvarinens_integrand():
    x = at(0.3, -0.2)
    assert float(curvature_term(Gaussians([(0.0, 0.0)], 0.5), x)) == pytest.approx(-16 + 0.13 * 16, rel=1e-12)
    several = Gaussians([(0.0, 0.0), (1.0, 0.5)], (0.5, 0.3), (0.6, 0.4))
    parts = Mixture([Gaussians([(0.0, 0.0)], 0.5), Thickened(Gaussians([(1.0, 0.5)]), 0.3)], (0.6, 0.4))
    assert float(curvature_term(several, x)) == pytest.approx(float(curvature_term(parts, x)), rel=1e-9)
    line = AffineGaussian((0, 0), ((0.3, 0.4),))
    assert float(curvature_term(line, at(0.6, 0.8))) == pytest.approx(4 * 4 - 8, rel=1e-12)


def test_products_add_and_scales_divide():
    x, y = at(0.5, 0.0), at(0.0, 0.6, 0.8)
    product = Product(Sphere(2, 0.5), Sphere(3))
    assert float(curvature_term(product, torch.cat([x, y]))) == pytest.approx(2.0 - 1.0)
    assert float(curvature_term(Scaled(Sphere(2), 2.0), at(0.0, 2.0))) == pytest.approx(0.5 / 4)
    basis = random_isometry(5, 3, seed=1)
    assert float(curvature_term(Embedded(Sphere(3), basis.tolist()), basis @ y)) == pytest.approx(-1.0)


def test_parts_of_a_mixture_keep_theirs():
    x = torch.stack([at(-2.0, 0.0), at(0.6, 0.8), at(2.0, 0.1)])
    assert curvature_term(make("mixed"), x).tolist() == [0.0, 0.5, 0.0]
    assert curvature_term(make("checkerboard"), at(-0.8, -0.8)) == 0
    assert curvature_term(Arc(2.0, -1, 5), 2 * at(math.cos(4.0), math.sin(4.0))) == 0.125
    assert curvature_term(Segment((0, 0), (1, 1)), at(0.5, 0.5)) == 0


@pytest.mark.parametrize("radius", [1.0, 7.0])
def test_on_m_is_to_a_billionth_of_one_and_the_size_of_x(radius):
    for off, is_on in ((0.9e-9, True), (1.1e-9, False)):
        x = at(radius + off * (1 + radius), 0.0)
        with nullcontext() if is_on else pytest.raises(ValueError, match="x must lie on M"):
            curvature_term(Sphere(2, radius), x)


@pytest.mark.parametrize(
    ("law", "x", "says"),
    [
        (Sphere(2), (1.1, 0.0), "x must lie on M; given a point at the distance 0.1"),
        (Segment((0, 0), (1, 0)), (1.0, 0.0), "must not lie on an edge"),
        (Box((0, 0), (1, 1)), (0.5, 1.0), "must not lie on an edge"),
        (Checkerboard(2), (-0.5, 0.0), "must not lie on an edge"),
        (Arc(1.0, 0, 1), (1.0, 0.0), "must not lie on an edge"),
        (Mixture([Segment((0, 0), (1, 1)), Segment((1, 0), (0, 1))]), (0.5, 0.5), "where two of its parts meet"),
        (Mixture([Sphere(2), Thickened(Sphere(2), 0.1)]), (1.0, 0.0), "a density and a thinner part overlap"),
        (Gaussians([(0, 0), (1, 0)], (0.0, 0.1)), (0.0, 0.0), "a part of it has no smooth density"),
    ],
)
def test_what_has_no_term_is_refused(law, x, says):
    with pytest.raises(ValueError, match=says):
        curvature_term(law, at(*x))


def test_what_is_no_law_is_refused():
    class Other:
        dim = 2

    with pytest.raises(ValueError, match="curvature_term is not known for"):
        curvature_term(Other(), at(1.0, 0.0))  # type: ignore[arg-type]


def test_an_edge_is_as_near_wherever_the_cells_are() -> None:
    """1e-9 of the whole square, however many cells an axis has: half of that beside an edge is on it, twice is not."""
    law = Checkerboard(2)
    inside = 0.25 * law.half
    for factor, refused in ((0.5, pytest.raises(ValueError, match="edge")), (2.0, nullcontext())):
        x = torch.tensor([[factor * curvature.NEAR * 2 * law.half, -inside]], dtype=torch.float64)
        if float(law.distance(x)) > 0:
            x[0, 1] = inside
        with refused:
            curvature_term(law, x)
