"""S. The adversarial loss off the manifold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least, compare_exactly
from theory.claims.drawing import COLOURS
from theory.divergences import (
    Carrier,
    Measure,
    jensen_shannon,
    on_common_measure,
    optimal_discriminator,
    singular_mass,
    value,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG2 = math.log(2)
Discriminator = Callable[[Tensor, Tensor], Tensor]


def maximised(p: Float[Tensor, "*n"], q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The logits in [-60, 60] that maximise V(D, Q), cell by cell: by bisection on the sign of the derivative.

    V = sum p log sigmoid(l) + q log sigmoid(-l) is concave in l; its derivative comes from autograd. No formula of D*.
    """
    low, high = torch.full_like(p, -60), torch.full_like(p, 60)
    for _ in range(64):
        logits = ((low + high) / 2).requires_grad_()
        gain = (p * torch.nn.functional.logsigmoid(logits) + q * torch.nn.functional.logsigmoid(-logits)).sum()
        rising = torch.autograd.grad(gain, logits)[0] > 0
        logits = logits.detach()
        low, high = torch.where(rising, logits, low), torch.where(rising, high, logits)
    return (low + high) / 2


def less_sure(factor: float) -> Discriminator:
    """p / (p + factor q): a near-miss of D*."""
    return lambda p, q: optimal_discriminator(p, factor * q)


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
    discriminator: Discriminator = optimal_discriminator,
    divergence: Callable[[Tensor, Tensor, Tensor], Tensor] = jensen_shannon,
) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(1)
    carriers = mixed_carriers()
    for pair in range(20):
        p, q, mu = on_common_measure(random_law(carriers, generator), random_law(carriers, generator))
        left = value(discriminator(p, q), p, q, mu)
        yield compare(f"mixed laws, pair {pair}", left, 2 * divergence(p, q, mu) - 2 * LOG2)
        charged = p + q > 0  # elsewhere every D is optimal
        best = torch.sigmoid(maximised(mu * p, mu * q))
        yield compare(f"pair {pair}: D* and the D that maximises V", discriminator(p, q)[charged], best[charged])
        yield compare(f"pair {pair}: V of the D that maximises V", value(best, p, q, mu), left)
    for shift in (0.125, 0.5, 0.875):  # JSD of two uniform laws is known: log 2 times their total variation
        line = Carrier(torch.tensor([shift, 1 - shift, shift], dtype=torch.float64))
        left_law, right_law = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.float64)
        p, q, mu = on_common_measure({line: left_law}, {line: right_law})
        left = value(discriminator(p, q), p, q, mu)
        yield compare(f"U[0, 1] and U[{shift}, {1 + shift}]", left, 2 * shift * LOG2 - 2 * LOG2)


def value_of_the_game(axes: Axes) -> None:
    """S1: V against 2 JSD - 2 log 2 for random pairs of laws; with D* and with p/(p+2q)."""
    generator, carriers = torch.Generator().manual_seed(1), mixed_carriers()
    pairs = [on_common_measure(*(random_law(carriers, generator) for _ in range(2))) for _ in range(60)]
    predicted = [float(2 * jensen_shannon(*pair)) - 2 * LOG2 for pair in pairs]
    found = [float(value(optimal_discriminator(p, q), p, q, mu)) for p, q, mu in pairs]
    other = [float(value(less_sure(2.0)(p, q), p, q, mu)) for p, q, mu in pairs]
    axes.plot([-2 * LOG2, 0], [-2 * LOG2, 0], color="0.6", label="equal")
    axes.plot(predicted, found, "o", color=COLOURS[0], label="D = D* = p/(p+q)")
    axes.plot(predicted, other, "x", color=COLOURS[1], label="D = p/(p+2q)")
    axes.set(xlabel=r"$2\,JSD(P, Q) - 2\log 2$", ylabel="$V(D, Q)$", title="Random laws of atoms, curves and regions")


