"""The score term of a generator's loss: its gradient at the samples, and its weight at a step.

    L_score = lambda_t k mean_b w_b ||eps_theta(x_t) - eps||^2,   x_t = x + nsr eps,  x = g(z),

with nsr, the noise-to-signal ratio, uniform on an interval, that may come down during the run. The weighting w is 1
(eps) or nsr^2 (x0: the squared distance of a sample to its denoised form). `term` says what the gradient runs through:

    full      the score model, as in the paper
    detached  the samples only: score distillation (claim P5)
    matching  as detached, with the generator's own score in the place of eps: distribution matching distillation,
              without the mutual information of claim P4

lambda is fixed, annealed to 0 along a cosine, or found: `ratio`, such that the mean score gradient is `weight` times
as long as the mean adversarial one; `budget`, the largest lambda whose predicted bias is a total variation of `weight`
(claim E3).

An arm's `bound` limits the norm of the gradient at a sample to that many times the median of its batch. The gradient
of claim P2 grows like the distance: between modes, where a continuous generator must have some samples, it is so large
that these few decide the step of all. Where all samples are far off, the median is large too, and little is cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.seeds import usual_state
from theory.equilibrium import lambda_for_bias
from theory.levels import Interval, Level
from theory.manifolds import Law, make
from theory.regularity import score_matching_loss
from theory.score_gradient import has_closed_form, score_gradient
from toy.config import Arm, Config
from toy.device import on
from toy.laws import training_law
from toy.training.classes import Classes
from toy.training.draws import CPU
from toy.training.own_score import OwnScore
from toy.training.score_models import eps_model

SAMPLED = ("learned", "empirical")  # the scores that are of the training samples, where these are given
LARGEST = 10.0  # of a budget's lambda, for distributions whose bias stays below the budget at every lambda


class ScoreTerm:
    """The term of a stack of rows, each of its own lambda and bound; `gradient` has neither in it, so that arms can be
    compared."""

    def __init__(
        self,
        config: Config,
        law: Law,
        seeds: Sequence[int],
        settings: Sequence[Arm],
        classes: Classes | None = None,
        device: torch.device = CPU,
    ):
        self.config, self.classes = config, classes
        self.interval = Interval(config.low, config.high)
        law = law if config.training_samples is None or config.score not in SAMPLED else training_law(config)
        laws = [law] if classes is None else classes.laws
        self.models = [eps_model(config, part, device) for part in laws]
        self.own = OwnScore(law.dim, seeds, config, device) if config.term == "matching" else None
        exact = config.score in ("analytic", "empirical") and config.term in ("full", "detached")
        self.closed_form = exact and all(map(has_closed_form, laws))  # where it is the faster one
        self.laws = [on(part, device) for part in laws]
        weights = [s.weight for s in settings]
        if config.weight_rule == "budget":
            law_of, interval = (config.manifold, config.dim, config.thickness), (config.low, config.high)
            found = {w: budget(*law_of, *interval, w, config.loss) if w else w for w in set(weights)}
            weights = [found[w] for w in weights]
        self.active = any(weights)
        self.weight = torch.tensor(weights, device=device)[:, None, None]
        bounds = [math.inf if s.bound is None else s.bound for s in settings]
        self.bound = torch.tensor(bounds, device=device)[:, None, None] if min(bounds) < math.inf else None

    def acts(self, at: int) -> bool:
        """Whether the term acts at a generator step: every k-th."""
        return self.active and at % self.config.every == 0

    def strength(
        self, at: int, adversarial: Float[Tensor, "s b d"] | None, score: Float[Tensor, "s b d"]
    ) -> Float[Tensor, "s 1 1"]:
        """lambda_t k; under `ratio` a value a seed, from the two gradients at the samples."""
        config = self.config
        strength = self.weight * (config.every if config.scale_by_every else 1)
        if config.warm_up:
            strength = strength * min(1.0, at / config.warm_up)
        if config.weight_rule == "annealed":
            strength = strength * 0.5 * (1 + math.cos(math.pi * at / config.steps))
        if config.weight_rule == "ratio" and adversarial is not None:
            long, short = (part.norm(dim=-1).mean(1)[:, None, None] for part in (adversarial, score))
            return strength * long / short.clamp(min=1e-30)
        return strength

    def nsr(self, u: Float[Tensor, "s b"], at: int | None = None) -> Float[Tensor, "s b"]:
        """The noise levels that uniform numbers choose: on the interval times anneal^(1 - at / steps).

        Args:
            at: the generator step; None for the end of the run, where the interval is [low, high].
        """
        left = 0.0 if at is None else 1 - at / self.config.steps
        return self.interval.nsr(u) * self.config.anneal**left

    def gradient(
        self,
        x: Float[Tensor, "s b d"],
        u: Float[Tensor, "s b"],
        eps: Float[Tensor, "s b d"],
        label: int | None = None,
        at: int | None = None,
    ) -> Float[Tensor, "s b d"]:
        """d/dx of each sample's w ||eps_theta(x_t) - eps||^2, without lambda.

        Args:
            u, at: as `nsr` takes them.
            label: the class of all samples; None for the layout of `Classes`.
        """
        nsr = self.nsr(u, at)
        x = x.contiguous()  # a generator's last layer stores its output transposed, which made this take twice as long
        if self.own is not None:
            gradient = self._matching(x, nsr, eps, label)
        elif self.closed_form:
            detach = self.config.term == "detached"
            parts = self._parts(x.shape[1], label, self.laws)
            found = [score_gradient(law, x[:, part], nsr[:, part], eps[:, part], detach) for law, part in parts]
            gradient = found[0] if len(found) == 1 else torch.cat(found, 1)
        else:
            x = x.detach().requires_grad_()
            losses = torch.cat(
                [
                    score_matching_loss(
                        x[:, part],
                        model,
                        Level.variance_exploding(nsr[:, part]),
                        eps[:, part],
                        detach=self.config.term == "detached",
                    )
                    for model, part in self._parts(x.shape[1], label, self.models)
                ],
                1,
            )
            gradient = torch.autograd.grad(losses.sum(), x)[0]
        return gradient * nsr.square()[..., None] if self.config.weighting == "x0" else gradient

    def bounded(self, gradient: Float[Tensor, "s b d"]) -> Float[Tensor, "s b d"]:
        """The gradient, each sample's shortened to at most `bound` times the median length of its batch."""
        if self.bound is None:
            return gradient
        lengths = gradient.norm(dim=-1, keepdim=True)
        shares = (self.bound * lengths.median(1, keepdim=True).values / lengths.clamp(min=1e-30)).clamp(max=1)
        return gradient * torch.where(self.bound < math.inf, shares, 1)  # inf times a median of 0 is no number

    def _matching(self, x: Tensor, nsr: Tensor, eps: Tensor, label: int | None) -> Tensor:
        """2 (eps_theta(x_t) - eps_own(x_t)) / nsr: detached, with the generator's own score in the place of eps."""
        assert self.own is not None
        x_t = x + nsr[..., None] * eps
        with torch.no_grad():
            parts = self._parts(x.shape[1], label, self.models)
            real = [model(x_t[:, part], Level.variance_exploding(nsr[:, part])) for model, part in parts]
        return 2 * (torch.cat(real, 1) - self.own.eps(x_t, nsr)) / nsr[..., None]

    def _parts(self, count: int, label: int | None, each: Sequence[Any]) -> list[tuple[Any, slice]]:
        """What there is one of for each class, each with the samples that are its own."""
        if self.classes is None or label is not None:
            return [(each[label or 0], slice(None))]
        return list(zip(each, self.classes.parts(count), strict=True))

    def train_along(
        self, x: Float[Tensor, "s b d"], u: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"], at: int | None = None
    ) -> None:
        """One step of the generator's own score, where there is one.

        It uses the noise of other samples of the batch, so that training and evaluation noise are independent.
        """
        if self.own is not None and self.active:
            self.own.train_step(x, self.nsr(u.roll(1, 1), at), eps.roll(1, 1))

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come."""
        return {} if self.own is None else self.own.state()

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()` bit for bit."""
        if self.own is not None:
            self.own.load(state)


@lru_cache
@usual_state()
def budget(manifold: str, dim: int | None, thickness: float, low: float, high: float, tv: float, loss: Any) -> float:
    """The largest lambda, up to LARGEST, at which the predicted equilibrium is within a total variation of tv."""
    law = make(manifold, dim=dim, thickness=thickness)
    return min(LARGEST, lambda_for_bias(law, Interval(low, high), tv, loss))
