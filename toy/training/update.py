"""The update of a generator's parameters from its main (adversarial or likelihood) gradient and its score gradient.

With g the main gradient and A the score gradient (lambda k included), both in theta:

    summed               theta <- Adam(g + A)
    own-step             theta <- Adam(g), theta <- Adam(A): the same Adam, its moments and its step count (claim C8)
    two-adams            theta <- Adam(g), theta <- Adam'(A): Adam' has moments of its own
    decoupled, bounded   theta <- Adam(g), then the score step of `theory.decoupling` (claim L3)
    SGD                  theta <- theta - lr (g + A), or theta - lr (g + average of A): there are no moments

StyleGAN2's correction of own-step (Karras et al. 2020, appendix B) takes lr times c and both betas to the power c, with
c = k / (k + 1): k + 1 steps then count as k.

Two options separate decoupling from what has similar effects: `max_norm` clips the norm of the main gradient of each
seed, as a stabiliser does; `equal_length` gives the decoupled update the length of the step of g alone, so that longer
steps cannot be the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.decoupling import average_, score_step_
from toy.config import OWN_STEP, Config
from toy.training.adam import Adam, Views, spread, take


class Update:
    """The optimiser of a stack of generators whose parameters are one flat tensor.

    Args:
        arm: the coupling, of which only own-step and two-adams need an optimiser of another make.

    Attributes:
        main: the main gradient, to be filled before `step`; of the arm summed with the score gradient in it.
        score: the score gradient of a decoupled arm, to be filled before a step that is `scored`; of own-step and
            two-adams before `own_step`.
    """

    def __init__(
        self,
        theta: Float[Tensor, " p"],
        views: Views,
        config: Config,
        lr: Float[Tensor, " row"],
        arm: str = "decoupled",
    ):
        self.theta, self.views, self.config = theta, views, config
        betas = config.beta1, config.beta2
        if arm == "own-step" and config.corrected:
            c = config.every / (config.every + 1)
            lr, betas = lr * c, (betas[0] ** c, betas[1] ** c)
        self.adam = Adam(theta, views, lr, betas) if config.optimizer == "adam" else None
        self.second = Adam(theta, views, lr, betas) if arm == "two-adams" and config.optimizer == "adam" else self.adam
        self.lr = self.adam.lr if self.adam is not None else spread(lr, theta, views)
        self.main = self.adam.grad if self.adam is not None else torch.zeros_like(theta)
        self.score, self.moment = torch.zeros_like(theta), torch.zeros_like(theta)
        if arm in OWN_STEP:  # where its optimiser reads it
            self.score = self.main if self.second is None else self.second.grad

    def step(self, at: int, decay: float, scored: bool) -> None:
        """Moves theta by `main`, and by `score` if this step has one, at lr decay; `at` counts generator steps."""
        config = self.config
        if config.max_norm is not None:
            self._scale(self.main, (config.max_norm / self._norm(self.main).clamp(min=1e-30)).clamp(max=1))
        before = self.theta.clone() if config.equal_length else None
        if self.adam is not None:
            self.adam.step(decay)
        else:
            self.theta.addcmul_(self.main, self.lr, value=-decay)
        if not scored:
            return
        alone = None if before is None else self._norm(self.theta - before)
        self._score_step(at, decay)
        if before is not None and alone is not None:
            whole = self.theta - before
            self._scale(whole, alone / self._norm(whole).clamp(min=1e-30))
            self.theta.copy_(before + whole)

    def own_step(self, decay: float) -> None:
        """Moves theta by `score` in a step of its own, after that by `main`."""
        if self.second is not None:
            self.second.step(decay)
        else:
            self.theta.addcmul_(self.score, self.lr, value=-decay)

    def _score_step(self, at: int, decay: float) -> None:
        config = self.config
        average = average_(self.moment, self.score, config.momentum, config.every, at // config.every + 1)
        if self.adam is not None:
            score_step_(self.theta, average, self.adam.second_moment(), self.adam.rate(decay), config.clip)
        else:
            self.theta.addcmul_(average, self.lr, value=-decay)

    def _norm(self, flat: Float[Tensor, " p"]) -> Float[Tensor, " seed"]:
        squares = [part.flatten(1).square().sum(1) for part in self.views(flat)]
        return torch.stack(squares).sum(0).sqrt()

    def _scale(self, flat: Float[Tensor, " p"], factor: Float[Tensor, " seed"]) -> None:
        for part in self.views(flat):
            part.mul_(factor.view(-1, *[1] * (part.ndim - 1)))

    def state(self) -> dict[str, Any]:
        """Copies of everything that the next step depends on."""
        adams = {name: adam.state() for name, adam in self._adams().items()}
        return {"moment": self.moment.clone(), **adams}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()` bit for bit."""
        self.moment.copy_(state["moment"])
        for name, adam in self._adams().items():
            adam.load(state[name])

    def take_from(self, other: Update, rows: Sequence[int]) -> None:
        """The state of these rows of another one."""
        take(self.moment, self.views, other.moment, other.views, rows)
        for name, adam in self._adams().items():
            adam.take_from(other._adams()[name], rows)

    def _adams(self) -> dict[str, Adam]:
        """Those that there are, each once."""
        found = {} if self.adam is None else {"adam": self.adam}
        return found if self.second is None or self.second is self.adam else {**found, "second": self.second}
