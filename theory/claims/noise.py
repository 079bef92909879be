"""I. The interval of noises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy import integrate, special
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.squared_distance import push
from theory.critical_noise import critical_nsr, curvature_at
from theory.levels import Level
from theory.manifolds import Box, Gaussians, Law, Mixture, Sphere
from theory.quadrature import Rule, gaussian_rule, richardson
from theory.regularity import eps_model_of, pointwise_loss, score_matching_loss

# I1

TWO_POINTS = Gaussians([(-1.0,), (1.0,)])
WIDE = (  # name, law, x, E[X], ||Cov||^2 (Frobenius)
    ("a circle", Sphere(2), (0.5, 0.2), (0.0, 0.0), 0.5),
    ("two points of weights 0.7 and 0.3", Gaussians([(-1.0,), (1.0,)], weights=(0.7, 0.3)), (0.9,), (-0.4,), 0.7056),
    ("a segment of a line", Box((-1.0,), (1.0,)), (1.4,), (0.0,), 1 / 9),
    ("a point and a segment", Mixture([Gaussians([(-2.0,)]), Box((0.0,), (2.0,))]), (0.4,), (-0.5,), (29 / 12) ** 2),
)


def to_the_mean(law: Law, x: Tensor, mean: Tensor) -> Tensor:
    return mean - x


def to_the_manifold(law: Law, x: Tensor, mean: Tensor) -> Tensor:
    return law.project(x) - x


Wide = tuple[str, Law, tuple[float, ...], tuple[float, ...], float]


def check_large_noise(
    way: Callable[[Law, Tensor, Tensor], Tensor] = to_the_mean,
    nsr: tuple[float, float] = (20.0, 40.0),
    cases: Sequence[Wide] = WIDE,
) -> Iterator[Comparison]:
    for name, law, place, centre, covariance in cases:
        x, mean = torch.tensor([place], dtype=torch.float64), torch.tensor(centre, dtype=torch.float64)
        eps, weights = gaussian_rule(law.dim)
        spreads = [s**2 * weights @ (law.denoise(x + s * eps, 1.0, s) - mean).square().sum(-1) for s in nsr]
        yield compare(f"{name}: nsr^2 E|x0hat - E[X]|^2", richardson(torch.stack(spreads), order=2), covariance)
        pushes = torch.stack([push(law, x, s) * s**2 / 2 for s in nsr])
        yield compare(f"{name}: -grad ell / (2 SNR)", richardson(pushes, order=2), way(law, x, mean))


I1 = Claim(
    id="I1",
    title="At large noise the push is towards the mean, not the manifold",
    statement=(
        "As nsr -> infinity, x0hat -> E[X] with nsr^2 E||x0hat - E[X]||^2 -> ||Cov X||_F^2, and\n"
        "-grad ell(x) = 2 SNR (E[X] - x) (1 + O(SNR)): whatever the support, the push is to the mean."
    ),
    assumptions=("P has a bounded support.",),
    source=Source("ours", ""),
    tolerance=2e-3,
    why="Extrapolated from nsr 20 and 40, which leaves O(nsr^-4) times moments of the law, 2e-4 here.",
    check=check_large_noise,
    controls=(
        Control("towards the nearest point of the manifold", {"way": to_the_manifold}),
        Control("nsr 0.2 and 0.4", {"nsr": (0.2, 0.4)}),
    ),
)

# I2


def mean_resultant(d: int, kappa: float) -> float:
    """A(kappa), with x0hat = A(|y| / nsr^2) y / |y| for the unit sphere of R^d; tanh for d = 1, two points."""
    if d == 1:
        return math.tanh(kappa)
    below = special.ive(d / 2 - 1, kappa)
    return float(special.ive(d / 2, kappa) / below) if below > 0 else kappa / d  # it underflows for small kappa


def laplacian_at_centre(d: int, nsr: float, cross: float) -> float:
    """nsr^2 times the Laplacian of ell at the centre of the unit sphere of R^d, by Stein's identity:

    2d - 4 E[|eps| A] / nsr + E[(|eps|^2 - d) A^2] / nsr^2,   A = A(|eps| / nsr), one integral over |eps|.
    """

    def integrand(r: float) -> float:
        a = mean_resultant(d, r / nsr)
        log_density = special.xlogy(d - 1, r) - r**2 / 2 - (d / 2 - 1) * math.log(2) - special.gammaln(d / 2)
        return math.exp(log_density) * (2 * d - cross * r * a / nsr + (r**2 - d) * (a / nsr) ** 2)

    peak = math.sqrt(d)
    return integrate.quad(integrand, max(0.0, peak - 9), peak + 9, points=[peak], epsabs=1e-10, limit=200)[0]


def critical_by_integral(d: int, cross: float = 4.0) -> float:
    """critical_nsr of the unit sphere of R^d, any d."""
    return brentq(lambda s: laplacian_at_centre(d, s, cross), 0.5 / math.sqrt(d), 2.5 / math.sqrt(d), xtol=1e-10)


def limit_of_high_dimension() -> float:
    """c of critical_nsr = c / sqrt(d) as d -> inf.

    2 - 4 A/c + 2 A A' / c^3 = 0 at u = 1/c, with A(u) = 2u / (1 + sqrt(1 + 4u^2)), A(kappa) at kappa = d u.
    """

    def residual(c: float) -> float:
        root = math.sqrt(1 + 4 / c**2)
        a = 2 / c / (1 + root)
        slope = 2 / (root * (1 + root))  # A'(u)
        return 2 - 4 * a / c + 2 * a * slope / c**3

    return brentq(residual, 0.8, 1.5, xtol=1e-12)


def lowest_radius(law: Law, nsr: float) -> float:
    """The |x| that minimises ell, along the first axis."""

    def ell(radius: float) -> float:
        x = torch.zeros(law.dim, dtype=torch.float64)
        x[0] = radius
        return float(pointwise_loss(law, x, 1.0, nsr))

    grid = np.linspace(0, 1.4, 8)
    best = float(grid[int(np.argmin([ell(r) for r in grid]))])
    return float(minimize_scalar(ell, bounds=(max(best - 0.2, 0.0), best + 0.2), options={"xatol": 1e-6}).x)


def root_near(law: Law, nsr: float) -> float:
    """The root of the curvature at the centre, by a secant from 1 % below to 1 % above nsr; off by 1e-4 of that."""
    low, high = 0.99 * nsr, 1.01 * nsr
    below, above = (curvature_at(law, torch.zeros(law.dim, dtype=torch.float64), s) for s in (low, high))
    return low - below * (high - low) / (above - below)


def check_critical(
    laws: Sequence[tuple[str, Law]] = (("two points", TWO_POINTS), ("the circle", Sphere(2))),
    cross: float = 4.0,
    shift: float = 1.0,
) -> Iterator[Comparison]:
    for name, law in laws:
        found = critical_nsr(law)
        yield compare(f"critical nsr of {name}", found, critical_by_integral(law.dim, cross))
        below, above = (lowest_radius(law, shift * factor * found) for factor in (0.98, 1.02))
        yield compare_at_least(f"{name}: radius of the minimum of ell 2 % below it", below, 0.15)
        yield compare(f"{name}: radius of the minimum of ell 2 % above it", above, 0.0)
    if len(laws) > 1:
        sphere = critical_by_integral(3, cross)  # a Hessian in three dimensions takes a second: two of them
        yield compare("critical nsr of the sphere", root_near(Sphere(3), sphere), sphere)
    scaled = [critical_by_integral(d, cross) * math.sqrt(d) for d in (64, 128)]
    limit = richardson(torch.tensor(scaled, dtype=torch.float64), order=1)
    yield compare("S^(d-1) as d -> infinity: critical nsr times sqrt(d)", limit, limit_of_high_dimension())


ONE = (("two points", TWO_POINTS),)

I2 = Claim(
    id="I2",
    title="Above a critical noise the minimum of ell is the centre: nsr 0.729 on the circle, 1.023, 0.598",
    statement=(
        "For the unit sphere of R^d (two points for d = 1) the minimum of ell leaves the sphere as nsr grows and\n"
        "reaches the centre, continuously, at nsr = 1.0231 (two points), 0.7293 (circle), 0.5979 (sphere), 0.5190\n"
        "(S^3), and 1.0479 / sqrt(d) as d -> infinity: when the noise is about as long as the radius. Above it every\n"
        "sample inside is drawn to the centre, off the manifold. So the interval must end well below the critical\n"
        "noise of the law, `critical_nsr`; levels above it pull off the manifold with a weight of their own."
    ),
    assumptions=("The radius is 1; all is proportional to it. The largest noise at which the centre repels.",),
    source=Source("ours", ""),
    tolerance=1e-3,
    why=(
        "Three digits are claimed. The root of the Hessian of ell (quadrature over eps, autograd) and that of a single "
        "integral derived by Stein's identity agree to 1e-6; the minimum above is found to 1e-5."
    ),
    check=check_critical,
    controls=(
        Control("Stein's identity without its factor 2", {"laws": ONE, "cross": 2.5}),
        Control("the noise of the transition 10 % higher", {"laws": ONE, "shift": 1.1}),
        Control("and 10 % lower", {"laws": ONE, "shift": 0.9}),
    ),
)

# I3

STEPS = 8192  # on a line: x0hat between two points turns within nsr / 8 of a standard deviation


def one_sample_moments(law: Law, x: Float[Tensor, " d"], nsr: float, detach: bool, rule: Rule) -> tuple[Tensor, Tensor]:
    """(variance, kurtosis) of grad `score_matching_loss` for one draw of eps; kurtosis of the first coordinate."""
    eps, weights = rule
    points = x.expand_as(eps).clone().requires_grad_()
    level = Level.variance_exploding(nsr)
    losses = score_matching_loss(points, eps_model_of(law), level, eps, detach=detach)
    gradient = torch.autograd.grad(losses.sum(), points)[0]
    centred = gradient - weights @ gradient
    second, fourth = (weights @ centred[:, 0].pow(power) for power in (2, 4))
    return weights @ centred.square().sum(-1), fourth / second.square()


def check_noise(powers: tuple[int, int, int, int]) -> Iterator[Comparison]:
    edge_full, edge_detached, off_full, off_detached = powers
    levels = (0.05, 0.025)
    zero, rule = torch.zeros(1, dtype=torch.float64), gaussian_rule(1, STEPS)
    full = [one_sample_moments(TWO_POINTS, zero, s, False, rule) for s in levels]
    variance = torch.stack([v * s**edge_full for (v, _), s in zip(full, levels, strict=True)])
    kurtosis = torch.stack([k * s for (_, k), s in zip(full, levels, strict=True)])
    root = math.sqrt(2 * math.pi)
    yield compare("midway between two points: nsr^7 variance, full", richardson(variance, 2), 16 / 15 / root)
    yield compare("midway: nsr kurtosis, full", richardson(kurtosis, 2), 30 / 77 * root)
    plain = [one_sample_moments(TWO_POINTS, zero, s, True, rule)[0] * s**edge_detached for s in levels]
    yield compare("midway: nsr^4 variance, detached", richardson(torch.stack(plain), 1), 4.0)
    for radius in (0.7, 1.0, 1.3):
        x = torch.tensor([radius, 0.0], dtype=torch.float64)
        for detach, power, limit in ((False, off_full, 6 / radius**4), (True, off_detached, 4 / radius**2)):
            values = [one_sample_moments(Sphere(2), x, s, detach, gaussian_rule(2))[0] * s**power for s in (0.04, 0.02)]
            what = f"circle, at radius {radius}: nsr^{power} variance, {'detached' if detach else 'full'}"
            yield compare(what, richardson(torch.stack(values), 2), limit, limit)


CENTRED: tuple[tuple[str, Law], ...] = (("two points", TWO_POINTS), ("circle", Sphere(2)), ("sphere", Sphere(3)))
WIDTH = 0.5  # Q = N(0, WIDTH^2 I), all around the centre, in which the projection to the unit sphere jumps


def core(d: int, r: float) -> float:
    """2 A A': the limit of nsr^4 |grad| at |x_t| = r nsr^2, for the unit sphere of R^d."""
    a = mean_resultant(d, r)
    return 2 * a * (1 - a**2 - (d - 1) * a / r)


