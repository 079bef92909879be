"""Curves made of segments: the polyline, open or closed; the square and the star are closed ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import cos, dist, fsum, inf, pi, sin

from theory.manifolds.box import Segment
from theory.manifolds.combinators import Mixture
from theory.manifolds.gaussians import as_matrix


def polyline(vertices: Sequence[Sequence[float]], closed: bool = False) -> Mixture:
    """Uniform on the segments between successive vertices, by length: the mixture of their laws.

    It may cross itself. Its reach is 0, that of a corner.

    Raises:
        ValueError: fewer than two vertices, two equal ones in succession, or no table of finite numbers.
    """
    points = [tuple(row) for row in as_matrix(vertices, "vertices").tolist()]
    if len(points) < 2:
        raise ValueError(f"vertices must be at least two; given {vertices}")
    ends = list(pairwise([*points, points[0]] if closed else points))
    lengths = [dist(*pair) for pair in ends]
    total = fsum(lengths)
    segments = [Segment(*pair) for pair in ends]
    reach = inf if len(ends) == 1 else 0.0
    return Mixture(segments, [length / total for length in lengths], reach)


def star_vertices(points: int, radius: float, inner: float) -> list[tuple[float, float]]:
    """Vertices of a star, alternately at the two radii, anticlockwise from the top."""
    turns = [pi / 2 + pi * k / points for k in range(2 * points)]
    return [((inner if k % 2 else radius) * cos(t), (inner if k % 2 else radius) * sin(t)) for k, t in enumerate(turns)]
