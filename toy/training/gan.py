"""Adversarial training of many seeds at once, with the score matching regularity summed or decoupled.

One generator step of an arm, for samples x = G(z) and the discriminator's logit D:

    g_adv   = d/dx mean_b loss(D(x_b))                          the adversarial gradient at the samples
    g_score = d/dx lambda k mean_b ||eps*(x_t) - eps||^2        the score term's, at every k-th step (see score_term.py)
    gan:                 J^T g_adv moves theta,  J = dx/dtheta
    summed:              J^T (g_adv + g_score) does
    own-step, two-adams: J^T g_adv does, then J^T g_score of fresh samples in a step of its own
    decoupled, bounded:  J^T g_adv does, and J^T g_score beside it (see update.py)
    without a game:      g_adv is 0, and the discriminator stays as it starts

Every gradient is by hand; tests compare them with autograd.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from theory.common.parts import is_own
from theory.common.seeds import generator
from theory.manifolds import Law
from toy.config import OWN_STEP, Arm, Config
from toy.device import device_of
from toy.laws import law_of, training_law, training_set
from toy.metrics import Reference, copies, evaluate
from toy.models.networks import Network
from toy.models.own_generator import OwnGenerator
from toy.training.adam import numbers, take
from toy.training.classes import Classes
from toy.training.discriminator import Discriminator
from toy.training.draws import (
    AHEAD,
    AHEAD_EXTRA,
    EVALUATE,
    INIT,
    TRAIN,
    TRAIN_EXTRA,
    Draws,
    Extra,
    Extras,
    Latents,
    Noise,
)
from toy.training.finite import Finite
from toy.training.score_term import ScoreTerm
from toy.training.update import Update

Record = dict[str, Float[Tensor, " seed"]]  # metric -> a value a seed


class Trains(Protocol):
    """The trainer of one arm on a stack of seeds, as a worker uses it."""

    config: Config
    law: Law
    device: torch.device
    seeds: tuple[int, ...]
    at: int
    noise: Noise
    term: ScoreTerm

    @property
    def diverged(self) -> Bool[Tensor, " row"]: ...
    def take(self, rows: Sequence[int]) -> Trains: ...
    def train_ahead(self) -> None: ...
    def step(self) -> None: ...
    def generate(self, latent: Float[Tensor, "s n z"]) -> Float[Tensor, "s n d"]: ...
    def sample(self) -> Float[Tensor, "s n d"]: ...
    def gradient_norms(self) -> Record: ...
    def evaluate(self, reference: Reference) -> Record: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """One arm on a stack of rows. `step()` is one generator step; `state()` and `load()` continue it bit for bit.

    Args:
        seeds: the seed of each row; a seed may stand in several rows.
        settings: the setting of each row; the configuration's own for all if None.
    """

    def __init__(self, config: Config, arm: str, seeds: Sequence[int], settings: Sequence[Arm] | None = None):
        self.config, self.arm, self.seeds = config, arm, tuple(seeds)
        self.settings = config.settings(arm, len(seeds), settings)
        self.finite = Finite(arm, self.seeds, raises=settings is None)
        self.law: Law = law_of(config)
        self.classes = Classes(self.law) if config.conditional else None
        labels = 0 if self.classes is None else len(self.classes)
        self.device = device_of(config)
        self.term = ScoreTerm(config, self.law, self.seeds, self.settings, self.classes, self.device)
        self.g = generator_of(config, config.latent + labels, self.law.dim, len(seeds))
        rates = [config.d_lr if s.d_lr is None else s.d_lr for s in self.settings]
        d_lr = numbers(s.lr if rate is None else rate for rate, s in zip(rates, self.settings, strict=True))
        gamma = numbers(config.gamma if s.gamma is None else s.gamma for s in self.settings)
        self.discriminator = Discriminator(config, self.law.dim, labels, d_lr, gamma, self.must_be_finite, self.device)
        self.initialise()
        self.average = self.g.like(self.g.theta.clone())
        self.update = Update(self.g.theta, self.views, config, numbers(s.lr for s in self.settings), arm)
        self.main, self.score = self.g.views(self.update.main), self.g.views(self.update.score)
        self.noise = self.noise_of(TRAIN, config.d_steps)
        self.latents = Latents(self.seeds, config.batch, config.latent, self.device)
        self.extras = self.extras_of(TRAIN_EXTRA, config.d_steps)
        self.at = 0

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """A flat tensor laid out as the generator's parameters, as views [seed, ...]."""
        weights, biases = self.g.views(flat)
        return weights + biases

    def noise_of(self, stream: int, d_steps: int) -> Noise:
        config = self.config
        return Noise(
            training_law(config), self.seeds, stream, config.batch, config.latent, d_steps, self.classes, self.device
        )

    def extras_of(self, stream: int, d_steps: int) -> Extras:
        config = self.config
        return Extras(config.regulariser, self.seeds, stream, config.batch, self.law.dim, d_steps, self.device)

    def initialise(self) -> None:
        """Both networks from each seed's own numbers; the generator's mean is moved by `start`."""
        generators = [generator(seed, INIT) for seed in self.seeds]
        self.g.initialise(generators)
        self.discriminator.initialise(generators)
        moved = self.g.biases[-1] if self.g.biases else ()  # a generator of the user's starts as it is made
        for bias, g in zip(moved, generators, strict=False):
            direction = torch.randn(self.law.dim, generator=g)
            bias[0] = self.config.start * direction / direction.norm()
        self.g.to(self.device)

    def labelled(self, rows: Float[Tensor, "s n i"], label: int | None = None) -> Float[Tensor, "s n j"]:
        """The rows with their labels one-hot behind them, where there are classes."""
        if self.classes is None:
            return rows
        return torch.cat([rows, self.classes.one_hot(rows, label).expand(len(rows), -1, -1)], -1)

    def generate(self, latent: Float[Tensor, "s n z"]) -> Float[Tensor, "s n d"]:
        return self.g(self.labelled(latent))

    @property
    def decay(self) -> float:
        """The cosine that all learning rates follow."""
        return 0.5 * (1 + math.cos(math.pi * self.at / self.config.steps))

    def train_ahead(self) -> None:
        """The discriminator's first steps, against the generator as it starts: at the learning rate and strength of
        the configuration (the arm's, if that has none), so that rows of one seed share them."""
        if not (self.config.game and self.config.d_ahead):
            return
        plain = dataclasses.replace(self.settings[0], d_lr=None, gamma=None)
        seeds = tuple(dict.fromkeys(self.seeds))
        own = any((setting.d_lr, setting.gamma) != (None, None) for setting in self.settings)
        if self.config.d_lr is not None and (own or len(seeds) < len(self.seeds)):
            once = type(self)(self.config, self.arm, seeds, [plain] * len(seeds))
            once.train_ahead()
            rows = [seeds.index(seed) for seed in self.seeds]
            self.discriminator.take_from(once.discriminator, rows)
            self.finite.diverged |= once.diverged[rows]
            return
        noise, extras = self.noise_of(AHEAD, 1), self.extras_of(AHEAD_EXTRA, 1)
        for step in range(self.config.d_ahead):
            draws = noise(step)
            real, fake = self.labelled(draws.real[0]), self.labelled(self.generate(draws.latent[0]))
            self.discriminator.step(real, fake, extras(step)[0], 1.0)

    def step(self) -> None:
        """One generator step and the discriminator steps before it.

        Raises:
            Diverged: a logit is NaN or infinite, and all rows have one setting; of several, the row is marked.
        """
        decay, draws, extras = self.decay, self.noise(self.at), self.extras(self.at)
        for real, latent, extra in zip(draws.real, draws.latent, extras, strict=False) if self.config.game else ():
            self.discriminator.step(self.labelled(real), self.labelled(self.generate(latent)), extra, decay)

        hidden = self.g.forward(self.labelled(draws.latent[-1]))
        x = hidden[-1]
        if self.config.game:
            real = self.labelled(draws.real[-1])
            gradient = self.discriminator.gradient(self.labelled(x), real, extras[-1], decay) / self.config.batch
        else:
            gradient = torch.zeros_like(x)
        self.term.train_along(x, draws.u, draws.eps, self.at)
        score: Tensor | None = None
        acts, own = self.term.acts(self.at), self.arm in OWN_STEP
        if acts and not own:
            score = self.weighted(x, gradient, draws)
            if self.arm == "summed":
                gradient, score = gradient + score, None
        self.g.parameter_gradient(hidden, gradient, self.main)
        if score is not None:  # before the step: J is of the parameters that made x
            self.g.parameter_gradient(hidden, score, self.score)
        self.update.step(self.at, decay, score is not None)
        if acts and own:
            hidden = self.g.forward(self.labelled(self.latents(self.at // self.config.every)))
            score = self.weighted(hidden[-1], gradient, draws)
            self.g.parameter_gradient(hidden, score, self.score)
            self.update.own_step(decay)
        self.average.theta.lerp_(self.g.theta, 1 - self.config.ema)
        self.at += 1

    def weighted(
        self, x: Float[Tensor, "s b d"], adversarial: Float[Tensor, "s b d"], draws: Draws
    ) -> Float[Tensor, "s b d"]:
        """g_score, lambda k and the bound in it.

        Args:
            adversarial: g_adv, that a lambda may follow.
        """
        score = self.term.bounded(self.score_term_gradient(x, draws.u, draws.eps)) / self.config.batch
        return self.term.strength(self.at, adversarial, score) * score

    def adversarial_gradient(self, x: Float[Tensor, "s b d"], label: int | None = None) -> Float[Tensor, "s b d"]:
        """d loss(D(x)) / dx of each sample, as it would be without instance noise."""
        real = self.noise(self.at).real[-1]
        rows = real[:, torch.arange(x.shape[1], device=x.device) % real.shape[1]]
        return self.discriminator.gradient(self.labelled(x, label), self.labelled(rows, label), Extra(), 0.0)

    def score_term_gradient(
        self, x: Float[Tensor, "s b d"], u: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"], label: int | None = None
    ) -> Float[Tensor, "s b d"]:
        """d w ||eps*(x_t) - eps||^2 / dx of each sample, without lambda.

        Raises:
            Diverged: it is not finite.
        """
        gradient = self.term.gradient(x, u, eps, label, self.at)
        self.must_be_finite(gradient.sum((1, 2)), "gradient of the score term")
        return gradient

    def must_be_finite(self, values: Float[Tensor, " s"], what: str = "logit") -> None:
        """As `Finite.check`."""
        self.finite.check(values, what, self.at)

    @property
    def diverged(self) -> Bool[Tensor, " row"]:
        """The rows of a stack of several settings that have had a number that is not finite."""
        return self.finite.diverged

    def take(self, rows: Sequence[int]) -> Trainer:
        """A trainer of these rows alone, which goes on as they would here."""
        seeds, settings = [self.seeds[row] for row in rows], [self.settings[row] for row in rows]
        taken = type(self)(self.config, self.arm, seeds, settings)
        for into, network in ((taken.g, self.g), (taken.average, self.average)):
            take(into.theta, taken.views, network.theta, self.views, rows)
        taken.update.take_from(self.update, rows)
        taken.discriminator.take_from(self.discriminator, rows)
        if taken.term.own is not None and self.term.own is not None:
            taken.term.own.take_from(self.term.own, rows)
        taken.finite.diverged = self.diverged[list(rows)]
        taken.at = self.at
        return taken

    def sample(self) -> Float[Tensor, "s n d"]:
        """Samples of the averaged generator, from latents that are each seed's own."""
        shape = (self.config.samples, self.config.latent)
        z = [torch.randn(shape, generator=generator(seed, EVALUATE)) for seed in self.seeds]
        return self.average(self.labelled(torch.stack(z).to(self.device))).cpu()

    def gradient_norms(self) -> Record:
        """Norms of the two gradients at a typical sample (the median of a batch): of one sample's loss(D(x)), and of
        its ||eps*(x_t) - eps||^2 without lambda, so that arms can be compared; and the median cosine between them, of
        a gradient of 0 that is 0."""
        draws = self.noise(self.at)
        x = self.generate(draws.latent[-1])
        adversarial, score = self.adversarial_gradient(x), self.score_term_gradient(x, draws.u, draws.eps)
        norms = {
            "adversarial_gradient": adversarial.norm(dim=-1).median(1).values,
            "score_gradient": score.norm(dim=-1).median(1).values,
            "gradient_cosine": (unit(adversarial) * unit(score)).sum(-1).median(1).values,
        }
        for name, values in norms.items():
            self.must_be_finite(values, name.replace("_", " "))
        return self.finite.record({name: values.cpu() for name, values in norms.items()})

    def evaluate(self, reference: Reference) -> Record:
        """All metrics now, NaN of diverged rows, the exact W2 at the end only; of a conditional generator also the
        share of samples that are nearer to another class.

        Raises:
            Diverged: the samples are so far away that their squared norms are not finite.
        """
        samples = self.sample()
        self.must_be_finite(samples.square().sum((1, 2)), "squared norm of the samples")
        samples = self.finite.measured(samples)
        # classes come in blocks, and some metrics look at the first samples only
        mixed = (
            samples
            if self.classes is None
            else samples[:, torch.randperm(samples.shape[1], generator=generator(0, EVALUATE))]
        )
        found = evaluate(self.law, mixed, reference, final=self.at == self.config.steps)
        found |= {} if self.classes is None else {"wrong_class": self.classes.wrong(samples)}
        found |= {} if self.config.training_samples is None else {"copies": copies(samples, training_set(self.config))}
        return self.finite.record(found)

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come; random numbers are functions of (seed, step)."""
        return {
            "at": self.at,
            "g": self.g.theta.clone(),
            "average": self.average.theta.clone(),
            "update": self.update.state(),
            "discriminator": self.discriminator.state(),
            "term": self.term.state(),
            "diverged": self.diverged.clone(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.at, self.finite.diverged = state["at"], state["diverged"].clone()
        self.g.theta.copy_(state["g"])
        self.average.theta.copy_(state["average"])
        for name in ("update", "discriminator", "term"):
            getattr(self, name).load(state[name])


def generator_of(config: Config, latent: int, dim: int, rows: int) -> Network | OwnGenerator:
    """The untrained generators z [row, batch, latent] -> x [row, batch, dim]: perceptrons, or modules of the user's.

    Raises:
        FileError: as `OwnGenerator`.
    """
    if is_own(config.generator):
        return OwnGenerator(config.generator, latent, dim, rows)
    return Network([latent, *[config.width] * config.layers, dim], rows)


def unit(x: Float[Tensor, "s b d"]) -> Float[Tensor, "s b d"]:
    """Each row at length 1; 0 stays, and so does the direction of one whose square is no number of its dtype."""
    scaled = x / x.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.nn.functional.normalize(scaled, dim=-1)


def training(trainer: Trains, reference: Reference, asked: Callable[[], bool] = lambda: False) -> Iterator[Record]:
    """Trains to the end; yields the evaluation at each `eval_every`-th step, the first and the last.

    At any other step, if `asked`, it yields an empty record.

    At a step that was yielded the trainer's state is whole: save it there. At the first, the discriminator has had
    its steps ahead.
    """
    config = trainer.config
    if trainer.at == 0:
        trainer.train_ahead()
    while True:
        if trainer.at % config.eval_every == 0 or trainer.at == config.steps:
            yield trainer.evaluate(reference)
        elif asked():
            yield {}
        if trainer.at == config.steps:
            return
        trainer.step()
