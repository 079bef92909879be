"""Images and labels by index, and the indices of a step and a rank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from images.datasets.archive import Archive
from theory.common.errors import FileError

RESIDENT = 1 << 29  # bytes of pixels that are decoded once and kept; CIFAR10 takes 154 MB, ImageNet 64 15 GB


@dataclass(frozen=True)
class OnDisk:
    """Images of an archive, decoded each time they are read."""

    archive: Archive

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.archive), *self.archive.shape)

    def __getitem__(self, indices: slice | Sequence[int] | Tensor) -> UInt8[Tensor, "b c h w"]:
        if isinstance(indices, slice):
            indices = range(len(self.archive))[indices]
        found = np.empty((len(indices), *self.archive.shape), np.uint8)
        for at, index in enumerate(indices):
            found[at] = self.archive.read(int(index))
        return torch.from_numpy(found)


@dataclass(frozen=True)
class Images:
    """Images uint8 [n, c, h, w] (a tensor; `OnDisk` if they are too many for that) and labels int64 [n], or None."""

    images: Tensor | OnDisk
    labels: Int64[Tensor, " n"] | None = None

    @classmethod
    def open(cls, path: str | Path) -> Images:
        """The images of an archive. Up to 512 MiB of pixels are decoded, and so checked, at once.

        Raises:
            FileError: as `Archive`, one line that names the archive and the image.
        """
        archive = Archive(Path(path))
        images = OnDisk(archive)
        labels = None if archive.labels is None else torch.from_numpy(archive.labels)
        small = len(archive) * int(np.prod(archive.shape)) <= RESIDENT
        return cls(images[:] if small else images, labels)

    @classmethod
    def of(cls, items: Iterable[tuple[UInt8[np.ndarray, "c h w"], int | None]]) -> Images:
        """The items of a source, in memory.

        Raises:
            FileError: images of different shapes; only some of them labelled.
        """
        pixels, labels = zip(*items, strict=True)
        odd = next((i for i, image in enumerate(pixels) if image.shape != pixels[0].shape), None)
        if odd is not None:
            raise FileError(f"image {odd} is {list(pixels[odd].shape)}, the first is {list(pixels[0].shape)}")
        known = [label for label in labels if label is not None]
        if len(known) not in (0, len(labels)):
            raise FileError(f"{len(labels) - len(known)} of {len(labels)} images have no label; wanted: all or none")
        return cls(torch.from_numpy(np.stack(pixels)), torch.tensor(known) if known else None)

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)"""
        return tuple(self.images.shape[1:])

    @property
    def classes(self) -> int:
        """1 + the largest label; 0 where there are none."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def batch(self, indices: Int64[Tensor, " b"]) -> tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"] | None]:
        """The images and labels of these indices."""
        return self.images[indices], None if self.labels is None else self.labels[indices]


def to_float(pixels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels from 0..255 in [-1, 1]."""
    return pixels.to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Pixels from [-1, 1] in 0..255, rounded to the nearest and clamped; to_uint8(to_float(x)) = x."""
    return (x.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def batch_indices(seed: int, step: int, batch: int, n: int, rank: int = 0, world: int = 1) -> Int64[Tensor, " b"]:
    """The indices, of n images, that `rank` of `world` sees in a step: its part of the step's batch, [batch / world].

    Epoch after epoch, each image comes once, in an order of its own. A step's batch depends on (seed, step, batch, n)
    alone: the ranks' parts, one after the other, are the batch of a single rank, and training that resumes at a step
    needs no state but its number.

    Raises:
        ValueError: a batch that cannot be shared equally; numbers out of range.
    """
    positions = part(seed, step, batch, rank, world)
    if n < 1:
        raise ValueError(f"n must be at least 1; given {n}")
    epochs = positions // n
    found = np.empty_like(positions)
    for epoch in np.unique(epochs):
        found[epochs == epoch] = order(seed, int(epoch), n)[positions[epochs == epoch] % n]
    return torch.from_numpy(found)


def batch_flips(seed: int, step: int, batch: int, rank: int = 0, world: int = 1) -> Bool[Tensor, " b"]:
    """Which of the images of `batch_indices` are mirrored: each with probability 1/2, independently.

    Raises:
        ValueError: as `batch_indices`.
    """
    positions = part(seed, step, batch, rank, world)
    draws = np.random.Philox(key=[seed, 2 * step + 1]).random_raw(batch) >> np.uint64(63)
    return torch.from_numpy(draws.astype(bool)[positions - step * batch])


def part(seed: int, step: int, batch: int, rank: int, world: int) -> Int64[np.ndarray, " b"]:
    """The positions, in the stream of all images ever seen, of a rank's part of a step."""
    if batch < 1 or world < 1 or batch % world:
        raise ValueError(f"batch must be a multiple of the number of ranks; given {batch} and {world}")
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in 0..{world - 1}; given {rank}")
    if seed < 0 or step < 0:
        raise ValueError(f"seed and step must not be negative; given {seed} and {step}")
    share = batch // world
    return step * batch + rank * share + np.arange(share, dtype=np.int64)


@lru_cache(maxsize=2)  # a batch may span two epochs
def order(seed: int, epoch: int, n: int) -> Int64[np.ndarray, " n"]:
    """A permutation of n: the ranks of a counter-based generator's raw numbers, the same under every numpy."""
    return np.argsort(np.random.Philox(key=[seed, 2 * epoch]).random_raw(n), kind="stable")
