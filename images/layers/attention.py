"""Attention by distance, whose shares are computed again in the backward pass: they are never held for a whole batch.

Source: Kim, Papamakarios, Mnih 2021, "The Lipschitz constant of self-attention" (there by the squared distance).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Heads = Float[Tensor, "b h n d"]
AT_ONCE = 2**26
"""Shares that are held at a time, as far as one image has fewer."""


def by_distance(q: Heads, k: Heads, v: Heads) -> Heads:
    """sum_j softmax_j(-|q_i - k_j| / sqrt(d)) v_j, of each head; differentiable once.

    In float32 at least, whatever autocast says: a squared distance is a difference of larger numbers.
    """
    with torch.autocast(q.device.type, enabled=False):
        precise = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))
        return _ByDistance.apply(*precise).to(v.dtype)


class _ByDistance(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        return torch.cat([shares(x, y)[0] @ z for x, y, z in parts(q, k, v)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        found = [slopes(*part) for part in parts(*ctx.saved_tensors, grad)]
        return tuple(torch.cat(each) for each in zip(*found, strict=True))


def shares(q: Heads, k: Heads) -> tuple[Float[Tensor, "b h n n"], Float[Tensor, "b h n n"]]:
    """The softmax, and the distances."""
    squares = q.square().sum(3)[..., None] + k.square().sum(3)[:, :, None] - 2 * q @ k.mT
    distance = (squares.clamp(min=0) + 1e-6).sqrt()
    return (-distance / q.shape[3] ** 0.5).softmax(3), distance


def slopes(q: Heads, k: Heads, v: Heads, grad: Heads) -> tuple[Heads, Heads, Heads]:
    """Gradients in q, k and v: of distances they are along q - k."""
    share, distance = shares(q, k)
    toward = grad @ v.mT
    along = share * ((share * toward).sum(3, keepdim=True) - toward) / (distance * q.shape[3] ** 0.5)
    in_q = along.sum(3)[..., None] * q - along @ k
    in_k = along.sum(2)[..., None] * k - along.mT @ q
    return in_q, in_k, share.mT @ grad


def parts(*tensors: Heads) -> zip[tuple[Tensor, ...]]:
    """The tensors, so many images at a time."""
    _, heads, n, _ = tensors[0].shape
    return zip(*(tensor.split(max(1, AT_ONCE // (heads * n**2))) for tensor in tensors), strict=True)
