"""The penalties by hand against the papers' formulas, differentiated twice by autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from theory.common.seeds import generator
from toy.models.networks import Network
from toy.tests.test_networks import BATCH, SEEDS, WIDTHS, network, plain, points
from toy.training.penalties import PENALTIES, one_centred

GAMMA = 0.7
WIDTHS = [widths for widths in WIDTHS if widths[-1] == 1]

# (||g(x)|| as a function of x, real, fake, u) -> a penalty a seed
FORMULAS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor], Tensor]] = {
    "r1": lambda norm, real, fake, u: GAMMA / 2 * norm(real).square().mean(1),
    "r2": lambda norm, real, fake, u: GAMMA / 2 * norm(fake).square().mean(1),
    "r1-r2": lambda norm, real, fake, u: GAMMA / 2 * (norm(real).square().mean(1) + norm(fake).square().mean(1)),
    "gradient-penalty": lambda norm, real, fake, u: GAMMA * (norm(u * real + (1 - u) * fake) - 1).square().mean(1),
}


def gradient_norm(net: Network, theta: Tensor, x: Tensor, event: int | None) -> Tensor:
    """||grad_x logit||, in the first `event` coordinates: [s, b], differentiable in theta."""
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(plain(net, theta, x).sum(), x, create_graph=True)
    return g[..., :event].norm(dim=-1)


@pytest.mark.parametrize("event", [None, 1])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", PENALTIES)
def test_gradient(name: str, widths: tuple[int, ...], event: int | None) -> None:
    net, x = network(widths), torch.cat([points(widths[0]), 2 + 3 * points(widths[0]).flip(1)], 1)
    u = torch.rand(SEEDS, BATCH, 1, dtype=torch.float64, generator=generator(6, 0))
    theta = net.theta.clone().requires_grad_()
    penalty = FORMULAS[name](lambda at: gradient_norm(net, theta, at, event), x[:, :BATCH], x[:, BATCH:], u)
    (wanted,) = torch.autograd.grad(penalty.sum(), theta, allow_unused=True, materialize_grads=True)

    got = PENALTIES[name](net, net.forward(x), GAMMA, u, event)
    torch.testing.assert_close(got, wanted)
    assert wanted.norm() > 0.01


def test_a_constant_discriminator_is_at_rest() -> None:
    """|| . || has no derivative at g = 0, and NaN is none."""
    net, x = Network((2, 4, 1), SEEDS), torch.randn(SEEDS, BATCH, 2)
    assert torch.equal(one_centred(net, net.forward(x), GAMMA), torch.zeros_like(net.theta))
