"""Adversarial losses of a logit and their slopes: D(x) = sigmoid(logit), V(D, Q) = E_P log D + E_Q log(1 - D).

Each is the line it is, and its derivative the next; a test compares the two by autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

Elementwise: TypeAlias = Callable[[Float[Tensor, "*n"]], Float[Tensor, "*n"]]


class Loss(NamedTuple):
    """A loss of one logit, and d loss / d logit."""

    value: Elementwise
    slope: Elementwise


# -log D: how a discriminator is wrong on a real sample, and the non-saturating loss of a fake one
MINUS_LOG_D = Loss(lambda logit: softplus(-logit), lambda logit: torch.sigmoid(logit) - 1)
# -log(1 - D): how a discriminator is wrong on a fake sample
MINUS_LOG_ONE_MINUS_D = Loss(lambda logit: softplus(logit), lambda logit: torch.sigmoid(logit))
# log(1 - D): the minimax loss, whose slope -D vanishes where the discriminator is sure of a fake
LOG_ONE_MINUS_D = Loss(lambda logit: -softplus(logit), lambda logit: -torch.sigmoid(logit))

GENERATOR_LOSSES: dict[str, Loss] = {"saturating": LOG_ONE_MINUS_D, "non-saturating": MINUS_LOG_D}
