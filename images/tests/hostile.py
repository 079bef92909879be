"""Hostile files for every reader of images: valid ones, damaged by a seeded generator, and constructed bombs.

Run as a program, it reads such files by the commands that read them, and prints what became of each:

    python -m images.tests.hostile SEED FIRST LAST STEP DIR    files range(FIRST, LAST, STEP), in DIR; a JSON line each
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch

COUNT = 1500
SECONDS, MEMORY = 10, 1 << 30  # of a processor, and bytes, that a file may take
CANARY = "executed"  # the file that whatever is executed makes
COMMANDS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn", "socket.connect")


class Hostile(NamedTuple):
    name: str
    reader: str
    made: bytes | Callable[[], bytes]

    def data(self) -> bytes:
        return self.made if isinstance(self.made, bytes) else self.made()


# ---- valid files


class Code:
    """What a hostile pickle holds: a call of os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def saved(value: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return buffer.getvalue()


def image(side: int, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(side * side * 3, dtype=np.uint32).reshape(side, side, 3).astype(np.uint8)
    PIL.Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def arrays(**values: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@cache
def valid() -> dict[str, tuple[str, bytes]]:
    """name -> (reader, bytes) of small files, one of each format."""
    from images.bench.peers import randomise
    from images.denoisers.adm import ADM, ADMConfig
    from images.denoisers.precondition import EDMScore
    from images.denoisers.published import as_dict
    from images.denoisers.song import SongConfig, SongUNet
    from images.generators.families import networks_of
    from images.recipes import RECIPES
    from images.recipes import as_dict as recipe_dict
    from images.training.checkpoint import FORMAT
    from tests.image_files import Parameters, edm, edm_bytes, guided_diffusion, snapshot_bytes

    shape = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "label_dim": 2, "augment_dim": 9,
             "model_channels": 8, "channel_mult": [1, 1], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.1,
             "channel_mult_noise": 1, "embedding_type": "positional", "encoder_type": "standard",
             "resample_filter": [1, 1]}  # fmt: skip
    y, t = torch.zeros(1, 3, 8, 8), torch.ones(1)
    song = Parameters()
    edm(song, y, t, torch.eye(2)[:1], "SongUNet", shape)
    adm = Parameters()
    guided_diffusion(adm, y, t, None, width=32, multipliers=(1, 1), blocks=1, attention=(), heads=4, legacy=True,
                     out=6)  # fmt: skip
    ours = EDMScore(SongUNet(SongConfig(8, 1, 1, 8, (1,), blocks=1, attention=(), classes=0)))
    second = EDMScore(ADM(ADMConfig(8, 1, 1, 32, (1,), blocks=1, attention=(), classes=2, head_channels=32)))
    recipe = RECIPES["digits"]
    g, _ = networks_of(recipe)
    checkpoint = {"format": FORMAT, "recipe": recipe_dict(recipe), "trainer": {"average": g.state_dict()}}
    records = bytes([3]) + bytes(range(256)) * 12
    batch = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]}, 2)
    vp = {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5}
    digits = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 8, 8) + bytes(128)
    png, labels = image(8, "PNG"), b'{"labels": [["a.png", 0], ["b.png", 1]]}'
    rng = np.random.default_rng(0)
    return {
        "ours": ("scores", saved(as_dict(randomise(ours)))),  # type: ignore[arg-type]
        "ours-adm": ("scores", saved(as_dict(randomise(second)))),  # type: ignore[arg-type]
        "guided-diffusion": ("like", saved(dict(adm))),
        "legacy": ("like", saved(dict(adm), zipped=False)),
        "edm": ("scores", edm_bytes("SongUNet", song, shape)),
        "baseline": ("scores", edm_bytes("SongUNet", song, shape, "VPPrecond", vp)),
        "snapshot": ("other", snapshot_bytes({"mapping.weight": torch.zeros(2)})),
        "smart": ("other", saved({"models": {"generator_smooth": {"a": torch.zeros(2)}}})),
        "idx": ("idx", digits),
        "idx-gz": ("idx", gzip.compress(digits, mtime=0)),
        "checkpoint": ("sample", saved(checkpoint)),
        "archive": ("data", packed({"a.png": png, "b.png": png, "dataset.json": labels})),
        "deflated": ("data", packed({"a.png": png, "dataset.json": b'{"labels": null}'}, zipfile.ZIP_DEFLATED)),
        "cifar-binary": ("data", tarred({f"data_batch_{i}.bin": records for i in range(1, 6)})),
        "cifar-python": ("data", tarred({f"data_batch_{i}": batch for i in range(1, 6)})),
        "png": ("folder", image(16, "PNG", "P")),
        "jpeg": ("folder", image(16, "JPEG")),
        "webp": ("folder", image(16, "WEBP")),
        "bmp": ("folder", image(16, "BMP")),
        "reference": ("reference", arrays(mu=rng.normal(size=4), sigma=np.eye(4), features=np.array("digits"),
                                          count=np.array(5), resolution=np.array(8))),
        "adm-reference": ("reference", arrays(mu=rng.normal(size=4), sigma=np.eye(4), mu_s=np.zeros(3),
                                              sigma_s=np.eye(3), arr_0=np.zeros((2, 8, 8, 3), np.uint8))),
        "samples": ("samples", arrays(arr_0=np.zeros((2, 8, 8, 3), np.uint8), arr_1=np.array([0, 1]))),
    }  # fmt: skip


