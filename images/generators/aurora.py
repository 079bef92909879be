"""Aurora's class-conditional generator, written from a description of its public code; no part of it is copied.

A mapping network turns (z, class) into a style w. From Fourier features at 4 x 4 pixels, residual blocks of modulated
convolutions lead to the resolution; from 8 x 8 on each block is followed by transformers, whose feed-forward layers are
sparse: a router sends each pixel to one of several experts. Convolutions mix several kernels by w, and at small
resolutions read their inputs at places that w moves.

What the description leaves open is ours: a moved convolution has 18 offsets and 9 weights a place (with them the number
of parameters is the known one); style and class follow `images.generators.stylegan2`. The authors published no
discriminator: `Discriminator` is StyleGAN2's with classes.

Source: Zhu, Yang, Zheng, Xu, Shi, Shen 2023, "Exploring sparse MoE in GANs for text-conditioned image synthesis";
kernels: Kang et al. 2023, "Scaling up GANs for text-to-image synthesis"; Fourier features: Karras et al. 2021,
"Alias-free generative adversarial networks"; router losses: Fedus, Zoph, Shazeer 2021, "Switch transformers", and
Zoph et al. 2022, "ST-MoE".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.generators import stylegan2
from images.generators.checks import check_classes, check_resolution, check_sizes
from images.generators.stylegan2 import TAPS, Conv, Linear, Mapping, activate, blur, modulated_conv, unit
from images.layers.attention import by_distance
from images.layers.experts import Blocks
from images.layers.resample import resample

BALANCE, ENTROPY = 1e-3, 1e-3
"""Weights of the router's losses: of equal shares of the experts, and of small logits."""
Style = Float[Tensor, "b s"]
Tokens = Float[Tensor, "b n d"]


@dataclass(frozen=True)
class Stage:
    """One resolution: its residual blocks, kernels a convolution, and transformers after each block (depth 0: none)."""

    blocks: int
    kernels: int
    depth: int = 0
    experts: int = 1
    moved: bool = False


STAGES = (
    Stage(3, 1, moved=True), Stage(3, 1, 2, 4, moved=True), Stage(3, 2, 2, 8, moved=True), Stage(2, 4, 2, 16),
    Stage(2, 8, 1, 16),
)  # fmt: skip
"""The released ones, from 4 x 4 to 64 x 64."""


@dataclass(frozen=True)
class AuroraConfig:
    """The shape of both networks; the defaults are the released ones, for ImageNet 64.

    width, base: channels at r x r pixels are min(width, base // r).
    stages: of each resolution from 4 x 4 on.
    latent, style: numbers in z and in w.
    mapping: layers of the mapping network.
    heads, head: heads of attention, and numbers in each.
    residual_gain, attention_gain: factors after a residual block, and after the transformers of one.
    classes: 0 is unconditional.
    d_width, d_latent, group: of the discriminator (`StyleGAN2Config`).

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 64
    channels: int = 3
    classes: int = 1000
    width: int = 1600
    base: int = 16384
    stages: tuple[Stage, ...] = field(default=STAGES, repr=False)
    latent: int = 128
    style: int = 1024
    mapping: int = 4
    heads: int = 8
    head: int = 64
    residual_gain: float = 0.4
    attention_gain: float = 0.3
    d_width: int = 512
    d_latent: int = 512
    group: int = 32

    def __post_init__(self) -> None:
        check_sizes(self, "channels", "width", "base", "latent", "style", "mapping", "heads", "head")
        check_classes(self.classes)
        if (doublings := check_resolution(self.resolution)) >= len(self.stages):
            raise ValueError(f"resolution must be at most {4 << (len(self.stages) - 1)}; given {self.resolution}")
        object.__setattr__(self, "stages", self.stages[: doublings + 1])

    @property
    def widths(self) -> list[int]:
        """Channels of each resolution from 4 x 4 up."""
        return [min(self.width, self.base // (4 << i)) for i in range(len(self.stages))]


def shape(width: int | None = None) -> dict[str, int]:
    """Fields of the configuration for a width of the widest stage: the released ones, 1600, or in proportion."""
    wide = width or 1600
    heads = max(1, wide // 200)
    return {"width": wide, "heads": heads, "style": 128 * heads, "d_width": min(512, wide), "d_latent": 64 * heads}


class Generator(nn.Module):
    """g(z, labels): latents z ~ N(0, I) and classes -> images.   [b, latent], [b] -> [b, c, h, w]"""

    def __init__(self, config: AuroraConfig):
        super().__init__()
        self.config = config
        style, widths = config.style, config.widths
        self.mapping = Mapping(config.latent, config.classes, style, config.mapping)
        self.start = Fourier(widths[0], style)
        self.first = Modulated(widths[0], widths[0], 3, style, moved=config.stages[0].moved)
        self.blocks = nn.ModuleList()
        before = widths[0]
        for i, (stage, width) in enumerate(zip(config.stages, widths, strict=True)):
            for j in range(1 if i == 0 else 0, stage.blocks):
                self.blocks.append(Block(before, width, stage, config, up=j == 0))
                before = width
        self.to_image = Modulated(before, config.channels, 1, style, demodulate=False)

    def forward(self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b c h w"]:
        return self.routed(z, labels)[0]

    def routed(
        self, z: Float[Tensor, "b l"], labels: Int[Tensor, " b"] | None = None
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, " b"]]:
        """Images, and the sum of all routers' losses for each."""
        w = self.mapping(z, labels)
        x = activate(self.first(self.start(w), w))
        losses = []
        for block in self.blocks:
            x, found = block(x, w)
            losses.append(found)
        return self.to_image(x, w), torch.stack(losses).sum(0)


