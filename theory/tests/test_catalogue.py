"""The catalogue: every entry is the law that its line in the table says, written out."""

from __future__ import annotations

import dataclasses
import inspect
import math
from itertools import pairwise

import pytest
import torch

from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    make,
    names,
    random_isometry,
)

ROOT = math.sqrt(0.5)
CIRCLE_OF_EIGHT = [(1, 0), (ROOT, ROOT), (0, 1), (-ROOT, ROOT), (-1, 0), (-ROOT, -ROOT), (0, -1), (ROOT, -ROOT)]
LATTICE = [(a, b) for a in (-2, -1, 0, 1, 2) for b in (-2, -1, 0, 1, 2)]
CORNERS = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
TURN = 2 * math.pi


def star(points: int, radius: float, inner: float) -> Law:
    """By turning the vertex at the top, and the one after it, around."""
    vertices = []
    for k in range(points):
        for size, turn in ((radius, k / points), (inner, (k + 0.5) / points)):
            vertices.append((-size * math.sin(TURN * turn), size * math.cos(TURN * turn)))
    return Mixture([Segment(a, b) for a, b in zip(vertices, [*vertices[1:], vertices[0]], strict=True)], reach=0.0)


def outline(half: float) -> Law:
    corners = [(half, half), (-half, half), (-half, -half), (half, -half), (half, half)]
    return Mixture([Segment(a, b) for a, b in pairwise(corners)], reach=0.0)


def winding(gap: float, count: int) -> Law:
    """Half circles of radii gap, 2 gap, ...; the upper ones about 0, the lower ones about (gap, 0)."""
    arcs = [Arc(gap * k, 0, TURN / 2) if k % 2 else Arc(gap * k, TURN / 2, TURN, (gap, 0)) for k in range(1, count + 1)]
    return Mixture(arcs, [k / (count * (count + 1) / 2) for k in range(1, count + 1)], reach=gap)


