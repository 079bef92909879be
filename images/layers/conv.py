"""A grouped convolution whose second derivatives are grouped convolutions too.

PyTorch's own double backward goes over the groups one by one: with 96 of them, 96 small kernels for each convolution
under a gradient penalty. A convolution is bilinear in image and weight, so that its derivatives of any order are made
of three maps, each the derivative of another: image * weight, and its adjoints in the image and in the weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight


def grouped_conv2d(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "o j k k"], groups: int
) -> Float[Tensor, "b o h w"]:
    """conv2d with padding k // 2, k odd, i = j groups: same values, and every derivative at the cost of a convolution.

    Under autocast it computes in autocast's precision, like conv2d. A gradient in the images alone computes that in the
    weight, too, if the weight requires one, except within `of_images`: a torch.autograd.Function cannot tell which of
    its gradients are needed.
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    return _Conv.apply(x, weight, groups)


_weights_wanted = True  # of the process: autograd runs the backward pass of a GPU in threads of its own


@contextmanager
def of_images() -> Iterator[None]:
    """Gradients that are taken within are of images alone, and those of grouped convolutions in their weights are left
    out: a gradient penalty's first backward pass would throw them away. What is then differentiated again, outside,
    has all of its gradients.
    """
    global _weights_wanted
    before, _weights_wanted = _weights_wanted, False
    try:
        yield
    finally:
        _weights_wanted = before


class _Conv(Function):
    """(x, w) -> x * w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = _ToImage.apply(grad, weight, ctx.groups) if ctx.needs_input_grad[0] else None
        wanted = ctx.needs_input_grad[1] and _weights_wanted
        dweight = _ToWeight.apply(x, grad, weight.shape, ctx.groups) if wanted else None
        return dx, dweight, None


class _ToImage(Function):
    """(g, w) -> d <g, x * w> / dx."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.groups = groups
        b, _, h, w = grad.shape
        shape = (b, weight.shape[1] * groups, h, w)
        return conv2d_input(shape, weight, grad, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = ctx.saved_tensors
        dgrad = _Conv.apply(v, weight, ctx.groups) if ctx.needs_input_grad[0] else None
        dweight = _ToWeight.apply(v, grad, weight.shape, ctx.groups) if ctx.needs_input_grad[1] else None
        return dgrad, dweight, None


class _ToWeight(Function):
    """(x, g) -> d <g, x * w> / dw."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, shape: torch.Size, groups: int) -> Tensor:
        ctx.save_for_backward(x, grad)
        ctx.groups = groups
        return conv2d_weight(x, shape, grad, padding=shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        x, grad = ctx.saved_tensors
        dx = _ToImage.apply(grad, v, ctx.groups) if ctx.needs_input_grad[0] else None
        dgrad = _Conv.apply(x, v, ctx.groups) if ctx.needs_input_grad[1] else None
        return dx, dgrad, None, None