S1 = Claim(
    id="S1",
    title="V(D*, Q) = 2 JSD(P, Q) - 2 log 2, for atoms, curves and densities mixed",
    statement=(
        "With p, q the densities of P, Q against a common dominating measure, D* = p/(p+q) maximises V(D, Q), and\n"
        "    V(D*, Q) = E_P log D* + E_Q log(1 - D*) = 2 JSD(P, Q) - 2 log 2,\n"
        "also where P and Q have parts singular to each other."
    ),
    assumptions=(
        "Finite representations: laws are piecewise constant on the cells of their carriers.",
        "The D that maximises V is found over its logits in [-60, 60], by bisection.",
    ),
    source=Source("in print", "Goodfellow et al. 2014, with singular parts"),
    tolerance=1e-12,
    why=(
        "Identities of finite sums of some hundred terms of order 1 in float64: rounding is below 1e-14 a term. The "
        "bisection ends within 1e-17 of the logit, or at 60, where D is 1 - 1e-26."
    ),
    check=check_value,
    controls=(
        Control("D* replaced by p/(p + 1.1 q)", {"discriminator": less_sure(1.1)}),
        Control("D* replaced by p/(p + 1.001 q)", {"discriminator": less_sure(1.001)}),
        Control("JSD larger by a hundredth", {"divergence": lambda p, q, mu: 1.01 * jensen_shannon(p, q, mu)}),
    ),
    picture=value_of_the_game,
)

# S2

M = 0.5  # the off-manifold mass wherever the gradient is looked at


def densities(x: Float[Tensor, "*n 2"], tau: float) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """p and q at x: P on the unit circle, thickened by N(0, tau^2) along its normal, or exact at tau = 0.

    Q is half on P's carrier and half a Gaussian law in the plane. At tau = 0 the densities are those against length on
    the circle plus area, so that p = 0 off the circle.
    """
    angle, radius = torch.atan2(x[..., 1], x[..., 0]), torch.linalg.vector_norm(x, dim=-1)
    if tau:
        profile = torch.exp(-((radius - 1) ** 2) / (2 * tau**2)) / math.sqrt(2 * math.pi * tau**2)
    else:
        profile = ((radius - 1).abs() < 1e-12).to(x)
    p = profile * (1 + 0.5 * torch.cos(angle)) / (2 * math.pi)
    q_on = profile * (1 + 0.5 * torch.sin(angle)) / (2 * math.pi)
    q_off = torch.exp(-(x - 1).square().sum(-1) / 2) / (2 * math.pi)
    off = q_off if tau else torch.where(profile > 0, 0.0, q_off)  # length and area are singular to each other
    return p, (1 - M) * q_on + M * off


def log_one_minus_discriminator(
    x: Float[Tensor, "*n 2"], discriminator: Discriminator = optimal_discriminator, tau: float = 0.0
) -> Float[Tensor, "*n"]:
    """log(1 - D(x)) for the laws of `densities`.   [..., 2] -> [...]"""
    return torch.log1p(-discriminator(*densities(x, tau)))


def adversarial_gradient(
    x: Float[Tensor, "*n 2"], discriminator: Discriminator = optimal_discriminator, tau: float = 0.0
) -> Float[Tensor, "*n 2"]:
    """grad_x log(1 - D(x)), the gradient of the saturating loss at each sample.   [..., 2] -> [..., 2]"""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(log_one_minus_discriminator(x, discriminator, tau).sum(), x)[0]


def limit_of_gradients(x: Float[Tensor, "n 2"], tau: float, h: float = 1e-4) -> Float[Tensor, " n"]:
    """|grad log(1 - D)| at x by differences of step h, D the maximiser of V on cells at x and its neighbours."""
    steps = h * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    logits = maximised(*densities(x[:, None] + steps, tau))
    loss = torch.nn.functional.logsigmoid(-logits)  # log(1 - D)
    return torch.hypot(loss[:, 0] - loss[:, 1], loss[:, 2] - loss[:, 3]) / (2 * h)


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


def beside_circle(n: int) -> Float[Tensor, "n 2"]:
    """n points at distances from 0.2 to 2 of the unit circle, outside, all round."""
    angle = torch.arange(n, dtype=torch.float64) / n * 2 * math.pi
    radius = 1.2 + 1.8 * torch.arange(n, dtype=torch.float64) / n
    return radius[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], -1)


