"""How parameters move: lengths, clipping and SGD; Adam's summed and decoupled steps are in test_trainer."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from toy.config import Config
from toy.training.update import Update

CONFIG = Config(beta1=0.0, momentum=0.0)
MAIN = torch.tensor([3.0, 4.0, 0.3, 0.4])  # of two seeds, two parameters each: norms 5 and 1/2
SCORE = torch.tensor([1.0, 0.0, 0.0, 1.0])
LR = torch.tensor([0.1, 0.1], dtype=torch.float64)


def views(flat: Tensor) -> list[Tensor]:
    """Two tensors [seed, 1], neither of which is one seed's."""
    return [flat.view(2, 2)[:, :1], flat.view(2, 2)[:, 1:]]


def moved(score: Tensor | None = None, steps: int = 1, lr: Tensor = LR, **changes) -> Tensor:
    """Where theta = 0 goes."""
    theta = torch.zeros(4)
    update = Update(theta, views, dataclasses.replace(CONFIG, **changes), lr)
    for at in range(steps):
        update.main.copy_(MAIN)
        if score is not None:
            update.score.copy_(score)
        update.step(at, 1.0, score is not None)
    return theta


def test_sgd() -> None:
    torch.testing.assert_close(moved(optimizer="sgd"), -0.1 * MAIN)
    torch.testing.assert_close(moved(SCORE, optimizer="sgd"), -0.1 * (MAIN + SCORE))


def test_lazy_sgd_is_weight_over_k() -> None:
    """Claim L1 where gradients are steady: lambda k every k-th step is lambda every step."""
    theta = torch.zeros(4)
    update = Update(theta, views, dataclasses.replace(CONFIG, optimizer="sgd", every=4), LR)
    for at in range(8):
        update.main.copy_(MAIN)
        update.score.copy_(4 * SCORE)
        update.step(at, 1.0, at % 4 == 0)
    torch.testing.assert_close(theta, moved(SCORE, steps=8, optimizer="sgd"))


def test_max_norm_is_each_seeds_own() -> None:
    """Clipped at 1, the first seed's gradient has norm 1 and the second's is as it was."""
    got = moved(optimizer="sgd", max_norm=1.0)
    torch.testing.assert_close(got, -0.1 * torch.tensor([0.6, 0.8, 0.3, 0.4]))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_equal_length(optimizer: str) -> None:
    """The direction is that of both steps, the length that of the main one, for each seed."""
    alone, free = moved(optimizer=optimizer), moved(SCORE, optimizer=optimizer)
    got = moved(SCORE, optimizer=optimizer, equal_length=True)
    lengths = [x.view(2, 2).norm(dim=1) for x in (got, alone)]
    torch.testing.assert_close(*lengths)
    assert not torch.allclose(free.view(2, 2).norm(dim=1), lengths[1])
    torch.testing.assert_close(torch.cosine_similarity(got.view(2, 2), free.view(2, 2)), torch.ones(2))


def second_moment(arm: str, k: int, beta2: float, corrected: bool = False) -> Tensor:
    """Adam's second moment that the adversarial step meets, averaged over the steps of a cycle, once it has settled."""
    config = dataclasses.replace(CONFIG, every=k, beta2=beta2, corrected=corrected)
    update = Update(torch.zeros(4), views, config, LR, arm)
    assert update.adam is not None
    settled, found = int(8 / (1 - beta2)), []
    for at in range(settled * k):
        update.main.copy_(MAIN)
        update.step(at, 1.0, False)
        if at >= (settled - 1) * k:
            found.append(update.adam.second_moment())
        if at % k == 0:
            update.score.copy_(A)
            update.own_step(1.0)
    return torch.stack(found).mean(0)


A = torch.tensor([30.0, 1.0, -3.0, 0.0])


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("k", [1, 4])
def test_shared_moments_are_claim_c8(k: int, corrected: bool) -> None:
    """v = (k g^2 + A^2) / (k + 1), to what it ripples by within a cycle of k + 1 steps: (k + 1) (1 - beta2) = 0.5 % of
    it; with a second Adam it is g^2."""
    found = second_moment("own-step", k, 0.999, corrected)
    torch.testing.assert_close(found, (k * MAIN**2 + A**2) / (k + 1), rtol=6e-3, atol=0)
    assert not torch.allclose(found, MAIN**2 + A**2 / k, rtol=6e-3)  # as without the step of its own
    torch.testing.assert_close(second_moment("two-adams", k, 0.999, corrected), MAIN**2, rtol=1e-4, atol=0)


@pytest.mark.parametrize("arm", ["own-step", "two-adams"])
def test_own_step_of_sgd(arm: str) -> None:
    """There are no moments to share."""
    theta = torch.zeros(4)
    update = Update(theta, views, dataclasses.replace(CONFIG, optimizer="sgd"), LR, arm)
    update.main.copy_(MAIN)
    update.step(0, 0.5, False)
    update.score.copy_(SCORE)
    update.own_step(0.5)
    torch.testing.assert_close(theta, -0.05 * (MAIN + SCORE))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"equal_length": True}])
def test_state_continues(changes: dict) -> None:
    config = dataclasses.replace(CONFIG, beta1=0.5, momentum=0.9, **changes)

    def run(update: Update, steps: range) -> None:
        for at in steps:
            update.main.copy_(MAIN * (at + 1))
            update.score.copy_(SCORE / (at + 1))
            update.step(at, 0.5, True)

    first = Update(torch.zeros(4), views, config, LR)
    run(first, range(3))
    second = Update(first.theta.clone(), views, config, LR)
    second.load(first.state())
    run(first, range(3, 6))
    run(second, range(3, 6))
    assert torch.equal(first.theta, second.theta)
