"""StyleGAN2's generator and discriminator in plain PyTorch, written from the papers.

A mapping network turns (z, class) into a style w; every convolution scales its input channels by an affine function of
w and its output channels back to unit deviation (demodulation); images are sums over resolutions. Parameters are stored
at unit deviation and scaled where they are used (equalised learning rate).

Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN"; classes and the configuration for
CIFAR10: Karras et al. 2020, "Training generative adversarial networks with limited data"; equalised learning rate and
minibatch deviation: Karras, Aila, Laine, Lehtinen 2018, "Progressive growing of GANs".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.generators.checks import check_classes, check_images, check_latent, check_resolution, check_sizes, embed
from images.layers.conv import grouped_conv2d
from images.layers.filters import filtered
from images.layers.resample import kernel, resample

TAPS = (1, 3, 3, 1)
D_MAPPING = 8  # layers of the discriminator's mapping of classes


@dataclass(frozen=True)
class StyleGAN2Config:
    """The shape of both networks; the defaults are those of conditional CIFAR10.

    width, base: channels at r x r pixels are min(width, base // r).
    latent: numbers in z; also in the style, and in the embedding of the class.
    mapping: layers of the generator's mapping network.
    residual: the discriminator has skip connections (CIFAR10's has none).
    group: images that the discriminator compares with each other: it sees their deviation.
    classes: 0 is unconditional.

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 32
    channels: int = 3
    classes: int = 10
    width: int = 512
    base: int = 32768
    latent: int = 512
    mapping: int = 2
    residual: bool = False
    group: int = 32

    def __post_init__(self) -> None:
        check_sizes(self, "channels", "width", "base", "latent", "mapping", "group")
        check_classes(self.classes)
        check_resolution(self.resolution)
        if self.base < self.resolution:
            raise ValueError(f"base must be at least resolution, {self.resolution}; given {self.base}")

    @property
    def widths(self) -> list[int]:
        """Channels of each resolution from 4 x 4 up."""
        return [min(self.width, self.base // (4 << i)) for i in range(check_resolution(self.resolution) + 1)]


class Generator(nn.Module):
    """g(z, labels): latents z ~ N(0, I) and classes -> images.   [b, latent], [b] -> [b, c, h, w]

    Each layer adds noise of its own, `noise_size` standard normal numbers an image in all. Where none are given, they
    are drawn in training mode, and one fixed set serves all images in evaluation mode: g is then a function of
    (z, labels).
    """

    fixed: Tensor

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        style = config.latent
        self.mapping = Mapping(config.latent, config.classes, style, config.mapping)
        widths = config.widths
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.layers = nn.ModuleList([Layer(widths[0], widths[0], style)])
        self.to_image = nn.ModuleList([ToImage(widths[0], config.channels, style)])
        for before, width in pairwise(widths):
            self.layers += [Layer(before, width, style, up=True), Layer(width, width, style)]
            self.to_image.append(ToImage(width, config.channels, style))
        sides = [4 << (i + 1) // 2 for i in range(len(self.layers))]
        self.sizes = [side**2 for side in sides]
        self.register_buffer("fixed", torch.randn(sum(self.sizes)))

    @property
    def noise_size(self) -> int:
        return sum(self.sizes)

    def forward(
        self,
        z: Float[Tensor, "b l"],
        labels: Int[Tensor, " b"] | None = None,
        noise: Float[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        return self.synthesis(self.styles(z, labels), noise)

    def styles(self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b k s"]:
        """The style of each layer, and of the last image: the same for all."""
        return self.mapping(z, labels)[:, None].expand(-1, len(self.layers) + 1, -1)

    def synthesis(
        self, styles: Float[Tensor, "b k s"], noise: Float[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """What a layer computes is turned to an image by the style of the next one."""
        b = len(styles)
        if noise is None:
            noise = styles.new_empty(b, self.noise_size).normal_() if self.training else self.fixed.expand(b, -1)
        parts, each = iter(noise.split(self.sizes, dim=1)), styles.unbind(1)
        x = self.constant.expand(b, -1, -1, -1)
        image: Tensor | None = None
        for i, layer in enumerate(self.layers):
            x = layer(x, each[i], next(parts))
            if i % 2 == 0:  # the last layer of a resolution
                update = self.to_image[i // 2](x, each[i + 1])
                image = update if image is None else resample(image, "up", TAPS) + update
        assert image is not None
        return image


class Mapping(nn.Module):
    """(z, labels) -> w: z and the embedded class, each of unit mean square, through leaky layers.   [b, s]

    Without z (latent 0) it maps the class alone. Its learning rate is a hundredth of the other layers'.
    """

    def __init__(self, latent: int, classes: int, style: int, layers: int):
        super().__init__()
        self.latent = latent
        self.labels = nn.Embedding(classes, style) if classes else None
        widths = [latent + (style if classes else 0)] + [style] * layers
        self.layers = nn.ModuleList([Linear(before, after, rate=0.01) for before, after in pairwise(widths)])

    def forward(self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b s"]:
        check_latent(z, self.latent)
        label = embed(self.labels, labels, len(z))
        parts = [part for part in (z, label) if part is not None and part.shape[1]]
        x = torch.cat([unit(part) for part in parts], dim=1)
        for layer in self.layers:
            x = activate(layer(x))
        return x


class Layer(nn.Module):
    """x -> lrelu(modulated 3 x 3 convolution + strength * noise + bias).   [b, i, h, w] -> [b, o, h', w']"""

    def __init__(self, wide_in: int, wide_out: int, style: int, up: bool = False):
        super().__init__()
        self.up = up
        self.affine = Linear(style, wide_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(wide_out, wide_in, 3, 3))
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(wide_out))

    def forward(
        self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b s"], noise: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b o h2 w2"]:
        x = modulated_conv(x, modulate(self.weight, self.affine(style)), self.up)
        side = x.shape[-1]
        noise = self.strength * noise.view(len(x), 1, side, side) + self.bias[:, None, None]
        return activate(x + noise.to(x.dtype))


class ToImage(nn.Module):
    """A modulated 1 x 1 convolution to the image's channels, not demodulated.   [b, i, h, w] -> [b, c, h, w]"""

    def __init__(self, wide_in: int, channels: int, style: int):
        super().__init__()
        self.affine = Linear(style, wide_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, wide_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b s"]) -> Float[Tensor, "b c h w"]:
        weight = modulate(self.weight, self.affine(style) / self.weight.shape[1] ** 0.5, demodulate=False)
        return modulated_conv(x, weight) + self.bias.to(x.dtype)[:, None, None]


def modulate(
    weight: Float[Tensor, "o i k k"], style: Float[Tensor, "b i"], demodulate: bool = True
) -> Float[Tensor, "b o i k k"]:
    """w_boikl = s_bi w_oikl, divided by its norm over (i, k, l): independent inputs of unit deviation then give outputs
    of unit deviation. In float32, whatever autocast says.
    """
    with torch.autocast(weight.device.type, enabled=False):
        modulated = weight.float() * style.float()[:, None, :, None, None]
        if demodulate:
            modulated = modulated * (modulated.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    return modulated


def modulated_conv(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "b o i k k"], up: bool = False
) -> Float[Tensor, "b o h2 w2"]:
    """Each image with its own weight: one convolution of b groups. `up`: transposed, of stride 2, and then the filter
    TAPS, which is the same as to upsample by TAPS and then to convolve, at a quarter of the cost.
    """
    b, o, i, k, _ = weight.shape
    x = x.reshape(1, b * i, *x.shape[2:])
    if not up:
        x = grouped_conv2d(x, weight.reshape(b * o, i, k, k).to(x.dtype), b)
        return x.view(b, o, *x.shape[2:])
    weight = weight.transpose(1, 2).reshape(b * i, o, k, k).to(x.dtype)
    x = F.conv_transpose2d(x, weight, stride=2, groups=b)  # [1, b o, 2h + 1, 2w + 1]
    return blur(x.view(b, o, *x.shape[2:]), pad=1, gain=4)


def blur(x: Float[Tensor, "b c h w"], pad: int, gain: float = 1) -> Float[Tensor, "b c h2 w2"]:
    """Each channel by the filter TAPS of sum `gain`, with so many zeros beyond the border."""
    return filtered(x, kernel(TAPS, x) * gain, 1, pad)


class Discriminator(nn.Module):
    """D(x, labels): images and classes -> logits, large where they seem real.   [b, c, h, w], [b] -> [b]

    Raises:
        ValueError: b is not a multiple of min(group, b) images, which are compared with each other.
    """

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        widths = config.widths[::-1]
        self.from_image = Conv(config.channels, widths[0], 1)
        self.blocks = nn.ModuleList([Down(before, after, config.residual) for before, after in pairwise(widths)])
        last = widths[-1]
        self.conv = Conv(last + 1, last, 3)
        self.linear = Linear(last * 16, last)
        self.out = Linear(last, config.latent if config.classes else 1)
        self.labels = Mapping(0, config.classes, config.latent, D_MAPPING) if config.classes else None

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        check_images(x, self.config.channels, self.config.resolution)
        if self.labels is None:
            embed(None, labels, len(x))
        x = activate(self.from_image(x))
        for block in self.blocks:
            x = block(x)
        x = activate(self.conv(with_deviation(x, self.config.group)))
        features = self.out(activate(self.linear(x.flatten(1))))
        if self.labels is None:
            return features[:, 0]
        label = self.labels(features.new_empty(len(x), 0), labels)
        return (features * label).sum(1) / label.shape[1] ** 0.5


class Down(nn.Module):
    """Two 3 x 3 convolutions, the second to half the resolution; with a skip connection if residual."""

    def __init__(self, wide_in: int, wide_out: int, residual: bool):
        super().__init__()
        self.conv1 = Conv(wide_in, wide_in, 3)
        self.conv2 = Conv(wide_in, wide_out, 3, stride=2)
        self.skip = Conv(wide_in, wide_out, 1, bias=False) if residual else None

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        h = activate(self.conv2(blur(activate(self.conv1(x)), pad=2)))
        if self.skip is None:
            return h
        return (h + self.skip(resample(x, "down", TAPS))) * math.sqrt(0.5)


def with_deviation(x: Float[Tensor, "b c h w"], group: int) -> Float[Tensor, "b c1 h w"]:
    """x and one channel more: the deviation over a group of images, averaged over channels and pixels.

    n = min(group, b) images in a row are a group, so that any number of whole groups gives each image the same.
    """
    b, _, h, w = x.shape
    n = min(group, b)
    if b % n:
        raise ValueError(f"the discriminator compares groups of {n} images: b must be a multiple; given {b}")
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    variance = precise.reshape(b // n, n, -1).var(dim=1, unbiased=False)  # [b / n, c h w]
    deviation = (variance + 1e-8).sqrt().mean(1)  # [b / n]
    channel = deviation.to(x.dtype).repeat_interleave(n)[:, None, None, None].expand(b, 1, h, w)
    return torch.cat([x, channel], dim=1)


class Linear(nn.Module):
    """x -> rate (W x / sqrt(inputs) + bias), W of deviation 1 / rate at first: Adam then learns `rate` times as fast.

    [b, i] -> [b, o]; `bias` is what the bias adds at first.
    """

    def __init__(self, wide_in: int, wide_out: int, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(wide_out, wide_in) / rate)
        self.bias = nn.Parameter(torch.full((wide_out,), bias / rate))
        self.rate, self.gain = rate, rate / wide_in**0.5

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class Conv(nn.Module):
    """x -> W * x / sqrt(inputs of an output) + bias; with stride 2, x has a border of one pixel more than it needs."""

    def __init__(self, wide_in: int, wide_out: int, size: int, stride: int = 1, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(wide_out, wide_in, size, size))
        self.bias = nn.Parameter(torch.zeros(wide_out)) if bias else None
        self.stride, self.padding = stride, size // 2 if stride == 1 else 0
        self.gain = (wide_in * size**2) ** -0.5

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        return F.conv2d(x, self.weight * self.gain, self.bias, self.stride, self.padding)


def activate(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """sqrt(2) lrelu(x), which keeps the mean square of symmetric x about where it is."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def unit(x: Float[Tensor, "b i"]) -> Float[Tensor, "b i"]:
    """x over the root of its mean square."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
