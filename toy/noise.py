"""Every random number of a run as a function of (seed, step): what was drawn before does not matter.

So all arms see the same data and latents, a seed's numbers do not depend on which seeds are trained beside it, and a
resumed run needs no generator state to continue bit for bit. Draws are made CHUNK steps at a time, which is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds.base import Law

CHUNK = 32  # steps drawn at once
INIT, AHEAD, TRAIN, EVALUATE = range(4)  # independent streams of a seed


def generator(seed: int, stream: int, index: int = 0) -> torch.Generator:
    """The generator of a (seed, stream, index); different triples give independent numbers."""
    state = np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


@dataclass(frozen=True)
class Draws:
    """The random numbers of one generator step and of the discriminator steps before it."""

    real: Float[Tensor, "k s b d"]  # real samples, one batch a discriminator step
    latent: Float[Tensor, "k+1 s b z"]  # z ~ N(0, I), the last for the generator step
    eps: Float[Tensor, "s b d"]  # noise of the score term
    u: Float[Tensor, "s b"]  # uniform numbers that choose the noise levels


class Noise:
    """noise(step) -> Draws, for these seeds in this stream."""

    def __init__(self, law: Law, seeds: Sequence[int], stream: int, batch: int, latent: int, d_steps: int):
        self.law, self.seeds, self.stream = law, tuple(seeds), stream
        self.batch, self.latent, self.d_steps = batch, latent, d_steps
        self.index = -1
        self.chunk: tuple[Tensor, ...] = ()

    def __call__(self, step: int) -> Draws:
        index, at = divmod(step, CHUNK)
        if index != self.index:
            self.index, self.chunk = index, self._draw(index)
        real, latent, eps, u = self.chunk
        return Draws(real[at], latent[at], eps[at], u[at])

    def _draw(self, index: int) -> tuple[Tensor, ...]:
        b, k = self.batch, self.d_steps
        parts = []
        for seed in self.seeds:
            g = generator(seed, self.stream, index)
            parts.append(
                (
                    self.law.sample(CHUNK * k * b, g).view(CHUNK, k, b, self.law.dim),
                    torch.randn(CHUNK, k + 1, b, self.latent, generator=g),
                    torch.randn(CHUNK, b, self.law.dim, generator=g),
                    torch.rand(CHUNK, b, generator=g),
                )
            )
        real, latent, eps, u = zip(*parts, strict=True)
        return torch.stack(real, 2), torch.stack(latent, 2), torch.stack(eps, 1), torch.stack(u, 1)
