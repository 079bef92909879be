"""PyTorch's files read by the restricted machine of `pickles`: state dicts, and storages inside other pickles."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from images.formats import pickles
from images.formats.messages import shown
from images.formats.pickles import Build, Global, Inert
from theory.common.errors import FileError

RECORDS = 100_000  # of an archive; a state dict has one a tensor
SMALL_PICKLE = 1000  # operations; those around a storage have about 30
CHUNK = 1 << 20  # bytes that are read at once
DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")  # the pickle of that number


@dataclass
class Storage:
    """The numbers of one or more tensors, in a row; none before they are read, in files that hold them at the end."""

    dtype: torch.dtype
    count: int
    numbers: Tensor | None = None


def ordered(items: Iterable[Any] = ()) -> dict[Any, Any]:
    """A dictionary of pairs, its keys plain."""
    found: dict[Any, Any] = {}
    for key, value in items:
        pickles.put(found, [key], [value])
    return found


def scalar(dtype: Inert, data: bytes) -> float | int | bool:
    """A numpy number from its bytes."""
    formats = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i", "b1": "<?"}
    kind = pickles.of_type(pickles.of_type(dtype, Inert).arguments[0], str)
    return struct.unpack(formats[kind], pickles.of_type(data, bytes))[0]


def tensor(value: Any) -> Tensor:
    """The tensor that `rebuild_tensor` describes."""
    if not isinstance(value, Inert) or value.kind != "tensor":
        raise FileError(f"malformed: a tensor is wanted, {type(value).__name__} was found")
    storage, offset, size, stride = value.arguments
    return torch.as_strided(storage.numbers, size, stride, offset)


def real(value: Any) -> Any:
    """The value with the tensors in its containers, which `Reader` describes, made real."""
    if isinstance(value, Inert) and value.kind == "tensor":
        return tensor(value)
    if isinstance(value, dict):
        return {key: real(part) for key, part in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, Global):
        return type(value)(real(part) for part in value)
    return value


class Reader:
    """The storages and tensors of one file of so many bytes, and what is called in a pickle to build them.

    All storages together have at most the file's bytes, and so have all tensors: a small file cannot name a large
    storage 20,000 times.
    """

    def __init__(self, size: int):
        self.left = {"storages": size, "tensors": size}
        self.storages: dict[str, Storage] = {}
        self.builders: dict[str, Build] = {
            "collections.OrderedDict": ordered,
            "torch._utils._rebuild_tensor_v2": self.rebuild_tensor,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "easydict.EasyDict": ordered,
            "builtins.set": lambda *_: set(),
            "numpy.dtype": lambda *arguments: Inert("dtype", arguments),
            "numpy.core.multiarray.scalar": scalar,
            "numpy._core.multiarray.scalar": scalar,
            "_codecs.encode": pickles.latin,
            **{name: lambda *_: Inert("storage class") for name in DTYPES},
        }

    def spend(self, what: str, size: int) -> None:
        """FileError when storages or tensors have more bytes than the file."""
        self.left[what] -= size
        if self.left[what] < 0:
            raise FileError(f"refused: the {what} that it names have more bytes than the file")

    def storage(self, reference: Any) -> Storage:
        """The storage, to be filled, of a persistent id ("storage", class, key, device, count, ...)."""
        _, kind, key, _, count, *_ = pickles.of_type(reference, tuple)
        if pickles.of_type(count, int) < 0:
            raise ValueError("negative size")
        new = Storage(DTYPES[str(pickles.of_type(kind, Global))], count)
        found = self.storages.setdefault(pickles.of_type(key, str), new)
        if found is new:
            self.spend("storages", count * new.dtype.itemsize)
        if (found.dtype, found.count) != (new.dtype, new.count):
            raise FileError(f"malformed: the storage {shown(key)} has two types or sizes")
        return found

    def rebuild_tensor(
        self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> Inert:
        """A tensor that becomes real in `tensor`, when all storages are read."""
        pickles.of_type(storage, Storage)
        for value in (offset, *pickles.of_type(size, tuple), *pickles.of_type(stride, tuple)):
            if pickles.of_type(value, int) < 0:
                raise ValueError("negative size")
        if len(size) != len(stride) or len(size) > 8:
            raise ValueError("size and stride disagree")
        end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
        if max(end, offset + math.prod(size)) > storage.count:
            raise FileError(
                f"malformed: a tensor of {shown(math.prod(size))} numbers up to {shown(end)} in a storage of "
                f"{shown(storage.count)}"
            )
        self.spend("tensors", math.prod(size) * storage.dtype.itemsize)
        return Inert("tensor", (storage, offset, size, stride))

    def load_from_bytes(self, data: bytes) -> Storage:
        """The storage in a pickle's bytes, themselves a PyTorch file in the legacy format: a pickle in a pickle.

        Raises:
            FileError: as `read_legacy`, said of the inner pickle.
        """
        self.spend("storages", len(pickles.of_type(data, bytes)))
        try:
            inner = Reader(len(data))
            found = described_by_legacy(BytesIO(data), len(data), inner, SMALL_PICKLE)
            return pickles.of_type(found, Storage)
        except FileError as error:
            raise FileError(f"in the bytes of a storage: {error}") from None


def read_legacy(path: Path) -> Any:
    """What torch.save(..., _use_new_zipfile_serialization=False) wrote.

    Raises:
        FileError: as `pickles.read`; it is no such file; storages or tensors that are larger than the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        return real(described_by_legacy(file, size, Reader(size)))


