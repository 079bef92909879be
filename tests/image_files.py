"""Score files made for tests in each code base's own layout, with what its network computes.

The networks are written as functions that ask for their parameters by the code base's names: the first call makes the
state dict, and its output is what a network that loads it must give. Nothing here knows images.denoisers.
"""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Parameters(dict[str, Tensor]):
    """p(name, *shape): the tensor of that name, drawn when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, name: str, *shape: int) -> Tensor:
        if name not in self:
            scale = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.2
            self[name] = scale * torch.randn(shape, generator=self.generator)
        return self[name]

    def conv(self, name: str, x: Tensor, out: int, size: int, padding: int | None = None) -> Tensor:
        weight = self(f"{name}.weight", out, x.shape[1], size, size)
        return F.conv2d(x, weight, self(f"{name}.bias", out), padding=size // 2 if padding is None else padding)

    def linear(self, name: str, x: Tensor, out: int, bias: bool = True) -> Tensor:
        return F.linear(x, self(f"{name}.weight", out, x.shape[1]), self(f"{name}.bias", out) if bias else None)

    def norm(self, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
        c = x.shape[1]
        return F.group_norm(x, groups, self(f"{name}.weight", c), self(f"{name}.bias", c), eps)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v with pixels last.   [b, h, d, n] -> [b, h, d, n]"""
    weights = torch.einsum("bhdn,bhdm->bhnm", q, k / math.sqrt(q.shape[2])).softmax(-1)
    return torch.einsum("bhnm,bhdm->bhdn", weights, v)


