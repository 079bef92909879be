"""CIFAR10's archives, cifar-10-binary.tar.gz and cifar-10-python.tar.gz, read without unpacking or running anything.

A record is a label and 3072 bytes: 32x32 red, then green, then blue. The binary version is records one after the
other; the python version is a pickle of Python 2 with all pixels in a numpy array and the labels in a list, and is read
by the restricted machine of `formats.pickles`, whose only names are those that build a numpy array.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
from jaxtyping import Int64, UInt8

from images.datasets.archive import check_name
from images.formats import pickles
from images.formats.messages import reading, shown
from images.formats.pickles import Build, Global, Inert
from theory.common.errors import FileError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
CLASSES = 10
UNPACKED = 256 << 20  # bytes; both archives unpack to less than 190 MB
BATCH = 40 << 20  # bytes of a batch, which takes 31 MB
MEMBERS = 100  # they have 8
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
BATCHES = {"train": TRAIN, "test": ("test_batch",), "all": (*TRAIN, "test_batch")}


def read(path: Path, split: str) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    """Images and labels of a split (train, test or all), in the order of the batches.

    Raises:
        FileError: neither of the archives, truncated, a pickle that names more than arrays, links, names that lead
            out, more than 256 MiB unpacked; names the archive and the file in it.
        OSError: it cannot be read.
    """
    with reading(path):
        files = batch_files(path, BATCHES[split])
        batches = []
        for name in BATCHES[split]:
            found = [(key, of) for key, of in ((f"{name}.bin", from_binary), (name, from_pickle)) if key in files]
            if not found:
                raise FileError(f"not CIFAR10: no {name} (python version) and no {name}.bin (binary version) in it")
            key, of = found[0]
            try:
                batches.append(of(files.pop(key)))
            except FileError as error:
                raise FileError(f"{key}: {error}") from None
    return np.concatenate([pixels for pixels, _ in batches]), np.concatenate([labels for _, labels in batches])


class Limited:
    """The unpacked bytes of a gzip file, up to a limit."""

    def __init__(self, file: gzip.GzipFile):
        self.file, self.left = file, UNPACKED

    def read(self, n: int) -> bytes:
        if n > self.left:
            raise FileError(f"refused: it unpacks to more than {UNPACKED >> 20} MiB")
        data = self.file.read(n)
        self.left -= len(data)
        return data


def batch_files(path: Path, batches: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of the archive's files that are called so, with or without .bin; nothing is written."""
    wanted = {name + ending for name in batches for ending in ("", ".bin")}
    files: dict[str, bytes] = {}
    with gzip.open(path) as unpacked, tarfile.open(fileobj=cast(BinaryIO, Limited(unpacked)), mode="r|") as archive:
        for n, member in enumerate(archive):
            name = PurePosixPath(member.name).name
            check_name(member.name)
            if n >= MEMBERS:
                raise FileError(f"refused: more than {MEMBERS} members")
            if not (member.isreg() or member.isdir()):
                raise FileError(f"refused: {shown(member.name)} is a link or a device")
            if member.isreg() and name in wanted:
                if name in files:
                    raise FileError(f"refused: two files are called {name}")
                if member.size > BATCH:
                    raise FileError(f"refused: {name} has more than {BATCH >> 20} MiB")
                file = archive.extractfile(member)
                files[name] = file.read() if file else b""
    return files


def from_binary(data: bytes) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    if not data or len(data) % (1 + PIXELS):
        raise FileError(f"{len(data)} bytes are no whole number of records of {1 + PIXELS} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)
    return checked(records[:, 1:], records[:, 0].tolist())


def from_pickle(data: bytes) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    found = pickles.read(io.BytesIO(data), len(data), BUILDERS)
    if not isinstance(found, dict) or not {"data", "labels"} <= found.keys():
        raise FileError("malformed: a dictionary with data and labels is wanted")
    return checked(array(found["data"]), found["labels"])


def checked(
    pixels: UInt8[np.ndarray, "n k"], labels: object
) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    """FileError unless each image has 3072 bytes and a label in 0..9."""
    if not isinstance(labels, list) or pixels.shape != (len(labels), PIXELS):
        count = len(labels) if isinstance(labels, list) else "no list of"
        raise FileError(f"pixels {list(pixels.shape)} and {count} labels; wanted: [n, {PIXELS}] and n")
    wrong = next((i for i, label in enumerate(labels) if type(label) is not int or not 0 <= label < CLASSES), None)
    if wrong is not None:
        raise FileError(f"the label of image {wrong} is {shown(labels[wrong])}, not 0..{CLASSES - 1}")
    return pixels.reshape(-1, *SHAPE), np.array(labels, np.int64)


def array(value: Any) -> UInt8[np.ndarray, "n k"]:
    """The array that numpy's pickle describes: (version, shape, type, column-major?, bytes)."""
    if not isinstance(value, Inert) or value.kind != "array" or not isinstance(value.state, tuple):
        raise FileError("malformed: data is no numpy array")
    if len(value.state) != 5:
        raise FileError("malformed: data is no numpy array")
    _, shape, kind, by_columns, raw = value.state
    data = raw.encode("latin-1") if isinstance(raw, str) else raw  # a str of Python 2 is bytes
    if not isinstance(kind, Inert) or kind.kind != "dtype" or kind.arguments[:1] not in (("u1",), ("|u1",), ("uint8",)):
        raise FileError("data is no array of uint8")
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != PIXELS or not isinstance(data, bytes):
        raise FileError(f"data has the shape {shown(shape)}; wanted: (n, {PIXELS})")
    if type(shape[0]) is not int or len(data) != shape[0] * PIXELS:
        raise FileError(f"truncated: an array of {shown(shape)} with {len(data)} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


def rebuild(kind: Global, *_: Any) -> Inert:
    if str(pickles.of_type(kind, Global)) != "numpy.ndarray":
        raise FileError(f"refused: an array of the class {kind}")
    return Inert("array")


def never(*_: Any) -> Any:
    raise FileError("refused: it calls numpy.ndarray, which arrays are not built by")


BUILDERS: Mapping[str, Build] = {
    "numpy.core.multiarray._reconstruct": rebuild,
    "numpy._core.multiarray._reconstruct": rebuild,
    "numpy.ndarray": never,
    "numpy.dtype": lambda *arguments: Inert("dtype", arguments),
    "_codecs.encode": pickles.latin,
}
