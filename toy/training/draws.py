"""Every random number of a run as a function of (seed, stream, step).

All arms have the same data and latents, a seed's numbers do not depend on the seeds beside it, and a resumed run needs
no state of a random number generator to continue bit for bit. Draws are made CHUNK steps at a time, which is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.seeds import generator
from theory.manifolds.law import Law
from toy.training.classes import Classes

CHUNK = 32  # steps drawn at once
INIT, AHEAD, TRAIN, EVALUATE, AHEAD_EXTRA, TRAIN_EXTRA = range(6)  # independent streams of a seed


@dataclass(frozen=True)
class Draws:
    """The random numbers of one generator step and of the discriminator steps before it."""

    real: Float[Tensor, "k s b d"]  # real samples, one batch a discriminator step
    latent: Float[Tensor, "k+1 s b z"]  # z ~ N(0, I), the last for the generator step
    eps: Float[Tensor, "s b d"]  # noise of the score term
    u: Float[Tensor, "s b"]  # uniform numbers that choose the noise levels


class Noise:
    """noise(step) -> Draws, for these seeds in this stream; real batches in blocks of classes if there are classes."""

    def __init__(
        self,
        law: Law,
        seeds: Sequence[int],
        stream: int,
        batch: int,
        latent: int,
        d_steps: int,
        classes: Classes | None = None,
    ):
        self.law, self.seeds, self.stream, self.classes = law, tuple(seeds), stream, classes
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
                    self._real(g).view(CHUNK, k, b, self.law.dim),
                    torch.randn(CHUNK, k + 1, b, self.latent, generator=g),
                    torch.randn(CHUNK, b, self.law.dim, generator=g),
                    torch.rand(CHUNK, b, generator=g),
                )
            )
        real, latent, eps, u = zip(*parts, strict=True)
        return torch.stack(real, 2), torch.stack(latent, 2), torch.stack(eps, 1), torch.stack(u, 1)

    def _real(self, g: torch.Generator) -> Tensor:
        batches = CHUNK * self.d_steps
        if self.classes is None:
            return self.law.sample(batches * self.batch, g)
        return self.classes.sample(batches, self.batch, g)


@dataclass(frozen=True)
class Extra:
    """What a discriminator's regulariser draws in one of its steps; None where it draws nothing."""

    noise: Float[Tensor, "s 2b d"] | None = None  # instance noise
    u: Float[Tensor, "s b 1"] | None = None  # places between real and fake


class Extras:
    """extras(step) -> what the regulariser draws in the k discriminator steps and the generator step of a step.

    A stream of its own, so that runs with and without a regulariser see the same data.
    """

    def __init__(self, regulariser: str, seeds: Sequence[int], stream: int, batch: int, dim: int, d_steps: int):
        self.regulariser, self.seeds, self.stream = regulariser, tuple(seeds), stream
        self.count, self.batch, self.dim = d_steps + 1, batch, dim
        self.index = -1
        self.chunk: list[list[Extra]] = [[Extra()] * self.count] * CHUNK

    def __call__(self, step: int) -> list[Extra]:
        index, at = divmod(step, CHUNK)
        if index != self.index:
            self.index, self.chunk = index, self._draw(index)
        return self.chunk[at]

    def _draw(self, index: int) -> list[list[Extra]]:
        size = CHUNK, self.count
        if self.regulariser not in ("instance-noise", "gradient-penalty"):
            return self.chunk
        generators = [generator(seed, self.stream, index) for seed in self.seeds]
        if self.regulariser == "instance-noise":
            noise = torch.stack([torch.randn(*size, 2 * self.batch, self.dim, generator=g) for g in generators], 2)
            return [[Extra(noise=part) for part in step] for step in noise]
        u = torch.stack([torch.rand(*size, self.batch, 1, generator=g) for g in generators], 2)
        return [[Extra(u=part) for part in step] for step in u]
