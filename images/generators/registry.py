"""Generators and discriminators by name."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import nn

from images.generators import r3gan, stylegan2
from images.generators.checks import check_resolution
from images.generators.r3gan import R3GANConfig
from images.generators.stylegan2 import StyleGAN2Config
from theory.common.checks import choose

Config: TypeAlias = R3GANConfig | StyleGAN2Config
FAMILIES: dict[str, Any] = {"r3gan": r3gan, "stylegan2": stylegan2}
NAMES = tuple(FAMILIES)


def make_config(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> Config:
    """The shape of the networks of this family; `width` and `options` beyond it are those of the family's config.

    R3GAN's width is that of all stages; options widths=(...) has one each.

    Raises:
        ValueError: no such family, option, or shape.
    """
    kind: type[Config] = R3GANConfig if choose(name, NAMES, "generator") == "r3gan" else StyleGAN2Config
    known = set(kind.__dataclass_fields__) - {"resolution", "channels", "classes"}
    for option in options:
        choose(option, sorted(known), f"option of {name}")
    if kind is R3GANConfig:
        options.setdefault("widths", (width or 768,) * (check_resolution(resolution) + 1))
    elif width is not None:
        options["width"] = width
    return kind(resolution=resolution, channels=channels, classes=classes, **options)


def make_generator(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> nn.Module:
    """g(z, labels), [b, latent], [b] -> [b, c, h, w], with random parameters; see `make_config`."""
    config = make_config(name, resolution, channels, classes, width, **options)
    return FAMILIES[name].Generator(config)


def make_discriminator(
    name: str, resolution: int, channels: int, classes: int, width: int | None = None, **options: Any
) -> nn.Module:
    """D(images, labels), [b, c, h, w], [b] -> logits [b], with random parameters; see `make_config`."""
    config = make_config(name, resolution, channels, classes, width, **options)
    return FAMILIES[name].Discriminator(config)
