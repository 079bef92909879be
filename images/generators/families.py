"""Generators and discriminators by the name of their family, and those of a recipe.

g = make_generator("r3gan", resolution=32, channels=3, classes=10, width=768)
d = make_discriminator("r3gan", resolution=32, channels=3, classes=10, width=768)
d(g(z, labels), labels)    # z [b, g.config.latent], labels [b] or None -> logits [b]
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from torch import nn

from images.generators import aurora, biggan, r3gan, stylegan2
from images.generators.augment import make_augment
from images.generators.aurora import AuroraConfig
from images.generators.biggan import BigGANConfig
from images.generators.checks import check_resolution
from images.generators.own import own_networks
from images.generators.r3gan import R3GANConfig
from images.generators.small import SmallDiscriminator, SmallGenerator
from images.generators.stylegan2 import StyleGAN2Config
from images.interfaces import Augment, Pair
from images.recipes import Recipe
from theory.common.checks import choose
from theory.common.parts import is_own

Config: TypeAlias = R3GANConfig | StyleGAN2Config | BigGANConfig | AuroraConfig
FAMILIES: dict[str, Any] = {"r3gan": r3gan, "stylegan2": stylegan2, "biggan": biggan, "aurora": aurora}
CONFIGS: dict[str, Any] = {
    "r3gan": R3GANConfig, "stylegan2": StyleGAN2Config, "biggan": BigGANConfig, "aurora": AuroraConfig,
}  # fmt: skip
NAMES = tuple(FAMILIES)
CIFAR = {"mapping": 2, "residual": False, "base": 32768}
PAPER256 = {"mapping": 8, "residual": True, "base": 16384}
"""Shapes of StyleGAN2, by the names of their configurations in NVlabs/stylegan2-ada-pytorch, train.py."""


def make_config(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> Config:
    """The shape of the networks of a family; `width` and `options` are fields of the family's configuration.

    R3GAN's width is that of all stages; the option widths=(...) has one each. BigGAN's is that of the widest; its shape
    follows from the resolution (`biggan.shape`), and Aurora's from the width (`aurora.shape`), as far as options do not
    say otherwise.

    Raises:
        ValueError: no such family, option, or shape.
    """
    kind = CONFIGS[choose(name, NAMES, "generator")]
    known = set(kind.__dataclass_fields__) - {"resolution", "channels", "classes"}
    for option in options:
        choose(option, sorted(known), f"option of {name}")
    if kind is R3GANConfig:
        options.setdefault("widths", (width or 768,) * (check_resolution(resolution) + 1))
    elif kind is BigGANConfig:
        options = biggan.shape(resolution, width) | options
    elif kind is AuroraConfig:
        options = aurora.shape(width) | options
    elif width is not None:
        options["width"] = width
    return kind(resolution=resolution, channels=channels, classes=classes, **options)


def make_generator(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> nn.Module:
    """g(z, labels), [b, latent], [b] -> [b, c, h, w], with random parameters; arguments as in `make_config`."""
    config = make_config(name, resolution, channels, classes, width, **options)
    return FAMILIES[choose(name, NAMES, "generator")].Generator(config)


def make_discriminator(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> nn.Module:
    """D(images, labels), [b, c, h, w], [b] -> logits [b], with random parameters; arguments as in `make_config`."""
    config = make_config(name, resolution, channels, classes, width, **options)
    return FAMILIES[choose(name, NAMES, "generator")].Discriminator(config)


def networks_of(recipe: Recipe) -> Pair:
    """The recipe's G(z, labels) -> images and D(images, labels) -> logits, with random parameters.

    Raises:
        ValueError: the family has no networks of this shape. FileError: the user's own do not fit.
    """
    if is_own(recipe.generator):
        return own_networks(recipe)
    if recipe.generator == "small":
        if recipe.resolution != 8:
            raise ValueError(f"the small generator makes 8x8 images: resolution must be 8; given {recipe.resolution}")
        g = SmallGenerator(recipe.latent, recipe.classes, recipe.channels, recipe.width)
        return g, SmallDiscriminator(recipe.classes, recipe.channels, recipe.width)
    if recipe.narrow:
        return narrow(recipe)
    shape = recipe.generator, recipe.resolution, recipe.channels, recipe.classes, recipe.width
    options: dict[str, Any] = {"latent": recipe.latent}
    if recipe.generator == "r3gan":
        options["cardinality"] = math.gcd(96, recipe.width)
    else:
        options["group"] = recipe.group
    if recipe.generator == "stylegan2":
        options |= CIFAR if recipe.resolution <= 32 else PAPER256
    return make_generator(*shape, **options), make_discriminator(*shape, **options)


def narrow(recipe: Recipe) -> Pair:
    """The networks of a recipe whose stages halve in width: R3GAN's or BigGAN's, small enough for a CPU.

    BigGAN's discriminator halves the resolution in each of its blocks.

    Raises:
        ValueError: the last stage would have no channel, or half of one.
    """
    stages = check_resolution(recipe.resolution) + 1
    if recipe.width % (1 << (stages - 1)):
        wanted = f"a multiple of {1 << (stages - 1)}, as it halves {stages - 1} times"
        raise ValueError(f"width must be {wanted}; given {recipe.width}")
    widths = tuple(recipe.width >> stage for stage in range(stages))
    if recipe.generator == "r3gan":
        options: dict[str, Any] = {"blocks": 1, "expansion": 1, "cardinality": widths[-1]}
    else:
        options = {"d_widths": widths[::-1], "downs": stages - 1, "group": recipe.group}
    options |= {"widths": widths, "latent": recipe.latent}
    shape = recipe.generator, recipe.resolution, recipe.channels, recipe.classes
    return make_generator(*shape, **options), make_discriminator(*shape, **options)


def augment_of(recipe: Recipe) -> Augment | None:
    """The augmentation of the images that D sees; None if its probability is always 0."""
    used = any(recipe.augment) or recipe.target
    return make_augment(recipe.augmentation) if used else None
