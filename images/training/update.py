"""How a generator's parameters move: one Adam on the adversarial gradient, with the score gradient in it or beside it.

With g the adversarial gradient and A the gradient of lambda L_score:

    gan          theta <- Adam(g)
    summed       theta <- Adam(g + A)
    decoupled    theta <- Adam(g);  m <- average of A;  theta <- theta - lr clip(m / (sqrt(v_g) + 1e-8))

v_g is Adam's bias-corrected second moment of g alone; see `theory.decoupling`, whose functions take the last step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from images.recipes import Recipe
from theory.decoupling import EPS, average_, score_step_


class Update:
    """The optimiser of a generator's parameters."""

    def __init__(self, parameters: Sequence[Tensor], recipe: Recipe):
        self.parameters, self.recipe = list(parameters), recipe
        self.optimizer = optimizer_of(self.parameters, recipe)
        self.moments = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = 0  # of score gradients averaged so far

    @torch.no_grad()
    def step(self, main: Sequence[Tensor], score: Sequence[Tensor] | None, lr: float, beta2: float) -> None:
        """Moves the parameters by Adam on the gradients `main`, then by the decoupled step on `score` if given."""
        adam(self.optimizer, self.parameters, main, lr, beta2)
        if score is None:
            return
        self.count += 1
        momentum, every, clip = self.recipe.momentum, self.recipe.every, self.recipe.clip
        for parameter, moment, gradient in zip(self.parameters, self.moments, score, strict=True):
            state = self.optimizer.state[parameter]
            v = state["exp_avg_sq"] / (1 - beta2 ** float(state["step"]))
            average = average_(moment, gradient, momentum, every, self.count)
            score_step_(parameter, average, v, lr, clip)

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "moments": self.moments, "count": self.count}

    def load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        for moment, stored in zip(self.moments, state["moments"], strict=True):
            moment.copy_(stored)
        self.count = state["count"]


def optimizer_of(parameters: Iterable[Tensor], recipe: Recipe) -> torch.optim.Adam:
    """Adam, whose lr and beta2 are given at each step."""
    return torch.optim.Adam(parameters, lr=0.0, betas=(recipe.beta1, recipe.beta2[0]), eps=EPS)


def adam(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    lr: float,
    beta2: float,
) -> None:
    """One step of Adam on these gradients, at this lr and beta2."""
    group = optimizer.param_groups[0]
    group["lr"], group["betas"] = lr, (group["betas"][0], beta2)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
