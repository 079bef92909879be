"""Adam for a stack of networks, each row with a learning rate of its own, in one fused pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8
Views = Callable[[Tensor], Sequence[Tensor]]  # a flat tensor as views [row, ...], which together are all of it


class Adam:
    """theta <- theta - lr decay m / (sqrt(v) + EPS), m and v bias-corrected, lr a number a row.

    Adam's step does not depend on the scale of its parameter. So torch's fused step is taken on a buffer of zeros with
    learning rate `decay`, and theta moves by it times each row's lr; where all rows have one lr, on theta itself.

    Attributes:
        grad: the gradient, to be filled before `step`, laid out as theta.
    """

    def __init__(self, theta: Float[Tensor, " p"], views: Views, lr: Float[Tensor, " row"], betas: tuple[float, float]):
        self.theta, self.views, self.betas = theta, views, betas
        self.one = lr[0].item() if bool((lr == lr[0]).all()) else None
        self.lr = spread(lr, theta, views)
        self.moved = theta if self.one is not None else torch.zeros_like(theta)
        self.grad, self.m, self.v = (torch.zeros_like(theta) for _ in range(3))
        self.count = torch.zeros((), device=theta.device)  # of steps, where the kernel reads it
        self.number = 0  # the same, where Python does

    def step(self, decay: float, betas: tuple[float, float] | None = None) -> None:
        """One step by `grad` at lr decay; `betas` are this step's, those of the start if None."""
        self.count += 1
        self.number += 1
        beta1, beta2 = self.betas if betas is None else betas
        # the kernel of torch.optim.Adam(fused=True), whose bookkeeping takes several times as long
        torch._fused_adam_(
            [self.moved],
            [self.grad],
            [self.m],
            [self.v],
            [],
            [self.count],
            lr=decay if self.one is None else decay * self.one,
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )
        if self.one is None:
            self.theta.addcmul_(self.moved, self.lr)
            self.moved.zero_()

    def rate(self, decay: float) -> float | Tensor:
        """lr decay: a number where all rows have the same, else laid out as theta."""
        return self.lr * decay if self.one is None else self.one * decay

    def second_moment(self) -> Float[Tensor, " p"]:
        """v, bias-corrected."""
        return self.v / (1 - self.betas[1] ** self.number)

    def state(self) -> dict[str, Tensor]:
        """Copies of the step count and the moments."""
        return {"step": self.count.clone(), "exp_avg": self.m.clone(), "exp_avg_sq": self.v.clone()}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        for name, own in (("step", self.count), ("exp_avg", self.m), ("exp_avg_sq", self.v)):
            own.copy_(state[name])
        self.number = int(state["step"])

    def take_from(self, other: Adam, rows: Sequence[int]) -> None:
        """The state of these rows of another one."""
        self.count.copy_(other.count)
        self.number = other.number
        take(self.m, self.views, other.m, other.views, rows)
        take(self.v, self.views, other.v, other.views, rows)


def take(
    into: Float[Tensor, " p"], views: Views, flat: Float[Tensor, " q"], its_views: Views, rows: Sequence[int]
) -> None:
    """Copies these rows of one flat tensor, all of them in order, into another."""
    for part, whole in zip(views(into), its_views(flat), strict=True):
        part.copy_(whole[list(rows)])


def numbers(rows: Iterable[float]) -> Float[Tensor, " row"]:
    """A number a row, with all its digits."""
    return torch.tensor(list(rows), dtype=torch.float64)


def spread(rows: Float[Tensor, " row"], theta: Float[Tensor, " p"], views: Views) -> Float[Tensor, " p"]:
    """A number a row, laid out as theta."""
    flat = torch.empty_like(theta)
    for part in views(flat):
        part.copy_(rows.view(-1, *[1] * (part.ndim - 1)).expand_as(part))
    return flat
