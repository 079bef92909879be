"""The adversarial game between laws that need not overlap: V(D, Q), its optimal discriminator, divergences.

Two laws are compared on a common dominating measure mu made of *carriers*: counting on atoms, length on a curve, area
on a region, or any other measures singular to each other. Within a carrier a law has a density; a carrier that only
one of the two laws charges is its singular part there. This is Lebesgue's decomposition, carrier by carrier:

    curve, atoms = Carrier(arc_lengths), Carrier(torch.ones(3))
    P = {curve: p}                               # a law on the curve
    Q = {curve: (1 - m) * q, atoms: m * masses}  # partly on it; m is the mass of Q singular to P
    p, q, mu = on_common_measure(P, Q)
    value(optimal_discriminator(p, q), p, q, mu) == 2 * jensen_shannon(p, q, mu) - 2 * log(2)

A carrier is a list of cells with their mu-measure; a density is a number a cell. Laws that are smooth on a carrier
are represented up to the error of the quadrature whose nodes and weights the cells are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Carrier:
    """A reference measure, singular to every other carrier: `weight` [cells] holds the measure of its cells, > 0."""

    weight: Float[Tensor, " cells"]


Measure: TypeAlias = Mapping[Carrier, Tensor]  # on each carrier charged, a density [cells] >= 0


def on_common_measure(p: Measure, q: Measure) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The densities of P and Q, and the measures mu, of the cells of every carrier that either charges.   [n] each

    Raises:
        ValueError: a density is negative or not of its carrier's shape, or a law's mass is not 1 to 1e-9.
    """
    for name, law in (("p", p), ("q", q)):
        for carrier, density in law.items():
            if density.shape != carrier.weight.shape or bool((density < 0).any()):
                raise ValueError(f"{name} must hold densities >= 0, one a cell; given {tuple(density.shape)}")
        mass = sum(float(carrier.weight @ density) for carrier, density in law.items())
        if not abs(mass - 1) <= 1e-9:
            raise ValueError(f"{name} must have mass 1; given {mass}")
    carriers = list({**p, **q})
    densities = [torch.cat([law.get(c, torch.zeros_like(c.weight)) for c in carriers]) for law in (p, q)]
    return densities[0], densities[1], torch.cat([c.weight for c in carriers])


def optimal_discriminator(p: Float[Tensor, "*n"], q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """D* = p / (p + q), the maximiser of V(D, Q); 1/2 where neither law has mass.   [...] -> [...]

    Exactly 0 where p = 0 < q, whatever q is, and so is its gradient.
    """
    total = p + q
    return torch.where(total > 0, p / torch.where(total > 0, total, 1), 0.5)


def value(
    d: Float[Tensor, " n"], p: Float[Tensor, " n"], q: Float[Tensor, " n"], mu: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """V(D, Q) = E_P log D + E_Q log(1 - D), with 0 log 0 = 0; -inf where D is wrong with certainty."""
    return mu @ (torch.xlogy(p, d) + torch.xlogy(q, 1 - d))


def jensen_shannon(
    p: Float[Tensor, " n"], q: Float[Tensor, " n"], mu: Float[Tensor, " n"], share: float = 0.5
) -> Float[Tensor, ""]:
    """JSD = share KL(P || M) + (1 - share) KL(Q || M), M = share P + (1 - share) Q, in nats.

    Computed from entropies, H(M) - share H(P) - (1 - share) H(Q), a route that does not pass by V. 0 for P = Q, and
    H(share, 1 - share) (log 2 at share 1/2) for laws singular to each other.
    """

    def negative_entropy(density: Tensor) -> Tensor:
        return mu @ torch.xlogy(density, density)

    mixture = share * p + (1 - share) * q
    return share * negative_entropy(p) + (1 - share) * negative_entropy(q) - negative_entropy(mixture)


def singular_mass(p: Float[Tensor, " n"], q: Float[Tensor, " n"], mu: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """m, the mass of Q singular to P: that of the cells in which P has none."""
    return mu @ torch.where(p == 0, q, 0)


@dataclass(frozen=True)
class Convex:
    """The convex f of an f-divergence, f(1) = 0, and its two limits: what mass of Q off P, and of P off Q, costs."""

    f: Callable[[Tensor], Tensor]  # of a tensor t > 0
    at_zero: float  # f(0), the cost of a unit of mass of Q where P has none
    slope_at_infinity: float  # lim f(t) / t, the cost of a unit of mass of P where Q has none


F_DIVERGENCES: Mapping[str, Convex] = {
    "Jensen-Shannon": Convex(
        lambda t: (torch.xlogy(t, t) - torch.xlogy(t + 1, (t + 1) / 2)) / 2, math.log(2) / 2, math.log(2) / 2
    ),
    "KL(P || Q)": Convex(lambda t: torch.xlogy(t, t), 0.0, math.inf),
    "KL(Q || P), reverse": Convex(lambda t: -torch.log(t), math.inf, 0.0),
    "Pearson": Convex(lambda t: (t - 1).square(), 1.0, math.inf),
    "Neyman": Convex(lambda t: (t - 1).square() / t, math.inf, 1.0),
    "squared Hellinger": Convex(lambda t: (t.sqrt() - 1).square(), 1.0, 1.0),
    "total variation": Convex(lambda t: (t - 1).abs() / 2, 0.5, 0.5),
    "LSGAN": Convex(lambda t: (t - 1).square() / (t + 1), 1.0, 1.0),
    "hinge": Convex(lambda t: (t - 1).abs(), 1.0, 1.0),
}


def f_divergence(
    f: Convex, p: Float[Tensor, " n"], q: Float[Tensor, " n"], mu: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """D_f(P || Q) = integral of q f(p/q) where both have mass + Q(p = 0) f(0) + P(q = 0) lim f(t)/t; may be inf.

    The two last terms are those of the singular parts; nothing in them depends on where these lie. "LSGAN" is
    E_P D*^2 + E_Q D*^2 = integral of (p-q)^2 / (p+q) for targets 1 and -1, D* = (p-q)/(p+q); "hinge" is
    E_P D* - E_Q D* for D* = sign(p - q).
    """
    both = (p > 0) & (q > 0)
    ratio = torch.where(both, p, 1) / torch.where(both, q, 1)
    total = mu @ torch.where(both, q * f.f(ratio), 0)
    for density, other, cost in ((q, p, f.at_zero), (p, q, f.slope_at_infinity)):
        mass = mu @ torch.where(other == 0, density, 0)
        total = total + (mass * cost if bool(mass > 0) else 0)  # 0 inf = 0
    return total


def wasserstein(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """W1 between the uniform laws on n points each, exact by optimal assignment; differentiable but where it ties."""
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = linear_sum_assignment(distances.detach().numpy())
    return distances[rows, columns].mean()


def gaussian_mmd_squared(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], width: float) -> Float[Tensor, ""]:
    """MMD^2 between the uniform laws on the points, with the kernel exp(-||x - y||^2 / (2 width^2))."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * width**2)).mean()

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
