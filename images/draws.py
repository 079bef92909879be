"""Random numbers of a run as functions of (seed, stream, step, retry, index of the sample in the whole batch).

The number of processes therefore changes no draw, all arms of a seed see the same numbers, and a resumed run needs no
state of a generator. Numbers come in blocks of BLOCK samples, each from a generator of its own: a part of a batch takes
whole blocks and keeps its samples, so that no sample's numbers depend on the micro-batch. On CUDA the blocks are drawn
on the device, by its generator with the same seed, in the same blocks: nothing is copied from the host. Those numbers
are others than the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from theory.common.seeds import generator

BLOCK = 16  # samples that share a generator
CPU = torch.device("cpu")


class Streams(NamedTuple):
    """The streams of one gradient: of latents, of style mixing, of augmentations of real and of generated images, of
    generated images' labels."""

    latent: int
    mix: int
    real: int
    fake: int
    labels: int


# All streams are independent.
INIT, SCORE, DENOISER, EVALUATE, PATH, SAMPLE = 0, 3, 6, 7, 10, 11
OF_D, OF_G = Streams(1, 8, 4, 12, 26), Streams(2, 9, 5, 13, 27)
OF_PENALTIES, OF_PATHS = Streams(14, 15, 16, 17, 28), Streams(18, 19, 20, 21, 29)
OF_SCORE = Streams(22, 23, 24, 25, 30)
"""Of the steps that lazy terms have of their own."""


def draw(
    kind: Callable[..., Tensor],
    shape: tuple[int, ...],
    seed: int,
    stream: int,
    step: int,
    part: slice,
    retry: int = 0,
    device: torch.device = CPU,
) -> Tensor:
    """Random numbers kind(n, *shape) of the samples part.start .. part.stop - 1 of a batch.   [n, *shape]

    Args:
        kind: torch.randn or torch.rand.
        retry: how often the run went back to a checkpoint, after which its numbers are others.
        device: where they are wanted; a CUDA device draws them itself.
    """
    where = device if device.type == "cuda" else CPU
    more = (retry,) if retry else ()
    first, last = part.start // BLOCK, -(-part.stop // BLOCK)
    places = [(seed, stream, step, block, *more) for block in range(first, last)]
    blocks = [kind(BLOCK, *shape, generator=generator_on(where, place), device=where) for place in places]
    return torch.cat(blocks)[part.start - first * BLOCK : part.stop - first * BLOCK].to(device)


def generator_on(device: torch.device, place: tuple[int, ...]) -> torch.Generator:
    """The device's generator, with the seed of (seed, stream, *where)."""
    found = generator(*place)
    return found if device == CPU else torch.Generator(device).manual_seed(found.initial_seed())
