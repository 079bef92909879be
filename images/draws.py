"""Random numbers of a run as functions of (seed, stream, step, index of the sample in the whole batch).

The number of processes therefore changes no draw, all arms of a seed see the same numbers, and a resumed run needs no
state of a generator. Numbers come in blocks of BLOCK samples, each from a generator of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from theory.common.seeds import generator

BLOCK = 16  # samples that share a generator
INIT, LATENT_D, LATENT_G, SCORE, AUGMENT_REAL_D, AUGMENT_REAL_G, DENOISER, EVALUATE = range(8)  # independent streams
MIX_D, MIX_G, PATH, SAMPLE, AUGMENT_FAKE_D, AUGMENT_FAKE_G = range(8, 14)


def draw(kind: Callable[..., Tensor], shape: tuple[int, ...], seed: int, stream: int, step: int, part: slice) -> Tensor:
    """Random numbers kind(n, *shape) of the samples part.start .. part.stop - 1 of a batch.   [n, *shape]

    Args:
        kind: torch.randn or torch.rand.
    """
    first, last = part.start // BLOCK, -(-part.stop // BLOCK)
    blocks = [kind(BLOCK, *shape, generator=generator(seed, stream, step, block)) for block in range(first, last)]
    return torch.cat(blocks)[part.start - first * BLOCK : part.stop - first * BLOCK]
