"""IDX files like those of MNIST, of images made for tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_idx(folder: Path, n: int, seed: int, side: int = 28) -> Path:
    """Both splits: a bar of a brightness between 150 and 255 on noise, in the row of its class."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for start in ("train", "t10k"):
        labels = np.arange(n, dtype=np.uint8) % 10
        pixels = draws.integers(0, 60, (n, side, side), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[2 + 2 * label : 4 + 2 * label, 4:24] = draws.integers(150, 255)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{start}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder
