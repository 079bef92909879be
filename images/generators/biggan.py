"""BigGAN's generator and discriminator, written from the paper's description.

Residual networks whose weights are divided by their largest singular value. The generator's batch norms get gain and
bias from the class and, at 64 x 64 pixels and above, from a part of the latent of their own; there both networks have a
layer of attention. The discriminator projects its features on the class's embedding.

Who trains them calls `images.layers.spectral.power_iteration` once a step, and moves the running statistics of
`images.layers.batchnorm`.

Source: Brock, Donahue, Simonyan 2019, "Large scale GAN training for high fidelity natural image synthesis"; attention:
Zhang, Goodfellow, Metaxas, Odena 2019; projection: Miyato, Koyama 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.generators.checks import check_classes, check_images, check_latent, check_resolution, check_sizes, embed
from images.layers.batchnorm import BatchNorm
from images.layers.spectral import Layer, spectral
from theory.common.checks import choose

INITS = ("normal", "orthogonal")
Condition = Float[Tensor, "b y"] | Int[Tensor, " b"]
"""What a batch norm gets its gain and bias from: the class's embedding and a part of z, or the class."""


@dataclass(frozen=True)
class BigGANConfig:
    """The shape of both networks; the defaults are those of CIFAR10.

    widths: channels of the generator at 4 x 4 pixels and after each of its blocks, which double the resolution.
    d_widths: channels after each block of the discriminator.
    downs: so many of its first blocks halve the resolution.
    latent: numbers in z.
    shared: numbers in the class's embedding, which all batch norms share, each beside its own part of z, one of
        len(widths) equal ones. 0: each batch norm has embeddings of its own, and all of z goes to the first layer.
    attention: the resolution at which both networks attend; 0: none.
    init: of weights: normal (deviation 0.02) or orthogonal.
    group: images that share the statistics of a batch norm.
    classes: at least 1.

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 32
    channels: int = 3
    classes: int = 10
    widths: tuple[int, ...] = (256, 256, 256, 256)
    d_widths: tuple[int, ...] = (256, 256, 256, 256)
    downs: int = 2
    latent: int = 128
    shared: int = 0
    attention: int = 0
    init: str = "normal"
    group: int = 50

    def __post_init__(self) -> None:
        check_sizes(self, "channels", "latent", "group", "downs")
        check_classes(self.classes)
        if not self.classes:
            raise ValueError("BigGAN is class-conditional: classes must be at least 1; given 0")
        stages = check_resolution(self.resolution) + 1
        for name, count in (("widths", stages), ("d_widths", None)):
            widths = getattr(self, name)
            if not widths or count not in (None, len(widths)) or not all(isinstance(w, int) and w > 0 for w in widths):
                raise ValueError(f"{name} must be {count or 'one or more'} whole numbers above 0; given {widths}")
        if self.downs > min(len(self.d_widths), stages):
            raise ValueError(f"downs must be at most {min(len(self.d_widths), stages)}; given {self.downs}")
        if self.shared and self.latent % stages:
            raise ValueError(f"latent must be a multiple of {stages}, a part for each stage; given {self.latent}")
        choose(self.init, INITS, "init")

    @property
    def part(self) -> int:
        """Numbers of z that the first layer gets, and each block if the class's embedding is shared."""
        return self.latent // len(self.widths) if self.shared else self.latent


def shape(resolution: int, width: int | None = None) -> dict[str, Any]:
    """Fields of the configuration at a resolution: the authors' of CIFAR10 up to 32 pixels, of ImageNet at 64 and 128.

    Args:
        width: of the widest stage; 256 up to 32 pixels, 16 x 96 above if not given.

    Raises:
        ValueError: no such shape; a width that is no multiple of 16 where stages are 1/16 of it wide.
    """
    stages = check_resolution(resolution) + 1
    if resolution <= 32:
        wide = width or 256
        return {"widths": (wide,) * stages, "d_widths": (wide,) * 4, "downs": 2}
    if resolution not in IMAGENET:
        raise ValueError(f"BigGAN has shapes for resolution 8 to 128; given {resolution}")
    ch, rest = divmod(1536 if width is None else width, 16)
    if rest or not ch:
        raise ValueError(f"width must be a multiple of 16 at resolution {resolution}; given {width}")
    widths, d_widths = (tuple(ch * times for times in part) for part in IMAGENET[resolution])
    fixed = {"latent": 120, "shared": 128, "attention": 64, "init": "orthogonal", "group": 32}
    return {"widths": widths, "d_widths": d_widths, "downs": stages - 1, **fixed}


