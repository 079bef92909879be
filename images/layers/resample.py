"""Twice and half the resolution by a separable filter, as U-Nets, R3GAN and StyleGAN2 use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from images.layers.filters import filtered, spread

Resampling: TypeAlias = Literal["up", "down"]
BOX = (1, 1)  # the filter whose resampling is the mean over, and the copy to, 2 x 2 pixels


def resample(
    x: Float[Tensor, "b c h w"], way: Resampling, taps: Sequence[int] = BOX, bordered: bool = False
) -> Float[Tensor, "b c h2 w2"]:
    """x at twice ("up") or half ("down") the resolution, with zeros beyond the border.

    Args:
        taps: the filter along one axis, scaled here to unit sum.
        bordered: x has the pixels beyond the border already.
    """
    if tuple(taps) == BOX:
        return F.interpolate(x, scale_factor=2, mode="nearest") if way == "up" else F.avg_pool2d(x, 2)
    pad = 0 if bordered else border(taps)
    if way == "up":
        return spread(x, 4 * kernel(taps, x), 2, pad, (2 * x.shape[2], 2 * x.shape[3]))
    return filtered(x, kernel(taps, x), 2, pad)


def border(taps: Sequence[int]) -> int:
    """The pixels beyond the image that the filter of downsampling reaches on each side."""
    return (len(taps) - 1) // 2


def kernel(taps: Sequence[int], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "n n"]:
    """The filter over both axes, of unit sum, in x's dtype and filled on its device: nothing is copied there."""
    line = torch.cat([x.new_full((1,), tap / sum(taps)) for tap in taps])
    return torch.outer(line, line)
