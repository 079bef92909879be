"""Adversarial training of many seeds at once, with the score matching regularity coupled or decoupled.

One generator step of an arm, for samples x = G(z) and the discriminator's logit D:

    g_adv   = d/dx mean_b loss(D(x_b))                 the adversarial gradient at the samples
    g_score = d/dx lambda k mean_b ||eps*(x_t) - eps||^2      the score term's, at every k-th step
    gan:              theta <- Adam(J^T g_adv),  J = dx/dtheta
    smart:            theta <- Adam(J^T (g_adv + g_score))
    smart-decoupled:  theta <- Adam(J^T g_adv);  m <- average of J^T g_score
                      theta <- theta - lr clip(m / (sqrt(v_adv) + 1e-8))

where v_adv is Adam's bias-corrected second moment of J^T g_adv alone, so that the score step is linear in lambda and
the adversarial step is what it would be without it (law L3). The average, exponential and bias-corrected, forgets by
`momentum` a generator step whatever k is: the noise of eps is gone before the step and not after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.levels import Interval, Level
from theory.manifolds import Law, make
from theory.regularity import eps_model_of, score_matching_loss
from toy.config import Config
from toy.failures import Diverged
from toy.losses import GENERATOR_LOSSES, MINUS_LOG_D, MINUS_LOG_ONE_MINUS_D
from toy.metrics import Reference, evaluate
from toy.networks import Network
from toy.noise import AHEAD, EVALUATE, INIT, TRAIN, Noise, generator
from toy.penalties import r1_gradient

Record = dict[str, Float[Tensor, " seed"]]  # metric -> a value a seed


class Trainer:
    """One arm on a stack of seeds. `step()` is one generator step; `state()` and `load()` continue it bit for bit."""

    def __init__(self, config: Config, arm: str, seeds: Sequence[int]):
        self.config, self.arm, self.seeds, self.options = config, arm, tuple(seeds), config.arm(arm)
        self.law: Law = make(config.manifold, dim=config.dim, thickness=config.thickness)
        self.eps_model = eps_model_of(self.law)
        self.interval = Interval(config.low, config.high)
        self.loss = GENERATOR_LOSSES[config.loss]
        hidden = [config.width] * config.layers
        self.g = Network([config.latent, *hidden, self.law.dim], len(seeds))
        self.d = Network([self.law.dim, *hidden, 1], len(seeds))
        self.initialise()
        self.average = Network(self.g.widths, len(seeds), self.g.theta.clone())
        betas = (config.beta1, config.beta2)
        self.g_adam = torch.optim.Adam([self.g.theta], self.options.lr, betas, fused=True)
        self.d_adam = torch.optim.Adam([self.d.theta], self.d_lr, betas, fused=True)
        self.g.theta.grad = self.g_gradient = torch.zeros_like(self.g.theta)
        self.d.theta.grad = self.d_gradient = torch.zeros_like(self.d.theta)
        self.score_gradient, self.score_moment = torch.zeros_like(self.g.theta), torch.zeros_like(self.g.theta)
        self.noise = Noise(self.law, self.seeds, TRAIN, config.batch, config.latent, config.d_steps)
        self.at = 0

    @property
    def d_lr(self) -> float:
        return self.options.lr if self.config.d_lr is None else self.config.d_lr

    def initialise(self) -> None:
        """Both networks from each seed's own numbers; the generator's mean is moved by `start`."""
        generators = [generator(seed, INIT) for seed in self.seeds]
        self.g.initialise(generators)
        self.d.initialise(generators)
        for bias, g in zip(self.g.biases[-1], generators, strict=True):
            direction = torch.randn(self.law.dim, generator=g)
            bias[0] = self.config.start * direction / direction.norm()

    def train_ahead(self) -> None:
        """The discriminator's first steps, against the generator as it starts."""
        ahead = Noise(self.law, self.seeds, AHEAD, self.config.batch, self.config.latent, 1)
        for step in range(self.config.d_ahead):
            draws = ahead(step)
            self.discriminator_step(draws.real[0], self.g(draws.latent[0]))

    def step(self) -> None:
        """One generator step and the discriminator steps before it.

        Raises:
            Diverged: a loss is NaN or infinite.
        """
        decay = 0.5 * (1 + math.cos(math.pi * self.at / self.config.steps))
        self.g_adam.param_groups[0]["lr"] = self.options.lr * decay
        self.d_adam.param_groups[0]["lr"] = self.d_lr * decay
        draws = self.noise(self.at)
        for real, latent in zip(draws.real, draws.latent, strict=False):
            self.discriminator_step(real, self.g(latent))

        hidden = self.g.forward(draws.latent[-1])
        x = hidden[-1]
        gradient = self.adversarial_gradient(x) / self.config.batch
        score: Tensor | None = None
        if self.options.weight and self.at % self.config.every == 0:
            weight = self.options.weight * self.config.every / self.config.batch
            score = weight * self.score_term_gradient(x, draws.u, draws.eps)
            if self.arm == "smart":
                gradient, score = gradient + score, None
        self.g.parameter_gradient(hidden, self.g.deltas(hidden, gradient), self.g_gradient)
        if score is not None:  # before Adam's step: J is of the parameters that made x
            self.g.parameter_gradient(hidden, self.g.deltas(hidden, score), self.score_gradient)
        self.g_adam.step()
        if score is not None:
            self.decoupled_step(self.options.lr * decay)
        self.average.theta.lerp_(self.g.theta, 1 - self.config.ema)
        self.at += 1

    def discriminator_step(self, real: Float[Tensor, "s b d"], fake: Float[Tensor, "s b d"]) -> None:
        """One Adam step on -E log D(real) - E log(1 - D(fake)) + R1."""
        batch = real.shape[1]
        hidden = self.d.forward(torch.cat([real, fake], 1))
        on_real, on_fake = hidden[-1][:, :batch], hidden[-1][:, batch:]
        self.must_be_finite((MINUS_LOG_D.value(on_real) + MINUS_LOG_ONE_MINUS_D.value(on_fake)).mean((1, 2)))
        slopes = torch.cat([MINUS_LOG_D.slope(on_real), MINUS_LOG_ONE_MINUS_D.slope(on_fake)], 1) / batch
        self.d.parameter_gradient(hidden, self.d.deltas(hidden, slopes), self.d_gradient)
        if self.config.r1:
            self.d_gradient += r1_gradient(self.d, [h[:, :batch] for h in hidden], self.config.r1)[0]
        self.d_adam.step()

    def adversarial_gradient(self, x: Float[Tensor, "s b d"]) -> Float[Tensor, "s b d"]:
        """d loss(D(x)) / dx of each sample."""
        hidden = self.d.forward(x)
        self.must_be_finite(self.loss.value(hidden[-1]).mean((1, 2)))
        return self.d.input_gradient(self.d.deltas(hidden, self.loss.slope(hidden[-1])))

    def score_term_gradient(
        self, x: Float[Tensor, "s b d"], u: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"]
    ) -> Float[Tensor, "s b d"]:
        """d ||eps*(x_t) - eps||^2 / dx of each sample, unweighted."""
        x = x.detach().requires_grad_()
        level = Level.variance_exploding(self.interval.nsr(u))
        losses = score_matching_loss(x, self.eps_model, level, eps, detach=self.config.detach)
        self.must_be_finite(losses.mean(1))
        return torch.autograd.grad(losses.sum(), x)[0]

    def decoupled_step(self, lr: float) -> None:
        """m <- average of the score gradient; theta <- theta - lr clip(m / (sqrt(v_adv) + 1e-8))."""
        state, config = self.g_adam.state[self.g.theta], self.config
        scale = (state["exp_avg_sq"] / (1 - config.beta2 ** state["step"].item())).sqrt_().add_(1e-8)
        forget = config.momentum**config.every
        self.score_moment.lerp_(self.score_gradient, 1 - forget)
        average = self.score_moment / (1 - forget ** (self.at // config.every + 1))
        self.g.theta.sub_((average / scale).clamp_(-config.clip, config.clip), alpha=lr)

    def must_be_finite(self, values: Float[Tensor, " s"], what: str = "loss") -> None:
        """Raises Diverged at the first seed whose value is not finite."""
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            seed = self.seeds[int((~finite).nonzero()[0])]
            raise Diverged(f"the {what} is no longer finite: arm {self.arm}, seed {seed}, step {self.at}")

    def sample(self) -> Float[Tensor, "s n d"]:
        """Samples of the averaged generator, from latents that are each seed's own."""
        shape = (self.config.samples, self.config.latent)
        z = [torch.randn(shape, generator=generator(seed, EVALUATE)) for seed in self.seeds]
        return self.average(torch.stack(z))

    def gradient_norms(self) -> Record:
        """Norms of the two gradients at a typical sample (the median of a batch): of one sample's loss(D(x)), and of
        its ||eps*(x_t) - eps||^2 without lambda, so that arms can be compared."""
        draws = self.noise(self.at)
        x = self.g(draws.latent[-1])
        adversarial, score = self.adversarial_gradient(x), self.score_term_gradient(x, draws.u, draws.eps)
        norms = {
            "adversarial_gradient": adversarial.norm(dim=-1).median(1).values,
            "score_gradient": score.norm(dim=-1).median(1).values,
        }
        for name, values in norms.items():
            self.must_be_finite(values, name.replace("_", " "))
        return norms

    def evaluate(self, reference: Reference) -> Record:
        """All metrics now, the exact W2 at the end only.

        Raises:
            Diverged: the samples are so far away that their squared norms are not finite.
        """
        samples = self.sample()
        self.must_be_finite(samples.square().sum((1, 2)), "squared norm of the samples")
        return evaluate(self.law, samples, reference, exact_w2=self.at == self.config.steps)

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come; random numbers are functions of (seed, step)."""
        return {
            "at": self.at,
            "g": self.g.theta.clone(),
            "d": self.d.theta.clone(),
            "average": self.average.theta.clone(),
            "score_moment": self.score_moment.clone(),
            "g_adam": moments(self.g_adam),
            "d_adam": moments(self.d_adam),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.at = state["at"]
        self.score_moment.copy_(state["score_moment"])
        for name in ("g", "d", "average"):
            getattr(self, name).theta.copy_(state[name])
        for name in ("g_adam", "d_adam"):
            adam = getattr(self, name)
            adam.state[adam.param_groups[0]["params"][0]] = {k: v.clone() for k, v in state[name].items()}


def moments(adam: torch.optim.Adam) -> dict[str, Tensor]:
    """Copies of an Adam's step count and moments."""
    return {name: value.clone() for name, value in adam.state[adam.param_groups[0]["params"][0]].items()}


def training(trainer: Trainer, reference: Reference) -> Iterator[Record]:
    """Trains to the end; yields the evaluation at each `eval_every`-th step, the first and the last.

    At a step that was yielded the trainer's state is whole: save it there. At the first, the discriminator has had
    its steps ahead.
    """
    config = trainer.config
    if trainer.at == 0:
        trainer.train_ahead()
    while True:
        if trainer.at % config.eval_every == 0 or trainer.at == config.steps:
            yield trainer.evaluate(reference)
        if trainer.at == config.steps:
            return
        trainer.step()
