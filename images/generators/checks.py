"""Checks of shapes, classes, latents and labels for generators and discriminators."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn


def check_sizes(config: Any, *names: str) -> None:
    """ValueError unless these fields of a configuration are whole numbers of at least 1."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; given {value!r}")


def check_resolution(resolution: int) -> int:
    """How often 4 x 4 pixels double to the resolution.

    Raises:
        ValueError: never, or more than eight times.
    """
    if isinstance(resolution, int) and resolution in (sizes := [4 << doublings for doublings in range(1, 9)]):
        return sizes.index(resolution) + 1
    raise ValueError(f"resolution must be a power of two from 8 to 1024; given {resolution!r}")


def check_classes(classes: int) -> None:
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
        raise ValueError(f"classes must be a whole number, 0 for none; given {classes!r}")


def check_latent(z: Tensor, latent: int) -> None:
    if z.ndim != 2 or z.shape[1] != latent:
        raise ValueError(f"z must be [b, {latent}]; given {tuple(z.shape)}")


def check_images(x: Tensor, channels: int, resolution: int) -> None:
    if x.ndim != 4 or x.shape[1:] != (channels, resolution, resolution):
        raise ValueError(f"images must be [b, {channels}, {resolution}, {resolution}]; given {tuple(x.shape)}")


def embed(embedding: nn.Embedding | None, labels: Int[Tensor, " b"] | None, b: int) -> Float[Tensor, "b e"] | None:
    """The labels' embeddings; None where there are no classes.

    Raises:
        ValueError: labels without classes, classes without labels, not b whole numbers, or one beyond the classes (on
            an accelerator that one stops the process instead).
    """
    if embedding is None:
        if labels is not None:
            raise ValueError("this network has no classes: give no labels")
        return None
    classes = embedding.num_embeddings
    if labels is None:
        raise ValueError(f"this network is class-conditional: give labels, {b} numbers in 0..{classes - 1}")
    if labels.shape != (b,) or labels.is_floating_point():
        raise ValueError(f"labels must be [{b}] whole numbers; given {tuple(labels.shape)} of {labels.dtype}")
    try:
        return embedding(labels)
    except IndexError:
        given = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"labels must lie in 0..{classes - 1}, the classes of this network; given {given}") from None
