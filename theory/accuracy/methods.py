"""The noised quantities of a law as they are usually written, and their errors on a grid of nsr and distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, singledispatch
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import gaussian_kde
from torch import Tensor

from theory.accuracy import reference as highprecision
from theory.manifolds import Arc, Gaussians, Law, Mixture, Segment, Sphere, make

NSR = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e3)
DISTANCES = (0.0, 1e-2, 1.0, 1e2, 1e3)
NODES, DRAWS, SAMPLES = 1000, 4000, 8
QUANTITIES = ("score", "x0hat", "log p")


class Estimate(NamedTuple):
    """Of n points; with a leading axis where there are several samples."""

    score: Float[Tensor, "*samples n d"]
    x0hat: Float[Tensor, "*samples n d"]
    log_density: Float[Tensor, "*samples n"]


def by_law(law: Law, y: Float[Tensor, "n d"], nsr: float) -> Estimate:
    """This library."""
    return Estimate(law.score(y, 1.0, nsr), law.denoise(y, 1.0, nsr), law.log_density(y, 1.0, nsr))


def by_mixture(law: Law, y: Float[Tensor, "n d"], nsr: float) -> Estimate:
    """Points (for Gaussians: the components) by exp and sum, as they stand: 0 / 0 where all underflow."""
    x, std, weights = (part.to(y) for part in spread_evenly(law))
    v = nsr**2 + std.square()  # [m]
    offset = x - y[:, None]  # [n, m, d]
    terms = weights * torch.exp(-offset.square().sum(-1) / (2 * v)) / (2 * math.pi * v) ** (law.dim / 2)  # [n, m]
    density = terms.sum(-1)
    score = ((terms / v)[..., None] * offset).sum(1) / density[:, None]
    means = (std.square()[:, None] * y[:, None] + nsr**2 * x) / v[:, None]
    return Estimate(score, (terms[..., None] * means).sum(1) / density[:, None], density.log())


def by_draws(law: Law, y: Float[Tensor, "n d"], nsr: float) -> Estimate:
    """The Monte Carlo score, E[w x] / E[w] over draws of the prior, for SAMPLES samples; by softmax: never 0 / 0."""
    samples = [_average(prior(law, seed, y.dtype), y, nsr) for seed in range(SAMPLES)]
    return Estimate(*[torch.stack(column) for column in zip(*samples, strict=True)])


def _average(x: Tensor, y: Tensor, nsr: float) -> Estimate:
    exponent = -(x - y[:, None]).square().sum(-1) / (2 * nsr**2)  # [n, m]
    mean = exponent.softmax(-1) @ x
    constant = math.log(len(x)) + y.shape[-1] / 2 * math.log(2 * math.pi * nsr**2)
    return Estimate((mean - y) / nsr**2, mean, exponent.logsumexp(-1) - constant)


def by_kde(law: Law, y: Float[Tensor, "n d"], nsr: float) -> Estimate:
    """Density and its gradient by kernels on draws of x + nsr eps, x0hat by Tweedie's formula."""
    x = prior(law, SAMPLES, torch.float64)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(SAMPLES + 1), dtype=torch.float64)
    noised = x + nsr * noise
    precision, norm = (torch.as_tensor(part).to(y) for part in kernel(noised))
    offset = noised.to(y) - y[:, None]  # [n, m, d]
    pulled = offset @ precision
    terms = torch.exp(-(pulled * offset).sum(-1) / 2) / norm
    density = terms.mean(-1)
    score = (terms[..., None] * pulled).mean(1) / density[:, None]
    return Estimate(score, y + nsr**2 * score, density.log())


def kernel(x: Float[Tensor, "m d"]) -> tuple[Tensor, float]:
    """(inverse covariance, root of det(2 pi covariance)) of scipy's kernel with Scott's bandwidth."""
    covariance = torch.from_numpy(gaussian_kde(x.T.numpy(), bw_method="scott").covariance)
    return torch.linalg.inv(covariance), math.sqrt(float(torch.linalg.det(2 * math.pi * covariance)))


