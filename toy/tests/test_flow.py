"""Flows: inverse and log determinant against autograd, the density against its integral, and that they learn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from theory.common.seeds import generator
from theory.manifolds import make
from toy.models.flow import DEQUANTISATION, Flow
from toy.training.draws import INIT, TRAIN, Noise

SEEDS = 2
DIMS = [2, 3, 5, 8]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def flow(dim: int, seeds: tuple[int, ...] = (0, 1), hidden: tuple[int, ...] = (8, 8), bend: float = 0.3) -> Flow:
    """A flow as it starts, bent by random numbers of this size in its parameters."""
    model = Flow(dim, hidden, len(seeds))
    generators = [generator(seed, INIT) for seed in seeds]
    model.initialise(generators)
    with torch.no_grad():
        for view in model.views(model.theta):
            for part, g in zip(view, generators, strict=True):
                part += bend * torch.randn(part.shape, generator=g)
    return model


@pytest.mark.parametrize("dim", DIMS)
def test_it_starts_as_the_identity_up_to_a_roll(dim: int) -> None:
    z = normal(SEEDS, 5, dim)
    x = flow(dim, bend=0.0).sample(z)
    torch.testing.assert_close(x.sort(-1).values, z.sort(-1).values)


@pytest.mark.parametrize("dim", DIMS)
def test_the_inverse_inverts(dim: int) -> None:
    model, z = flow(dim), normal(SEEDS, 20, dim)
    x = model.sample(z)
    assert ((x - z).norm(dim=-1) > 0.1).all()
    torch.testing.assert_close(model.inverse(x)[0], z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.sample(model.inverse(z)[0]), z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", DIMS)
def test_log_determinant_by_autograd(dim: int) -> None:
    """That of df/dz, and that no entry of df/dz is 0: each coordinate of x depends on each of z."""
    model, z = flow(dim), normal(SEEDS, 1, dim)
    x = model.sample(z)
    got = model.inverse(x)[1]
    for seed in range(SEEDS):

        def f(point: Tensor, seed: int = seed) -> Tensor:
            return model.sample(z.index_put((torch.tensor(seed), torch.tensor(0)), point))[seed, 0]

        derivative = jacobian(f, z[seed, 0])
        assert (derivative != 0).all()
        torch.testing.assert_close(got[seed, 0], torch.linalg.slogdet(derivative).logabsdet, rtol=1e-9, atol=1e-9)


def test_the_density_integrates_to_one() -> None:
    """Over a square that holds what is within 7 deviations of z, all but 1e-10 of the mass, by the midpoint rule."""
    model = flow(2, bend=0.05)
    reach = model.sample(7 * torch.nn.functional.normalize(normal(SEEDS, 1000, 2), dim=-1)).abs().max().item()
    edges = torch.linspace(-reach, reach, 401)
    middles = (edges[1:] + edges[:-1]) / 2
    grid = torch.cartesian_prod(middles, middles).expand(SEEDS, -1, -1)
    with torch.no_grad():
        mass = model.log_prob(grid).exp().sum(1) * (edges[1] - edges[0]) ** 2
    torch.testing.assert_close(mass, torch.ones(SEEDS), rtol=0, atol=1e-3)


def test_the_loss_is_that_of_dequantised_samples() -> None:
    """At the start, of the standard normal density, in closed form."""
    x, noise = normal(SEEDS, 9, 3), normal(SEEDS, 9, 3, seed=1)
    wanted = ((x + DEQUANTISATION * noise).square().sum(-1) / 2 + 1.5 * math.log(2 * math.pi)).mean(1)
    torch.testing.assert_close(flow(3, bend=0.0).loss(x, noise), wanted)


def test_theta_is_all_there_is() -> None:
    """The views cover theta once, and every parameter of a bent flow has a gradient from samples."""
    model = flow(5)
    count = torch.arange(model.theta.numel(), dtype=torch.get_default_dtype())
    covered = torch.cat([view.flatten() for view in model.views(count)])
    assert torch.equal(covered.sort().values, count)
    assert all(len(view) == SEEDS for view in model.views(count))
    (gradient,) = torch.autograd.grad(model.sample(normal(SEEDS, 64, 5)).square().sum(), model.theta)
    assert (gradient != 0).all()


def test_a_line_has_no_coupling() -> None:
    with pytest.raises(ValueError, match="needs dim of at least 2; given 1"):
        Flow(1, [8], 2)


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    alone, beside = flow(3, (4,)), flow(3, (1, 4, 9))
    x, noise = normal(3, 7, 3), normal(3, 7, 3, seed=1)
    torch.testing.assert_close(alone.loss(x[1:2], noise[1:2])[0], beside.loss(x, noise)[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone.sample(noise[1:2])[0], beside.sample(noise)[1], rtol=1e-12, atol=1e-12)


def test_it_learns_a_ring() -> None:
    """Both seeds: the likelihood gains half a nat, and the median sample comes closer to the ring by a quarter. (The
    mean is that of a few far samples, and differs by rounding.)"""
    torch.set_default_dtype(torch.float32)
    law, model = make("ring"), flow(2, hidden=(32, 32), bend=0.0)
    noise = Noise(law, (0, 1), TRAIN, 64, 2, 1)
    adam = torch.optim.Adam([model.theta], 4e-3, fused=True)
    z = torch.randn(2, 1000, 2, generator=torch.Generator().manual_seed(0))

    def found() -> tuple[Tensor, Tensor]:
        draws = noise(10_000)
        with torch.no_grad():
            return model.loss(draws.real[0], draws.latent[0]), law.distance(model.sample(z)).median(1).values

    loss, distance = found()
    for step in range(300):
        draws = noise(step)
        adam.zero_grad()
        model.loss(draws.real[0], draws.latent[0]).sum().backward()
        adam.step()
    learnt_loss, learnt_distance = found()
    assert (learnt_loss < loss - 0.5).all()
    assert (learnt_distance < 0.75 * distance).all()
