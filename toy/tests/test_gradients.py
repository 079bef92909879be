"""The numbers behind the page, against theory's own."""

import math

import pytest
import torch

from theory.divergences import optimal_discriminator
from theory.equilibrium import equilibrium
from theory.manifolds import Gaussians, make
from toy.explore.gradients import (
    Lattice,
    adversarial,
    cells_of,
    densities,
    exact_loss,
    is_off,
    rest_point,
    square_around,
)


@pytest.mark.parametrize(("name", "nsr"), [("ring", 0.14), ("ring", 0.5), ("box", 0.3), ("weighted", 0.5)])
def test_the_lattice_agrees_with_theory(name, nsr):
    law = make(name)
    square = square_around(law)
    inside = square.grid(5)[[3, 13, 21]]
    x = torch.cat([inside, cells_of(law, 1).places])
    found, exact = Lattice(law, nsr, square).loss(x), exact_loss(law, x, nsr)
    # three digits are shown of the lattice's numbers
    assert torch.allclose(found.value, exact.value, rtol=5e-4, atol=5e-4)
    assert torch.allclose(found.gradient, exact.gradient, rtol=5e-4, atol=5e-4)


def test_the_square_holds_the_law():
    for name in ("ring", "two-moons", "mixed"):
        law = make(name)
        square, x = square_around(law), law.sample(200, torch.Generator().manual_seed(3))
        low = torch.tensor([square.left, square.low])
        assert bool(((x > low) & (x < low + square.side)).all())


@pytest.mark.parametrize("name", ["points", "ring", "star", "spiral"])
def test_off_a_singular_law_the_adversarial_gradient_is_exactly_zero(name):
    law = make(name)
    y = square_around(law).grid(9)[is_off(law, square_around(law).grid(9))]
    found = adversarial(law, y, torch.tensor([0.4, 0.3], dtype=torch.float64), 0.3)
    assert bool((found.downhill == 0).all())
    assert bool((found.discriminator == 0).all())


def test_the_adversarial_gradient_is_the_slope_of_the_loss():
    law, x = make("weighted", thickness=0.3), torch.tensor([0.2, -0.4], dtype=torch.float64)
    y = square_around(law).grid(5).requires_grad_()
    p = torch.exp(law.log_density(y, 1.0, 1e-5))
    q = torch.exp(Gaussians([x.tolist()], 0.5).log_density(y, 1.0, 1e-5))
    loss = torch.log1p(-optimal_discriminator(p, q))
    slope = torch.autograd.grad(loss.sum(), y)[0]
    found = adversarial(law, y.detach(), x, 0.5)
    # 1 - D* of 1e-12 keeps four digits of the autograd's
    assert torch.allclose(found.downhill, -slope, rtol=1e-3, atol=1e-9)
    assert float(found.downhill.abs().max()) > 1


def test_the_density_of_a_mixed_law_is_that_of_its_thick_part():
    y = torch.tensor([[2.0, 0.1], [0.0, 1.0], [-2.0, 0.0], [0.0, 0.3]], dtype=torch.float64)
    law = make("mixed")
    p, slope = densities(law, y)
    assert torch.allclose(p, torch.tensor([1 / 3, 0, 0, 0], dtype=torch.float64))  # a unit square of mass 1/3
    assert bool((slope == 0).all())
    assert is_off(law, y).tolist() == [False, False, False, True]


def test_the_rest_point_is_that_of_theory():
    cells = cells_of(make("weighted"), 40)
    ell = torch.linspace(0.2, 1.5, 40, dtype=torch.float64)
    rest = rest_point(cells, ell, torch.zeros(0, dtype=torch.float64), 0.7)
    assert torch.equal(rest.masses, equilibrium(cells.masses, ell, 0.7))
    assert rest.off == 0


def test_mass_leaves_the_manifold_only_beyond_the_bound():
    """Claim E2: with ell constant on the manifold, mass is off it for lambda > log 2 / (ell on M - min ell)."""
    cells, one = cells_of(make("ring"), 40), torch.ones(40, dtype=torch.float64)
    lowest, bound = torch.tensor([0.5], dtype=torch.float64), math.log(2) / 0.5
    assert rest_point(cells, one, lowest, 0.99 * bound).off < 1e-9
    assert rest_point(cells, one, lowest, 1.1 * bound).off > 0.01
