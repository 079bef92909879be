"""Random numbers are functions of (seed, stream, step), and different triples have nothing to do with one another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from theory.common.seeds import generator
from theory.manifolds import make
from toy.training.draws import AHEAD, CHUNK, EVALUATE, INIT, TRAIN, Draws, Noise

PARTS = ("real", "latent", "eps", "u")


def noise(seeds: tuple[int, ...], stream: int = TRAIN) -> Noise:
    return Noise(make("ring"), seeds, stream, batch=8, latent=3, d_steps=2)


def same(a: Draws, b: Draws) -> bool:
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in PARTS)


def test_shapes() -> None:
    draws = noise((0, 1, 2))(5)
    shapes = {part: tuple(getattr(draws, part).shape) for part in PARTS}
    assert shapes == {"real": (2, 3, 8, 2), "latent": (3, 3, 8, 3), "eps": (3, 8, 2), "u": (3, 8)}


def test_a_step_is_the_same_however_it_is_reached() -> None:
    steps = [0, 3, CHUNK - 1, CHUNK, 2 * CHUNK + 1]
    forwards, backwards = noise((0, 1)), noise((0, 1))
    wanted = [forwards(step) for step in steps]
    got = [backwards(step) for step in reversed(steps)][::-1]
    assert all(map(same, wanted, got))
    assert not any(same(a, b) for a, b in itertools.combinations(wanted, 2))


def test_a_seeds_draws_do_not_depend_on_its_neighbours() -> None:
    alone, beside = noise((7,))(4), noise((2, 7, 9))(4)
    assert torch.equal(alone.real[:, 0], beside.real[:, 1])
    assert torch.equal(alone.latent[:, 0], beside.latent[:, 1])
    assert torch.equal(alone.eps[0], beside.eps[1])
    assert torch.equal(alone.u[0], beside.u[1])


def uncorrelated(rows: Sequence[Tensor]) -> bool:
    """Whether no two rows of n normal numbers correlate: about N(0, 1/n) if independent. Two-sided, with a family-wise
    error rate of 1e-6 over all pairs (Bonferroni)."""
    pairs = torch.corrcoef(torch.stack(list(rows)))[*torch.triu_indices(len(rows), len(rows), 1)]
    return bool(pairs.abs().max() < norm.isf(1e-6 / (2 * len(pairs))) / rows[0].numel() ** 0.5)


def test_streams_and_seeds_are_independent() -> None:
    triples = itertools.product((0, 1, 2, 10_000), (INIT, AHEAD, TRAIN, EVALUATE), (0, 1))
    rows = [torch.randn(4096, generator=generator(*triple)) for triple in triples]
    assert uncorrelated(rows)
    assert not uncorrelated([*rows, rows[0] + 5 * rows[1]])


def test_what_is_drawn_together_is_independent() -> None:
    """Latents of the steps of both networks, eps, and the uniform numbers (as normal ones), in steps of two chunks."""
    source = Noise(make("ring"), (0,), TRAIN, batch=2048, latent=1, d_steps=2)
    rows = []
    for draws in map(source, range(CHUNK - 4, CHUNK + 4)):
        rows += [*draws.latent[:, 0, :, 0], *draws.eps[0].T, torch.special.ndtri(draws.u[0].clamp(1e-6, 1 - 1e-6))]
    assert uncorrelated(rows)


@pytest.mark.parametrize(("part", "law"), [("latent", "norm"), ("eps", "norm"), ("u", "uniform")])
def test_marginals(part: str, law: str) -> None:
    """Kolmogorov-Smirnov, error rate 1e-6 each."""
    source = Noise(make("ring"), (5,), TRAIN, batch=512, latent=2, d_steps=1)
    values = torch.cat([getattr(source(step), part).flatten() for step in range(CHUNK)])
    assert kstest(values.double().numpy(), law).pvalue > 1e-6