class Discriminator(stylegan2.Discriminator):
    """StyleGAN2's, with skip connections: Aurora's is not public."""

    def __init__(self, config: AuroraConfig):
        super().__init__(
            stylegan2.StyleGAN2Config(
                config.resolution, config.channels, config.classes, config.d_width, 16384, config.d_latent,
                residual=True, group=config.group,
            )
        )  # fmt: skip


class Block(nn.Module):
    """x -> gain (conv2 conv1 x + skip x), then the transformers; and router losses.   [b, i, h, w] -> [b, o, ...], [b]

    The skip connection is a 1 x 1 convolution without bias where the shape changes.
    """

    def __init__(self, before: int, after: int, stage: Stage, config: AuroraConfig, up: bool):
        super().__init__()
        style = config.style
        self.up, self.gain, self.attention_gain = up, config.residual_gain, config.attention_gain
        self.conv1 = Modulated(before, after, 3, style, stage.kernels, up=up)
        self.conv2 = Modulated(after, after, 3, style, stage.kernels, moved=stage.moved)
        self.skip = Conv(before, after, 1, bias=False) if up or before != after else nn.Identity()
        self.transformers = Transformers(after, stage, config) if stage.depth else None

    def forward(self, x: Float[Tensor, "b i h w"], w: Style) -> tuple[Float[Tensor, "b o h2 w2"], Tensor]:
        h = activate(self.conv2(activate(self.conv1(x, w)), w))
        x = (h + self.skip(resample(x, "up", TAPS) if self.up else x)) * self.gain
        if self.transformers is None:
            return x, w.new_zeros(len(w))
        h, losses = self.transformers(x, w)
        return (x + h) * self.attention_gain, losses


class Fourier(nn.Module):
    """w -> sines at 4 x 4 places, rotated and moved by w, and mixed over channels.   [b, s] -> [b, c, 4, 4]

    Frequencies are random directions of lengths exp(-r^2 / 4), with r that of a normal vector: uniform in a disc of
    radius 1.
    """

    frequency: Tensor
    phase: Tensor

    def __init__(self, width: int, style: int):
        super().__init__()
        drawn = torch.randn(width, 2)
        length = drawn.norm(dim=1, keepdim=True)
        self.register_buffer("frequency", drawn / (length * (length.square() / 4).exp()))
        self.register_buffer("phase", torch.rand(width) - 0.5)
        self.mix = nn.Parameter(torch.randn(width, width))
        self.affine = Linear(style, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.eye(4)[0])  # no rotation; bias[0] = 1 writes where images.plan has no memory

    def forward(self, w: Style) -> Float[Tensor, "b c 4 4"]:
        cos, sin, right, down = self.affine(w).float().unbind(1)
        norm = (cos.square() + sin.square() + 1e-8).sqrt()
        cos, sin, right, down = (part[:, None] / norm[:, None] for part in (cos, sin, right, down))
        fx, fy = self.frequency.unbind(1)
        fx, fy = fx * cos - fy * sin, fx * sin + fy * cos  # [b, c]
        phase = self.phase - fx * right - fy * down
        place = (torch.arange(4, device=w.device, dtype=fx.dtype) + 0.5) / 4 - 0.5
        angle = fx[:, :, None, None] * place + fy[:, :, None, None] * place[:, None] + phase[:, :, None, None]
        x = torch.sin(2 * math.pi * angle)
        return torch.einsum("oc,bchw->bohw", self.mix / self.mix.shape[1] ** 0.5, x)