def described_by_legacy(file: BinaryIO, size: int, reader: Reader, operations: int | None = None) -> Any:
    """The content of such a file, its tensors as descriptions.

    Four pickles (magic number, protocol, the machine, the object), the list of storages' keys, then each storage as
    an 8-byte count and its numbers.
    """

    def pickle(builders: dict[str, Build], persistent: Callable[[Any], Storage] | None = None) -> Any:
        return pickles.read(file, size, builders, persistent, operations)

    magic, _, machine = (pickle({}) for _ in range(3))
    if magic != LEGACY_MAGIC or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise FileError("malformed: not PyTorch's legacy format, little-endian")
    found = pickle(reader.builders, reader.storage)
    bounded = pickles.Bounded(file, size)
    for key in pickles.of_type(pickle({}), list):
        storage = reader.storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.numbers is not None or struct.unpack("<q", bounded.read(8)) != (storage.count,):
            raise FileError("malformed: a storage that the pickle does not announce so")
        data = bytearray(bounded.read(storage.count * storage.dtype.itemsize))
        storage.numbers = torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)
    if any(storage.numbers is None for storage in reader.storages.values()):
        raise FileError("truncated: storages are missing")
    return found


def read_zip(path: Path) -> Any:
    """What torch.save wrote, every record compared with its check sum.

    Raises:
        FileError: as `pickles.read`; a damaged or compressed archive; storages or tensors that are larger than it.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            check_records(archive.infolist(), size)
            inside = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
            if len(inside) != 1 or any(name.endswith("constants.pkl") for name in entries):
                raise FileError("a zip archive, but not of tensors: no data.pkl (or TorchScript, which holds code)")
            root, reader = inside[0].removesuffix("data.pkl"), Reader(size)
            if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
                raise FileError("its numbers are not little-endian")
            data = archive.read(inside[0])
            found = pickles.read(BytesIO(data), len(data), reader.builders, reader.storage)
            for key, storage in reader.storages.items():
                entry = entries.get(f"{root}data/{key}")
                if entry is None or entry.file_size != storage.count * storage.dtype.itemsize:
                    raise FileError(f"malformed: the record of storage {shown(key)} is missing or of another length")
                storage.numbers = numbers(archive, entry, storage.dtype)
            return real(found)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FileError(f"truncated or damaged archive ({error})") from None


def check_records(entries: list[zipfile.ZipInfo], size: int) -> None:
    """FileError unless the records are stored, each under a name of its own, and no larger than the file together."""
    if len(entries) > RECORDS:
        raise FileError(f"refused: {len(entries)} records, more than {RECORDS}")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries):
        raise FileError("refused: compressed records, which PyTorch does not write")
    if sum(entry.file_size for entry in entries) > size:
        raise FileError("refused: truncated, or records that share their bytes")
    if len({entry.filename for entry in entries}) < len(entries):
        raise FileError("refused: two records of one name")


def numbers(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
    """A record's numbers; its end is read too, where zipfile compares the check sum."""
    data = torch.empty(entry.file_size, dtype=torch.uint8)
    array, at = data.numpy(), 0
    with archive.open(entry) as file:
        while part := file.read(CHUNK):
            array[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
    if at != len(data):
        raise FileError(f"truncated: the record {shown(entry.filename)}")
    return data.view(dtype)
