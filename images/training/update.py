"""How parameters move: an Adam on the gradient of the game, and the lazy gradients in it, after it or beside it.

With g the adversarial gradient of G and A the gradient of lambda L_score:

    gan                  theta <- Adam(g)
    summed               theta <- Adam(g + A)
    own-step             theta <- Adam(g);  theta <- Adam(A): the same Adam, its moments and its step count (claim C8)
    two-adams            theta <- Adam(g);  theta <- Adam'(A): Adam' has moments of its own
    decoupled, bounded   theta <- Adam(g);  m <- average of A;  theta <- theta - lr clip(m / (sqrt(v_g) + eps))

v_g is Adam's bias-corrected second moment without A; see `theory.decoupling`, whose functions take the last step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from images.recipes import DECOUPLED, Recipe
from theory.decoupling import average_, score_step_


class Adam:
    """Adam on gradients that are given to each step, with that step's lr and beta2.

    With StyleGAN2's correction c it takes lr c and the betas to the power c.
    """

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe, c: float = 1.0):
        self.parameters, self.beta1, self.c = list(parameters), recipe.beta1, c
        self.optimizer = torch.optim.Adam(self.parameters, lr=0.0, betas=(self.beta1**c, 0.0), eps=recipe.adam_eps)

    def move(self, gradients: Sequence[Tensor], lr: float, beta2: float) -> None:
        """One step."""
        group = self.optimizer.param_groups[0]
        group["lr"], group["betas"] = lr * self.c, (self.beta1**self.c, beta2**self.c)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def second_moments(self) -> Iterator[Tensor]:
        """Of each parameter, bias-corrected."""
        beta2 = self.optimizer.param_groups[0]["betas"][1]
        for parameter in self.parameters:
            state = self.optimizer.state[parameter]
            yield state["exp_avg_sq"] / (1 - beta2 ** float(state["step"]))


def correction(intervals: Iterable[int]) -> float:
    """c = 1 / (1 + sum 1 / k) over terms with a step of their own at every k-th step: 1 / c steps then count as one.

    For one term it is k / (k + 1). Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
    appendix B.
    """
    return 1 / (1 + sum(1 / k for k in intervals))


def adam_of_d(parameters: Iterable[Tensor], recipe: Recipe) -> Adam:
    """The discriminator's."""
    return Adam(parameters, recipe, correction([recipe.penalty_every] if recipe.lazy_steps == "corrected" else []))


class Update:
    """The optimiser of a generator's parameters in a coupling.

    Its correction counts path lengths, at weight 0 too, as StyleGAN2-ADA's code does.
    """

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe, coupling: str):
        self.recipe, self.parameters = recipe, list(parameters)
        counted = [recipe.path_every] if recipe.lazy_steps == "corrected" else []
        counted += [recipe.every] if recipe.corrected and coupling == "own-step" else []
        self.adam = Adam(self.parameters, recipe, correction(counted))
        self.second = Adam(self.parameters, recipe) if coupling == "two-adams" else self.adam
        self.moments = [torch.zeros_like(p) for p in self.parameters] if coupling in DECOUPLED else []
        self.count = 0  # of score gradients averaged so far

    @torch.no_grad()
    def step(self, main: Sequence[Tensor], score: Sequence[Tensor] | None, lr: float, beta2: float) -> None:
        """Moves the parameters by `main`, and by `score` if given: beside Adam's moments if decoupled, else in them."""
        if score is not None and not self.moments:
            main, score = [g + a for g, a in zip(main, score, strict=True)], None
        self.adam.move(main, lr, beta2)
        if score is None:
            return
        self.count += 1
        recipe, lr = self.recipe, lr * self.adam.c
        for theta, moment, gradient, v in zip(
            self.parameters, self.moments, score, self.adam.second_moments(), strict=True
        ):
            average = average_(moment, gradient, recipe.momentum, recipe.every, self.count)
            score_step_(theta, average, v, lr, recipe.clip, recipe.adam_eps)

    def own_step(self, score: Sequence[Tensor], lr: float, beta2: float) -> None:
        """Moves the parameters by `score` in a step of its own: of the same Adam, or of the second."""
        self.second.move(score, lr, beta2)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, beside the parameters."""
        found = {"adam": self.adam.optimizer.state_dict(), "moments": self.moments, "count": self.count}
        return found if self.second is self.adam else found | {"second": self.second.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()` bit for bit."""
        take(self.adam.optimizer, state["adam"])
        if self.second is not self.adam:
            take(self.second.optimizer, state["second"])
        for moment, stored in zip(self.moments, state["moments"], strict=True):
            moment.copy_(stored)
        self.count = state["count"]


def take(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continues from its `state_dict()`.

    Raises:
        ValueError: a parameter has no state by names. Others: what torch makes of other states.
    """
    for index, part in state["state"].items():
        if not isinstance(part, dict) or not all(isinstance(value, Tensor) for value in part.values()):
            raise ValueError(f"the optimiser's state of parameter {index} must hold tensors by name")
    optimizer.load_state_dict(state)
