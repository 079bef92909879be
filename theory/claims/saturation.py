"""S. The adversarial loss off the manifold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least, compare_exactly
from theory.divergences import (
    Carrier,
    Measure,
    jensen_shannon,
    on_common_measure,
    optimal_discriminator,
    singular_mass,
    value,
)

LOG2 = math.log(2)


# S1


def random_law(carriers: list[Carrier], generator: torch.Generator) -> Measure:
    """A law with random densities on a random part of the carriers, a third of their cells empty."""
    draws = [torch.rand(len(c.weight), generator=generator, dtype=torch.float64) for c in carriers]
    kept = torch.rand(len(carriers), generator=generator) < 0.7
    kept[int(torch.randint(len(carriers), (1,), generator=generator))] = True
    densities = [torch.relu(u / u.max() - 1 / 3) * k for u, k in zip(draws, kept, strict=True)]
    mass = sum(c.weight @ density for c, density in zip(carriers, densities, strict=True))
    return {c: density / mass for c, density, k in zip(carriers, densities, kept, strict=True) if k}


def reweighted(law: Measure, generator: torch.Generator) -> Measure:
    """A law absolutely continuous with respect to the given one, with random weights."""
    ((carrier, density),) = law.items()
    density = density * torch.rand(len(density), generator=generator, dtype=torch.float64)
    return {carrier: density / (carrier.weight @ density)}


def mixed_carriers() -> list[Carrier]:
    """Five atoms, a curve cut at irregular places, and a region of 8 x 8 squares."""
    arcs = torch.linspace(0.2, 1.8, 32, dtype=torch.float64)
    return [Carrier(torch.ones(5, dtype=torch.float64)), Carrier(arcs), Carrier(arcs.new_full((64,), 1 / 16))]


def check_value(
    discriminator: Callable[[Tensor, Tensor], Tensor] = optimal_discriminator,
    divergence: Callable[[Tensor, Tensor, Tensor], Tensor] = jensen_shannon,
) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(1)
    carriers = mixed_carriers()
    for pair in range(20):
        p, q, mu = on_common_measure(random_law(carriers, generator), random_law(carriers, generator))
        left = value(discriminator(p, q), p, q, mu)
        yield compare(f"mixed laws, pair {pair}", left, 2 * divergence(p, q, mu) - 2 * LOG2)
    for shift in (0.125, 0.5, 0.875):  # JSD of two uniform laws is known: log 2 times their total variation
        line = Carrier(torch.tensor([shift, 1 - shift, shift], dtype=torch.float64))
        left_law, right_law = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.float64)
        p, q, mu = on_common_measure({line: left_law}, {line: right_law})
        left = value(discriminator(p, q), p, q, mu)
        yield compare(f"U[0, 1] and U[{shift}, {1 + shift}]", left, 2 * shift * LOG2 - 2 * LOG2)


S1 = Claim(
    id="S1",
    title="V(D*, Q) = 2 JSD(P, Q) - 2 log 2, for atoms, curves and densities mixed",
    statement=(
        "With p, q the densities of P, Q against a common dominating measure and D* = p/(p+q),\n"
        "    V(D*, Q) = E_P log D* + E_Q log(1 - D*) = 2 JSD(P, Q) - 2 log 2,\n"
        "also where P and Q have parts singular to each other."
    ),
    assumptions=("Finite representations: laws are piecewise constant on the cells of their carriers.",),
    source=Source("in print", "Goodfellow et al. 2014, with singular parts"),
    tolerance=1e-12,
    why="An identity of finite sums of some hundred terms of order 1 in float64: rounding is below 1e-14 a term.",
    check=check_value,
    controls=(
        Control("D* replaced by q/(p+q)", {"discriminator": lambda p, q: optimal_discriminator(q, p)}),
        Control("JSD in bits", {"divergence": lambda p, q, mu: jensen_shannon(p, q, mu) / LOG2}),
    ),
)

# S2

M = 0.5  # the off-manifold mass wherever the gradient is looked at


def log_one_minus_discriminator(x: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """log(1 - D*(x)), P on the unit circle, Q half on it and half a Gaussian law in the plane.   [..., 2] -> [...]

    The densities are those against length on the circle plus area, so that p = 0 off the circle.
    """
    angle = torch.atan2(x[..., 1], x[..., 0])
    on = (torch.linalg.vector_norm(x, dim=-1) - 1).abs() < 1e-12
    p = torch.where(on, (1 + 0.5 * torch.cos(angle)) / (2 * math.pi), 0)
    q_off = torch.exp(-(x - 1).square().sum(-1) / 2) / (2 * math.pi)
    q = torch.where(on, (1 - M) * (1 + 0.5 * torch.sin(angle)) / (2 * math.pi), M * q_off)
    return torch.log1p(-optimal_discriminator(p, q))


def adversarial_gradient(x: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """grad_x log(1 - D*(x)), what the saturating loss tells each sample.   [..., 2] -> [..., 2]"""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(log_one_minus_discriminator(x).sum(), x)[0]


def off_circle(n: int) -> Float[Tensor, "n 2"]:
    """n points at distances from 1e-9 to 3 of the unit circle, inside and outside, all round."""
    generator = torch.Generator().manual_seed(2)
    angle, exponent = torch.rand(2, n, generator=generator, dtype=torch.float64)
    distance = 1e-9 * 3e9**exponent
    radius = torch.where((torch.arange(n) % 2 == 0) & (distance < 1), 1 - distance, 1 + distance)
    return (radius * torch.stack([torch.cos(2 * math.pi * angle), torch.sin(2 * math.pi * angle)])).T


def on_circle(n: int) -> Float[Tensor, "n 2"]:
    angle = torch.arange(n, dtype=torch.float64) / n * 2 * math.pi
    return torch.stack([torch.cos(angle), torch.sin(angle)], -1)


def moved(part: Measure) -> dict[str, Measure]:
    """What maps of the space can do to a law on one carrier."""
    ((carrier, density),) = part.items()
    masses = carrier.weight * density
    atom, region = Carrier(torch.ones(1, dtype=torch.float64)), Carrier(torch.full_like(masses, 1 / 7))
    return {
        "carried along its carrier": {carrier: masses.roll(len(masses) // 4) / carrier.weight},
        "collapsed to an atom": {atom: masses.sum()[None]},
        "spread over a region": {region: masses / region.weight},
    }


def mixture(m: float, on: Measure, off: Measure) -> Measure:
    """(1 - m) Q_on + m Q_off, for parts on different carriers."""
    return {**{c: (1 - m) * density for c, density in on.items()}, **{c: m * density for c, density in off.items()}}


def check_saturation(moves: str = "off", points: Callable[[int], Tensor] = off_circle) -> Iterator[Comparison]:
    circle = Carrier(torch.full((64,), 2 * math.pi / 64, dtype=torch.float64))
    atoms = Carrier(torch.ones(9, dtype=torch.float64))
    angle = torch.arange(64, dtype=torch.float64) / 64 * 2 * math.pi
    real = {circle: (1 + 0.5 * torch.cos(angle)) / (2 * math.pi)}
    parts: dict[str, Measure] = {
        "on": {circle: (1 + 0.5 * torch.sin(angle)) / (2 * math.pi)},
        "off": {atoms: torch.arange(1, 10, dtype=torch.float64) / 45},
    }

    def game(m: float, parts: dict[str, Measure]) -> Tensor:
        p, q, mu = on_common_measure(real, mixture(m, **parts))
        return value(optimal_discriminator(p, q), p, q, mu)

    for m in (0.1, 0.5, 0.9, 1.0):
        before = game(m, parts)
        for how, part in moved(parts[moves]).items():
            yield compare(f"V, m = {m}, Q_{moves} {how}", game(m, {**parts, moves: part}), before)
    gradient = torch.linalg.vector_norm(adversarial_gradient(points(200)), dim=-1)
    yield compare_exactly("|grad log(1 - D*)|, the largest of 200 samples", gradient.max(), 0.0)


S2 = Claim(
    id="S2",
    title="Off the manifold V(D*, Q) is constant and the generator's gradient is exactly 0",
    statement=(
        "Write Q = (1-m) Q_on + m Q_off with Q_off singular to P. V(D*, Q) does not change when Q_off is moved by any\n"
        "map that keeps it singular to P, and grad_x log(1 - D*(x)) = 0 exactly at every x outside the support of P."
    ),
    assumptions=(
        "D* is the exact optimal discriminator.",
        "The gradient: x lies in the complement of the closed support, an open set on which D* = 0. (Singular is not "
        "enough there: an atom of Q on a curve that carries P is singular to P, and D* has no gradient at it.)",
    ),
    source=Source("paper", "claim 1 (saturation)"),
    tolerance=1e-12,
    why="V: finite sums of order 1 in float64. The gradient is compared exactly: any number but 0 counts as inf.",
    check=check_saturation,
    controls=(
        Control("Q_on is moved instead", {"moves": "on"}),
        Control("the gradient on the manifold, not off it", {"points": on_circle}),
    ),
)

# S3


def sharp_bound(m: Tensor) -> Tensor:
    """-2 log 2 + (2-m) log(2/(2-m)) + (1-m) log(1-m) + m log 2."""
    return -2 * LOG2 + (2 - m) * torch.log(2 / (2 - m)) + torch.xlogy(1 - m, 1 - m) + m * LOG2


def check_loss_of_mass(
    bound: Callable[[Tensor], Tensor] = sharp_bound, attained_by_p: bool = True
) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(3)
    curve = mixed_carriers()[1]
    atoms = Carrier(torch.ones(1, dtype=torch.float64))
    off: Measure = {atoms: torch.ones(1, dtype=torch.float64)}
    for share in torch.linspace(0, 1, 11).tolist():
        real = random_law([curve], generator)
        other = reweighted(real, generator)
        best, m = game_and_mass(share, real, real if attained_by_p else other, off)
        yield compare(f"V at m = {share:.1f}, the law that attains the bound", best, bound(m))
        v, m = game_and_mass(share, real, other, off)
        yield compare_at_least(f"V at m = {share:.1f}, another Q_on", v, bound(m))
        excess = (2 - m) * jensen_shannon(*on_common_measure(real, other), share=1 / (2 - float(m)))
        yield compare(f"V at m = {share:.1f}, another Q_on, with its excess", v, bound(m) + excess)


def game_and_mass(share: float, real: Measure, on: Measure, off: Measure) -> tuple[Tensor, Tensor]:
    """V(D*, Q) for Q = (1 - share) Q_on + share Q_off, and the mass of Q that is singular to P."""
    p, q, mu = on_common_measure(real, mixture(share, on, off))
    return value(optimal_discriminator(p, q), p, q, mu), singular_mass(p, q, mu)


S3 = Claim(
    id="S3",
    title="Mass m off the manifold costs at least a known amount, reached iff Q_on = P",
    statement=(
        "V(D*, Q) >= B(m) = -2 log 2 + (2-m) log(2/(2-m)) + (1-m) log(1-m) + m log 2, with equality iff Q_on = P:\n"
        "    V(D*, Q) = B(m) + (2-m) JSD_s(P, Q_on),  s = 1/(2-m),\n"
        "JSD_s being the Jensen-Shannon divergence with weights s, 1-s. At m = 1 the bound is the constant 0."
    ),
    assumptions=("Q = (1-m) Q_on + m Q_off, Q_on absolutely continuous with respect to P, Q_off singular to it.",),
    source=Source("in print", "Lin 1991"),
    tolerance=1e-12,
    why="Identities of finite sums of some hundred terms of order 1 in float64.",
    check=check_loss_of_mass,
    controls=(
        Control("the bound with m replaced by 0.9 m + 0.1", {"bound": lambda m: sharp_bound(0.9 * m + 0.1)}),
        Control("equality for a Q_on other than P", {"attained_by_p": False}),
    ),
)

CLAIMS: tuple[Claim, ...] = (S1, S2, S3)
