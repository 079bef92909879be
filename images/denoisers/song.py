"""DDPM++ and NCSN++ of Song et al. 2021 in the form in which Karras et al. 2022 train them on CIFAR10."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.denoisers.blocks import Block, Style, channels_last, sinusoids, zeroed
from images.formats.limits import check_unet
from images.formats.messages import shown
from images.layers.resample import BOX, border, resample


@dataclass(frozen=True)
class SongConfig:
    """The shape of a SongUNet; the defaults are those of the conditional CIFAR10 network of EDM (VP).

    resolution, channels_in, channels_out, width, multipliers, blocks, classes: as in ADMConfig.
    attention: the levels (0 the finest) with attention: after every block of the encoder, the last of the decoder.
    middle_attention: after the first of the two blocks in the middle (all published networks have it).
    embedding: of the time: "positional" (DDPM++), or "fourier" with random frequencies (NCSN++).
    embedding_multiplier: the embedding starts with width * this many channels (1; NCSN++: 2).
    residual: the downsampled image is added to the encoder at every level (NCSN++).
    taps: the filter of resampling ((1, 1); NCSN++: (1, 3, 3, 1)).

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 32
    channels_in: int = 3
    channels_out: int = 3
    width: int = 128
    multipliers: tuple[int, ...] = (2, 2, 2)
    blocks: int = 4
    attention: tuple[int, ...] = (1,)
    middle_attention: bool = True
    classes: int = 10
    embedding: Literal["positional", "fourier"] = "positional"
    embedding_multiplier: int = 1
    residual: bool = False
    taps: tuple[int, ...] = BOX
    dropout: float = 0.0
    least_group: int = 4

    def __post_init__(self) -> None:
        check_unet(self)
        if self.embedding not in ("positional", "fourier"):
            raise ValueError(f"embedding must be 'positional' or 'fourier'; given {shown(self.embedding)}")
        if self.embedding_multiplier not in (1, 2):
            raise ValueError(f"embedding_multiplier must be 1 or 2; given {shown(self.embedding_multiplier)}")
        if self.taps not in (BOX, (1, 3, 3, 1)):
            raise ValueError(f"taps must be (1, 1) or (1, 3, 3, 1); given {shown(self.taps)}")


class SongUNet(nn.Module):
    """F(y, t, labels): images and a time -> images of channels_out.   [b, c, h, w], [b] -> [b, o, h, w]

    `encoder`, `middle` and `decoder` hold the blocks in the order in which an image passes them. Without labels a
    conditional network gets the zero vector for the class, which is what it learns where labels are dropped.
    """

    frequencies: Tensor

    def __init__(self, config: SongConfig):
        super().__init__()
        self.config = config
        style = Style(
            False, 1e-6, config.least_group, math.sqrt(0.5), config.taps, project_resampled=True, dropout=config.dropout
        )
        start, emb = config.width * config.embedding_multiplier, 4 * config.width
        self.start = start
        widths = [config.width * multiplier for multiplier in config.multipliers]
        if config.embedding == "fourier":
            self.register_buffer("frequencies", 16 * torch.randn(start // 2))
        self.labels = nn.Linear(config.classes, start) if config.classes else None
        self.time = nn.Sequential(nn.Linear(start, emb), nn.SiLU(), nn.Linear(emb, emb))

        at = config.width  # channels here
        self.encoder = nn.ModuleList([nn.Conv2d(config.channels_in, at, 3, padding=1)])
        self.inputs = nn.ModuleList()  # level i >= 1 adds inputs[i - 1] of the image
        image, skips = config.channels_in, [at]
        for level, wide in enumerate(widths):
            if level:
                self.encoder.append(Block(at, at, emb, style, resampling="down"))
                skips.append(at)
                if config.residual:
                    self.inputs.append(nn.Conv2d(image, at, 3, padding=1 + border(config.taps)))
                    image = at
            for _ in range(config.blocks):
                self.encoder.append(Block(at, wide, emb, style, heads=int(level in config.attention)))
                at = wide
                skips.append(at)
        self.middle = nn.ModuleList([Block(at, at, emb, style, heads) for heads in (int(config.middle_attention), 0)])
        self.decoder = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                self.decoder.append(Block(at, at, emb, style, resampling="up"))
            for i in range(config.blocks + 1):
                heads = int(i == config.blocks and level in config.attention)
                self.decoder.append(Block(at + skips.pop(), wide, emb, style, heads))
                at = wide
        self.out_norm = style.norm(at)
        self.out_conv = zeroed(nn.Conv2d(at, config.channels_out, 3, padding=1))
        channels_last(self)

    def embed(
        self, t: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None, dtype: torch.dtype
    ) -> Float[Tensor, "b e"]:
        """The embedding of time and class that every block gets."""
        if self.config.embedding == "fourier":
            phases = 2 * math.pi * t[:, None].float() * self.frequencies  # [b, start / 2]
            start = torch.cat([phases.sin(), phases.cos()], dim=1)
        else:
            cosines, sines = sinusoids(t, self.start, inclusive=True).chunk(2, dim=1)
            start = torch.cat([sines, cosines], dim=1)
        start = start.to(dtype)
        if self.labels is not None:
            classes = self.config.classes
            hot = start.new_zeros(len(t), classes) if labels is None else F.one_hot(labels, classes).to(start.dtype)
            start = start + self.labels(hot * math.sqrt(classes))
        return F.silu(self.time(start))

    def forward(
        self, y: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b o h w"]:
        emb = self.embed(t, labels, y.dtype)
        first, *encoder = self.encoder
        inputs = iter(self.inputs)
        image, skips = y, [first(y).contiguous(memory_format=torch.channels_last)]
        for block in encoder:
            skips.append(block(skips[-1], emb))
            if block.resampling and self.config.residual:
                image = resample(next(inputs)(image), "down", self.config.taps, bordered=True)
                image = skips[-1] = image.add_(skips[-1]).mul_(math.sqrt(0.5))
        x = skips[-1]
        for block in self.middle:
            x = block(x, emb)
        for block in self.decoder:
            x = block(x if block.resampling else torch.cat([x, skips.pop()], dim=1), emb)
        return self.out_conv(F.silu(self.out_norm(x)))