# ---- damage

EXTREME = [struct.pack(f, v) for f, v in (("<I", 2**31 - 1), ("<I", 2**32 - 1), ("<Q", 2**63 - 1), ("<Q", 2**64 - 1),
                                          ("<d", float("nan")), ("<d", float("inf")), ("<d", 1e300), ("<I", 0),
                                          (">I", 2**31), (">I", 65535))]  # fmt: skip
PIECES = [b"\x8f", b"(", b"t", b"e", b"u", b"\x85", b"\x86", b"\x87", b"h\x00", b"h\x01", b"h\x05", b"N", b"}", b"]",
          b")", b"R", b"b", b"Q", b"\x93", b"\x81", b"0", b".", b"\x8a\xff" + b"\x7f" * 255, b"K\x00", b"K\xff",
          b"J\xff\xff\xff\xff", b"cos\nsystem\n", b"\x8c\x02os", b"-1", b"1e999", b"NaN", b"9" * 40, b"[", b"{",
          b"../" * 5, b"\x00" * 16, b"\xff" * 16]  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, numbers made extreme, parts cut, copied, moved, or put in."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = max(1, len(made))
        # Headers, directories and pickles lie at the ends; what is between are mostly numbers
        at = rng.choice((rng.randrange(size), rng.randrange(min(size, 400)), size - 1 - rng.randrange(min(size, 400))))
        length = rng.choice((1, 4, 30, size // 8))
        way = rng.randrange(8)
        if way < 2 and made:
            made[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            new = rng.choice(EXTREME)
            made[at : at + len(new)] = new
        elif way == 3:
            new = rng.choice(PIECES)
            made[at : at + rng.choice((0, len(new)))] = new
        elif way == 4:
            del made[at : at + length]
        elif way == 5:
            made[at:at] = made[at : at + length] * rng.choice((1, 1, 50))
        elif way == 6:
            to = rng.randrange(size)
            made[to : to + length] = made[at : at + length]
        else:
            del made[at:]
        if len(made) > 4 << 20:
            del made[4 << 20 :]
    return bytes(made)


def repacked(data: bytes, rng: random.Random) -> bytes:
    """A zip or gzip with damage in what is packed, and right check sums around it."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.compress(damaged(gzip.decompress(data), rng), 1, mtime=0)
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        compression = whole.infolist()[0].compress_type
        members = {name: whole.read(name) for name in whole.namelist()}
    weights = [20 if name.endswith(("data.pkl", ".json", ".npy")) else 1 for name in members]
    name = rng.choices(list(members), weights)[0]
    if rng.random() < 0.1:
        members[rng.choice([name + "x", "../x.png", "x" * 60_000, "/"])] = members.pop(name)
    else:
        members[name] = damaged(members[name], rng)
    return packed(members, compression)


# ---- bombs


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def doubled(times: int, first: bytes = b")") -> bytes:
    """A tuple of a tuple twice, of a tuple twice, ...: 2^times paths."""
    made = first + b"r\x00\x01\x00\x00"
    for i in range(times):
        made += b"0" + 2 * (b"j" + struct.pack("<I", 256 + i)) + b"\x86r" + struct.pack("<I", 257 + i)
    return made


def number(bits: int) -> bytes:
    """2^bits as a pickled number."""
    data = (1 << bits).to_bytes(bits // 8 + 2, "little")
    return b"\x8b" + struct.pack("<i", len(data)) + data


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def dictionary(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def whole(n: int) -> bytes:
    return b"J" + struct.pack("<i", n)


def rebuilt(storage: bytes, size: bytes, stride: bytes, offset: bytes = b"K\x00") -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(storage, offset, size, stride, b"\x89", b"}") + b"R"


def stored(key: bytes, count: bytes) -> bytes:
    return tuple_of(text("storage"), b"ctorch\nFloatStorage\n", key, text("cpu"), count) + b"Q"


def checkpoint(pickled: bytes, numbers: bytes = b"") -> bytes:
    """A file as torch.save writes it, around a pickle of ours."""
    return packed({"a/data.pkl": b"\x80\x02" + pickled + b".", "a/byteorder": b"little", "a/data/0": numbers})


def score(**fields: bytes) -> bytes:
    """A file of our own format with these fields in its configuration, or beside it."""
    usual = {"resolution": whole(8), "channels_in": b"K\x01", "channels_out": b"K\x01", "width": whole(8),
             "multipliers": tuple_of(b"K\x01"), "blocks": b"K\x01", "attention": b")", "classes": b"K\x00"}  # fmt: skip
    outer = {"network": text("SongUNet"), "preconditioning": dictionary(sigma_data=b"G?\xe0" + bytes(6)), "state": b"}"}
    config = dictionary(**(usual | {name: value for name, value in fields.items() if name not in outer}))
    outer |= {name: value for name, value in fields.items() if name in outer}
    return checkpoint(dictionary(format=text("smart-verified score 1"), config=config, **outer))


def trained(recipe: bytes) -> bytes:
    """A checkpoint of images.train with this recipe."""
    from images.training.checkpoint import FORMAT

    return checkpoint(dictionary(format=text(FORMAT), recipe=recipe, trainer=dictionary(average=b"}")))


def persistent(kind: str, state: bytes) -> bytes:
    meta = dictionary(type=text("class"), class_name=text(kind), state=state, module_src=text("import os"))
    return b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + tuple_of(meta) + b"R"


def network(options: bytes, kind: str = "SongUNet", **more: bytes) -> bytes:
    """An EDM pickle."""
    inner = dictionary(_modules=b"}", _parameters=b"}", _buffers=b"}", _init_args=b")", _init_kwargs=options)
    state = {"sigma_data": b"G?\xe0" + bytes(6), "_modules": dictionary(model=persistent(kind, inner))}
    return b"\x80\x02" + dictionary(ema=persistent("EDMPrecond", dictionary(**(state | more)))) + b"."


def blank(width: int, height: int, kind: str = "PNG", mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def announced(width: int, height: int) -> bytes:
    """A PNG of 8 x 8 pixels whose header says otherwise."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    good = image(8, "PNG")
    return good[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + good[33:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG with another chunk in it."""
    good = image(8, "PNG")
    made = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return good[:33] + made + good[33:]


def shared(data: bytes, count: int, name: Callable[[int], str]) -> bytes:
    """A zip whose directory names one member `count` times."""
    one = packed({name(0): data})
    with zipfile.ZipFile(io.BytesIO(one)) as made:
        at = made.start_dir
    entry, size = one[at:-22], len(one) - 22 - at
    length = len(name(0))
    entries = b"".join(entry[:46] + name(i).encode() + entry[46 + length :] for i in range(count))
    assert len(entries) == count * size
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, min(count, 65535), min(count, 65535), len(entries), at, 0)
    return one[:at] + entries + end


def header(shape: str, kind: str = "<f8", data: bytes = b"") -> bytes:
    """An npy file."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def made_of_zeros(make: Callable[[bytes], bytes], size: int) -> bytes:
    return make(bytes(size))


def tiles() -> bytes:
    tile = blank(1024, 1024, mode="RGB")
    return packed({f"{i:04d}.png": tile for i in range(600)})


def idx_bomb(shape: tuple[int, ...]) -> bytes:
    return gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, *shape) + bytes(200 << 20), 1)


def with_text(kind: str) -> bytes:
    """A PNG with 100 MiB of text or profile."""
    return chunk(kind.encode(), b"a\0\0" + b"\0\0\0" * (kind == "iTXt") + zlib.compress(bytes(100 << 20), 1))


def bombs() -> Iterator[Hostile]:
    """Files made to execute, hang, take memory or print without end."""
    legacy = saved({"a": Code()}, zipped=False)
    codes: dict[str, object] = {"code": Code(), "code in a dictionary": {"format": Code()}, "code in a list": [Code()]}
    for name, code in codes.items():
        yield Hostile(name, "scores", pickle.dumps(code))
        yield Hostile(f"{name}, zip", "scores", saved(code))
        yield Hostile(f"{name}, zip", "sample", saved(code))
        yield Hostile(f"{name}, legacy", "scores", saved(code, zipped=False))
        yield Hostile(f"{name}, CIFAR10", "data", tarred({f"data_batch_{i}": pickle.dumps(code) for i in range(1, 6)}))
    buffer = io.BytesIO()
    np.save(buffer, np.array([Code()], object), allow_pickle=True)
    yield Hostile("code in an array", "samples", packed({"arr_0.npy": buffer.getvalue()}))
    inner = b"ctorch.storage\n_load_from_bytes\n" + tuple_of(b"B" + struct.pack("<I", len(legacy)) + legacy) + b"R"
    yield Hostile("code in a storage", "scores", b"\x80\x02" + inner + b".")

    twice, deep, long, big = doubled(60), b")" + 100_000 * b"\x85", text("x" * 1_000_000), number(1_000_000)
    values = {"doubled": twice, "deep": deep, "long": long, "big": big, "negative": whole(-5), "none": b"N",
              "bytes": b"B\x40\x42\x0f\x00" + bytes(1_000_000), "mapping": b"}", "not finite": b"G\x7f\xf8" + bytes(6),
              "controls": text("\x1b[2J\n" * 50), "large": whole(2**31 - 1), "true": b"\x88",
              "self": b"]q\x00h\x00a", "many": tuple_of(*[b"K\x01"] * 200_000)}  # fmt: skip
    places = ("resolution", "width", "multipliers", "attention", "blocks", "classes", "channels_in", "dropout",
              "embedding", "taps", "least_group", "network", "preconditioning", "state", "unheard")  # fmt: skip
    edm_places = ("model_channels", "channel_mult", "img_resolution", "resample_filter", "label_dim",
                  "attn_resolutions", "encoder_type", "unheard")  # fmt: skip
    for said, value in values.items():
        for place in places:
            yield Hostile(f"{said} as {place}", "scores", score(**{place: value}))
        for place in edm_places:
            options = {"img_resolution": whole(8), "in_channels": b"K\x03", "out_channels": b"K\x03"} | {place: value}
            yield Hostile(f"{said} as EDM's {place}", "scores", network(dictionary(**options)))
        yield Hostile(f"{said} as EDM's sigma_data", "scores", network(b"}", sigma_data=value))
        yield Hostile(f"{said} as EDM's modules", "scores", network(b"}", _modules=value))
        one, pairs = stored(text("0"), b"K\x01"), tuple_of(b"]" + value + b"N\x86a")
        for place, pickled, numbers in (
            ("a key", b"}" + value + b"Ns", b""),
            ("a key in pairs", b"ccollections\nOrderedDict\n" + pairs + b"R", b""),
            ("all", value, b""),
            ("a storage's key", stored(value, b"K\x01"), bytes(4)),
            ("a storage's count", stored(text("0"), value), bytes(4)),
            ("a size", dictionary(a=rebuilt(one, value, value)), bytes(4)),
        ):
            yield Hostile(f"{said} as {place}", "scores", checkpoint(pickled, numbers))
        yield Hostile(f"{said} as a recipe", "sample", trained(value))
        for field in ("width", "resolution", "generator", "recipe", "latent", "batch"):
            yield Hostile(f"{said} as a recipe's {field}", "sample", trained(dictionary(**{field: value})))
        pickled = b"\x80\x02" + dictionary(data=value, labels=value) + b"."
        yield Hostile(f"{said} as CIFAR10's data", "data", tarred({f"data_batch_{i}": pickled for i in range(1, 6)}))

    one = bytes(1 << 20)
    twenty = b"".join(stored(text("0"), whole(1 << 18)) + b"0" for _ in range(20_000))
    yield Hostile("a storage named 20,000 times", "scores", checkpoint(twenty + b"N", one))
    tensor = rebuilt(stored(text("0"), whole(1 << 18)), tuple_of(whole(1 << 18)), tuple_of(b"K\x01"))
    named = b"}(" + b"".join(text(f"t{i}") + tensor for i in range(20_000)) + b"u"
    yield Hostile("a tensor made 20,000 times", "like", checkpoint(named, one))
    again = b"}(" + text("t") + tensor + b"q\x01" + b"".join(text(f"t{i}") + b"h\x01" for i in range(20_000)) + b"u"
    yield Hostile("a tensor named 20,000 times", "like", checkpoint(again, one))
    small = saved(torch.zeros(1 << 18).untyped_storage(), zipped=False)
    load = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(small)) + small + b"q\x01tR0"
    more = b"ctorch.storage\n_load_from_bytes\n(h\x01tR0" * 20_000
    yield Hostile("bytes of a storage named 20,000 times", "scores", b"\x80\x02" + load + more + b"N.")
    for reader, name in (("scores", "a/data/%05d"), ("data", "%05d.png"), ("samples", "%05d.npy")):
        yield Hostile("a record named 20,000 times", reader, shared(one, 20_000, lambda i, name=name: name % i))  # type: ignore[misc]
    yield Hostile("a large image named 20,000 times", "data", shared(blank(1024, 1024), 20_000, "{:05d}.png".format))
    yield Hostile("too many operations", "scores", b"\x80\x02" + b"N0" * 400_000 + b"N.")
    yield Hostile("too many marks", "scores", b"\x80\x02" + b"(" * 399_000 + b".")
    yield Hostile("lists that grow", "scores", b"\x80\x02]q\x00" + b"".join(
        b"0](" + b"h%c" % i * 2 + b"eq%c" % (i + 1) for i in range(100)) + b".")  # fmt: skip
    yield Hostile("a long name", "scores", b"\x80\x04" + long + long + b"\x93.")
    yield Hostile("a long name", "data", tarred({"x" * 3000: b""}))
    yield Hostile("a long name", "samples", packed({"x" * 60_000 + ".npy": b""}))
    yield Hostile("a long name", "data", packed({"x" * 60_000 + ".py": b""}))
    deflated = zipfile.ZIP_DEFLATED
    for size in (1 << 20, 100 << 20):
        for reader, make in {
            "data": lambda zeros: packed({"a.png": zeros}, deflated),
            "scores": lambda zeros: packed({"a/data.pkl": zeros}, deflated),
            "samples": lambda zeros: packed({"arr_0.npy": header("(1,)") + zeros}, deflated),
        }.items():
            yield Hostile(f"{size} zeros, deflated", reader, partial(made_of_zeros, make, size))
        yield Hostile(
            f"{size} zeros, gzip", "data", partial(made_of_zeros, lambda zeros: gzip.compress(zeros, 1), size)
        )
        in_tar = partial(made_of_zeros, lambda zeros: tarred({"data_batch_1.bin": zeros}), size)
        yield Hostile(f"{size} zeros, tar", "data", in_tar)
    json_bombs = {"deep": b"[" * 60_000, "number": b'{"labels": [["a.png", ' + b"9" * 60_000 + b"]]}",
                  "long": b'{"labels": [["' + b"x" * 60_000 + b'", 0]]}', "float": b'{"labels": [["a.png", 1e999]]}',
                  "string": b'{"labels": "' + b"x" * 60_000 + b'"}', "key": b'{"labels": [[["a"], 0]]}',
                  "wide": b"[" + b"[]," * 500_000 + b"[]]"}  # fmt: skip
    for name, data in json_bombs.items():
        yield Hostile(f"labels: {name}", "data", packed({"a.png": image(8, "PNG"), "dataset.json": data}))
    yield Hostile("600 blank images of 3 MiB", "open", tiles)
    for width, height in ((50_000, 50_000), (2**31 - 1, 2**31 - 1), (0, 0), (1, 2**31 - 1), (12_000, 12_000)):
        yield Hostile(f"{width} x {height} announced", "data", packed({"a.png": announced(width, height)}))
        yield Hostile(f"{width} x {height} announced", "folder", announced(width, height))
    for kind, side in (("PNG", 8000), ("JPEG", 8000), ("BMP", 4000), ("WEBP", 4000)):
        yield Hostile(f"a blank {kind}", "folder", partial(blank, side, side, kind, "RGB"))
    yield Hostile("a thin PNG", "folder", blank(1, 1_000_000))
    yield Hostile("a wide PNG", "folder", blank(9000, 1, mode="RGBA"))
    for kind in ("zTXt", "iTXt", "iCCP", "tEXt"):
        yield Hostile(f"100 MiB in {kind}", "folder", partial(with_text, kind))
        yield Hostile(f"100 MiB in {kind}", "data", lambda kind=kind: packed({"a.png": with_text(kind)}))  # type: ignore[misc]
    shapes = ("(1000000, 1000000)", "(-1,)", "(0,)", "()", "(9" + "9" * 5000 + ",)", "(" * 3000, "('a',)", "(2**64,)",
              "[1]", "(True,)", "(1e999,)")  # fmt: skip
    for shape in shapes:
        for kind in ("<f8", "|O", "<U200000000", "|V8", "<M8[s]", "nonsense"):
            members = {
                "mu.npy": header(shape, kind),
                "sigma.npy": header(shape, kind),
                "arr_0.npy": header(shape, kind),
            }
            yield Hostile(f"an array {shape[:20]} of {kind}", "reference", packed(members))
    usual = {"mu": np.zeros(1), "sigma": np.eye(1), "features": np.array("a"), "count": np.array(1),
             "resolution": np.array(8)}  # fmt: skip
    for name, wrong in (("count", np.zeros(0, int)), ("features", np.array("a" * 100_000)), ("mu", np.array(np.nan))):
        yield Hostile(f"a wrong {name}", "reference", arrays(**(usual | {name: wrong})))
    for sides in ((2**32 - 1,) * 3, (0, 8, 8), (2, 8, 1 << 24)):
        yield Hostile(f"{sides} announced", "idx", struct.pack(">BBBBIII", 0, 0, 8, 3, *sides) + bytes(128))
        yield Hostile(f"{sides} in gzip", "idx", partial(idx_bomb, sides))
    for reader in ("scores", "like", "sample", "data", "folder", "reference", "samples", "idx"):
        yield Hostile("nothing", reader, b"")
        yield Hostile("zeros", reader, bytes(1000))
        yield Hostile("text", reader, b"hello\n" * 100)


def files(seed: int, count: int) -> list[Hostile]:
    """`count` files: all bombs, and damaged ones of every format in turn, half of them damaged inside their packing."""
    found = list(bombs())
    rng = random.Random(seed)
    formats = list(valid().items())
    for i in range(max(0, count - len(found))):
        name, (reader, data) = formats[i % len(formats)]
        inside = data[:2] in (b"PK", b"\x1f\x8b") and rng.random() < 0.6
        made = repacked if inside else damaged
        found.append(Hostile(f"{name} {i}", reader, partial(made, data, random.Random(rng.random()))))
    rng.shuffle(found)
    return found[:count]


# ---- reading them


class Late(BaseException):
    """Raised in a reader that takes too long; no reader catches it."""


SUFFIXES = {"reference": ".npz", "samples": ".npz", "folder": ".png"}


def read(file: Hostile, where: Path) -> int:
    """The exit status of the command that reads the file; what is no command's is read as one."""
    from images import data, sample, scores
    from images.datasets.dataset import Images
    from images.denoisers import published
    from images.metrics.references import read_reference, read_samples
    from theory.common.commandline import run

    path, out = where / f"f{SUFFIXES.get(file.reader, '')}", where / "out.zip"
    if file.reader == "idx":
        path = where / "idx" / "t10k-images-idx3-ubyte"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes(2))
    if file.reader == "folder":
        path = where / "d" / "a.png"
        path.parent.mkdir(exist_ok=True)
    path.write_bytes(file.data())

    def load(reader: Callable[[Path], object]) -> Callable[[list[str]], int]:
        def main(arguments: list[str]) -> int:
            reader(path)
            return 0

        return main

    commands: dict[str, Callable[[], int]] = {
        "scores": lambda: run(scores.main, [str(path), "--batch", "1"]),
        "like": lambda: run(load(lambda path: published.load(path, "adm-imagenet128")), []),
        "sample": lambda: run(sample.main, [str(path), "--out", str(out), "--count", "2", "--overwrite"]),
        "data": lambda: run(data.main, [str(path), "--dest", str(out), "--overwrite"]),
        "idx": lambda: run(data.main, [str(path), "--dest", str(out), "--overwrite"]),
        "other": lambda: run(sample.main, [str(path), "--out", str(out), "--count", "2", "--overwrite"]),
        "folder": lambda: run(data.main, [str(path.parent), "--dest", str(out), "--size", "8", "--overwrite"]),
        "open": lambda: run(load(Images.open), []),
        "reference": lambda: run(load(read_reference), []),
        "samples": lambda: run(load(read_samples), []),
    }
    return commands[file.reader]()


def one(file: Hostile, where: Path) -> dict[str, Any]:
    """What became of a file: exit status, seconds, characters of complaint (but for the path to the file), and what it
    tried to execute."""

    def late(*_: object) -> None:
        raise Late(f"more than {SECONDS} seconds")

    said, heard = io.StringIO(), io.StringIO()
    TRIED.clear()
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: others may use it too
    began = time.process_time()
    status: int | str
    try:
        with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(said):
            status = read(file, where)
    except BaseException as error:
        status = f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    complaint = heard.getvalue().replace(f"{where}/", "")
    lines = [line for line in complaint.splitlines() if line.startswith("error: ") or "images:" not in line]
    return {"name": f"{file.reader}: {file.name}", "status": status, "seconds": round(time.process_time() - began, 2),
            "said": "\n".join(lines)[:500], "characters": len("\n".join(lines)), "tried": list(TRIED)}  # fmt: skip


TRIED: list[str] = []


def limit() -> None:
    """At most MEMORY of private memory more than now."""
    status = Path("/proc/self/status").read_text()
    now = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmData"))) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, now + MEMORY))


def main(seed: int, first: int, last: int, step: int, where: Path) -> None:
    os.chdir(where)
    torch.set_num_threads(1)
    everything = files(seed, COUNT)[first:last:step]
    for _, (reader, data) in valid().items():  # so that all is imported before memory is counted
        result = one(Hostile("valid", reader, data), where)
        assert result["status"] == (2 if reader == "other" else 0), result
    sys.addaudithook(lambda event, _: TRIED.append(event) if event in COMMANDS else None)
    limit()
    for file in everything:
        print(json.dumps(one(file, where)), flush=True)


if __name__ == "__main__":
    seed, first, last, step = (int(argument) for argument in sys.argv[1:5])
    main(seed, first, last, step, Path(sys.argv[5]))
