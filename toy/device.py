"""Where a run trains: the CPU, or a CUDA device. Metrics, pictures and files are made on the CPU."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from theory.common.errors import UsageError
from theory.manifolds import Law
from toy.config import Config


def device_of(config: Config) -> torch.device:
    """The device of a configuration.

    Raises:
        UsageError: torch has none of that kind here.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        built = "is built without CUDA" if torch.version.cuda is None else "sees no CUDA device here"
        raise UsageError(f"device cuda needs a GPU, but torch {torch.__version__} {built}; device cpu trains without")
    return torch.device(config.device)


def on(law: Law, device: torch.device) -> Law:
    """The law with its constants on the device, so that no step copies them there; on the CPU the law itself."""
    if device.type == "cpu":
        return law

    def moved(value: Any) -> Any:
        if isinstance(value, Law):
            return on(value, device)
        return value.to(device) if isinstance(value, Tensor) else value

    found = copy.copy(law)
    vars(found).update({name: tree_map(moved, value) for name, value in vars(law).items()})
    return found


def on_cpu(state: Any) -> Any:
    """What a checkpoint holds of a trainer: its tensors on the CPU, so that another machine can read them."""
    return tree_map(lambda value: value.cpu() if isinstance(value, Tensor) else value, state)
