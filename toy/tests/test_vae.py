"""VAEs: the bound against exact likelihoods, the loss against torch.distributions, and that they learn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from theory.common.seeds import generator
from theory.manifolds import make
from toy.models.vae import VAE
from toy.training.draws import INIT, TRAIN, Noise

DIM, LATENT, SEEDS = 3, 2, 2


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def vae(hidden: tuple[int, ...] = (8, 8), dim: int = DIM, seeds: tuple[int, ...] = (0, 1)) -> VAE:
    model = VAE(dim, LATENT, hidden, len(seeds))
    model.initialise([generator(seed, INIT) for seed in seeds])
    return model


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# A linear decoder x = W z + b + s noise, whose likelihood N(b, W W^T + s^2 I) and posterior are known.


def linear_vae() -> tuple[VAE, list[MultivariateNormal]]:
    """W has orthogonal columns, so that the posterior's covariance is diagonal and the encoder can be exact."""
    model = vae(hidden=())
    encoder, decoder, _ = model.parts(model.theta)
    laws = []
    with torch.no_grad():
        for seed in range(SEEDS):
            columns = torch.linalg.qr(normal(DIM, LATENT, seed=seed)).Q * torch.tensor([1.5, 0.4])
            offset, variance = normal(DIM, seed=10 + seed), float((2 * model.log_s[seed]).exp())
            laws.append(MultivariateNormal(offset, columns @ columns.T + variance * torch.eye(DIM)))
            precision = columns.square().sum(0) / variance + 1  # [k], of the posterior
            decoder.weights[0][seed], decoder.biases[0][seed, 0] = columns.T, offset
            to_mean = columns / (variance * precision)  # [d k]
            encoder.weights[0][seed] = torch.cat([to_mean, torch.zeros(DIM, LATENT)], 1)
            encoder.biases[0][seed, 0] = torch.cat([-offset @ to_mean, -precision.log()])
    return model, laws


def negative_elbo(model: VAE, x: Tensor) -> Tensor:
    """Exact for a linear decoder, [s]: it is quadratic in the noise, and these four have mean 0 and covariance I."""
    points = math.sqrt(LATENT) * torch.cat([torch.eye(LATENT), -torch.eye(LATENT)])
    each = [model.loss(x, point.expand(*x.shape[:2], LATENT)) for point in points]
    return torch.stack(each).mean(0)


def test_the_exact_posterior_makes_the_bound_an_equality() -> None:
    model, laws = linear_vae()
    x = normal(SEEDS, 50, DIM, seed=3) * 2
    exact = torch.stack([-law.log_prob(points).mean() for law, points in zip(laws, x, strict=True)])
    torch.testing.assert_close(negative_elbo(model, x), exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_any_other_posterior_is_a_bound(seed: int) -> None:
    model, laws = linear_vae()
    x = normal(SEEDS, 50, DIM, seed=3) * 2
    exact = torch.stack([-law.log_prob(points).mean() for law, points in zip(laws, x, strict=True)])
    encoder, _, _ = model.parts(model.theta)
    with torch.no_grad():
        for part in (*encoder.weights, *encoder.biases):
            part += 0.3 * normal(*part.shape, seed=100 + seed)
    assert (negative_elbo(model, x) > exact + 1e-3).all()


def test_loss_by_torch_distributions() -> None:
    model = vae()
    x, noise = normal(SEEDS, 7, DIM), normal(SEEDS, 7, LATENT, seed=1)
    encoder, decoder, _ = model.parts(model.theta)
    mu, v = encoder(x).chunk(2, -1)
    posterior = Independent(Normal(mu, (v / 2).exp()), 1)
    z = mu + (v / 2).exp() * noise
    likelihood = Independent(Normal(decoder(z), model.log_s.exp()[:, None, None]), 1)
    prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    wanted = (kl_divergence(posterior, prior) - likelihood.log_prob(x)).mean(1)
    torch.testing.assert_close(model.loss(x, noise), wanted)


def test_theta_is_all_there_is() -> None:
    """The views cover theta once, and every parameter has a gradient."""
    model = vae()
    count = torch.arange(model.theta.numel(), dtype=torch.get_default_dtype())
    covered = torch.cat([view.flatten() for view in model.views(count)])
    assert torch.equal(covered.sort().values, count)
    assert all(len(view) == SEEDS for view in model.views(count))
    loss = model.loss(normal(SEEDS, 64, DIM), normal(SEEDS, 64, LATENT, seed=1)).sum()
    (gradient,) = torch.autograd.grad(loss, model.theta)
    assert (gradient != 0).all()


def test_s_stays_above_its_bound() -> None:
    model = vae()
    torch.testing.assert_close(model.log_s.exp(), torch.full((SEEDS,), 0.1))
    with torch.no_grad():
        model.parts(model.theta)[2].fill_(-1e3)
    assert (model.log_s == -6).all()


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    alone, beside = vae(seeds=(4,)), vae(seeds=(1, 4, 9))
    x, noise = normal(3, 7, DIM), normal(3, 7, LATENT, seed=1)
    torch.testing.assert_close(alone.loss(x[1:2], noise[1:2])[0], beside.loss(x, noise)[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone.sample(noise[1:2])[0], beside.sample(noise)[1], rtol=1e-12, atol=1e-12)


def test_it_learns_a_ring() -> None:
    """Both seeds: the bound falls by half a nat, and the samples come closer to the ring by a quarter."""
    torch.set_default_dtype(torch.float32)
    law, model = make("ring"), vae(hidden=(32, 32), dim=2)
    noise = Noise(law, (0, 1), TRAIN, 64, LATENT, 1)
    adam = torch.optim.Adam([model.theta], 4e-3, fused=True)
    z = torch.randn(2, 1000, LATENT, generator=torch.Generator().manual_seed(0))

    def found() -> tuple[Tensor, Tensor]:
        draws = noise(10_000)
        with torch.no_grad():
            return model.loss(draws.real[0], draws.latent[0]), law.distance(model.sample(z)).mean(1)

    loss, distance = found()
    for step in range(300):
        draws = noise(step)
        adam.zero_grad()
        model.loss(draws.real[0], draws.latent[0]).sum().backward()
        adam.step()
    learnt_loss, learnt_distance = found()
    assert (learnt_loss < loss - 0.5).all()
    assert (learnt_distance < 0.75 * distance).all()
