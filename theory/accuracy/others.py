"""Ground truths of public toys, written anew from their description, at points where they fail.

Each is a formula for the score grad log p_t(y) of a known law. It stands beside this library's score and a Monte Carlo
estimate that uses neither: the ratio E[w (alpha X - y) / sigma^2] / E[w] over draws of X, w the density of y given X.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
import torch
from scipy.special import ive
from torch import Tensor

from theory.accuracy.methods import spread_evenly
from theory.common.lines import row
from theory.manifolds import Gaussians, Law, Sphere, make

Score = Callable[[Law, Tensor, float, float], Tensor]  # of the law, y [n, d], alpha, sigma   -> [n, d]


def of_no_argument(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """The gradient of log p where the function that is differentiated takes y from outside and not its argument: 0."""
    point = torch.zeros_like(y).requires_grad_()

    def log_density(_: Tensor) -> Tensor:
        return law.log_density(y, alpha, sigma).sum()

    found = torch.autograd.grad(log_density(point) + 0 * point.sum(), point)[0]
    return found.detach()


def without_alpha(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """(x0hat - y) / sigma^2, where Tweedie's formula has alpha x0hat."""
    return (law.denoise(y, alpha, sigma) - y) / sigma**2


def sphere_of_its_dimension(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """The unit sphere's Bessel ratio at the order of the sphere's dimension k, where that of the space, k + 1, belongs.

    (A(|y| / sigma^2) - |y|) y / (|y| sigma^2), A = I_(k/2) / I_(k/2 - 1), by exponentially scaled Bessel functions.
    """
    assert law.intrinsic_dim is not None
    k, length = law.intrinsic_dim, torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    kappa = (length / sigma**2).numpy()
    ratio = torch.from_numpy(ive(k / 2, kappa)) / torch.from_numpy(ive(k / 2 - 1, kappa))
    return (ratio - length) * y / (length * sigma**2)


def densities(law: Law, y: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """(density of each component at y [n, m], its variance [m], from y to its mean [n, m, d]), in y's precision."""
    assert isinstance(law, Gaussians)
    means, std, weights = (part.to(y) for part in spread_evenly(law))
    variance = alpha**2 * std.square() + sigma**2
    way = alpha * means - y[:, None]
    exponent = -way.square().sum(-1) / (2 * variance)
    return weights * torch.exp(exponent) / (2 * math.pi * variance) ** (law.dim / 2), variance, way


def as_it_stands(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """The sum of the components' gradients over the sum of their densities, by exp and in float32."""
    density, variance, way = densities(law, y.float(), alpha, sigma)
    slopes = (density / variance)[..., None] * way
    return (slopes.sum(1) / density.sum(1, keepdim=True)).to(y)


def of_the_density(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """grad p, the sum of the components' gradients, called the score; the division by p is missing."""
    density, variance, way = densities(law, y, alpha, sigma)
    return ((density / variance)[..., None] * way).sum(1)


def of_a_padded_density(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """grad log(p + 1e-9)."""
    density, _, _ = densities(law, y, alpha, sigma)
    return of_the_density(law, y, alpha, sigma) / (density.sum(1, keepdim=True) + 1e-9)


class Other(NamedTuple):
    """A formula at a point."""

    name: str
    seen: str
    """Where such a formula stands, or stood."""
    score: Score
    law: Law
    where: str
    y: tuple[float, ...]
    alpha: float
    sigma: float
    draws: int = 200_000


FOUR = Gaussians([(-2.0, -2.0), (2.0, 2.0), (-2.0, 2.0), (2.0, -2.0)], std=0.5)
PAIR = Gaussians([(-0.1, 0.0), (0.1, 0.0)])
LINE = Gaussians([(-2.0,), (2.0,)])
OTHERS = (
    Other(
        "the differentiated function does not use its argument",
        "gchq/coreax, tests/unit/test_score_matching.py",
        of_no_argument,
        FOUR,
        "four Gaussians",
        (1.4, 1.2),
        1.0,
        0.8,
    ),
    Other(
        "Tweedie's formula without alpha",
        "layer6ai-labs/dgm_geometry",
        without_alpha,
        make("two-moons"),
        "two moons",
        (0.4, 0.2),
        0.6,
        0.8,
    ),
    Other(
        "Bessel functions of the sphere's dimension, not the space's",
        "GBATZOLIS/ID-diff, ksphere_gt",
        sphere_of_its_dimension,
        Sphere(2),
        "circle",
        (0.7, 0.0),
        1.0,
        0.5,
    ),
    Other(
        "the same on S^1000, where they underflow",
        "GBATZOLIS/ID-diff, ksphere_gt",
        sphere_of_its_dimension,
        Sphere(1001),
        "S^1000",
        (32.0, *[0.0] * 1000),
        1.0,
        1.0,
        5_000,
    ),
    Other(
        "a mixture by exp as it stands, in float32",
        "NVlabs/edm2, toy_example.py",
        as_it_stands,
        PAIR,
        "between two points",
        (0.001, 0.5),
        1.0,
        0.02,
    ),
    Other(
        "grad p for grad log p",
        "notebooks on score matching",
        of_the_density,
        FOUR,
        "four Gaussians",
        (1.4, 1.2),
        1.0,
        0.8,
    ),
    Other(
        "log(p + 1e-9) for log p",
        "notebooks on score matching",
        of_a_padded_density,
        LINE,
        "two points on a line",
        (8.0,),
        1.0,
        0.9,
    ),
)


class Row(NamedTuple):
    """A formula's value beside the library's and a Monte Carlo estimate with its standard error.

    Of the score's first coordinate.
    """

    formula: str
    seen: str
    law: str
    y: str
    alpha: float
    sigma: float
    theirs: float
    ours: float
    monte_carlo: float
    standard_error: float


def compared(other: Other, seed: int = 0) -> Row:
    """The score's first coordinate, three times."""
    y = torch.tensor([other.y], dtype=torch.float64)
    theirs, ours = (float(score(other.law, y, other.alpha, other.sigma)[0, 0]) for score in (other.score, by_law))
    mean, error = monte_carlo(other, torch.Generator().manual_seed(seed))
    place = ", ".join(f"{v:g}" for v in other.y[:2]) + (", 0, ..." if len(other.y) > 2 else "")
    return Row(other.name, other.seen, other.where, place, other.alpha, other.sigma, theirs, ours, mean, error)


def by_law(law: Law, y: Tensor, alpha: float, sigma: float) -> Tensor:
    """This library's score."""
    return law.score(y, alpha, sigma)


def monte_carlo(other: Other, generator: torch.Generator) -> tuple[float, float]:
    """The ratio of means over draws of X, in the first coordinate, and its standard error by the delta method."""
    y = torch.tensor(other.y, dtype=torch.float64)
    log_weights, values = [], []
    for start in range(0, other.draws, CHUNK):
        count = min(CHUNK, other.draws - start)
        way = other.alpha * other.law.sample(count, generator, torch.float64) - y
        log_weights.append(-way.square().sum(-1) / (2 * other.sigma**2))
        values.append(way[:, 0] / other.sigma**2)
    share, value = torch.cat(log_weights).softmax(0), torch.cat(values)
    mean = share @ value
    return float(mean), float((share.square() @ (value - mean).square()).sqrt())


CHUNK = 10_000


def window(score: Score = as_it_stands, nodes: int = 200) -> float:
    """The share of the window [-1.6, 1.6]^2 in which the score is not finite.

    For 64 Gaussians of std 0.01 spread evenly on the unit circle, at sigma 0.002.
    """
    angle = torch.arange(64, dtype=torch.float64) / 64 * 2 * math.pi
    law = Gaussians(torch.stack([angle.cos(), angle.sin()], -1).tolist(), std=0.01)
    axis = torch.linspace(-1.6, 1.6, nodes, dtype=torch.float64)
    found = score(law, torch.cartesian_prod(axis, axis), 1.0, 0.002)
    return float((~found.isfinite().all(-1)).double().mean())


def table() -> pd.DataFrame:
    """A row a formula, the columns of `Row`."""
    return pd.DataFrame(map(compared, OTHERS))


WIDTHS = (7, 7, 16)


def lines(found: pd.DataFrame, width: int) -> Iterator[str]:
    """The table in lines of that width."""
    yield "Ground truths of public toys, written anew from their description: the first"
    yield "coordinate of the score by their formula, by this library, and by Monte Carlo."
    yield ""
    yield row(("theirs", "ours", "Monte Carlo"), WIDTHS, "formula", width)
    for entry in found.itertuples():
        level = f"alpha {entry.alpha:g}, sigma {entry.sigma:g}"
        text = f"{entry.formula} ({entry.seen}): {entry.law}, y = ({entry.y}), {level}"
        numbers = (f"{entry.theirs:.4g}".replace("nan", "NaN"), f"{entry.ours:.4g}")
        yield row((*numbers, f"{entry.monte_carlo:.4g} +- {entry.standard_error:.1g}"), WIDTHS, text, width)
    yield ""
    yield f"A mixture by exp in float32 has no finite score in {100 * window():.0f} % of the window"
    yield f"[-1.6, 1.6]^2 (64 Gaussians on a circle, sigma 0.002); this library in {100 * window(by_law):.0f} %."
