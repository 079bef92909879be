"""Maximum likelihood training of many seeds at once, VAE or flow, with the score matching regularity.

One step of an arm, for the loss L of one batch (negative ELBO or log likelihood) and samples x = g(z), z ~ N(0, I):

    g_main  = dL/dtheta
    g_score = J^T d/dx lambda k mean_b ||eps*(x_t) - eps||^2,  J = dx/dtheta, at every k-th step (see score_term.py)
    gan:                 g_main moves theta: the plain VAE or flow, the arm without the term
    summed:              g_main + g_score does
    own-step, two-adams: g_main does, then g_score in a step of its own (its z are no likelihood's)
    decoupled, bounded:  g_main does, and g_score beside it (see update.py)

The score term is the GAN's, on the generator's own samples and not on reconstructions: the part of a VAE that it moves
is the decoder. There is no discriminator: `loss`, `regulariser`, `gamma`, `start`, `d_steps`, `d_ahead` and `d_lr` have
no effect, and `latent` has none on a flow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from theory.common.seeds import generator
from theory.manifolds import Law
from toy.config import OWN_STEP, Arm, Config
from toy.device import device_of
from toy.laws import law_of, training_law, training_set
from toy.metrics import Reference, copies, evaluate
from toy.models.flow import Flow
from toy.models.vae import VAE
from toy.training.adam import numbers, take
from toy.training.draws import EVALUATE, INIT, TRAIN, Draws, Noise
from toy.training.finite import Finite
from toy.training.score_term import ScoreTerm
from toy.training.update import Update

Record = dict[str, Float[Tensor, " seed"]]  # metric -> a value a seed


def model_of(config: Config, dim: int, seeds: int) -> VAE | Flow:
    """The untrained generators of a configuration.

    Raises:
        ValueError: the configuration's generator is neither vae nor flow.
    """
    hidden = [config.width] * config.layers
    if config.generator == "vae":
        return VAE(dim, config.latent, hidden, seeds)
    if config.generator == "flow":
        return Flow(dim, hidden, seeds)
    raise ValueError(f"a generator trained by likelihood is vae or flow; given {config.generator}")


class LikelihoodTrainer:
    """One arm on a stack of seeds. `step()` is one step; `state()` and `load()` continue it bit for bit."""

    def __init__(self, config: Config, arm: str, seeds: Sequence[int], settings: Sequence[Arm] | None = None):
        self.config, self.arm, self.seeds = config, arm, tuple(seeds)
        self.settings = config.settings(arm, len(seeds), settings)
        self.finite = Finite(arm, self.seeds, raises=settings is None)
        self.law: Law = law_of(config)
        self.device = device_of(config)
        self.term = ScoreTerm(config, self.law, self.seeds, self.settings, device=self.device)
        self.model, self.average = (model_of(config, self.law.dim, len(seeds)) for _ in range(2))
        for model in (self.model, self.average):
            model.initialise([generator(seed, INIT) for seed in self.seeds])
            model.to(self.device)
        lr = numbers(s.lr for s in self.settings)
        self.update = Update(self.model.theta, self.model.views, config, lr, arm)
        # a step's first latent is the noise of its likelihood, the second the z of its samples
        self.noise = Noise(
            training_law(config), self.seeds, TRAIN, config.batch, self.model.latent, 1, device=self.device
        )
        self.at = 0

    def train_ahead(self) -> None:
        """Nothing: there is no discriminator."""

    def step(self) -> None:
        """One step of every seed.

        Raises:
            Diverged: the loss or the score term's gradient is NaN or infinite.
        """
        draws, theta = self.noise(self.at), self.model.theta
        loss = self.model.loss(draws.real[0], draws.latent[0])
        self.must_be_finite(loss, "loss")
        self.update.main.copy_(torch.autograd.grad(loss.sum(), theta)[0])
        acts, beside = self.term.acts(self.at), self.arm not in ("summed", *OWN_STEP)
        if acts and self.arm == "summed":
            self.update.main.add_(self.in_theta(draws))
        elif acts and beside:
            self.update.score.copy_(self.in_theta(draws))
        with torch.no_grad():
            self.update.step(self.at, self.decay, acts and beside)
        if acts and self.arm in OWN_STEP:
            self.update.score.copy_(self.in_theta(draws))
            with torch.no_grad():
                self.update.own_step(self.decay)
        with torch.no_grad():
            self.average.theta.lerp_(theta, 1 - self.config.ema)
        self.at += 1

    def in_theta(self, draws: Draws) -> Float[Tensor, " p"]:
        """g_score of the samples now, lambda k and the bound in it."""
        x = self.model.sample(draws.latent[1])
        self.term.train_along(x.detach(), draws.u, draws.eps, self.at)
        score = self.term.bounded(self.score_term_gradient(x.detach(), draws.u, draws.eps)) / self.config.batch
        score = self.term.strength(self.at, None, score) * score
        return torch.autograd.grad(x, self.model.theta, score)[0]

    @property
    def decay(self) -> float:
        """The cosine that the learning rate follows."""
        return 0.5 * (1 + math.cos(math.pi * self.at / self.config.steps))

    def score_term_gradient(
        self, x: Float[Tensor, "s b d"], u: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"]
    ) -> Float[Tensor, "s b d"]:
        """d w ||eps*(x_t) - eps||^2 / dx of each sample, without lambda.

        Raises:
            Diverged: it is not finite.
        """
        gradient = self.term.gradient(x, u, eps, at=self.at)
        self.must_be_finite(gradient.sum((1, 2)), "gradient of the score term")
        return gradient

    def must_be_finite(self, values: Float[Tensor, " s"], what: str) -> None:
        """As `Finite.check`."""
        self.finite.check(values, what, self.at)

    @property
    def diverged(self) -> Bool[Tensor, " row"]:
        """The rows of a stack of several settings that have had a number that is not finite."""
        return self.finite.diverged

    @torch.no_grad()
    def take(self, rows: Sequence[int]) -> LikelihoodTrainer:
        """A trainer of these rows alone, which goes on as they would here."""
        seeds, settings = [self.seeds[row] for row in rows], [self.settings[row] for row in rows]
        taken = type(self)(self.config, self.arm, seeds, settings)
        for into, model in ((taken.model, self.model), (taken.average, self.average)):
            take(into.theta, into.views, model.theta, model.views, rows)
        taken.update.take_from(self.update, rows)
        if taken.term.own is not None and self.term.own is not None:
            taken.term.own.take_from(self.term.own, rows)
        taken.finite.diverged = self.diverged[list(rows)]
        taken.at = self.at
        return taken

    @torch.no_grad()
    def generate(self, latent: Float[Tensor, "s n k"]) -> Float[Tensor, "s n d"]:
        return self.model.sample(latent)

    @torch.no_grad()
    def sample(self) -> Float[Tensor, "s n d"]:
        """Samples of the averaged generator, from latents that are each seed's own."""
        return self.average.sample(self.normal(self.config.samples, 0)).cpu()

    def normal(self, count: int, index: int) -> Float[Tensor, "s n k"]:
        """Draws of N(0, I) in the latent space for evaluations, each seed's own."""
        shape = (count, self.model.latent)
        z = [torch.randn(shape, generator=generator(seed, EVALUATE, index)) for seed in self.seeds]
        return torch.stack(z).to(self.device)

    def gradient_norms(self) -> Record:
        """The norm of the score term's gradient at a typical sample (the median of a batch), without lambda. A
        likelihood has no gradient at the samples to compare with."""
        draws = self.noise(self.at)
        x = self.generate(draws.latent[1])
        norms = {"score_gradient": self.score_term_gradient(x, draws.u, draws.eps).norm(dim=-1).median(1).values.cpu()}
        return self.finite.record(norms)

    @torch.no_grad()
    def evaluate(self, reference: Reference) -> Record:
        """All metrics now, the exact W2 at the end only; and `negative_log_likelihood` of fresh real samples in nats:
        of a flow that of the dequantised samples, of a VAE its upper bound, the negative ELBO.

        Raises:
            Diverged: the samples are so far away that their squared norms are not finite, or the loss is not.
        """
        samples = self.sample()
        self.must_be_finite(samples.square().sum((1, 2)), "squared norm of the samples")
        samples = self.finite.measured(samples)
        noise = self.normal(reference.sample.shape[1], 1)
        loss = self.average.loss(reference.sample.to(self.device), noise).cpu()
        self.must_be_finite(loss, "loss of fresh samples")
        found = evaluate(self.law, samples, reference, final=self.at == self.config.steps)
        found |= {} if self.config.training_samples is None else {"copies": copies(samples, training_set(self.config))}
        return self.finite.record(found | {"negative_log_likelihood": loss})

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come; random numbers are functions of (seed, step)."""
        return {
            "at": self.at,
            "theta": self.model.theta.detach().clone(),
            "average": self.average.theta.detach().clone(),
            "update": self.update.state(),
            "term": self.term.state(),
            "diverged": self.diverged.clone(),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.at, self.finite.diverged = state["at"], state["diverged"].clone()
        self.model.theta.copy_(state["theta"])
        self.average.theta.copy_(state["average"])
        self.update.load(state["update"])
        self.term.load(state["term"])
