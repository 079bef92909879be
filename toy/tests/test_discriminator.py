"""A discriminator's step against autograd: every game with every regulariser, with and without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from theory.common.seeds import generator
from toy.config import LOSSES, REGULARISERS, Config
from toy.models.spectral import SpectralNetwork
from toy.training.discriminator import Discriminator
from toy.training.draws import TRAIN_EXTRA, Extra, Extras
from toy.training.games import GAMES
from toy.training.penalties import PENALTIES

SEEDS, BATCH, DIM = (0, 1), 6, 3
CONFIG = Config(width=8, layers=2, batch=BATCH, gamma=0.7)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def discriminator(labels: int = 0, **changes) -> Discriminator:
    config = dataclasses.replace(CONFIG, **changes)
    lr, gamma = (torch.full((len(SEEDS),), value, dtype=torch.float64) for value in (1e-3, config.gamma))
    found = Discriminator(config, DIM, labels, lr, gamma, lambda _: None)
    found.initialise([generator(seed, 0) for seed in SEEDS])
    return found


def data(labels: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, BATCH, DIM + labels, generator=g), torch.randn(2, BATCH, DIM + labels, generator=g) + 1


def logit(theta: Tensor, found: Discriminator, x: Tensor) -> Tensor:
    """The network at other parameters, with autograd."""
    weights, biases = found.network.views(theta)
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = torch.baddbmm(b, x, w)
        x = x if layer == len(weights) - 1 else leaky_relu(x, 0.2)
    return x


def losses(real: Tensor, fake: Tensor, name: str) -> Tensor:
    """The discriminator's losses once more, by their names in the literature."""
    log_sigmoid = torch.nn.functional.logsigmoid
    return (
        {
            "saturating": -log_sigmoid(real) - log_sigmoid(-fake),
            "non-saturating": -log_sigmoid(real) - log_sigmoid(-fake),
            "hinge": (1 - real).clamp(min=0) + (1 + fake).clamp(min=0),
            "least-squares": ((real - 1).square() + fake.square()) / 2,
            "wasserstein": fake - real,
            "relativistic": -log_sigmoid(real - fake),
        }[name]
        .sum(0)
        .mean()
    )


def penalties(theta: Tensor, found: Discriminator, real: Tensor, fake: Tensor, extra: Extra) -> Tensor:
    def slopes(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(logit(theta, found, x).sum(), x, create_graph=True)[0][..., :DIM].norm(dim=-1)

    regulariser, gamma = found.config.regulariser, found.config.gamma
    if regulariser == "gradient-penalty":
        assert extra.u is not None
        return gamma * (slopes(extra.u * real + (1 - extra.u) * fake) - 1).square().mean(1).sum()
    on_real = gamma / 2 * slopes(real).square().mean(1).sum() if regulariser in ("r1", "r1-r2") else 0
    on_fake = gamma / 2 * slopes(fake).square().mean(1).sum() if regulariser in ("r2", "r1-r2") else 0
    return torch.as_tensor(on_real + on_fake)


def test_names() -> None:
    """What the command line lists is what there is."""
    assert list(GAMES) == list(LOSSES)
    assert set(REGULARISERS) == {*PENALTIES, "none", "spectral", "instance-noise", "diffusion"}


@pytest.mark.parametrize("labels", [0, 2])
@pytest.mark.parametrize(
    "regulariser", [name for name in REGULARISERS if name not in ("spectral", "instance-noise", "diffusion")]
)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss: str, regulariser: str, labels: int) -> None:
    found, (real, fake) = discriminator(labels, loss=loss, regulariser=regulariser), data(labels)
    theta = found.network.theta.clone().requires_grad_()
    extra = Extras(regulariser, SEEDS, TRAIN_EXTRA, BATCH, DIM, 1)(3)[0]
    if extra.u is not None:
        extra = Extra(u=extra.u.double())
    found.step(real, fake, extra, 1.0)
    objective = losses(logit(theta, found, real), logit(theta, found, fake), loss)
    wanted = torch.autograd.grad(objective + penalties(theta, found, real, fake, extra), theta)[0]
    torch.testing.assert_close(found.adam.grad, wanted, rtol=1e-8, atol=1e-11)
    assert not torch.equal(found.network.theta, theta)