def core_moment(d: int, p: int) -> float:
    """The integral over R^d of core^p; 2^p B((p+1)/2, p) for d = 1."""
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    return area * integrate.quad(lambda r: r ** (d - 1) * core(d, r) ** p, 1e-9, 200.0, points=[5.0], limit=200)[0]


def core_volume(d: int, w: float) -> float:
    """The volume of the shell of R^d in which core > w."""
    top = float(minimize_scalar(lambda r: -core(d, r), bounds=(0.1, 3.0)).x)
    inner, outer = (brentq(lambda r: core(d, r) - w, *ends) for ends in ((1e-9, top), (top, 3 / math.sqrt(w) + 10)))
    return ball(d) * (outer**d - inner**d)


def ball(d: int) -> float:
    """The volume of the unit ball of R^d."""
    return math.pi ** (d / 2) / math.gamma(d / 2 + 1)


@lru_cache
def gradient_sizes(law: Law, nsr: float, detach: bool, step: float, nodes: int) -> tuple[Tensor, Tensor]:
    """|grad| of `score_matching_loss` over x ~ Q and eps, and its weights, for a law that rotations leave as it is.

    x_t is on the first axis, at nsr^2 sinh(w) for w in equal steps, which resolves the core; given x_t, x is normal.
    """
    d, variance = law.dim, WIDTH**2 + nsr**2
    w = torch.arange(step / 2, math.asinh(8.5 * math.sqrt(variance) / nsr**2), step, dtype=torch.float64)
    r = nsr**2 * torch.sinh(w)
    density = torch.exp(-r.square() / (2 * variance)) / (2 * math.pi * variance) ** (d / 2)
    shells = step * nsr**2 * torch.cosh(w) * d * ball(d) * r ** (d - 1) * density
    points, masses = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(nodes))
    z = torch.cartesian_prod(*[points] * d).reshape(-1, d)
    share = torch.cartesian_prod(*[masses / masses.sum()] * d).reshape(-1, d).prod(-1)
    x_t = torch.nn.functional.pad(r[:, None], (0, d - 1))[:, None]  # [m, 1, d]
    x = WIDTH**2 / variance * x_t + WIDTH * nsr / math.sqrt(variance) * z  # [m, nodes^d, d]
    x, noise = x.reshape(-1, d).requires_grad_(), ((x_t - x) / nsr).reshape(-1, d)
    losses = score_matching_loss(x, eps_model_of(law), Level.variance_exploding(nsr), noise, detach=detach)
    gradient = torch.autograd.grad(losses.sum(), x)[0]
    return torch.linalg.vector_norm(gradient, dim=-1), (shells[:, None] * share).reshape(-1)