METHODS: dict[str, Callable[[Law, Tensor, float], Estimate]] = {
    "law": by_law,
    "mixture": by_mixture,
    "draws": by_draws,
    "kde": by_kde,
}


@cache
def prior(law: Law, seed: int, dtype: torch.dtype) -> Float[Tensor, "m d"]:
    """DRAWS draws of X, the same in either dtype."""
    return law.sample(DRAWS, torch.Generator().manual_seed(seed), torch.float64).to(dtype)


# --- The nodes of the plain mixture


@singledispatch
def spread_evenly(law: Law) -> tuple[Tensor, Tensor, Tensor]:
    """(points, standard deviations, weights) of a mixture of Gaussians that stands for the law.   [m, d], [m], [m]"""
    raise TypeError(f"law must be made of Gaussians, Sphere, Segment, Arc and Mixture; given {law!r}")


@spread_evenly.register
def _(law: Gaussians) -> tuple[Tensor, Tensor, Tensor]:
    return law._means, law._variance.sqrt(), law._weights


@spread_evenly.register
def _(law: Mixture) -> tuple[Tensor, Tensor, Tensor]:
    points, stds, weights = zip(*[spread_evenly(part) for part in law.laws], strict=True)
    shares = [share * weight for share, weight in zip(law._weights, weights, strict=True)]
    return torch.cat(points), torch.cat(stds), torch.cat(shares)


@spread_evenly.register
def _(law: Segment) -> tuple[Tensor, Tensor, Tensor]:
    start, end = (torch.tensor(point, dtype=torch.float64) for point in (law.start, law.end))
    return _points(start + _middles()[:, None] * (end - start))


@spread_evenly.register
def _(law: Arc) -> tuple[Tensor, Tensor, Tensor]:
    angle = law.start + (law.stop - law.start) * _middles()
    return _points(torch.tensor(law.centre) + law.radius * torch.stack([angle.cos(), angle.sin()], -1))


@spread_evenly.register
def _(law: Sphere) -> tuple[Tensor, Tensor, Tensor]:
    """Equal angles on the circle; Fibonacci's spiral on the sphere in R^3."""
    if law.dim == 2:
        angle = 2 * math.pi * _middles()
        return _points(law.radius * torch.stack([angle.cos(), angle.sin()], -1))
    if law.dim != 3:
        raise TypeError(f"a sphere must be that of R^2 or R^3; given {law!r}")
    height, angle = 2 * _middles() - 1, math.pi * (3 - math.sqrt(5)) * torch.arange(NODES)
    flat = (1 - height.square()).sqrt()
    return _points(law.radius * torch.stack([flat * angle.cos(), flat * angle.sin(), height], -1))


