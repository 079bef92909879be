"""Maps parameter names and qkv row orders of three code bases to ours.

The parts of a block (`encoder.5` in ours; the others number blocks otherwise, see `adm_names`):

    ours               guided-diffusion, consistency_models    EDM
    norm1, conv1       0.in_layers.0, 0.in_layers.2            norm0, conv0
    emb                0.emb_layers.1                          affine
    norm2, conv2       0.out_layers.0, 0.out_layers.3          norm1, conv1
    skip               0.skip_connection                       skip
    attention.norm     1.norm                                  norm2
    attention.qkv      1.qkv                                   qkv
    attention.proj     1.proj_out                              proj
    time.0, time.2     time_embed.0, time_embed.2              map_layer0, map_layer1
    labels             label_emb                               map_label (ADM: transposed, without a bias)
    out_norm, out_conv out.0, out.2                            out_norm, out_conv; SongUNet: dec.32x32_aux_norm, _conv

The rows of an attention's qkv run over [q, k, v][head][channel] in ours and in the "new" order of guided-diffusion and
in consistency_models, over [head][q, k, v][channel] in the legacy order, over [head][channel][q, k, v] in EDM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from images.denoisers.adm import ADM, ADMConfig
from images.denoisers.blocks import Attention
from images.denoisers.song import SongConfig, SongUNet
from images.formats.messages import shown
from theory.common.errors import FileError

LARGEST = 1e6  # of a weight; those of the published networks are below 100
Order: TypeAlias = Literal["new", "legacy", "edm"]
AXES: dict[Order, tuple[str, tuple[int, ...]]] = {  # a row's axes in the file, and how they are permuted
    "new": ("qhc", (0, 1, 2)),
    "legacy": ("hqc", (1, 0, 2)),
    "edm": ("hcq", (2, 0, 1)),
}
ADM_BLOCK = {
    "norm1": "0.in_layers.0", "conv1": "0.in_layers.2", "emb": "0.emb_layers.1", "norm2": "0.out_layers.0",
    "conv2": "0.out_layers.3", "skip": "0.skip_connection", "attention.norm": "1.norm", "attention.qkv": "1.qkv",
    "attention.proj": "1.proj_out",
}  # fmt: skip
EDM_BLOCK = {
    "norm1": "norm0", "conv1": "conv0", "emb": "affine", "norm2": "norm1", "conv2": "conv1", "skip": "skip",
    "attention.norm": "norm2", "attention.qkv": "qkv", "attention.proj": "proj",
}  # fmt: skip


def adm_names(config: ADMConfig) -> dict[str, str]:
    """Our module -> guided-diffusion's. Its upsampling blocks are the last part of the block before them."""
    names = {"time.0": "time_embed.0", "time.2": "time_embed.2", "labels": "label_emb"}
    names |= {"encoder.0": "input_blocks.0.0", "out_norm": "out.0", "out_conv": "out.2"}
    levels = len(config.multipliers)
    for i in range(1, levels * (config.blocks + 1)):
        names |= {f"encoder.{i}.{ours}": f"input_blocks.{i}.{theirs}" for ours, theirs in ADM_BLOCK.items()}
    for ours, theirs in ADM_BLOCK.items():
        part, rest = theirs.split(".", 1)
        names[f"middle.0.{ours}"] = f"middle_block.{part}.{rest}"  # residual block 0, attention 1
        names[f"middle.1.{ours}"] = f"middle_block.2.{rest}"
    at = 0
    for i in range(levels * (config.blocks + 1)):
        names |= {f"decoder.{at}.{ours}": f"output_blocks.{i}.{theirs}" for ours, theirs in ADM_BLOCK.items()}
        at += 1
        level = levels - 1 - i // (config.blocks + 1)
        if level and i % (config.blocks + 1) == config.blocks:
            last = 2 if level in config.attention else 1
            names |= {
                f"decoder.{at}.{ours}": f"output_blocks.{i}.{last}.{theirs[2:]}" for ours, theirs in ADM_BLOCK.items()
            }
            at += 1
    return names


def edm_names(config: ADMConfig | SongConfig) -> dict[str, str]:
    """Our module -> EDM's, which names blocks by resolution."""
    sides = [f"{config.resolution >> level}x{config.resolution >> level}" for level in range(len(config.multipliers))]
    encoder, decoder = [], []
    for level, side in enumerate(sides):
        encoder += [f"{side}_down" if level else f"{side}_conv"]
        encoder += [f"{side}_block{i}" for i in range(config.blocks)]
    for level, side in reversed(list(enumerate(sides))):
        decoder += [f"{side}_up"] if level < len(sides) - 1 else []
        decoder += [f"{side}_block{i}" for i in range(config.blocks + 1)]
    blocks = {f"middle.{i}": f"dec.{sides[-1]}_in{i}" for i in range(2)}
    blocks |= {f"encoder.{i}": f"enc.{name}" for i, name in enumerate(encoder) if i}
    blocks |= {f"decoder.{i}": f"dec.{name}" for i, name in enumerate(decoder)}
    names = {"time.0": "map_layer0", "time.2": "map_layer1", "labels": "map_label", "encoder.0": f"enc.{encoder[0]}"}
    if isinstance(config, SongConfig):
        names |= {"out_norm": f"dec.{sides[0]}_aux_norm", "out_conv": f"dec.{sides[0]}_aux_conv", "": "map_noise"}
        names |= {f"inputs.{i}": f"enc.{side}_aux_residual" for i, side in enumerate(sides[1:])}
    else:
        names |= {"out_norm": "out_norm", "out_conv": "out_conv"}
    for block, theirs in blocks.items():
        names |= {f"{block}.{ours}": f"{theirs}.{part}" for ours, part in EDM_BLOCK.items()}
    return names


