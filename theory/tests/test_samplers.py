"""Samplers against densities: draws, noised, must have the distribution that `log_density` says.

Every family of tests below has the family-wise error rate ERROR (Bonferroni: a p-value is held against ERROR divided by
the number of laws or comparisons). The seeds are fixed, so that a run is repeatable.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    make,
    names,
    polyline,
    random_isometry,
    spiral,
)

ERROR = 1e-3
N = 20_000

LAWS = {name: make(name) for name in names()} | {
    "wide": Gaussians([(0, 0), (2, 1)], std=(0.5, 0.2), weights=(0.7, 0.3)),
    "points in 1D": Gaussians([(-1,), (0.5,)], weights=(0.2, 0.8)),
    "thick ring": make("ring", thickness=0.3),
    "long arc": Arc(1.5, -2, 3, (0.5, -0.5)),
    "cylinder": Product(Sphere(2), Segment((0,), (1,))),
    "scaled segment": Scaled(Segment((0, 0), (1, 1)), 2.0),
    "tilted ring": Embedded(Sphere(2), random_isometry(3, 2, seed=1).tolist(), (0.5, 0, 0)),
    "weighted mixture": Mixture([Thickened(Sphere(2), 0.2), Box((1, 1), (2, 3))], (0.25, 0.75)),
}
HIGH = {"S^4": make("sphere", n=4), "ring in R^6": make("ring", dim=6), "mixed in R^4": make("mixed", dim=4)}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def cell_p_value(law, x, nsr):
    """The chi-square p-value of draws x, noised by nsr, against the cell masses of exp(log_density).

    Cells are cubes of side 1.5 nsr, their masses Gauss-Legendre sums (relative error < 1e-4: far below 1 / sqrt(N)).
    What is expected fewer than 5 times, and all that is outside, is one cell.
    """
    y = x + nsr * torch.randn(x.shape, generator=generator(1), dtype=x.dtype)
    side = 1.5 * nsr
    edges = [
        np.arange(float(low) - side, float(high) + 2 * side, side)
        for low, high in zip(x.amin(0), x.amax(0), strict=True)
    ]
    counts = np.histogramdd(y.numpy(), edges)[0]

    nodes, weights = np.polynomial.legendre.leggauss(4)
    places = [(e[:-1, None] + side * (1 + nodes) / 2).ravel() for e in edges]  # [cells * 4] along each axis
    grid = torch.from_numpy(np.stack(np.meshgrid(*places, indexing="ij"), -1))
    density = law.log_density(grid, 1.0, nsr).exp().numpy()
    for axis in range(law.dim):  # sums over the nodes of a cell, one axis after the other
        split = (*density.shape[:axis], -1, 4, *density.shape[axis + 1 :])
        density = np.tensordot(density.reshape(split), weights * side / 2, axes=(axis + 1, 0))
    expected = len(x) * density
    assert expected.sum() < len(x) * (1 + 1e-6)

    kept = expected >= 5
    observed, wanted = np.append(counts[kept], 0), np.append(expected[kept], 0)
    observed[-1], wanted[-1] = len(x) - observed.sum(), len(x) - wanted.sum()
    return stats.chisquare(observed, wanted).pvalue


@pytest.mark.parametrize("name", [name for name, law in LAWS.items() if law.dim <= 3])  # else too many cells
def test_draws_fill_the_cells_as_the_density_says(name):
    law = LAWS[name]
    x = law.sample(N, generator(0), dtype=torch.float64)
    assert cell_p_value(law, x, nsr=0.15) > ERROR / len(LAWS)


def angle_biased(n):
    """A circle whose angle is drawn with density (1 + 0.1 cos) / 2 pi."""
    turn = torch.rand(n, generator=generator(0), dtype=torch.float64) * 2 * math.pi
    turn = turn - 0.1 * turn.sin()  # to first order in 0.1
    return torch.stack([turn.cos(), turn.sin()], -1)


def cube_not_sphere(n):
    """Normalised points of a cube: not uniform on the sphere."""
    x = torch.rand(n, 3, generator=generator(0), dtype=torch.float64) * 2 - 1
    return x / x.norm(dim=-1, keepdim=True)


NEAR_MISSES = {
    "a circle's angle biased by a tenth": (Sphere(2), angle_biased),
    "a sphere from a normalised cube": (Sphere(3), cube_not_sphere),
    "std 5 % too large": (
        Gaussians([(0, 0)], 0.5),
        lambda n: Gaussians([(0, 0)], 0.525).sample(n, generator(0), torch.float64),
    ),
    "weights .5, .5 for .53, .47": (
        Gaussians([(-1, 0), (1, 0)], 0.1, (0.53, 0.47)),
        lambda n: Gaussians([(-1, 0), (1, 0)], 0.1).sample(n, generator(0), torch.float64),
    ),
    "a segment 3 % too long": (
        Segment((-1, 0), (1, 0)),
        lambda n: Segment((-1.03, 0), (1.03, 0)).sample(n, generator(0), torch.float64),
    ),
    "an arc 2 % too long": (
        Arc(1.0, 0, 3),
        lambda n: Arc(1.0, 0, 3.06).sample(n, generator(0), torch.float64),
    ),
    "a spiral uniform in angle": (
        spiral(2),
        lambda n: Mixture(spiral(2).laws).sample(n, generator(0), torch.float64),
    ),
    "a polyline whose segments are equally likely": (
        polyline([(-1, 0), (0, 0), (0, 1.2)]),
        lambda n: Mixture(polyline([(-1, 0), (0, 0), (0, 1.2)]).laws).sample(n, generator(0), torch.float64),
    ),
    "the white squares": (
        Checkerboard(),
        lambda n: (
            Checkerboard().sample(n, generator(0), torch.float64) * torch.tensor([-1.0, 1.0], dtype=torch.float64)
        ),
    ),
    "an axis 5 % too long": (
        AffineGaussian((0, 0), [(0.6, 0.8)]),
        lambda n: AffineGaussian((0, 0), [(0.63, 0.84)]).sample(n, generator(0), torch.float64),
    ),
    "a mixture that forgets its weights": (
        Mixture([Sphere(2), Box((1, 1), (2, 2))], (0.45, 0.55)),
        lambda n: Mixture([Sphere(2), Box((1, 1), (2, 2))]).sample(n, generator(0), torch.float64),
    ),
}


@pytest.mark.parametrize(("law", "sampler"), NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_near_miss_samplers_are_rejected(law, sampler):
    assert cell_p_value(law, sampler(N), nsr=0.15) < ERROR / len(LAWS)


# --- In any dimension: p_t(y) is the average of N(y; alpha x, sigma^2 I) over draws x, x0hat(y) their weighted mean


def z_scores(law, density_of, x, alpha=0.7, nsr=0.7, queries=8):
    """Standard errors between the average over draws x and exp(log_density), denoise; [queries, 1 + d]."""
    sigma = alpha * nsr
    at = law.sample(queries, generator(2), torch.float64)
    y = alpha * at + sigma * torch.randn(at.shape, generator=generator(3), dtype=at.dtype)
    p, refined = density_of.log_density(y, alpha, sigma).exp(), density_of.denoise(y, alpha, sigma)
    log_kernel = -(y[:, None] - alpha * x).square().sum(-1) / (2 * sigma**2)
    kernel = log_kernel.exp() / (2 * math.pi * sigma**2) ** (law.dim / 2)  # [queries, N]
    # both have mean zero if the law is right: kernel - p, and kernel (x - x0hat)
    terms = torch.cat([(kernel - p[:, None])[..., None], kernel[..., None] * (x - refined[:, None])], -1)
    deviation = terms.std(1) / math.sqrt(len(x))
    return terms.mean(1) / deviation.clamp(min=1e-12)  # a coordinate in which the law is constant has none


def least_p_value(z):
    """Two-sided and normal: averages of N bounded terms."""
    return float(2 * stats.norm.sf(z.abs().max().item()))


@pytest.mark.parametrize("name", [*LAWS, *HIGH])
def test_density_and_posterior_mean_are_averages_over_draws(name):
    law = (LAWS | HIGH)[name]
    z = z_scores(law, law, law.sample(N, generator(0), torch.float64))
    assert least_p_value(z) > ERROR / (z.numel() * len(LAWS | HIGH))


@pytest.mark.parametrize("name", [*LAWS, *HIGH])
def test_averages_over_draws_reject_a_law_5_percent_larger(name):
    law = (LAWS | HIGH)[name]
    z = z_scores(law, Scaled(law, 1.05), law.sample(N, generator(0), torch.float64))
    assert least_p_value(z) < ERROR / (z.numel() * len(LAWS | HIGH))


# --- Draws


@pytest.mark.parametrize("name", [*LAWS, *HIGH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_repeat_with_the_seed_and_keep_the_dtype(name, dtype):
    law = (LAWS | HIGH)[name]
    first, again, other = (law.sample(100, generator(seed), dtype=dtype, device="cpu") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == dtype
    assert first.shape == (100, law.dim)
    assert law.sample(0).shape == (0, law.dim)
    state = torch.get_rng_state()
    law.sample(3, generator(0))
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn beside the generator


def test_random_isometry_is_an_isometry_without_direction():
    q = np.stack([random_isometry(3, 2, seed).numpy() for seed in range(2000)])
    np.testing.assert_allclose(np.swapaxes(q, 1, 2) @ q, np.broadcast_to(np.eye(2), (2000, 2, 2)), atol=1e-14)
    # Haar: every entry is a coordinate of a uniform point of S^2, hence uniform on [-1, 1]
    p_values = [stats.kstest(q[:, i, j], stats.uniform(-1, 2).cdf).pvalue for i in range(3) for j in range(2)]
    assert min(p_values) > ERROR / 6
