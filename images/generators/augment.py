"""Augmentations of the images that a discriminator sees, differentiable twice, for generators and penalties.

    augment(images, u, p)    images [b, c, h, w] in -1..1; u [b, numbers] uniform in 0..1; each change has probability p

All randomness is in u: the same numbers give the same images. At p = 0 the images are unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

from theory.common.checks import choose

Images: TypeAlias = Float[Tensor, "b c h w"]
Uniform: TypeAlias = Float[Tensor, "b n"]


@dataclass(frozen=True)
class Augment:
    """augment(images, u, p) -> images; `numbers` is how many columns u has.

    Raises:
        ValueError: u is not [b, numbers]; p outside [0, 1].
    """

    name: str
    numbers: int
    change: Callable[[Images, Uniform, float], Images]

    def __call__(self, images: Images, u: Uniform, p: float) -> Images:
        if u.shape != (len(images), self.numbers):
            raise ValueError(f"u must be [{len(images)}, {self.numbers}] for {self.name}; given {tuple(u.shape)}")
        if not 0 <= p <= 1:
            raise ValueError(f"p must lie in [0, 1]; given {p}")
        return self.change(images, u, p)


def diff_augment(images: Images, u: Uniform, p: float) -> Images:
    """Colour, translation by up to 1/8 of a side, cutout of a square of half a side; p is 1 in the paper.

    Source: Zhao, Liu, Lin, Zhu, Han 2020, "Differentiable augmentation for data-efficient GAN training".
    """
    gates, place = u[:, :3] < p, iter(u[:, 3:].unbind(1))
    coloured = _shade(images, next(place) - 0.5, 2 * next(place), next(place) + 0.5)
    images = _chosen(gates[:, 0], coloured, images)
    images = _chosen(gates[:, 1], _shifted(images, next(place), next(place)), images)
    return _chosen(gates[:, 2], _cut(images, next(place), next(place)), images)


def _shade(images: Images, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Images:
    """Each [b]: added; times the difference from grey; times the difference from the image's mean."""
    brightness, saturation, contrast = (v[:, None, None, None].to(images) for v in (brightness, saturation, contrast))
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def _shifted(images: Images, u: Tensor, v: Tensor) -> Images:
    """By a whole number of pixels, up to an eighth of a side each way; zeros come in."""
    b, _, h, w = images.shape
    most = (h // 8, w // 8)
    down, right = (_whole(part, 2 * most + 1) for part, most in zip((u, v), most, strict=True))  # [b]
    padded = pad(images, (most[1], most[1], most[0], most[0])).permute(0, 2, 3, 1)
    rows = down[:, None, None] + torch.arange(h, device=images.device)[:, None]  # [b, h, 1]
    columns = right[:, None, None] + torch.arange(w, device=images.device)  # [b, 1, w]
    batch = torch.arange(b, device=images.device)[:, None, None]
    return padded[batch, rows, columns].permute(0, 3, 1, 2)


def _cut(images: Images, u: Tensor, v: Tensor) -> Images:
    """Zeros in a square of half a side, centred anywhere in the image."""
    _, _, h, w = images.shape
    inside = []
    for part, side in ((u, h), (v, w)):
        first = _whole(part, side) - side // 4  # [b]
        offset = torch.arange(side, device=images.device) - first[:, None]  # [b, side]
        inside.append((offset >= 0) & (offset < side // 2))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0)


def _whole(u: Tensor, n: int) -> Tensor:
    """Uniform in 0..n - 1."""
    return (u * n).long().clamp(max=n - 1)


GATES = (
    "flip", "quarter", "jump", "scale", "turn", "aspect", "turn again", "slide",
    "brightness", "contrast", "negative", "hue", "saturation",
)  # fmt: skip
MOVES = 8  # the first of them are geometric


def ada(images: Images, u: Uniform, p: float) -> Images:
    """Flips, quarter turns, shifts, scaling, rotation, and colour: the classes "bgc" of adaptive augmentation.

    One bilinear resampling with mirrored borders does all that is geometric (the paper's filters are longer).
    Source: Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B.
    """
    with torch.autocast(images.device.type, enabled=False):
        chances = u.new_full((len(GATES),), p)
        for gate in (4, 6):  # two rotations: that either acts has probability p
            chances[gate].fill_(1 - math.sqrt(1 - p))
        gates, numbers = u[:, : len(GATES)] < chances, u[:, len(GATES) :].float()
        moved = _resampled(images.float(), _geometry(gates[:, :MOVES], numbers[:, :10], images.shape[-1]))
        images = _chosen(gates[:, :MOVES].any(1), moved.to(images.dtype), images)
        coloured = _coloured(images.float(), gates[:, MOVES:], numbers[:, 10:])
        return _chosen(gates[:, MOVES:].any(1), coloured.to(images.dtype), images)


def _geometry(gates: Bool[Tensor, "b m"], u: Float[Tensor, "b n"], side: int) -> Float[Tensor, "b 3 3"]:
    """The affine map from a place in the new image to one in the old, in coordinates -1..1."""
    flip, quarter, jump, scale, turn, aspect, again, slide = gates.unbind(1)
    most = side // 8
    pixels = [(_whole(u[:, i], 2 * most + 1) - most).to(u) * 2 / side for i in (2, 3)]
    larger, wider = (torch.exp2(gate * (0.2 * _normal(u[:, i]))) for gate, i in ((scale, 4), (aspect, 6)))
    angles = [2 * math.pi * (u[:, i] - 0.5) for i in (5, 7)]
    slides = [0.25 * _normal(u[:, i]) for i in (8, 9)]  # a deviation of an eighth of a side
    one, zero = torch.ones_like(larger), torch.zeros_like(larger)
    parts = [
        _affine(torch.where(flip & (u[:, 0] < 0.5), -one, one), one, zero, zero),
        _rotation(quarter * _whole(u[:, 1], 4).to(u) * (math.pi / 2)),
        _affine(one, one, *(jump * by for by in pixels)),
        _affine(larger, larger, zero, zero),
        _rotation(turn * angles[0]),
        _affine(wider, 1 / wider, zero, zero),
        _rotation(again * angles[1]),
        _affine(one, one, *(slide * by for by in slides)),
    ]
    return reduce(torch.matmul, parts)


def _affine(x: Tensor, y: Tensor, right: Tensor, down: Tensor) -> Float[Tensor, "b 3 3"]:
    """(x a + right, y b + down) of a place (a, b)."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([x, zero, right, zero, y, down, zero, zero, one], dim=1).view(-1, 3, 3)


def _rotation(angle: Tensor) -> Float[Tensor, "b 3 3"]:
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _normal(u: Tensor) -> Tensor:
    """Standard normal, from uniform in [0, 1]."""
    return torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))


def _coloured(images: Images, gates: Bool[Tensor, "b m"], u: Float[Tensor, "b n"]) -> Images:
    """Changes along the grey axis and around it; one channel has no hue and no saturation."""
    gates, u = gates[:, :, None, None, None], u[:, :, None, None, None]
    images = images + gates[:, 0] * (0.2 * _normal(u[:, 0]))
    images = images * torch.exp2(gates[:, 1] * (0.5 * _normal(u[:, 1])))
    grey = images.mean(1, keepdim=True)
    images = images - 2 * (gates[:, 2] & (u[:, 2] < 0.5)) * grey
    if images.shape[1] == 1:
        return images
    grey = images.mean(1, keepdim=True)
    if images.shape[1] == 3:
        angle = gates[:, 3] * (2 * math.pi * (u[:, 3] - 0.5))
        across = (images.roll(-2, 1) - images.roll(-1, 1)) / math.sqrt(3)  # (1, 1, 1) / sqrt(3) x image
        images = grey + angle.cos() * (images - grey) + angle.sin() * across
    return grey + torch.exp2(gates[:, 4] * _normal(u[:, 4])) * (images - grey)


def _resampled(images: Images, places: Float[Tensor, "b 3 3"]) -> Images:
    """The image whose pixel at y is the old one's at places y."""
    _, _, h, w = images.shape
    rows, columns = ((2 * torch.arange(n, device=images.device, dtype=places.dtype) + 1) / n - 1 for n in (h, w))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # [h, w, 3]
    return _Sample.apply(images, (grid.view(1, -1, 3) @ places.mT)[..., :2].reshape(-1, h, w, 2))


BILINEAR, MIRRORED = 0, 2


class _Sample(Function):
    """images, grid -> grid_sample, which PyTorch differentiates once. It has a gradient in the images alone."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return torch.ops.aten.grid_sampler_2d(images, grid, BILINEAR, MIRRORED, False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Spread.apply(grad, *ctx.saved_tensors, ctx.shape), None


class _Spread(Function):
    """The adjoint of `_Sample` in the images."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        zeros = grad.new_zeros(()).expand(shape)  # grid_sampler_2d_backward reads the shape alone
        return torch.ops.aten.grid_sampler_2d_backward(grad, zeros, grid, BILINEAR, MIRRORED, False, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Sample.apply(grad, *ctx.saved_tensors), None, None


def _chosen(gate: Bool[Tensor, " b"], changed: Images, images: Images) -> Images:
    return torch.where(gate[:, None, None, None], changed, images)


ADAPT_EVERY = 4
"""Steps from one change of p to the next."""


def adapted(p: float, signs: float, seen: int, target: float = 0.6, images: int = 500_000) -> float:
    """The next probability p, one step of seen / images towards more augmentation if the discriminator overfits.

    Args:
        signs: r_t = E sign D(real) since p was last adapted, over all processes.
        seen: real images since then; `images` of them take p from 0 to 1.
        target: r_t above it is overfitting, at it nothing changes.

    Source: Karras et al. 2020, section 3.1.
    """
    direction = (signs > target) - (signs < target)
    return min(1.0, max(0.0, p + direction * seen / images))


AUGMENTS = {
    augment.name: augment
    for augment in (
        Augment("none", 0, lambda images, u, p: images),
        Augment("diffaugment", 10, diff_augment),
        Augment("ada", len(GATES) + 15, ada),
    )
}


def make_augment(name: str) -> Augment:
    """One of AUGMENTS: none, diffaugment, ada.

    Raises:
        ValueError: there is none of this name.
    """
    return AUGMENTS[choose(name, tuple(AUGMENTS), "augmentation")]
