"""Archives of images as StyleGAN and EDM use them: a zip of stored PNGs, and their labels.

    00000/img00000000.png, 00000/img00000001.png, ...    square, a power of two, all grey or all RGB
    dataset.json                                         {"labels": [["00000/img00000000.png", 3], ...]} or null;
                                                         ours may hold {"classes": ["cat", ...]} beside it

Nothing is unpacked to disk. Number, unpacked size and names of the members are checked before any of them is read, an
image's size before it is decoded.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Int64, UInt8

from images.formats.limits import LARGEST
from images.formats.messages import reading, said, shown
from theory.common.errors import FileError
from theory.common.files import replacing

MEMBERS = 10_000_000  # LSUN Bedroom has 3 million images
LARGEST_IMAGE = 64 << 20  # bytes; 1024x1024 RGB, stored, takes 3 MiB
A_LABEL, SOME_LABELS = 512, 1 << 16  # bytes of dataset.json for an image, and beside; ImageNet's takes 35 an image
RATIO = 100  # a larger member, or archive, of more than so many times its packed size is a bomb
SMALL, SMALL_ARCHIVE = 1 << 20, 64 << 20  # bytes; below them no ratio is looked at
CLASSES = LARGEST["classes"]
MODES = {"L": 1, "RGB": 3}  # Pillow's names -> channels
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's first date: the bytes depend on the images alone
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
BROKEN_IMAGE = (
    OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error,
    PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning,
)  # fmt: skip
warnings.filterwarnings("error", category=PIL.Image.DecompressionBombWarning)  # else Pillow prints it and goes on


class Archive:
    """The images of a zip, in the order of their names; each is decoded when it is read.

    Attributes:
        names: of the images; labels: int64 [n] or None; classes: the labels' names or None; shape: (channels, height,
            width) of every image.

    Raises:
        FileError: no such archive, or a dangerous one; labels that do not fit the images. The first image is decoded;
            the others are checked as they are read.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path):
        self.path, self.process = path, os.getpid()
        with reading(path):
            self.zip = zipfile.ZipFile(path)
            entries = self.zip.infolist()
            check_entries(entries, path.stat().st_size)
            self.names = sorted(entry.filename for entry in entries if entry.filename.endswith(".png"))
            self.labels, self.classes = read_labels(self.zip, self.names)
            self.shape = decode(self.zip.read(self.names[0]), self.names[0]).shape
            check_shape(self.shape)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> UInt8[np.ndarray, "c h w"]:
        """One image.

        Raises:
            FileError: it is damaged, or of another size or kind than the first; names archive and image.
        """
        name = self.names[index]
        with reading(self.path):
            if self.process != os.getpid():  # a forked process shares the position in the file with its parent
                self.zip.fp, self.process = open(self.path, "rb"), os.getpid()  # noqa: SIM115
            try:
                return decode(self.zip.read(name), name, self.shape)
            except BROKEN_ZIP as error:
                raise FileError(f"{shown(name)} is damaged ({said(error)})") from None


def check_name(name: str) -> None:
    """FileError where a member's name would lead out of the directory it is unpacked in."""
    if name.startswith("/") or "\\" in name or ":" in name.split("/")[0] or ".." in PurePosixPath(name).parts:
        raise FileError(f"refused: the name {shown(name)} leads out of the archive")


