"""Diffusion checkpoints: family, licence, and the score model in the file.

    family               file                                       licence
    guided-diffusion     state dict, DDPM preconditioning, ADM      MIT
    consistency_models   state dict, EDM preconditioning, ADM       MIT
    EDM                  pickle with code; edm-*: EDM's precon-     CC BY-NC-SA 4.0, non-commercial
                         ditioning, baseline-*: VP, VE, iDDPM
    ours                 `save`

Nothing in a file is executed, and no file is downloaded here: the user brings them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from images.denoisers import edm_pickle, layouts
from images.denoisers.adm import ADM, ADMConfig
from images.denoisers.precondition import DDPMScore, EDMScore, Network, Score, VEScore, VPScore
from images.denoisers.song import SongConfig, SongUNet
from images.formats import checkpoints, pickles
from images.formats.messages import reading, shown
from images.formats.pickles import Inert
from theory.common.checks import choose
from theory.common.errors import FileError
from theory.common.files import content_of, write_tensors

OURS = "smart-verified score 1"
LICENCES = {
    "guided-diffusion": "MIT",
    "consistency_models": "MIT",
    "EDM": "CC BY-NC-SA 4.0 (non-commercial)",
    "ours": "MIT, as this project; the data it was trained on may say otherwise",
}


@dataclass(frozen=True)
class Published:
    """A published file: the shape of its network, and what does not follow from the shapes of its tensors."""

    family: str
    config: ADMConfig
    order: layouts.Order  # of qkv's rows
    schedule: str | None  # None: EDM preconditioning


_adm64 = ADMConfig()
_adm128 = ADMConfig(128, width=256, multipliers=(1, 1, 2, 3, 4), blocks=2, attention=(2, 3, 4), heads=4,
                    head_channels=None, channels_out=6)  # fmt: skip
_adm512 = ADMConfig(512, width=128, multipliers=(1, 2, 2, 4, 4, 8, 8), blocks=2, attention=(4, 5, 6),
                    channels_out=6, time_width=256)  # fmt: skip
_bedroom = ADMConfig(256, width=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=(3, 4, 5), classes=0)
PUBLISHED = {
    "adm-imagenet64": Published(
        "guided-diffusion", dataclasses.replace(_adm64, channels_out=6), "new", "ddpm-cosine"
    ),
    "adm-imagenet128": Published("guided-diffusion", _adm128, "legacy", "ddpm-linear"),
    "adm-bedroom256": Published(
        "guided-diffusion", dataclasses.replace(_bedroom, channels_out=6), "legacy", "ddpm-linear"
    ),
    "adm-imagenet256": Published(
        "guided-diffusion", dataclasses.replace(_bedroom, channels_out=6, classes=1000), "legacy", "ddpm-linear"
    ),
    "adm-imagenet512": Published("guided-diffusion", _adm512, "legacy", "ddpm-linear"),
    "edm-imagenet64": Published("consistency_models", _adm64, "new", None),
    "edm-bedroom256": Published(
        "consistency_models", dataclasses.replace(_bedroom, scale_shift=False), "new", None
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A score model and where it is from."""

    score: Score
    family: str
    name: str  # of the published file that it is, or is read like

    @property
    def licence(self) -> str:
        return LICENCES[self.family]

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.score.parameters())


def load(path: str | os.PathLike[str], like: str | None = None, device: torch.device | str = "cpu") -> Loaded:
    """The score model in a file, frozen, in evaluation mode, on a device.

    Args:
        like: for a state dict whose shapes are those of no published file: the published one (a name in PUBLISHED)
            whose heads, order of qkv, resolution, schedule and preconditioning it shares.

    Raises:
        FileError: the file holds no score model, is damaged, or calls for code; names the file.
        OSError: it cannot be read. ValueError: no published file has the name `like`.
    """
    path = Path(path)
    if like is not None:
        choose(like, tuple(PUBLISHED), "published file")
    with reading(path):
        loaded = _load(path, like, torch.device(device))
    loaded.score.requires_grad_(False).eval()
    return loaded


def _load(path: Path, like: str | None, device: torch.device) -> Loaded:
    found = checkpoints.read(path)
    if isinstance(found, dict) and set(found) == {"sha256", "content"}:
        found = content_of(found)
    if generator := checkpoints.told(found):
        raise FileError(f"{generator}, no score model; wanted: a diffusion checkpoint")
    if isinstance(found, dict) and found.get("format") == OURS:
        return _ours(found, device)
    if isinstance(found, dict) and isinstance(found.get("ema"), Inert):
        return _edm(found["ema"], path.stem, device)
    return _state_dict(found, path.name, like, device)


