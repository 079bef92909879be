"""The score matching regularity: its gradients, its two variants, and how exact its mean over the noise is."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import chi2

from theory import regularity
from theory.levels import Level
from theory.manifolds import Gaussians, Sphere, make, names
from theory.quadrature import gaussian_rule
from theory.regularity import eps_model_of, pointwise_estimate, pointwise_loss, score_matching_loss

CIRCLE = Sphere(2)
seeds = st.integers(0, 2**32)
noises = st.floats(0.05, 2.0)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian_ell(x: torch.Tensor, std: float, nsr: float) -> torch.Tensor:
    """ell of N(0, std^2 I) in closed form: x0hat(y) = std^2 y / (std^2 + nsr^2) at alpha = 1."""
    share = std**2 / (std**2 + nsr**2)
    return ((1 - share) / nsr) ** 2 * x.square().sum(-1) + x.shape[-1] * share**2


# The loss of one noise


@given(seed=seeds, nsr=noises)
def test_the_loss_is_the_formula(seed, nsr):
    x, noise, level = normal(6, 2, seed=seed), normal(6, 2, seed=seed + 1), Level.variance_preserving(nsr)
    eps_star = -level.sigma * CIRCLE.score(level.alpha * x + level.sigma * noise, level.alpha, level.sigma)
    expected = (eps_star - noise).square().sum(-1)
    for detach in (False, True):
        loss = score_matching_loss(x, eps_model_of(CIRCLE), level, noise, detach)
        assert torch.allclose(loss, expected, rtol=1e-9, atol=1e-12)


def test_a_level_for_each_sample():
    x, noise, nsr = normal(5, 2), normal(5, 2, seed=1), torch.linspace(0.1, 1, 5, dtype=torch.float64)
    model = eps_model_of(CIRCLE)
    for detach in (False, True):
        together = score_matching_loss(x, model, Level.variance_preserving(nsr), noise, detach)
        for i, at in enumerate(nsr.tolist()):
            alone = score_matching_loss(x[i], model, Level.variance_preserving(at), noise[i], detach)
            assert float(together[i]) == pytest.approx(float(alone), rel=1e-12)


@pytest.mark.parametrize("detach", [False, True])
def test_images_are_points_of_many_axes(detach):
    x, noise = normal(4, 3, 8, 8), normal(4, 3, 8, 8, seed=1)
    level = Level.variance_preserving(torch.linspace(0.1, 1, 4, dtype=torch.float64))
    images = score_matching_loss(x, lambda y, level: y.tanh(), level, noise, detach, event_dims=3)
    points = score_matching_loss(x.flatten(1), lambda y, level: y.tanh(), level, noise.flatten(1), detach)
    assert images.shape == (4,)
    assert torch.allclose(images, points, rtol=1e-13)


@given(seed=seeds, nsr=noises)
def test_the_gradients_are_the_stated_ones(seed, nsr):
    x, noise, level = normal(2, seed=seed).requires_grad_(), normal(2, seed=seed + 1), Level.variance_preserving(nsr)
    model = eps_model_of(CIRCLE)
    x_t = (level.alpha * x + level.sigma * noise).detach()
    residual = model(x_t, level) - noise
    jacobian = torch.autograd.functional.jacobian(lambda y: model(y, level), x_t)
    (full,) = torch.autograd.grad(score_matching_loss(x, model, level, noise), x)
    assert torch.allclose(full, 2 * level.alpha * jacobian.T @ residual, rtol=1e-9, atol=1e-9)
    (detached,) = torch.autograd.grad(score_matching_loss(x, model, level, noise, detach=True), x)
    assert torch.allclose(detached, 2 * (level.alpha / level.sigma) * residual, rtol=1e-9, atol=1e-9)


def test_detached_no_gradient_reaches_the_score_model():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    x = normal(3, 2).requires_grad_()
    for detach in (False, True):
        loss = score_matching_loss(x, lambda y, level: weight * y, Level(0.9, 0.4), normal(3, 2, seed=1), detach).sum()
        (gradient,) = torch.autograd.grad(loss, weight, allow_unused=True)
        assert (gradient is None) == detach


def test_both_gradients_have_the_same_limit_off_the_manifold():
    x, noise = torch.tensor([[1.2, 0.5]], dtype=torch.float64, requires_grad=True), normal(1, 2)
    limit = (x - CIRCLE.project(x)).detach()
    for detach in (False, True):
        level = Level.variance_preserving(1e-4)
        loss = score_matching_loss(x, eps_model_of(CIRCLE), level, noise, detach)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        normal_part = (gradient * limit).sum() / limit.square().sum() / level.snr / 2
        assert float(normal_part) == pytest.approx(1, abs=1e-2)  # the noise is nsr / dist = 3e-4 of the push


@pytest.mark.parametrize("nsr", [0.1, 0.5, 2.0])
def test_the_detached_gradient_descends_the_expected_log_density(nsr):
    """P5: its mean is grad_x of -2 E log p_t(alpha x + sigma eps); both means over the same quadrature."""
    level = Level.variance_preserving(nsr)
    eps, weights = gaussian_rule(2, 48)
    x = torch.tensor([0.9, 0.7], dtype=torch.float64, requires_grad=True)
    losses = score_matching_loss(x.expand_as(eps), eps_model_of(CIRCLE), level, eps, detach=True)
    (mean,) = torch.autograd.grad(weights @ losses, x)
    potential = -2 * weights @ CIRCLE.log_density(level.alpha * x + level.sigma * eps, level.alpha, level.sigma)
    (expected,) = torch.autograd.grad(potential, x)
    assert torch.allclose(mean, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", names())
def test_the_exact_model_is_minus_sigma_score(name):
    law = make(name)
    y, level = 2 * normal(7, law.dim), Level.variance_preserving(0.3)
    expected = -level.sigma * law.score(y, level.alpha, level.sigma)
    assert torch.allclose(eps_model_of(law)(y, level), expected, rtol=1e-11, atol=1e-11)


def test_shapes_that_do_not_fit_are_refused():
    x, level = normal(3, 2), Level(1.0, 0.1)
    with pytest.raises(ValueError, match=r"noise must have the shape of x, \(3, 2\); given \(3, 1\)"):
        score_matching_loss(x, eps_model_of(CIRCLE), level, normal(3, 1))
    with pytest.raises(ValueError, match=r"eps_model must return x's shape, \(3, 2\); it returned \(3, 1\)"):
        score_matching_loss(x, lambda y, level: y[:, :1], level, x)
    with pytest.raises(ValueError, match=r"x must hold at least one sample; given shape \(0, 2\)"):
        score_matching_loss(x[:0], eps_model_of(CIRCLE), level, x[:0])
    with pytest.raises(ValueError, match=r"x must hold at least one point; given shape \(0, 2\)"):
        pointwise_loss(CIRCLE, x[:0], 1.0, 0.1)


# Its mean over the noise


def test_the_circle_as_computed_beforehand():
    x = torch.tensor([[1.3, 0.0], [0.6, 0.0], [1.0, 0.0]], dtype=torch.float64)
    rest = pointwise_loss(CIRCLE, x, 1.0, 0.1) - CIRCLE.distance(x).square() / 0.01
    assert [round(value, 4) for value in rest.tolist()] == [1.0031, 1.0171, 1.0051]


@settings(deadline=None, max_examples=20)
@given(seed=seeds, nsr=st.floats(1e-3, 1e2), dim=st.integers(1, 3))
def test_quadrature_is_exact_for_gaussians(seed, nsr, dim):
    law, x, level = Gaussians([[0.0] * dim], std=0.7), 2 * normal(4, dim, seed=seed), Level.variance_preserving(nsr)
    value, error = pointwise_estimate(law, x, level.alpha, level.sigma)
    expected = gaussian_ell(x, 0.7, nsr)
    assert torch.allclose(value, expected, rtol=2e-9, atol=2e-9)
    assert bool((error <= regularity.RTOL * (1 + value)).all())


@pytest.mark.parametrize("nsr", [2.0, 0.5, 0.1, 0.03, 0.01])
def test_the_quadrature_error_bounds_the_true_one(nsr):
    """Two points at +-1, where x0hat = tanh(y / nsr^2) jumps: the hard case, against adaptive quadrature."""
    law, xs = Gaussians([[-1.0], [1.0]]), (0.0, 0.3, 0.8, 1.0)
    value, error = pointwise_estimate(law, torch.tensor(xs, dtype=torch.float64)[:, None], 1.0, nsr)
    for i, x in enumerate(xs):

        def integrand(eps: float, x: float = x) -> float:
            refined = math.tanh((x + nsr * eps) / nsr**2)
            return ((x - refined) / nsr) ** 2 * math.exp(-(eps**2) / 2) / math.sqrt(2 * math.pi)

        jump = -x / nsr
        edges = sorted({-9.0, *(jump + k * nsr for k in (-30, -5, -1, 0, 1, 5, 30) if abs(jump + k * nsr) < 9), 9.0})
        pieces = (integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-13, limit=200) for a, b in pairwise(edges))
        true = sum(piece[0] for piece in pieces)
        assert abs(float(value[i]) - true) <= float(error[i]) + 1e-9 * (1 + true)


def test_monte_carlo_beyond_three_dimensions_knows_its_error():
    # z = (estimate - truth) / standard error for 100 independent generators; the sum of z^2 is chi-square(100) but for
    # O(1/draws). Two-sided at 1e-4: a correct estimator fails once in 10^4 seeds.
    law, x = Gaussians([[0.0] * 5], std=0.7), torch.full((5,), 0.4, dtype=torch.float64)
    truth, total = gaussian_ell(x, 0.7, 0.5), 0.0
    for seed in range(100):
        value, error = pointwise_estimate(law, x, 1.0, 0.5, torch.Generator().manual_seed(seed))
        total += float((value - truth) / error) ** 2
    assert chi2.ppf(5e-5, 100) < total < chi2.ppf(1 - 5e-5, 100)


def test_monte_carlo_agrees_with_quadrature_on_the_same_law_embedded():
    # ell of a law in a larger space is ell + SNR dist^2 to the subspace, here 0. |z| > 4.5 has probability 7e-6.
    flat, high = CIRCLE, make("ring", 6)
    x = high.sample(1, torch.Generator().manual_seed(0), dtype=torch.float64)
    value, error = pointwise_estimate(high, 1.3 * x, 1.0, 0.4, torch.Generator().manual_seed(1))
    exact = pointwise_loss(flat, torch.tensor([[1.3, 0.0]], dtype=torch.float64), 1.0, 0.4)
    assert abs(float((value - exact) / error)) < 4.5


def test_a_random_answer_must_be_asked_for():
    with pytest.raises(ValueError, match="dim 6 > 3: ell is then estimated by Monte Carlo; give a generator"):
        pointwise_loss(make("ring", 6), torch.zeros(6), 1.0, 0.1)


def test_it_differentiates_twice():
    x = torch.tensor([[0.7, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pointwise_loss(CIRCLE, x, 1.0, 0.5), x)
    assert torch.autograd.gradgradcheck(lambda x: pointwise_loss(CIRCLE, x, 1.0, 0.5), x)


def test_chunks_change_nothing(monkeypatch):
    x = normal(5, 2).requires_grad_()
    results = []
    for chunk in (regularity.CHUNK, 1):
        monkeypatch.setattr(regularity, "CHUNK", chunk)
        value = pointwise_loss(CIRCLE, x, 0.8, 0.6)
        results.append((value, *torch.autograd.grad(value.sum(), x)))
    for whole, parts in zip(*results, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-13, atol=1e-13)


def test_levels_broadcast_and_dtypes_are_kept():
    x, nsr = normal(3, 2), torch.tensor([[0.2], [1.0]], dtype=torch.float64)
    level = Level.variance_preserving(nsr)
    value = pointwise_loss(CIRCLE, x, level.alpha, level.sigma)
    assert value.shape == (2, 3)
    for i, at in enumerate((0.2, 1.0)):  # by P1 ell depends on the ratio alone
        assert torch.allclose(value[i], pointwise_loss(CIRCLE, x, 1.0, at), rtol=1e-6)
    single = pointwise_loss(CIRCLE, x.float(), 1.0, 0.2)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), value[0], rtol=1e-5)


def test_the_rules_halve_the_step_up_to_those_documented():
    assert {dim: steps[-1] for dim, steps in regularity.RULES.items()} == {1: 1024, 2: 192, 3: 80}
    assert {dim: steps[0] for dim, steps in regularity.RULES.items()} == {1: 32, 2: 24, 3: 20}
    assert all(b == 2 * a for steps in regularity.RULES.values() for a, b in pairwise(steps))
    nodes, weights = gaussian_rule(1, 32)
    assert nodes.diff(dim=0).flatten().tolist() == pytest.approx([17 / 32] * (len(nodes) - 1))
    assert 0 in nodes.flatten().tolist()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-15)
    assert float(weights @ nodes.square().flatten()) == pytest.approx(1, abs=1e-12)
