"""Random numbers are functions of (seed, stream, step), and different triples have nothing to do with one another."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.stats import kstest, norm

from theory.manifolds import make
from toy.noise import AHEAD, CHUNK, EVALUATE, INIT, TRAIN, Draws, Noise, generator

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


def test_streams_and_seeds_are_independent() -> None:
    """Correlation of n normal numbers of every two triples: about N(0, 1/n) if independent. Two-sided, with a
    family-wise error rate of 1e-6 over all pairs (Bonferroni)."""
    n, triples = 4096, list(itertools.product((0, 1, 2, 10_000), (INIT, AHEAD, TRAIN, EVALUATE), (0, 1)))
    numbers = torch.stack([torch.randn(n, generator=generator(*triple)) for triple in triples])
    correlation = torch.corrcoef(numbers)[*torch.triu_indices(len(triples), len(triples), 1)]
    limit = norm.isf(1e-6 / (2 * len(correlation))) / n**0.5
    assert correlation.abs().max() < limit


def test_what_is_drawn_together_is_independent() -> None:
    """Latents, eps and steps of one chunk; error rate as above."""
    source = noise((0,))
    rows = [
        row for step in range(CHUNK) for row in (*source(step).latent[:, 0].flatten(1), source(step).eps[0].flatten())
    ]
    numbers = torch.stack([row[:16] for row in rows])  # 16 numbers of every kind and step, correlated across rows
    products = (numbers[:, None] * numbers[None]).mean(-1)[*torch.triu_indices(len(rows), len(rows), 1)]
    # a mean of 16 products of independent normals has kurtosis 3 + 6/16: a normal limit would be too narrow, so test
    # the mean over all pairs of its square, 1/16, whose standard error is measured over pairs
    squares = 16 * products.square()
    assert abs(squares.mean() - 1) < 6 * squares.std() / len(squares) ** 0.5


@pytest.mark.parametrize(("part", "law"), [("latent", "norm"), ("eps", "norm"), ("u", "uniform")])
def test_marginals(part: str, law: str) -> None:
    """Kolmogorov-Smirnov, error rate 1e-6 each."""
    source = noise((5,))
    values = torch.cat([getattr(source(step), part).flatten() for step in range(CHUNK)])
    assert kstest(values.double().numpy(), law).pvalue > 1e-6
