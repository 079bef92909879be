"""The decoupled update: a score gradient kept outside Adam's moments (claim L3).

With g the main gradient, A the score gradient (lambda k included) and v_g Adam's bias-corrected second moment of g
alone,

    theta <- Adam(g);    m <- average of A;    theta <- theta - lr clip(m / (sqrt(v_g) + eps))

so that the score step is linear in lambda at every k, and the step of g is what it would be without A. The average is
exponential and bias-corrected. The claim, toy/ and images/ all call these two functions; `DecoupledAdam` is an
optimiser made of them.

Related: AdamW (Loshchilov and Hutter, ICLR 2019) keeps weight decay out of both moments. Adaptive decoupled moment
routing (Hu et al., arXiv 2604.22407) keeps a modified gradient out of the second moment alone. MTAdam (Malkiel and
Wolf, EMNLP 2021) has moments for each loss term and balances their norms, as the arm two-adams and the rule `ratio` do
apart. Bloop (Hsieh et al., arXiv 2402.02998) adds the part of an auxiliary gradient that is orthogonal to the average
of the main one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.checks import share, whole

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
    lr: float | Float[Tensor, "*p"],
    clip: float,
    eps: float = EPS,
) -> None:
    """theta <- theta - lr clip(average / (sqrt(v) + eps), -clip, clip), in place; `average` is overwritten.

    Args:
        v: Adam's bias-corrected second moment of the main gradient alone, >= 0.
        lr: one for all parameters, or one each.
        clip: the largest step of a parameter, in learning rates.
    """
    scale = v.sqrt().add_(eps) if isinstance(v, Tensor) else v**0.5 + eps
    step = average.div_(scale).clamp_(-clip, clip)
    if isinstance(lr, Tensor):
        theta.sub_(step.mul_(lr))
    else:
        theta.sub_(step, alpha=lr)


class DecoupledAdam(torch.optim.Adam):
    """Adam with a second gradient beside its moments: main gradients in `.grad`, score gradients given to `step`.

        theta <- Adam(g);    m <- average of A;    theta <- theta - lr clip(m / (sqrt(v_g) + eps))

    Without score gradients it is Adam. Its state holds the averages: `state_dict` resumes bit for bit.

    >>> theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    >>> optimizer = DecoupledAdam([theta], lr=0.1, betas=(0.0, 0.99), every=8)
    >>> theta.grad = torch.tensor([1.0, 4.0]).double()
    >>> optimizer.step(scores=[torch.tensor([2.0, 2.0]).double()])  # Adam's step 0.1, and 0.1 * 2 / |g|
    >>> [round(x, 6) for x in theta.tolist()]
    [-0.3, -0.15]

    Args:
        params: as of torch.optim.Adam.
        lr, betas, eps: Adam's.
        every: k, the generator steps between two score gradients.
        momentum: what is kept of the score gradients' average a generator step, in [0, 1).
        clip: the largest score step of a parameter, in learning rates.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = EPS,
        *,
        every: int = 1,
        momentum: float = 0.9,
        clip: float = 10.0,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps)
        self.every, self.clip = whole("every", every, least=1), clip
        self.momentum = share("momentum", momentum)
        if not clip > 0:
            raise ValueError(f"clip must be positive; given {clip!r}")

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, scores: Sequence[Tensor] | None = None
    ) -> float | None:
        """One step of Adam on `.grad`, and one beside it on the score gradients, lambda k included, if there are any.

        Args:
            closure: as of torch.optim.Adam.
            scores: one for each parameter, in the order of the groups.

        Raises:
            ValueError: scores are not as many as the parameters, or a parameter has no main gradient.
        """
        loss = super().step(closure)
        if scores is None:
            return loss
        parameters = [(part, group) for group in self.param_groups for part in group["params"]]
        if len(parameters) != len(scores):
            raise ValueError(f"scores must be one for each of {len(parameters)} parameters; given {len(scores)}")
        for (theta, group), gradient in zip(parameters, scores, strict=True):
            state = self.state[theta]
            if "exp_avg_sq" not in state:
                raise ValueError("every parameter needs a main gradient before its first score gradient")
            moment = state.setdefault("score_moment", torch.zeros_like(theta))
            state["score_count"] = state.get("score_count", 0) + 1
            average = average_(moment, gradient, self.momentum, self.every, state["score_count"])
            v = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
            score_step_(theta, average, v, group["lr"], self.clip, group["eps"])
        return loss