def check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Looks at a zip's directory alone; size is the archive's, in bytes.

    Raises:
        FileError: too many members, too large ones, names that lead out, links, encryption, names given twice, files
            that are no part of the format, no image.
    """
    if len(entries) > MEMBERS:
        raise FileError(f"refused: {len(entries)} members, more than {MEMBERS}")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        check_name(name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise FileError(f"refused: {shown(name)} is a symbolic link")
        if entry.flag_bits & 1:
            raise FileError(f"{shown(name)} is encrypted")
        if name in seen:
            raise FileError(f"refused: two members are called {shown(name)}")
        seen.add(name)
        if not name.endswith((".png", "/")) and name != "dataset.json":
            raise FileError(f"{shown(name)} is no part of a dataset, which has PNGs and dataset.json alone")
        largest = SOME_LABELS + A_LABEL * len(entries) if name == "dataset.json" else LARGEST_IMAGE
        if entry.file_size > min(largest, max(SMALL, RATIO * entry.compress_size)):
            raise FileError(f"refused: {shown(name)} unpacks from {entry.compress_size} to {entry.file_size} bytes")
    total = sum(entry.file_size for entry in entries)
    if total > max(SMALL_ARCHIVE, RATIO * size):
        raise FileError(f"refused: {size} bytes unpack to {total}")
    if sum(entry.compress_size for entry in entries) > size:
        raise FileError("refused: truncated, or members that share their bytes")
    if not any(name.endswith(".png") for name in seen):
        raise FileError("no PNG in it")


def read_labels(
    archive: zipfile.ZipFile, names: Sequence[str]
) -> tuple[Int64[np.ndarray, " n"] | None, list[str] | None]:
    """The labels of the images of these names, and the names of the classes; None if dataset.json has none.

    Raises:
        FileError: dataset.json is malformed; an image without a label or with two, a label without an image, or
            outside 0..99,999.
    """
    if "dataset.json" not in archive.namelist():
        return None, None
    try:
        content: Any = json.loads(archive.read("dataset.json"))
        pairs = content["labels"]
        found = None if pairs is None else dict(pairs)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        wanted = 'wanted: {"labels": [[name, class], ...]}'
        raise FileError(f"dataset.json is malformed ({said(error)[:80]}); {wanted}") from None
    if found is None:
        return None, None
    if len(found) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise FileError(f"dataset.json lists {shown(twice)} twice")
    wrong = next((name for name, label in found.items() if type(label) is not int or not 0 <= label < CLASSES), None)
    if wrong is not None:
        raise FileError(f"dataset.json: the label of {shown(wrong)} is {shown(found[wrong])}, not 0..{CLASSES - 1}")
    for missing, what in (
        (set(names) - set(found), "no label for"),
        (set(found) - set(names), "a label, but no image,"),
    ):
        if missing:
            raise FileError(f"dataset.json: {what} {shown(min(missing, key=str))} and {len(missing) - 1} more")
    labels = np.array([found[name] for name in names], np.int64)
    classes = content.get("classes")
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes) and len(classes) > labels.max()
    return labels, classes if named else None


def decode(data: bytes, name: str, shape: tuple[int, ...] | None = None) -> UInt8[np.ndarray, "c h w"]:
    """The pixels of a PNG, grey or RGB with 8 bits a channel; its size is compared with `shape` before it is decoded.

    Raises:
        FileError: it is none, or of another shape; names it.
    """
    try:
        if len(data) > 24 and max(sides := struct.unpack(">II", data[16:24])) > LARGEST["resolution"]:  # of IHDR
            raise FileError(f"{shown(name)} is {sides[1]}x{sides[0]}, more than {LARGEST['resolution']}")
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            given = (MODES.get(image.mode, 0), image.height, image.width)
            if not given[0]:
                raise FileError(f"{shown(name)} is of kind {image.mode}; wanted: L (grey) or RGB, 8 bits a channel")
            if shape is not None and given != tuple(shape):
                raise FileError(f"{shown(name)} is {list(given)} (channels, height, width), others are {list(shape)}")
            return planes(np.asarray(image))
    except FileError:
        raise
    except BROKEN_IMAGE as error:
        raise FileError(f"{shown(name)} is not a readable PNG ({said_of(error)})") from None


def said_of(error: BaseException) -> str:
    """Pillow's message in one line, without addresses of objects."""
    return "not recognised" if isinstance(error, PIL.UnidentifiedImageError) else said(error)


def planes(pixels: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "_ h w"]:
    """Channels first."""
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def encode(pixels: UInt8[np.ndarray, "c h w"]) -> bytes:
    """A PNG without compression, as EDM writes it: quick to read, and the same bytes wherever it is made."""
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    image.save(buffer, "PNG", compress_level=0, optimize=False)
    return buffer.getvalue()


def check_shape(shape: tuple[int, ...]) -> None:
    """FileError unless (channels, height, width) is what an archive holds."""
    channels, height, width = shape
    if channels not in MODES.values() or height != width or height & (height - 1) or height > LARGEST["resolution"]:
        raise FileError(
            f"images must be [1 or 3, s, s], s a power of two up to {LARGEST['resolution']}; given {list(shape)}"
        )


def write(
    path: Path, items: Iterable[tuple[UInt8[np.ndarray, "c h w"], int | None]], classes: Sequence[str] | None = None
) -> int:
    """Writes images with labels, all or none labelled; returns their number. The same items give the same bytes.

    Args:
        classes: the labels' names, which dataset.json keeps.

    Raises:
        FileError: an image of another shape than the first, of no good shape, a label out of range or missing; none.
        OSError: `path` cannot be written, and is as it was.
    """
    labels: list[tuple[str, int | None]] = []
    first: tuple[int, ...] | None = None
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for n, (pixels, label) in enumerate(items):
            first = first or pixels.shape
            check_shape(pixels.shape)
            if pixels.shape != first or pixels.dtype != np.uint8:
                raise FileError(f"image {n} is {pixels.dtype} {list(pixels.shape)}, the first is uint8 {list(first)}")
            if label is not None and not 0 <= label < CLASSES:
                raise FileError(f"the label of image {n} is {label}, not 0..{CLASSES - 1}")
            name = f"{n // 1000:05d}/img{n:08d}.png"
            add(archive, name, encode(pixels))
            labels.append((name, label))
        if not labels:
            raise FileError("no images")
        unlabelled = sum(label is None for _, label in labels)
        if unlabelled not in (0, len(labels)):
            raise FileError(f"{unlabelled} of {len(labels)} images have no label; wanted: all or none")
        content: dict[str, Any] = {"labels": None if unlabelled else labels}
        if classes and not unlabelled:
            content["classes"] = list(classes)
        add(archive, "dataset.json", json.dumps(content).encode())
    return len(labels)


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16  # else those of this machine
    archive.writestr(info, data)
