"""Distances between two sets of images in the space of some network's features; all in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

CHUNK = 2048  # rows of a matrix of distances that are in memory at a time


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of features."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]


def moments(features: Float[Tensor, "n d"]) -> Moments:
    """Mean and unbiased covariance, centred before it is squared.

    Raises:
        ValueError: fewer than two images; features that are not finite.
    """
    if len(features) < 2:
        raise ValueError(f"at least 2 images are wanted; given {len(features)}")
    if not features.isfinite().all():
        raise ValueError("features are not finite")
    x = features.double()
    mean = x.mean(0)
    x = x - mean
    return Moments(mean, x.T @ x / (len(x) - 1))


def frechet(a: Moments, b: Moments) -> float:
    """The squared 2-Wasserstein distance of two normal distributions (Frechet distance; FID in Inception's features):

        |m_a - m_b|^2 + tr C_a + tr C_b - 2 tr (C_a^1/2 C_b C_a^1/2)^1/2.

    The last trace is the sum of the singular values of C_a^1/2 C_b^1/2: no root is taken of what is already rounded,
    and covariances without full rank need no ridge. (Heusel et al. 2017; Bures 1969.)

    Raises:
        ValueError: features of different dimension; entries that are not finite; a covariance with an eigenvalue below
            zero by more than rounding.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features have dimension {len(a.mean)} on one side and {len(b.mean)} on the other")
    (root_a, vectors_a), (root_b, vectors_b) = spectrum(a.covariance), spectrum(b.covariance)
    product = root_a[:, None] * (vectors_a.T @ vectors_b) * root_b
    squares = (a.mean - b.mean).double().square().sum() + root_a.square().sum() + root_b.square().sum()
    return max(0.0, (squares - 2 * torch.linalg.svdvals(product).sum()).item())


def spectrum(covariance: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Square roots of the eigenvalues, and the eigenvectors.

    Raises:
        ValueError: no covariance.
    """
    if not covariance.isfinite().all():
        raise ValueError("a covariance is not finite")
    values, vectors = torch.linalg.eigh(covariance.double())
    if values[0] < -1e-6 * values[-1].abs():
        raise ValueError(f"no covariance: its eigenvalues go from {values[0]:.3g} to {values[-1]:.3g}")
    return values.clamp_min(0).sqrt(), vectors


def kernel_distance(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation, over random subsets, of the squared maximum mean discrepancy, unbiased, with the
    kernel (x.y / d + 1)^3. KID if the features are Inception's (Binkowski et al. 2018); computed by torchmetrics.

    Subsets have `size` images, or all of the smaller side.

    Raises:
        ValueError: fewer than two images.
    """
    from torchmetrics.image.kid import poly_mmd

    if min(len(a), len(b)) < 2:
        raise ValueError(f"at least 2 images are wanted; given {len(a)} and {len(b)}")
    size = min(size, len(a), len(b))
    draws = torch.Generator().manual_seed(seed)

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=draws)[:size]].double()

    found = torch.stack([poly_mmd(some(a), some(b)) for _ in range(subsets)])
    return found.mean().item(), found.std(correction=0).item()


class PrecisionRecall(NamedTuple):
    precision: float
    """Share of samples that lie among the real images."""
    recall: float
    """Share of real images that lie among the samples."""


def precision_recall(real: Float[Tensor, "n d"], samples: Float[Tensor, "m d"], k: int = 3) -> PrecisionRecall:
    """A point lies among others if it is no further from one of them than that one's k-th neighbour among them.

    (Kynkaanniemi et al. 2019.)

    Raises:
        ValueError: k or fewer images on a side.
    """
    if min(len(real), len(samples)) <= k:
        raise ValueError(f"more than {k} images are wanted on each side; given {len(real)} and {len(samples)}")
    return PrecisionRecall(
        among(samples, real, radii(real, k)).double().mean().item(),
        among(real, samples, radii(samples, k)).double().mean().item(),
    )


class DensityCoverage(NamedTuple):
    density: float
    """Real images in whose ball a sample lies, over k: about 1 where samples are as dense as real images are."""
    coverage: float
    """Share of real images in whose ball a sample lies."""


def density_coverage(real: Float[Tensor, "n d"], samples: Float[Tensor, "m d"], k: int = 5) -> DensityCoverage:
    """The ball of a real image reaches to its k-th neighbour among them. (Naeem et al. 2020.)

    Raises:
        ValueError: k or fewer real images, or no samples.
    """
    if len(real) <= k or not len(samples):
        raise ValueError(f"more than {k} real images and a sample are wanted; given {len(real)} and {len(samples)}")
    radius, inside, covered = radii(real, k), 0, torch.zeros(len(real), dtype=torch.bool)
    for _, rows in distances(samples, real):
        within = rows <= radius
        inside += int(within.sum())
        covered |= within.any(0)
    return DensityCoverage(inside / (k * len(samples)), covered.double().mean().item())


def radii(points: Float[Tensor, "n d"], k: int) -> Float[Tensor, " n"]:
    """The distance of each point to its k-th nearest of the others."""
    found = [rows.kthvalue(k + 1, dim=1).values for _, rows in distances(points, points)]  # the nearest is itself
    return torch.cat(found)


def among(
    points: Float[Tensor, "n d"], others: Float[Tensor, "m d"], radius: Float[Tensor, " m"]
) -> Bool[Tensor, " n"]:
    """Which points lie in the ball of at least one of the others."""
    return torch.cat([(rows <= radius).any(1) for _, rows in distances(points, others)])


class Neighbours(NamedTuple):
    """The nearest of others for each point: how far, and which."""

    distance: Float[Tensor, " n"]
    which: Int64[Tensor, " n"]


def nearest(points: Float[Tensor, "n d"], others: Float[Tensor, "m d"] | None = None) -> Neighbours:
    """The nearest of the others for each point; if none are given, of the other points.

    Raises:
        ValueError: there are no other points.
    """
    alone = others is None
    others = points if others is None else others
    if len(others) < 1 + alone:
        raise ValueError("no other images to compare with")
    found = []
    for first, rows in distances(points, others):
        if alone:
            rows[torch.arange(len(rows)), first + torch.arange(len(rows))] = torch.inf
        found.append(rows.min(1))
    return Neighbours(torch.cat([rows.values for rows in found]), torch.cat([rows.indices for rows in found]))


def memorised(samples: Float[Tensor, "n d"], training: Float[Tensor, "m d"], quantile: float = 0.01) -> float:
    """Share of samples nearer to a training image than all but a `quantile` of the training images are to another one.

    About `quantile` for samples that are as new as the training images are to each other; more if they are copies.

    Raises:
        ValueError: fewer than two training images.
    """
    threshold = nearest(training).distance.quantile(quantile)
    return (nearest(samples, training).distance < threshold).double().mean().item()


def distances(
    points: Float[Tensor, "n d"], others: Float[Tensor, "m d"]
) -> Iterator[tuple[int, Float[Tensor, "rows m"]]]:
    """(index of the first row, Euclidean distances [rows, m]) in chunks of rows, by matrix products in float64: the
    distance of a copy comes out as 1e-8 of its norm instead of 0."""
    far = others.double()
    for first in range(0, len(points), CHUNK):
        rows = points[first : first + CHUNK].double()
        yield first, torch.cdist(rows, far, compute_mode="use_mm_for_euclid_dist")
