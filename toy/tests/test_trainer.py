"""Training itself: against a reference written with nn modules and autograd, and the laws of its arms.

Everything here is in float64, where "the same" means to 1e-9.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from theory.common.errors import Diverged
from theory.common.seeds import generator
from theory.manifolds import make
from toy.config import ARMS, DECOUPLED, OWN_STEP, PRESETS, Arm, Config
from toy.metrics import Reference
from toy.training.draws import CHUNK
from toy.training.games import GAMES
from toy.training.gan import Trainer, training

SMALL = Config(seeds=2, width=8, layers=2, batch=12, steps=50, d_ahead=3, samples=32, eval_every=20)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small(**changes) -> Config:
    """All arms with one learning rate."""
    config = dataclasses.replace(SMALL, **changes)
    for arm in ARMS:
        bound = 1.2 if arm == "bounded" else None
        config = config.with_arm(arm, Arm(2e-3, 0.0 if arm == "gan" else 1e-4, bound))
    return config


def trained(config: Config, arm: str, steps: int, seeds: tuple[int, ...] = (0, 1)) -> Trainer:
    trainer = Trainer(config, arm, seeds)
    for _ in range(steps):
        trainer.step()
    return trainer


# The reference: one seed, nn modules, autograd, torch.optim.Adam.


def module(network, seed: int) -> nn.Sequential:
    """The same perceptron as an nn module."""
    layers: list[nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.weight.data, linear.bias.data = weight[seed].T.clone(), bias[seed, 0].clone()
        layers += [linear, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def parameters(network, seed: int) -> list[Tensor]:
    """A network's parameters in the order and shapes of the module's."""
    pairs = zip(network.weights, network.biases, strict=True)
    return [p for w, b in pairs for p in (w[seed].T, b[seed, 0])]


def reference_score_loss(config: Config, x: Tensor, u: Tensor, eps: Tensor) -> Tensor:
    """mean_b ||eps*(x_t) - eps||^2; detached, a loss whose gradient is 2 (eps* - eps) / nsr."""
    law = make(config.manifold, dim=config.dim)
    nsr = config.low + (config.high - config.low) * u
    x_t = x + nsr[:, None] * eps
    residual = (x_t - law.denoise(x_t, 1.0, nsr)) / nsr[:, None] - eps
    if config.term == "detached":
        return (2 * residual / nsr[:, None]).detach().mul(x).sum(-1).mean()
    return residual.square().sum(-1).mean()


def shortened(gradient: Tensor, bound: float) -> Tensor:
    """The rows, each at most `bound` times as long as the lower median one."""
    lengths = gradient.square().sum(1).sqrt()
    longest = bound * lengths.sort().values[(len(lengths) - 1) // 2]
    return torch.stack([row * min(1.0, float(longest / length)) for row, length in zip(gradient, lengths, strict=True)])


def reference(config: Config, arm: str, steps: int, seed: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Parameters of G, D and the averaged G after some steps on the very draws of the trainer."""
    trainer = Trainer(config, arm, (0, 1))
    options = config.arm(arm)
    g, d, average = module(trainer.g, seed), module(trainer.discriminator.network, seed), module(trainer.g, seed)
    betas = (config.beta1, config.beta2)
    g_adam = torch.optim.Adam(g.parameters(), options.lr, betas)
    d_lr = options.lr if config.d_lr is None else config.d_lr
    d_adam = torch.optim.Adam(d.parameters(), d_lr, betas)
    if config.corrected and arm == "own-step":
        c = config.every / (config.every + 1)
        options = dataclasses.replace(options, lr=options.lr * c)
        g_adam = torch.optim.Adam(g.parameters(), options.lr, (config.beta1**c, config.beta2**c))
    own_adam = g_adam if arm == "own-step" else torch.optim.Adam(g.parameters(), options.lr, betas)
    second = [torch.zeros_like(p) for p in g.parameters()]
    scores: list[tuple[Tensor, ...]] = []
    for step in range(steps):
        decay = (1 + math.cos(math.pi * step / config.steps)) / 2
        g_adam.param_groups[0]["lr"], d_adam.param_groups[0]["lr"] = options.lr * decay, d_lr * decay
        own_adam.param_groups[0]["lr"] = options.lr * decay
        draws = trainer.noise(step)
        for k in range(config.d_steps if config.game else 0):
            real, fake = draws.real[k, seed].double().requires_grad_(), g(draws.latent[k, seed]).detach()
            on_real = d(real)
            loss = -logsigmoid(on_real).mean() - logsigmoid(-d(fake)).mean()
            (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
            loss = loss + (config.gamma if config.regulariser == "r1" else 0.0) / 2 * slope.square().sum(-1).mean()
            d_adam.zero_grad()
            loss.backward()
            d_adam.step()

        x = g(draws.latent[-1, seed])
        logit = d(x)
        adversarial = (logsigmoid(-logit) if config.loss == "saturating" else -logsigmoid(logit)).mean()
        adversarial = adversarial * config.game
        acts = arm != "gan" and step % config.every == 0
        strength = options.weight * (config.every if config.scale_by_every else 1) if acts else 0.0
        score = strength * reference_score_loss(config, x, draws.u[seed], draws.eps[seed])
        if options.bound is not None and acts:
            score = shortened(torch.autograd.grad(score, x, retain_graph=True)[0], options.bound).mul(x).sum()
        if arm == "summed":
            adversarial = adversarial + score
        g_adam.zero_grad()
        adversarial.backward(retain_graph=True, inputs=list(g.parameters()))
        if acts and arm in DECOUPLED:
            scores.append(torch.autograd.grad(score, list(g.parameters())))
        g_adam.step()
        if acts and arm in OWN_STEP:
            x = g(trainer.latents(step // config.every)[seed])
            loss = strength * reference_score_loss(config, x, draws.u[seed], draws.eps[seed])
            own_adam.zero_grad()
            loss.backward()
            own_adam.step()
        with torch.no_grad():
            for v, p in zip(second, g.parameters(), strict=True):
                v.mul_(config.beta2).add_((1 - config.beta2) * p.grad.square())  # type: ignore[union-attr]
            if acts and arm in DECOUPLED:
                ages = torch.arange(len(scores) - 1, -1, -1) * config.every
                kept = config.momentum**ages / (config.momentum**ages).sum()
                for parts, v, p in zip(zip(*scores, strict=True), second, g.parameters(), strict=True):
                    mean = torch.stack(parts, -1) @ kept
                    units = mean / ((v / (1 - config.beta2 ** (step + 1))).sqrt() + 1e-8)
                    p.sub_(options.lr * decay * units.clamp(-config.clip, config.clip))
            for a, p in zip(average.parameters(), g.parameters(), strict=True):
                a.copy_(config.ema * a + (1 - config.ema) * p)
    return tuple(list(net.parameters()) for net in (g, d, average))  # type: ignore[return-value]


SETTINGS = {
    "saturating": small(),
    "non-saturating, R1, one D step, D at the arm's rate": small(
        loss="non-saturating", regulariser="r1", gamma=1.5, d_steps=1, d_lr=None, start=0.0
    ),
    "every third step": small(every=3),
    "every third step, non-saturating, R^5, detached": small(every=3, loss="non-saturating", dim=5, term="detached"),
    "every second step, corrected": small(every=2, corrected=True),
    "every second step, without the factor k": small(every=2, scale_by_every=False),
    "clipped, R1": dataclasses.replace(small(regulariser="r1", gamma=0.5, clip=0.01), ema=0.5),
}


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS.keys())
def test_as_by_autograd(config: Config, arm: str) -> None:
    got = trained(config, arm, 4)
    for seed in (0, 1):
        for network, wanted in zip(
            (got.g, got.discriminator.network, got.average), reference(config, arm, 4, seed), strict=True
        ):
            for p, q in zip(parameters(network, seed), wanted, strict=True):
                torch.testing.assert_close(p, q.detach(), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("term", ["full", "detached"])
def test_without_a_game_by_autograd(term: str) -> None:
    """Adam on the score gradient alone, and a discriminator that stays as it starts."""
    config = small(arms=("summed",), game=False, term=term)
    got, start = trained(config, "summed", 4), Trainer(config, "summed", (0, 1))
    got.train_ahead()
    assert torch.equal(got.discriminator.network.theta, start.discriminator.network.theta)
    for seed in (0, 1):
        for network, wanted in zip((got.g, got.average), reference(config, "summed", 4, seed)[::2], strict=True):
            for p, q in zip(parameters(network, seed), wanted, strict=True):
                torch.testing.assert_close(p, q.detach(), rtol=1e-7, atol=1e-10)
    played = trained(dataclasses.replace(config, game=True), "summed", 4)
    assert (played.g.theta - got.g.theta).abs().max() > 1e-6


# What the arms are.


@pytest.mark.parametrize("arm", ARMS[1:])
def test_without_weight_an_arm_is_the_gan(arm: str) -> None:
    config = small()
    free = dataclasses.replace(config.arm(arm), weight=0.0)
    gan, other = trained(config, "gan", 10), trained(config.with_arm(arm, free), arm, 10)
    assert torch.equal(other.g.theta, gan.g.theta)
    assert torch.equal(other.discriminator.network.theta, gan.discriminator.network.theta)
    assert not torch.equal(trained(config, arm, 10).g.theta, gan.g.theta)


def test_a_bound_is_of_its_arm() -> None:
    """bounded is decoupled with a bound; the bound of one arm leaves the others as they are."""
    config = small()
    changed = config.with_arm("bounded", Arm(2e-3, 1e-4, 1e-3)).with_arm("decoupled", config.bounded)
    as_before, other = trained(changed, "summed", 5), trained(changed, "bounded", 5)
    assert torch.equal(as_before.g.theta, trained(config, "summed", 5).g.theta)
    assert torch.equal(trained(changed, "decoupled", 5).g.theta, trained(config, "bounded", 5).g.theta)
    assert not torch.equal(other.g.theta, trained(config, "bounded", 5).g.theta)
    assert not torch.equal(trained(config, "decoupled", 5).g.theta, trained(config, "bounded", 5).g.theta)


def displacement(arm: str, weight: float, clip: float = 10.0) -> tuple[Tensor, Trainer]:
    """What the score term adds to the first generator step."""
    config = small(clip=clip)
    trainer = trained(config.with_arm(arm, Arm(2e-3, weight)), arm, 1)
    return trainer.g.theta - trained(config, "gan", 1).g.theta, trainer


def test_decoupled_leaves_the_adversarial_step_alone() -> None:
    """Adam's moments are the GAN's, and what is added is linear in lambda (claim L3); summed, neither holds."""
    gan = trained(small(), "gan", 1).state()["update"]["adam"]
    (once, trainer), (twice, _) = displacement("decoupled", 1e-6), displacement("decoupled", 2e-6)
    assert all(torch.equal(trainer.state()["update"]["adam"][name], gan[name]) for name in gan)
    torch.testing.assert_close(twice, 2 * once, rtol=1e-6, atol=1e-15)
    assert once.norm() > 1e-9

    (once, trainer), (twice, _) = displacement("summed", 0.1), displacement("summed", 0.2)
    assert not torch.equal(trainer.state()["update"]["adam"]["exp_avg_sq"], gan["exp_avg_sq"])
    assert twice.norm() < 1.1 * once.norm()


def test_clip() -> None:
    """However large lambda: no parameter moves by more than `clip` learning rates."""
    moved, _ = displacement("decoupled", 1e6, clip=3.0)
    torch.testing.assert_close(moved.abs().max(), torch.tensor(3.0 * 2e-3))


class Steady(Trainer):
    """Both gradients at the samples are constant, so those of the last biases are: 1, and A = lambda k."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.discriminator.gradient = lambda x, *_: torch.ones_like(x)  # type: ignore[method-assign]
        self.term.gradient = lambda x, *_: torch.ones_like(x)  # type: ignore[method-assign]


def mean_step(arm: str, strength: float, k: int = 8, **changes) -> float:
    """How far, in learning rates, the last biases go a step, with A = strength at every k-th step."""
    plain: dict[str, Any] = {
        "beta1": 0.0,
        "every": k,
        "steps": 10**9,
        "batch": 2,
        "width": 2,
        "layers": 1,
        "d_steps": 1,
    }
    config = dataclasses.replace(SMALL, **plain | changes)
    trainer = Steady(config.with_arm(arm, Arm(1e-6, strength / k)), arm, (0,))
    for _ in range(800):  # eight times the memory of beta2 = 0.99
        trainer.step()
    before = trainer.g.biases[-1].clone()
    for _ in range(10 * k):
        trainer.step()
    return ((before - trainer.g.biases[-1]) / (10 * k * 1e-6)).mean().item()


def summed_step(a: float, k: int) -> float:
    """Claim L2, adversarial and score part together, at g = 1."""
    return (1 + a / k) / math.sqrt((k - 1 + (1 + a) ** 2) / k)


@pytest.mark.parametrize("a", [1.0, 100.0])
def test_lazy_and_summed_is_claim_l2(a: float) -> None:
    """2 %: what the second moment's ripple within a period of k steps may change at beta2 = 0.99."""
    found, k = mean_step("summed", a), 8
    assert found == pytest.approx(summed_step(a, k), rel=0.02)
    assert found != pytest.approx((1 + a / k) / math.sqrt(k - 1 + (1 + a) ** 2), rel=0.1)  # without 1/k in the root


def test_lazy_and_summed_does_not_depend_on_lambda() -> None:
    """A score term a hundred times as strong takes the same step, 1/sqrt(k)."""
    assert mean_step("summed", 1e5) == pytest.approx(mean_step("summed", 1e3), rel=0.01)
    assert mean_step("summed", 1e5) == pytest.approx(1 / math.sqrt(8), rel=0.02)


@pytest.mark.parametrize("a", [0.5, 8.0])
def test_lazy_and_decoupled_is_claim_l3(a: float) -> None:
    assert mean_step("decoupled", a) == pytest.approx(1 + a / 8, rel=1e-6)


def own_step(a: float, k: int) -> float:
    """Claim C8, adversarial and score part together, at g = 1."""
    return (1 + a / k) / math.sqrt((k + a**2) / (k + 1))


@pytest.mark.parametrize("a", [1.0, 100.0])
def test_lazy_and_own_step_is_claim_c8(a: float) -> None:
    """2 %, as for claim L2; the law of the summed update is another one."""
    found, k = mean_step("own-step", a), 8
    assert found == pytest.approx(own_step(a, k), rel=0.02)
    assert found != pytest.approx(summed_step(a, k), rel=0.04)
    assert mean_step("own-step", a, corrected=True) == pytest.approx(own_step(a, k) * k / (k + 1), rel=0.02)


@pytest.mark.parametrize("a", [1.0, 1e3])
def test_two_adams_step_by_one_over_k(a: float) -> None:
    """Whatever lambda."""
    assert mean_step("two-adams", a) == pytest.approx(1 + 1 / 8, rel=1e-6)


def tensors(state) -> list[Tensor]:
    """All tensors of a nested state, in order."""
    if isinstance(state, dict):
        return [t for value in state.values() for t in tensors(value)]
    return [state] if isinstance(state, Tensor) else []


# What a trainer keeps, and what it does not depend on.


@pytest.mark.parametrize("at", [5, CHUNK, CHUNK + 3])
@pytest.mark.parametrize("arm", ["decoupled", "own-step", "two-adams"])
def test_state_continues_bit_for_bit(arm: str, at: int) -> None:
    config, end = small(), CHUNK + 8
    trainer = trained(config, arm, at)
    state = trainer.state()
    for _ in range(end - at):
        trainer.step()
    again = Trainer(config, arm, (0, 1))
    again.load(state)
    for _ in range(end - at):
        again.step()
    wanted, got = trainer.state(), again.state()
    assert got["at"] == wanted["at"] == end
    assert all(torch.equal(a, b) for a, b in zip(tensors(got), tensors(wanted), strict=True))
    assert len(tensors(got)) >= 10
    assert torch.equal(again.sample(), trainer.sample())


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    alone, beside = trained(small(), "summed", 5, (4,)), trained(small(), "summed", 5, (1, 4, 9))
    for a, b in zip(parameters(alone.g, 0), parameters(beside.g, 1), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(alone.sample()[0], beside.sample()[1], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(beside.g.weights[0][0], beside.g.weights[0][1])


def test_arms_see_the_same_data() -> None:
    first, *others = (Trainer(small(), arm, (0, 1)) for arm in ARMS)
    for other in others:
        assert torch.equal(other.g.theta, first.g.theta)
        assert torch.equal(other.discriminator.network.theta, first.discriminator.network.theta)
        for name in ("real", "latent", "eps", "u"):
            assert torch.equal(getattr(other.noise(7), name), getattr(first.noise(7), name))


def test_training_evaluates_where_it_says() -> None:
    trainer = Trainer(small(), "summed", (0, 1))
    reference = Reference.of(trainer.law, (0, 1), n=SMALL.samples)
    seen = [(trainer.at, "w2" in found) for found in training(trainer, reference)]
    assert seen == [(0, False), (20, False), (40, False), (50, True)]


# The mechanism.


def norms(trainer: Trainer, loss: str) -> Tensor:
    """Median norm over the start's samples of the adversarial gradient, under a loss; a value a seed."""
    trainer.discriminator.game = GAMES[loss]
    return trainer.gradient_norms()["adversarial_gradient"]


def test_the_adversarial_gradient_vanishes_and_the_scores_does_not() -> None:
    """The default run at its first evaluation, its discriminator ahead and its generator off the manifold: at the same
    samples the saturating gradient is not a hundredth of the non-saturating one (nor of what it was)."""
    torch.set_default_dtype(torch.float32)
    config = dataclasses.replace(PRESETS["saturated"], seeds=2, samples=64)
    trainer = Trainer(config, "gan", (0, 1))
    before = norms(trainer, "saturating")
    next(training(trainer, Reference.of(trainer.law, (0, 1), n=64)))
    saturating, other = norms(trainer, "saturating"), norms(trainer, "non-saturating")
    assert (saturating < 0.01 * other).all()
    assert (saturating < 0.1 * before).all()
    assert (trainer.gradient_norms()["score_gradient"] > 10).all()


# What is not finite.


@pytest.mark.parametrize("network", ["g", "d"])
def test_divergence_names_the_seed(network: str) -> None:
    trainer = trained(small(), "summed", 2)
    {"g": trainer.g, "d": trainer.discriminator.network}[network].biases[-1][1] = math.nan
    with pytest.raises(Diverged, match="the logit is no longer finite: arm summed, seed 1, step 2"):
        trainer.step()


def test_samples_out_of_range_are_divergence() -> None:
    """Not an error of the metrics."""
    trainer = Trainer(small(), "gan", (3, 5))
    trainer.average.biases[-1][1] = 1e200
    with pytest.raises(Diverged, match="samples is no longer finite: arm gan, seed 5, step 0"):
        trainer.evaluate(Reference.of(trainer.law, (3, 5), n=SMALL.samples))


def test_a_conditional_generator_is_judged_on_all_classes() -> None:
    """A batch holds the classes in blocks; metrics of the first samples must not see the first classes alone. Exact
    samples of each class, W2 to real ones: about .2 for 512 of them, .9 were half of the classes missing."""
    torch.set_default_dtype(torch.float32)
    config = dataclasses.replace(SMALL, manifold="8-ring", conditional=True, samples=1024, batch=16)
    trainer = Trainer(config, "gan", (0, 1))
    assert trainer.classes is not None
    real = trainer.classes.sample(2, 1024, generator(5, 0))
    trainer.sample = lambda: real  # type: ignore[method-assign]
    trainer.at = config.steps
    found = trainer.evaluate(Reference.of(trainer.law, (0, 1), n=1024))
    assert found["w2"].max() < 0.5
    assert found["wrong_class"].tolist() == [0, 0]
