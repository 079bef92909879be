"""PyTorch's files read by the restricted machine of `pickles`: state dicts, and storages inside other pickles."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from images.formats import pickles
from images.formats.pickles import Build, Global, Inert
from theory.common.errors import FileError

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
    return dict(items)


def rebuild_tensor(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Inert:
    """A tensor that becomes real in `tensor`, when all storages are read."""
    pickles.of_type(storage, Storage)
    for value in (offset, *size, *stride):
        if pickles.of_type(value, int) < 0:
            raise ValueError("negative size")
    if len(size) != len(stride) or len(size) > 8:
        raise ValueError("size and stride disagree")
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if max(end, offset + math.prod(size)) > storage.count:
        raise FileError(f"malformed: a tensor of {math.prod(size)} numbers up to {end} in a storage of {storage.count}")
    return Inert("tensor", (storage, offset, size, stride))


def tensor(value: Any) -> Tensor:
    """The tensor that `rebuild_tensor` describes."""
    if not isinstance(value, Inert) or value.kind != "tensor":
        raise FileError(f"malformed: a tensor is wanted, {type(value).__name__} was found")
    storage, offset, size, stride = value.arguments
    return torch.as_strided(storage.numbers, size, stride, offset)


BUILDERS: dict[str, Build] = {
    "collections.OrderedDict": ordered,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    **{name: lambda *_: Inert("storage class") for name in DTYPES},
}


def storage_of(reference: Any) -> tuple[str, Storage]:
    """(key, the storage to be filled) of a persistent id ("storage", class, key, device, count, ...)."""
    _, kind, key, _, count, *_ = pickles.of_type(reference, tuple)
    if type(count) is not int or count < 0:
        raise ValueError("negative size")
    return str(key), Storage(DTYPES[str(pickles.of_type(kind, Global))], count)


def read_legacy(file: BinaryIO, size: int) -> Any:
    """What torch.save(..., _use_new_zipfile_serialization=False) wrote; tensors as `rebuild_tensor` leaves them.

    Four pickles (magic number, protocol, the machine, the object), the list of storages' keys, then each storage as
    an 8-byte count and its numbers.

    Raises:
        FileError: as `pickles.read`; it is no such file.
    """
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        key, storage = storage_of(reference)
        return storages.setdefault(key, storage)

    magic, _, machine = (pickles.read(file, size, {}) for _ in range(3))
    if magic != LEGACY_MAGIC or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise FileError("malformed: not PyTorch's legacy format, little-endian")
    found = pickles.read(file, size, BUILDERS, persistent)
    bounded = pickles.Bounded(file, size)
    for key in pickles.of_type(pickles.read(file, size, {}), list):
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or struct.unpack("<q", bounded.read(8)) != (storage.count,):
            raise FileError("malformed: a storage that the pickle does not announce so")
        data = bytearray(bounded.read(storage.count * storage.dtype.itemsize))
        storage.numbers = torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)
    if any(storage.numbers is None for storage in storages.values()):
        raise FileError("truncated: storages are missing")
    return found


def load_from_bytes(data: bytes) -> Storage:
    """The storage in a pickle's bytes, themselves a PyTorch file in the legacy format: a pickle in a pickle.

    Raises:
        FileError: as `read_legacy`, said of the inner pickle.
    """
    try:
        return pickles.of_type(read_legacy(BytesIO(pickles.of_type(data, bytes)), len(data)), Storage)
    except FileError as error:
        raise FileError(f"in the bytes of a storage: {error}") from None


def read_zip(path: Path) -> Any:
    """What torch.save wrote: read by torch.load(weights_only=True) once our machine found nothing else in it.

    Raises:
        FileError: as `pickles.read`; a damaged or compressed archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise FileError("refused: compressed records, which PyTorch does not write")
            inside = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if len(inside) != 1 or any(entry.filename.endswith("constants.pkl") for entry in entries):
                raise FileError("a zip archive, but not of tensors: no data.pkl (or TorchScript, which holds code)")
            if inside[0].file_size > path.stat().st_size:
                raise FileError("truncated: data.pkl is larger than the file")
            with archive.open(inside[0]) as file:
                pickles.read(BytesIO(file.read()), inside[0].file_size, BUILDERS, lambda ref: storage_of(ref)[1])
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FileError(f"truncated or damaged archive ({error})") from None
    except (RuntimeError, UnpicklingError) as error:  # torch's words for a damaged archive
        raise FileError(f"damaged archive ({str(error).splitlines()[0]})") from None