def check_saturation(
    moves: str = "off",
    points: Callable[[int], Tensor] = off_circle,
    discriminator: Discriminator = optimal_discriminator,
) -> Iterator[Comparison]:
    circle = Carrier(torch.full((64,), 2 * math.pi / 64, dtype=torch.float64))
    atoms = Carrier(torch.ones(9, dtype=torch.float64))
    angle = torch.arange(64, dtype=torch.float64) / 64 * 2 * math.pi
    real = {circle: (1 + 0.5 * torch.cos(angle)) / (2 * math.pi)}
    parts: dict[str, Measure] = {
        "on": {circle: (1 + 0.5 * torch.sin(angle)) / (2 * math.pi)},
        "off": {atoms: torch.arange(1, 10, dtype=torch.float64) / 45},
    }

    def game(m: float, parts: dict[str, Measure]) -> tuple[Tensor, Tensor]:
        """V of the discriminator, and the largest V there is: over logits."""
        p, q, mu = on_common_measure(real, mixture(m, **parts))
        best = torch.sigmoid(maximised(mu * p, mu * q))
        return value(discriminator(p, q), p, q, mu), value(best, p, q, mu)

    for m in (0.1, 0.5, 0.9, 1.0):
        before, best = game(m, parts)
        yield compare(f"V, m = {m}, for the largest over D", before, best)
        for how, part in moved(parts[moves]).items():
            yield compare(f"the largest V, m = {m}, Q_{moves} {how}", game(m, {**parts, moves: part})[1], before)
    largest = torch.linalg.vector_norm(adversarial_gradient(points(200), discriminator), dim=-1).max()
    yield compare_exactly("|grad log(1 - D*)|, the largest of 200 samples", largest, 0.0)
    far = limit_of_gradients(beside_circle(24) if points is off_circle else points(24), tau=0.02)
    yield compare("the same for P thickened by tau = 0.02, by differences of the D that maximises V", far.max(), 0.0)
    near = beside_circle(24) / torch.linalg.vector_norm(beside_circle(24), dim=-1, keepdim=True) * 1.02
    predicted = torch.linalg.vector_norm(adversarial_gradient(near, discriminator, 0.02), dim=-1)
    found = limit_of_gradients(near, tau=0.02)
    yield compare("at distance tau of M, for D*'s, in units of 1e9", found, predicted, 1e9)
    yield compare_at_least("at distance tau of M: their least length", found.min(), 0.1)


