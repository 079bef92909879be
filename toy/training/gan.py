"""Adversarial training of many seeds at once, with the score matching regularity summed or decoupled.

One generator step of an arm, for samples x = G(z) and the discriminator's logit D:

    g_adv   = d/dx mean_b loss(D(x_b))                          the adversarial gradient at the samples
    g_score = d/dx lambda k mean_b ||eps*(x_t) - eps||^2        the score term's, at every k-th step (see score_term.py)
    gan:                 J^T g_adv moves theta,  J = dx/dtheta
    summed:              J^T (g_adv + g_score) does
    decoupled, bounded:  J^T g_adv does, and J^T g_score beside it (see update.py)

Every gradient is by hand; tests compare them with autograd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.errors import Diverged
from theory.common.seeds import generator
from theory.manifolds import Law, make
from toy.config import Config
from toy.metrics import Reference, evaluate
from toy.models.networks import Network
from toy.training.classes import Classes
from toy.training.discriminator import Discriminator
from toy.training.draws import AHEAD, AHEAD_EXTRA, EVALUATE, INIT, TRAIN, TRAIN_EXTRA, Extras, Noise
from toy.training.score_term import ScoreTerm
from toy.training.update import Update

Record = dict[str, Float[Tensor, " seed"]]  # metric -> a value a seed


class Trains(Protocol):
    """The trainer of one arm on a stack of seeds, as a worker uses it."""

    config: Config
    law: Law
    seeds: tuple[int, ...]
    at: int
    noise: Noise
    term: ScoreTerm

    def train_ahead(self) -> None: ...
    def step(self) -> None: ...
    def generate(self, latent: Float[Tensor, "s n z"]) -> Float[Tensor, "s n d"]: ...
    def sample(self) -> Float[Tensor, "s n d"]: ...
    def gradient_norms(self) -> Record: ...
    def evaluate(self, reference: Reference) -> Record: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """One arm on a stack of seeds. `step()` is one generator step; `state()` and `load()` continue it bit for bit."""

    def __init__(self, config: Config, arm: str, seeds: Sequence[int]):
        self.config, self.arm, self.seeds, self.options = config, arm, tuple(seeds), config.arm(arm)
        self.law: Law = make(config.manifold, dim=config.dim, thickness=config.thickness)
        self.classes = Classes(self.law) if config.conditional else None
        labels = 0 if self.classes is None else len(self.classes)
        self.term = ScoreTerm(config, self.law, self.seeds, self.options, self.classes)
        self.g = Network([config.latent + labels, *[config.width] * config.layers, self.law.dim], len(seeds))
        d_lr = self.options.lr if config.d_lr is None else config.d_lr
        self.discriminator = Discriminator(config, self.law.dim, labels, len(seeds), d_lr, self.must_be_finite)
        self.initialise()
        self.average = Network(self.g.widths, len(seeds), self.g.theta.clone())
        self.update = Update(
            self.g.theta, lambda flat: [part for parts in self.g.views(flat) for part in parts], config, self.options.lr
        )
        self.main, self.score = self.g.views(self.update.main), self.g.views(self.update.score)
        self.noise = self.noise_of(TRAIN, config.d_steps)
        self.extras = self.extras_of(TRAIN_EXTRA, config.d_steps)
        self.at = 0

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """A flat tensor laid out as the generator's parameters, as views [seed, ...]."""
        weights, biases = self.g.views(flat)
        return weights + biases

    def noise_of(self, stream: int, d_steps: int) -> Noise:
        config = self.config
        return Noise(self.law, self.seeds, stream, config.batch, config.latent, d_steps, self.classes)

    def extras_of(self, stream: int, d_steps: int) -> Extras:
        config = self.config
        return Extras(config.regulariser, self.seeds, stream, config.batch, self.law.dim, d_steps)

    def initialise(self) -> None:
        """Both networks from each seed's own numbers; the generator's mean is moved by `start`."""
        generators = [generator(seed, INIT) for seed in self.seeds]
        self.g.initialise(generators)
        self.discriminator.initialise(generators)
        for bias, g in zip(self.g.biases[-1], generators, strict=True):
            direction = torch.randn(self.law.dim, generator=g)
            bias[0] = self.config.start * direction / direction.norm()

    def labelled(self, rows: Float[Tensor, "s n i"], label: int | None = None) -> Float[Tensor, "s n j"]:
        """The rows with their labels one-hot behind them, where there are classes."""
        if self.classes is None:
            return rows
        one_hot = self.classes.one_hot(rows.shape[1], label).to(rows)
        return torch.cat([rows, one_hot.expand(len(rows), -1, -1)], -1)

    def generate(self, latent: Float[Tensor, "s n z"]) -> Float[Tensor, "s n d"]:
        return self.g(self.labelled(latent))

    @property
    def decay(self) -> float:
        """The cosine that all learning rates follow."""
        return 0.5 * (1 + math.cos(math.pi * self.at / self.config.steps))

    def train_ahead(self) -> None:
        """The discriminator's first steps, against the generator as it starts."""
        noise, extras = self.noise_of(AHEAD, 1), self.extras_of(AHEAD_EXTRA, 1)
        for step in range(self.config.d_ahead):
            draws = noise(step)
            real, fake = self.labelled(draws.real[0]), self.labelled(self.generate(draws.latent[0]))
            self.discriminator.step(real, fake, extras(step)[0], 1.0)

    def step(self) -> None:
        """One generator step and the discriminator steps before it.

        Raises:
            Diverged: a loss is NaN or infinite.
        """
        decay, draws, extras = self.decay, self.noise(self.at), self.extras(self.at)
        for real, latent, extra in zip(draws.real, draws.latent, extras, strict=False):
            self.discriminator.step(self.labelled(real), self.labelled(self.generate(latent)), extra, decay)

        hidden = self.g.forward(self.labelled(draws.latent[-1]))
        x = hidden[-1]
        real = self.labelled(draws.real[-1])
        gradient = self.discriminator.gradient(self.labelled(x), real, extras[-1].noise, decay) / self.config.batch
        self.term.train_along(x, draws.u, draws.eps)
        score: Tensor | None = None
        if self.term.acts(self.at):
            score = self.term.bounded(self.score_term_gradient(x, draws.u, draws.eps)) / self.config.batch
            score = self.term.strength(self.at, gradient, score) * score
            if self.arm == "summed":
                gradient, score = gradient + score, None
        self.g.parameter_gradient(hidden, self.g.deltas(hidden, gradient), self.main)
        if score is not None:  # before the step: J is of the parameters that made x
            self.g.parameter_gradient(hidden, self.g.deltas(hidden, score), self.score)
        self.update.step(self.at, decay, score is not None)
        self.average.theta.lerp_(self.g.theta, 1 - self.config.ema)
        self.at += 1

    def adversarial_gradient(self, x: Float[Tensor, "s b d"], label: int | None = None) -> Float[Tensor, "s b d"]:
        """d loss(D(x)) / dx of each sample, as it would be without instance noise."""
        real = self.noise(self.at).real[-1]
        rows = real[:, torch.arange(x.shape[1]) % real.shape[1]]
        return self.discriminator.gradient(self.labelled(x, label), self.labelled(rows, label), None, 0.0)

    def score_term_gradient(
        self, x: Float[Tensor, "s b d"], u: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"], label: int | None = None
    ) -> Float[Tensor, "s b d"]:
        """d w ||eps*(x_t) - eps||^2 / dx of each sample, without lambda.

        Raises:
            Diverged: it is not finite.
        """
        gradient = self.term.gradient(x, u, eps, label)
        self.must_be_finite(gradient.sum((1, 2)), "gradient of the score term")
        return gradient

    def must_be_finite(self, values: Float[Tensor, " s"], what: str = "loss") -> None:
        """Raises Diverged at the first seed whose value is not finite."""
        for seed, value in zip(self.seeds, values.tolist(), strict=True):  # a tenth of the time of torch.isfinite
            if not math.isfinite(value):
                raise Diverged(f"the {what} is no longer finite: arm {self.arm}, seed {seed}, step {self.at}")

    def sample(self) -> Float[Tensor, "s n d"]:
        """Samples of the averaged generator, from latents that are each seed's own."""
        shape = (self.config.samples, self.config.latent)
        z = [torch.randn(shape, generator=generator(seed, EVALUATE)) for seed in self.seeds]
        return self.average(self.labelled(torch.stack(z)))

    def gradient_norms(self) -> Record:
        """Norms of the two gradients at a typical sample (the median of a batch): of one sample's loss(D(x)), and of
        its ||eps*(x_t) - eps||^2 without lambda, so that arms can be compared."""
        draws = self.noise(self.at)
        x = self.generate(draws.latent[-1])
        adversarial, score = self.adversarial_gradient(x), self.score_term_gradient(x, draws.u, draws.eps)
        norms = {
            "adversarial_gradient": adversarial.norm(dim=-1).median(1).values,
            "score_gradient": score.norm(dim=-1).median(1).values,
        }
        for name, values in norms.items():
            self.must_be_finite(values, name.replace("_", " "))
        return norms

    def evaluate(self, reference: Reference) -> Record:
        """All metrics now, the exact W2 at the end only; of a conditional generator also the share of samples that are
        nearer to another class.

        Raises:
            Diverged: the samples are so far away that their squared norms are not finite.
        """
        samples = self.sample()
        self.must_be_finite(samples.square().sum((1, 2)), "squared norm of the samples")
        # classes come in blocks, and some metrics look at the first samples only
        mixed = (
            samples
            if self.classes is None
            else samples[:, torch.randperm(samples.shape[1], generator=generator(0, EVALUATE))]
        )
        found = evaluate(self.law, mixed, reference, exact_w2=self.at == self.config.steps)
        return found if self.classes is None else found | {"wrong_class": self.classes.wrong(samples)}

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come; random numbers are functions of (seed, step)."""
        return {
            "at": self.at,
            "g": self.g.theta.clone(),
            "average": self.average.theta.clone(),
            "update": self.update.state(),
            "discriminator": self.discriminator.state(),
            "term": self.term.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.at = state["at"]
        self.g.theta.copy_(state["g"])
        self.average.theta.copy_(state["average"])
        for name in ("update", "discriminator", "term"):
            getattr(self, name).load(state[name])


def training(trainer: Trains, reference: Reference) -> Iterator[Record]:
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
