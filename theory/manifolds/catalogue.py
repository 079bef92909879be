"""The named laws, and `make`, which builds them: `make("ring", dim=8)` is a circle in R^8."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from theory.common import checks
from theory.manifolds.arc import Arc, spiral
from theory.manifolds.box import Box, Segment
from theory.manifolds.checkerboard import Checkerboard
from theory.manifolds.combinators import Embedded, Mixture, Product, Thickened, random_isometry
from theory.manifolds.gaussians import Gaussians
from theory.manifolds.law import Law
from theory.manifolds.polyline import polyline, star_vertices
from theory.manifolds.sphere import Sphere
from theory.manifolds.subspace import AffineGaussian

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


def _concentric(radii: Sequence[float] = (0.5, 1.0), weights: Sequence[float] | None = None) -> Law:
    gaps = [b - a for a, b in pairwise(sorted(radii))]
    if 0 in gaps:
        raise ValueError(f"radii must differ; given {radii}")
    return Mixture(
        [Sphere(2, r) for r in radii], weights, reach=min([*radii, *[gap / 2 for gap in gaps]], default=None)
    )


def _sphere(n: int = 2, radius: float = 1.0) -> Law:
    return Sphere(n + 1, radius)


def _torus(radii: Sequence[float] = (1.0, 1.0)) -> Law:
    return Product(*[Sphere(2, r) for r in radii])


def _segment(start: Point = (-1, 0), end: Point = (1, 0)) -> Law:
    return Segment(start, end)


def _polyline(
    vertices: Sequence[Point] = ((-1.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (1.5, 0.5)), closed: bool = False
) -> Law:
    return polyline(vertices, closed)


def _square(half: float = 1.0) -> Law:
    return polyline([(half, half), (-half, half), (-half, -half), (half, -half)], closed=True)


def _star(points: int = 5, radius: float = 1.0, inner: float = 0.4) -> Law:
    if points < 2:
        raise ValueError(f"points must be at least 2; given {points}")
    return polyline(star_vertices(points, radius, inner), closed=True)


def _two_moons() -> Law:
    return Mixture([Arc(1.0, 0, math.pi), Arc(1.0, math.pi, 2 * math.pi, (1.0, 0.5))], reach=0.25)


def _swiss_roll(halves: int = 6, radius: float = 1.0, height: float = 1.0) -> Law:
    return Product(spiral(halves, radius), Segment((0.0,), (height,)))


def _subspace(mean: Point = (0, 0, 0), axes: Sequence[Point] = ((1, 0, 0), (0, 0.6, 0.3))) -> Law:
    return AffineGaussian(mean, axes)


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
    "concentric": _concentric,
    "sphere": _sphere,
    "torus": _torus,
    "segment": _segment,
    "polyline": _polyline,
    "square": _square,
    "star": _star,
    "two-moons": _two_moons,
    "spiral": spiral,
    "swiss-roll": _swiss_roll,
    "subspace": _subspace,
    "box": _box,
    "checkerboard": Checkerboard,
    "mixed": _mixed,
}


def names() -> tuple[str, ...]:
    """The names that `make` knows."""
    return tuple(CATALOGUE)


def make(name: str, dim: int | None = None, thickness: float = 0.0, **options: Any) -> Law:
    """The law of that name.

    | name         | law                                                | options (default)                          |
    |--------------|----------------------------------------------------|--------------------------------------------|
    | points       | point masses, equally likely                       | means ((-1, 0), (1, 0))                    |
    | 8-ring       | 8 Gaussians on a circle                            | std (0.02), radius (1)                     |
    | grid         | 5 x 5 Gaussians                                    | std (0.05), spacing (1)                    |
    | weighted     | Gaussians at (±1, ±1), anticlockwise               | weights (.4, .3, .2, .1), std (0.05)       |
    | ring         | uniform on the circle                              | radius (1)                                 |
    | concentric   | circles about 0, equally likely                    | radii (0.5, 1), weights (equal)            |
    | sphere       | uniform on S^n in R^(n+1)                          | n (2), radius (1)                          |
    | torus        | flat: the product of circles, in R^4 for two       | radii (1, 1)                               |
    | segment      | uniform on a segment                               | start ((-1, 0)), end ((1, 0))              |
    | polyline     | uniform on segments between successive vertices    | vertices (four, a zigzag), closed (False)  |
    | square       | uniform on the outline of [-half, half]^2          | half (1)                                   |
    | star         | uniform on the outline of a star                   | points (5), radius (1), inner (0.4)        |
    | two-moons    | half circles about (0, 0) and (1, 0.5)             | none                                       |
    | spiral       | half circles joined smoothly, see `spiral`         | halves (6), radius (1)                     |
    | swiss-roll   | the spiral times an interval, in R^3               | halves (6), radius (1), height (1)         |
    | subspace     | Gaussian on an affine subspace, see AffineGaussian | mean (0), axes (two of R^3)                |
    | box          | uniform on a full-dimensional box                  | lower ((-1, -1)), upper ((1, 1))           |
    | checkerboard | uniform on the black squares in [-half, half]^2    | cells (4, on a side), half (1)             |
    | mixed        | point, unit circle and square, equally likely      | weights (equal)                            |

    Args:
        dim: the dimension of the space; None is the law's own. A larger one embeds the law by
            `random_isometry(dim, law.dim, seed=EMBEDDING_SEED)`, a fixed one.
        thickness: tau; where it is positive, the law is thickened by N(0, tau^2 I) in R^dim.

    Raises:
        ValueError: unknown name (case is ignored), dim below the law's own, thickness not in [0, inf), an option out of
            range or of the wrong type.
        TypeError: an option that the law does not take.
    """
    name = checks.choose(name, CATALOGUE, "law")
    takes = inspect.signature(CATALOGUE[name]).parameters
    for option in options:
        if option not in takes:
            known = ", ".join(takes) or "none"
            raise TypeError(f"options of {name} are {known}; given {option!r}{checks.suggestion(option, takes)}")
    law = CATALOGUE[name](**{option: _number_or_flag(name, option, value) for option, value in options.items()})
    return placed(law, name, dim, thickness)


def placed(law: Law, name: str, dim: int | None = None, thickness: float = 0.0) -> Law:
    """The law in R^dim, thickened, as `make` does it.

    Args:
        name: what a message calls the law.

    Raises:
        ValueError: dim below the law's own, thickness not in [0, inf).
    """
    thickness = checks.at_least("thickness", thickness, 0)
    if dim is not None and checks.whole("dim", dim) < law.dim:
        raise ValueError(f"dim must be at least {law.dim}, the dimension of {name}; given {dim}")
    if dim is not None and dim > law.dim:
        law = Embedded(law, random_isometry(dim, law.dim, EMBEDDING_SEED).tolist())
    return Thickened(law, thickness) if thickness > 0 else law


def _number_or_flag(name: str, option: str, value: Any) -> Any:
    """value, checked where the option's default is a number or a flag: `checks` names what is wrong."""
    default = inspect.signature(CATALOGUE[name]).parameters[option].default
    if isinstance(default, bool):
        return checks.flag(option, value)
    if isinstance(default, int):
        return checks.whole(option, value)
    return checks.real(option, value) if isinstance(default, float) else value
