"""The losses of a step as functions of tensors and numbers; each gives a number a sample, [b]."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu, softplus

from images.interfaces import Images, Logits
from images.layers.conv import of_images
from theory.levels import Level
from theory.regularity import EpsModel, score_matching_loss


def discriminator_loss(kind: str, real: Logits, fake: Logits) -> Logits:
    """The loss of D from its logits D(x) at real and D(G) at generated images.   [b], [b] -> [b]

        relativistic      softplus(D(G) - D(x)) of pairs
        non-saturating    softplus(D(G)) + softplus(-D(x))
        hinge             relu(1 + D(G)) + relu(1 - D(x))

    Source: Jolicoeur-Martineau 2018 (RpGAN: Huang et al. 2024); Goodfellow et al. 2014; Lim, Ye 2017.
    """
    if kind == "hinge":
        return relu(1 + fake) + relu(1 - real)
    return softplus(fake - real) if kind == "relativistic" else softplus(fake) + softplus(-real)


def generator_loss(kind: str, real: Logits | None, fake: Logits) -> Logits:
    """The adversarial loss of G; real is None unless the loss is relativistic.   [b], [b] -> [b]

    relativistic      softplus(D(x) - D(G)) of pairs
    non-saturating    softplus(-D(G))
    hinge             -D(G)
    """
    if kind == "hinge":
        return -fake
    if kind == "relativistic":
        assert real is not None
        return softplus(real - fake)
    return softplus(-fake)


def squared_gradient(logits: Logits, images: Images) -> Logits:
    """||d D(x) / d x||^2 of each image, differentiable: R1 at real images, R2 at generated ones.   [b], [b, c, h, w]

    Source: Mescheder, Geiger, Nowozin 2018.
    """
    with of_images():
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3))


def bounded(gradients: Images, limit: Float[Tensor, ""]) -> Images:
    """Each image's gradient, shortened to at most `limit`."""
    lengths = gradients.flatten(1).norm(dim=1)
    return gradients * (limit / lengths.clamp(min=1e-30)).clamp(max=1)[:, None, None, None]


def path_lengths(images: Images, styles: Float[Tensor, "b k s"], noise: Images) -> Float[Tensor, " b"]:
    """sqrt(mean over layers ||J^T y||^2), differentiable, with J = d image / d style and y = noise / sqrt(h w).

    Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 3.2.
    """
    _, _, h, w = images.shape
    (gradient,) = torch.autograd.grad((images * noise).sum() / (h * w) ** 0.5, styles, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Float[Tensor, " b"], mean: float) -> Float[Tensor, " b"]:
    """(length - mean)^2, with the running mean of path lengths."""
    return (lengths - mean).square()


def score_term(images: Images, eps_model: EpsModel, nsr: Float[Tensor, " b"], noise: Images) -> Float[Tensor, " b"]:
    """mean over pixels (eps_theta(x + nsr eps) - eps)^2, differentiable in x, at alpha = 1.   [b, c, h, w] -> [b]

    The paper's code has this mean, its formula (eq. 10) the sum over pixels.
    """
    level = Level.variance_exploding(nsr)
    loss = score_matching_loss(images, eps_model, level, noise.to(images), event_dims=3)
    return loss.float() / math.prod(images.shape[1:])
