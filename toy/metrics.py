"""Metrics of generated samples against the distribution that they should follow.

Samples are x_1..x_n of a generator, a batch over seeds [seed, n, d]; every metric gives one value a seed, [seed].
What a metric needs of the real distribution (cells, threshold, a fresh sample) is computed once, by `Reference.of`.
A real sample does not have 0 in every metric: at finite n the histogram, sliced W2, W2 and the divergences have a
floor, which is that of a fresh sample of the law itself (`floor`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from theory.common.seeds import generator, usual_state
from theory.manifolds.law import Law
from toy import noised

DIRECTIONS = 64  # of the sliced distance; a multiple of d is used
PAIRED = 1024  # samples a seed in the energy distance, whose cost is quadratic
MATCHED = 512  # samples a seed in the exact W2, whose cost is cubic
CONDITIONED = 256  # on-manifold samples a seed in what is given on the manifold; n / 4 of fewer samples
TOLERANCES = (0.02, 0.1)  # of the share off the manifold, beside the reference's own
FRESH = 101  # stream of the floor's random numbers
COPIED = 1 / 3  # of the distance to the second nearest training sample
APART = 1e-4  # points closer than this are one point


class Metric(NamedTuple):
    """The meaning of a metric in one line, and which direction is better."""

    description: str
    better: Literal["lower", "higher"]


METRICS: dict[str, Metric] = {
    "off_manifold": Metric("share of samples further from the manifold than the tolerance, 0.05", "lower"),
    **{f"off_manifold_{t:g}": Metric(f"the same at a tolerance of {t:g}", "lower") for t in TOLERANCES},
    "mean_distance": Metric("mean distance to the manifold", "lower"),
    "distance_median": Metric("median distance to the manifold", "lower"),
    "distance_p90": Metric("90 % quantile of the distance to the manifold", "lower"),
    "distance_p99": Metric("99 % quantile of the distance to the manifold", "lower"),
    "coverage": Metric("share of the manifold's cells hit by on-manifold samples", "higher"),
    "total_variation": Metric("total variation between the histograms over the manifold's cells", "lower"),
    "sliced_w2": Metric("sliced 2-Wasserstein distance to a fresh real sample", "lower"),
    "energy_distance": Metric("energy distance to a fresh real sample (unbiased, may be negative)", "lower"),
    "coverage_on": Metric("coverage of a fixed number of on-manifold samples, minus that of real ones", "higher"),
    "total_variation_on": Metric("total variation of as many, minus that of real ones", "lower"),
    "w2": Metric("exact 2-Wasserstein distance between samples and fresh real samples", "lower"),
    **{name: Metric(description, "lower") for name, description in noised.NAMES.items()},
    "kl": Metric("mean of the six divergences of the noised laws: what searches select by", "lower"),
}
FINAL = ("coverage_on", "total_variation_on", "w2", *noised.NAMES, "kl")  # at the end of a run only


@dataclass(frozen=True)
class Cells:
    """A partition of M into the Voronoi cells of centres on M, and the real mass of each.

    A law whose projections take at most `count` values (points, a mixture of round Gaussians) has one cell a value.
    Otherwise the centres are spread out by farthest-point selection and made even by Lloyd's iteration: on a circle
    the cells are equal arcs up to a few percent.
    """

    centres: Float[Tensor, "cell d"]
    masses: Float[Tensor, " cell"]

    @classmethod
    @usual_state()
    def of(cls, law: Law, count: int = 64) -> Cells:
        """At most `count` cells, the same in every process; the masses have a relative error of sqrt(count) / 512.

        Raises:
            ValueError: count < 1.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1; given {count}")
        points = law.project(law.sample(2**16, _seeded(1)))
        centres = _lloyd(law, points, _spread_out(points[: 2**13], count))
        generator, hits = _seeded(2), points.new_zeros(len(centres))
        for _ in range(8):  # eight blocks of 2^15: bounds the memory in R^64
            nearest = _nearest(law.project(law.sample(2**15, generator)), centres)
            hits += torch.bincount(nearest, minlength=len(centres))
        return cls(centres[hits > 0], hits[hits > 0] / hits.sum())

    def index(self, projected: Float[Tensor, "*n d"]) -> Int[Tensor, "*n"]:
        """The cell of each point of M: its nearest centre.   [..., d] -> [...]"""
        return _nearest(projected, self.centres)


cells_of = lru_cache(maxsize=16)(Cells.of)  # laws compare by value; a process trains many jobs on the same one


