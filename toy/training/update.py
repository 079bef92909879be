"""The update of a generator's parameters from its main (adversarial or likelihood) gradient and its score gradient.

With g the main gradient and A the score gradient (lambda k included), both in theta:

    summed               theta <- Adam(g + A)
    decoupled, bounded   theta <- Adam(g), then the score step of `theory.decoupling` (claim L3)
    SGD                  theta <- theta - lr (g + A), or theta - lr (g + average of A): there are no moments

Two options separate decoupling from what has similar effects: `max_norm` clips the norm of the main gradient of each
seed, as a stabiliser does; `equal_length` gives the decoupled update the length of the step of g alone, so that longer
steps cannot be the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.decoupling import average_, score_step_
from toy.config import Config

Views = Callable[[Tensor], Sequence[Tensor]]  # a flat tensor as views [seed, ...], which together are all of it


class Update:
    """The optimiser of a stack of generators whose parameters are one flat tensor.

    Attributes:
        main: the main gradient, to be filled before `step`; of the arm summed with the score gradient in it.
        score: the score gradient of a decoupled arm, to be filled before a step that is `scored`.
    """

    def __init__(self, theta: Float[Tensor, " p"], views: Views, config: Config, lr: float):
        self.theta, self.views, self.config, self.lr = theta, views, config, lr
        self.optimizer: torch.optim.Optimizer
        if config.optimizer == "adam":
            self.optimizer = torch.optim.Adam([theta], lr, (config.beta1, config.beta2), fused=True)
        else:
            self.optimizer = torch.optim.SGD([theta], lr)
        theta.grad = self.main = torch.zeros_like(theta)
        self.score, self.moment = torch.zeros_like(theta), torch.zeros_like(theta)

    def step(self, at: int, decay: float, scored: bool) -> None:
        """Moves theta by `main`, and by `score` if this step has one, at lr decay; `at` counts generator steps."""
        lr, config = self.lr * decay, self.config
        self.optimizer.param_groups[0]["lr"] = lr
        if config.max_norm is not None:
            self._scale(self.main, (config.max_norm / self._norm(self.main).clamp(min=1e-30)).clamp(max=1))
        before = self.theta.clone() if config.equal_length else None
        self.optimizer.step()
        if not scored:
            return
        alone = None if before is None else self._norm(self.theta - before)
        self._score_step(at, lr)
        if before is not None and alone is not None:
            whole = self.theta - before
            self._scale(whole, alone / self._norm(whole).clamp(min=1e-30))
            self.theta.copy_(before + whole)

    def _score_step(self, at: int, lr: float) -> None:
        config = self.config
        average = average_(self.moment, self.score, config.momentum, config.every, at // config.every + 1)
        if config.optimizer == "adam":
            state = self.optimizer.state[self.theta]
            v = state["exp_avg_sq"] / (1 - config.beta2 ** state["step"].item())
            score_step_(self.theta, average, v, lr, config.clip)
        else:
            self.theta.sub_(average, alpha=lr)

    def _norm(self, flat: Float[Tensor, " p"]) -> Float[Tensor, " seed"]:
        squares = [part.flatten(1).square().sum(1) for part in self.views(flat)]
        return torch.stack(squares).sum(0).sqrt()

    def _scale(self, flat: Float[Tensor, " p"], factor: Float[Tensor, " seed"]) -> None:
        for part in self.views(flat):
            part.mul_(factor.view(-1, *[1] * (part.ndim - 1)))

    def state(self) -> dict[str, Any]:
        """Copies of everything that the next step depends on."""
        return {"moment": self.moment.clone(), "optimizer": moments(self.optimizer)}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()` bit for bit."""
        self.moment.copy_(state["moment"])
        set_moments(self.optimizer, state["optimizer"])


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of the state of an optimiser of one tensor: Adam's step count and moments; of SGD nothing."""
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    return {name: value.clone() for name, value in state.items() if value is not None}


def set_moments(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """The inverse of `moments`."""
    optimizer.state[optimizer.param_groups[0]["params"][0]] = {name: value.clone() for name, value in state.items()}
