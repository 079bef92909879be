"""Means and covariances of features in npz files: EDM's, ADM's and our own, each under its own name.

    EDM's   mu, sigma                                     fid-refs/*.npz
    ADM's   mu, sigma, mu_s, sigma_s, arr_0               VIRTUAL_*.npz; arr_0 are images [n, h, w, 3], some of them
    ours    mu, sigma, features, count, resolution        written by python -m images.evaluate --save-reference

Two references of one dataset are not interchangeable: they were made of differently resized images, by other programs.
Also here: samples as guided-diffusion stores them, arr_0 uint8 [n, h, w, c], and labels arr_1 [n].
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from images.datasets.archive import CLASSES, RATIO, SMALL_ARCHIVE, check_shape
from images.datasets.dataset import Images
from images.formats.messages import clipped, reading, shown
from images.metrics.distances import Moments
from theory.common.errors import FileError
from theory.common.files import replacing

WIDEST = 4096  # features; Inception's are 2048
LARGEST = 1 << 34  # bytes of an array; 50,000 images 256x256 take 10^10
NAME = 100  # characters of the features' name
KINDS = {
    "ADM": {"mu", "sigma", "mu_s", "sigma_s", "arr_0"},
    "ours": {"mu", "sigma", "features", "count", "resolution"},
    "EDM": {"mu", "sigma"},
}


@dataclass(frozen=True)
class Reference:
    """Moments of the features of real images, and what is known about them."""

    kind: str
    """EDM, ADM or ours."""
    moments: Moments
    features: str | None = None
    """The network's name; None: not said, of an Inception of 2015."""
    count: int | None = None
    resolution: int | None = None
    images: UInt8[Tensor, "n c h w"] | None = None
    """Some of the real images, which ADM's files have."""


def read_reference(path: Path) -> Reference:
    """A file of one of the three kinds.

    Raises:
        FileError: none of them, damaged, or too large; moments that do not fit each other. OSError: it cannot be read.
    """
    with reading(path):
        return _read_reference(path)


def _read_reference(path: Path) -> Reference:
    names = members(path)
    kind = next((kind for kind, wanted in KINDS.items() if wanted == set(names)), None)
    if kind is None:
        raise FileError(f"has {some(names)}; wanted: {described()}")
    mu, sigma = (array(path, name, "f") for name in ("mu", "sigma"))
    if mu.ndim != 1 or len(mu) > WIDEST or sigma.shape != (len(mu), len(mu)):
        raise FileError(f"mu {list(mu.shape)} and sigma {list(sigma.shape)}; wanted: [d] and [d, d]")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all() and np.allclose(sigma, sigma.T, atol=1e-6)):
        raise FileError("mu and sigma are no mean and covariance: not finite, or not symmetric")
    moments = Moments(torch.from_numpy(mu.astype(np.float64)), torch.from_numpy(sigma.astype(np.float64)))
    if kind == "ADM":
        images = _read_samples(path).images
        assert isinstance(images, Tensor)
        return Reference(kind, moments, resolution=images.shape[-1], images=images)
    if kind == "EDM":
        return Reference(kind, moments)
    count, resolution = (int(array(path, name, "i").reshape(-1)[0]) for name in ("count", "resolution"))
    features = str(array(path, "features", "U").reshape(-1)[0])
    if len(features) > NAME:
        raise FileError(f"its features have a name of more than {NAME} characters: {shown(features)}")
    return Reference(kind, moments, features, count, resolution)


def described() -> str:
    return "; or ".join(f"{', '.join(sorted(wanted))} ({kind})" for kind, wanted in KINDS.items())


def save_reference(path: Path, moments: Moments, features: str, count: int, resolution: int) -> None:
    """A file of our own kind; the same bytes for the same numbers.

    Raises:
        OSError: it cannot be written, and is as it was.
    """
    with replacing(path) as file:
        np.savez(
            file,
            mu=moments.mean.numpy(),
            sigma=moments.covariance.numpy(),
            features=np.array(features),
            count=np.array(count),
            resolution=np.array(resolution),
        )


def read_samples(path: Path) -> Images:
    """Images arr_0 and labels arr_1, if they are there, of an npz.

    Raises:
        FileError: no such file. OSError: it cannot be read.
    """
    with reading(path):
        return _read_samples(path)


def _read_samples(path: Path) -> Images:
    names = members(path)
    if "arr_0" not in names or not set(names) <= {"arr_1"} | KINDS["ADM"]:  # a name that is damaged would drop labels
        raise FileError(f"has {some(names)}; wanted: arr_0, images uint8 [n, h, w, c], and arr_1, labels [n], alone")
    pixels = array(path, "arr_0", "u")
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or not len(pixels):
        raise FileError(f"arr_0 is {pixels.dtype} {list(pixels.shape)}; wanted: uint8 [n, h, w, c]")
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    check_shape(tuple(images.shape[1:]))
    if "arr_1" not in names:
        return Images(images)
    labels = array(path, "arr_1", "iu")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= CLASSES:
        raise FileError(f"arr_1 is {list(labels.shape)}; wanted: labels [{len(images)}] in 0..{CLASSES - 1}")
    return Images(images, torch.from_numpy(labels.astype(np.int64)))


def some(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def members(path: Path) -> Sequence[str]:
    """The names of an npz's arrays, none of which is larger than it may be.

    Raises:
        FileError: an array that unpacks to more than 16 GiB, or to more than 64 MiB and 100 times what it is packed in;
            arrays that share their bytes. Others: no npz.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len(entries) > 100:
        raise FileError(f"refused: {len(entries)} arrays, more than 100")
    for entry in entries:
        if entry.file_size > min(LARGEST, max(SMALL_ARCHIVE, RATIO * entry.compress_size)):
            raise FileError(
                f"refused: {shown(entry.filename)} unpacks from {entry.compress_size} to {entry.file_size} bytes"
            )
    if sum(entry.compress_size for entry in entries) > size:
        raise FileError("refused: truncated, or arrays that share their bytes")
    return sorted(entry.filename.removesuffix(".npy") for entry in entries)


def array(path: Path, name: str, kinds: str) -> np.ndarray:
    """An array of an npz, of one of numpy's kinds (f, i, u, U). Its header is read before its numbers; no pickle is.

    Raises:
        FileError: of another kind; more numbers announced than the file has. Others: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(f"{name}.npy").file_size
        with archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
    if dtype.kind not in kinds:
        raise FileError(f"{name} holds {clipped(str(dtype))}; wanted: numbers of kind {' or '.join(kinds)}")
    if not all(0 <= n <= size for n in shape) or dtype.itemsize * int(np.prod(shape, dtype=object)) > size:
        raise FileError(f"{name} announces {shown(tuple(shape))}, more than it holds")
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]
