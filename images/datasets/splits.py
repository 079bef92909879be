"""Training and test images of the recipes that are judged by a classifier: Fashion-MNIST, CIFAR10 at 16 x 16, stacked
MNIST.

Fashion-MNIST is found where Debian's package dataset-fashion-mnist puts it; the others are the user's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from images.datasets import cifar10, idx, sources
from images.datasets.dataset import Images
from theory.common.errors import UsageError

PACKAGE, FASHION = "dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist")
DIGITS = 3  # that are stacked: the channels of an image
SPLITS = ("train", "test")
STACKED = {"train": 20_000, "test": 4_000}
"""Images of three digits, drawn with replacement by numbers of their own."""
RECODED = "JPEG re-coding"
WANTED = {
    "fashion": "a folder of Fashion-MNIST's IDX files",
    "cifar10-small": "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or a folder with train/CLASS and test/CLASS",
    "stacked-mnist": "a folder of MNIST's IDX files",
}
"""Source of a recipe -> what --data is for it, if no archive."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to train on, images that nothing is trained on, and what is to be said wherever results are shown."""

    train: Images
    test: Images
    note: str = ""

    @cached_property
    def digest(self) -> str:
        """The first digits of the SHA-256 of the training pixels."""
        assert isinstance(self.train.images, Tensor)
        return hashlib.sha256(self.train.images.contiguous().numpy().data).hexdigest()[:12]


def splits(source: str, path: Path | None) -> Splits:
    """Both splits of a source of WANTED.

    Raises:
        UsageError: no path where one is needed; the Debian package is not installed; the path is something else.
        FileError: a damaged file. OSError: it cannot be read.
    """
    if path is None and source == "fashion":
        path = FASHION
        if not path.is_dir():
            raise UsageError(
                f"Fashion-MNIST is not at {path}: apt-get install {PACKAGE}, or give --data, {WANTED[source]}"
            )
    if path is None:
        raise UsageError(f"recipe {source} needs --data: {WANTED[source]}")
    if source != "cifar10-small" and not path.is_dir():
        raise UsageError(f"recipe {source} wants {WANTED[source]}; given {path}")
    return _splits(source, path.resolve())


def has_splits(source: str, path: Path | None) -> bool:
    """Whether a path, if one is given, has a training and a test split of a source; an archive (.zip) has not."""
    return source in WANTED and (path is None or path.suffix != ".zip")


@lru_cache(maxsize=2)
def _splits(source: str, path: Path) -> Splits:
    if source == "fashion":
        train, test = (padded(*idx.read(path, split)) for split in SPLITS)
        return Splits(train, test)
    if source == "stacked-mnist":
        train, test = (stacked(padded(*idx.read(path, split)), split) for split in SPLITS)
        return Splits(train, test)
    if path.is_file():
        train, test = (halved(*map(torch.from_numpy, cifar10.read(path, split))) for split in SPLITS)
        return Splits(train, test)
    parts = [Images.of(sources.folder(path / split, sources.How(32)).items) for split in SPLITS]
    train, test = (halved(part.images[:], part.labels) for part in parts)
    lossy = any(path.glob("train/*/*.jpg")) or any(path.glob("train/*/*.jpeg"))
    return Splits(train, test, RECODED if lossy else "")


def padded(pixels: UInt8[np.ndarray, "n 1 h w"], labels: Int64[np.ndarray, " n"]) -> Images:
    """Images amid zeros, whose sides are the next power of two."""
    n, _, height, width = pixels.shape
    side = 1 << (max(height, width) - 1).bit_length()
    top, left = (side - height) // 2, (side - width) // 2
    found = torch.zeros(n, 1, side, side, dtype=torch.uint8)
    found[:, :, top : top + height, left : left + width] = torch.from_numpy(pixels.copy())
    return Images(found, torch.from_numpy(labels))


def stacked(digits: Images, split: str) -> Images:
    """Images of three digits, one a channel; the label is the number that they write, 0..999.   [n, 1, h, w] -> [n, 3,
    h, w]"""
    assert digits.labels is not None
    draws = np.random.Generator(np.random.Philox(key=[0, list(STACKED).index(split)]))
    which = torch.from_numpy(draws.integers(0, len(digits), (STACKED[split], DIGITS)))
    places = torch.tensor([100, 10, 1])
    return Images(
        digits.images[which.flatten()].unflatten(0, which.shape)[:, :, 0], (digits.labels[which] * places).sum(1)
    )


def halved(pixels: UInt8[Tensor, "n c h w"], labels: Tensor | None) -> Images:
    """Images of half the resolution: means over 2 x 2 pixels, rounded to the nearest."""
    n, c, h, w = pixels.shape
    found = torch.empty(n, c, h // 2, w // 2, dtype=torch.uint8)
    for first in range(0, n, 4096):
        part = pixels[first : first + 4096].to(torch.int16).unflatten(3, (w // 2, 2)).unflatten(2, (h // 2, 2))
        found[first : first + 4096] = ((part.sum((3, 5)) + 2) // 4).to(torch.uint8)
    return Images(found, labels)
