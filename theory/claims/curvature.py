"""C1: what curvature and density add to the loss on M; E3b: what the bias of the game favours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS
from theory.curvature import curvature_term
from theory.equilibrium import equilibrium
from theory.manifolds import (
    AffineGaussian,
    Arc,
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Product,
    Segment,
    Sphere,
    Thickened,
    make,
)
from theory.quadrature import richardson
from theory.regularity import pointwise_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# C1


class Local(NamedTuple):
    """What C1 asks of M and rho at a point."""

    second: float  # |II|^2
    scalar: float  # Scal
    laplacian: float  # Lap_M log rho
    gradient: float  # |grad_M log rho|^2


def law_of_curvature(at: Local) -> float:
    """|II|^2 / 2 - Scal + 2 Lap_M log rho + |grad_M log rho|^2."""
    return at.second / 2 - at.scalar + 2 * at.laplacian + at.gradient


Position: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """A manifold without boundary, with a density that varies, in coordinates u of R^k.

    Attributes:
        position: u -> x, [..., k] -> [..., d].
        mass: u -> rho times the volume of a unit of u, up to a factor, [..., k] -> [...].
        speed: u -> the lengths of the derivatives of x, which are orthogonal, [k] -> [k].
        local: u -> what C1 asks for.
        places: the u at which it is asked.
    """

    name: str
    position: Position
    mass: Position
    speed: Position
    local: Callable[..., Local]
    places: tuple[tuple[float, ...], ...]


def ellipse(a: float = 1.0, b: float = 0.8, c: float = 0.8, m: float = 0.3) -> Shape:
    """(a cos t, b sin t), log rho = c cos t + m sin 2t."""

    def speed(u: Tensor) -> Tensor:
        return torch.hypot(a * torch.sin(u), b * torch.cos(u))

    def local(t: float) -> Local:
        v = math.hypot(a * math.sin(t), b * math.cos(t))
        dv = (a**2 - b**2) * math.sin(t) * math.cos(t) / v
        slope = -c * math.sin(t) + 2 * m * math.cos(2 * t)
        second = -c * math.cos(t) - 4 * m * math.sin(2 * t)
        return Local((a * b / v**3) ** 2, 0.0, second / v**2 - slope * dv / v**3, (slope / v) ** 2)

    return Shape(
        "an ellipse",
        lambda u: torch.cat([a * torch.cos(u), b * torch.sin(u)], -1),
        lambda u: (torch.exp(c * torch.cos(u) + m * torch.sin(2 * u)) * speed(u))[..., 0],
        speed,
        local,
        ((0.0,), (0.7,), (2.0,), (4.0,)),
    )


def helix(radius: float = 0.7, pitch: float = 0.4, c: float = 0.5) -> Shape:
    """(R cos t, R sin t, h t) in R^3, log rho = c sin t: codimension 2."""
    v = math.hypot(radius, pitch)
    return Shape(
        "a helix in R^3",
        lambda u: torch.cat([radius * torch.cos(u), radius * torch.sin(u), pitch * u], -1),
        lambda u: torch.exp(c * torch.sin(u))[..., 0],
        lambda u: torch.full_like(u, v),
        lambda t: Local((radius / v**2) ** 2, 0.0, -c * math.sin(t) / v**2, (c * math.cos(t) / v) ** 2),
        ((0.3,), (1.9,)),
    )


def torus(big: float = 1.5, small: float = 0.6, c: float = 0.7, m: float = 0.4) -> Shape:
    """The torus of revolution with radii big and small, log rho = c cos theta + m sin phi."""

    def w(theta: Tensor) -> Tensor:
        return big + small * torch.cos(theta)

    def position(u: Tensor) -> Tensor:
        theta, phi = u.unbind(-1)
        return torch.stack([w(theta) * torch.cos(phi), w(theta) * torch.sin(phi), small * torch.sin(theta)], -1)

    def local(theta: float, phi: float) -> Local:
        width = big + small * math.cos(theta)
        other = math.cos(theta) / width  # the second principal curvature
        slope, slope_phi = -c * math.sin(theta), m * math.cos(phi)
        second = -c * math.cos(theta) - small * math.sin(theta) / width * slope
        laplacian = second / small**2 - m * math.sin(phi) / width**2
        gradient = (slope / small) ** 2 + (slope_phi / width) ** 2
        return Local(small**-2 + other**2, 2 * other / small, laplacian, gradient)

    return Shape(
        "a torus of revolution",
        position,
        lambda u: torch.exp(c * torch.cos(u[..., 0]) + m * torch.sin(u[..., 1])) * w(u[..., 0]),
        lambda u: torch.stack([torch.full_like(u[..., 0], small), w(u[..., 0])], -1),
        local,
        ((0.0, 0.5), (1.2, 2.0), (2.4, 4.0), (math.pi, 1.0)),
    )


SHAPES = (ellipse(), helix(), torus())
NSR = (0.04, 0.02)
HERMITE = 9  # nodes of an axis, up to 4.5: x0hat is a polynomial in eps but for O(nsr^9)


def patch(shape: Shape, u: Tensor, nsr: float) -> Gaussians:
    """The part of M within 13 nsr of the point u as points 0.7 nsr apart, the trapezoidal rule along its coordinates.

    The sum differs from the integral by exp(-2 pi^2 / 0.7^2) = 3e-18 of itself.
    """
    step = 0.7 * nsr / shape.speed(u)
    offsets = torch.arange(-18, 19, dtype=torch.float64)
    nodes = u + torch.cartesian_prod(*[offsets] * len(u)).reshape(-1, len(u)) * step
    mass = shape.mass(nodes)
    return Gaussians(shape.position(nodes).tolist(), 0.0, (mass / mass.sum()).tolist())


def hermite(dim: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E f(eps), eps ~ N(0, I_dim), by Gauss and Hermite: for smooth f."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(HERMITE))
    eps = torch.cartesian_prod(*[nodes] * dim).reshape(-1, dim)
    return eps, torch.cartesian_prod(*[weights / weights.sum()] * dim).reshape(-1, dim).prod(-1)


@lru_cache
def rate_on(shape: Shape, place: tuple[float, ...]) -> float:
    """(ell(x) - k) / nsr^2 as nsr -> 0, of a point of the shape."""
    u = torch.tensor(place, dtype=torch.float64)
    x = shape.position(u)
    eps, weights = hermite(len(x))
    rates = []
    for nsr in NSR:
        refined = patch(shape, u, nsr).denoise(x + nsr * eps, 1.0, nsr)
        ell = weights @ (x - refined).square().sum(-1) / nsr**2
        rates.append((ell - len(u)) / nsr**2)
    return float(richardson(torch.stack(rates), order=2))


@lru_cache
def rate_at(law: Law, place: tuple[float, ...], k: int) -> float:
    """`rate_of_noise`, once for each point."""
    return float(rate_of_noise(law, torch.tensor(place, dtype=torch.float64), k))


def rate_of_noise(law: Law, x: Float[Tensor, " d"], k: int, nsr: tuple[float, float] = NSR) -> Float[Tensor, ""]:
    """(ell(x) - k) / nsr^2 as nsr -> 0."""
    values = torch.stack([(pointwise_loss(law, x, 1.0, s) - k) / s**2 for s in nsr])
    return richardson(values, order=2)


KNOWN: tuple[tuple[str, Law, tuple[float, ...], int], ...] = (
    ("a circle of radius 1/2", Sphere(2, 0.5), (0.3, 0.4), 1),
    ("a sphere", Sphere(3), (0.0, 0.6, 0.8), 2),
    ("a cylinder of radius 1/2", Product(Sphere(2, 0.5), Segment((0.0,), (1.0,))), (0.5, 0.0, 0.4), 2),
    ("an arc", Arc(1.5, -2, 3, (0.5, -0.5)), (2.0, -0.5), 1),
    ("two Gaussians", Gaussians([(-0.4, 0.0), (0.5, 0.3)], (0.5, 0.7), (0.7, 0.3)), (0.4, -0.3), 2),
    ("a Gaussian on a plane of R^3", AffineGaussian((0, 0, 0), ((1, 0, 0), (0, 0.6, 0.3))), (0.3, 0.6, 0.3), 2),
    ("a thick circle", Thickened(Sphere(2), 0.4), (0.9, 0.2), 2),
    ("a point, a circle and a square: the circle", make("mixed"), (0.0, 1.0), 1),
)


def check_curvature(
    law: Callable[[Local], float] = law_of_curvature, shapes: Sequence[Shape] = SHAPES, known: bool = True
) -> Iterator[Comparison]:
    for shape in shapes:
        measured = torch.tensor([rate_on(shape, place) for place in shape.places], dtype=torch.float64)
        predicted = torch.tensor([law(shape.local(*place)) for place in shape.places], dtype=torch.float64)
        for index, place in enumerate(shape.places):
            what = f"{shape.name}, at {place}: (ell - k) / nsr^2"
            yield compare(what, measured[index], predicted[index], 1 + predicted[index].abs())
    if known:
        for name, exact, place, k in KNOWN:
            term = curvature_term(exact, torch.tensor(place, dtype=torch.float64))
            yield compare(f"{name}: `curvature_term`", rate_at(exact, place, k), term, 1 + term.abs())


def show_curvature(axes: Axes) -> None:
    """(ell - k) / nsr^2 along an ellipse and around the tube of a torus, and C1's terms."""
    for number, (shape, name) in enumerate(((SHAPES[0], "ellipse"), (SHAPES[2], "torus of revolution"))):
        turns = np.linspace(0, 2 * math.pi, 121)
        rest = shape.places[1][1:]
        axes.plot(turns, [law_of_curvature(shape.local(t, *rest)) for t in turns], color=COLOURS[number], label=name)
        plain = [law_of_curvature(shape.local(t, *rest)._replace(laplacian=0.0, gradient=0.0)) for t in turns]
        axes.plot(turns, plain, ":", color=COLOURS[number], label=f"{name}: curvature alone")
        places = np.linspace(0, 2 * math.pi, 13)
        axes.plot(places, [rate_on(shape, (float(t), *rest)) for t in places], "os"[number], color=COLOURS[number])
    axes.plot([], [], "ko", label="from the loss, by quadrature")
    axes.set(
        xlabel="angle along the curve, and around the tube",
        ylabel=r"$(\ell - k)$ / nsr$^2$ on M",
        title="Curvature and density in the loss",
    )


