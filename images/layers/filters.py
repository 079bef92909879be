"""Filters that are the same for every channel, whose derivatives of any order are such filters too.

PyTorch's own double backward of a grouped convolution goes over the groups, here channels, one by one: a gradient
penalty would take hundreds of small kernels for every change of resolution.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

Images = Float[Tensor, "b c h w"]
Kernel = Float[Tensor, "n n"]


def filtered(x: Images, kernel: Kernel, stride: int, pad: int) -> Float[Tensor, "b c h2 w2"]:
    """conv2d of each channel with the kernel."""
    return _Filter.apply(*prepared(x, kernel), stride, pad)


def spread(x: Images, kernel: Kernel, stride: int, pad: int, size: tuple[int, int]) -> Float[Tensor, "b c h2 w2"]:
    """The adjoint of `filtered` of images of this size: conv_transpose2d of each channel with the kernel."""
    return _Spread.apply(*prepared(x, kernel), stride, pad, size)


def prepared(x: Images, kernel: Kernel) -> tuple[Images, Float[Tensor, "c 1 n n"]]:
    """In autocast's precision, if it is on; the kernel for each channel."""
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    return x, kernel.to(x).expand(x.shape[1], 1, -1, -1)


class _Filter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pad: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.geometry = stride, pad, tuple(x.shape[2:])
        return F.conv2d(x, weight, stride=stride, padding=pad, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Spread.apply(grad, *ctx.saved_tensors, *ctx.geometry), None, None, None


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, pad: int, size: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.geometry = stride, pad
        n = weight.shape[-1]
        more = [side - ((before - 1) * stride - 2 * pad + n) for side, before in zip(size, x.shape[2:], strict=True)]
        return F.conv_transpose2d(x, weight, stride=stride, padding=pad, output_padding=more, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Filter.apply(grad, *ctx.saved_tensors, *ctx.geometry), None, None, None, None
