"""S. The adversarial loss off the manifold, continued: other divergences, other losses, thick and random manifolds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least, compare_exactly
from theory.claims.saturation import mixture
from theory.divergences import (
    F_DIVERGENCES,
    Carrier,
    f_divergence,
    gaussian_mmd_squared,
    on_common_measure,
    optimal_discriminator,
    wasserstein,
)
from theory.manifolds import Gaussians, Law, Segment, Sphere, Thickened
from theory.regularity import pointwise_loss

# S4

Divergence = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of p, q, mu [n] and the places of the cells [n, d]


def places(n_circle: int, off: Tensor) -> Float[Tensor, "n d"]:
    """The cells of the circle, and the atoms off it."""
    angle = torch.arange(n_circle, dtype=torch.float64) / n_circle * 2 * math.pi
    return torch.cat([torch.stack([torch.cos(angle), torch.sin(angle)], -1), off])


def weighted_mmd_squared(p: Tensor, q: Tensor, mu: Tensor, where: Tensor) -> Tensor:
    """MMD^2 of width 1: it knows where the cells are."""
    difference = mu * (p - q)
    kernel = torch.exp(-(where[:, None] - where).square().sum(-1) / 2)
    return difference @ kernel @ difference


def blind(name: str) -> Divergence:
    """An f-divergence: it does not look at the places."""
    return lambda p, q, mu, where: f_divergence(F_DIVERGENCES[name], p, q, mu)


def by_discriminator(loss: str) -> Divergence:
    """The value of a GAN's game at its own optimal discriminator: no f in it."""

    def game(p: Tensor, q: Tensor, mu: Tensor, where: Tensor) -> Tensor:
        if loss == "LSGAN":
            d = 2 * optimal_discriminator(p, q) - 1
            return mu @ ((p + q) * d.square())
        d = torch.sign(p - q)
        return mu @ ((p - q) * d)

    return game


TABLE: Mapping[str, Divergence] = {name: blind(name) for name in F_DIVERGENCES} | {
    "LSGAN, as a game": by_discriminator("LSGAN"),
    "hinge, as a game": by_discriminator("hinge"),
}


def check_every_divergence(divergences: Mapping[str, Divergence] = TABLE) -> Iterator[Comparison]:
    circle = Carrier(torch.full((32,), 2 * math.pi / 32, dtype=torch.float64))
    angle = torch.arange(32, dtype=torch.float64) / 32 * 2 * math.pi
    real = {circle: (1 + 0.5 * torch.cos(angle)) / (2 * math.pi)}
    on = {circle: (1 + 0.5 * torch.sin(angle)) / (2 * math.pi)}
    generator = torch.Generator().manual_seed(4)
    for name, divergence in divergences.items():
        f = F_DIVERGENCES.get(name) or F_DIVERGENCES.get(name.partition(",")[0])
        at_zero = f.at_zero if f else 0.5  # an integral probability metric has none
        for m in (0.2, 0.7):
            for atoms, radius in ((1, 0.1), (4, 1.0), (9, 5.0)):
                mass = torch.rand(atoms, generator=generator, dtype=torch.float64)
                off = radius * torch.randn(atoms, 2, generator=generator, dtype=torch.float64)
                off_part = {Carrier(torch.ones(atoms, dtype=torch.float64)): mass / mass.sum()}
                p, q, mu = on_common_measure(real, mixture(m, on, off_part))
                where = places(32, off)
                on_part = divergence(p[:32], q[:32], mu[:32], where[:32])
                found = divergence(p, q, mu, where)
                yield finite_or_exact(f"{name}, m = {m}, {atoms} atoms off M", found, on_part + m * at_zero)


def finite_or_exact(what: str, measured: Tensor, predicted: Tensor) -> Comparison:
    """`compare`, where inf agrees with inf and with nothing else."""
    if math.isinf(predicted):
        return compare_exactly(f"{what}: infinite", float(torch.isinf(measured)), 1.0)
    return compare(what, measured, predicted)


