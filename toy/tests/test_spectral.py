"""The normalised network against torch's own spectral normalisation, singular values, and autograd."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from theory.common.seeds import generator
from toy.models.networks import SLOPE, Network
from toy.models.spectral import SpectralNetwork

WIDTHS = [(2, 1), (3, 5, 1), (2, 8, 7, 2), (4, 6, 6, 6, 1)]
SEEDS, BATCH = 3, 11


def network(widths: tuple[int, ...], iterations: int = 0) -> SpectralNetwork:
    """In float64, with biases that are not zero, after more power iterations than `initialise` does."""
    count = SEEDS * sum((i + 1) * o for i, o in pairwise(widths))
    net = SpectralNetwork(widths, SEEDS, torch.zeros(count, dtype=torch.float64))
    net.initialise([generator(seed, 0) for seed in range(SEEDS)])
    for bias in net.views(net.raw)[1]:
        bias.normal_(generator=generator(9, 0))
    for _ in range(1 + iterations):
        net.normalise()
    return net


def points(net: Network) -> Tensor:
    return torch.randn(SEEDS, BATCH, net.widths[0], dtype=torch.float64, generator=generator(5, 0))


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_converged_the_largest_singular_value_is_one(widths: tuple[int, ...]) -> None:
    net = network(widths, iterations=1000)
    raw, biases = net.views(net.raw)
    for w, sigma, unscaled in zip(net.weights, net.sigma, raw, strict=True):
        largest = torch.linalg.svdvals(w)[:, 0]
        torch.testing.assert_close(largest, torch.ones_like(largest), rtol=1e-9, atol=0)
        torch.testing.assert_close(w * sigma, unscaled)
    assert all(torch.equal(b, c) for b, c in zip(net.biases, biases, strict=True))


def test_converged_it_is_lipschitz() -> None:
    """|D(x) - D(y)| <= |x - y|; the network that is not normalised breaks it."""
    net = network((4, 6, 6, 6, 1), iterations=1000)
    plain = Network(net.widths, SEEDS, 3 * net.raw)
    x, y = points(net), 2 * points(net).flip(1)
    distance = (x - y).norm(dim=-1)
    assert ((net(x) - net(y)).norm(dim=-1) <= distance).all()
    assert ((plain(x) - plain(y)).norm(dim=-1) > distance).any()


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_pull_back(widths: tuple[int, ...]) -> None:
    """Against autograd through W / (v^T W u), u and v held fixed: at any stage of the power iteration."""
    net = network(widths)
    raw = net.raw.clone().requires_grad_()
    theta = raw.clone()
    for w, u, v in zip(net.views(theta)[0], net.u, net.v, strict=True):
        w.div_(torch.bmm(torch.bmm(v, w), u.mT))
    torch.testing.assert_close(theta.detach(), net.theta)
    got = torch.randn(net.theta.shape, dtype=torch.float64, generator=generator(8, 0))
    (wanted,) = torch.autograd.grad(theta, raw, got)
    net.pull_back(net.views(got))
    torch.testing.assert_close(got, wanted)


def test_pull_back_converged_is_through_the_largest_singular_value() -> None:
    net = network((4, 6, 6, 6, 1), iterations=1000)
    raw = net.raw.clone().requires_grad_()
    theta = raw.clone()
    for w in net.views(theta)[0]:
        w.div_(torch.linalg.matrix_norm(w, 2, keepdim=True))
    got = torch.randn(net.theta.shape, dtype=torch.float64, generator=generator(8, 0))
    (wanted,) = torch.autograd.grad(theta, raw, got)
    net.pull_back(net.views(got))
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)


def module(net: SpectralNetwork, seed: int) -> nn.Sequential:
    """One seed as an nn module under torch's spectral normalisation, about to do the iteration that `net` does next.

    torch's iteration starts with the vector of the other side, hence dim=1 and no iteration of its own at the start.
    """
    layers: list[nn.Module] = []
    for w, b, u in zip(*net.views(net.raw), net.u, strict=True):
        linear = nn.Linear(w.shape[1], w.shape[2], dtype=torch.float64)
        linear.weight.data, linear.bias.data = w[seed].T.clone(), b[seed, 0].clone()
        spectral_norm(linear, dim=1)
        linear.parametrizations.weight[0]._v.copy_(u[seed, 0])  # type: ignore[index, union-attr]
        layers += [linear, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def test_training_is_torchs() -> None:
    """Five steps of Adam on E D^2 with one power iteration each."""
    net = network((3, 8, 7, 1))
    modules, x = [module(net, seed) for seed in range(SEEDS)], points(net)
    adam, gradient = torch.optim.Adam([net.parameters], 0.05), torch.empty_like(net.theta)
    adams = [torch.optim.Adam(m.parameters(), 0.05) for m in modules]
    net.parameters.grad = gradient
    for _ in range(5):
        net.normalise()
        hidden = net.forward(x)
        for seed, m in enumerate(modules):
            out = m(x[seed])
            torch.testing.assert_close(hidden[-1][seed], out.detach(), rtol=1e-7, atol=1e-10)
            adams[seed].zero_grad()
            out.square().mean().backward()
            adams[seed].step()
        net.parameter_gradient(hidden, 2 * hidden[-1] / BATCH, net.views(gradient))
        net.pull_back(net.views(gradient))
        adam.step()


def initialised(kind: type[Network]) -> tuple[Network, list[Tensor]]:
    """A network, and the states that it leaves its seeds' generators in."""
    generators = [generator(seed, 0) for seed in range(SEEDS)]
    net = kind((2, 64, 64, 1), SEEDS)
    net.initialise(generators)
    return net, [g.get_state() for g in generators]


