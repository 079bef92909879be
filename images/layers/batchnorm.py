"""Batch normalisation over groups of images in a row, so that no micro-batch and no number of processes changes it.

In training mode a group of `group` images shares its statistics. In evaluation mode running ones serve instead. They
move once a step, by the mean over all groups of the batch:

    with watched(network) as norms:
        ...                          # the parts of a batch
    move(norms, seen(norms))         # over several processes, the mean of what each has seen

Source: Ioffe, Szegedy 2015; with groups: Hoffer, Hubara, Soudry 2017, "Train longer, generalize better" (ghost batch
normalisation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from images.sums import in_pairs

EPS = 1e-5
MOMENTUM = 0.1
"""The share of the way that running statistics move to those of a step."""


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(var + EPS) of each channel, over min(group, b) images in a row.   [b, c, h, w]

    Raises:
        ValueError: in training mode, b is not a multiple of min(group, b).
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, group: int):
        super().__init__()
        self.group = group
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.watched: list[Float[Tensor, "2 c"]] | None = None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training:
            return F.batch_norm(x, self.mean, self.var, eps=EPS)
        n = min(self.group, len(x))
        if len(x) % n:
            raise ValueError(f"batch norms take statistics of {n} images: b must be a multiple; given {len(x)}")
        parts = [self.normalised(part) for part in x.split(n)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def normalised(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """One group; its mean and unbiased variance are kept if the network is watched."""
        if self.watched is None:
            return F.batch_norm(x, None, None, training=True, eps=EPS)
        found = torch.zeros_like(torch.stack([self.mean, self.var]))
        self.watched.append(found)
        return F.batch_norm(x, found[0], found[1], training=True, momentum=1.0, eps=EPS)


@contextmanager
def watched(network: nn.Module) -> Iterator[list[BatchNorm]]:
    """The batch norms of a network, which keep the statistics of what passes them until the block ends."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.watched = []
    try:
        yield norms
    finally:
        for norm in norms:
            norm.watched = None


def seen(norms: Sequence[BatchNorm]) -> list[Float[Tensor, "2 c"]]:
    """(mean, variance) of each norm, as the mean over the groups that passed it."""
    return [in_pairs(norm.watched) / len(norm.watched) for norm in norms if norm.watched]


@torch.no_grad()
def move(norms: Sequence[BatchNorm], found: Sequence[Float[Tensor, "2 c"]]) -> None:
    """Running statistics, moved by MOMENTUM of the way to those of a step."""
    for norm, (mean, var) in zip(norms, found, strict=True):
        norm.mean.lerp_(mean, MOMENTUM)
        norm.var.lerp_(var, MOMENTUM)