def core_power(d: int, p: int) -> int:
    """E|grad|^p ~ nsr^-power for p > d: the core has the volume nsr^2d, and |grad| ~ nsr^-4 in it."""
    return 4 * p - 2 * d


def check_over_q(power: Callable[[int, int], int], tail: float, detach: bool) -> Iterator[Comparison]:
    for name, law in CENTRED:
        d, density = law.dim, (2 * math.pi * WIDTH**2) ** (-law.dim / 2)
        for p in (d + 1, d + 2):
            moments = []
            for s in (0.05, 0.025):
                size, weights = gradient_sizes(law, s, detach, 0.05, 16 if d < 3 else 8)
                moments.append(weights @ size**p * s ** power(d, p))
            predicted = density * core_moment(d, p)
            what = f"{name}, x ~ Q: nsr^{power(d, p)} E|grad|^{p}"
            yield compare(what, richardson(torch.stack(moments), 2), predicted, predicted)
        size, weights = gradient_sizes(law, 0.01, detach, 0.002 if d < 3 else 0.005, {1: 9, 2: 5, 3: 3}[d])
        for w in (0.1, 0.03):
            predicted = density * 0.01 ** (2 * d) * core_volume(d, w)
            found = weights[size > w * 0.01**-4].sum()
            yield compare(f"{name}, x ~ Q: P(|grad| > {w} nsr^-4) at nsr 0.01", found, predicted, predicted)
        w = 1e-6
        law_of_tail = math.log(8 / w) if d == 1 else ball(d) * (d - 1) ** (d / 2) * w ** (-tail * d)
        yield compare(f"{name}: volume of the core beyond w = {w}", core_volume(d, w) / law_of_tail, 1.0)


