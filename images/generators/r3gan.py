"""R3GAN's generator and discriminator: residual networks without normalisation, written from the paper's description.

Each stage is a transition (resampling, and a 1 x 1 convolution where the width changes) and residual blocks; at 4 x 4
pixels the generator has a learned basis instead, scaled by the latent, and the discriminator ends. The two are mirror
images of each other.

Source: Huang, Gokaslan, Kuleshov, Tompkin 2024, "The GAN is dead; long live the GAN!", section 4. The class joins the
generator's latent, and in the discriminator it projects the features (Miyato, Koyama 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.generators.checks import check_classes, check_images, check_latent, check_resolution, check_sizes, embed
from images.layers.conv import grouped_conv2d
from images.layers.resample import Resampling, resample

SLOPE = 0.2  # of the leaky ReLU
TAPS = (1, 3, 3, 1)  # [1, 2, 1] convolved with [1, 1]: symmetric about the middle of 2 x 2 pixels


@dataclass(frozen=True)
class R3GANConfig:
    """The shape of both networks; the defaults are those of conditional CIFAR10.

    widths: channels of each stage, from 4 x 4 pixels up; each doubles the resolution of the one before.
    blocks: residual blocks a stage.
    cardinality: groups of the 3 x 3 convolutions.
    expansion: their channels over the stage's.
    latent: numbers in z, and in the embedding of the class that the generator joins to it.
    classes: 0 is unconditional.

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 32
    channels: int = 3
    classes: int = 10
    widths: tuple[int, ...] = (768, 768, 768, 768)
    blocks: int = 2
    cardinality: int = 96
    expansion: int = 2
    latent: int = 64

    def __post_init__(self) -> None:
        check_sizes(self, "channels", "blocks", "cardinality", "expansion", "latent")
        check_classes(self.classes)
        stages = check_resolution(self.resolution) + 1
        if len(self.widths) != stages or not all(isinstance(w, int) and w > 0 for w in self.widths):
            raise ValueError(f"widths must be {stages} whole numbers, one a stage; given {self.widths}")
        if any(width * self.expansion % self.cardinality for width in self.widths):
            raise ValueError(
                f"cardinality must divide every width times {self.expansion}; given {self.cardinality}, {self.widths}"
            )


class Generator(nn.Module):
    """g(z, labels): latents z ~ N(0, I) and classes -> images.   [b, latent], [b] -> [b, c, h, w]"""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        self.config = config
        first, *_, last = config.widths
        self.labels = nn.Embedding(config.classes, config.latent) if config.classes else None
        self.linear = drawn(nn.Linear(config.latent * (2 if config.classes else 1), first, bias=False))
        self.basis = nn.Parameter(torch.randn(first, 4, 4))
        self.stages = nn.ModuleList()
        for before, width in pairwise((first, *config.widths)):
            transition = [Transition(before, width, "up")] if len(self.stages) else []
            self.stages.append(nn.Sequential(*transition, *residual_blocks(width, config)))
        self.to_image = drawn(nn.Conv2d(last, config.channels, 1, bias=False))

    def forward(self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b c h w"]:
        check_latent(z, self.config.latent)
        label = embed(self.labels, labels, len(z))
        scale = self.linear(z if label is None else torch.cat([z, label], dim=1))  # [b, width]
        x = self.basis * scale[:, :, None, None]  # [b, width, 4, 4]
        for stage in self.stages:
            x = stage(x)
        return self.to_image(x)


class Discriminator(nn.Module):
    """D(x, labels): images and classes -> logits, large where they seem real.   [b, c, h, w], [b] -> [b]"""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        self.config = config
        last, *_, first = config.widths
        self.from_image = drawn(nn.Conv2d(config.channels, first, 1, bias=False))
        self.stages = nn.ModuleList()
        for width, after in pairwise((*reversed(config.widths), last)):
            transition = [Transition(width, after, "down")] if len(self.stages) < len(config.widths) - 1 else []
            self.stages.append(nn.Sequential(*residual_blocks(width, config), *transition))
        self.collapse = drawn(nn.Conv2d(last, last, 4, groups=last, bias=False))  # 4 x 4 pixels to one, each channel
        self.linear = drawn(nn.Linear(last, last if config.classes else 1, bias=False))
        self.labels = nn.Embedding(config.classes, last) if config.classes else None
        if self.labels is not None:
            nn.init.normal_(self.labels.weight, std=last**-0.5)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        check_images(x, self.config.channels, self.config.resolution)
        label = embed(self.labels, labels, len(x))
        x = self.from_image(x)
        for stage in self.stages:
            x = stage(x)
        collapsed = (x * self.collapse.weight[:, 0]).sum((2, 3))  # as a product, which differentiates as a whole
        features = self.linear(collapsed)  # [b, width], or [b, 1]
        return (features if label is None else features * label).sum(1)


class Residual(nn.Module):
    """x -> x + W3 lrelu(W2 lrelu(W1 x + b1) + b2); W2 is grouped and 3 x 3, the others 1 x 1.   [b, c, h, w]

    Initialised so that `count` blocks in a row keep the scale without normalisation: W3 is 0, the others are drawn with
    1/count^(1/4) of the usual deviation (Fix-up: Zhang, Dauphin, Ma 2019).
    """

    def __init__(self, width: int, hidden: int, groups: int, count: int):
        super().__init__()
        self.groups = groups
        gain = math.sqrt(2 / (1 + SLOPE**2)) * count**-0.25
        self.expand = drawn(nn.Conv2d(width, hidden, 1), gain)
        self.weight = nn.Parameter(torch.randn(hidden, hidden // groups, 3, 3) * gain / (9 * hidden / groups) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.project = drawn(nn.Conv2d(hidden, width, 1, bias=False), 0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        h = F.leaky_relu(self.expand(x), SLOPE, inplace=True)
        h = grouped_conv2d(h, self.weight, self.groups)
        h = F.leaky_relu(h.add_(self.bias.to(h.dtype)[:, None, None]), SLOPE, inplace=True)
        return x + self.project(h)


class Transition(nn.Module):
    """Twice or half the resolution, at another width.   [b, i, h, w] -> [b, o, h', w']"""

    def __init__(self, before: int, after: int, way: Resampling):
        super().__init__()
        self.way = way
        self.mix = drawn(nn.Conv2d(before, after, 1, bias=False)) if before != after else nn.Identity()

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        if self.way == "up":  # the convolution is where pixels are few
            return resample(self.mix(x), "up", TAPS)
        return self.mix(resample(x, "down", TAPS))


def residual_blocks(width: int, config: R3GANConfig) -> Iterable[Residual]:
    count = config.blocks * len(config.widths)
    return [Residual(width, width * config.expansion, config.cardinality, count) for _ in range(config.blocks)]


def drawn(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Conv2d | nn.Linear:
    """The layer with weights of deviation gain / sqrt(inputs of an output), biases 0."""
    nn.init.normal_(layer.weight, std=gain / layer.weight[0].numel() ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
