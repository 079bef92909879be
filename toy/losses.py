"""Adversarial losses of the logits: D(x) = sigmoid(logit), V(D, Q) = E_P log D + E_Q log(1 - D)."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

Loss = Callable[[Float[Tensor, "*n"]], Float[Tensor, "*n"]]


def discriminator(real: Float[Tensor, "*n"], fake: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """-log D(real) - log(1 - D(fake)), a pair at a time."""
    return softplus(-real) + softplus(fake)


def saturating(fake: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log(1 - D(fake)): the minimax loss, whose gradient -D(fake) dlogit vanishes where D is sure of a fake."""
    return -softplus(fake)


def non_saturating(fake: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """-log D(fake), whose gradient is -(1 - D(fake)) dlogit."""
    return softplus(-fake)


GENERATOR_LOSSES: dict[str, Loss] = {"saturating": saturating, "non-saturating": non_saturating}
