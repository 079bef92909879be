"""The ADM U-Net of Dhariwal, Nichol 2021, as ImageNet and LSUN scores use it, in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from images.denoisers.blocks import Block, Style, channels_last, sinusoids, zeroed
from images.formats.limits import LARGEST, check_unet, check_whole
from images.formats.messages import shown


@dataclass(frozen=True)
class ADMConfig:
    """The shape of an ADM U-Net; the defaults are those of ImageNet 64.

    resolution: pixels a side that it was trained at.
    channels_in, channels_out: of images; 6 out of guided-diffusion's, whose last 3 are its variance.
    width, multipliers: channels of level i are width * multipliers[i]; each level halves the resolution.
    blocks: residual blocks a level in the encoder, one more in the decoder.
    attention: the levels (0 the finest) with attention after every block.
    heads, head_channels: attention heads, or channels of each; exactly one of the two.
    classes: 0 is unconditional.
    scale_shift: how the embedding acts in a block: as scale and shift, or added.
    time_width: sinusoids of the time, and a quarter of the embedding's channels; None: width (ImageNet 512: twice it).
    least_group: group norms have min(32, channels // least_group) groups.

    Raises:
        ValueError: no network has this shape.
    """

    resolution: int = 64
    channels_in: int = 3
    channels_out: int = 3
    width: int = 192
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    blocks: int = 3
    attention: tuple[int, ...] = (1, 2, 3)
    heads: int | None = None
    head_channels: int | None = 64
    classes: int = 1000
    scale_shift: bool = True
    least_group: int = 1
    dropout: float = 0.0
    time_width: int | None = None

    def __post_init__(self) -> None:
        check_unet(self)
        check_whole("time_width", self.time_width or self.width, 1, LARGEST["width"])
        if (self.heads is None) == (self.head_channels is None):
            raise ValueError(f"give heads or head_channels; given {shown(self.heads)} and {shown(self.head_channels)}")
        check_whole("heads or head_channels", self.heads or self.head_channels, 1, LARGEST["width"])
        narrow, per_head = self.width * min(self.multipliers), self.head_channels or 1
        if narrow % per_head:
            raise ValueError(f"head_channels must divide every level's width; given {per_head} and {narrow}")

    def heads_of(self, channels: int) -> int:
        """The attention heads of a block of so many channels."""
        return self.heads or channels // (self.head_channels or channels)


class ADM(nn.Module):
    """F(y, t, labels): images and a time -> images of channels_out.   [b, c, h, w], [b] -> [b, o, h, w]

    The time is the number that the network was trained with: an index, or a function of the noise level.
    `encoder`, `middle` and `decoder` hold the blocks in the order in which an image passes them.
    """

    def __init__(self, config: ADMConfig):
        super().__init__()
        self.config = config
        style = Style(config.scale_shift, 1e-5, config.least_group, dropout=config.dropout)
        self.time_width = config.time_width or config.width
        emb = 4 * self.time_width
        widths = [config.width * multiplier for multiplier in config.multipliers]
        self.time = nn.Sequential(nn.Linear(self.time_width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.labels = nn.Embedding(config.classes, emb) if config.classes else None

        at = config.width  # channels here
        self.encoder = nn.ModuleList([nn.Conv2d(config.channels_in, at, 3, padding=1)])
        skips = [at]
        for level, wide in enumerate(widths):
            if level:
                self.encoder.append(Block(at, at, emb, style, resampling="down"))
                skips.append(at)
            for _ in range(config.blocks):
                heads = config.heads_of(wide) if level in config.attention else 0
                self.encoder.append(Block(at, wide, emb, style, heads))
                at = wide
                skips.append(at)
        self.middle = nn.ModuleList([Block(at, at, emb, style, config.heads_of(at)), Block(at, at, emb, style)])
        self.decoder = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(config.blocks + 1):
                heads = config.heads_of(wide) if level in config.attention else 0
                self.decoder.append(Block(at + skips.pop(), wide, emb, style, heads))
                at = wide
            if level:
                self.decoder.append(Block(at, at, emb, style, resampling="up"))
        self.out_norm = style.norm(at)
        self.out_conv = zeroed(nn.Conv2d(at, config.channels_out, 3, padding=1))
        channels_last(self)

    def forward(
        self, y: Float[Tensor, "b c h w"], t: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b o h w"]:
        emb = self.time(sinusoids(t, self.time_width).to(y.dtype))  # [b, e]
        if self.labels is not None and labels is not None:
            emb = emb + self.labels(labels)
        emb = F.silu(emb)
        first, *encoder = self.encoder
        skips = [first(y).contiguous(memory_format=torch.channels_last)]
        for block in encoder:
            skips.append(block(skips[-1], emb))
        x = skips[-1]
        for block in self.middle:
            x = block(x, emb)
        for block in self.decoder:
            x = block(x if block.resampling else torch.cat([x, skips.pop()], dim=1), emb)
        return self.out_conv(F.silu(self.out_norm(x)))
