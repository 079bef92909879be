"""The adversarial game, each loss a number a sample.   [b] -> [b]"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

Logits = Float[Tensor, " b"]


def discriminator_loss(kind: str, real: Logits, fake: Logits) -> Logits:
    """relativistic: softplus(D(G) - D(x)) of pairs; non-saturating: softplus(D(G)) + softplus(-D(x)).

    Source: Jolicoeur-Martineau 2018 (RpGAN: Huang et al. 2024); Goodfellow et al. 2014.
    """
    return softplus(fake - real) if kind == "relativistic" else softplus(fake) + softplus(-real)


def generator_loss(kind: str, real: Logits | None, fake: Logits) -> Logits:
    """relativistic: softplus(D(x) - D(G)); non-saturating: softplus(-D(G)), which needs no real image."""
    if kind == "relativistic":
        assert real is not None
        return softplus(real - fake)
    return softplus(-fake)


def squared_gradient(logits: Logits, images: Float[Tensor, "b c h w"]) -> Logits:
    """||d D(x) / d x||^2 of each image, differentiable: R1 at real images, R2 at generated ones.

    Source: Mescheder, Geiger, Nowozin 2018.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3))
