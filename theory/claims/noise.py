"""I1 to I3 and C4: what bounds the interval of noises from above."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy import integrate
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS, STYLES
from theory.claims.squared_distance import push
from theory.critical_noise import (
    critical_nsr,
    critical_nsr_of_sphere,
    curvature_of,
    detached_potential,
    full_potential,
    mean_resultant,
    minimum_near,
)
from theory.levels import Level
from theory.manifolds import Box, Gaussians, Law, Mixture, Sphere
from theory.quadrature import Rule, gaussian_rule, richardson
from theory.regularity import eps_model_of, pointwise_loss, score_matching_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def show_large_noise(axes: Axes) -> None:
    """I1: where the push points, from the nearest point at small noise to the mean at large noise."""
    levels = torch.logspace(-1.3, 1.3, 27).tolist()
    for number, (name, law, place, mean, _) in enumerate(WIDE[1:]):
        x = torch.tensor([place], dtype=torch.float64)
        target = [float((x + s**2 / 2 * push(law, x, s))[0, 0]) for s in levels]
        axes.semilogx(levels, target, ls=STYLES[number], color=COLOURS[number], label=f"{name}, x = {place[0]}")
        axes.semilogx(levels[-1], mean[0], "o", color=COLOURS[number])
        axes.semilogx(levels[0], law.project(x)[0], "s", color=COLOURS[number])
    axes.plot([], [], "ks", label="Proj(x)")
    axes.plot([], [], "ko", label="E[X]")
    axes.set(xlabel="nsr", ylabel=r"x - nsr$^2$/2 $\nabla\ell(x)$", title="From the nearest point to the mean")


I1 = Claim(
    id="I1",
    title="At large noise the push is towards the mean, not the manifold",
    statement=(
        "As nsr -> infinity, x0hat -> E[X] with nsr^2 E||x0hat - E[X]||^2 -> ||Cov X||_F^2, and\n"
        "-grad ell(x) = 2 SNR (E[X] - x) (1 + O(SNR)): whatever the support, the push is to the mean."
    ),
    assumptions=("P has a bounded support.",),
    source=Source("in print", "its qualitative form: Raya, Ambrogioni 2023, arXiv 2305.19693; the expansion is ours"),
    tolerance=2e-3,
    why="Extrapolated from nsr 20 and 40, which leaves O(nsr^-4) times moments of the law, 2e-4 here.",
    check=check_large_noise,
    controls=(
        Control("towards the nearest point of the manifold", {"way": to_the_manifold}),
        Control("nsr 0.2 and 0.4", {"nsr": (0.2, 0.4)}),
        Control("1.1 times the way to the mean", {"way": lambda law, x, mean: 1.1 * (mean - x)}),
    ),
    picture=show_large_noise,
)

# I2


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
    """The |x| at which ell has its minimum downhill of half the radius, along the first axis."""
    x = torch.zeros(law.dim, dtype=torch.float64)
    x[0] = 0.5
    return float(torch.linalg.vector_norm(minimum_near(full_potential(law), x, nsr, 1.0)))


@lru_cache
def root_near(law: Law, nsr: float, detach: bool = False) -> float:
    """The root of the curvature at the centre, by a secant from 1 % below to 1 % above nsr; off by 1e-4 of that."""
    low, high = 0.99 * nsr, 1.01 * nsr
    potential = (detached_potential if detach else full_potential)(law)
    below, above = (curvature_of(potential, torch.zeros(law.dim, dtype=torch.float64), s) for s in (low, high))
    return low - below * (high - low) / (above - below)


def high_dimension(detach: bool, **factors: float) -> float:
    """critical_nsr sqrt(d) of S^(d-1) as d -> inf, extrapolated from d = 64 and 128."""
    scaled = [critical_nsr_of_sphere(d, detach, **factors) * math.sqrt(d) for d in (64, 128)]
    return float(richardson(torch.tensor(scaled, dtype=torch.float64), order=1))


def check_critical(cross: float = 4.0, shift: float = 1.0, spheres: bool = True) -> Iterator[Comparison]:
    two = critical_nsr_of_sphere(1, cross=cross)
    found = critical(TWO_POINTS, False)
    yield compare("two points: where the minima of both meet", found, two)
    laws = ((TWO_POINTS, two), (Sphere(2), critical_nsr_of_sphere(2, cross=cross)))
    for law, at in laws if spheres else laws[:1]:
        below, above = (lowest_radius(law, shift * factor * at) for factor in (0.98, 1.02))
        yield compare_at_least(f"{law}: radius of the minimum of ell 2 % below the critical nsr", below, 0.15)
        yield compare(f"{law}: radius of the minimum of ell 2 % above it", above, 0.0)
    for dim in (2, 3) if spheres else ():
        predicted = critical_nsr_of_sphere(dim, cross=cross)
        yield compare(f"critical nsr of S^{dim - 1}, by the Hessian", root_near(Sphere(dim), predicted), predicted)
    yield compare(
        "S^(d-1) as d -> infinity: critical nsr times sqrt(d)",
        high_dimension(False, cross=cross),
        limit_of_high_dimension(),
    )


def show_critical(axes: Axes) -> None:
    """I2: nsr^2 ell along a radius of the circle, below, at and above the critical noise."""
    radius = torch.linspace(0, 1.4, 22, dtype=torch.float64)
    x = torch.stack([radius, torch.zeros_like(radius)], -1)
    at = critical_nsr_of_sphere(2)
    for number, nsr in enumerate((0.4, 0.6, at, 0.9)):
        loss = nsr**2 * pointwise_loss(Sphere(2), x, 1.0, nsr)
        label = f"nsr {nsr:.3f}" + (", critical" if nsr == at else "")
        axes.plot(radius, loss, ls=STYLES[number], color=COLOURS[number], label=label)
        axes.plot(radius[loss.argmin()], loss.min(), "o", color=COLOURS[number])
    axes.set(xlabel="$|x|$", ylabel=r"nsr$^2\,\ell$", title="The minimum leaves the circle for its centre")


I2 = Claim(
    id="I2",
    title="Above a critical noise the minimum of ell is the centre: nsr 0.729 on the circle, 1.023, 0.598",
    statement=(
        "For the unit sphere of R^d (two points for d = 1) the minimum of ell leaves the sphere as nsr grows and\n"
        "reaches the centre, continuously, at the root of\n"
        "    2d - 4 E[|eps| A] / nsr + E[(|eps|^2 - d) A^2] / nsr^2 = 0,   A = A(|eps| / nsr) the mean resultant:\n"
        "nsr = 1.0231 (two points), 0.7293 (circle), 0.5979 (sphere), 0.5190 (S^3), and 1.0479 / sqrt(d) as d -> inf.\n"
        "Above it every sample inside is drawn to the centre, off the manifold. So the interval must end well below\n"
        "the critical noise of the law, `critical_nsr`."
    ),
    assumptions=("The radius is 1; all is proportional to it. That ell has no other minimum is checked, not proven.",),
    source=Source(
        "in print", "the transition: Raya, Ambrogioni 2305.19693, Biroli et al. 2402.18491; its value is ours"
    ),
    tolerance=1e-3,
    why=(
        "Three digits are claimed. The single integral is exact to 1e-10; minima are found until the slope is 1e-9, a "
        "Hessian's root by a secant of 2 %, off by 1e-4; 64 and 128 dimensions leave 1e-5."
    ),
    check=check_critical,
    controls=(
        Control("Stein's identity with the factor 3.6 for 4", {"spheres": False, "cross": 3.6}),
        Control("the noise of the transition 10 % higher", {"spheres": False, "shift": 1.1}),
        Control("and 10 % lower", {"spheres": False, "shift": 0.9}),
    ),
    picture=show_critical,
)

# C4

UNEQUAL = Gaussians([(-1.0,), (1.0,)], weights=(0.8, 0.2))
MINORITY = {False: 0.80366, True: 0.48127}  # the noise at which the lighter loses its minimum, full and detached


def on_a_line(law: Law, nsr: float, detach: bool, x: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """nsr^2 times the potential of the full or the detached gradient at places of a line, but for a constant."""
    eps, weights = gaussian_rule(1, 96)
    x_t = x[:, None, None] + nsr * eps
    if detach:
        return -2 * nsr**2 * law.log_density(x_t, 1.0, nsr) @ weights
    return (x[:, None] - law.denoise(x_t, 1.0, nsr)[..., 0]).square() @ weights


@lru_cache
def minima(law: Law, nsr: float, detach: bool) -> int:
    """How many local minima the potential has on [-1.5, 1.5], of 1201 places."""
    value = on_a_line(law, nsr, detach, torch.linspace(-1.5, 1.5, 1201, dtype=torch.float64))
    return int(((value[1:-1] < value[:-2]) & (value[1:-1] < value[2:])).sum())


@lru_cache
def critical(law: Law, detach: bool) -> float:
    """`critical_nsr`, once for each law."""
    return critical_nsr(law, detach)


def check_detached_critical(
    inner: float = 1.0, limit: float = math.sqrt(0.5), shift: float = 1.0
) -> Iterator[Comparison]:
    two = critical_nsr_of_sphere(1, True, inner=inner)
    yield compare("two points: where the minima of both meet", critical(TWO_POINTS, True), two)
    found = root_near(Sphere(2), critical_nsr_of_sphere(2, True), detach=True)
    yield compare("the circle: critical nsr, by the Hessian", found, critical_nsr_of_sphere(2, True, inner=inner))
    yield compare("S^(d-1) as d -> infinity: critical nsr times sqrt(d)", high_dimension(True, inner=inner), limit)
    for detach, name in ((False, "full"), (True, "detached")):
        at = shift * critical(UNEQUAL, detach)
        yield compare(f"weights 0.8 and 0.2, {name}: critical nsr", at, MINORITY[detach])
        counts = torch.tensor([minima(UNEQUAL, factor * at, detach) for factor in (0.98, 1.02)])
        yield compare(f"weights 0.8 and 0.2, {name}: minima 2 % below and above", counts, torch.tensor([2, 1]))


def show_detached_critical(axes: Axes) -> None:
    """Where the minima are, against nsr: two points of equal and of unequal weight, full and detached."""
    levels, places = np.linspace(0.3, 1.2, 31), torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    for number, (law, name) in enumerate(((TWO_POINTS, "equal weights"), (UNEQUAL, "weights 0.8, 0.2"))):
        for detach, style in ((False, "-"), (True, ":")):
            values = [on_a_line(law, float(nsr), detach, places) for nsr in levels]
            for start in (50, 250):  # at -1 and 1
                path = [start]
                for value in values:
                    path.append(downhill(value, path[-1]))
                label = f"{name}, {'detached' if detach else 'full'}" if start == 50 else None
                axes.plot(levels, places[path[1:]], style, color=COLOURS[number], label=label)
    axes.set(xlabel="nsr", ylabel="x of the minimum", title="Where the minima of two points at -1 and 1 go")


def downhill(value: Float[Tensor, " m"], at: int) -> int:
    """The index of the minimum that steps of one place downwards lead to."""
    while True:
        low = max(at - 1, 0)
        lower = low + int(value[low : at + 2].argmin())
        if value[lower] >= value[at]:
            return at
        at = lower


C4 = Claim(
    id="C4",
    title="Detached, the critical noise is a third lower, 1/sqrt(2d); a lighter mode loses its minimum earlier",
    statement=(
        "The potential of the detached gradient, -2 E log p_t (P5), has a minimum at the centre of the unit sphere\n"
        "of R^d for nsr above the root of d nsr = E[|eps| A(|eps| / nsr)]: 0.6845 (two points), 0.4896 (circle),\n"
        "0.4020 (sphere), 0.3493 (S^3), and 1 / sqrt(2d) as d -> infinity, a third below I2.\n"
        "Of two points at -1 and 1 of weights 0.8 and 0.2 the lighter loses its minimum at 0.8037 (full) and 0.4813\n"
        "(detached), below 1.0231 and 0.6845 of equal weights: samples near it are then drawn to the heavier mode."
    ),
    assumptions=("The radius is 1, the points are 2 apart; all is proportional to that.",),
    source=Source("ours", "Stein's identity; I2's references have other constants"),
    tolerance=1e-3,
    why=("As I2. The lighter point's minimum is followed to 1e-5 of nsr; minima are counted on a grid of 1201 places."),
    check=check_detached_critical,
    controls=(
        Control("d nsr = 1.1 E[|eps| A]", {"inner": 1.1}),
        Control("1 / sqrt(d) as d -> infinity", {"limit": 1.0}),
        Control("the lighter mode's noise 10 % higher", {"shift": 1.1}),
        Control("and 10 % lower", {"shift": 0.9}),
    ),
    picture=show_detached_critical,
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


def check_smooth(full: int = 0, detached: int = 2, factor: float = 6.0) -> Iterator[Comparison]:
    """Off and on the circle."""
    for radius in (0.7, 1.0, 1.3):
        x = torch.tensor([radius, 0.0], dtype=torch.float64)
        for detach, power, limit in ((False, full, factor / radius**4), (True, detached, 4 / radius**2)):
            values = [one_sample_moments(Sphere(2), x, s, detach, gaussian_rule(2))[0] * s**power for s in (0.04, 0.02)]
            what = f"circle, at radius {radius}: nsr^{power} variance, {'detached' if detach else 'full'}"
            yield compare(what, richardson(torch.stack(values), 2), limit, limit)


def check_midway(full: int = 7, detached: int = 4, factor: float = 16 / 15) -> Iterator[Comparison]:
    """Midway between two points."""
    levels, root = (0.05, 0.025), math.sqrt(2 * math.pi)
    zero, rule = torch.zeros(1, dtype=torch.float64), gaussian_rule(1, STEPS)
    found = [one_sample_moments(TWO_POINTS, zero, s, False, rule) for s in levels]
    variance = torch.stack([v * s**full for (v, _), s in zip(found, levels, strict=True)])
    kurtosis = torch.stack([k * s for (_, k), s in zip(found, levels, strict=True)])
    yield compare(f"nsr^{full} variance, full", richardson(variance, 2), factor / root)
    yield compare("nsr kurtosis, full", richardson(kurtosis, 2), 30 / 77 * root)
    plain = [one_sample_moments(TWO_POINTS, zero, s, True, rule)[0] * s**detached for s in levels]
    yield compare(f"nsr^{detached} variance, detached", richardson(torch.stack(plain), 1), 4.0)


def check_moments(power: Callable[[int, int], int] = core_power, detach: bool = False) -> Iterator[Comparison]:
    """Moments of order p > d of the full gradient over x ~ Q."""
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


def check_tail(tail: float = 0.5, detach: bool = False, factor: float = 1.0) -> Iterator[Comparison]:
    """P(|grad| > u) at nsr 0.01, and the volume of the core as its level goes to 0."""
    for name, law in CENTRED:
        d, density = law.dim, (2 * math.pi * WIDTH**2) ** (-law.dim / 2)
        size, weights = gradient_sizes(law, 0.01, detach, 0.002 if d < 3 else 0.005, {1: 9, 2: 5, 3: 3}[d])
        for w in (0.1, 0.03):
            predicted = factor * density * 0.01 ** (2 * d) * core_volume(d, w)
            found = weights[size > w * 0.01**-4].sum()
            yield compare(f"{name}, x ~ Q: P(|grad| > {w} nsr^-4) at nsr 0.01", found, predicted, predicted)
        w = 1e-6
        law_of_tail = math.log(8 / w) if d == 1 else ball(d) * (d - 1) ** (d / 2) * w ** (-tail * d)
        yield compare(f"{name}: volume of the core beyond w = {w}", core_volume(d, w) / law_of_tail, 1.0)


def check_light(p: tuple[int, ...] = (2, 4), detach: bool = True, factor: float = 2.0) -> Iterator[Comparison]:
    """All moments of nsr^2 |grad| converge: to those of 2 dist(x, M)."""
    r = torch.linspace(0, 9 * WIDTH, 20001, dtype=torch.float64)
    for name, law in CENTRED:
        d = law.dim
        shells = (
            d * ball(d) * r ** (d - 1) * torch.exp(-r.square() / (2 * WIDTH**2)) / (2 * math.pi * WIDTH**2) ** (d / 2)
        )
        for power in p:
            found = [gradient_sizes(law, s, detach, 0.05, 16 if d < 3 else 8) for s in (0.05, 0.025)]
            moments = [w @ size**power * s ** (2 * power) for (size, w), s in zip(found, (0.05, 0.025), strict=True)]
            predicted = torch.trapezoid(shells * (factor * (r - 1).abs()) ** power, r)
            what = f"{name}, x ~ Q, detached: nsr^{2 * power} E|grad|^{power}"
            yield compare(what, richardson(torch.stack(moments), 2), predicted, predicted)


def show_smooth(axes: Axes) -> None:
    """I3: the variance of the gradient of one draw on the circle against nsr."""
    levels = torch.logspace(-2, -0.5, 12).tolist()
    x = torch.tensor([1.3, 0.0], dtype=torch.float64)
    for number, (detach, name) in enumerate(((False, "full"), (True, "detached"))):
        found = [float(one_sample_moments(Sphere(2), x, s, detach, gaussian_rule(2))[0]) for s in levels]
        axes.loglog(levels, found, "os"[number], color=COLOURS[number], label=name)
        limit = [6 / 1.3**4 if number == 0 else 4 / (1.3 * s) ** 2 for s in levels]
        axes.loglog(levels, limit, STYLES[number], color=COLOURS[number], label=("$6/r^4$", r"$4\,$SNR$/r^2$")[number])
    axes.set(xlabel="nsr", ylabel="variance of the gradient of one draw", title="Beside the circle, at radius 1.3")


def show_midway(axes: Axes) -> None:
    """I3b: the same, midway between two points."""
    levels, zero, rule = (0.03, 0.05, 0.08, 0.13, 0.2), torch.zeros(1, dtype=torch.float64), gaussian_rule(1, STEPS)
    for number, (detach, name) in enumerate(((False, "full"), (True, "detached"))):
        found = [float(one_sample_moments(TWO_POINTS, zero, s, detach, rule)[0]) for s in levels]
        axes.loglog(levels, found, "os"[number], color=COLOURS[number], label=name)
        limit = [16 / 15 / math.sqrt(2 * math.pi) * s**-7 if number == 0 else 4 * s**-4 for s in levels]
        label = (r"$(16/15)(2\pi)^{-1/2}$ nsr$^{-7}$", "4 nsr$^{-4}$")[number]
        axes.loglog(levels, limit, STYLES[number], color=COLOURS[number], label=label)
    axes.set(xlabel="nsr", ylabel="variance of the gradient of one draw", title="Midway between two points")


def show_moments(axes: Axes) -> None:
    """I3c, I3e: moments of nsr^2 |grad| over x ~ Q against nsr, on the circle."""
    levels = (0.025, 0.035, 0.05, 0.07, 0.1)
    for number, (detach, name) in enumerate(((False, "full"), (True, "detached"))):
        for power, marker in ((2, "o"), (3, "s"), (4, "^")):
            found = [gradient_sizes(Sphere(2), s, detach, 0.05, 16) for s in levels]
            values = [float(w @ (s**2 * size) ** power) for (size, w), s in zip(found, levels, strict=True)]
            axes.loglog(
                levels, values, f"{marker}{STYLES[number]}", color=COLOURS[number], label=f"{name}, p = {power}"
            )
    axes.set(xlabel="nsr", ylabel=r"$E(\mathrm{nsr}^2|\nabla|)^p$", title="Over x around the centre of the circle")


def show_tails(axes: Axes) -> None:
    """I3: how often the gradient of one draw is longer than u, over x ~ Q around the centre of the circle."""
    _, circle = CENTRED[1]
    density = 1 / (2 * math.pi * WIDTH**2)
    u = torch.logspace(1, 9, 81, dtype=torch.float64)
    for number, nsr in enumerate((0.1, 0.03, 0.01)):
        for detach, style in ((False, "-"), (True, ":")):
            size, weights = gradient_sizes(circle, nsr, detach, 0.02, 7)
            share = torch.stack([weights[size > at].sum() for at in u])
            label = f"nsr {nsr}" + (", detached" if detach else ", full")
            axes.loglog(u[share > 0], share[share > 0], style, color=COLOURS[number], label=label)
    axes.loglog(u, math.pi * density / u, "k--", lw=1, label=r"$q\,\pi/u$")
    axes.set(
        xlabel="u", ylabel=r"$P(|\nabla| > u)$", ylim=(1e-9, 2), title="A power law between nsr$^{-2}$ and nsr$^{-4}$"
    )


GRADIENT = "The exact score; one eps a sample; the gradients of `score_matching_loss`, at alpha = 1."
OVER_Q = (
    "Q = N(0, 1/4 I), by quadrature over x_t and x given x_t. The unit sphere of R^d, two points for d = 1; its "
    "projection jumps at the centre, in codimension d. At each nsr |grad| <= const nsr^-4."
)
WHY = "Extrapolated from two levels; what is left is of the order nsr^2 to nsr^4 of the next terms, below 2e-3."

I3 = Claim(
    id="I3",
    title="Where the projection is smooth the full gradient's variance is bounded, the detached one's grows like SNR",
    statement=(
        "Var is the trace of the covariance of the gradient for one draw of eps, as nsr -> 0. Off M, and on it, where\n"
        "the projection is smooth:\n"
        "    full       Var -> 2 ||D^3 (dist^2 / 2)||^2      (6 / r^4 at radius r for the unit circle, 0 for a plane)\n"
        "    detached   Var ~ 4 SNR ||D Proj||^2             (4 SNR / r^2 for the unit circle)\n"
        "There it is the detached gradient that is noisy."
    ),
    assumptions=(GRADIENT, "Checked on the unit circle, at radius 0.7, 1 and 1.3."),
    source=Source("ours", "the expansion of P2, differentiated"),
    tolerance=5e-3,
    why=WHY,
    check=check_smooth,
    controls=(
        Control("the full variance grows like SNR as well", {"full": 2}),
        Control("the detached variance is bounded as well", {"detached": 0}),
        Control("5.4 / r^4 in the place of 6 / r^4", {"factor": 5.4}),
    ),
    picture=show_smooth,
)

I3B = Claim(
    id="I3b",
    title="Midway between two points the Jacobian makes the gradient heavy-tailed: variance nsr^-7, kurtosis 1/nsr",
    statement=(
        "Midway between two points at distance 2, as nsr -> 0:\n"
        "    full       Var ~ (16/15) (2 pi)^(-1/2) nsr^-7,  kurtosis ~ (30/77) (2 pi)^(1/2) / nsr\n"
        "    detached   Var ~ 4 nsr^-4"
    ),
    assumptions=(GRADIENT,),
    source=Source("ours", "Laplace's method in the core |x_t| ~ nsr^2"),
    tolerance=5e-3,
    why=WHY,
    check=check_midway,
    controls=(
        Control("full: nsr^-6", {"full": 6}),
        Control("detached: nsr^-3", {"detached": 3}),
        Control("14/15 in the place of 16/15", {"factor": 14 / 15}),
    ),
    picture=show_midway,
)

I3C = Claim(
    id="I3c",
    title="Over samples around the jump, moments of order p > d of the full gradient grow like nsr^(2d - 4p)",
    statement=(
        "Let q be the density of Q at the centre, A the mean resultant of I2, x_t = nsr^2 v. Where |x_t| ~ nsr^2\n"
        "(probability q nsr^2d) the full gradient has |grad| ~ nsr^-4 2 A A'(|v|), so that for every p > d\n"
        "    E|grad|^p ~ q nsr^(2d - 4p) integral (2 A A')^p dv.\n"
        "Elsewhere |grad| ~ nsr^-2: of nsr^2 |grad| no moment of order p > d stays bounded."
    ),
    assumptions=(GRADIENT, OVER_Q),
    source=Source("ours", "the exact gradient in the core"),
    tolerance=5e-3,
    why=WHY,
    check=check_moments,
    controls=(
        Control("moments of the order of the gradient elsewhere, nsr^-2p", {"power": lambda d, p: 2 * p}),
        Control("codimension 1 whatever d", {"power": lambda d, p: 4 * p - 2}),
        Control("the detached gradient has the same moments", {"detach": True}),
    ),
    picture=show_moments,
)

I3D = Claim(
    id="I3d",
    title="Between nsr^-2 and nsr^-4 the full gradient's tail is a power law of exponent d/2",
    statement=(
        "As I3c. For nsr^-2 << u << nsr^-4,\n"
        "    P(|grad| > u) ~ q |ball| ((d - 1) / u)^(d/2)   for d > 1,   q nsr^2 log(8 nsr^-4 / u)   for d = 1;\n"
        "at u = w nsr^-4 it is q nsr^2d times the volume of the core in which 2 A A' > w."
    ),
    assumptions=(GRADIENT, OVER_Q),
    source=Source("ours", "the exact gradient in the core"),
    tolerance=5e-3,
    why="Tails are taken at nsr 0.01; steps of 0.2 to 0.5 % of |x_t| tell where |grad| exceeds u.",
    check=check_tail,
    controls=(
        Control("the detached gradient has the same tail", {"detach": True}),
        Control("a tail of exponent d", {"tail": 1.0}),
        Control("1.1 times the probability", {"factor": 1.1}),
    ),
    picture=show_tails,
)

I3E = Claim(
    id="I3e",
    title="The detached gradient has no such tail: all moments of nsr^2 |grad| converge to those of 2 dist",
    statement="As I3c, for the detached gradient: nsr^2p E|grad|^p -> E (2 dist(x, M))^p for every p.",
    assumptions=(GRADIENT, OVER_Q),
    source=Source("ours", "dominated convergence"),
    tolerance=5e-3,
    why=WHY,
    check=check_light,
    controls=(
        Control("the full gradient as well", {"detach": False}),
        Control("1.9 dist in the place of 2 dist", {"factor": 1.9}),
    ),
    picture=show_moments,
)

CLAIMS: tuple[Claim, ...] = (I1, I2, C4, I3, I3B, I3C, I3D, I3E)
