"""The decoupled update: its two functions by hand, and the optimiser made of them."""

from __future__ import annotations

import doctest
import math
from typing import Any

import pytest
import torch

from theory import decoupling as module
from theory.decoupling import DecoupledAdam, average_, score_step_


def test_the_examples_run():
    found = doctest.testmod(module)
    assert found.attempted >= 5
    assert found.failed == 0


def gradients(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, count, 5, generator=generator, dtype=torch.float64)
    return first, second


def test_the_average_is_bias_corrected_and_forgets_by_generator_steps():
    _, scores = gradients(4)
    moment = torch.zeros(5, dtype=torch.float64)
    for count in range(1, 5):
        found = average_(moment, scores[count - 1], momentum=0.9, every=3, count=count)
        weights = torch.tensor([0.9 ** (3 * (count - 1 - i)) for i in range(count)], dtype=torch.float64)
        torch.testing.assert_close(found, weights @ scores[:count] / weights.sum(), rtol=1e-12, atol=1e-14)


def test_a_score_step_is_clipped_and_scaled_by_v():
    theta = torch.zeros(3, dtype=torch.float64)
    score_step_(theta, torch.tensor([1.0, -8.0, 0.5]).double(), torch.tensor([4.0, 1.0, 0.0]).double(), 0.1, clip=2.0)
    assert theta.tolist() == pytest.approx([-0.05, 0.2, -0.2])  # v = 0: 0.5 / eps is clipped
    score_step_(theta, torch.ones(3).double(), 4.0, 0.1, clip=2.0)
    assert theta.tolist() == pytest.approx([-0.1, 0.15, -0.25])


def played(optimizer: torch.optim.Optimizer, theta: torch.Tensor, every: int, first: int = 0, last: int = 12) -> None:
    main, scores = gradients(12)
    for at in range(first, last):
        theta.grad = main[at].clone()
        if isinstance(optimizer, DecoupledAdam) and at % every == 0:
            optimizer.step(scores=[scores[at].clone()])
        else:
            optimizer.step()


def test_it_is_adam_and_the_two_functions_beside_it():
    theta, other = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    played(DecoupledAdam([theta], 0.01, (0.5, 0.9), every=3, momentum=0.8, clip=1.5), theta, every=3)
    adam = torch.optim.Adam([other], 0.01, (0.5, 0.9))
    main, scores = gradients(12)
    moment = torch.zeros(5, dtype=torch.float64)
    for at in range(12):
        other.grad = main[at].clone()
        adam.step()
        if at % 3 == 0:
            average = average_(moment, scores[at], 0.8, 3, at // 3 + 1)
            v = adam.state[other]["exp_avg_sq"] / (1 - 0.9 ** (at + 1))
            score_step_(other, average, v, 0.01, 1.5)
    torch.testing.assert_close(theta, other, rtol=1e-14, atol=0)


def test_without_score_gradients_it_is_adam():
    theta, other = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    played(DecoupledAdam([theta], 0.01, (0.5, 0.9)), theta, every=10**9, first=1)
    played(torch.optim.Adam([other], 0.01, (0.5, 0.9)), other, every=1, first=1)
    assert torch.equal(theta, other)


def test_the_score_gradient_leaves_adams_moments_alone():
    theta, other = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    ours, adam = DecoupledAdam([theta], 0.01, (0.5, 0.9), every=2), torch.optim.Adam([other], 0.01, (0.5, 0.9))
    played(ours, theta, every=2)
    played(adam, other, every=1)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(ours.state[theta][name], adam.state[other][name])


def test_a_state_resumes_bit_for_bit():
    theta, other = torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    options: dict[str, Any] = {"lr": 0.01, "betas": (0.5, 0.9), "every": 3}
    whole, first = DecoupledAdam([theta], **options), DecoupledAdam([other], **options)
    played(whole, theta, every=3)
    played(first, other, every=3, last=7)
    second = DecoupledAdam([other], **options)
    second.load_state_dict(first.state_dict())
    played(second, other, every=3, first=7)
    assert torch.equal(theta, other)


def test_bad_input():
    theta = torch.ones(5, dtype=torch.float64)
    for change, message in (
        ({"every": 0}, "every must be a whole number"),
        ({"momentum": 1.0}, "momentum must lie in"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"clip": math.nan}, "clip must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            DecoupledAdam([theta], **change)
    optimizer = DecoupledAdam([theta])
    with pytest.raises(ValueError, match="every parameter needs a main gradient"):
        optimizer.step(scores=[theta.clone()])
    with pytest.raises(ValueError, match="scores must be one for each of 1 parameters; given 2"):
        optimizer.step(scores=[theta, theta])