def fitting(
    network: ADM | SongUNet, state: Mapping[str, Tensor], names: Mapping[str, str], order: Order
) -> dict[str, Tensor]:
    """A file's tensors under the names of the network, which may be on the meta device.

    Raises:
        FileError: a tensor is missing, left over, of another shape, shared by two names, or holds numbers that are not
            finite or beyond 10^6 in size, as a flipped bit makes them.
    """
    left, found, seen = dict(state), {}, set()
    for ours, wanted in network.state_dict().items():
        module, _, leaf = ours.rpartition(".")
        theirs = f"{names.get(module, module)}.{leaf}".removeprefix(".")
        if theirs not in left:
            raise FileError(f"lacks the tensor {theirs}")
        value = left.pop(theirs)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise FileError(f"{theirs} must be a tensor of floating-point numbers")
        if module.endswith("attention.qkv"):
            value = reordered(value, network.get_submodule(module.removesuffix(".qkv")), order)
        elif theirs == "map_label.weight" and isinstance(network, ADM):
            value = value.T
        value = value.flatten(1) if ".attention." in ours and leaf == "weight" and value.ndim > 1 else value
        if value.shape != wanted.shape:
            raise FileError(f"{theirs} must be {tuple(wanted.shape)}; it is {shown(tuple(value.shape))}")
        if value.data_ptr() in seen:
            raise FileError(f"{theirs} shares its numbers with another tensor")
        if not float(value.abs().amax()) <= LARGEST:  # NaN is not either
            raise FileError(f"{theirs} holds numbers that are not finite, or of more than {LARGEST:g}: damaged")
        seen.add(value.data_ptr())
        found[ours] = value
    if left:
        raise FileError(f"holds tensors that this network has no place for: {shown(next(iter(left)))} ...")
    return found


def reordered(value: Tensor, attention: nn.Module, order: Order) -> Tensor:
    """Rows in the file's order as rows in ours.   [3c, ...] -> [3c, ...]"""
    assert isinstance(attention, Attention)
    axes, permutation = AXES[order]
    sizes = {"q": 3, "h": attention.heads, "c": attention.proj.in_features // attention.heads}
    if len(value) != 3 * attention.proj.in_features:
        raise FileError(f"a qkv must have {3 * attention.proj.in_features} rows; it has {len(value)}")
    rows = torch.arange(len(value)).view(*(sizes[axis] for axis in axes)).permute(permutation)
    return value[rows.reshape(-1)]


def adm_shape(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of ADMConfig that follow from the tensors of a guided-diffusion or consistency_models file.

    Heads, resolution and the order of qkv do not.

    Raises:
        FileError: the tensors are not those of an ADM U-Net with resampling inside its blocks.
    """
    try:
        first, last = state["input_blocks.0.0.weight"], state["out.2.weight"]
        width, channels_in = first.shape[:2]
        convs = [name for name in state if name.endswith("in_layers.2.weight")]
        inputs = 1 + sum(name.startswith("input_blocks.") for name in convs)
        outputs = sum(name.startswith("output_blocks.") for name in convs)  # an upsampling block more a level
        levels = 1 + outputs - inputs
        each = inputs // levels  # blocks + 1, the first of them a convolution or downsampling
        outs = [state[f"input_blocks.{level * each + 1}.0.in_layers.2.weight"].shape[0] for level in range(levels)]
        timed = state["time_embed.0.weight"].shape[1]
        embedded = state["input_blocks.1.0.emb_layers.1.weight"].shape[0]
        multipliers = tuple(out // width for out in outs)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        raise FileError("not an ADM U-Net whose blocks resample (resblock_updown): tensors are missing") from None
    return {
        "channels_in": channels_in,
        "channels_out": last.shape[0],
        "width": width,
        "time_width": None if timed == width else timed,
        "multipliers": multipliers,
        "blocks": each - 1,
        "attention": tuple(
            level for level in range(levels) if f"input_blocks.{level * each + 1}.1.qkv.weight" in state
        ),
        "classes": len(state["label_emb.weight"]) if "label_emb.weight" in state else 0,
        "scale_shift": embedded == 2 * outs[0],
    }