class Modulated(nn.Module):
    """A convolution whose inputs are scaled by w, and whose outputs are scaled back to unit deviation, plus bias.

        kernel = sum_n softmax(select w)_n weight_n,    y_o = bias_o + sum_i,k kernel_oik s_i x_i / norm of (kernel s)_o

    With more than one kernel each image has its own. `moved`: inputs are read beside their places, by offsets that a
    modulated convolution gives. Without demodulation neither weight nor style is normalised.
    """

    def __init__(
        self, wide_in: int, wide_out: int, size: int, style: int, kernels: int = 1, up: bool = False,
        moved: bool = False, demodulate: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.up, self.kernels, self.demodulate = up, kernels, demodulate
        self.affine = Linear(style, wide_in, bias=1.0)
        self.select = Linear(style, kernels) if kernels > 1 else None
        self.weight = nn.Parameter(torch.randn(kernels * wide_out, wide_in, size, size))
        self.bias = nn.Parameter(torch.zeros(wide_out))
        self.moves = Modulated(wide_in, 27, size, style, demodulate=False) if moved else None
        if self.moves is not None:
            nn.init.zeros_(self.moves.weight)

    def forward(self, x: Float[Tensor, "b i h w"], w: Style) -> Float[Tensor, "b o h2 w2"]:
        with torch.autocast(x.device.type, enabled=False):
            style, kernel, scale = self.scales(w.to(torch.promote_types(w.dtype, torch.float32)))
        moves = None if self.moves is None else self.moves(x, w)
        x = x * style[:, :, None, None].to(x.dtype)
        if moves is not None:
            y = moved_conv(x, kernel, moves)
        elif kernel.ndim == 5:
            y = modulated_conv(x, kernel, self.up)
        elif self.up:
            y = blur(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2), pad=1, gain=4)
        else:
            y = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        return y * scale.to(y.dtype) + self.bias.to(y.dtype)[:, None, None]

    def scales(self, w: Style) -> tuple[Tensor, Tensor, Tensor]:
        """[b, i] of inputs, the kernel [o, i, k, k], or [b, o, i, k, k] of several, [b, o, 1, 1] of outputs."""
        style, weight = self.affine(w), self.weight.unflatten(0, (self.kernels, -1))
        if not self.demodulate:
            return style / weight[0, 0].numel() ** 0.5, weight[0], weight.new_ones(1, 1, 1, 1)
        style = unit(style)
        weight = weight * (weight.square().mean((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        if self.select is None:
            kernel = weight[0]
            squares = style.square() @ kernel.square().sum((2, 3)).mT  # [b, o]
        else:
            kernel = torch.einsum("bn,noikl->boikl", self.select(w).softmax(1), weight)
            squares = torch.einsum("boi,bi->bo", kernel.square().sum((3, 4)), style.square())
        return style, kernel, (squares + 1e-8).rsqrt()[:, :, None, None]


def moved_conv(
    x: Float[Tensor, "b i h w"], kernel: Tensor, moves: Float[Tensor, "b 27 h w"]
) -> Float[Tensor, "b o h w"]:
    """A 3 x 3 convolution that reads its 9 inputs beside their places, bilinearly, with zeros beyond the border.

    moves: of each place and input how far down and to the right, in pixels, and t: the input counts 2 sigmoid(t) times.
    Source: Zhu, Hu, Lin, Dai 2019, "Deformable ConvNets v2".
    """
    b, i, h, w = x.shape
    precise = torch.promote_types(x.dtype, torch.float32)
    down, right, weight = moves.to(precise).view(b, 3, 9, h, w).unbind(1)
    rows, columns = (torch.arange(n, device=x.device, dtype=precise) for n in (h, w))
    near = torch.arange(9, device=x.device)
    y = rows[:, None] + (near // 3 - 1)[:, None, None] + down  # [b, 9, h, w]
    z = columns + (near % 3 - 1)[:, None, None] + right
    grid = torch.stack([(2 * z + 1) / w - 1, (2 * y + 1) / h - 1], dim=-1).view(b, 9 * h, w, 2)
    read = F.grid_sample(x.to(precise), grid, align_corners=False).view(b, i, 9, h * w)
    read = (read * (2 * weight.sigmoid()).view(b, 1, 9, h * w)).to(x.dtype).flatten(1, 2)
    return (kernel.flatten(-3).to(x.dtype) @ read).view(b, -1, h, w)


class Transformers(nn.Module):
    """group norm, into tokens, transformers, and back: (image, router losses), 0 at first.   [b, c, h, w], [b]"""

    def __init__(self, width: int, stage: Stage, config: AuroraConfig):
        super().__init__()
        inner = config.heads * config.head
        self.norm = nn.GroupNorm(math.gcd(32, width), width)
        self.enter = nn.Conv2d(width, inner, 1, bias=False)
        self.layers = nn.ModuleList([Transformer(stage.experts, config) for _ in range(stage.depth)])
        self.leave = nn.Conv2d(inner, width, 1, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Float[Tensor, "b c h w"], w: Style) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, " b"]]:
        size = x.shape[2:]
        x = self.enter(self.norm(x)).flatten(2).mT  # [b, h w, inner]
        losses = w.new_zeros(len(w))
        for layer in self.layers:
            x, found = layer(x, w)
            losses = losses + found
        return self.leave(x.mT.unflatten(2, size)), losses


class Transformer(nn.Module):
    """x + attention(norm x), then x + expert(norm x): (tokens, router losses).   [b, n, d], [b, s]"""

    def __init__(self, experts: int, config: AuroraConfig):
        super().__init__()
        width = config.heads * config.head
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(config)
        self.feed = Experts(width, experts, config.style)

    def forward(self, x: Tokens, w: Style) -> tuple[Tokens, Float[Tensor, " b"]]:
        x = x + self.attention(self.norm1(x), w)
        h, losses = self.feed(self.norm2(x), w)
        return x + h, losses


class Attention(nn.Module):
    """Attention by distance, of each head; the last map is modulated by w.   [b, n, d], [b, s] -> [b, n, d]"""

    def __init__(self, config: AuroraConfig):
        super().__init__()
        width = config.heads * config.head
        self.heads = config.heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = Modulated(width, width, 1, config.style)

    def forward(self, x: Tokens, w: Style) -> Tokens:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        found = by_distance(q, k, v).transpose(1, 2).flatten(2)
        return self.out(found.mT[..., None], w)[..., 0].mT


class Experts(nn.Module):
    """p W2 (a gelu(b)) of the one expert to which the router sends a token, (a, b) = W1 token; and the router's losses.

    The router: logits of a modulated map by w, p the largest of their softmax. Its losses, for each image:

        BALANCE experts sum_e (share of tokens sent to e) (mean probability of e) + ENTROPY mean (log sum exp logits)^2

    One expert needs no router. [b, n, d], [b, s] -> [b, n, d], [b]
    """

    def __init__(self, width: int, experts: int, style: int):
        super().__init__()
        self.experts, hidden = experts, 4 * width
        self.router = Modulated(width, experts, 1, style) if experts > 1 else None
        self.weight1 = nn.Parameter(torch.randn(experts, width, 2 * hidden) / width**0.5)
        self.bias1 = nn.Parameter(torch.zeros(experts, 2 * hidden))
        self.weight2 = nn.Parameter(torch.randn(experts, hidden, width) / hidden**0.5)
        self.bias2 = nn.Parameter(torch.zeros(experts, width))

    def forward(self, x: Tokens, w: Style) -> tuple[Tokens, Float[Tensor, " b"]]:
        if self.router is None:
            a, b = (x @ self.weight1[0] + self.bias1[0].to(x.dtype)).chunk(2, dim=-1)
            return (a * F.gelu(b)) @ self.weight2[0] + self.bias2[0], w.new_zeros(len(w))
        logits = activate(self.router(x.mT[..., None], w))[..., 0].mT  # [b, n, experts]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        p = logits.softmax(2)
        most, expert = p.max(2)
        blocks = Blocks.of(expert.flatten(), self.experts)
        a, b = blocks.linear(blocks.fill(x.flatten(0, 1)), self.weight1, self.bias1).chunk(2, dim=-1)
        found = blocks.empty(blocks.linear(a * F.gelu(b), self.weight2, self.bias2)).view_as(x)
        sent = (expert[..., None] == torch.arange(self.experts, device=x.device)).to(p).mean(1)  # [b, experts]
        losses = BALANCE * self.experts * (sent * p.mean(1)).sum(1) + ENTROPY * logits.logsumexp(2).square().mean(1)
        return found * most[..., None].to(found.dtype), losses
