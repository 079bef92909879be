"""A recipe's generator and discriminator."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from images.generators import make_augment, make_discriminator, make_generator
from images.recipes import Recipe
from images.training.trainer import Augment

CIFAR = {"mapping": 2, "residual": False, "base": 32768}
PAPER256 = {"mapping": 8, "residual": True, "base": 16384}
"""Shapes of StyleGAN2, by the names of their configurations in NVlabs/stylegan2-ada-pytorch, train.py."""


def make(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    """G(z, labels) -> images and D(images, labels) -> logits.

    Raises:
        ValueError: the family has no networks of this shape.
    """
    if recipe.generator == "small":
        return small(recipe)
    shape = recipe.generator, recipe.resolution, recipe.channels, recipe.classes, recipe.width
    options: dict[str, Any] = {"latent": recipe.latent}
    if recipe.generator == "r3gan":
        options["cardinality"] = math.gcd(96, recipe.width)
    else:
        options |= {"group": recipe.group, **(CIFAR if recipe.resolution <= 32 else PAPER256)}
    return make_generator(*shape, **options), make_discriminator(*shape, **options)


def augment(recipe: Recipe) -> Augment | None:
    """What changes the images that D sees; None where the recipe never does."""
    used = any(recipe.augment) or recipe.target
    return make_augment(recipe.augmentation) if used else None  # type: ignore[return-value]


def small(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    from images.generators.small import SmallDiscriminator, SmallGenerator

    if recipe.resolution != 8:
        raise ValueError(f"the small generator makes 8x8 images: resolution must be 8; given {recipe.resolution}")
    g = SmallGenerator(recipe.latent, recipe.classes, recipe.channels, recipe.width)
    return g, SmallDiscriminator(recipe.classes, recipe.channels, recipe.width)
