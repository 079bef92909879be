"""Damage to files, drawn from a seed: to their bytes, and to the values in those that can be read.

Damage to bytes is what disks, transfers and kills do. Damage to values is what an editor, another program or another
version does: the file is well formed, its checksums may even be right, and what it says cannot be meant.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import random
import zipfile
from collections.abc import Callable
from typing import Any

import torch

NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, 1e39, -1e39, -5, 0, 10**400, 2**70, 40.0, 0.5, True, False]
OTHERS: list[Any] = [None, "", "ring", "x" * 5000, "../../x", "\x1b[2J\n\0", [], {}, [[[[1]]]], {"a": {"a": 1}}]
DEEP = 100_000  # brackets, more than any parser takes
CELLS = ["", "nan", "inf", "-inf", "1e39", "-5", "true", "40.0", "x", "x" * 5000, '"', "\0", "1e999", "é", "[1]", "  "]


# ---- bytes


def broken(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes put in, cut out, swapped, zeroed or appended, the end cut off."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        size = len(made)
        at, length = rng.randrange(size + 1), rng.choice((1, 2, 16, 1 + size // 10))
        match rng.randrange(9):
            case 0 | 1 | 2:
                for _ in range(rng.choice((1, 1, 8))):
                    if size:
                        made[rng.randrange(size)] ^= 1 << rng.randrange(8)
            case 3:
                del made[at:]
            case 4:
                made[at:at] = rng.randbytes(length)
            case 5:
                del made[at : at + length]
            case 6:
                made += rng.choice((rng.randbytes(length), bytes(length), b"\n", bytes(made[:length])))
            case 7:
                made[at : at + length] = bytes(len(made[at : at + length]))
            case 8:
                to = rng.randrange(size + 1)
                first, second = made[at : at + length], made[to : to + length]
                made[at : at + len(second)], made[to : to + len(first)] = second, first
    return bytes(made)


# ---- values

Place = tuple[Any, Any]  # a container, and a key or index in it


def changed(value: Any, rng: random.Random) -> Any:
    """A copy of a nested value with a place or two of it changed, dropped, doubled, added to or swapped."""
    made = {"all": mutable(value)}
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = [place for place in places_of(made) if place[0] is not made] or places_of(made)
        where, key = rng.choice(places)
        match rng.randrange(8):
            case 0 if isinstance(where, dict) and where is not made:
                del where[key]
            case 0 if isinstance(where, list):
                del where[key]
            case 1 if isinstance(where, dict) and where is not made:
                where[rng.choice(("more", "", 7, str(key) + "_"))] = copy.deepcopy(where[key])
            case 1 if isinstance(where, list):
                where.insert(key, copy.deepcopy(where[key]))
            case 2:
                other, at = rng.choice(places)
                where[key], other[at] = other[at], where[key]
            case _:
                where[key] = spoilt(where[key], rng)
    return frozen(made["all"])


def spoilt(value: Any, rng: random.Random) -> Any:
    """Another value in the place of this one, often one of nearly its kind."""
    if isinstance(value, torch.Tensor):
        return spoilt_tensor(value, rng)
    if isinstance(value, int | float) and rng.random() < 0.4:
        return rng.choice((float(value), str(value), -value, value + 1, [value], bool(value)))
    return copy.deepcopy(rng.choice(NUMBERS if rng.random() < 0.6 else OTHERS))


def spoilt_tensor(value: torch.Tensor, rng: random.Random) -> Any:
    """A tensor of another shape or type, with a number that is none, or no tensor."""
    flat = value.reshape(-1)
    numbers = flat.clone()
    if len(flat):
        wrong = rng.choice((math.nan, math.inf, -1e30, 0.0)) if value.is_floating_point() else 0
        numbers[rng.randrange(len(flat))] = wrong
    ways: list[Callable[[], Any]] = [
        lambda: numbers.view(value.shape),
        lambda: flat,
        lambda: flat[:1],
        lambda: flat[:-1],
        lambda: torch.cat([flat, flat]),
        lambda: value[None],
        lambda: value.double() if value.dtype != torch.float64 else value.float(),
        lambda: value.to(torch.int64),
        lambda: torch.zeros(()),
        lambda: torch.full_like(value, math.nan) if value.is_floating_point() else value,
        value.tolist,
        lambda: None,
        lambda: "tensor",
    ]
    return rng.choice(ways)()


class Tuple(list[Any]):
    """A tuple while it is changed."""


def mutable(value: Any) -> Any:
    """A deep copy whose tuples can be changed."""
    if isinstance(value, dict):
        made = copy.copy(value)
        made.update({key: mutable(part) for key, part in value.items()})
        return made
    if isinstance(value, list | tuple):
        return (Tuple if isinstance(value, tuple) else list)(map(mutable, value))
    return copy.deepcopy(value)


def frozen(value: Any) -> Any:
    """The same with tuples again."""
    if isinstance(value, dict):
        for key, part in value.items():
            value[key] = frozen(part)
        return value
    if isinstance(value, list):
        return tuple(map(frozen, value)) if isinstance(value, Tuple) else list(map(frozen, value))
    return value


def places_of(value: Any) -> list[Place]:
    """All places in a nested value."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places_of(value[key])]


