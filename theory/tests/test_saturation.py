"""The discriminator that is found by maximising V, and what S2 does and does not say."""

from __future__ import annotations

import math

import pytest
import torch

from theory.claims.other_divergences import KNOWN, exponent, overlapping
from theory.claims.saturation import (
    adversarial_gradient,
    beside_circle,
    densities,
    less_sure,
    limit_of_gradients,
    maximised,
    sharp_bound,
)
from theory.divergences import F_DIVERGENCES, optimal_discriminator, value


def test_the_maximiser_is_found_without_its_formula():
    p = torch.tensor([0.3, 1.0, 0.0, 1e-6], dtype=torch.float64)
    q = torch.tensor([0.6, 0.0, 1.0, 1e3], dtype=torch.float64)
    found = maximised(p, q)
    assert found[[0, 3]].tolist() == pytest.approx([math.log(0.5), math.log(1e-9)], abs=1e-12)
    assert found[[1, 2]].tolist() == pytest.approx([60, -60])
    assert not torch.allclose(torch.sigmoid(found), less_sure(1.001)(p, q), rtol=1e-6, atol=0)


def test_off_both_supports_every_discriminator_is_optimal():
    """Q_off on a curve: D beside the curve, where p = q = 0, does not enter V, so its slope there is arbitrary."""
    p, q, mu = (torch.tensor(part).double() for part in ([1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 1.0, 1.0]))
    d = optimal_discriminator(p, q)
    assert float(d[2]) == 0.5  # what the library sets
    for beside in (0.0, 0.1, 0.9):
        other = torch.where(torch.tensor([False, False, True]), beside, d)
        assert float(value(other, p, q, mu)) == float(value(d, p, q, mu))


def test_the_gradient_off_the_manifold_vanishes_with_the_thickness():
    x = beside_circle(12)
    lengths = [float(limit_of_gradients(x, tau).max()) for tau in (0.1, 0.05, 0.02)]
    assert lengths[0] > 1e-1
    assert lengths[1] < lengths[0]
    assert lengths[2] < 1e-9 * lengths[1]
    by_formula = torch.linalg.vector_norm(adversarial_gradient(x, tau=0.1), dim=-1)
    torch.testing.assert_close(limit_of_gradients(x, 0.1), by_formula, rtol=1e-4, atol=1e-6)


def test_the_densities_are_those_of_laws():
    """Over the plane, thickened; and on the circle, exact."""
    grid = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    p, q = densities(torch.cartesian_prod(grid, grid), tau=0.1)
    assert float(p.sum()) * 1e-4 == pytest.approx(1, abs=1e-3)
    assert float(q.sum()) * 1e-4 == pytest.approx(1, abs=1e-3)


def test_the_bound_of_s3_is_the_longer_form():
    m = torch.linspace(0, 0.99, 50, dtype=torch.float64)
    long = -2 * math.log(2) + (2 - m) * torch.log(2 / (2 - m)) + torch.xlogy(1 - m, 1 - m) + m * math.log(2)
    torch.testing.assert_close(sharp_bound(m), long, rtol=1e-12, atol=1e-14)
    assert float(sharp_bound(torch.ones(())).abs()) == 0


def test_the_known_limits_are_the_librarys():
    assert {name: f.at_zero for name, f in F_DIVERGENCES.items()} == pytest.approx(KNOWN)


def test_overlapping_densities_overlap_everywhere():
    p, q, mu = overlapping(0.3, 2.0)
    assert bool((p > 0).all() and (q > 0).all())
    assert float(mu @ p) == pytest.approx(1, abs=1e-14)
    assert float(mu @ q) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_an_exponent_is_found_with_its_error(power):
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    found, error = exponent(u ** (1 / power), 0.3)
    assert found == pytest.approx(power, abs=0.1 * error)
    assert error == pytest.approx(power / math.sqrt(20000 * 0.3**power), rel=1e-2)


def test_densities_are_those_of_half_on_the_circle_and_half_in_the_plane():
    """At tau = 0 against length plus area, which are singular to each other; thickened, both have mass 1."""
    angle = torch.tensor([0.3, 2.0], dtype=torch.float64)
    on = torch.stack([angle.cos(), angle.sin()], -1)
    p, q = densities(on, 0.0)
    torch.testing.assert_close(p, (1 + angle.cos() / 2) / (2 * math.pi), rtol=1e-14, atol=0)
    torch.testing.assert_close(q, (1 + angle.sin() / 2) / (4 * math.pi), rtol=1e-14, atol=0)
    p, q = densities(1.1 * on, 0.0)
    torch.testing.assert_close(p, torch.zeros_like(p))
    torch.testing.assert_close(q, torch.exp(-(1.1 * on - 1).square().sum(-1) / 2) / (4 * math.pi), rtol=1e-14, atol=0)
    axis = torch.arange(-7, 8, 0.05, dtype=torch.float64)
    for density in densities(torch.cartesian_prod(axis, axis), 0.2):
        assert float(density.sum()) * 0.05**2 == pytest.approx(1, abs=1e-5)
