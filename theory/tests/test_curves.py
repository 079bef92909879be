"""The catalogue's curves against plain sums over a fine grid along curves written out here once more; boards by erf.

In the range where that is exact to 1e-10: nsr in [1e-2, 1e3], points within 3 of the origin. Beyond it the laws that
curves are made of have their own tests (`test_interval.py`, `test_sphere.py`, `test_arc.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import pi

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from theory.manifolds import AffineGaussian, Arc, Law, make
from theory.manifolds.arc import spiral

LEVELS = (1e-2, 0.1, 1.0, 30.0, 1e3)
RELATIVE = 1e-11
EPS = torch.finfo(torch.float64).eps

Curve = Callable[[np.ndarray], np.ndarray]  # [n] in [0, 1] -> [n, 2]


def circle(radius: float, start: float, stop: float, centre: tuple[float, float] = (0.0, 0.0)) -> Curve:
    def curve(t: np.ndarray) -> np.ndarray:
        angle = start + (stop - start) * t
        return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], -1)

    return curve


def line(a: tuple[float, float], b: tuple[float, float]) -> Curve:
    return lambda t: np.array(a) + t[:, None] * (np.array(b) - np.array(a))


def lines(*vertices: tuple[float, float]) -> list[Curve]:
    return [line(a, b) for a, b in pairwise(vertices)]


def involute(radii: list[float]) -> list[Curve]:
    """Half circles from (radii[0], 0), each beginning where the last one ended, turning on."""
    curves: list[Curve] = []
    end = radii[0]  # the curve meets the first axis at right angles
    for k, r in enumerate(radii):
        centre = end - r if k % 2 == 0 else end + r
        curves.append(circle(r, k * pi, (k + 1) * pi, (centre, 0.0)))
        end = centre - r if k % 2 == 0 else centre + r
    return curves


STAR = [
    (r * np.sin(2 * pi * k / 10), r * np.cos(2 * pi * k / 10)) for k, r in enumerate([1.0, 0.4] * 5)
]  # clockwise from the top
CURVES: dict[str, tuple[list[Curve], bool]] = {  # parts; whether they are weighted by length, or equally
    "ring": ([circle(1, 0, 2 * pi)], True),
    "concentric": ([circle(0.5, 0, 2 * pi), circle(1, 0, 2 * pi)], False),
    "segment": (lines((-1, 0), (1, 0)), True),
    "polyline": (lines((-1.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (1.5, 0.5)), True),
    "square": (lines((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)), True),
    "star": (lines(*STAR, STAR[0]), True),
    "two-moons": ([circle(1, 0, pi), circle(1, pi, 2 * pi, (1, 0.5))], True),
    "spiral": (involute([k / 6 for k in range(1, 7)]), True),
}


@cache
def grid(name: str, panels: int = 400, order: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """(points, weights) of Gauss-Legendre panels along the curve; the weights sum to one.   [m, 2], [m]"""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    t = ((np.arange(panels)[:, None] + (1 + nodes) / 2) / panels).ravel()
    w = np.tile(weights / 2 / panels, panels)
    parts, by_length = CURVES[name]
    points = [part(t) for part in parts]
    lengths = np.array(
        [np.linalg.norm(np.diff(part(np.linspace(0, 1, 10**5)), axis=0), axis=1).sum() for part in parts]
    )
    shares = lengths / lengths.sum() if by_length else np.full(len(parts), 1 / len(parts))
    return np.concatenate(points), np.concatenate([share * w for share in shares])


def by_sums(y: np.ndarray, points: np.ndarray, weights: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray]:
    """(log density, mean) of a discrete law, noised.   [n, d], [m, d], [m] -> [n], [n, d]"""
    exponent = -np.square(y[:, None] - points).sum(-1) / (2 * s**2) + np.log(weights)
    total = logsumexp(exponent, axis=1)
    return total - y.shape[1] / 2 * np.log(2 * pi * s**2), np.exp(exponent - total[:, None]) @ points


def agrees(
    law: Law, y: np.ndarray, wanted: tuple[np.ndarray, np.ndarray], s: float, relative: float = RELATIVE
) -> bool:
    u = torch.from_numpy(y)
    log_density, mean = law.log_density(u, 1.0, s).numpy(), law.denoise(u, 1.0, s).numpy()
    # roundings of the parts' means, which may cancel, and of |y|^2 / 2 s^2, which move the parts' shares
    slack = relative * np.linalg.norm(wanted[1], axis=1) + 8 * EPS * (1 + 9 / (2 * s**2))
    return bool(
        (np.abs(log_density - wanted[0]) <= relative * np.maximum(np.abs(wanted[0]), 1)).all()
        and (np.linalg.norm(mean - wanted[1], axis=1) <= slack).all()
    )


def queries(name: str, s: float, n: int = 12) -> np.ndarray:
    """Points of the plane, points near the curve, and the origin."""
    rng = np.random.default_rng(0)
    points, _ = grid(name)
    near = points[rng.integers(len(points), size=n)] + min(s, 1) * rng.standard_normal((n, 2))
    return np.concatenate([near, rng.uniform(-1.5, 1.5, (n, 2)), np.zeros((1, 2))])


@pytest.mark.parametrize("s", LEVELS)
@pytest.mark.parametrize("name", CURVES)
def test_curve(name: str, s: float) -> None:
    y = queries(name, s)
    assert agrees(make(name), y, by_sums(y, *grid(name), s), s)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("concentric", {"weights": (1 / 3, 2 / 3)}),  # by length
        ("star", {"inner": 0.4 + 1e-7}),
        ("square", {"half": 1 + 1e-7}),
        ("spiral", {"radius": 1 + 1e-7}),
        ("polyline", {"closed": True}),
    ],
)
def test_control_another_curve_is_rejected(name: str, options: dict) -> None:
    y = queries(name, 0.1)
    assert not agrees(make(name, **options), y, by_sums(y, *grid(name), 0.1), 0.1)


def test_swiss_roll_and_torus_are_products() -> None:
    """Coordinates 1, 2 as the spiral's (the circle's), the rest as the segment's (the other circle's)."""
    y = torch.from_numpy(np.random.default_rng(1).uniform(-1.5, 1.5, (20, 4)))
    for s in LEVELS:
        flat, height = make("spiral"), make("segment", start=(0.0,), end=(1.0,))
        roll = make("swiss-roll")
        expected = torch.cat([flat.denoise(y[:, :2], 1.0, s), height.denoise(y[:, 2:3], 1.0, s)], -1)
        assert torch.equal(roll.denoise(y[:, :3], 1.0, s), expected)
        total = flat.log_density(y[:, :2], 1.0, s) + height.log_density(y[:, 2:3], 1.0, s)
        torch.testing.assert_close(roll.log_density(y[:, :3], 1.0, s), total, rtol=1e-14, atol=1e-14)
        torus, small, large = make("torus", radii=(0.5, 2)), make("ring", radius=0.5), make("ring", radius=2)
        expected = torch.cat([small.denoise(y[:, :2], 1.0, s), large.denoise(y[:, 2:], 1.0, s)], -1)
        assert torch.equal(torus.denoise(y, 1.0, s), expected)


@pytest.mark.parametrize("halves", [1, 2, 5])
def test_spiral_is_one_smooth_curve_weighted_by_length(halves: int) -> None:
    law = spiral(halves, 2.0)
    ends = []
    arcs = [arc for arc in law.laws if isinstance(arc, Arc)]
    for arc, weight in zip(arcs, law._weights.tolist(), strict=True):
        place = torch.tensor([arc.start, arc.stop], dtype=torch.float64)
        radial = torch.stack([place.cos(), place.sin()], -1)
        ends.append((torch.tensor(arc.centre, dtype=torch.float64) + arc.radius * radial, radial))
        assert weight / law._weights[0] == pytest.approx(arc.radius / arcs[0].radius)
    for (before, normal_before), (after, normal_after) in pairwise(ends):
        torch.testing.assert_close(before[1], after[0])  # it goes on where it ended,
        torch.testing.assert_close(normal_before[1], normal_after[0])  # in the same direction
    assert arcs[-1].radius == 2


# --- Checkerboard


def board_by_erf(y: tuple[float, float], cells: int, s: float) -> tuple[float, np.ndarray]:
    """(log density, mean) on [-1, 1]^2 in 60 digits, square by square; the lower left one is black."""
    with mp.workdps(60):
        y1, y2, s = (mp.mpf(v) for v in (*y, s))

        def interval(u: mp.mpf, i: int) -> tuple[mp.mpf, mp.mpf]:
            """(mass, first moment) of N(x; u, s^2) over interval i."""
            a, b = ((mp.mpf(2 * (i + e)) / cells - 1 - u) / s for e in (0, 1))
            sign = 1 if a > 0 else -1  # of the tail of which the interval is a part
            mass = sign * (mp.erfc(sign * a / mp.sqrt(2)) - mp.erfc(sign * b / mp.sqrt(2))) / 2
            return mass, u * mass + s * (mp.npdf(a) - mp.npdf(b))

        first, second = [[interval(u, i) for i in range(cells)] for u in (y1, y2)]
        black = [(i, j) for i in range(cells) for j in range(cells) if (i + j) % 2 == 0]
        mass = mp.fsum(first[i][0] * second[j][0] for i, j in black)
        m1 = mp.fsum(first[i][1] * second[j][0] for i, j in black) / mass
        m2 = mp.fsum(first[i][0] * second[j][1] for i, j in black) / mass
        return float(mp.log(mass / len(black) / (mp.mpf(2) / cells) ** 2)), np.array([float(m1), float(m2)])


@pytest.mark.parametrize("cells", [2, 4, 5])
def test_checkerboard(cells: int) -> None:
    law = make("checkerboard", cells=cells)
    white = make("checkerboard", cells=cells + 2)
    rng = np.random.default_rng(cells)
    for s in (1e-2, 0.1, 1.0, 30.0):
        y = np.concatenate([rng.uniform(-1.2, 1.2, (6, 2)), [(0.0, 0.0), (0.5, -1.0)]])
        log_density, mean = zip(*[board_by_erf(tuple(point), cells, s) for point in y], strict=True)
        wanted = np.array(log_density), np.stack(mean)
        assert agrees(law, y, wanted, s)
        assert not agrees(white, y, wanted, s)


def test_checkerboard_covers_the_black_squares_alone() -> None:
    x = make("checkerboard", cells=4).sample(5000, torch.Generator().manual_seed(0), torch.float64)
    column, row = ((x + 1) * 2).floor().long().unbind(-1)
    assert ((column + row) % 2 == 0).all()
    assert len(torch.unique(4 * column + row)) == 8
    middle = torch.tensor([-0.75, -0.25], dtype=torch.float64)  # of a white square, 0.25 from its neighbours
    assert make("checkerboard").distance(middle).item() == pytest.approx(0.25)


# --- Gaussian on a subspace, by its covariance matrix


def by_covariance(law: AffineGaussian, y: list[float], s: float) -> tuple[float, np.ndarray]:
    """(log density, mean) in 60 digits: N(b, C + s^2 I), and b + C (C + s^2 I)^-1 (y - b), C = A A^T."""
    with mp.workdps(60):
        a = mp.matrix([list(axis) for axis in law.axes]).T
        c = a * a.T
        total = c + mp.mpf(s) ** 2 * mp.eye(law.dim)
        offset = mp.matrix(y) - mp.matrix(law.mean)
        pulled = mp.lu_solve(total, offset)
        log_density = -((offset.T * pulled)[0] + mp.log(mp.det(2 * mp.pi * total))) / 2
        mean = mp.matrix(law.mean) + c * pulled
        return float(log_density), np.array([float(m) for m in mean])


@pytest.mark.parametrize("s", [1e-3, 0.3, 1.0, 1e3])
@pytest.mark.parametrize("distance", [0.0, 1.0, 1e3])
def test_affine_gaussian(s: float, distance: float) -> None:
    law = AffineGaussian((0.5, -1.0, 2.0, 0.0), [(1.0, 0.5, 0.0, -0.2), (0.1, 0.02, 0.3, 0.0)])
    larger = AffineGaussian(law.mean, [[(1 + 1e-6) * v for v in axis] for axis in law.axes])
    rng = np.random.default_rng(0)
    along, noise = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
    y = np.array(law.mean) + distance * along @ np.array(law.axes) + s * noise
    log_density, mean = zip(*[by_covariance(law, point.tolist(), s) for point in y], strict=True)
    wanted = np.array(log_density), np.stack(mean)
    relative = 1e-11 + 4 * EPS * distance / s  # a rounding of y, in units of s
    assert agrees(law, y, wanted, s, relative)
    assert not agrees(larger, y, wanted, s, relative)
    assert law.distance(torch.tensor([law.mean]).double()).item() == 0


def test_affine_gaussian_score_keeps_its_digits() -> None:
    """At nsr 1e-7 along the subspace, where x0hat - y has none left: -(y - b) / (S^2 + nsr^2)."""
    law = AffineGaussian((0.0, 0.0), [(2.0, 0.0), (0.0, 0.5)])
    y = torch.tensor([[1.0, -1.0], [3.0, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(law.score(y, 1.0, 1e-7), -y / torch.tensor([4.0, 0.25]).double(), rtol=1e-12, atol=0)
