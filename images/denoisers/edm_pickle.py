"""EDM's networks, in pickles of modules that `formats.checkpoints` reads: shape and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from images.denoisers.adm import ADMConfig
from images.denoisers.song import SongConfig
from images.formats import pickles, tensors
from images.formats.messages import shown
from images.formats.pickles import Inert
from theory.common.errors import FileError

MODULES = 20_000  # and tensors; EDM's largest has about 2,000


def child(module: Inert, name: str) -> Inert:
    """A submodule."""
    found = module.state.get("_modules", {}).get(name) if isinstance(module.state, dict) else None
    if not isinstance(found, Inert):
        raise FileError(f"malformed: {shown(module.kind)} has no module {shown(name)}")
    return found


def options(module: Inert) -> dict[str, Any]:
    """The keywords that a module was made with."""
    found = module.state.get("_init_kwargs")
    if not isinstance(found, dict) or module.state.get("_init_args") not in ((), [], None):
        raise FileError(f"malformed: {shown(module.kind)} does not say by keywords what it was made with")
    return found


def state_dict(module: Inert) -> dict[str, Tensor]:
    """Name -> tensor of a module and all below it, as torch would have it."""
    return dict(_tensors(module, "", [MODULES]))


def _tensors(module: Inert, prefix: str, left: list[int]) -> Iterator[tuple[str, Tensor]]:
    left[0] -= 1
    for kind in ("_parameters", "_buffers", "_modules"):
        for name, value in module.state.get(kind, {}).items():
            left[0] -= 1
            if left[0] < 0 or prefix.count(".") > 16 or len(pickles.of_type(name, str)) > 100:
                raise FileError(
                    f"refused: more than {MODULES} modules and tensors, nested deeper than 16, or names of over 100"
                )
            if value is None:
                continue
            if kind == "_modules":
                yield from _tensors(child(module, name), f"{prefix}{name}.", left)
            else:
                yield f"{prefix}{name}", tensors.tensor(value)


def config(kind: str, given: Mapping[str, Any]) -> ADMConfig | SongConfig:
    """The shape of EDM's SongUNet or DhariwalUNet from the keywords that it was made with; its defaults else.

    Raises:
        FileError: another class, a keyword or a choice that is not known here.
    """
    options: dict[str, Any] = {
        "label_dim": 0,
        "channel_mult_emb": 4,
        "augment_dim": 0,
        "label_dropout": 0,
        "dropout": 0.1,
    }
    if kind == "SongUNet":
        options |= {
            "model_channels": 128, "channel_mult": [1, 2, 2, 2], "num_blocks": 4, "attn_resolutions": [16],
            "embedding_type": "positional", "channel_mult_noise": 1, "encoder_type": "standard",
            "decoder_type": "standard", "resample_filter": [1, 1],
        }  # fmt: skip
    elif kind == "DhariwalUNet":
        options |= {
            "model_channels": 192, "channel_mult": [1, 2, 3, 4], "num_blocks": 3, "attn_resolutions": [32, 16, 8]
        }  # fmt: skip
    else:
        raise FileError(f"the network {shown(kind)} is not known here: SongUNet and DhariwalUNet are")
    needed = {"img_resolution", "in_channels", "out_channels"}
    unknown, lacking = set(given) - set(options) - needed, needed - set(given)
    if unknown or lacking:
        said = ", ".join([shown(name) for name in unknown] + [f"without {name}" for name in sorted(lacking)])
        raise FileError(f"{kind} with unknown or missing options: {said}")
    options |= given
    if options["channel_mult_emb"] != 4:
        raise FileError(f"channel_mult_emb must be 4; it is {shown(options['channel_mult_emb'])}")
    sides = [options["img_resolution"] >> level for level in range(len(options["channel_mult"]))]
    common: dict[str, Any] = {
        "resolution": options["img_resolution"],
        "channels_in": options["in_channels"],
        "channels_out": options["out_channels"],
        "width": options["model_channels"],
        "multipliers": tuple(options["channel_mult"]),
        "blocks": options["num_blocks"],
        "attention": tuple(level for level, side in enumerate(sides) if side in options["attn_resolutions"]),
        "classes": options["label_dim"],
        "dropout": float(options["dropout"]),
    }
    if kind == "DhariwalUNet":
        return ADMConfig(**common, least_group=4)
    if options["decoder_type"] != "standard" or options["encoder_type"] not in ("standard", "residual"):
        given_types = f"encoder {shown(options['encoder_type'])}, decoder {shown(options['decoder_type'])}"
        raise FileError(f"{given_types} are not known here")
    return SongConfig(
        **common,
        embedding=options["embedding_type"],
        embedding_multiplier=options["channel_mult_noise"],
        residual=options["encoder_type"] == "residual",
        taps=tuple(options["resample_filter"]),
    )