@pytest.mark.parametrize("regulariser", ["r1", "r1-r2"])
@pytest.mark.parametrize("how", ["summed", "own-step", "corrected"])
def test_lazy_penalties_are_torchs(how: str, regulariser: str) -> None:
    """Six steps, the penalty at every third at 3 gamma, by autograd and torch.optim.Adam; saved and loaded between."""
    changes: dict[str, Any] = {"regulariser": regulariser, "regulariser_every": 3, "regulariser_step": how}
    found, (real, fake) = discriminator(**changes), data()
    theta = found.network.theta.clone().requires_grad_()
    c = 3 / 4 if how == "corrected" else 1
    adam = torch.optim.Adam([theta], 1e-3 * c, (found.config.beta1**c, found.config.beta2**c))
    for step in range(6):
        game = losses(logit(theta, found, real), logit(theta, found, fake), found.config.loss)
        if step % 3 == 0 and how == "summed":
            game = game + 3 * penalties(theta, found, real, fake, Extra())
        theta.grad = torch.autograd.grad(game, theta)[0]
        adam.step()
        if step % 3 == 0 and how != "summed":
            penalty = 3 * penalties(theta, found, real, fake, Extra())
            (theta.grad,) = torch.autograd.grad(penalty, theta, materialize_grads=True, allow_unused=True)
            adam.step()
        found.step(real, fake, Extra(), 1.0)
        if step == 1:
            state = found.state()
            found = discriminator(**changes)
            found.load(state)
    torch.testing.assert_close(found.network.theta, theta.detach(), rtol=1e-8, atol=1e-11)
    plain = discriminator(regulariser=regulariser)
    for _ in range(6):
        plain.step(real, fake, Extra(), 1.0)
    assert (plain.network.theta - theta).abs().max() > 1e-5


def test_spectral_steps_the_raw_weights() -> None:
    found, (real, fake) = discriminator(regulariser="spectral"), data()
    assert isinstance(found.network, SpectralNetwork)
    before = found.network.raw.clone()
    for _ in range(200):
        found.step(real, fake, Extra(), 1e-6)
    sizes = [torch.linalg.matrix_norm(w, 2) for w in found.network.weights]
    torch.testing.assert_close(torch.stack(sizes), torch.ones(3, 2), rtol=1e-2, atol=0)
    assert not torch.equal(found.network.raw, before)


def test_instance_noise_blurs_and_fades() -> None:
    """The discriminator sees x + gamma decay noise, the label without; the generator's gradient is taken there."""
    found, (real, fake) = discriminator(2, regulariser="instance-noise"), data(2)
    noise = torch.ones(2, 2 * BATCH, DIM)
    extra = Extra(noise)
    seen = found.noised(real, extra, 0.5)
    torch.testing.assert_close(seen[..., :DIM] - real[..., :DIM], torch.full((2, BATCH, DIM), 0.35))
    torch.testing.assert_close(seen[..., DIM:], real[..., DIM:])
    there = found.gradient(fake, real, extra, 0.5)
    torch.testing.assert_close(there, found.gradient(found.noised(fake, extra, 0.5), real, Extra(), 1.0))
    assert not torch.allclose(there, found.gradient(fake, real, Extra(), 1.0))


@pytest.mark.parametrize("labels", [0, 2])
def test_diffusion_tells_the_level(labels: int) -> None:
    """D sees x + s eps, its label, and s = gamma u, at any learning rate; a step and the generator's gradient are those
    of these inputs by autograd."""
    found, (real, fake) = discriminator(labels, regulariser="diffusion"), data(labels)
    extra = Extras("diffusion", SEEDS, TRAIN_EXTRA, BATCH, DIM, 1)(3)[0]
    assert extra.noise is not None
    assert extra.u is not None
    extra = Extra(extra.noise.double(), extra.u.double())
    assert extra.u is not None
    assert 0 < extra.u.min() < 0.5 < extra.u.max()
    s = 0.7 * extra.u

    def inputs(x: Tensor, rows: slice) -> Tensor:
        assert extra.noise is not None
        return torch.cat([x[..., :DIM] + s[:, rows] * extra.noise[:, rows], x[..., DIM:], s[:, rows]], -1)

    theta = found.network.theta.clone().requires_grad_()
    on_real, on_fake = (
        logit(theta, found, inputs(x, rows)) for x, rows in ((real, slice(BATCH)), (fake, slice(BATCH, None)))
    )
    wanted = torch.autograd.grad(losses(on_real, on_fake, found.config.loss), theta)[0]
    x = fake.clone().requires_grad_()
    loss = torch.nn.functional.logsigmoid(-logit(found.network.theta.clone(), found, inputs(x, slice(BATCH)))).sum()
    slope = torch.autograd.grad(loss, x)[0][..., :DIM]
    torch.testing.assert_close(found.gradient(fake, real, extra, 0.5), slope, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found.gradient(fake, real, Extra(), 0.5), slope, rtol=1e-3)
    found.step(real, fake, extra, 0.5)
    torch.testing.assert_close(found.adam.grad, wanted, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("loss", LOSSES)
def test_generators_gradient(loss: str) -> None:
    found, (real, fake) = discriminator(2, loss=loss), data(2)
    x = fake.clone().requires_grad_()
    on_fake, on_real = logit(found.network.theta, found, x), logit(found.network.theta, found, real)
    log_sigmoid = torch.nn.functional.logsigmoid
    loss_of_x = {
        "saturating": log_sigmoid(-on_fake),
        "non-saturating": -log_sigmoid(on_fake),
        "hinge": -on_fake,
        "least-squares": (on_fake - 1).square() / 2,
        "wasserstein": -on_fake,
        "relativistic": -log_sigmoid(on_fake - on_real),
    }[loss].sum()
    wanted = torch.autograd.grad(loss_of_x, x)[0][..., :DIM]
    torch.testing.assert_close(found.gradient(fake, real, Extra(), 1.0), wanted, rtol=1e-9, atol=1e-12)
