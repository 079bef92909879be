"""A generator and a discriminator that a CPU trains in a minute: two resolutions, 4x4 and 8x8, and no norms.

Source of the conditioning of D: Miyato, Koyama 2018 (projection).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class SmallGenerator(nn.Module):
    """G(z, labels): 8x8 images in (-1, 1).   [b, latent], [b] -> [b, channels, 8, 8]"""

    def __init__(self, latent: int, classes: int, channels: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(classes, latent) if classes else None
        self.start = nn.Linear(latent * (2 if classes else 1), width * 16)
        self.at4 = conv(width, width)
        self.at8 = nn.ModuleList([conv(width, width), conv(width, width)])
        self.out = conv(width, channels)

    def forward(self, z: Float[Tensor, "b z"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b c 8 8"]:
        if self.embed is not None:
            z = torch.cat([z, self.embed(labels)], 1)  # [b, 2 latent]
        x = act(self.start(z)).view(len(z), -1, 4, 4)
        x = x + act(self.at4(x))
        x = F.interpolate(x, scale_factor=2.0)  # [b, width, 8, 8]
        for layer in self.at8:
            x = x + act(layer(x))
        return torch.tanh(self.out(x))


class SmallDiscriminator(nn.Module):
    """D(x, labels): a logit an image.   [b, channels, 8, 8], [b] -> [b]"""

    def __init__(self, classes: int, channels: int, width: int):
        super().__init__()
        self.start = conv(channels, width)
        self.at8 = conv(width, width)
        self.at4 = conv(width, width)
        self.features = nn.Linear(width * 16, 4 * width)
        self.out = nn.Linear(4 * width, 1)
        self.embed = nn.Embedding(classes, 4 * width) if classes else None

    def forward(self, x: Float[Tensor, "b c 8 8"], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        x = act(self.start(x))
        x = x + act(self.at8(x))
        x = F.avg_pool2d(x, 2)  # [b, width, 4, 4]
        x = x + act(self.at4(x))
        h = act(self.features(x.flatten(1)))  # [b, 4 width]
        logits = self.out(h)[:, 0]
        if self.embed is not None:
            logits = logits + (h * self.embed(labels)).sum(1) / math.sqrt(h.shape[1])
        return logits


def conv(wide_in: int, wide_out: int) -> nn.Conv2d:
    return nn.Conv2d(wide_in, wide_out, 3, padding=1)


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