C1 = Claim(
    id="C1",
    title="On M, ell = k + nsr^2 (|II|^2/2 - Scal + density terms): bending costs, intrinsic curvature pays",
    statement=(
        "For x on M, with density rho against the volume of M,\n"
        "    ell(x) = k + nsr^2 r(x) + O(nsr^4),\n"
        "    r = |II|^2 / 2 - Scal + 2 Lap_M log rho + |grad_M log rho|^2.\n"
        "II is the second fundamental form and Scal the scalar curvature. A circle of radius R has r = 1 / 2R^2, a\n"
        "cylinder the same, the sphere S^n has -n (2n - 3) / 2R^2. For a density on R^d the two terms of the density\n"
        "are left. `curvature_term(law, x)` gives r where the law has a closed form."
    ),
    assumptions=(
        "M is smooth and without boundary near x, rho is smooth and positive there; other parts of M are far from x "
        "against nsr.",
        "Ellipse, helix and torus carry densities that vary; their loss is a sum over points 0.7 nsr apart.",
    ),
    source=Source("ours", "the density terms alone are Hyvarinen 2005, Vincent 2011, read pointwise"),
    tolerance=2e-3,
    why=(
        "Extrapolated from nsr 0.04 and 0.02, which leaves nsr^4 times the next but one term, 1e-4 here; errors are "
        "relative to 1 + |r|. The two sums over nodes are exact to 1e-9."
    ),
    check=check_curvature,
    controls=(
        Control("without Scal", {"law": lambda at: law_of_curvature(at) + at.scalar, "shapes": SHAPES[2:]}),
        Control("|II|^2 in the place of |II|^2 / 2", {"law": lambda at: law_of_curvature(at) + at.second / 2}),
        Control("Scal / 2 (Gauss's curvature)", {"law": lambda at: law_of_curvature(at) + at.scalar / 2}),
        Control(
            "without the terms of the density",
            {"law": lambda at: law_of_curvature(at._replace(laplacian=0.0, gradient=0.0))},
        ),
        Control("Lap_M log rho once", {"law": lambda at: law_of_curvature(at) - at.laplacian}),
        Control("1.1 |grad_M log rho|^2", {"law": lambda at: law_of_curvature(at) + 0.1 * at.gradient}),
    ),
    picture=show_curvature,
)