def check_light(p: tuple[int, ...] = (2, 4)) -> Iterator[Comparison]:
    """Detached, all moments of nsr^2 |grad| converge: to those of 2 dist(x, M)."""
    r = torch.linspace(0, 9 * WIDTH, 20001, dtype=torch.float64)
    for name, law in CENTRED:
        d = law.dim
        shells = (
            d * ball(d) * r ** (d - 1) * torch.exp(-r.square() / (2 * WIDTH**2)) / (2 * math.pi * WIDTH**2) ** (d / 2)
        )
        for power in p:
            found = [gradient_sizes(law, s, True, 0.05, 16 if d < 3 else 8) for s in (0.05, 0.025)]
            moments = [w @ size**power * s ** (2 * power) for (size, w), s in zip(found, (0.05, 0.025), strict=True)]
            predicted = torch.trapezoid(shells * (2 * (r - 1).abs()) ** power, r)
            what = f"{name}, x ~ Q, detached: nsr^{2 * power} E|grad|^{power}"
            yield compare(what, richardson(torch.stack(moments), 2), predicted, predicted)


def check_gradient_noise(
    powers: tuple[int, int, int, int] = (7, 4, 0, 2),
    power: Callable[[int, int], int] = core_power,
    tail: float = 0.5,
    detach: bool = False,
) -> Iterator[Comparison]:
    """At fixed x, then over x ~ Q."""
    yield from check_noise(powers)
    yield from check_over_q(power, tail, detach)
    yield from check_light()


