"""Sources of images: scikit-learn's digits and photographs, folders, CIFAR10's archives, other datasets' zips."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from images.datasets import cifar10
from images.datasets.archive import BROKEN_IMAGE, LARGEST_IMAGE, MEMBERS, Archive, planes, said_of
from theory.common.errors import FileError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
PIXELS = 64 << 20  # a photograph of more is refused before it is decoded
COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's modes of 8 bits a channel
CROP, STRIDE = 32, 16
HELD_OUT = 5  # every fifth digit is kept for the test split
Item = tuple[np.ndarray, int | None]
A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Source:
    """Images uint8 [c, h, w] with their labels, or None; `notes` are printed when all were read."""

    count: int
    items: Iterator[Item]
    notes: list[str] = field(default_factory=list)


def digits(split: str) -> Source:
    """scikit-learn's digits, 1797 real images [1, 8, 8] of ten classes: 0..16 scaled to 0..255.

    train holds 1438 of them, test every fifth, all both in their own order.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)[:, None]
    held = np.arange(len(pixels)) % HELD_OUT == HELD_OUT - 1
    chosen = np.flatnonzero({"train": ~held, "test": held, "all": held | ~held}[split])
    return Source(len(chosen), ((pixels[i], int(data.target[i])) for i in chosen))


def photos() -> Source:
    """Crops [3, 32, 32] of scikit-learn's two photographs, every 16 pixels; the label is 0 (china) or 1 (flower)."""
    from sklearn.datasets import load_sample_image

    crops = []
    for label, name in enumerate(("china.jpg", "flower.jpg")):
        photo = planes(np.asarray(load_sample_image(name)))
        _, height, width = photo.shape
        for top in range(0, height - CROP + 1, STRIDE):
            for left in range(0, width - CROP + 1, STRIDE):
                crops.append((photo[:, top : top + CROP, left : left + CROP], label))
    return Source(len(crops), iter(crops))


def cifar(path: Path, split: str) -> Source:
    """A split of either of CIFAR10's archives. Raises: as `cifar10.read`."""
    pixels, labels = cifar10.read(path, split)
    return Source(len(pixels), zip(pixels, labels.tolist(), strict=True))


def archive(path: Path, size: int | None) -> Source:
    """The images of a zip, centre-cropped and resized if a size is given. Raises: as `Archive`."""
    found = Archive(path)
    labels = [None] * len(found) if found.labels is None else found.labels.tolist()

    def items() -> Iterator[Item]:
        for i, label in enumerate(labels):
            pixels = found.read(i)
            if size is not None:
                image = PIL.Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
                pixels = planes(np.asarray(centre_crop(image, size)))
            yield pixels, label

    return Source(len(found), items())


def folder(path: Path, size: int | None, workers: int = 1) -> Source:
    """The images in a folder, all of them RGB, centre-cropped and resized if a size is given; the class is the sub
    folder, numbered in the order of their names.

    Raises:
        FileError: links, images beside the sub folders, none at all; while reading: an image that is damaged, too
            large, of more than 8 bits a channel. It names the file.
    """
    files, left_out = images_in(path)
    parents = [file.relative_to(path).parts[0] if len(file.relative_to(path).parts) > 1 else None for file in files]
    names = sorted({parent for parent in parents if parent is not None})
    if names and None in parents:
        stray = files[parents.index(None)]
        raise FileError(f"{stray}: no class; either every image lies in the sub folder of its class, or none does")
    classes = {name: i for i, name in enumerate(names)}
    labels = [None if parent is None else classes[parent] for parent in parents]
    source = Source(len(files), iter(()))
    if left_out:
        source.notes.append(
            f"{len(left_out)} files that are no images by their names were left out ({left_out[0]} ...)"
        )

    def items() -> Iterator[Item]:
        enlarged, first = 0, None
        images = in_order(lambda file: read_image(file, size), files, workers)
        for file, (pixels, small), label in zip(files, images, labels, strict=True):
            enlarged += small
            first = first or pixels.shape
            if pixels.shape != first:
                raise FileError(f"{file}: {list(pixels.shape)} (channels, height, width), the first is {list(first)}")
            yield pixels, label
        if enlarged:
            source.notes.append(f"{enlarged} images were smaller than {size}x{size} and were enlarged")

    source.items = items()
    return source


def images_in(path: Path) -> tuple[list[Path], list[Path]]:
    """The images below a folder, by name, and the other files; hidden ones are not looked at."""
    images: list[Path] = []
    others: list[Path] = []
    for parent, folders, files in os.walk(path, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *(file for file in files if not file.startswith("."))]:
            found = Path(parent) / name
            if found.is_symlink():
                raise FileError(f"{found}: refused: a symbolic link")
            if name not in folders:
                (images if found.suffix.lower() in SUFFIXES else others).append(found)
        if len(images) > MEMBERS:
            raise FileError(f"{path}: refused: more than {MEMBERS} images")
    if not images:
        raise FileError(f"{path}: no images in it ({', '.join(sorted(SUFFIXES))})")
    return sorted(images), sorted(others)


def fail(error: OSError) -> None:
    """Raises the error: os.walk skips folders that it cannot read unless this is its onerror."""
    raise error


def read_image(path: Path, size: int | None) -> tuple[UInt8[np.ndarray, "3 h w"], bool]:
    """An image in RGB, cropped and resized if a size is given, and whether it had to be enlarged.

    Raises:
        FileError: not a readable image; names it.
    """
    try:
        if path.stat().st_size > LARGEST_IMAGE:
            raise FileError(f"{path}: refused: more than {LARGEST_IMAGE >> 20} MiB")
        with PIL.Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise FileError(f"{path}: refused: {image.width}x{image.height} pixels")
            if image.mode not in COLOURS:
                raise FileError(f"{path}: of kind {image.mode}; wanted: 8 bits a channel")
            small = size is not None and min(image.size) < size
            colour = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
        return planes(np.asarray(colour if size is None else centre_crop(colour, size))), small
    except FileError:
        raise
    except BROKEN_IMAGE as error:
        raise FileError(f"{path}: not a readable image ({said_of(error)})") from None


def centre_crop(image: PIL.Image.Image, size: int) -> PIL.Image.Image:
    """The largest square about the middle, resized with Lanczos' filter: how EDM's ImageNet 64 was made."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), PIL.Image.Resampling.LANCZOS)


def in_order(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """map(function, items) on threads (Pillow releases the interpreter lock), a few items ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
