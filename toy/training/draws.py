"""Every random number of a run as a function of (seed, stream, step).

All arms have the same data and latents, a seed's numbers do not depend on the seeds beside it, and a resumed run needs
no state of a random number generator to continue bit for bit. Draws are made CHUNK steps at a time, which is cheaper,
and on the CPU: they are the same on every device.
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

CPU = torch.device("cpu")

CHUNK = 32  # steps drawn at once
INIT, AHEAD, TRAIN, EVALUATE, AHEAD_EXTRA, TRAIN_EXTRA, OWN_STEP = range(7)  # independent streams of a seed


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
        device: torch.device = CPU,
    ):
        self.law, self.stream, self.classes, self.device = law, stream, classes, device
        self.seeds, self.rows = drawn_once(seeds, device)
        self.batch, self.latent, self.d_steps = batch, latent, d_steps
        self.index = -1
        self.chunk: tuple[Tensor, ...] = ()

    def __call__(self, step: int) -> Draws:
        index, at = divmod(step, CHUNK)
        if index != self.index:
            self.index, self.chunk = index, self._draw(index)
        real, latent, eps, u = (part[at] for part in self.chunk)
        if self.rows is None:
            return Draws(real, latent, eps, u)
        return Draws(real[:, self.rows], latent[:, self.rows], eps[self.rows], u[self.rows])

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
        stacked = torch.stack(real, 2), torch.stack(latent, 2), torch.stack(eps, 1), torch.stack(u, 1)
        return tuple(part.to(self.device) for part in stacked)

    def _real(self, g: torch.Generator) -> Tensor:
        batches = CHUNK * self.d_steps
        if self.classes is None:
            return self.law.sample(batches * self.batch, g)
        return self.classes.sample(batches, self.batch, g)


class Latents:
    """latents(number) -> [row, batch, latent], the z of the number-th step that a score gradient has for itself.

    A stream of its own, so that arms with and without such steps see the same data.
    """

    def __init__(self, seeds: Sequence[int], batch: int, latent: int, device: torch.device = CPU):
        self.seeds, self.rows = drawn_once(seeds, device)
        self.size, self.device = (CHUNK, batch, latent), device
        self.index = -1
        self.chunk = torch.empty(0)

    def __call__(self, number: int) -> Float[Tensor, "s b z"]:
        index, at = divmod(number, CHUNK)
        if index != self.index:
            generators = [generator(seed, OWN_STEP, index) for seed in self.seeds]
            drawn = torch.stack([torch.randn(self.size, generator=g) for g in generators], 1)
            self.index, self.chunk = index, drawn.to(self.device)
        return self.chunk[at] if self.rows is None else self.chunk[at, self.rows]


def drawn_once(seeds: Sequence[int], device: torch.device = CPU) -> tuple[tuple[int, ...], Tensor | None]:
    """(the different seeds, the place of each row's seed among them; None where no seed stands twice)."""
    different = tuple(dict.fromkeys(seeds))
    if len(different) == len(seeds):
        return different, None
    return different, torch.tensor([different.index(seed) for seed in seeds], device=device)


@dataclass(frozen=True)
class Extra:
    """What a discriminator's regulariser draws in one of its steps; None where it draws nothing."""

    noise: Float[Tensor, "s 2b d"] | None = None  # added to the discriminator's input
    u: Float[Tensor, "s b 1"] | None = None  # uniform: places between real and fake; under diffusion [s, 2b, 1], levels


class Extras:
    """extras(step) -> what the regulariser draws in the k discriminator steps and the generator step of a step.

    A stream of its own, so that runs with and without a regulariser see the same data.
    """

    def __init__(
        self,
        regulariser: str,
        seeds: Sequence[int],
        stream: int,
        batch: int,
        dim: int,
        d_steps: int,
        device: torch.device = CPU,
    ):
        self.regulariser, self.stream, self.device = regulariser, stream, device
        self.seeds, self.rows = drawn_once(seeds, device)
        self.count, self.batch, self.dim = d_steps + 1, batch, dim
        self.index = -1
        self.chunk: list[list[Extra]] = [[Extra()] * self.count] * CHUNK

    def __call__(self, step: int) -> list[Extra]:
        index, at = divmod(step, CHUNK)
        if index != self.index:
            self.index, self.chunk = index, self._draw(index)
        if self.rows is None:
            return self.chunk[at]
        return [Extra(*[None if x is None else x[self.rows] for x in (e.noise, e.u)]) for e in self.chunk[at]]

    def _draw(self, index: int) -> list[list[Extra]]:
        size = CHUNK, self.count
        if self.regulariser not in ("instance-noise", "diffusion", "gradient-penalty"):
            return self.chunk
        generators = [generator(seed, self.stream, index) for seed in self.seeds]
        if self.regulariser in ("instance-noise", "diffusion"):
            noise = torch.stack([torch.randn(*size, 2 * self.batch, self.dim, generator=g) for g in generators], 2)
            noise = noise.to(self.device)
            if self.regulariser == "instance-noise":
                return [[Extra(noise=part) for part in step] for step in noise]
            levels = torch.stack([torch.rand(*size, 2 * self.batch, 1, generator=g) for g in generators], 2)
            levels = levels.to(self.device)
            return [[Extra(*parts) for parts in zip(*step, strict=True)] for step in zip(noise, levels, strict=True)]
        u = torch.stack([torch.rand(*size, self.batch, 1, generator=g) for g in generators], 2)
        return [[Extra(u=part) for part in step] for step in u.to(self.device)]
