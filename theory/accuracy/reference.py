"""The noised laws once more, in 60 digits and by other means: what `theory.manifolds` is judged against.

Nothing here is written for speed. Gaussians are summed; the sphere takes Bessel functions, the segment error functions,
the arc a quadrature of 30 digits; a mixture weighs its parts by densities of 60 digits. y, nsr and the law's parameters
are taken as the very numbers that they are in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, singledispatch
from itertools import pairwise

import mpmath as mp
from mpmath.calculus.quadrature import GaussLegendre

from theory.manifolds import Arc, Gaussians, Law, Mixture, Segment, Sphere

DIGITS = 60
Posterior = tuple[mp.mpf, list[mp.mpf]]  # (log p_t(y), x0hat(y))


@cache
def exact(law: Law, y: tuple[float, ...], nsr: float) -> tuple[mp.mpf, list[mp.mpf], list[mp.mpf]]:
    """(log p_t(y), x0hat(y), score(y)) at alpha = 1, sigma = nsr.

    Raises:
        TypeError: the law is made of others than Gaussians, Sphere, Segment, Arc and their mixtures.
    """
    with mp.workdps(DIGITS):
        point, s = [mp.mpf(v) for v in y], mp.mpf(nsr)
        log_density, mean = _posterior(law, point, s)
        return log_density, mean, [(m - a) / s**2 for m, a in zip(mean, point, strict=True)]


@singledispatch
def _posterior(law: Law, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    raise TypeError(f"law must be made of Gaussians, Sphere, Segment, Arc and Mixture; given {law!r}")


@_posterior.register
def _(law: Gaussians, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    terms, means = [], []
    for mean, variance, weight in zip(law.means, law._variance.tolist(), law._weights.tolist(), strict=True):
        v = s**2 + mp.mpf(variance)
        log_normal = -_square(y, mean) / (2 * v) - law.dim * mp.log(2 * mp.pi * v) / 2
        terms.append(mp.log(weight) + log_normal)
        means.append([(mp.mpf(variance) * a + s**2 * m) / v for a, m in zip(y, mean, strict=True)])
    return _mixed(terms, means)


@_posterior.register
def _(law: Mixture, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    parts = [_posterior(part, y, s) for part in law.laws]
    terms = [mp.log(w) + log_p for w, (log_p, _) in zip(law._weights.tolist(), parts, strict=True)]
    return _mixed(terms, [mean for _, mean in parts])


@_posterior.register
def _(law: Sphere, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    nu, radius, norm = mp.mpf(law.dim) / 2 - 1, mp.mpf(law.radius), mp.sqrt(_square(y, [0] * law.dim))
    kappa = radius * norm / s**2
    log_p = -law.dim * mp.log(2 * mp.pi * s**2) / 2 - (norm**2 + radius**2) / (2 * s**2)
    if kappa == 0:
        return log_p, [mp.mpf(0)] * law.dim
    bessel = mp.besseli(nu, kappa)
    log_p += mp.log(mp.gamma(nu + 1) * (2 / kappa) ** nu * bessel)
    return log_p, [radius * mp.besseli(nu + 1, kappa) / bessel * a / norm for a in y]


@_posterior.register
def _(law: Segment, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    start, end = ([mp.mpf(v) for v in point] for point in (law.start, law.end))
    length = mp.sqrt(_square(start, end))
    direction = [(b - a) / length for a, b in zip(start, end, strict=True)]
    u = mp.fsum((a - b) * c for a, b, c in zip(y, start, direction, strict=True))  # place along it, from the start
    foot = [a + u * c for a, c in zip(start, direction, strict=True)]
    a, b = -u / s, (length - u) / s
    sign = 1 if a > 0 else -1  # of the tail of which the segment is a part
    mass = sign * (mp.erfc(sign * a / mp.sqrt(2)) - mp.erfc(sign * b / mp.sqrt(2))) / 2
    along = u + s * (mp.npdf(a) - mp.npdf(b)) / mass
    log_p = mp.log(mass / length) - _square(y, foot) / (2 * s**2) - (law.dim - 1) * mp.log(2 * mp.pi * s**2) / 2
    return log_p, [p + along * c for p, c in zip(start, direction, strict=True)]


@_posterior.register
def _(law: Arc, y: list[mp.mpf], s: mp.mpf) -> Posterior:
    centre, radius = [mp.mpf(v) for v in law.centre], mp.mpf(law.radius)
    start, stop = mp.mpf(law.start), mp.mpf(law.stop)
    rho, phi = mp.hypot(y[0] - centre[0], y[1] - centre[1]), mp.atan2(y[1] - centre[1], y[0] - centre[0])
    kappa = radius * rho / s**2
    inside = [angle for n in range(-2, 3) if start < (angle := phi + 2 * n * mp.pi) < stop]
    nearest = max([start, stop, *inside], key=lambda t: mp.cos(t - phi))
    mass, moment = _von_mises(kappa, phi, start, stop, [start, stop, *inside], mp.cos(nearest - phi))
    point = [c + radius * e for c, e in zip(centre, (mp.cos(nearest), mp.sin(nearest)), strict=True)]
    log_p = mp.log(mass / (stop - start)) - _square(y, point) / (2 * s**2) - mp.log(2 * mp.pi * s**2)
    mean = moment / mass
    return log_p, [centre[0] + radius * mean.real, centre[1] + radius * mean.imag]


def _von_mises(
    kappa: mp.mpf, phi: mp.mpf, start: mp.mpf, stop: mp.mpf, peaks: Sequence[mp.mpf], highest: mp.mpf
) -> tuple[mp.mpf, mp.mpc]:
    """The integrals of f and f e^(it), f = exp(kappa [cos(t - phi) - highest]), over pieces graded about the peaks."""
    cuts = {start, stop}
    for peak in peaks:
        width = 1 / max(kappa * abs(mp.sin(peak - phi)), mp.sqrt(kappa), mp.mpf("0.1"))
        steps = [sign * width * j for j in (0, 2, 4, 8, 16, 25, 40, 60, 90) for sign in (-1, 1)]
        cuts |= {peak + step for step in steps if start < peak + step < stop}
    mass, moment = mp.mpf(0), mp.mpc(0)
    with mp.workdps(DIGITS // 2):
        for a, b in pairwise(sorted(cuts)):
            if max(kappa * (mp.cos(t - phi) - highest) for t in (a, b)) < -80:  # exp(-80) = 2e-35
                continue
            for node, weight in _nodes():
                turn = mp.expj((a + b) / 2 - phi + (b - a) / 2 * node)  # t - phi
                part = weight * (b - a) / 2 * mp.exp(kappa * (turn.real - highest))
                mass, moment = mass + part, moment + part * turn
        return mass, moment * mp.expj(phi)


@cache
def _nodes() -> list[tuple[mp.mpf, mp.mpf]]:
    """48 nodes and weights of Gauss and Legendre on [-1, 1]."""
    return GaussLegendre(mp.mp).calc_nodes(5, int(DIGITS / 2 * 3.33) + 10)


def _mixed(terms: Sequence[mp.mpf], means: Sequence[Sequence[mp.mpf]]) -> Posterior:
    """(log of the sum of exp(terms), the means averaged by them)."""
    top = max(terms)
    shares = [mp.exp(term - top) for term in terms]
    total = mp.fsum(shares)
    columns = zip(*means, strict=True)
    return top + mp.log(total), [mp.fdot(shares, column) / total for column in columns]


def _square(a: Sequence[mp.mpf], b: Sequence[float]) -> mp.mpf:
    """||a - b||^2."""
    return mp.fsum((x - mp.mpf(z)) ** 2 for x, z in zip(a, b, strict=True))
