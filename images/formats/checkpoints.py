"""Checkpoint files by their first bytes, and what is in one: PyTorch's two formats, and NVIDIA's pickles of modules.

Every module in NVIDIA's (EDM, StyleGAN2-ADA, R3GAN) is `torch_utils.persistence._reconstruct_persistent_obj(meta)`, and
unpickling executes the Python source in meta["module_src"]. What is needed is beside it: the class's name, the
arguments it was made with, and its tensors. The source is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from images.formats import pickles, tensors
from images.formats.messages import shown
from images.formats.pickles import Build, Inert
from theory.common.errors import FileError

TRAINING = "smart-verified images "  # begins the format of images.train's checkpoints


def persistent_object(meta: dict[str, Any]) -> Inert:
    pickles.of_type(meta, dict)
    if meta.get("type") != "class":
        raise FileError("malformed: a persistent object that is no class")
    return Inert(pickles.of_type(meta["class_name"], str), (), pickles.of_type(meta["state"], dict))


MODULES: dict[str, Build] = {
    "torch_utils.persistence._reconstruct_persistent_obj": persistent_object,
    "torch.nn.modules.container.ModuleDict": lambda: Inert("ModuleDict"),
    "torch.nn.modules.container.ModuleList": lambda: Inert("ModuleList"),
    "dnnlib.util.EasyDict": tensors.ordered,
}


def read(path: Path) -> Any:
    """The content of a checkpoint file: containers, numbers, text, tensors; NVIDIA's modules as `Inert`.

    Raises:
        FileError: as `pickles.read`; neither a PyTorch file nor a pickle; records, storages or tensors that are damaged
            or larger than the file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(len(tensors.LEGACY_START))
        if start.startswith(b"PK\x03\x04"):
            return tensors.read_zip(path)
        if start == tensors.LEGACY_START:
            return tensors.read_legacy(path)
        if not start.startswith(b"\x80"):
            raise FileError("neither a PyTorch file nor a pickle" if start else "an empty file")
        size = path.stat().st_size
        reader = tensors.Reader(size)
        own = {"torch.storage._load_from_bytes": reader.load_from_bytes}
        file.seek(0)
        return pickles.read(file, size, reader.builders | MODULES | own)


def told(content: Any) -> str | None:
    """What a file is that holds generators: a snapshot or a checkpoint of a GAN's training. None if it holds none."""
    if not isinstance(content, dict):
        return None
    known = content.get("format")
    if isinstance(known, str) and known.startswith(TRAINING):
        return "a checkpoint of images.train"
    snapshot = content.get("G_ema", content.get("G"))
    if isinstance(snapshot, Inert):
        options = snapshot.state.get("_init_kwargs") if isinstance(snapshot.state, dict) else None
        given: dict[Any, Any] = options if isinstance(options, dict) else {}
        names = ("img_resolution", "img_channels", "c_dim")
        facts = [f"{name} {shown(given[name])}" for name in names if name in given]
        return f"a GAN's snapshot in the layout of StyleGAN2-ADA (G_ema: {', '.join([shown(snapshot.kind), *facts])})"
    models = content.get("models")
    if isinstance(models, dict) and any(isinstance(name, str) and name.startswith("generator") for name in models):
        smooth = models.get("generator_smooth", next(iter(models.values())))
        count = sum(x.numel() for x in smooth.values() if isinstance(x, Tensor)) if isinstance(smooth, Mapping) else 0
        held = ", ".join(shown(name) for name in list(models)[:3])
        return f"a GAN's checkpoint as SMaRt's authors release them (models: {held}; generator {count / 1e6:.2f} M)"
    return None
