"""The backward passes by hand against autograd, at every width and depth that the runs use."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from theory.common.seeds import generator
from toy.models.networks import SLOPE, Network

WIDTHS = [(2, 1), (3, 5, 1), (2, 8, 7, 2), (4, 6, 6, 6, 1)]
SEEDS, BATCH = 3, 11


def network(widths: tuple[int, ...]) -> Network:
    """In float64, with biases that are not zero."""
    theta = torch.zeros(SEEDS * sum((i + 1) * o for i, o in pairwise(widths)), dtype=torch.float64)
    net = Network(widths, SEEDS, theta)
    net.initialise([generator(seed, 0) for seed in range(SEEDS)])
    for bias in net.biases:
        bias.normal_(generator=generator(9, 0))
    return net


def plain(net: Network, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The network as one would write it for autograd, one seed at a time."""
    weights, biases = net.views(theta)
    out = []
    for seed in range(SEEDS):
        h = x[seed]
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            h = h @ w[seed] + b[seed]
            if layer < len(weights) - 1:
                h = torch.nn.functional.leaky_relu(h, SLOPE)
        out.append(h)
    return torch.stack(out)


def points(width: int) -> torch.Tensor:
    return torch.randn(SEEDS, BATCH, width, dtype=torch.float64, generator=generator(5, 0))


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_forward_and_both_gradients(widths: tuple[int, ...]) -> None:
    net, x = network(widths), points(widths[0]).requires_grad_()
    theta = net.theta.clone().requires_grad_()
    wanted = plain(net, theta, x)
    grad = torch.randn_like(wanted)
    want_x, want_theta = torch.autograd.grad(wanted, (x, theta), grad)

    hidden = net.forward(x.detach())
    got = torch.empty_like(theta)
    net.parameter_gradient(hidden, grad, net.views(got))
    torch.testing.assert_close(hidden[-1], wanted.detach())
    torch.testing.assert_close(net.input_gradient(hidden, grad), want_x)
    torch.testing.assert_close(got, want_theta)


def test_seeds_do_not_mix() -> None:
    """Another seed's parameters and samples leave a seed's outputs and gradients as they were."""
    net, x = network((2, 8, 1)), points(2)
    before = net(x)[0].clone()
    for weight in net.weights:
        weight[1:] += 1
    x[1:] += 1
    assert torch.equal(net(x)[0], before)


def test_initialisation_is_each_seeds_own() -> None:
    alone, together = Network((2, 8, 1), 1), Network((2, 8, 1), 2)
    alone.initialise([generator(7, 0)])
    together.initialise([generator(6, 0), generator(7, 0)])
    assert torch.equal(together.weights[0][1], alone.weights[0][0])
    assert not torch.equal(together.weights[0][0], alone.weights[0][0])