# E3b


def twice(drift: Tensor) -> Tensor:
    """q/p - 1 = 2 lambda (E_P ell - ell)."""
    return 2 * drift


MIXED = ((-2.0, 0.0), (0.0, 1.0), (2.0, 0.0))  # on the point, the circle and the square
CIRCLES = Mixture([Sphere(2), Embedded(Sphere(2), ((1, 0), (0, 1)), offset=(6, 0))], (0.1, 0.9))
TWO = Gaussians([(-1.0,), (1.0,)], weights=(0.2, 0.8))


@lru_cache
def losses(law: Law, places: tuple[tuple[float, ...], ...], nsr: float) -> Float[Tensor, " n"]:
    """ell at the places."""
    return pointwise_loss(law, torch.tensor(places, dtype=torch.float64), 1.0, nsr)


def check_favours(law: Callable[[Tensor], Tensor] = twice, lighter: int = 0) -> Iterator[Comparison]:
    ell, third = losses(make("mixed"), MIXED, 0.02), torch.full((3,), 1 / 3, dtype=torch.float64)
    limit = richardson(torch.stack([(equilibrium(third, ell, lam) / third - 1) / lam for lam in (2e-3, 1e-3)]), order=1)
    yield compare(
        "a point, a circle and a square: (q/p - 1) / lambda", limit, law(torch.tensor([1.0, 0.0, -1.0])).double()
    )
    light, heavy = losses(CIRCLES, ((-1.0, 0.0), (7.0, 0.0)), 0.2)
    yield compare("two circles apart, of weights 0.1 and 0.9: ell of one and the other", light, heavy)
    ell = losses(TWO, ((-1.0,), (1.0,)), 0.7)
    what = "two points not apart: ell of the lighter, over the heavier's + 0.5"
    yield compare_at_least(what, ell[lighter], ell[1 - lighter] + 0.5)


