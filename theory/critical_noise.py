"""The noise at which a minimum of the score term's potential leaves the support of the law."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from scipy import special
from scipy.optimize import brentq
from torch import Tensor

from theory.manifolds import Embedded, Law, Scaled, Sphere
from theory.quadrature import gaussian_rule, legendre

Potential: TypeAlias = Callable[[Tensor, float], Tensor]  # (x [d], nsr) -> []

NODES = {1: 256, 2: 48, 3: 24}  # steps an axis, by dimension: at the noise of half a separation off by 1e-8
MODES = 32  # more points than these are not followed
STEP = 1.15  # from one noise to the next
FIRST = 0.3  # of half the least distance between two points: the noise to start from


def critical_nsr(law: Law, detach: bool = False) -> float:
    """The smallest nsr at which a minimum of ell that lay on M at small noise is one no more, in units of x.

    ell is the potential of the full gradient; with `detach` it is -2 E log p_t, that of the detached one (claim P5).
    Above this noise a part of M has no minimum of its own: samples near it are drawn to another part, or to a place off
    M. An interval of noises should end well below it (claims I2, C4).

    - Sphere(d, R), any d: R times the root of one integral; there the minimum reaches the centre.
    - A law on finitely many points, thickened or not: the minimum of each is followed as nsr grows, until two are one.
      For two points of equal weight both meet in the middle; of unequal ones the lighter disappears, by meeting the
      saddle between them. To 1e-5 of itself; d <= 3.
    - Other laws for which E[X] is off M and a critical point at every noise, by symmetry: the largest noise at which
      E[X] is no minimum; the root of the smallest eigenvalue of its Hessian, to 1e-6 of itself; d <= 3.
    - Embedded and Scaled laws: as what they are made of.

    >>> from theory.manifolds import Gaussians, Sphere
    >>> round(critical_nsr(Gaussians([(-1.0,), (1.0,)])), 3)
    1.023
    >>> round(critical_nsr(Sphere(2, radius=3.0)) / 3, 3)  # it scales with the law
    0.729
    >>> round(critical_nsr(Sphere(2), detach=True), 3)
    0.49
    >>> round(critical_nsr(Gaussians([(-1.0,), (1.0,)], weights=(0.8, 0.2))), 3)
    0.804

    Raises:
        ValueError: the law has no such noise, or none that is known: dim > 3; a single point; more than 32 of them;
            E[X] lies on M; E[X] is no critical point, and M is no finite set.
    """
    if isinstance(law, Embedded):
        return critical_nsr(law.law, detach)
    if isinstance(law, Scaled):
        return law.factor * critical_nsr(law.law, detach)
    if isinstance(law, Sphere):
        return law.radius * critical_nsr_of_sphere(law.dim, detach)
    if law.dim > 3:
        raise ValueError(f"critical_nsr takes laws of dim at most 3, for which ell is a quadrature; given {law.dim}")
    potential = detached_potential(law) if detach else full_potential(law)
    points = support_points(law)
    if points is not None:
        return _first_meeting(law, potential, points)
    return _where_the_mean_attracts(law, potential)


def full_potential(law: Law) -> Potential:
    """(x, nsr) -> nsr^2 ell(x), on a grid of eps: for noises that are not small."""
    eps, weights = gaussian_rule(law.dim, NODES[law.dim])
    return lambda x, nsr: weights @ (x - law.denoise(x + nsr * eps, 1.0, nsr)).square().sum(-1)


def detached_potential(law: Law) -> Potential:
    """(x, nsr) -> -2 nsr^2 E log p_t(x + nsr eps)."""
    eps, weights = gaussian_rule(law.dim, NODES[law.dim])
    return lambda x, nsr: -2 * nsr**2 * weights @ law.log_density(x + nsr * eps, 1.0, nsr)


def support_points(law: Law) -> Float[Tensor, "m d"] | None:
    """M if it is a finite set, by the projections of 2048 draws; None if it is more than MODES points."""
    draws = law.project(law.sample(2048, torch.Generator().manual_seed(0), torch.float64))
    points = torch.unique(draws, dim=0)
    return points if len(points) <= MODES else None


def _first_meeting(law: Law, potential: Potential, points: Tensor) -> float:
    """The smallest noise at which the minima of two of the points are one."""
    if len(points) == 1:
        raise ValueError(f"critical_nsr takes laws of more than one point: a single one attracts at every noise: {law}")
    reach = float(torch.pdist(points).min()) / 2
    width = float((points - points.mean(0)).square().sum(-1).max().sqrt())

    def followed(start: Tensor, nsr: float) -> Tensor:
        return torch.stack([minimum_near(potential, x, nsr, reach) for x in start])

    def met(found: Tensor) -> bool:
        return float(torch.pdist(found).min()) < 1e-2 * reach

    low = FIRST * reach
    below = followed(points, low)
    while met(below):
        low /= 2
        below = followed(points, low)
    while True:
        high = low * STEP
        above = followed(below, high)
        if met(above):
            break
        low, below = high, above
        if low > 4 * width:
            raise ValueError(f"critical_nsr found no noise at which two minima of ell meet, up to {low:.3g}: {law}")
    apart = torch.cdist(above, above) + torch.eye(len(above), dtype=torch.float64) * 4 * width
    pair = list(divmod(int(apart.argmin()), len(above)))
    below, middle = below[pair], above[pair].mean(0)
    symmetric = all(float(_slopes(potential, middle, s)[0].norm()) < 1e-5 * reach for s in (low, high))
    if symmetric and curvature_of(potential, middle, 0.9 * low) < 0:  # a maximum or saddle until they meet there
        return brentq(lambda s: curvature_of(potential, middle, s), 0.9 * low, 1.1 * high, rtol=1e-6)
    while high / low > 1 + 1e-5:
        between = math.sqrt(low * high)
        found = followed(below, between)
        if met(found):
            high = between
        else:
            low, below = between, found
    return math.sqrt(low * high)


def _where_the_mean_attracts(law: Law, potential: Potential) -> float:
    """The largest noise at which E[X], a critical point, is no minimum."""
    centre, width = mean_and_width(law)
    if float(law.distance(centre)) < 1e-6 * width:
        raise ValueError(f"critical_nsr takes laws whose mean is off M; it is on M, and attracts at large noise: {law}")
    for share in (2.0, 1.0, 0.5):
        slope = float(_slopes(potential, centre, share * width)[0].norm())
        if slope > 1e-6 * width:
            raise ValueError(
                "critical_nsr takes laws on finitely many points, and laws for which E[X] is a critical point of ell "
                f"at every noise; at nsr {share * width:.3g} it has the slope {slope:.2g} / nsr^2 there: {law}"
            )
    high = 2 * width
    while high > width / 20:
        if curvature_of(potential, centre, high / 1.5) < 0:
            return brentq(lambda s: curvature_of(potential, centre, s), high / 1.5, high, rtol=1e-6)
        high /= 1.5
    raise ValueError(f"critical_nsr takes laws whose mean repels at small noise; it never does for {law}")


def minimum_near(potential: Potential, x: Float[Tensor, " d"], nsr: float, scale: float) -> Float[Tensor, " d"]:
    """The minimum downhill of x: Newton's steps with |eigenvalues|, at most scale / 4, halved until they descend."""
    value = float(potential(x, nsr))
    for _ in range(60):
        slope, hessian = _slopes(potential, x, nsr)
        if float(slope.norm()) < 1e-9 * scale:
            break
        curvatures, axes = torch.linalg.eigh(hessian)
        step = axes @ ((axes.T @ slope) / curvatures.abs().clamp(min=1e-3))
        step = step * min(1.0, scale / 4 / float(step.norm()))
        for _ in range(30):
            reached = float(potential(x - step, nsr))
            if reached <= value:
                break
            step = step / 2
        else:
            break
        x, value = x - step, reached
    return x