def _middles() -> Tensor:
    """The middles of NODES equal parts of [0, 1]."""
    return (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES


def _points(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x, torch.zeros(len(x), dtype=torch.float64), torch.full((len(x),), 1 / len(x), dtype=torch.float64)


# --- The grid


class Case(NamedTuple):
    """A law and the points at a distance from its support."""

    law: Law
    points: Callable[[Law, float], Float[Tensor, "n d"]]
    distances: tuple[float, ...] = DISTANCES


def along_normals(law: Law, distance: float, n: int = 2) -> Float[Tensor, "n d"]:
    """n points at that distance, on rays normal to the support that are nearest to it at 1e3 still; in float32."""
    generator, found = torch.Generator().manual_seed(0), torch.empty(0, law.dim, dtype=torch.float64)
    while len(found) < n:
        start = 6 * torch.rand(100, law.dim, generator=generator, dtype=torch.float64) - 3
        foot = law.project(start)
        normal = torch.nn.functional.normalize(start - foot, dim=-1)
        outward = (law.distance(foot + 1e3 * normal) - 1e3).abs() < 1e-6
        found = torch.cat([found, (foot + distance * normal)[outward]])
    return found[:n].float().double()


def between_points(law: Law, distance: float) -> Float[Tensor, "1 2"]:
    """The point at that distance from the first two of eight points on the unit circle."""
    radius = math.cos(math.pi / 8) + math.sqrt(distance**2 - math.sin(math.pi / 8) ** 2)
    return torch.tensor([[radius * math.cos(math.pi / 8), radius * math.sin(math.pi / 8)]], dtype=torch.float64)


def between_moons(law: Law, distance: float) -> Float[Tensor, "1 2"]:
    """The point at that distance from the first moon, |y| - 1, and from the end f of the second, |y - f|."""
    f, angle, r = math.hypot(2, 0.5), math.atan2(0.5, 2), 1 + distance
    angle += math.acos((f**2 - 1 + 2 * r) / (2 * r * f))
    return torch.tensor([[r * math.cos(angle), r * math.sin(angle)]], dtype=torch.float64)


CASES = {
    **{name: Case(make(name), along_normals) for name in ("ring", "sphere", "segment", "8-ring", "two-moons")},
    "8 points at a tie": Case(make("8-ring", std=0.0), between_points, DISTANCES[2:]),
    "two-moons at a tie": Case(make("two-moons"), between_moons, DISTANCES[2:]),
}


class Cell(NamedTuple):
    """The relative error of a quantity at one nsr and distance; inf where it is NaN or infinite."""

    law: str
    method: str
    bits: int
    quantity: str
    nsr: float
    distance: float
    error: float
    least: float  # over samples, where there are several
    most: float


def cells(name: str) -> Iterator[Cell]:
    """The errors of every method on the grid of one case, the worst of its points."""
    law, points, distances = CASES[name]
    for nominal in NSR:
        nsr = float(torch.tensor(nominal, dtype=torch.float32))  # a number that both dtypes have
        for distance in distances:
            for dtype, bits in ((torch.float32, 32), (torch.float64, 64)):
                y = points(law, distance).to(dtype)
                truth = exact(law, y, nsr)
                estimates = {method: estimate(law, y, nsr) for method, estimate in METHODS.items()}
                if bits == 64 and distances != DISTANCES:  # costly, and of interest at ties
                    estimates["rounding"] = by_moving(law, y, nsr)
                for method, estimate in estimates.items():
                    errors = relative_errors(estimate, truth, nsr)
                    for quantity, error in zip(QUANTITIES, errors, strict=True):
                        at = (name, method, bits, quantity, nominal, distance)
                        yield Cell(*at, float(error.median()), float(error.min()), float(error.max()))


def by_moving(law: Law, y: Float[Tensor, "1 2"], nsr: float) -> Estimate:
    """The truth at the next number of each coordinate: of the first alone, and of the second alone; two samples."""
    beyond = torch.nextafter(y, torch.full_like(y, math.inf))
    moved = torch.stack([torch.where(torch.tensor(which), beyond, y) for which in ([True, False], [False, True])])
    return Estimate(*[part.unflatten(0, (2, 1)) for part in exact(law, moved.flatten(0, 1), nsr)])


def exact(law: Law, y: Float[Tensor, "n d"], nsr: float) -> Estimate:
    """What 60 digits say of the very numbers y, rounded to float64."""
    rows = [highprecision.exact(law, tuple(point), nsr) for point in y.double().tolist()]
    log_density = [float(value) for value, _, _ in rows]
    x0hat, score = ([[float(v) for v in row[part]] for row in rows] for part in (1, 2))
    return Estimate(*[torch.tensor(part, dtype=torch.float64) for part in (score, x0hat, log_density)])


def relative_errors(estimate: Estimate, truth: Estimate, nsr: float) -> list[Float[Tensor, " samples"]]:
    """Of each quantity, the worst over the points, for each sample; inf for what is not finite.

    That of the score is relative to its size plus 1 / nsr, which it has at draws; that of log p to its size, or 1 if
    that is more.
    """
    difference = [found.double() - wanted for found, wanted in zip(estimate, truth, strict=True)]
    score, x0hat = (torch.linalg.vector_norm(part, dim=-1) for part in difference[:2])
    steepness, size = (torch.linalg.vector_norm(part, dim=-1) for part in truth[:2])
    errors = [score / (steepness + 1 / nsr), x0hat / size, difference[2].abs() / truth[2].abs().clamp(min=1)]
    return [error.nan_to_num(math.inf, math.inf).amax(-1).reshape(-1) for error in errors]
