"""Rules of quadrature are exact where they should be, and not where they should not."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import factorial2

from theory.quadrature import REACH, gaussian_rule, legendre, richardson


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_moments_of_the_normal_distribution(dim):
    """E eps^(2 m) = (2m - 1)!!, odd ones 0; mixed ones are products."""
    nodes, weights = gaussian_rule(dim)
    assert nodes.shape == (len(weights), dim)
    assert nodes.dtype == weights.dtype == torch.float64
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)
    for power in (2, 4, 6):
        moments = weights @ nodes.pow(power)
        assert moments.tolist() == pytest.approx([factorial2(power - 1)] * dim, rel=1e-11)
    assert (weights @ nodes.pow(3)).abs().max() < 1e-14
    if dim > 1:
        assert float(weights @ (nodes[:, 0] * nodes[:, 1]).square()) == pytest.approx(1, rel=1e-12)


def test_the_error_falls_as_exp_of_the_strip_over_the_step():
    """E 1 / (1 + eps^2 / a^2) has poles at +-i a; their residues are (2 pi)^(1/2) a exp(a^2 / 2 - 2 pi a / h)."""
    a = 0.4
    exact = math.sqrt(math.pi / 2) * a * math.exp(a**2 / 2) * math.erfc(a / math.sqrt(2))
    for steps in (32, 64, 128):
        nodes, weights = gaussian_rule(1, steps)
        error = abs(float(weights @ (1 / (1 + (nodes[:, 0] / a).square()))) - exact)
        h = 2 * REACH / steps
        assert error == pytest.approx(math.sqrt(2 * math.pi) * a * math.exp(a**2 / 2 - 2 * math.pi * a / h), rel=0.02)


def test_nodes_of_no_weight_are_left_out_and_no_more():
    nodes, weights = gaussian_rule(2, 48)
    assert len(nodes) < 49**2
    assert float(weights.min()) > 1e-20
    axis = torch.linspace(-REACH, REACH, 49, dtype=torch.float64)
    full = torch.exp(-torch.cartesian_prod(axis, axis).square().sum(-1) / 2)
    assert len(nodes) == int((full / full.sum() > 1e-20).sum())


def test_a_rule_made_under_inference_serves_autograd():
    gaussian_rule.cache_clear()
    with torch.inference_mode():
        gaussian_rule(1, 40)
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    nodes, weights = gaussian_rule(1, 40)
    (weights @ (x * nodes[:, 0]).square()).backward()
    assert x.grad is not None
    assert float(x.grad) == pytest.approx(2, rel=1e-10)


def test_a_rule_does_not_depend_on_the_number_of_threads():
    """Its weights are divided by their sum, over 41^3 numbers: two threads sum in another order."""
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        gaussian_rule.cache_clear()
        torch.set_num_threads(threads)
        try:
            found.append(gaussian_rule(3).weights)
        finally:
            torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_legendre_is_exact_to_its_degree_and_no_further(count):
    low, high = -0.5, 2.0
    nodes, weights = legendre(low, high, count)
    for power in range(2 * count):
        exact = (high ** (power + 1) - low ** (power + 1)) / (power + 1)
        assert float(weights @ nodes**power) == pytest.approx(exact, rel=1e-12)
    degree = 2 * count
    exact = (high ** (degree + 1) - low ** (degree + 1)) / (degree + 1)
    gap = abs(float(weights @ nodes**degree) - exact)
    wanted = ((high - low) ** (degree + 1) * math.factorial(count) ** 4) / ((degree + 1) * math.factorial(degree) ** 2)
    assert gap == pytest.approx(wanted, rel=1e-5)  # Gauss' error term: f^(2n) / (2n)! = 1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_richardson_cancels_one_term(order):
    """v(h) = 5 + 3 h^p + 2 h^(p + 1) at h, h/2, h/4: what is left is of the next order; exact without it."""
    h = torch.tensor([0.1, 0.05, 0.025], dtype=torch.float64)
    assert float(richardson(5 + 3 * h**order, order)) == pytest.approx(5, rel=1e-14)
    left = float(richardson(5 + 3 * h**order + 2 * h ** (order + 1), order)) - 5
    assert left == pytest.approx(-2 * 2**order * 0.025 ** (order + 1) / (2**order - 1), rel=1e-6)
    pair = torch.stack([5 + 3 * h**order, h**order], -1)
    assert richardson(pair, order).tolist() == pytest.approx([5, 0], abs=1e-14)
