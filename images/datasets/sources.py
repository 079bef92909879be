"""Sources of images: scikit-learn's digits and photographs, folders, LSUN's databases, archives of CIFAR10, the MNIST
family and others."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from images.datasets import cifar10, idx
from images.datasets.archive import BROKEN_IMAGE, LARGEST_IMAGE, MEMBERS, Archive, planes, said_of
from images.formats.messages import reading, shown
from theory.common.errors import FileError, UsageError

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
    """Images uint8 [c, h, w] with their labels, or None; `notes` and names of classes are printed when all were read.

    Attributes:
        count: of images, before bad ones are skipped.
        classes: the names of the labels 0, 1, ..., where they have names.
    """

    count: int
    items: Iterator[Item]
    notes: list[str] = field(default_factory=list)
    classes: list[str] | None = None


@dataclass(frozen=True)
class How:
    """How images of folders, databases and archives are read.

    Attributes:
        size: height and width after a centre crop; None: as they are.
        channels: 1 (grey) or 3; None, of archives: as they are.
        skip_bad: images that cannot be read are left out and listed, instead of ending it.
        workers: threads; the result does not depend on it.
    """

    size: int | None = None
    channels: int | None = 3
    skip_bad: bool = False
    workers: int = 1


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


def mnist(path: Path, split: str) -> Source:
    """A split of IDX files, each image amid zeros where its sides are no power of two. Raises: as `idx.read`."""
    pixels, labels = idx.read(path, split)
    _, _, height, width = pixels.shape
    side = 1 << (max(height, width) - 1).bit_length()
    top, left = (side - height) // 2, (side - width) // 2
    border = ((0, 0), (top, side - height - top), (left, side - width - left))
    source = Source(len(pixels), ((np.pad(x, border), int(label)) for x, label in zip(pixels, labels, strict=True)))
    if (height, width) != (side, side):
        source.notes.append(f"images of {height}x{width} lie in the middle of {side}x{side} pixels, the rest 0")
    return source


def archive(path: Path, how: How) -> Source:
    """The images of a zip, centre-cropped and resized if a size is given. Raises: as `Archive`."""
    found = Archive(path)
    labels = [None] * len(found) if found.labels is None else found.labels.tolist()

    def read(index: int) -> Decoded:
        pixels = found.read(index)
        image = PIL.Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        small = how.size is not None and min(image.size) < how.size
        return Decoded(
            fitted(image, how), small, False, len(pixels) == 1 and how.channels == 1, digest(pixels.tobytes())
        )

    source = Source(len(found), iter(()), classes=found.classes)
    names = [f"{path}: {name}" for name in found.names]
    source.items = decoded(source, names, labels, in_order(caught(read, how), range(len(found)), how.workers), how)
    return source


def folder(path: Path, how: How) -> Source:
    """The images in a folder, in RGB or grey; the class is the sub folder, numbered in the order of their names, or of
    the numbers that all of them are.

    Raises:
        FileError: links, images beside the sub folders, none at all; while reading: an image that is damaged, too
            large, of more than 8 bits a channel. It names the file.
    """
    files, left_out = images_in(path)
    parents = [file.relative_to(path).parts[0] if len(file.relative_to(path).parts) > 1 else None for file in files]
    names = in_numeric_order({parent for parent in parents if parent is not None})
    if names and None in parents:
        stray = files[parents.index(None)]
        raise FileError(f"{stray}: no class; either every image lies in the sub folder of its class, or none does")
    classes = {name: i for i, name in enumerate(names)}
    labels = [None if parent is None else classes[parent] for parent in parents]
    source = Source(len(files), iter(()), classes=names or None)
    if left_out:
        source.notes.append(
            f"{len(left_out)} files that are no images by their names were left out ({left_out[0]} ...)"
        )
    folders = {each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")}
    for empty in sorted(folders - classes.keys()):
        source.notes.append(f"the folder {shown(empty)} has no image, and is no class")
    if not names and (words := classes_in_names(files)):
        source.notes.append(
            f"no labels: names such as {shown(files[0].name)} seem to hold classes ({', '.join(words[:3])}, ...), "
            "which are read from sub folders only"
        )
    images = in_order(caught(lambda file: read_image(file, how), how), files, how.workers)
    source.items = decoded(source, [str(file) for file in files], labels, images, how)
    return source


def database(path: Path, how: How) -> Source:
    """The images of an LMDB, as LSUN's categories come: a folder with data.mdb, key -> encoded image. No labels.

    Raises:
        UsageError: the package lmdb is not there. FileError: no such database; while reading, as `folder`.
    """
    try:
        import lmdb  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        raise UsageError(
            f"{path} is an LMDB, as LSUN comes: pip install lmdb, which reads it, or give a folder of its images"
        ) from None
    with reading(path):
        entries = lmdb.open(str(path), readonly=True, lock=False, max_readers=1).begin(buffers=False)
        keys = [bytes(key) for key, _ in entries.cursor()]
    if not keys:
        raise FileError(f"{path}: no images in it")
    names = [f"{path}: {shown(key.decode('utf-8', 'replace'))}" for key in keys]

    def read(item: tuple[bytes, str]) -> Decoded:
        return read_bytes(entries.get(item[0]), item[1], how)

    source = Source(len(keys), iter(()))
    images = in_order(caught(read, how), zip(keys, names, strict=True), how.workers)
    source.items = decoded(source, names, [None] * len(keys), images, how)
    return source


class Decoded(NamedTuple):
    """An image, and what is noted of it: it was enlarged, has transparent pixels, is grey; a digest of its bytes."""

    pixels: UInt8[np.ndarray, "c h w"]
    enlarged: bool
    transparent: bool
    grey: bool
    digest: int


def caught(function: Callable[[A], B], how: How) -> Callable[[A], B | FileError]:
    """The function; with `skip_bad` it returns its FileError."""

    def safe(item: A) -> B | FileError:
        try:
            return function(item)
        except FileError as error:
            if not how.skip_bad:
                raise
            return error

    return safe


def decoded(
    source: Source, names: list[str], labels: list[int | None], images: Iterator[Decoded | FileError], how: How
) -> Iterator[Item]:
    """Images with labels; what is to be said of them goes to the source's notes.

    Raises:
        FileError: an image of another shape than the first.
    """
    seen: dict[int, int] = {}  # digest -> position
    examples: dict[str, str] = {}
    first, skipped, read = None, [], 0
    counts: Counter[str] = Counter()
    for at, (name, image, label) in enumerate(zip(names, images, labels, strict=True)):
        if isinstance(image, FileError):
            skipped.append(str(image))
            continue
        first, read = first or image.pixels.shape, read + 1
        if image.pixels.shape != first:
            raise FileError(f"{name}: {list(image.pixels.shape)} (channels, height, width), the first is {list(first)}")
        same = seen.setdefault(image.digest, at)
        kinds = {
            "enlarged": image.enlarged,
            "transparent": image.transparent,
            "grey": image.grey,
            "coloured": how.channels == 1 and not image.grey,
            "twice": same != at,
        }
        for kind in (kind for kind, holds in kinds.items() if holds):
            counts[kind] += 1
            if counts[kind] == 1:
                examples[kind] = f"{name} = {names[same]}" if kind == "twice" else name
        yield image.pixels, label
    source.notes += [f"skipped: {line}" for line in skipped]
    for kind, said in (
        ("enlarged", f"were smaller than {how.size}x{how.size} and were enlarged"),
        ("transparent", "have transparent pixels, whose hidden colours are now seen"),
        ("coloured", "were in colour, and were made grey"),
        ("twice", "are there twice"),
    ):
        if counts[kind]:
            source.notes.append(f"{counts[kind]} images {said} ({examples[kind]} ...)")
    if read and counts["grey"] == read and how.channels == 3:
        source.notes.append("all images are grey, and were made RGB: --channels 1 keeps them grey")


def in_numeric_order(names: Iterable[str]) -> list[str]:
    """0, 1, ..., 10, 11 where all names are numbers; else as strings."""
    found = sorted(names)
    return sorted(found, key=int) if all(name.isascii() and name.isdigit() for name in found) else found


def classes_in_names(files: list[Path]) -> list[str]:
    """What names such as cat_12.png and 12_cat.png seem to say: the words before or after a number, if there are at
    least two and fewer than half as many as files."""
    pattern = re.compile(r"([A-Za-z]+)[_ -]?\d+|\d+[_ -]([A-Za-z]+)")
    found = [pattern.fullmatch(file.stem) for file in files]
    words = sorted({match[1] or match[2] for match in found if match})
    return words if None not in found and 2 <= len(words) <= len(files) / 2 else []


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


def read_image(path: Path, how: How) -> Decoded:
    """An image of a file.

    Raises:
        FileError: as `read_bytes`.
    """
    if path.stat().st_size > LARGEST_IMAGE:
        raise FileError(f"{path}: refused: more than {LARGEST_IMAGE >> 20} MiB")
    return read_bytes(path.read_bytes(), str(path), how)


def read_bytes(data: bytes, name: str, how: How) -> Decoded:
    """An encoded image in RGB or grey, cropped and resized if a size is given.

    Raises:
        FileError: not a readable image; names it.
    """
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise FileError(f"{name}: refused: {image.width}x{image.height} pixels")
            if image.mode not in COLOURS:
                raise FileError(f"{name}: of kind {image.mode}; wanted: 8 bits a channel")
            small = how.size is not None and min(image.size) < how.size
            grey = image.mode in ("1", "L", "LA")
            full = image.convert("RGBA") if "transparency" in image.info else image
            transparent = "A" in full.getbands() and full.getchannel("A").getextrema()[0] == 0
            pixels = fitted(full, how)
        return Decoded(pixels, small, transparent, grey, digest(data))
    except FileError:
        raise
    except BROKEN_IMAGE as error:
        raise FileError(f"{name}: not a readable image ({said_of(error)})") from None


def digest(data: bytes) -> int:
    """64 bits: two of 3 million images share them by chance once in 4 million data sets."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def fitted(image: PIL.Image.Image, how: How) -> UInt8[np.ndarray, "c h w"]:
    """The pixels in the wanted channels and size."""
    if how.channels is not None:
        image = image.convert("L" if how.channels == 1 else "RGB")
    return planes(np.asarray(image if how.size is None else centre_crop(image, how.size)))


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