@dataclass(frozen=True)
class Reference:
    """Cells, threshold and real samples that the metrics compare with, computed once from the law.

    Attributes:
        cells: the partition of M.
        threshold: a sample further than this from M is off the manifold: tolerance + the 99 % quantile of dist(X, M)
            for X ~ P. That quantile is 0 for an exact manifold, but not for one thickened by noise, whose own
            samples lie off its core.
        spread: that quantile.
        seeds: whose samples these are.
        sample: fresh real samples, independent of one another over seeds.
        directions: unit vectors of the sliced distance.
    """

    cells: Cells
    threshold: float
    spread: float
    seeds: tuple[int, ...]
    sample: Float[Tensor, "seed n d"]
    directions: Float[Tensor, "direction d"]

    @classmethod
    @usual_state()
    def of(cls, law: Law, seeds: Sequence[int], n: int = 2048, tolerance: float = 0.05, cells: int = 64) -> Reference:
        """The reference of `seeds`; that of one seed does not depend on which others are there.

        Raises:
            ValueError: no seeds, n < 2, tolerance < 0 or cells < 1.
        """
        if not seeds or n < 2 or tolerance < 0:
            raise ValueError(f"seeds, n >= 2, tolerance >= 0 are wanted; given {list(seeds)}, {n}, {tolerance}")
        spread = law.distance(law.sample(2**14, _seeded(3), torch.float64)).quantile(0.99).item()
        return cls(
            cells=cells_of(law, cells),
            threshold=tolerance + spread,
            spread=spread,
            seeds=tuple(seeds),
            sample=torch.stack([law.sample(n, _seeded(1_000_000 + seed)) for seed in seeds]),
            directions=directions(law.dim),
        )


@torch.no_grad()
def evaluate(
    law: Law, samples: Float[Tensor, "seed n d"], reference: Reference, final: bool = False
) -> dict[str, Float[Tensor, " seed"]]:
    """Every metric of METRICS, in its order; those of FINAL, which cost more than all others, only if `final`.

    What is given on the manifold is NaN for a seed with fewer on-manifold samples than it is measured on; all else is
    finite.

    Raises:
        ValueError: samples' shape is not that of reference.sample, or a value is NaN or infinite.
    """
    if samples.shape != reference.sample.shape:
        wanted, given = tuple(reference.sample.shape), tuple(samples.shape)
        raise ValueError(f"samples must have the reference's shape [seed, n, d] = {wanted}; given {given}")
    samples = samples.to(reference.sample.dtype)
    bad = (~samples.isfinite()).any(-1).sum(-1)  # [seed]
    if bad.any():
        raise ValueError(f"samples must be finite; given NaN or inf in {bad.tolist()} samples of the seeds")

    projected = law.project(samples)
    distance = torch.linalg.vector_norm(samples - projected, dim=-1)  # [seed, n]
    index, masses = reference.cells.index(projected), reference.cells.masses
    on_manifold = distance <= reference.threshold
    ordered = _sorted(distance)
    values = {
        "off_manifold": off_manifold(distance, reference.threshold),
        **{f"off_manifold_{t:g}": off_manifold(distance, reference.spread + t) for t in TOLERANCES},
        "mean_distance": distance.mean(-1),
        "distance_median": quantile(ordered, 0.5),
        "distance_p90": quantile(ordered, 0.9),
        "distance_p99": quantile(ordered, 0.99),
        "coverage": coverage(index, on_manifold, len(masses)),
        "total_variation": total_variation(index, masses),
        "sliced_w2": sliced_w2(samples, reference.sample, reference.directions),
        "energy_distance": energy_distance(samples[:, :PAIRED], reference.sample[:, :PAIRED]),
    }
    if final:
        values |= given_on_manifold(index, on_manifold, masses)
        values["w2"] = w2(samples[:, :MATCHED], reference.sample[:, :MATCHED])
        divergences = noised.divergences(law, samples, reference.seeds)
        divergences["kl"] = torch.stack(list(divergences.values())).mean(0)
        values |= {name: value.to(samples.dtype) for name, value in divergences.items()}
    return values


@lru_cache(maxsize=16)
@usual_state()
def floor(law: Law, n: int = 2048, seeds: int = 8) -> dict[str, Float[Tensor, " seed"]]:
    """Every metric of real samples, against other real samples: what a perfect generator has at n samples.

    The values are of `seeds` independent samples; their mean is the floor, their deviation that of a perfect seed.

    Raises:
        ValueError: n < 2 or seeds < 1.
    """
    return evaluate(law, real_samples(law, n, seeds), Reference.of(law, range(seeds), n), final=True)