def _state_dict(state: Any, name: str, like: str | None, device: torch.device) -> Loaded:
    """guided-diffusion or consistency_models."""
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FileError("no score model: neither a dictionary of tensors nor EDM's network 'ema'")
    if name.startswith(("cd_", "ct_")):
        raise FileError("a consistency model, which maps noise to images in one step and is no score model")
    shape = layouts.adm_shape(state)
    of_conv2d = state["middle_block.1.qkv.weight"].ndim == 4  # only consistency_models keeps them so
    family = "consistency_models" if of_conv2d else "guided-diffusion"
    names = [name for name, published in PUBLISHED.items() if published.family == family]
    if like is None:
        like = next((name for name in names if has_shape(PUBLISHED[name].config, shape)), None)
    if like is None:
        told = ", ".join(f"{key} {shown(shape[key])}" for key in ("width", "multipliers", "blocks", "classes"))
        raise FileError(
            f"an ADM U-Net of {family}, none of the published ({told}): --like {'|'.join(names)} says which of them "
            "shares its heads, schedule and preconditioning"
        )
    if like not in names:
        raise FileError(f"a file of {family}, which cannot be read like {like}: choose from {', '.join(names)}")
    published = PUBLISHED[like]
    config = dataclasses.replace(published.config, **shape)
    expected = config.channels_in * (1 if published.schedule is None else 2)
    if config.channels_out not in (config.channels_in, expected):
        raise FileError(f"gives {config.channels_out} channels for images of {config.channels_in}")
    network = filled(config, state, layouts.adm_names(config), published.order, device)
    if published.schedule is None:
        return Loaded(EDMScore(network, time_scale=1000.0).to(device), family, like)
    return Loaded(DDPMScore(network, published.schedule).to(device), family, like)


def has_shape(config: ADMConfig, shape: Mapping[str, object]) -> bool:
    return all(getattr(config, name) == value for name, value in shape.items())


def filled(
    config: ADMConfig | SongConfig, state: Mapping[str, Tensor], names: Mapping[str, str], order: layouts.Order,
    device: torch.device,
) -> Network:  # fmt: skip
    """The network of this shape with a file's tensors, on a device. Nothing is allocated before they fit.

    Raises:
        FileError: as `layouts.fitting`.
    """
    with torch.device("meta"):
        network: Network = ADM(config) if isinstance(config, ADMConfig) else SongUNet(config)
    found = layouts.fitting(network, state, names, order)
    network.to_empty(device=device).load_state_dict(found)
    return network


def _edm(ema: Inert, name: str, device: torch.device) -> Loaded:
    if ema.kind not in PRECONDITIONINGS:
        known = ", ".join(PRECONDITIONINGS)
        raise FileError(f"preconditioning {shown(ema.kind)} is not known here; known are {known}")
    module = edm_pickle.child(ema, "model")
    config = edm_pickle.config(module.kind, edm_pickle.options(module))
    state = {
        name.replace("map_noise.freqs", "map_noise.frequencies"): value
        for name, value in edm_pickle.state_dict(module).items()
        if not name.endswith("resample_filter") and name != "map_augment.weight"  # no augmentation: it adds nothing
    }
    network = filled(config, state, layouts.edm_names(config), "edm", device)
    return Loaded(PRECONDITIONINGS[ema.kind](network, ema.state).to(device), "EDM", name)


def _improved_ddpm(network: Network, state: Mapping[str, Any]) -> Score:
    if (state["M"], state["C_1"], state["C_2"]) != (1000, 0.001, 0.008):
        raise FileError("iDDPMPrecond of another schedule than M = 1000, C_1 = 0.001, C_2 = 0.008 is not known here")
    return DDPMScore(network, "ddpm-cosine")


PRECONDITIONINGS: dict[str, Callable[[Network, Mapping[str, Any]], Score]] = {  # EDM's classes
    "EDMPrecond": lambda network, state: EDMScore(network, state["sigma_data"]),
    "VPPrecond": lambda network, state: VPScore(
        network, state["beta_d"], state["beta_min"], state["M"], state["epsilon_t"]
    ),
    "VEPrecond": lambda network, state: VEScore(network, state["sigma_min"], state["sigma_max"]),
    "iDDPMPrecond": _improved_ddpm,
}


def as_dict(score: Score) -> dict[str, Any]:
    """The content of a file of `save`: plain values and tensors."""
    config = score.network.config
    return {
        "format": OURS,
        "network": type(score.network).__name__,
        "config": dataclasses.asdict(config),
        "preconditioning": {name: getattr(score, name) for name in score.options},
        "state": score.network.state_dict(),
    }


def save(score: Score, path: str | os.PathLike[str]) -> None:
    """Writes a score model whole or not at all, for `load`.

    Raises:
        OSError: the disk is full, read-only, ...; the file is then as it was.
    """
    write_tensors(path, as_dict(score))


def _ours(found: Mapping[str, Any], device: torch.device) -> Loaded:
    name = pickles.of_type(found["network"], str)
    config = {"ADM": ADMConfig, "SongUNet": SongConfig}[name](**found["config"])
    state, preconditioning = pickles.of_type(found["state"], dict), pickles.of_type(found["preconditioning"], dict)
    own = {module: module for module in (pickles.of_type(key, str).rpartition(".")[0] for key in state)}
    network = filled(config, state, own, "new", device)
    kind = {score.options: score for score in (EDMScore, DDPMScore, VPScore, VEScore)}[tuple(preconditioning)]
    return Loaded(kind(network, *preconditioning.values()).to(device), "ours", name)