S4 = Claim(
    id="S4",
    title="Every f-divergence saturates: off-manifold mass m costs m f(0), wherever it is",
    statement=(
        "D_f(P || Q) = integral of f(p/q) dQ over the support of P, + m f(0), whatever the place of the off-manifold\n"
        "mass m. f(0) is: Jensen-Shannon log(2)/2, KL 0, reverse KL inf, Pearson 1, Neyman inf, squared Hellinger 1,\n"
        "total variation 1/2, LSGAN 1, hinge 1. LSGAN and hinge agree with the value of their games."
    ),
    assumptions=("As S1 and S2; f(t) is taken at t = p/q, so that Neyman's is (1-t)^2/t.",),
    source=Source("ours", ""),
    tolerance=1e-12,
    why="Finite sums of order 1 in float64. Infinite values must be infinite.",
    check=check_every_divergence,
    controls=(
        Control("an integral probability metric in the same checker", {"divergences": {"MMD^2": weighted_mmd_squared}}),
    ),
)

# S5

Distance = Callable[[Tensor, Tensor], Tensor]
WIDTH = 0.5


def mmd(x: Tensor, y: Tensor) -> Tensor:
    return gaussian_mmd_squared(x, y, WIDTH)


def atoms_of_segment(n: int = 24) -> Float[Tensor, "n 2"]:
    """Equally likely atoms on the segment from (0, -1) to (0, 1)."""
    along = (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1
    return torch.stack([torch.zeros_like(along), along], -1)


def shifted(distance: Distance, x: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """(distance(P, shift_delta Q), its derivative in delta); Q is P, shifted across."""
    shift = torch.tensor(delta, dtype=torch.float64, requires_grad=True)
    value = distance(x, x + shift * torch.tensor([1.0, 0.0], dtype=torch.float64))
    return value.detach(), torch.autograd.grad(value, shift)[0]


def slope(y: Tensor, *columns: Tensor) -> float:
    """The first coefficient of the least-squares fit of y by the columns and a constant."""
    design = torch.stack([*columns, torch.ones_like(y)], -1)
    return float(torch.linalg.lstsq(design, y[:, None]).solution[0, 0])


DELTAS = (1.0, 1.5, 2.0, 2.5, 3.0)


def check_metrics(linear: Distance = wasserstein, saturating: Distance = mmd) -> Iterator[Comparison]:
    x, segment, nsr = atoms_of_segment(), Segment((0.0, -1.0), (0.0, 1.0)), 0.05
    delta = torch.tensor(DELTAS, dtype=torch.float64)
    values, slopes = (torch.stack(part) for part in zip(*(shifted(linear, x, d) for d in DELTAS), strict=True))
    yield compare("W1(P, shift Q)", values, delta)
    yield compare("its slope", slopes, 1.0)
    gradients = torch.stack([shifted(saturating, x, d)[1] for d in DELTAS])
    rate = slope(torch.log(gradients.abs() / delta), delta.square())
    yield compare("MMD^2: rate of log(slope / delta) in delta^2", rate, -1 / (2 * WIDTH**2))
    loss: Distance = lambda x, y: pointwise_loss(segment, y[8:16], 1.0, nsr).mean()  # noqa: E731
    pushes = torch.stack([shifted(loss, x, d)[1] for d in DELTAS])
    yield compare("ell: exponent of its slope in delta", slope(torch.log(pushes), torch.log(delta)), 1.0)


S5 = Claim(
    id="S5",
    title="Integral probability metrics need not saturate: W1 grows linearly, MMD^2 saturates, ell is quadratic",
    statement=(
        "For Q shifted by delta across P: W1(P, shift Q) = |delta|, with slope 1; MMD^2 with a Gaussian kernel of\n"
        "width h saturates, its slope decaying as delta exp(-delta^2 / 2h^2); the slope of ell grows linearly, as\n"
        "2 SNR delta."
    ),
    assumptions=("P = Q on a segment of length 2, shifted at a right angle; h = 0.5, delta from 1 to 3, nsr 0.05.",),
    source=Source("ours", ""),
    tolerance=1e-6,
    why="W1 is an exact assignment; the kernel of a shift across factorises, so that the fits are exact to rounding.",
    check=check_metrics,
    controls=(Control("the two metrics exchanged", {"linear": mmd, "saturating": wasserstein}),),
)

# S6

TAU = 0.1


def thick_cases() -> tuple[tuple[str, Law, Callable[[Tensor], Tensor]], ...]:
    """Laws thickened by N(0, TAU^2), and the point at a distance from the middle of their core."""
    return (
        ("a thick segment", Thickened(Segment((0.0, -3.0), (0.0, 3.0)), TAU), lambda r: r),
        ("a thick circle", Thickened(Sphere(2), TAU), lambda r: 1 + r),
    )


def adversarial_push(law: Law, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """|grad log(1 - D*)| at x for Q of the constant density 1/4 there: log(1 - D*) = -log(1 + p/q)."""
    x = x.detach().requires_grad_()
    ratio = torch.exp(law.log_density(x, 1.0, 1e-5)) / 0.25
    return torch.linalg.vector_norm(torch.autograd.grad(torch.log1p(ratio).sum(), x)[0], dim=-1)


def score_push(law: Law, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """|grad ell| at nsr = TAU, where it is largest."""
    x = x.detach().requires_grad_()
    return torch.linalg.vector_norm(torch.autograd.grad(pointwise_loss(law, x, 1.0, TAU).sum(), x)[0], dim=-1)


Push = Callable[[Law, Tensor], Tensor]


def check_thick(
    adversarial: Push = adversarial_push, score: Push = score_push, tau: float = TAU
) -> Iterator[Comparison]:
    distance = torch.linspace(0.5, 0.9, 9, dtype=torch.float64)
    for name, law, place in thick_cases():
        x = torch.stack([place(distance), torch.zeros_like(distance)], -1)
        vanishing, lasting = torch.log(adversarial(law, x)), torch.log(score(law, x))
        # Beside the exponential: the factor dist of the gradient, and what curvature makes of the density.
        powers = (torch.log(distance), torch.log(place(distance)))[: 1 if name == "a thick segment" else 2]
        rate = slope(vanishing, distance.square(), *powers)
        yield compare(f"{name}: rate of the adversarial push in dist^2, times -2 tau^2", -2 * tau**2 * rate, 1.0)
        yield compare(f"{name}: exponent of the score's push in dist", slope(lasting, torch.log(distance)), 1.0)
    flat, push = 2 * distance / (4 * tau**2), score(thick_cases()[0][1], torch.stack([distance, 0 * distance], -1))
    yield compare("a thick segment: the score's push over 2 nsr^2 dist / (nsr^2 + tau^2)^2", push / flat, 1.0)


S6 = Claim(
    id="S6",
    title="Off a thick manifold the adversarial push is exponentially small, the score's grows like dist",
    statement=(
        "With P thickened by N(0, tau^2 I) the gradient of log(1 - D*) decays like exp(-dist^2 / 2 tau^2) away from\n"
        "the core, while -grad ell grows like dist: it is 2 nsr^2 dist / (nsr^2 + tau^2)^2 off a flat core, largest\n"
        "at nsr = tau."
    ),
    assumptions=("tau 0.1, distances 5 tau to 9 tau, Q of constant density there; nsr = tau for the score.",),
    source=Source("ours", ""),
    tolerance=0.02,
    why=(
        "Both are exact off a segment. Off the circle exponents are fitted beside a power of the radius, and curvature "
        "changes the score's push by some nsr^2: below 2 %."
    ),
    check=check_thick,
    controls=(
        Control("the two pushes exchanged", {"adversarial": score_push, "score": adversarial_push}),
        Control("exp(-dist^2 / tau^2)", {"tau": TAU / math.sqrt(2)}),
    ),
)

# S7


def difference_of_scores(q: Tensor, p: Tensor) -> Tensor:
    return q - p


def check_non_saturating(scores: Callable[[Tensor, Tensor], Tensor] = difference_of_scores) -> Iterator[Comparison]:
    real, generated, nsr = Sphere(2), Gaussians([(1.5, 0.5), (0.0, -0.5)], std=0.2), 0.1
    generator = torch.Generator().manual_seed(7)
    x = generated.sample(40, generator, torch.float64).requires_grad_()
    log_ratio = generated.log_density(x, 1.0, nsr) - real.log_density(x, 1.0, nsr)
    loss = -torch.nn.functional.logsigmoid(-log_ratio)  # -log D* = log(1 + q/p)
    gradient = torch.autograd.grad(loss.sum(), x)[0]
    x = x.detach()
    share = torch.sigmoid(log_ratio.detach())[:, None]  # 1 - D*
    predicted = share * scores(generated.score(x, 1.0, nsr), real.score(x, 1.0, nsr))
    size = 1 + torch.linalg.vector_norm(predicted, dim=-1, keepdim=True)
    yield compare("grad -log D* and (1 - D*)(grad log q - grad log p)", gradient, predicted, size)
    lost = share[:, 0] > 1 - 1e-9
    saturating = torch.linalg.vector_norm((1 - share) * gradient, dim=-1)[lost]  # D*/(1 - D*) times the other's
    alive = torch.linalg.vector_norm(gradient, dim=-1)[lost]
    yield compare_at_least("its least length where D* < 1e-9", alive.min(), 1.0)
    yield compare("the saturating gradient at the same points", saturating.max(), 0.0, 1e3)
    off = optimal_discriminator(
        torch.zeros(3, dtype=torch.float64), torch.rand(3, generator=generator, dtype=torch.float64)
    )
    yield compare_exactly("exact manifolds: -log D* is infinite off M", float(torch.isinf(-torch.log(off)).all()), 1.0)


S7 = Claim(
    id="S7",
    title="The non-saturating gradient is a difference of scores: it lives on small overlap, and needs some",
    statement=(
        "grad(-log D*) = (1 - D*)(grad log q - grad log p). Where densities overlap a little (D* -> 0) it is the\n"
        "difference of the scores and does not vanish, while that of log(1 - D*) is D*/(1 - D*) times it, up to sign.\n"
        "For an exact manifold the loss is infinite off it and has no gradient."
    ),
    assumptions=("D* is optimal; both laws are noised at nsr 0.1, and Q lies mostly off P.",),
    source=Source("in print", "Arjovsky and Bottou 2017 for the saturating part"),
    tolerance=1e-9,
    why="Two routes to one gradient in float64, relative to 1 + its length.",
    check=check_non_saturating,
    controls=(
        Control("without the score of q", {"scores": lambda q, p: -p}),
        Control("grad log q - grad log p with the other sign", {"scores": lambda q, p: p - q}),
    ),
)

# S8


@dataclass(frozen=True)
class Circles:
    """n circles in R^d: centres c, radii r, and orthonormal pairs u, v of their planes."""

    c: Float[Tensor, "n d"]
    r: Float[Tensor, " n"]
    u: Float[Tensor, "n d"]
    v: Float[Tensor, "n d"]


def random_circles(n: int, d: int, generator: torch.Generator, planar: bool = False) -> Circles:
    """Centres uniform in [-1, 1]^d, radii in [0.3, 1], planes uniform; all in one plane if `planar`."""
    c = 2 * torch.rand(n, d, generator=generator, dtype=torch.float64) - 1
    r = 0.3 + 0.7 * torch.rand(n, generator=generator, dtype=torch.float64)
    frame, _ = torch.linalg.qr(torch.randn(n, d, 2, generator=generator, dtype=torch.float64))
    if planar:
        c[:, 2:] = 0
        frame = torch.eye(d, 2, dtype=torch.float64).expand(n, d, 2)
    return Circles(c, r, frame[..., 0], frame[..., 1])


def distance_along(first: Circles, second: Circles, angle: Tensor) -> Tensor:
    """From the point of each first circle at the angle to the second circle.   [n, m] -> [n, m]"""
    turn = torch.cos(angle)[..., None] * first.u[:, None] + torch.sin(angle)[..., None] * first.v[:, None]
    y = first.c[:, None] + first.r[:, None, None] * turn - second.c[:, None]  # [n, m, d]
    a, b = (y * second.u[:, None]).sum(-1), (y * second.v[:, None]).sum(-1)
    radial = torch.hypot(a, b)
    height = (y.square().sum(-1) - radial.square()).clamp(min=0)
    return torch.sqrt((radial - second.r[:, None]).square() + height)


def least_distance(first: Circles, second: Circles) -> Float[Tensor, " n"]:
    """The distance of two circles: the best of 32 angles, refined by five finer and finer grids around it."""
    angle = torch.linspace(0, 2 * math.pi, 33, dtype=torch.float64)[:-1].expand(len(first.r), -1)
    width = 2 * math.pi / 32
    for _ in range(6):
        found, at = distance_along(first, second, angle).min(-1)
        best = angle.gather(-1, at[:, None])
        angle = best + width * torch.linspace(-1, 1, 9, dtype=torch.float64)
        width /= 4
    return found


def meet_in_space(first: Circles, second: Circles) -> Bool[Tensor, " n"]:
    """Whether circles of R^3 meet, to rounding: a first circle crosses the plane of the second one at two points or at
    none, where a cos t + b sin t = c; it is asked whether one of these lies on the second circle. In one plane, by
    their radii and the gap of their centres."""
    normal, between = torch.linalg.cross(second.u, second.v), second.c - first.c
    a, b = (first.r * (normal * part).sum(-1) for part in (first.u, first.v))
    c = (normal * between).sum(-1)
    size = torch.hypot(a, b)
    half, middle = torch.acos((c / size).clamp(-1, 1)), torch.atan2(b, a)
    t = torch.stack([middle + half, middle - half])[..., None]
    crossing = first.c + first.r[:, None] * (torch.cos(t) * first.u + torch.sin(t) * first.v)  # [2, n, 3]
    off = (torch.linalg.vector_norm(crossing - second.c, dim=-1) - second.r).abs().amin(0)
    return torch.where(size > 1e-12, (c.abs() < size) & (off < 1e-9), meet_in_plane(first, second))


def meet_in_plane(first: Circles, second: Circles) -> Bool[Tensor, " n"]:
    """Whether circles of one plane meet: |r - s| < gap of the centres < r + s."""
    gap = torch.linalg.vector_norm(first.c - second.c, dim=-1)
    return (gap < first.r + second.r) & (gap > (first.r - second.r).abs())


NEAR = 0.02


@lru_cache
def random_pairs(n: int, planar: bool) -> tuple[Float[Tensor, " n"], int]:
    """The distances of n pairs of random circles of R^3, and how many of them meet."""
    generator = torch.Generator().manual_seed(8)
    pair = random_circles(n, 3, generator, planar), random_circles(n, 3, generator, planar)
    return least_distance(*pair), int(meet_in_space(*pair).sum())


def check_general_position(n: int = 100000, planar: bool = False, codimension: float = 1.0) -> Iterator[Comparison]:
    (distance, met), generator = random_pairs(n, planar), torch.Generator().manual_seed(9)
    yield compare_exactly(f"R^3: pairs of circles that meet, of {n}", float(met), 0.0)
    near = distance[distance < NEAR]
    exponent = 1 / float(torch.log(NEAR / near).mean())  # the likeliest c for P(distance < eps) ~ eps^c
    error = exponent / math.sqrt(len(near))
    yield compare("R^3: exponent of P(distance < eps), in standard errors", exponent, codimension, error)
    first, second = random_circles(2000, 2, generator), random_circles(2000, 2, generator)
    angle = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)[:-1].expand(2000, -1)
    points = first.c[:, None] + first.r[:, None, None] * torch.stack([torch.cos(angle), torch.sin(angle)], -1)
    outside = torch.linalg.vector_norm(points - second.c[:, None], dim=-1) > second.r[:, None]
    crossings = (outside != outside.roll(1, -1)).sum(-1)
    gap = torch.linalg.vector_norm(first.c - second.c, dim=-1)
    wrong = (crossings != 2 * meet_in_plane(first, second)) & ~touching(gap, first.r, second.r)
    yield compare_exactly("R^2: pairs that meet in other than the 0 or 2 points foretold", float(wrong.sum()), 0.0)


def touching(gap: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """Pairs so close to touching that 2000 angles do not tell."""
    return ((gap - r - s).abs() < 1e-5) | ((gap - (r - s).abs()).abs() < 1e-5)


S8 = Claim(
    id="S8",
    title="In general position thin manifolds do not meet: P and a fresh generator are mutually singular",
    statement=(
        "Two smooth compact k-manifolds in R^d, one of them moved by a random rigid motion with a density, do not\n"
        "meet almost surely if 2k < d: P(distance < eps) = O(eps^(d - 2k)); if d = 2k they meet in finitely many\n"
        "points. In either case P and a fresh generator are mutually singular, and m = 1 in S3."
    ),
    assumptions=("Circles (k = 1) of random place, size and plane: in R^3 (2k < d) and in R^2 (d = 2k).",),
    source=Source("in print", "Arjovsky and Bottou 2017; transversality"),
    tolerance=4.5,
    why=(
        "In standard errors of the exponent, from 100000 independent pairs; counts are exact, 0 or inf. A true "
        "statement fails with probability below 1e-4 over seeds: 7e-6 but for the exponent's bias, 0.01 at distance "
        "0.02 and half a standard error."
    ),
    check=check_general_position,
    controls=(
        Control("circles in one plane of R^3, not in general position", {"n": 4000, "planar": True}),
        Control("the codimension of points on a line, 0", {"codimension": 0.0}),
    ),
)

CLAIMS: tuple[Claim, ...] = (S4, S5, S6, S7, S8)