# ---- what a reader meets


def json_broken(data: bytes, rng: random.Random) -> bytes:
    """A file of JSON with its bytes broken or its values changed; some that Python's own writer would not write."""
    kind = rng.random()
    if kind < 0.35:
        return broken(data, rng)
    text = json.dumps(changed(json.loads(data), rng))
    if kind < 0.85:
        return text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-16")))
    colons = [at for at, letter in enumerate(text) if letter == ":"]
    if not colons:
        return text.encode()
    at = rng.choice(colons)
    start = max(text.rfind("{", 0, at), text.rfind(", ", 0, at) + 1)
    name = text[start + 1 : at]
    ways = (
        text[: start + 1] + f"{name}: 1, " + text[start + 1 :],  # a name twice
        text[: at + 1] + "[" * DEEP + "]" * DEEP + ", " + name + text[at:],
        text[: at + 1] + " 1e999, " + text[at + 1 :],
        text[: at + 1] + " " + "9" * 5000 + text[at + 1 :],
        "\ufeff" + text,
        text.replace("null", "NULL").replace("true", "True"),
    )
    return rng.choice(ways).encode()


def csv_broken(data: bytes, rng: random.Random) -> bytes:
    """A table with its bytes broken, or a cell, row or column changed, dropped, doubled or moved."""
    if rng.random() < 0.35:
        return broken(data, rng)
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.choice((0, rng.randrange(len(rows))))
        column = rng.randrange(len(rows[at])) if rows[at] else 0
        match rng.randrange(7):
            case 0 | 1 | 2 if rows[at]:
                rows[at][column] = rng.choice(CELLS)
            case 3 if rows[at]:
                del rows[at][column]
            case 4:
                rows.insert(at, list(rows[at]))
            case 5:
                rows = [row[:column] + row[column + 1 :] for row in rows]
            case 6:
                rows.append(rows.pop(at))
    return "\n".join(",".join(row) for row in rows).encode() + b"\n" * rng.randrange(2)


def zip_broken(data: bytes, rng: random.Random) -> bytes:
    """A zip with its bytes broken; or with a member changed, dropped, renamed or doubled, and right check sums."""
    if rng.random() < 0.5:
        return broken(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        members = [(entry.filename, whole.read(entry)) for entry in whole.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    match rng.randrange(8):
        case 0:
            del members[at]
        case 1:
            members[at] = rng.choice((name + "x", "x" + name, "../x.png", "", "x" * 5000)), content
        case 2:
            other = rng.randrange(len(members))
            members[at], members[other] = (name, members[other][1]), (members[other][0], content)
        case _:
            inner = json_broken if name.endswith(".json") else broken
            members[at] = name, inner(content, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def tensors_broken(data: bytes, rng: random.Random) -> bytes:
    """A file of `write_tensors` with its bytes broken, or its values changed without its checksum."""
    if rng.random() < 0.5:
        return broken(data, rng)
    return saved(changed(torch.load(io.BytesIO(data), weights_only=True), rng))


def resealed(data: bytes, rng: random.Random) -> bytes:
    """The same with a checksum that is right: a file of another version of the program, or of another program."""
    from theory.common.files import checksum

    content = changed(torch.load(io.BytesIO(data), weights_only=True)["content"], rng)
    return saved({"sha256": checksum(content), "content": content})


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