IMAGENET = {
    64: ((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    128: ((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16)),
}
"""Widths of G and of D over ch, the width at full resolution."""


class Generator(nn.Module):
    """g(z, labels): latents z ~ N(0, I) and classes -> images in (-1, 1).   [b, latent], [b] -> [b, c, h, w]

    Raises:
        ValueError: in training mode, b is not a multiple of min(group, b) images, whose statistics are taken together.
    """

    def __init__(self, config: BigGANConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        self.labels = drawn(nn.Embedding(config.classes, config.shared), config.init) if config.shared else None
        self.linear = spectral(drawn(nn.Linear(config.part, widths[0] * 16), config.init))
        self.blocks = nn.ModuleList([Up(before, after, config) for before, after in pairwise(widths)])
        sides = [8 << i for i in range(len(self.blocks))]
        self.attention = attention(config, dict(zip(sides, widths[1:], strict=True)))
        self.norm = BatchNorm(widths[-1], config.group)
        self.gain = nn.Parameter(torch.ones(widths[-1]))
        self.bias = nn.Parameter(torch.zeros(widths[-1]))
        self.to_image = conv(widths[-1], config.channels, 3, config.init)

    def forward(self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b c h w"]:
        check_latent(z, self.config.latent)
        first, *rest = z.split(self.config.part, dim=1)
        conditions: list[Any] = [labels] * len(self.blocks)
        if self.labels is not None:
            label = embed(self.labels, labels, len(z))
            assert label is not None
            conditions = [torch.cat([label, part], dim=1) for part in rest]
        x = self.linear(first).view(len(z), -1, 4, 4)
        for block, condition in zip(self.blocks, conditions, strict=True):
            x = block(x, condition)
            if self.attention is not None and x.shape[-1] == self.config.attention:
                x = self.attention(x)
        x = scaled(self.norm(x), self.gain, self.bias)
        return torch.tanh(self.to_image(F.relu(x)))


class Up(nn.Module):
    """x -> skip(up x) + conv2 relu norm2 conv1 up relu norm1 x, of twice the side.   [b, i, h, w] -> [b, o, 2h, 2w]

    The skip connection is a 1 x 1 convolution, which is the same before and after `up` (nearest neighbours).
    """

    def __init__(self, before: int, after: int, config: BigGANConfig):
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(before, config), ConditionalNorm(after, config)
        self.conv1, self.conv2 = conv(before, after, 3, config.init), conv(after, after, 3, config.init)
        self.skip = conv(before, after, 1, config.init)

    def forward(self, x: Float[Tensor, "b i h w"], condition: Condition) -> Float[Tensor, "b o h2 w2"]:
        h = self.conv1(twice(F.relu(self.norm1(x, condition))))
        return twice(self.skip(x)) + self.conv2(F.relu(self.norm2(h, condition)))


class ConditionalNorm(nn.Module):
    """(1 + gain(condition)) norm(x) + bias(condition), both linear: in (class, part of z), or in the class alone."""

    def __init__(self, width: int, config: BigGANConfig):
        super().__init__()
        self.norm = BatchNorm(width, config.group)
        self.gain, self.bias = (self.map(width, config) for _ in range(2))

    @staticmethod
    def map(width: int, config: BigGANConfig) -> nn.Linear | nn.Embedding:
        if config.shared:
            return spectral(drawn(nn.Linear(config.shared + config.part, width, bias=False), config.init))
        return drawn(nn.Embedding(config.classes, width), config.init)

    def forward(self, x: Float[Tensor, "b c h w"], condition: Condition) -> Float[Tensor, "b c h w"]:
        gain, bias = (self.mapped(part, condition, len(x)) for part in (self.gain, self.bias))
        return scaled(self.norm(x), 1 + gain, bias)

    @staticmethod
    def mapped(part: nn.Linear | nn.Embedding, condition: Condition, b: int) -> Float[Tensor, "b c"]:
        if isinstance(part, nn.Linear):
            return part(condition)
        found = embed(part, condition, b)
        assert found is not None
        return found


class Discriminator(nn.Module):
    """D(x, labels): images and classes -> logits, large where they seem real.   [b, c, h, w], [b] -> [b]

    w . f + <embedding of the class, f>,    f: the sum over pixels of the last features
    """

    def __init__(self, config: BigGANConfig):
        super().__init__()
        self.config = config
        steps = pairwise((config.channels, *config.d_widths))
        self.blocks = nn.ModuleList([Down(*step, i == 0, i < config.downs, config) for i, step in enumerate(steps)])
        sides = [config.resolution >> i for i in range(1, config.downs + 1)]
        self.attention = attention(config, dict(zip(sides, config.d_widths, strict=False)))
        last = config.d_widths[-1]
        self.linear = spectral(drawn(nn.Linear(last, 1), config.init))
        self.labels = spectral(drawn(nn.Embedding(config.classes, last), config.init))

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        check_images(x, self.config.channels, self.config.resolution)
        label = embed(self.labels, labels, len(x))
        assert label is not None
        for block in self.blocks:
            x = block(x)
            if self.attention is not None and block.down and x.shape[-1] == self.config.attention:
                x = self.attention(x)
        features = F.relu(x).sum((2, 3))  # [b, last]
        return self.linear(features)[:, 0] + (features * label).sum(1)


class Down(nn.Module):
    """x -> skip(x) + conv2 relu conv1 relu x, then the mean of 2 x 2 pixels if `down`.   [b, i, h, w] -> [b, o, h', w']

    The first block has images, and no relu before them. The skip connection is a 1 x 1 convolution, which is the same
    before and after the mean; without it where nothing changes shape.
    """

    def __init__(self, before: int, after: int, first: bool, down: bool, config: BigGANConfig):
        super().__init__()
        self.first, self.down = first, down
        self.conv1, self.conv2 = conv(before, after, 3, config.init), conv(after, after, 3, config.init)
        self.skip = conv(before, after, 1, config.init) if down or before != after else nn.Identity()

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.skip(x)


class Attention(nn.Module):
    """x + gamma o(sum over places j of g(x)_j softmax_j <theta(x)_i, phi(x)_j>), gamma 0 at first.   [b, c, h, w]

    phi and g are the largest of 2 x 2 places each; all four maps are 1 x 1 convolutions without bias.
    """

    def __init__(self, width: int, init: str):
        super().__init__()
        few, half = max(1, width // 8), max(1, width // 2)
        self.theta, self.phi = (conv(width, few, 1, init, bias=False) for _ in range(2))
        self.g, self.o = conv(width, half, 1, init, bias=False), conv(half, width, 1, init, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, _, h, w = x.shape
        query = self.theta(x).flatten(2)  # [b, c / 8, h w]
        key, value = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.phi, self.g))  # [b, ., h w / 4]
        weights = torch.softmax(query.mT @ key, dim=-1)  # [b, h w, h w / 4]
        found = value @ weights.mT.to(value.dtype)
        return x + self.gamma.to(x.dtype) * self.o(found.view(b, -1, h, w))


def attention(config: BigGANConfig, widths: dict[int, int]) -> Attention | None:
    """The layer at the configuration's resolution, of the width there; None where there is none (side -> width)."""
    return Attention(widths[config.attention], config.init) if config.attention in widths else None


def twice(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0)


def scaled(x: Float[Tensor, "b c h w"], gain: Tensor, bias: Tensor) -> Float[Tensor, "b c h w"]:
    """gain x + bias of each channel; gain and bias are [c], or [b, c]."""
    return x * gain.to(x.dtype)[..., None, None] + bias.to(x.dtype)[..., None, None]


def conv(before: int, after: int, size: int, init: str, bias: bool = True) -> nn.Conv2d:
    """A spectrally normalised convolution that keeps the resolution."""
    return spectral(drawn(nn.Conv2d(before, after, size, padding=size // 2, bias=bias), init))


def drawn(layer: Layer, init: str) -> Layer:
    """The layer with random weights; biases as PyTorch draws them."""
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.02)
    return layer
