"""The decoupled update: a score gradient kept outside Adam's moments (claim L3).

With g the main gradient, A the score gradient (lambda k included) and v_g Adam's bias-corrected second moment of g
alone,

    theta <- Adam(g);    m <- average of A;    theta <- theta - lr clip(m / (sqrt(v_g) + eps))

so that the score step is linear in lambda at every k, and the step of g is what it would be without A. The average is
exponential and bias-corrected. The claim, toy/ and images/ all call these two functions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8


@torch.no_grad()
def average_(
    moment: Float[Tensor, "*p"], gradient: Float[Tensor, "*p"], momentum: float, every: int, count: int
) -> Float[Tensor, "*p"]:
    """The bias-corrected average of the score gradients so far; `moment` is updated in place.

    m <- f m + (1 - f) A,    average = m / (1 - f^count),    f = momentum^every:

    what is kept of the average a generator step is `momentum`, however rarely the term acts.

    Args:
        every: k, the generator steps between two score gradients.
        count: how many score gradients were averaged, this one included: at least 1.
    """
    kept = momentum**every
    moment.lerp_(gradient, 1 - kept)
    return moment / (1 - kept**count)


@torch.no_grad()
def score_step_(
    theta: Float[Tensor, "*p"],
    average: Float[Tensor, "*p"],
    v: Float[Tensor, "*p"] | float,
    lr: float,
    clip: float,
    eps: float = EPS,
) -> None:
    """theta <- theta - lr clip(average / (sqrt(v) + eps), -clip, clip), in place; `average` is overwritten.

    Args:
        v: Adam's bias-corrected second moment of the main gradient alone, >= 0.
        clip: the largest step of a parameter, in learning rates.
    """
    scale = v.sqrt().add_(eps) if isinstance(v, Tensor) else v**0.5 + eps
    theta.sub_(average.div_(scale).clamp_(-clip, clip), alpha=lr)
