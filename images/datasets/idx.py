"""IDX files of the MNIST family, gzipped or not: images and labels in two files, read without unpacking to disk.

    0, 0, 8 (uint8), number of dimensions, the sizes as big-endian uint32, the bytes

Fashion-MNIST is the Debian package dataset-fashion-mnist, which puts its files in /usr/share/datasets/fashion-mnist.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import Int64, UInt8

from images.datasets.archive import CLASSES
from images.formats.messages import reading
from theory.common.errors import FileError

NAMES = {"train": "train-{}-idx{}-ubyte", "test": "t10k-{}-idx{}-ubyte"}
UNPACKED = 1 << 28  # bytes of a file; MNIST's and Fashion-MNIST's images take 47 MB
RATIO = 100  # and 1 MiB more, of the packed size; Fashion-MNIST's images unpack to 1.8 times, its labels to 2 times
START = b"\x00\x00\x08"


def read(path: Path, split: str) -> tuple[UInt8[np.ndarray, "n 1 h w"], Int64[np.ndarray, " n"]]:
    """Images and labels of a split (train, test or all) from a folder of files, or from a file of images and that of
    its labels beside it.

    Raises:
        FileError: a file is missing, damaged, of other dimensions, or too large; images and labels disagree; names it.
        OSError: it cannot be read.
    """
    parts = ("train", "test") if split == "all" else (split,)
    pairs = [pair(path, NAMES[part]) for part in parts] if path.is_dir() else [beside(path)]
    found = [both(*files) for files in pairs]
    if len({images.shape[1:] for images, _ in found}) > 1:
        raise FileError(f"{path}: train and test have images of different sizes")
    return np.concatenate([images for images, _ in found]), np.concatenate([labels for _, labels in found])


def is_folder(path: Path) -> bool:
    """Whether a folder holds files of the family."""
    return any(there(path, name.format("images", 3)) for name in NAMES.values())


def there(path: Path, name: str) -> Path | None:
    """The file of this name, as it is, with a dot before idx (as some unpack it), or gzipped."""
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((path / each for each in names if (path / each).is_file()), None)


def pair(path: Path, name: str) -> tuple[Path, Path]:
    images, labels = (there(path, name.format(kind, n)) for kind, n in (("images", 3), ("labels", 1)))
    if images is None or labels is None:
        wanted = name.format("labels", 1) if images else name.format("images", 3)
        raise FileError(f"{path}: no {wanted} (or {wanted}.gz) in it")
    return images, labels


def beside(path: Path) -> tuple[Path, Path]:
    """A file of images, and that of its labels."""
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    labels = there(path.parent, name.replace(".idx", "-idx"))
    if "images" not in path.name or labels is None:
        raise FileError(f"{path}: wanted is a file ...-images-idx3-ubyte, and ...-labels-idx1-ubyte beside it")
    return path, labels


def both(images: Path, labels: Path) -> tuple[UInt8[np.ndarray, "n 1 h w"], Int64[np.ndarray, " n"]]:
    pixels, classes = array(images, 3), array(labels, 1)
    if len(pixels) != len(classes):
        raise FileError(f"{images}: {len(pixels)} images, but {len(classes)} labels in {labels.name}")
    if len(classes) and classes.max() >= CLASSES:
        raise FileError(f"{labels}: a label of {classes.max()}")
    return pixels[:, None], classes.astype(np.int64)


def array(path: Path, dimensions: int) -> UInt8[np.ndarray, "*n"]:
    """The numbers of one file.

    Raises:
        FileError: no IDX file of uint8 with so many dimensions; cut off; more bytes than it announces.
    """
    with reading(path), open(path, "rb") as raw:
        size = path.stat().st_size
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        start = file.read(4 + 4 * dimensions)
        if start[:3] != START or start[3:4] != bytes([dimensions]) or len(start) < 4 + 4 * dimensions:
            raise FileError(f"no IDX file of uint8 with {dimensions} dimensions")
        shape = struct.unpack(f">{dimensions}I", start[4:])
        wanted = math.prod(shape)
        if wanted > min(UNPACKED, RATIO * size + (1 << 20) if packed else size) or not wanted:
            raise FileError(f"refused: {' x '.join(map(str, shape))} bytes announced in a file of {size}")
        data = file.read(wanted)
        if len(data) < wanted or file.read(1):
            raise FileError(f"truncated, or longer than the {wanted} bytes that it announces")
    return np.frombuffer(data, np.uint8).reshape(shape)