def test_initialise_is_the_plain_networks() -> None:
    """The same raw numbers, and none more drawn, so that what is drawn next is the same with and without."""
    (plain, states), (net, after), (again, _) = (initialised(k) for k in (Network, SpectralNetwork, SpectralNetwork))
    assert torch.equal(net.parameters, plain.parameters)
    assert all(torch.equal(a, b) for a, b in zip(states, after, strict=True))
    assert torch.equal(net.theta, again.theta)


def test_initialise_normalises() -> None:
    """Nearly: an estimate of sigma is never too large, and 15 iterations leave it less than 10 % too small."""
    net, _ = initialised(SpectralNetwork)
    largest = torch.cat([torch.linalg.svdvals(w)[:, 0] for w in net.weights])
    assert (largest > 1 - 1e-5).all()
    assert (largest < 1.1).all()


def steps(net: SpectralNetwork, count: int) -> None:
    """Gradient steps up E D."""
    x, gradient = points(net), torch.empty_like(net.theta)
    for _ in range(count):
        hidden = net.forward(x)
        net.parameter_gradient(hidden, torch.ones_like(hidden[-1]), net.views(gradient))
        net.pull_back(net.views(gradient))
        net.raw.add_(gradient, alpha=0.01)
        net.normalise()


def test_state_continues_bit_for_bit() -> None:
    net, again = network((2, 8, 7, 1)), network((2, 8, 7, 1))
    steps(net, 3)
    state = net.state()
    kept = copy.deepcopy(state)
    steps(net, 3)
    again.load(state)
    steps(again, 3)
    assert torch.equal(again.theta, net.theta)
    assert torch.equal(again.raw, net.raw)
    again.load(state)  # which the steps since have left alone
    assert all(torch.equal(a, b) for a, b in zip(again.state()["u"], kept["u"], strict=True))
    assert torch.equal(again.theta, kept["theta"])


def test_seeds_do_not_mix() -> None:
    net = network((2, 8, 1))
    other = copy.deepcopy(net)
    other.weights, other.biases = other.views(other.theta)
    for w in other.views(other.raw)[0]:
        w[1:] += 1
    net.normalise()
    other.normalise()
    for w, changed in zip(net.weights, other.weights, strict=True):
        assert torch.equal(w[0], changed[0])
        assert not torch.equal(w[1], changed[1])