def show_favours(axes: Axes) -> None:
    """The masses at rest of a point, a circle and a square of equal weight as lambda grows."""
    ell, third = losses(make("mixed"), MIXED, 0.02), torch.full((3,), 1 / 3, dtype=torch.float64)
    lam = torch.linspace(0, 0.6, 25, dtype=torch.float64)
    q = torch.stack([equilibrium(third, ell, float(value)) for value in lam])
    for number, name in enumerate(("point, k = 0", "circle, k = 1", "square, k = 2")):
        axes.plot(lam, q[:, number], "-", color=COLOURS[number], label=name)
        first = (1 + 2 * lam * (1 - number)) / 3
        axes.plot(lam[first > 0], first[first > 0], ":", color=COLOURS[number])
    axes.plot([], [], "k:", label=r"$p\,(1 + 2\lambda(E_P\ell - \ell))$")
    axes.set(
        xlabel=r"$\lambda$", ylabel="mass q at rest", ylim=(0, 1), title="The bias favours parts of lower dimension"
    )


E3B = Claim(
    id="E3b",
    title="The bias favours parts of low dimension, and by C1 extrinsically flat, intrinsically curved ones and peaks",
    statement=(
        "As lambda -> 0, q/p - 1 = 2 lambda (E_P ell - ell) + O(lambda^2), and ell = k + nsr^2 r + O(nsr^4) on M\n"
        "(P2, C1). So parts of lower dimension are favoured. Among parts of one dimension it is those of smaller r:\n"
        "peaks of the density, little bending |II|^2, large scalar curvature. The weight of a part matters only where\n"
        "the noise mixes it with others, and there the heavier part has the smaller loss."
    ),
    assumptions=(
        "x lies on M, away from edges; nsr is small against the distance of the parts, where it says so.",
        "The last sentence is checked for two points of weights 0.2 and 0.8 at nsr 0.7.",
    ),
    source=Source("ours", "first order of E2, with P2 and C1"),
    tolerance=2e-3,
    why=(
        "nsr is 0.02, which changes ell by nsr^2 |r| <= 2e-4; lambda is extrapolated from 0.002 and 0.001, which "
        "leaves O(lambda^2)."
    ),
    check=check_favours,
    controls=(
        Control("half the drift: lambda (E_P ell - ell)", {"law": lambda drift: drift}),
        Control("the drift times 1.1", {"law": lambda drift: 2.2 * drift}),
        Control("the heavier point has the larger loss", {"lighter": 1}),
    ),
    picture=show_favours,
)

CLAIMS: tuple[Claim, ...] = (C1, E3B)