I3 = Claim(
    id="I3",
    title="The Jacobian removes the noise of the gradient off M, and makes it heavy-tailed where the projection jumps",
    statement=(
        "Var is the trace of the covariance of the gradient for one draw of eps, as nsr -> 0.\n"
        "Off M, and on it, where the projection is smooth:\n"
        "    full       Var -> 2 ||D^3 (dist^2 / 2)||^2      (bounded; 6 / r^4 for the unit circle, 0 for a plane)\n"
        "    detached   Var ~ 4 SNR ||D Proj||^2             (4 SNR / r^2 for the unit circle)\n"
        "Midway between two points at distance 2:\n"
        "    full       Var ~ (16/15) (2 pi)^(-1/2) nsr^-7,  kurtosis ~ (30/77) (2 pi)^(1/2) / nsr\n"
        "    detached   Var ~ 4 nsr^-4\n"
        "Over x ~ Q as well, for the unit sphere of R^d (two points for d = 1), whose projection jumps at the centre,\n"
        "in codimension d; q is the density of Q there, A(r) the mean resultant of I2, x_t = nsr^2 v:\n"
        "    full       |grad| ~ nsr^-4 2 A A'(|v|) in the core |x_t| ~ nsr^2, of probability q nsr^2d, so that\n"
        "               E|grad|^p ~ q nsr^(2d - 4p) integral (2 A A')^p dv           for every p > d,\n"
        "               P(|grad| > u) ~ q |ball| ((d - 1) / u)^(d/2)   for nsr^-2 << u << nsr^-4, d > 1,\n"
        "               and q nsr^2 log(8 nsr^-4 / u)                  for d = 1\n"
        "    detached   E|grad|^p ~ nsr^-2p E (2 dist)^p               for every p\n"
        "So the conjecture holds: between nsr^-2, the size of the push elsewhere, and nsr^-4, where it ends, the tail\n"
        "of the full gradient is a power law of exponent d/2 (for points: flat but for a logarithm), and of\n"
        "nsr^2 |grad| no moment of order p > d stays bounded: between points, the variance. The detached gradient has\n"
        "no such tail. Far from the jump the opposite holds: there it is the detached gradient that is noisy."
    ),
    assumptions=(
        "The exact score; one eps a sample; the gradients of `score_matching_loss`, at alpha = 1.",
        "Over Q: Q = N(0, 1/4 I), by quadrature over x_t and x given x_t. At each nsr |grad| <= const nsr^-4.",
    ),
    source=Source("ours", ""),
    tolerance=5e-3,
    why=(
        "Extrapolated from two levels; what is left is of the order nsr^2 to nsr^4 of the next terms, below 2e-3. "
        "Tails are taken at nsr 0.01, and steps of 0.2 to 0.5 % of |x_t| tell where |grad| exceeds u."
    ),
    check=check_gradient_noise,
    controls=(
        Control("midway: full nsr^-6", {"powers": (6, 4, 0, 2)}),
        Control("off M the full variance grows like SNR as well", {"powers": (7, 4, 2, 2)}),
        Control("off M the detached variance is bounded as well", {"powers": (7, 4, 0, 0)}),
        Control("over Q: moments of the order of the push elsewhere, nsr^-2p", {"power": lambda d, p: 2 * p}),
        Control("over Q: codimension 1 whatever d", {"power": lambda d, p: 4 * p - 2}),
        Control("over Q: the detached gradient has the same tail", {"detach": True}),
        Control("over Q: a tail of exponent d", {"tail": 1.0}),
    ),
)

CLAIMS: tuple[Claim, ...] = (I1, I2, I3)