def curvature_of(potential: Potential, x: Float[Tensor, " d"], nsr: float) -> float:
    """The smallest eigenvalue of the Hessian of the potential at x."""
    return float(torch.linalg.eigvalsh(_slopes(potential, x, nsr)[1])[0])


def _slopes(potential: Potential, x: Tensor, nsr: float) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """(gradient, Hessian)."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(potential(x, nsr), x, create_graph=True)
    rows = [torch.autograd.grad(part, x, retain_graph=True)[0] for part in slope]
    return slope.detach(), torch.stack(rows)


def mean_and_width(law: Law) -> tuple[Float[Tensor, " d"], float]:
    """(E[X], sqrt(E||X - E[X]||^2)), read from x0hat where the noise drowns all: x0hat(y) = E[X] + Cov y / nsr^2."""
    nsr = 1e6
    zero = torch.zeros(law.dim, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: law.denoise(y, 1.0, nsr), zero)
    return law.denoise(zero, 1.0, nsr), float(nsr * jacobian.trace().clamp(min=0).sqrt())


# The unit sphere of R^d


def mean_resultant(d: int, kappa: float) -> float:
    """A(kappa), with x0hat = A(|y| / nsr^2) y / |y| for the unit sphere of R^d; tanh for d = 1, two points."""
    if d == 1:
        return math.tanh(kappa)
    below = special.ive(d / 2 - 1, kappa)
    return float(special.ive(d / 2, kappa) / below) if below > 0 else kappa / d  # it underflows for small kappa


def critical_nsr_of_sphere(d: int, detach: bool = False, cross: float = 4.0, inner: float = 1.0) -> float:
    """The noise at which the centre of the unit sphere of R^d (two points for d = 1) becomes a minimum.

        full      2d - 4 E[|eps| A] / nsr + E[(|eps|^2 - d) A^2] / nsr^2 = 0,   A = A(|eps| / nsr)
        detached  d nsr = E[|eps| A]

    These are nsr^2 times the Laplacians of the two potentials at the centre, by Stein's identity. About 1.048 / sqrt(d)
    and 1 / sqrt(2d) for large d.

    Args:
        cross, inner: the factors of the middle term, and of E[|eps| A]; others than 4 and 1 are near misses.
    """

    peak = math.sqrt(d)
    nodes, weights = (part.tolist() for part in legendre(max(0.0, peak - 9), peak + 9, 200))
    log_norm = (d / 2 - 1) * math.log(2) + special.gammaln(d / 2)
    masses = [w * math.exp(special.xlogy(d - 1, r) - r**2 / 2 - log_norm) for r, w in zip(nodes, weights, strict=True)]

    def mean(f: Callable[[float], float]) -> float:
        """E f(|eps|)."""
        return math.fsum(mass * f(r) for r, mass in zip(nodes, masses, strict=True))

    def full(s: float) -> float:
        def terms(r: float) -> float:
            a = mean_resultant(d, r / s)
            return 2 * d - cross * r * a / s + (r**2 - d) * (a / s) ** 2

        return mean(terms)

    def detached(s: float) -> float:
        return d * s - inner * mean(lambda r: r * mean_resultant(d, r / s))

    return brentq(detached if detach else full, 0.25 / math.sqrt(d), 2.5 / math.sqrt(d))
