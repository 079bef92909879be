"""A generator and a discriminator of the user's: FILE.py:NAME, see images/OWN_PARTS.md."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from images.interfaces import Pair
from images.recipes import Recipe
from images.training.losses import squared_gradient
from theory.common.errors import FileError
from theory.common.parts import load, part_of, tried

TRIED = 2  # images


def own_networks(recipe: Recipe) -> Pair:
    """(G, D) that the user's function returns for the recipe, called with torch's random numbers seeded.

    Both are tried on two images, in evaluation mode; on the meta device nothing is tried.

    Raises:
        FileError: it is no function, raises, or does not return two modules; G(z, labels) is no [b, c, h, w] of the
            recipe's, D(images, labels) no [b], or not differentiable twice, as R1 needs it; there are values that are
            not finite.
    """
    name, make = str(part_of(recipe.generator)), load(recipe.generator)
    if not callable(make) or isinstance(make, nn.Module):
        raise FileError(f"{name} must be a function of the recipe that returns (G, D); given {type(make).__name__}")
    made = tried(name, "makes no networks", make, recipe)
    parts = made if isinstance(made, tuple | list) else [made]
    if len(parts) != 2 or not all(isinstance(part, nn.Module) for part in parts):
        raise FileError(f"{name} must return two modules, (G, D); given {', '.join(type(p).__name__ for p in parts)}")
    g, d = parts
    if torch.get_default_device().type != "meta":
        with torch.random.fork_rng(devices=[]):
            tried(name, "does not fit", check, name, g.eval(), d.eval(), recipe)
    return g.train(), d.train()


def check(name: str, g: nn.Module, d: nn.Module, recipe: Recipe) -> None:
    """FileError unless G and D have the shapes and derivatives that training needs."""
    z = torch.randn(TRIED, recipe.latent)
    labels = torch.arange(TRIED) % recipe.classes if recipe.classes else None
    with torch.no_grad():
        images = g(z, labels)
    is_like(f"{name}: G(z {list(z.shape)}, {told(labels)})", images, TRIED, recipe.channels, *[recipe.resolution] * 2)
    images = images.float().requires_grad_()
    logits = d(images, labels)
    is_like(f"{name}: D(images {list(images.shape)}, {told(labels)})", logits, TRIED)
    if not logits.requires_grad:
        raise FileError(f"{name}: D is not differentiable in the images")
    for which, network in (("G", g), ("D", d)):
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise FileError(f"{name}: {which} has no parameters to train")
    if recipe.penalty != "none":  # R1 differentiates twice
        parameters = [parameter for parameter in d.parameters() if parameter.requires_grad]
        torch.autograd.grad(squared_gradient(logits, images).sum(), parameters, allow_unused=True)


def is_like(what: str, found: Any, *shape: int) -> None:
    """FileError unless it is a tensor of finite numbers of this shape."""
    given = f"{list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or not found.is_floating_point() or tuple(found.shape) != shape:
        raise FileError(f"{what} must be {list(shape)}; given {given}")
    if not found.isfinite().all():
        raise FileError(f"{what} is NaN or infinite")


def told(labels: Tensor | None) -> str:
    return "None" if labels is None else f"labels {list(labels.shape)}"