def flat_off_the_circle(axes: Axes) -> None:
    """S2: log(1 - D*) along a ray through the circle, for P exact and thickened."""
    radius = torch.linspace(0.5, 1.6, 441, dtype=torch.float64)
    x = radius[:, None] * torch.tensor([1.0, 0.0], dtype=torch.float64)
    for number, tau in enumerate((0.2, 0.1, 0.05, 0.02)):
        label = rf"P thickened by $\tau$ = {tau}"
        axes.plot(radius, log_one_minus_discriminator(x, tau=tau), color=COLOURS[number], label=label)
    axes.plot(radius[radius != 1], torch.zeros(440), "k--", label="P exact, off the circle: 0")
    on = log_one_minus_discriminator(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    axes.plot([1.0], on, "ko", label="P exact, on the circle")
    axes.set(xlabel="$|x|$", ylabel="$\\log(1 - D^*(x))$", title="Off the circle the generator's loss is flat")


S2 = Claim(
    id="S2",
    title="Off the manifold V(D*, Q) is constant and the generator's gradient is exactly 0",
    statement=(
        "Write Q = (1-m) Q_on + m Q_off with Q_off singular to P. The largest V over D does not change when Q_off is\n"
        "moved by any map that keeps it singular to P. If x is outside the closed support of P and Q has a positive\n"
        "density q near x, then D* = 0 near x, and grad_x log(1 - D*(x)) = 0 exactly. For P thickened by N(0, tau^2)\n"
        "the gradient at x tends to 0 as tau -> 0."
    ),
    assumptions=(
        "D* is the exact optimal discriminator.",
        "q > 0 near x. Off the supports of P and Q every D is optimal: where Q_off sits on a curve, D* is 0 on the "
        "curve only, and its gradient across the curve is arbitrary. What holds there is that an optimal D exists that "
        "is locally constant (Arjovsky and Bottou 2017).",
    ),
    source=Source("paper", "claim 1 (saturation); Arjovsky and Bottou 2017, theorem 2.4"),
    tolerance=1e-12,
    why=(
        "V: finite sums of order 1 in float64. The gradient is compared exactly: any number but 0 counts as inf. At "
        "distances of 10 tau and more p is below e^-50, and differences of log(1 - D) are below e^-50 / 2e-4 < 1e-17. "
        "At a distance of tau the differences of step 1e-4 are right to 1e-3, hence their unit."
    ),
    check=check_saturation,
    controls=(
        Control("Q_on is moved instead", {"moves": "on"}),
        Control("the gradient on the manifold, not off it", {"points": on_circle}),
        Control("D* replaced by p/(p + 5q)", {"discriminator": less_sure(5.0)}),
        Control("D* replaced by p/(p + 1.1 q)", {"discriminator": less_sure(1.1)}),
    ),
    picture=flat_off_the_circle,
)

# S3


def sharp_bound(m: Tensor) -> Tensor:
    """(1-m) log(1-m) - (2-m) log(2-m)."""
    return torch.xlogy(1 - m, 1 - m) - torch.xlogy(2 - m, 2 - m)


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
        yield compare(f"m = {share:.1f}: the mass of Q singular to P", m, share)
        yield compare(f"V at m = {share:.1f}, the law that attains the bound", best, bound(m))
        v, m = game_and_mass(share, real, other, off)
        yield compare_at_least(f"V at m = {share:.1f}, another Q_on", v, bound(m))
        excess = (2 - m) * jensen_shannon(*on_common_measure(real, other), share=1 / (2 - float(m)))
        yield compare(f"V at m = {share:.1f}, another Q_on, with its excess", v, bound(m) + excess)


def game_and_mass(share: float, real: Measure, on: Measure, off: Measure) -> tuple[Tensor, Tensor]:
    """V(D*, Q) for Q = (1 - share) Q_on + share Q_off, and the mass of Q that is singular to P."""
    p, q, mu = on_common_measure(real, mixture(share, on, off))
    return value(optimal_discriminator(p, q), p, q, mu), singular_mass(p, q, mu)


def mass_off(axes: Axes) -> None:
    """S3: V against m, for Q_on = P and for others."""
    generator = torch.Generator().manual_seed(3)
    curve, atoms = mixed_carriers()[1], Carrier(torch.ones(1, dtype=torch.float64))
    off = {atoms: torch.ones(1, dtype=torch.float64)}
    m = torch.linspace(0, 1, 101, dtype=torch.float64)
    axes.plot(m, sharp_bound(m), color=COLOURS[0], label="B(m)")
    for kind, style in (("$Q_{on} = P$", "o"), ("random $Q_{on}$", "x")):
        found = []
        for share in torch.linspace(0, 1, 21).tolist() * (1 if style == "o" else 4):
            real = random_law([curve], generator)
            on = real if style == "o" else reweighted(real, generator)
            found.append([float(part) for part in game_and_mass(share, real, on, off)[::-1]])
        axes.plot(*zip(*found, strict=True), style, color=COLOURS["ox".index(style)], label=kind)
    axes.set(xlabel="m, the mass of Q off the manifold", ylabel="$V(D^*, Q)$", title="What mass off M costs at least")


S3 = Claim(
    id="S3",
    title="Mass m off the manifold costs at least a known amount, reached iff Q_on = P",
    statement=(
        "V(D*, Q) >= B(m) = (1-m) log(1-m) - (2-m) log(2-m), with equality iff Q_on = P:\n"
        "    V(D*, Q) = B(m) + (2-m) JSD_s(P, Q_on),  s = 1/(2-m),\n"
        "JSD_s being the Jensen-Shannon divergence with weights s, 1-s. B rises from -2 log 2 at m = 0 to the\n"
        "constant 0 at m = 1."
    ),
    assumptions=("Q = (1-m) Q_on + m Q_off, Q_on absolutely continuous with respect to P, Q_off singular to it.",),
    source=Source("in print", "the weighted Jensen-Shannon divergence and its grouping: Lin 1991"),
    tolerance=1e-12,
    why="Identities of finite sums of some hundred terms of order 1 in float64.",
    check=check_loss_of_mass,
    controls=(
        Control("the bound with m replaced by 0.9 m + 0.1", {"bound": lambda m: sharp_bound(0.9 * m + 0.1)}),
        Control("the bound larger by a hundredth of |B|", {"bound": lambda m: 0.99 * sharp_bound(m)}),
        Control("equality for a Q_on other than P", {"attained_by_p": False}),
    ),
    picture=mass_off,
)

CLAIMS: tuple[Claim, ...] = (S1, S2, S3)
