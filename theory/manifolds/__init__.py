"""Exact laws, their combinators, and the catalogue: `make("ring", dim=8)` is a circle in R^8."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from theory.manifolds.base import Law
from theory.manifolds.combinators import Embedded, Mixture, Product, Scaled, Thickened, random_isometry
from theory.manifolds.gaussians import Gaussians
from theory.manifolds.interval import Box, Segment
from theory.manifolds.sphere import Sphere

__all__ = [
    "Box",
    "Embedded",
    "Gaussians",
    "Law",
    "Mixture",
    "Product",
    "Scaled",
    "Segment",
    "Sphere",
    "Thickened",
    "make",
    "names",
    "random_isometry",
]

EMBEDDING_SEED = 0  # of the isometry by which `make` embeds: the same subspace in every run

Point = Sequence[float]


def _points(means: Sequence[Point] = ((-1, 0), (1, 0))) -> Law:
    return Gaussians(means)


def _eight_ring(std: float = 0.02, radius: float = 1.0) -> Law:
    angles = [2 * math.pi * k / 8 for k in range(8)]
    return Gaussians([(radius * math.cos(a), radius * math.sin(a)) for a in angles], std)


def _grid(std: float = 0.05, spacing: float = 1.0) -> Law:
    steps = [spacing * k for k in (-2, -1, 0, 1, 2)]
    return Gaussians([(a, b) for a in steps for b in steps], std)


def _weighted(weights: Sequence[float] = (0.4, 0.3, 0.2, 0.1), std: float = 0.05) -> Law:
    return Gaussians([(1, 1), (-1, 1), (-1, -1), (1, -1)], std, weights)


def _ring(radius: float = 1.0) -> Law:
    return Sphere(2, radius)


def _sphere(n: int = 2, radius: float = 1.0) -> Law:
    return Sphere(n + 1, radius)


def _segment(start: Point = (-1, 0), end: Point = (1, 0)) -> Law:
    return Segment(start, end)


def _box(lower: Point = (-1, -1), upper: Point = (1, 1)) -> Law:
    return Box(lower, upper)


def _mixed(weights: Sequence[float] | None = None) -> Law:
    return Mixture([Gaussians([(-2, 0)]), Sphere(2, 1.0), Box((1.5, -0.5), (2.5, 0.5))], weights)


CATALOGUE: dict[str, Callable[..., Law]] = {
    "points": _points,
    "8-ring": _eight_ring,
    "grid": _grid,
    "weighted": _weighted,
    "ring": _ring,
    "sphere": _sphere,
    "segment": _segment,
    "box": _box,
    "mixed": _mixed,
}


def names() -> tuple[str, ...]:
    """The names that `make` knows."""
    return tuple(CATALOGUE)


def make(name: str, dim: int | None = None, thickness: float = 0.0, **options: Any) -> Law:
    """The law of that name.

    | name     | law                                             | options (default)                       |
    |----------|-------------------------------------------------|-----------------------------------------|
    | points   | point masses, equally likely                    | means ((-1, 0), (1, 0))                 |
    | 8-ring   | 8 Gaussians on a circle                         | std (0.02), radius (1)                  |
    | grid     | 5 x 5 Gaussians                                 | std (0.05), spacing (1)                 |
    | weighted | Gaussians at (±1, ±1), anticlockwise            | weights (.4, .3, .2, .1), std (0.05)    |
    | ring     | uniform on the circle                           | radius (1)                              |
    | sphere   | uniform on S^n in R^(n+1)                       | n (2), radius (1)                       |
    | segment  | uniform on a segment                            | start ((-1, 0)), end ((1, 0))           |
    | box      | uniform on a full-dimensional box               | lower ((-1, -1)), upper ((1, 1))        |
    | mixed    | point, unit circle and square, equally likely   | weights (equal)                         |

    Args:
        dim: the dimension of the space; None is the law's own. A larger one embeds the law by
            `random_isometry(dim, law.dim, seed=EMBEDDING_SEED)`, a fixed one.
        thickness: tau; where it is positive, the law is thickened by N(0, tau^2 I) in R^dim.

    Raises:
        ValueError: unknown name, dim below the law's own, thickness not in [0, inf), an option out of range.
        TypeError: an option that the law does not take.
    """
    if name not in CATALOGUE:
        raise ValueError(f"name must be one of {', '.join(CATALOGUE)}; given {name!r}{_near(name, CATALOGUE)}")
    takes = inspect.signature(CATALOGUE[name]).parameters
    for option in options:
        if option not in takes:
            raise TypeError(f"options of {name} are {', '.join(takes)}; given {option!r}{_near(option, takes)}")
    if not 0 <= thickness < math.inf:
        raise ValueError(f"thickness must lie in [0, inf); given {thickness}")
    law = CATALOGUE[name](**options)
    if dim is not None and dim < law.dim:
        raise ValueError(f"dim must be at least {law.dim}, the dimension of {name}; given {dim}")
    if dim is not None and dim > law.dim:
        law = Embedded(law, random_isometry(dim, law.dim, EMBEDDING_SEED).tolist())
    return Thickened(law, thickness) if thickness > 0 else law


def _near(word: str, choices: Any) -> str:
    """' (did you mean ...?)', or nothing when no choice is close."""
    close = get_close_matches(word, list(choices), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