def real_samples(law: Law, n: int, seeds: int) -> Float[Tensor, "seed n d"]:
    """Real samples that no reference has."""
    return torch.stack([law.sample(n, generator(seed, FRESH)) for seed in range(seeds)])


def off_manifold(distance: Float[Tensor, "seed n"], threshold: float) -> Float[Tensor, " seed"]:
    """Share of samples with dist(x, M) > threshold."""
    return (distance > threshold).to(distance.dtype).mean(-1)


def quantile(ordered: Float[Tensor, "seed n"], share: float) -> Float[Tensor, " seed"]:
    """The least of the sorted values that at least this share of them does not exceed."""
    return ordered[:, max(0, math.ceil(share * ordered.shape[1]) - 1)]


def coverage(index: Int[Tensor, "seed n"], on_manifold: Bool[Tensor, "seed n"], count: int) -> Float[Tensor, " seed"]:
    """Share of the `count` cells that hold at least one on-manifold sample.

    n uniform samples on cells of equal mass: 1 - (1 - 1/count)^n in expectation.
    """
    return (_histogram(index, on_manifold.float(), count) > 0).float().mean(-1)


def total_variation(index: Int[Tensor, "seed n"], masses: Float[Tensor, " cell"]) -> Float[Tensor, " seed"]:
    """1/2 sum_c |share of the samples in cell c - masses_c|, all samples counted in the cell they project to.

    Floor of a real sample: about sum_c sqrt(masses_c (1 - masses_c) / (2 pi n)), 0.07 for 64 cells and n = 2048.
    """
    shares = _histogram(index, torch.ones_like(index, dtype=masses.dtype), len(masses)) / index.shape[-1]
    return (shares - masses).abs().sum(-1) / 2


