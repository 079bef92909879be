"""The parts of both U-Nets: residual blocks with attention, and embeddings of the noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from images.layers.resample import BOX, Resampling, resample


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common.

    scale_shift: the embedding scales and shifts the second norm's output; else it is added to its input.
    eps, least_group: of the group norms: min(32, channels // least_group) groups.
    gain: of every sum with a skip connection (1, or sqrt(1/2) to keep the variance).
    taps: the filter of up- and downsampling, one axis of it.
    project_resampled: a 1 x 1 convolution on the skip connection of resampling blocks, even at equal widths.
    dropout: before the last convolution of a block.
    """

    scale_shift: bool
    eps: float
    least_group: int
    gain: float = 1.0
    taps: tuple[int, ...] = BOX
    project_resampled: bool = False
    dropout: float = 0.0

    def norm(self, channels: int) -> nn.GroupNorm:
        groups = min(32, channels // self.least_group)
        if groups == 0 or channels % groups:
            raise ValueError(f"width and multipliers give {channels} channels, which {groups} groups cannot share")
        return nn.GroupNorm(groups, channels, eps=self.eps)


class Block(nn.Module):
    """x -> gain (skip(x) + conv2 silu(norm2(conv1 silu(norm1 x)), emb)), then attention if heads > 0.

    Resampling acts on the input of conv1 and on the skip connection.   [b, i, h, w], [b, e] -> [b, o, h', w']
    """

    def __init__(
        self, wide_in: int, wide_out: int, emb: int, style: Style, heads: int = 0, resampling: Resampling | None = None
    ):
        super().__init__()
        self.style, self.resampling = style, resampling
        self.norm1 = style.norm(wide_in)
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, padding=1)
        self.emb = nn.Linear(emb, wide_out * (2 if style.scale_shift else 1))
        self.norm2 = style.norm(wide_out)
        self.conv2 = zeroed(nn.Conv2d(wide_out, wide_out, 3, padding=1))
        projects = wide_in != wide_out or (resampling is not None and style.project_resampled)
        self.skip = nn.Conv2d(wide_in, wide_out, 1) if projects else None
        self.attention = Attention(wide_out, heads, style) if heads else None

    def forward(self, x: Float[Tensor, "b i h w"], emb: Float[Tensor, "b e"]) -> Float[Tensor, "b o h2 w2"]:
        h = norm_silu(x, self.norm1)
        if self.resampling is not None:
            x, h = (resample(part, self.resampling, self.style.taps) for part in (x, h))
        h = self.conv1(h)
        if self.style.scale_shift:
            scale, shift = self.emb(emb).chunk(2, dim=1)
            h = norm_silu(h, self.norm2, scale, shift)
        else:
            h = norm_silu(h.add_(self.emb(emb)[:, :, None, None]), self.norm2)  # no backward needs conv1's output
        h = self.conv2(F.dropout(h, self.style.dropout, self.training))
        h = h.add_(x if self.skip is None else self.skip(x))
        if self.style.gain != 1:
            h = h.mul_(self.style.gain)
        return h if self.attention is None else self.attention(h)


class Attention(nn.Module):
    """x -> gain (x + proj softmax(q k' / sqrt(d)) v) over pixels, d channels a head.   [b, c, h, w] -> [b, c, h, w]

    The rows of qkv are ordered [q, k, v][head][channel].
    """

    def __init__(self, channels: int, heads: int, style: Style):
        super().__init__()
        if channels % heads:
            raise ValueError(f"attention over {channels} channels needs heads that divide them; given {heads}")
        self.heads, self.gain = heads, style.gain
        self.norm = style.norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c, h, w = x.shape
        tokens = self.norm(x).flatten(2).mT  # [b, hw, c]
        q, k, v = self.qkv(tokens).view(b, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)  # [b, heads, hw, c / heads]
        update = self.proj(mixed.transpose(1, 2).reshape(b, h * w, c))
        x = x + update.mT.view(b, c, h, w)
        return x if self.gain == 1 else x.mul_(self.gain)


def zeroed(layer: nn.Module) -> Any:
    """The layer with all parameters zero: a block then starts as its skip connection."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def channels_last(network: nn.Module) -> None:
    """Lays out the kernels of all convolutions channels last: what they give, and so all that follows, is then too.

    On a CPU this is the order in which a convolution works; others it copies. Kernels of one channel have no order:
    where images have one, what the first convolution gives must be laid out too.
    """
    for module in network.modules():
        for name, kernel in module.named_parameters(recurse=False):
            if kernel.ndim == 4:  # Module.to changes values in place, which a network without values has not
                setattr(module, name, nn.Parameter(kernel.detach().contiguous(memory_format=torch.channels_last)))


def norm_silu(
    x: Float[Tensor, "b c h w"],
    norm: nn.GroupNorm,
    scale: Float[Tensor, "b c"] | None = None,
    shift: Float[Tensor, "b c"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """silu(norm(x) (1 + scale) + shift), scale and shift a channel of each image."""
    if scale is None or shift is None:
        return GroupNormSiLU.apply(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    hat = F.group_norm(x, norm.num_groups, None, None, norm.eps)
    weight = norm.weight * (1 + scale)  # [b, c]
    bias = norm.bias * (1 + scale) + shift
    return F.silu(torch.addcmul(bias[..., None, None], hat, weight[..., None, None]))


class GroupNormSiLU(torch.autograd.Function):
    """silu(group_norm(x)); the backward pass computes the norm again rather than keep it."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:  # [n, c, h, w], [c], [c] -> [n, c, h, w]
        x, weight, bias = _laid_out(x), weight.to(x.dtype), bias.to(x.dtype)
        n, c, h, w = x.shape
        y, mean, rstd = torch.native_group_norm(x, weight, bias, n, c, h * w, groups, eps)
        ctx.save_for_backward(x, mean, rstd, weight, bias)
        ctx.groups, ctx.eps = groups, eps  # type: ignore[attr-defined]
        return F.silu(y, inplace=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, weight, bias = ctx.saved_tensors
        n, c, h, w = x.shape
        y = torch.native_group_norm(x, weight, bias, n, c, h * w, ctx.groups, ctx.eps)[0]
        grad = _laid_out(torch.ops.aten.silu_backward(grad, y))
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[2], ctx.needs_input_grad[3]]
        dx, dweight, dbias = torch.ops.aten.native_group_norm_backward(
            grad, x, mean, rstd, weight, n, c, h * w, ctx.groups, wanted
        )
        return dx, None, dweight, dbias, None


def _laid_out(x: Tensor) -> Tensor:
    """x as the kernels of group norm read it: in any order on a CPU, contiguous on other devices."""
    return x if x.device.type == "cpu" else x.contiguous()


def sinusoids(t: Float[Tensor, " b"], channels: int, inclusive: bool = False) -> Float[Tensor, "b c"]:
    """[cos(t f_0), .., cos(t f_m), sin(t f_0), .., sin(t f_m)], f_j = 10000^(-j / n), j = 0..m = channels/2 - 1.

    n = m + 1, or with `inclusive` m, so that the last frequency is 1/10000.
    """
    half = channels // 2
    j = torch.arange(half, dtype=torch.float32, device=t.device)
    phases = t[:, None].float() * torch.exp(j * (-math.log(10000) / (half - inclusive)))
    return torch.cat([phases.cos(), phases.sin()], dim=1)