def guided_diffusion(
    p: Parameters, x: Tensor, t: Tensor, labels: Tensor | None, *, width: int, multipliers: tuple[float, ...],
    blocks: int, attention: tuple[int, ...], heads: int | None, legacy: bool, out: int, classes: int = 0,
    scale_shift: bool = True, spatial: int = 1,
) -> Tensor:  # fmt: skip
    """The UNetModel of guided-diffusion (spatial=1: qkv is a 1d convolution) and consistency_models (spatial=2)."""

    def block(name: str, x: Tensor, wide: int, way: str | None = None) -> Tensor:
        h = F.silu(p.norm(f"{name}.in_layers.0", x, 32, 1e-5))
        if way:
            h, x = (F.interpolate(z, scale_factor=2) if way == "up" else F.avg_pool2d(z, 2) for z in (h, x))
        h = p.conv(f"{name}.in_layers.2", h, wide, 3)
        e = p.linear(f"{name}.emb_layers.1", F.silu(emb), wide * (2 if scale_shift else 1))[..., None, None]
        if scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = p.norm(f"{name}.out_layers.0", h, 32, 1e-5) * (1 + scale) + shift
        else:
            h = p.norm(f"{name}.out_layers.0", h + e, 32, 1e-5)
        h = p.conv(f"{name}.out_layers.3", F.silu(h), wide, 3)
        return h + (x if x.shape[1] == wide else p.conv(f"{name}.skip_connection", x, wide, 1))

    def attended(name: str, x: Tensor) -> Tensor:
        b, c, *sides = x.shape
        n = heads or c // 64
        flat = p.norm(f"{name}.norm", x, 32, 1e-5).flatten(2)
        weight = p(f"{name}.qkv.weight", 3 * c, c, *[1] * spatial).flatten(1)
        qkv = weight @ flat + p(f"{name}.qkv.bias", 3 * c)[:, None]
        if legacy:
            q, k, v = qkv.reshape(b, n, 3, c // n, -1).unbind(2)
        else:
            q, k, v = qkv.reshape(b, 3, n, c // n, -1).unbind(1)
        mixed = attend(q, k, v).reshape(b, c, -1)
        h = p(f"{name}.proj_out.weight", c, c, *[1] * spatial).flatten(1) @ mixed
        return x + (h + p(f"{name}.proj_out.bias", c)[:, None]).reshape(b, c, *sides)

    half = width // 2
    phases = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
    emb = p.linear("time_embed.0", torch.cat([phases.cos(), phases.sin()], -1), 4 * width)
    emb = p.linear("time_embed.2", F.silu(emb), 4 * width)
    if labels is not None:
        emb = emb + p("label_emb.weight", classes, 4 * width)[labels]
    x = p.conv("input_blocks.0.0", x, int(width * multipliers[0]), 3)
    skips, i = [x], 1
    for level, multiplier in enumerate(multipliers):
        if level:
            x = block(f"input_blocks.{i}.0", x, x.shape[1], "down")
            skips.append(x)
            i += 1
        for _ in range(blocks):
            x = block(f"input_blocks.{i}.0", x, int(width * multiplier))
            x = attended(f"input_blocks.{i}.1", x) if level in attention else x
            skips.append(x)
            i += 1
    x = block("middle_block.0", x, x.shape[1])
    x = attended("middle_block.1", x)
    x = block("middle_block.2", x, x.shape[1])
    i = 0
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for n in range(blocks + 1):
            x = block(f"output_blocks.{i}.0", torch.cat([x, skips.pop()], 1), int(width * multiplier))
            x = attended(f"output_blocks.{i}.1", x) if level in attention else x
            if level and n == blocks:
                x = block(f"output_blocks.{i}.{2 if level in attention else 1}", x, x.shape[1], "up")
            i += 1
    return p.conv("out.2", F.silu(p.norm("out.0", x, 32, 1e-5)), out, 3)


def edm(p: Parameters, x: Tensor, t: Tensor, hot: Tensor | None, kind: str, options: dict[str, Any]) -> Tensor:
    """The SongUNet or DhariwalUNet of EDM with its keywords; hot are one-hot labels."""
    song = kind == "SongUNet"
    width, multipliers = options["model_channels"], options["channel_mult"]
    taps = torch.tensor(options.get("resample_filter", [1, 1]), dtype=torch.float32)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    border = (len(taps) - 1) // 2
    eps, gain, side = (
        (1e-6, math.sqrt(0.5), options["img_resolution"]) if song else (1e-5, 1.0, options["img_resolution"])
    )

    def norm(name: str, x: Tensor) -> Tensor:
        return p.norm(name, x, min(32, x.shape[1] // 4), eps)

    def resampled(name: str, x: Tensor, way: str | None) -> Tensor:
        if way is None:
            return x
        p[f"{name}.resample_filter"] = kernel[None, None]
        c = x.shape[1]
        weight = kernel.expand(c, 1, -1, -1)
        if way == "up":
            return F.conv_transpose2d(x, 4 * weight, groups=c, stride=2, padding=border)
        return F.conv2d(x, weight, groups=c, stride=2, padding=border)

    def block(name: str, x: Tensor, wide: int, way: str | None = None, attention: bool = False) -> Tensor:
        origin = x
        x = p.conv(f"{name}.conv0", resampled(f"{name}.conv0", F.silu(norm(f"{name}.norm0", x)), way), wide, 3)
        e = p.linear(f"{name}.affine", emb, wide if song else 2 * wide)[..., None, None]
        if song:
            x = F.silu(norm(f"{name}.norm1", x + e))
        else:
            scale, shift = e.chunk(2, dim=1)
            x = F.silu(shift + norm(f"{name}.norm1", x) * (scale + 1))
        x = p.conv(f"{name}.conv1", x, wide, 3)
        if origin.shape[1] != wide or way:
            origin = resampled(f"{name}.skip", origin, way)
            if song or origin.shape[1] != wide:
                origin = p.conv(f"{name}.skip", origin, wide, 1)
        x = (x + origin) * gain
        if attention:
            b, c, h, w = x.shape
            n = 1 if song else c // 64
            qkv = p.conv(f"{name}.qkv", norm(f"{name}.norm2", x), 3 * c, 1).reshape(b, n, c // n, 3, h * w)
            mixed = attend(*qkv.unbind(3)).reshape(b, c, h, w)
            x = (p.conv(f"{name}.proj", mixed, c, 1) + x) * gain
        return x

    start = width * options.get("channel_mult_noise", 1)
    half = start // 2
    if options.get("embedding_type") == "fourier":
        phases = torch.outer(t, 2 * np.pi * p("map_noise.freqs", half))
    else:
        phases = torch.outer(t, (1 / 10000) ** (torch.arange(half) / (half - (1 if song else 0))))
    parts = [phases.sin(), phases.cos()] if song else [phases.cos(), phases.sin()]
    emb = torch.cat(parts, 1)
    if options["augment_dim"]:
        p("map_augment.weight", emb.shape[1], options["augment_dim"])  # for augmented images only
    if song and hot is not None:
        emb = emb + p.linear("map_label", hot * np.sqrt(options["label_dim"]), start)
    emb = p.linear("map_layer1", F.silu(p.linear("map_layer0", emb, 4 * width)), 4 * width)
    if not song and hot is not None:
        emb = emb + p.linear("map_label", hot, 4 * width, bias=False)
    emb = F.silu(emb)

    at = [f"{side >> level}x{side >> level}" for level in range(len(multipliers))]
    attends = [side >> level in options["attn_resolutions"] for level in range(len(multipliers))]
    image = x
    x = p.conv(f"enc.{at[0]}_conv", x, width, 3)
    skips = [x]
    for level, multiplier in enumerate(multipliers):
        if level:
            x = block(f"enc.{at[level]}_down", x, x.shape[1], "down")
            if options.get("encoder_type") == "residual":
                name = f"enc.{at[level]}_aux_residual"
                p[f"{name}.resample_filter"] = kernel[None, None]
                image = p.conv(name, image, x.shape[1], 3, padding=1 + border)
                image = F.conv2d(image, kernel.expand(image.shape[1], 1, -1, -1), groups=image.shape[1], stride=2)
                x = image = (x + image) / np.sqrt(2)
            skips.append(x)
        for i in range(options["num_blocks"]):
            x = block(f"enc.{at[level]}_block{i}", x, width * multiplier, attention=attends[level])
            skips.append(x)
    for level, multiplier in reversed(list(enumerate(multipliers))):
        if level == len(multipliers) - 1:
            x = block(f"dec.{at[level]}_in0", x, x.shape[1], attention=True)
            x = block(f"dec.{at[level]}_in1", x, x.shape[1])
        else:
            x = block(f"dec.{at[level]}_up", x, x.shape[1], "up")
        for i in range(options["num_blocks"] + 1):
            here = attends[level] and (not song or i == options["num_blocks"])
            x = block(f"dec.{at[level]}_block{i}", torch.cat([x, skips.pop()], 1), width * multiplier, attention=here)
    last = (f"dec.{at[0]}_aux_norm", f"dec.{at[0]}_aux_conv") if song else ("out_norm", "out_conv")
    return p.conv(last[1], F.silu(norm(last[0], x)), options["out_channels"], 3)


class Persistent:
    """An object that is pickled as EDM's persistent classes are."""

    def __init__(self, kind: str, **state: Any):
        self.kind, self.state = kind, state

    def __reduce__(self) -> tuple[Any, ...]:
        source = "import os; os._exit(77)  # whoever executes the source that a file brings ends here"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.kind, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


class EasyDict(dict[str, Any]):
    """Pickled as dnnlib.util.EasyDict."""


@contextmanager
def nvidia_names() -> Iterator[None]:
    """Modules of the names that EDM's pickles refer to, while one is written."""

    def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
        raise AssertionError("only its name is wanted")

    fakes = {
        name: types.ModuleType(name) for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }
    vars(fakes["torch_utils.persistence"])["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    vars(fakes["dnnlib.util"])["EasyDict"] = EasyDict
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    EasyDict.__module__, before = "dnnlib.util", EasyDict.__module__
    sys.modules.update(fakes)
    try:
        yield
    finally:
        EasyDict.__module__ = before
        for name in fakes:
            del sys.modules[name]


def module(kind: str, state: dict[str, Tensor], **more: Any) -> Persistent:
    """A persistent module with these tensors, its submodules by the dots in their names."""
    children: dict[str, dict[str, Tensor]] = {}
    parameters: dict[str, Any] = OrderedDict()
    buffers: dict[str, Tensor] = OrderedDict()
    for name, value in state.items():
        first, dot, rest = name.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = value
        elif name in ("resample_filter", "freqs"):
            buffers[name] = value
        else:
            parameters[name] = torch.nn.Parameter(value)
    parameters.setdefault("bias", None)
    modules = OrderedDict((name, submodule(name, inner)) for name, inner in children.items())
    return Persistent(
        kind, training=False, _parameters=parameters, _buffers=buffers, _modules=modules,
        _non_persistent_buffers_set=set(), _backward_hooks=OrderedDict(), **more,
    )  # fmt: skip


def submodule(name: str, state: dict[str, Tensor]) -> Any:
    if name not in ("enc", "dec"):
        some = {"conv0": "Conv2d", "norm0": "GroupNorm", "affine": "Linear"}
        return module(some.get(name, "UNetBlock"), state, _init_args=(), _init_kwargs={"init_weight": np.float64(0.5)})
    children: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        children.setdefault(first, {})[rest] = value
    container = torch.nn.ModuleDict()
    container._modules = {key: submodule(key, inner) for key, inner in children.items()}
    return container


def edm_bytes(
    kind: str, state: dict[str, Tensor], options: dict[str, Any], preconditioning: str = "EDMPrecond",
    constants: dict[str, Any] | None = None, **more: Any,
) -> bytes:  # fmt: skip
    """An EDM network pickle; `more` replaces or adds to what it holds."""
    network = module(kind, state, _init_args=(), _init_kwargs=options)
    given = constants or {"sigma_data": 0.5}
    ema = Persistent(preconditioning, _modules=OrderedDict(model=network), _parameters=OrderedDict(),
                     img_resolution=options["img_resolution"], label_dim=options["label_dim"], use_fp16=False,
                     _init_args=(), _init_kwargs={"model_type": kind}, **given)  # fmt: skip
    loss, pipe = Persistent("EDMLoss", P_mean=-1.2), Persistent("AugmentPipe", p=0.12)
    found = {"ema": ema, "loss_fn": loss, "augment_pipe": pipe, "dataset_kwargs": EasyDict(path="./cifar10.zip")}
    with nvidia_names():
        return pickle.dumps(found | more)


def snapshot_bytes(state: dict[str, Tensor]) -> bytes:
    """A snapshot as StyleGAN2-ADA's training writes it."""
    options = {"z_dim": 512, "c_dim": 10, "w_dim": 512, "img_resolution": 32, "img_channels": 3}
    networks = {name: module("Generator", state, _init_args=(), _init_kwargs=EasyDict(options)) for name in ("G", "D")}
    held = {**networks, "G_ema": networks["G"], "augment_pipe": None, "training_set_kwargs": EasyDict(path="a.zip")}
    with nvidia_names():
        return pickle.dumps(held)


def edm_file(path: Path, kind: str, state: dict[str, Tensor], options: dict[str, Any]) -> Path:
    path.write_bytes(edm_bytes(kind, state, options))
    return path
