"""Likelihood training: a step against autograd and torch.optim, the laws of the arms, and what the term does."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from theory.common.errors import Diverged
from toy.config import ARMS, Arm, Config
from toy.metrics import Reference
from toy.models.flow import Flow
from toy.models.networks import Network
from toy.models.vae import VAE
from toy.training.draws import CHUNK
from toy.training.gan import training
from toy.training.likelihood import LikelihoodTrainer, model_of

SMALL = Config(
    generator="vae", seeds=2, width=8, layers=2, latent=3, batch=12, steps=50, d_ahead=3, samples=32, eval_every=20
)
BOTH = pytest.mark.parametrize("generator", ["vae", "flow"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def small(**changes) -> Config:
    """All arms with one learning rate."""
    config = dataclasses.replace(SMALL, **changes)
    for arm in ARMS:
        config = config.with_arm(arm, Arm(2e-3, 0.0 if arm == "gan" else 1e-3, 1.2 if arm == "bounded" else None))
    return config


def trained(config: Config, arm: str, steps: int, seeds: tuple[int, ...] = (0, 1)) -> LikelihoodTrainer:
    trainer = LikelihoodTrainer(config, arm, seeds)
    for _ in range(steps):
        trainer.step()
    return trainer


def networks(model: VAE | Flow) -> tuple[Network, Network]:
    """Encoder and decoder of a VAE."""
    assert isinstance(model, VAE)
    return model.parts(model.theta)[:2]


def score_loss(trainer: LikelihoodTrainer, x: Tensor, u: Tensor, eps: Tensor) -> Tensor:
    """mean_b ||eps*(x_t) - eps||^2, summed over seeds, by the definitions."""
    nsr = (trainer.config.low + (trainer.config.high - trainer.config.low) * u)[..., None]
    x_t = x + nsr * eps
    residual = (x_t - trainer.law.denoise(x_t, 1.0, nsr[..., 0])) / nsr - eps
    return residual.square().sum(-1).mean(1).sum()


@BOTH
@pytest.mark.parametrize("every", [1, 3])
def test_plain_and_summed_steps_by_autograd(generator: str, every: int) -> None:
    """Of L + lambda k L_score as one function of theta, by torch.optim.Adam."""
    for arm in ("gan", "summed"):
        config = small(generator=generator, every=every)
        got, reference = trained(config, arm, 4), LikelihoodTrainer(config, arm, (0, 1))
        model = model_of(config, 2, 2)
        with torch.no_grad():
            model.theta.copy_(reference.model.theta)
        adam = torch.optim.Adam([model.theta], 2e-3, (config.beta1, config.beta2))
        average = model.theta.detach().clone()
        for step in range(4):
            adam.param_groups[0]["lr"] = 2e-3 * (1 + math.cos(math.pi * step / config.steps)) / 2
            draws = reference.noise(step)
            loss = model.loss(draws.real[0], draws.latent[0]).sum()
            if arm == "summed" and step % every == 0:
                loss = loss + 1e-3 * every * score_loss(reference, model.sample(draws.latent[1]), draws.u, draws.eps)
            adam.zero_grad()
            loss.backward()
            adam.step()
            average = config.ema * average + (1 - config.ema) * model.theta.detach()
        torch.testing.assert_close(got.model.theta, model.theta, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(got.average.theta.detach(), average, rtol=1e-4, atol=1e-6)


@BOTH
def test_without_weight_an_arm_is_the_plain_generator(generator: str) -> None:
    config = small(generator=generator)
    plain = trained(config, "gan", 5).model.theta
    for arm in ARMS[1:]:
        free = dataclasses.replace(config.arm(arm), weight=0.0)
        assert torch.equal(trained(config.with_arm(arm, free), arm, 5).model.theta, plain)
        assert not torch.equal(trained(config, arm, 5).model.theta, plain)


@BOTH
def test_the_decoupled_step(generator: str) -> None:
    """The first: the plain one, and beside it lr A / (|g| + 1e-8), A the gradient of lambda L_score; Adam's moments
    are those without the term."""
    config = small(generator=generator, clip=1e9)
    start, plain, got = (trained(config, arm, n) for arm, n in (("gan", 0), ("gan", 1), ("decoupled", 1)))
    draws, theta = start.noise(0), start.model.theta
    (g,) = torch.autograd.grad(start.model.loss(draws.real[0], draws.latent[0]).sum(), theta)
    term = 1e-3 * score_loss(start, start.model.sample(draws.latent[1]), draws.u, draws.eps)
    (score,) = torch.autograd.grad(term, theta, allow_unused=True)
    wanted = plain.model.theta - 2e-3 * score / (g.abs() + 1e-8)
    moved = (g.abs() > 1e-4) & (score != 0)  # where g is rounding, so is the quotient
    assert moved.float().mean() > 0.01
    torch.testing.assert_close(got.model.theta[moved], wanted[moved], rtol=1e-3, atol=1e-6)
    for name, value in plain.update.state()["adam"].items():
        assert torch.equal(got.update.state()["adam"][name], value)


@BOTH
def test_bounded_is_decoupled_with_a_bound(generator: str) -> None:
    """Equal where the bound is beyond all samples."""
    config = small(generator=generator)
    wide = config.with_arm("bounded", dataclasses.replace(config.bounded, bound=1e9))
    assert torch.equal(trained(wide, "bounded", 5).model.theta, trained(wide, "decoupled", 5).model.theta)
    assert not torch.equal(trained(config, "bounded", 5).model.theta, trained(wide, "bounded", 5).model.theta)


def test_the_term_moves_the_decoder_alone() -> None:
    """By samples of the prior, which no encoder has seen."""
    config = small()
    plain, got = trained(config, "gan", 1), trained(config, "decoupled", 1)
    (encoder, decoder), (same, other) = (networks(trainer.model) for trainer in (plain, got))
    assert torch.equal(encoder.theta, same.theta)
    assert not torch.equal(decoder.theta, other.theta)


@BOTH
@pytest.mark.parametrize("at", [5, CHUNK, CHUNK + 3])
def test_state_continues_bit_for_bit(generator: str, at: int) -> None:
    config, end = small(generator=generator, term="matching"), CHUNK + 5
    trainer = trained(config, "decoupled", at)
    state = trainer.state()
    again = LikelihoodTrainer(config, "decoupled", (0, 1))
    again.load(state)
    for _ in range(end - at):
        trainer.step()
        again.step()
    assert again.at == trainer.at == end
    assert torch.equal(again.model.theta, trainer.model.theta)
    assert torch.equal(again.sample(), trainer.sample())
    wanted, got = trainer.update.state(), again.update.state()
    assert torch.equal(got["moment"], wanted["moment"])
    assert all(torch.equal(got["adam"][name], wanted["adam"][name]) for name in wanted["adam"])


@BOTH
def test_a_seed_does_not_depend_on_its_neighbours(generator: str) -> None:
    config = small(generator=generator)
    alone, beside = trained(config, "summed", 5, (4,)), trained(config, "summed", 5, (1, 4, 9))
    torch.testing.assert_close(alone.sample()[0], beside.sample()[1], rtol=1e-4, atol=1e-5)
    one, three = (t.evaluate(Reference.of(t.law, t.seeds, n=32)) for t in (alone, beside))
    for name, values in one.items():
        torch.testing.assert_close(values[0], three[name][1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(beside.sample()[0], beside.sample()[1])


@BOTH
def test_arms_see_the_same_data(generator: str) -> None:
    first, *others = (LikelihoodTrainer(small(generator=generator), arm, (0, 1)) for arm in ARMS)
    for other in others:
        assert torch.equal(other.model.theta, first.model.theta)
        for name in ("real", "latent", "eps", "u"):
            assert torch.equal(getattr(other.noise(7), name), getattr(first.noise(7), name))


@BOTH
def test_training_evaluates_where_it_says(generator: str) -> None:
    trainer = LikelihoodTrainer(small(generator=generator), "summed", (0, 1))
    reference = Reference.of(trainer.law, (0, 1), n=SMALL.samples)
    seen = [(trainer.at, "w2" in found, "negative_log_likelihood" in found) for found in training(trainer, reference)]
    assert seen == [(0, False, True), (20, False, True), (40, False, True), (50, True, True)]


def test_gradient_norm() -> None:
    """The median over the batch of ||d ||eps* - eps||^2 / dx||, a sample at a time by autograd."""
    trainer = LikelihoodTrainer(small(), "gan", (0, 1))
    draws = trainer.noise(0)
    x = trainer.model.sample(draws.latent[1]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score_loss(trainer, x, draws.u, draws.eps) * x.shape[1], x)
    found = trainer.gradient_norms()
    assert list(found) == ["score_gradient"]
    torch.testing.assert_close(found["score_gradient"], gradient.norm(dim=-1).median(1).values, rtol=1e-4, atol=1e-4)


@BOTH
def test_divergence_names_the_seed(generator: str) -> None:
    trainer = trained(small(generator=generator), "summed", 2)
    with torch.no_grad():
        trainer.model.views(trainer.model.theta)[0][1] = math.nan
    with pytest.raises(Diverged, match="the loss is no longer finite: arm summed, seed 1, step 2"):
        trainer.step()


def test_samples_out_of_range_are_divergence() -> None:
    """Not an error of the metrics."""
    trainer = LikelihoodTrainer(small(), "gan", (3, 5))
    with torch.no_grad():
        networks(trainer.average)[1].biases[-1][1] = 1e30
    with pytest.raises(Diverged, match="samples is no longer finite: arm gan, seed 5, step 0"):
        trainer.evaluate(Reference.of(trainer.law, (3, 5), n=SMALL.samples))


def test_a_gan_is_not_trained_by_likelihood() -> None:
    with pytest.raises(ValueError, match="is vae or flow; given gan"):
        LikelihoodTrainer(small(generator="gan"), "gan", (0,))


@BOTH
def test_the_gradient_is_clipped_a_seed_at_a_time(generator: str) -> None:
    """SGD's first step has the length lr max_norm in each seed."""
    config = small(generator=generator, optimizer="sgd", max_norm=1e-2)
    start, moved = (trained(config, "summed", steps).model for steps in (0, 1))
    views = moved.views((moved.theta - start.theta).detach())
    length = torch.stack([view.flatten(1).square().sum(1) for view in views]).sum(0).sqrt()
    torch.testing.assert_close(length, torch.full((2,), 2e-5), rtol=1e-2, atol=0)


@pytest.mark.slow  # toy/tests/test_flow.py trains one until it is there
def test_the_term_brings_a_vae_to_the_ring() -> None:
    """Both seeds: nearer than the plain VAE by a tenth at least, at the same learning rate and steps."""
    config = dataclasses.replace(SMALL, width=32, latent=2, batch=64, steps=400, samples=512)
    distance = {}
    for arm in ("gan", "summed", "decoupled"):
        config = config.with_arm(arm, Arm(4e-3, 0.0 if arm == "gan" else 0.1))
        trainer = trained(config, arm, config.steps)
        distance[arm] = trainer.law.distance(trainer.sample()).mean(1)
    for arm in ("summed", "decoupled"):
        assert (distance[arm] < 0.9 * distance["gan"]).all()