ZIGZAG = ((-1.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (1.5, 0.5))
ENTRIES: list[tuple[str, dict, Law, float | None]] = [  # name, options, the law, its reach
    ("points", {}, Gaussians([(-1, 0), (1, 0)]), 1.0),
    ("points", {"means": ((0.5, 1, 2), (0.5, 1, 5))}, Gaussians([(0.5, 1, 2), (0.5, 1, 5)]), 1.5),
    ("8-ring", {}, Gaussians(CIRCLE_OF_EIGHT, 0.02), math.sin(math.pi / 8)),
    (
        "8-ring",
        {"std": 0.3, "radius": 2.0},
        Gaussians([(2 * a, 2 * b) for a, b in CIRCLE_OF_EIGHT], 0.3),
        2 * math.sin(math.pi / 8),
    ),
    ("grid", {}, Gaussians(LATTICE, 0.05), 0.5),
    ("grid", {"std": 0.2, "spacing": 3.0}, Gaussians([(3 * a, 3 * b) for a, b in LATTICE], 0.2), 1.5),
    ("weighted", {}, Gaussians(CORNERS, 0.05, (0.4, 0.3, 0.2, 0.1)), 1.0),
    ("weighted", {"weights": (0.1, 0.2, 0.3, 0.4), "std": 0.3}, Gaussians(CORNERS, 0.3, (0.1, 0.2, 0.3, 0.4)), 1.0),
    ("ring", {}, Sphere(2, 1.0), 1.0),
    ("ring", {"radius": 3.0}, Sphere(2, 3.0), 3.0),
    ("concentric", {}, Mixture([Sphere(2, 0.5), Sphere(2, 1.0)]), 0.25),
    (
        "concentric",
        {"radii": (3.0, 0.5, 1.0), "weights": (0.5, 0.2, 0.3)},
        Mixture([Sphere(2, 3.0), Sphere(2, 0.5), Sphere(2, 1.0)], (0.5, 0.2, 0.3)),
        0.25,
    ),
    ("concentric", {"radii": (0.1, 1.0)}, Mixture([Sphere(2, 0.1), Sphere(2, 1.0)]), 0.1),
    ("sphere", {}, Sphere(3, 1.0), 1.0),
    ("sphere", {"n": 3, "radius": 2.0}, Sphere(4, 2.0), 2.0),
    ("torus", {}, Product(Sphere(2, 1.0), Sphere(2, 1.0)), 1.0),
    ("torus", {"radii": (0.5, 2.0, 1.0)}, Product(Sphere(2, 0.5), Sphere(2, 2.0), Sphere(2, 1.0)), 0.5),
    ("segment", {}, Segment((-1, 0), (1, 0)), math.inf),
    ("segment", {"start": (0, 1, 2), "end": (3, 1, 0)}, Segment((0, 1, 2), (3, 1, 0)), math.inf),
    ("polyline", {}, Mixture([Segment(a, b) for a, b in pairwise(ZIGZAG)]), 0.0),
    (
        "polyline",
        {"vertices": [(0, 0), (3, 0), (3, 4)], "closed": True},
        Mixture(
            [Segment((0, 0), (3, 0)), Segment((3, 0), (3, 4)), Segment((3, 4), (0, 0))], (3 / 12, 4 / 12, 5 / 12), 0.0
        ),
        0.0,
    ),
    ("polyline", {"vertices": [(0, 0), (3, 4)]}, Segment((0, 0), (3, 4)), math.inf),
    ("square", {}, outline(1.0), 0.0),
    ("square", {"half": 0.3}, outline(0.3), 0.0),
    ("star", {}, star(5, 1.0, 0.4), 0.0),
    ("star", {"points": 3, "radius": 2.0, "inner": 0.5}, star(3, 2.0, 0.5), 0.0),
    ("star", {"points": 2}, star(2, 1.0, 0.4), 0.0),
    ("two-moons", {}, Mixture([Arc(1.0, 0, TURN / 2), Arc(1.0, TURN / 2, TURN, (1.0, 0.5))]), 0.25),
    ("spiral", {}, winding(1 / 6, 6), 1 / 6),
    ("spiral", {"halves": 3, "radius": 1.5}, winding(0.5, 3), 0.5),
    ("spiral", {"halves": 1}, Arc(1.0, 0, TURN / 2), 1.0),
    ("swiss-roll", {}, Product(winding(1 / 6, 6), Segment((0,), (1,))), 1 / 6),
    (
        "swiss-roll",
        {"halves": 2, "radius": 3.0, "height": 0.5},
        Product(winding(1.5, 2), Segment((0,), (0.5,))),
        1.5,
    ),
    ("subspace", {}, AffineGaussian((0, 0, 0), ((1, 0, 0), (0, 0.6, 0.3))), math.inf),
    ("subspace", {"mean": (1, 2), "axes": [(0.3, 0.4)]}, AffineGaussian((1, 2), [(0.3, 0.4)]), math.inf),
    ("box", {}, Product(Segment((-1,), (1,)), Segment((-1,), (1,))), math.inf),
    ("box", {"lower": (0, 0, 0), "upper": (1, 2, 3)}, Box((0, 0, 0), (1, 2, 3)), math.inf),
    (
        "checkerboard",
        {},
        Mixture(
            [
                Box((a, b), (a + 0.5, b + 0.5))
                for a, b in [(-1, -1), (-1, 0), (0, -1), (0, 0), (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]
            ]
        ),
        0.0,
    ),
    ("checkerboard", {"cells": 3, "half": 1.5}, Checkerboard(3, 1.5), 0.0),
    ("mixed", {}, Mixture([Gaussians([(-2, 0)]), Sphere(2, 1.0), Box((1.5, -0.5), (2.5, 0.5))]), None),
    (
        "mixed",
        {"weights": (0.5, 0.3, 0.2)},
        Mixture([Gaussians([(-2, 0)]), Sphere(2, 1.0), Box((1.5, -0.5), (2.5, 0.5))], (0.5, 0.3, 0.2)),
        None,
    ),
]


def one_law(law: Law, twin: Law) -> bool:
    """Whether densities and refinements agree at points and noises of the size of the law, and k is the same."""
    y = 2 * torch.randn(20, twin.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nsr = torch.linspace(0.1, 2, 20, dtype=torch.float64)
    return (law.dim, law.intrinsic_dim) == (twin.dim, twin.intrinsic_dim) and all(
        torch.allclose(getattr(law, name)(y, 1.0, nsr), getattr(twin, name)(y, 1.0, nsr), rtol=1e-9, atol=1e-9)
        for name in ("log_density", "denoise", "score")
    )


@pytest.mark.parametrize(("name", "options", "twin", "reach"), ENTRIES, ids=lambda value: str(value)[:40])
def test_entries_are_these_laws(name: str, options: dict, twin: Law, reach: float | None) -> None:
    law = make(name, **options)
    assert one_law(law, twin)
    assert law.reach == (None if reach is None else pytest.approx(reach, rel=1e-12))


def test_every_name_is_tried_as_it_stands() -> None:
    assert [name for name, options, *_ in ENTRIES if not options] == list(names())


def test_one_law_can_say_no() -> None:
    assert one_law(Sphere(2), Sphere(2))
    assert not one_law(Sphere(2, 1.0001), Sphere(2))
    assert not one_law(Thickened(Sphere(2), 1e-3), Sphere(2))
    assert not one_law(Sphere(3), Sphere(2))


@pytest.mark.parametrize("law", [Sphere(2, 0.7), Gaussians([(0, 0), (3, 4)])], ids=repr)
def test_dim_and_thickness_keep_the_reach(law: Law) -> None:
    assert Embedded(law, random_isometry(5, 2, 0).tolist()).reach == law.reach
    assert Thickened(law, 0.1).reach == law.reach


def test_dim_of_the_law_itself_is_no_embedding() -> None:
    assert make("ring", dim=2) == make("ring") == Sphere(2)
    assert make("ring", dim=2, thickness=0.5) == Thickened(Sphere(2), 0.5)
    assert make("ring", thickness=0.0) == Sphere(2)
    basis = random_isometry(3, 2, 0).tolist()
    assert make("ring", dim=3) == Embedded(Sphere(2), basis)
    assert make("ring", dim=3, thickness=0.5) == Thickened(Embedded(Sphere(2), basis), 0.5)
    with pytest.raises(ValueError, match="thickness must be a finite number; given inf"):
        make("ring", thickness=math.inf)
    with pytest.raises(ValueError, match="radius must be positive"):
        make("spiral", radius=0.0)


TAKES = {
    AffineGaussian: "mean, axes",
    Arc: "radius, start, stop, centre",
    Box: "lower, upper",
    Checkerboard: "cells, half",
    Embedded: "law, isometry, offset",
    Gaussians: "means, std, weights",
    Mixture: "laws, weights, reach",
    Product: "laws",
    Scaled: "law, factor",
    Segment: "start, end",
    Sphere: "dim, radius",
    Thickened: "law, tau",
}
DEFAULTS = {Arc: (1.0, 0.0, math.pi, (0.0, 0.0)), Checkerboard: (4, 1.0), Gaussians: (0.0, None), Sphere: (1.0,)}


@pytest.mark.parametrize("kind", TAKES, ids=lambda kind: kind.__name__)
def test_what_a_law_is_made_from(kind: type[Law]) -> None:
    """Nothing that follows from the arguments is one itself, is printed, or (being a tensor) is compared."""
    parameters = inspect.signature(kind).parameters
    assert ", ".join(parameters) == TAKES[kind]
    given = tuple(value.default for value in parameters.values() if value.default is not inspect.Parameter.empty)
    assert given == DEFAULTS.get(kind, {Embedded: (None,), Mixture: (None, None)}.get(kind, ()))
    assert dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind):
        assert field.init == field.repr == (field.name in TAKES[kind].split(", ")), field.name
        assert field.compare != field.name.startswith("_"), field.name


@pytest.mark.parametrize(
    ("law", "text"),
    [
        (Arc(2, 0, 3, (1, 0)), "Arc(radius=2.0, start=0.0, stop=3.0, centre=(1.0, 0.0))"),
        (Sphere(2, 3), "Sphere(dim=2, radius=3.0)"),
        (Checkerboard(2, 3), "Checkerboard(cells=2, half=3.0)"),
        (Gaussians([(0, 1)], 2, [1]), "Gaussians(means=((0.0, 1.0),), std=2.0, weights=(1.0,))"),
        (Scaled(Sphere(2), 2), "Scaled(law=Sphere(dim=2, radius=1.0), factor=2.0)"),
        (Thickened(Sphere(2), 2), "Thickened(law=Sphere(dim=2, radius=1.0), tau=2.0)"),
        (Segment([0], [1]), "Segment(start=(0.0,), end=(1.0,))"),
        (Box([0], [1]), "Box(lower=(0.0,), upper=(1.0,))"),
        (AffineGaussian([0, 1], [[1, 0]]), "AffineGaussian(mean=(0.0, 1.0), axes=((1.0, 0.0),))"),
    ],
)
def test_whole_numbers_are_numbers(law: Law, text: str) -> None:
    assert repr(law) == text


def test_means_far_from_0_keep_their_digits() -> None:
    """A common shift of the means by 2^20 and of y, all exact, changes x0hat by no more than its rounding."""
    shift, y = 2.0**20, torch.tensor([[0.375], [0.5], [0.75]], dtype=torch.float64)
    here, there = Gaussians([(0,), (1,)], 0.25), Gaussians([(shift,), (shift + 1,)], 0.25)
    moved = there.denoise(y + shift, 1.0, 0.5) - shift
    torch.testing.assert_close(moved, here.denoise(y, 1.0, 0.5), rtol=0, atol=1e-9)
