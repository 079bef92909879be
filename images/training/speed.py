"""Ways to compute a step in less memory or less time: the same step, up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from images.denoisers import blocks
from images.generators import aurora, biggan, r3gan, stylegan2

BLOCKS = (
    r3gan.Residual, r3gan.Transition, stylegan2.Layer, stylegan2.Down, biggan.Up, biggan.Down, aurora.Block,
    blocks.Block,
)  # fmt: skip
"""What is computed again as a whole; networks of others and the small ones for 8 x 8 pixels have none of these."""
ENTRIES = ("forward", "styles", "synthesis", "routed")
"""Functions of a network that training calls."""


@dataclass(frozen=True)
class Speed:
    """What training does beside its numbers.

    checkpoints: of each block of G, D and the score model only the input is kept for the backward pass, which computes
        the rest again: less memory, more time.
    compiled: G, D and the score model pass torch.compile. What is differentiated twice, the penalties and the path
        lengths, does not, since torch.compile cannot differentiate twice.
    """

    checkpoints: bool = False
    compiled: bool = False

    def prepare(self, *networks: Any) -> None:
        """Changes how the networks compute. Copies of a network that are made later would compute by its parameters:
        copy first."""
        for network in networks:
            if self.checkpoints and isinstance(network, nn.Module):
                for block in network.modules():
                    if isinstance(block, BLOCKS):
                        block.forward = partial(again, block.forward)  # type: ignore[method-assign]
            if self.compiled and isinstance(network, nn.Module):
                for name in ENTRIES:
                    if hasattr(network, name):
                        setattr(network, name, torch.compile(getattr(network, name)))

    def twice(self) -> AbstractContextManager[Any]:
        """In the block nothing is compiled: what is computed there may be differentiated twice."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()


SLOW = Speed()


def again(forward: Callable[..., Any], *given: Any) -> Any:
    """forward(*given), of which the backward pass, if there is one, computes all but the input again."""
    if not torch.is_grad_enabled():
        return forward(*given)
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, determinism_check="none")
