"""The rest points of the game: the laws that they obey, and the lambda of a bias."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from theory import equilibrium as module
from theory.claims.game import Game, standard_deviation
from theory.equilibrium import (
    condensation_lambda,
    equilibrium,
    gaussian_condensation_lambda,
    lambda_for_bias,
    total_variation,
)
from theory.levels import Interval
from theory.manifolds import Embedded, Gaussians, Sphere, make
from theory.regularity import pointwise_loss

LOSSES = ("saturating", "non-saturating")


def test_the_examples_run():
    found = doctest.testmod(module)
    assert found.attempted >= 8
    assert found.failed == 0


@st.composite
def games(draw):
    """Masses, some of them 0, losses, some of them equal, and lambda."""
    n = draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    p, ell = torch.rand(2, n, generator=generator, dtype=torch.float64)
    p[: draw(st.integers(0, n - 1))] = 0
    ell[-1] = ell[0]
    return p / p.sum(), 3 * ell, draw(st.floats(0, 1) | st.floats(0, 50))


@given(games(), st.sampled_from(LOSSES))
def test_no_sample_gains_by_moving(game, loss):
    """At rest the marginal loss is the least wherever Q has mass, and Q is a law."""
    p, ell, lam = game
    q = equilibrium(p, ell, lam, loss)
    assert bool((q >= 0).all())
    assert float(q.sum()) == pytest.approx(1, abs=1e-12)
    odds = q / p.clamp(min=1e-300)  # q/p; log(1 - D*) = -log(1 + p/q), -log D* = log(1 + q/p)
    adversarial = torch.where(q > 0, -torch.log1p(p / q.clamp(min=1e-300)), -math.inf * p)
    if loss == "non-saturating":
        adversarial = torch.where(p > 0, torch.log1p(odds), math.inf)
    else:
        adversarial = torch.where(p > 0, adversarial, 0)
    marginal = adversarial + lam * ell
    assert float((marginal[q > 1e-9] - marginal.min()).max()) < 1e-6


@given(games(), st.sampled_from(LOSSES), st.floats(0.01, 20))
def test_a_part_of_the_manifold_keeps_its_mass(game, loss, mass):
    """The same form, and the mass given; one is the default."""
    p, ell, lam = game
    q = equilibrium(p, ell, lam, loss, mass)
    assert float(q.sum()) == pytest.approx(mass, rel=1e-11)
    kept = (q > 1e-9 * mass) & (p > 1e-9)
    kept &= (q < 1e9 * p) if loss == "saturating" else kept  # without the atom
    found = torch.log1p(p / q) if loss == "saturating" else -torch.log1p(q / p)
    constant = (found - lam * ell)[kept]  # -c
    assert constant.numel() == 0 or float(constant.max() - constant.min()) < 1e-6
    assert torch.equal(equilibrium(p, ell, lam, loss, 1.0), equilibrium(p, ell, lam, loss))


def test_the_mass_of_a_part_is_positive():
    with pytest.raises(ValueError, match="mass must be positive"):
        equilibrium(HALF, HALF, 1.0, mass=0.0)


@given(games(), st.sampled_from(LOSSES))
def test_a_constant_in_ell_and_the_order_of_cells_do_not_matter(game, loss):
    p, ell, lam = game
    q = equilibrium(p, ell, lam, loss)
    shifted = equilibrium(p, ell + 5, lam, loss)
    assert float((q - shifted).abs().max()) < 1e-9
    if (p > 0).all():
        assert float((q - equilibrium(p.flip(0), ell.flip(0), lam, loss).flip(0)).abs().max()) < 1e-9


@pytest.mark.parametrize("loss", LOSSES)
def test_no_regularity_and_constant_ell_leave_the_real_law(loss):
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    for ell, lam in ((torch.tensor([3.0, 1.0, 2.0]), 0.0), (torch.ones(3), 7.0)):
        assert float((equilibrium(p, ell.double(), lam, loss) - p).abs().max()) < 1e-12


def test_mass_leaves_the_manifold_at_the_lambda_of_e2():
    p = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    ell = torch.tensor([1.0, 1.0, 0.25], dtype=torch.float64)
    critical = math.log(2) / 0.75
    assert float(equilibrium(p, ell, 0.999 * critical)[2]) == 0
    assert 0 < float(equilibrium(p, ell, 1.001 * critical)[2]) < 0.01
    assert float(equilibrium(p, ell, 1.001 * critical, "non-saturating")[2]) == 0


TWO = Gaussians([(-1.0,), (1.0,)], weights=(0.8, 0.2))


@pytest.mark.parametrize("loss", LOSSES)
def test_lambda_for_bias_gives_that_bias(loss):
    interval, tv = Interval(0.7, 0.8), 0.1
    lam = lambda_for_bias(TWO, interval, tv, loss)
    share = float((TWO.sample(128, torch.Generator().manual_seed(0), torch.float64) < 0).double().mean())
    p = torch.tensor([share, 1 - share], dtype=torch.float64)
    places = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    levels = torch.linspace(0.7, 0.8, 41, dtype=torch.float64)
    ell = torch.stack([module.pointwise_estimate(TWO, places, 1.0, float(s)).value for s in levels]).mean(0)
    assert float(total_variation(p, equilibrium(p, ell, lam, loss))) == pytest.approx(tv, rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_lambda_for_bias_takes_the_two_nodes_of_gauss_and_legendre(loss):
    """To all digits, on a long interval where two nodes are not the mean."""
    interval, tv = Interval(0.3, 0.9), 0.1
    lam = lambda_for_bias(TWO, interval, tv, loss)
    x = TWO.sample(128, torch.Generator().manual_seed(0), torch.float64)
    nodes, _ = np.polynomial.legendre.leggauss(2)
    ell = torch.stack([module.pointwise_estimate(TWO, x, 1.0, float(0.6 + 0.3 * node)).value for node in nodes]).mean(0)
    p = torch.full((128,), 1 / 128, dtype=torch.float64)
    assert float(total_variation(p, equilibrium(p, ell, lam, loss))) == pytest.approx(tv, rel=1e-8)


def test_lambda_for_bias_is_infinite_where_no_lambda_biases():
    assert lambda_for_bias(Sphere(2), Interval(0.1, 0.2), 0.1, "non-saturating", samples=4) == math.inf
    assert lambda_for_bias(Sphere(2), Interval(0.1, 0.2), 0.1, samples=4) > 1e4  # ell is least slightly off the circle
    # All mass at the heavier point is less bias than 0.9. (ell is least 0.002 off it, which the saturating loss sees.)
    assert lambda_for_bias(TWO, Interval(0.7, 0.8), 0.9, "non-saturating") == math.inf
    assert lambda_for_bias(TWO, Interval(0.7, 0.8), 0.9) > 1e3


@pytest.mark.parametrize("tv", [0.05, 0.5])
def test_lambda_for_bias_sees_a_minimum_off_the_manifold(tv):
    """On the ring over nsr 0.85 to 0.95 ell is least at the centre; closed form: log(1 + 1/(1 - tv)) / gain."""
    nodes, _ = np.polynomial.legendre.leggauss(2)
    places = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    ell = torch.stack([module.pointwise_estimate(Sphere(2), places, 1.0, float(0.9 + 0.05 * n)).value for n in nodes])
    on, centre = ell.mean(0).tolist()
    found = lambda_for_bias(Sphere(2), Interval(0.85, 0.95), tv, samples=4)
    assert found == pytest.approx(math.log(1 + 1 / (1 - tv)) / (on - centre), rel=1e-6)
    assert lambda_for_bias(Sphere(2), Interval(0.85, 0.95), tv, "non-saturating", samples=4) == math.inf
    q = equilibrium(torch.tensor([1.0, 0.0]).double(), torch.tensor([on, centre]), 10.0)
    assert float(q[1]) > 0.97  # what a weight of 10, the answer without the centre, would do


def test_a_ring_of_sixteen_dimensions_sees_it_too():
    """ell is a Monte Carlo mean there, of a standard error that the margin covers."""
    found = lambda_for_bias(make("ring", dim=16), Interval(0.85, 0.95), 0.05, samples=32)
    assert found == pytest.approx(lambda_for_bias(Sphere(2), Interval(0.85, 0.95), 0.05, samples=4), rel=0.1)


def test_above_three_dimensions_the_noise_of_ell_is_told_from_a_bias():
    """ell is a Monte Carlo mean there: that of a circle varies by its error, that of two points by more."""
    in_four = torch.eye(4, 2, dtype=torch.float64).tolist()
    assert lambda_for_bias(Embedded(Sphere(2), in_four), Interval(0.1, 0.2), 0.1, samples=8) == math.inf
    flat = lambda_for_bias(TWO, Interval(0.7, 0.8), 0.1)
    thrown_in = Embedded(TWO, torch.eye(4, 1, dtype=torch.float64).tolist())
    assert lambda_for_bias(thrown_in, Interval(0.7, 0.8), 0.1) == pytest.approx(flat, rel=0.3)


HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": HALF * 2}, r"p must hold masses >= 0 that sum to one; given \[1.0, 1.0\], sum 2.0"),
        ({"p": torch.tensor([1.5, -0.5])}, "p must hold masses >= 0"),
        ({"ell": torch.tensor([1.0])}, r"ell must be finite and of p's shape, \(2,\); given \[1.0\]"),
        ({"ell": torch.tensor([1.0, math.nan])}, "ell must be finite"),
        ({"lam": -1.0}, r"lam must lie in \[0, inf\); given -1.0"),
        ({"loss": "hinge"}, "loss must be 'saturating' or 'non-saturating'; given 'hinge'"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        equilibrium(**{"p": HALF, "ell": HALF, "lam": 1.0} | change)


@pytest.mark.parametrize("loss", ["hinge", "relativistic", "Saturating"])
def test_lambda_for_bias_refuses_losses_whose_rest_point_is_not_known(loss):
    with pytest.raises(ValueError, match=f"loss must be 'saturating' or 'non-saturating'; given '{loss}'"):
        lambda_for_bias(TWO, Interval(0.7, 0.8), 0.1, loss)


@pytest.mark.parametrize(("dim", "wanted"), [(3, 0.7426), (10, 0.0875)])
def test_the_gaussian_condensation_lambda_is_the_one_known(dim, wanted):
    """b = a tau^2 lambda, at a noise and a width of their own; and it is the root of the integral over chi^2."""
    tau, nsr = 0.7, 0.4
    rate = tau**2 * nsr**2 / (nsr**2 + tau**2) ** 2
    b = gaussian_condensation_lambda([tau] * dim, nsr) * rate
    assert round(b, 4) == wanted
    density = lambda u: stats.chi2.pdf(u, dim) / math.expm1(b * u) if 0 < u < 600 / b else 0.0  # noqa: E731
    mass = sum(integrate.quad(density, low, high, epsabs=1e-12)[0] for low, high in ((0, 1), (1, 8), (8, 80)))
    assert mass == pytest.approx(1, abs=1e-9)


def test_many_dimensions_condense_at_log_2():
    b = [gaussian_condensation_lambda([1.0] * dim, 1.0) / 4 * dim for dim in (10**3, 10**5)]
    assert b == pytest.approx([math.log(2)] * 2, rel=3e-3)
    assert abs(b[1] / math.log(2) - 1) < abs(b[0] / math.log(2) - 1) / 50


def test_widths_of_zero_do_not_count_and_two_are_too_few():
    assert gaussian_condensation_lambda([1.0, 2.0, 0.5, 0.0], 0.3) == gaussian_condensation_lambda([1.0, 2.0, 0.5], 0.3)
    assert gaussian_condensation_lambda([1.0, 2.0, 0.0], 0.3) == math.inf
    for std, nsr, message in (([1, -1], 1, "std"), ([1, 1, 1], 0, "nsr"), ([1, math.nan], 1, "std")):
        with pytest.raises(ValueError, match=f"{message} must be"):
            gaussian_condensation_lambda(std, nsr)


def test_condensation_lambda_of_unequal_widths_by_a_quadrature_in_space():
    """p at nodes in spherical coordinates, against the sum over n of the closed form."""
    std, nsr = np.array([0.5, 1.0, 1.5]), 0.8
    r, wr = np.polynomial.legendre.leggauss(120)
    r, wr = 4.5 * (r + 1), 4.5 * wr
    u, wu = np.polynomial.legendre.leggauss(16)
    phi = (np.arange(16) + 0.5) * math.pi / 16
    radius, height, angle = np.meshgrid(r, u, phi, indexing="ij")
    across = np.sqrt(1 - height**2)
    z = np.stack([across * np.cos(angle), across * np.sin(angle), height], -1) * radius[..., None]
    p = (wr * r**2 * np.exp(-(r**2) / 2))[:, None, None] * wu[:, None] * np.full(16, 2 * math.pi / 16)
    rates = (std * nsr / (nsr**2 + std**2)) ** 2
    excess = torch.from_numpy((z**2 @ rates).ravel())
    found = condensation_lambda(torch.from_numpy((p / p.sum()).ravel()), excess)
    assert found == pytest.approx(gaussian_condensation_lambda(std.tolist(), nsr), rel=1e-6)


def test_condensation_of_few_cells():
    ones = torch.full((4,), 0.25, dtype=torch.float64)
    assert condensation_lambda(ones, 0.5 * torch.ones(4)) == pytest.approx(math.log(2) / 0.5, rel=1e-12)
    assert condensation_lambda(ones, torch.tensor([0.0, 1, 2, 3])) == math.inf
    moved = torch.tensor([0.0, 0.5, 0.5, 0.0], dtype=torch.float64)
    assert condensation_lambda(moved, torch.tensor([0.0, 0.5, 0.5, 0.0])) == pytest.approx(2 * math.log(2))
    for excess in (torch.tensor([1.0, -1, 1, 1]), torch.ones(3), torch.tensor([1.0, math.inf, 1, 1])):
        with pytest.raises(ValueError, match="excess must be >= 0, finite and of p's shape"):
            condensation_lambda(ones, excess)


def test_bad_bias():
    for tv in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"tv must lie in \(0, 1\)"):
            lambda_for_bias(TWO, Interval(0.7, 0.8), tv)


def test_the_standard_deviation_of_ell_is_that_over_p():
    game = Game("", torch.tensor([0.25, 0.75, 0.0]), torch.tensor([1.0, 3.0, 99.0]))
    assert float(standard_deviation(game)) == pytest.approx(0.75**0.5)


def test_ell_is_averaged_over_the_interval():
    """Its two nodes are Gauss's: the answer is that for the mean of ell over 400 levels of a wide interval."""
    law, tv = Gaussians([(-1.0,), (1.0,)], weights=(0.8, 0.2)), 0.05
    drawn = law.sample(128, torch.Generator().manual_seed(0), torch.float64)
    x, counts = torch.unique(drawn, dim=0, return_counts=True)
    p, levels = counts.double() / 128, 0.6 + 0.5 * (torch.arange(400).double() + 0.5) / 400
    ell = pointwise_loss(law, x.expand(400, 2, 1), 1.0, levels[:, None]).mean(0)
    lam = lambda_for_bias(law, Interval(0.6, 1.1), tv, "non-saturating")
    assert float(total_variation(p, equilibrium(p, ell, lam, "non-saturating"))) == pytest.approx(tv, rel=5e-3)


@pytest.mark.parametrize("place", [(3.0, 0.0), (-1.0, 2.0)])
def test_the_least_loss_off_the_samples_is_where_the_law_is(place: tuple[float, float]) -> None:
    """Of one point: that point, wherever it lies and wherever the descent begins."""
    law = Gaussians([place])
    x = torch.tensor([place], dtype=torch.float64) + torch.tensor([[0.3, 0.1], [-0.2, 0.2]], dtype=torch.float64)
    found = module._off_samples(law, x, torch.tensor([0.1, 0.3], dtype=torch.float64))
    assert found.tolist() == pytest.approx(place, abs=1e-6)