def given_on_manifold(
    index: Int[Tensor, "seed n"], on_manifold: Bool[Tensor, "seed n"], masses: Float[Tensor, " cell"]
) -> dict[str, Float[Tensor, " seed"]]:
    """Coverage and total variation of the first m on-manifold samples, minus their means for m real samples.

    m = CONDITIONED, or n / 4 if that is less; the same for every seed, so that neither depends on how many samples
    are on the manifold. NaN for a seed that has fewer. For N_c ~ Bin(m, masses_c) the means are exact:

        coverage          1/C sum_c 1 - (1 - masses_c)^m
        total variation   1/2 sum_c E|N_c / m - masses_c| = sum_c k_c (1 - masses_c) P(N_c = k_c) / m,
                          k_c = floor(m masses_c) + 1

    The second is de Moivre's. Source: Diaconis and Zabell, "Closed form summation for classical distributions", 1991.
    """
    m = max(1, min(CONDITIONED, index.shape[1] // 4))
    first = on_manifold & (on_manifold.cumsum(-1) <= m)  # [seed, n]
    counts = _histogram(index, first.to(masses), len(masses))
    enough = on_manifold.sum(-1) >= m
    p = masses.double().cpu().numpy()
    k = np.floor(m * p) + 1
    covered, away = (1 - (1 - p) ** m).mean(), (k * (1 - p) * stats.binom.pmf(k, m, p)).sum() / m
    found = {
        "coverage_on": (counts > 0).to(masses).mean(-1) - covered,
        "total_variation_on": (counts / m - masses).abs().sum(-1) / 2 - away,
    }
    return {name: value.where(enough, math.nan) for name, value in found.items()}


def sliced_w2(
    samples: Float[Tensor, "seed n d"], real: Float[Tensor, "seed n d"], directions: Float[Tensor, "direction d"]
) -> Float[Tensor, " seed"]:
    """SW2 = (mean over directions theta of W2^2 between the distributions of <theta, x> and <theta, y>)^(1/2).

    Each one-dimensional W2 is exact: sorted values are matched in order. Bonneel et al., "Sliced and Radon
    Wasserstein barycenters of measures", 2015. A shift by delta has SW2 = ||delta|| / sqrt(d).
    """
    return (_sorted(directions @ samples.mT) - _sorted(directions @ real.mT)).square().mean((-2, -1)).sqrt()


def directions(dim: int) -> Float[Tensor, "direction d"]:
    """Fixed unit vectors: random orthonormal bases, as many as make at least DIRECTIONS vectors.

    A whole basis averages <theta, delta>^2 to exactly ||delta||^2 / d, so that a shift is measured without error.
    """
    bases = -(-DIRECTIONS // dim)
    gaussian = torch.randn(bases, dim, dim, generator=_seeded(4), dtype=torch.float64)
    return torch.linalg.qr(gaussian).Q.reshape(-1, dim).float()


def energy_distance(samples: Float[Tensor, "seed n d"], real: Float[Tensor, "seed m d"]) -> Float[Tensor, " seed"]:
    """2 E||X - Y|| - E||X - X'|| - E||Y - Y'||, the U-statistic: i = j left out, hence unbiased and at times below 0.

    It has the units of x; its square root is a metric. Szekely and Rizzo, "Energy statistics", 2013.
    """
    n, m = samples.shape[1], real.shape[1]
    centre = real.mean(1, keepdim=True)  # distances in float32 lose digits far from the origin
    x, y = samples - centre, real - centre
    within_x, within_y = _sum_of_distances(x, x) / (n * (n - 1)), _sum_of_distances(y, y) / (m * (m - 1))
    return 2 * _sum_of_distances(x, y) / (n * m) - within_x - within_y


def w2(samples: Float[Tensor, "seed n d"], real: Float[Tensor, "seed n d"]) -> Float[Tensor, " seed"]:
    """W2 = (min over permutations pi of mean_i ||x_i - y_pi(i)||^2)^(1/2), exact; O(n^3)."""

    def one(x: np.ndarray, y: np.ndarray) -> float:
        cost = cdist(x, y, "sqeuclidean")
        return float(cost[linear_sum_assignment(cost)].mean() ** 0.5)

    pairs = zip(samples.cpu().numpy(), real.cpu().numpy(), strict=True)
    return torch.tensor([one(x, y) for x, y in pairs], dtype=samples.dtype, device=samples.device)


def copies(samples: Float[Tensor, "seed n d"], training: Float[Tensor, "k d"]) -> Float[Tensor, " seed"]:
    """Share of samples that are copies: less than COPIED as far from the nearest training sample as from the second.

    Of fresh real samples on an m-dimensional manifold it is COPIED^m where training samples are many (exactly, for a
    Poisson process: no second one within r / COPIED given the nearest at r), so that it is to be read beside its floor.
    Source: Yoon, Choi, Kwon and Ryu, "Diffusion probabilistic models generalize when they fail to memorize", 2023.
    """
    training, exact = training.to(samples), "donot_use_mm_for_euclid_dist"  # products cancel where two points are near
    apart = (torch.cdist(x, training, compute_mode=exact) for x in samples)
    near = torch.stack([distances.topk(2, largest=False).values for distances in apart])  # [seed, n, 2]
    return (near[..., 0] < COPIED * near[..., 1]).to(samples.dtype).mean(-1)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _spread_out(points: Float[Tensor, "n d"], count: int) -> Float[Tensor, "cell d"]:
    """Farthest-point selection: from the outermost point on, always the point farthest from all chosen so far."""
    gap = torch.linalg.vector_norm(points - points.mean(0), dim=-1)  # [n]
    chosen = [int(gap.argmax())]
    gap = torch.linalg.vector_norm(points - points[chosen[0]], dim=-1)
    while len(chosen) < count and gap.max() > APART:
        chosen.append(int(gap.argmax()))
        gap = torch.minimum(gap, torch.linalg.vector_norm(points - points[chosen[-1]], dim=-1))
    return points[chosen]


def _lloyd(law: Law, points: Float[Tensor, "n d"], centres: Float[Tensor, "cell d"]) -> Float[Tensor, "cell d"]:
    """Lloyd's iteration kept on M: each centre moves to the projection of the mean of its cell."""
    for _ in range(10):
        nearest = _nearest(points, centres)
        size = torch.bincount(nearest, minlength=len(centres))[:, None]
        total = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(size > 0, law.project(total / size.clamp(min=1)), centres)
    return centres


def _nearest(points: Float[Tensor, "*n d"], centres: Float[Tensor, "cell d"]) -> Int[Tensor, "*n"]:
    return torch.cdist(points, centres).argmin(-1)


def _histogram(
    index: Int[Tensor, "seed n"], weights: Float[Tensor, "seed n"], count: int
) -> Float[Tensor, "seed cell"]:
    return weights.new_zeros(len(index), count).scatter_add_(1, index, weights)


def _sorted(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Sorted along the last axis; numpy's vectorised sort is about fifty times faster here than torch's."""
    return torch.from_numpy(np.sort(x.cpu().numpy(), axis=-1)).to(x.device)


def _sum_of_distances(x: Float[Tensor, "seed n d"], y: Float[Tensor, "seed m d"]) -> Float[Tensor, " seed"]:
    """sum_ij ||x_i - y_j||, in blocks that stay in the processor's cache."""
    return torch.stack([torch.cdist(block, y).sum((1, 2)) for block in x.split(32, dim=1)]).sum(0)
