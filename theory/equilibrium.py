"""Where the adversarial game with the regularity comes to rest, and how far that is from the real law.

The generated law Q pays lambda * ell(x) for a sample at x, on top of the adversarial loss under the optimal
discriminator D* = p / (p + q). At rest no sample gains by moving: the marginal loss is a constant c wherever Q has
mass, and at least c elsewhere (claim E2):

    saturating       log(1 - D*) + lambda ell = c    q = p s / (1 - s),  s = exp(c - lambda ell)
    non-saturating       -log D* + lambda ell = c    q = p (exp(c - lambda ell) - 1)_+

The saturating rest point is the minimiser of V(D*, Q) + lambda E_Q ell. With c = lambda min ell - g it is

    q = p / (exp(lambda (ell - min ell) + g) - 1),  g >= 0,

the form of Bose and Einstein. If the mass of this q at g = 0 is below one, no c gives mass one: the rest of the mass is
an atom at argmin ell (claim C2, `condensation_lambda`). argmin ell may lie on M, for dimension k >= 3, or off it. The
non-saturating rest point has no atom and no mass off M; it drops the parts of P where ell is large, at a finite lambda.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from torch import Tensor

from theory.common.checks import at_least, positive
from theory.levels import Interval
from theory.manifolds.law import Law
from theory.quadrature import gaussian_rule
from theory.regularity import pointwise_estimate

Loss: TypeAlias = Literal["saturating", "non-saturating"]


def equilibrium(
    p: Float[Tensor, " n"], ell: Float[Tensor, " n"], lam: float, loss: Loss = "saturating", mass: float = 1.0
) -> Float[Tensor, " n"]:
    """q, the masses of the generated law at rest, where the real law has the masses p.   [n], [n] -> [n]

    Cells with p = 0 are places off the manifold. There the saturating loss is 0: they get mass only if their lambda
    ell is below the constant c that mass one requires. Then c is the lowest lambda ell, and what is left of the mass
    sits at the first such cell. The non-saturating loss is infinite there, and they stay empty.

    Cells that divide a continuum: an atom of the continuum (see `condensation_lambda`) appears as mass of the cells
    around argmin ell, which does not fall as the cells become finer.

    >>> import torch
    >>> p, ell = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.0, 1.0]).double()
    >>> equilibrium(p, ell, lam=0.0).tolist()
    [0.5, 0.5]
    >>> [round(q, 4) for q in equilibrium(p, ell, lam=1.0).tolist()]
    [0.8493, 0.1507]
    >>> [round(q, 4) for q in equilibrium(p, ell, lam=2.0, loss="non-saturating").tolist()]  # a mode dropped
    [1.0, 0.0]

    Args:
        p: masses >= 0 that sum to one.
        ell: the loss of a sample in each cell, `pointwise_loss`, finite.
        lam: lambda >= 0, the weight of the regularity.
        loss: the generator's loss.
        mass: of Q on these cells, over that of P: other than 1 for one component of a manifold among several, between
            which no mass moves (claim C9).

    Raises:
        ValueError: p are not masses of a law, ell is not finite and of p's shape, lam is not in [0, inf), mass is not
            in (0, inf), or loss is neither of the two.
    """
    _check_masses(p)
    if ell.shape != p.shape or not bool(ell.isfinite().all()):
        raise ValueError(f"ell must be finite and of p's shape, {tuple(p.shape)}; given {ell.tolist()[:8]}")
    if not 0 <= lam < math.inf:
        raise ValueError(f"lam must lie in [0, inf); given {lam}")
    _check_loss(loss)
    positive("mass", mass)
    cost = lam * (ell - ell.min()).double()  # a constant moves c alone
    weight = p.double()
    if loss == "saturating":
        return _saturating(weight, cost, mass).to(p.dtype)
    return _non_saturating(weight, cost, mass).to(p.dtype)


def _saturating(p: Tensor, cost: Tensor, mass: float) -> Tensor:
    """p s / (1 - s), s = exp(c - cost), c < 0 such that the mass is right; the rest of it at the lowest cost."""

    def masses(log_gap: float) -> Tensor:  # c = -exp(log_gap): accurate where c is close to 0
        return p / torch.expm1(cost + math.exp(log_gap))

    if float(masses(SMALLEST).sum()) < mass:
        q = masses(SMALLEST)
        q[int(cost.argmin())] += mass - q.sum()
        return q
    largest = math.log(math.log1p(1 / mass)) + 1  # of a cost of 0 everywhere: exp(-c) - 1 = 1 / mass
    log_gap = brentq(lambda g: math.log(float(masses(g).sum()) / mass), SMALLEST, largest, xtol=1e-14, rtol=1e-14)
    return masses(log_gap)


SMALLEST = -60.0  # a mass of 1e-26 in the cell of the lowest cost would be enough to reach mass one


def _non_saturating(p: Tensor, cost: Tensor, mass: float) -> Tensor:
    """p (exp(c - cost) - 1)_+: the cheapest cells keep mass, and how many follows."""
    inside = p > 0
    order = torch.argsort(torch.where(inside, cost, math.inf))
    weight, sorted_cost = p[order], cost[order]
    base = torch.where(inside.any(), sorted_cost[0], 0.0)
    total, discounted = weight.cumsum(0), (weight * torch.exp(base - sorted_cost)).cumsum(0)
    c = torch.log((mass + total) / discounted) + base  # the right mass, if these cells and no others keep mass
    keeps = (c > sorted_cost) & (weight > 0)  # a prefix: of these, the longest is right
    return p * torch.expm1((c[int(keeps.sum()) - 1] - cost).clamp(min=0))


def total_variation(p: Float[Tensor, " n"], q: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """TV(P, Q) = 1/2 sum |p - q|."""
    return (p - q).abs().sum() / 2


def condensation_lambda(p: Float[Tensor, " n"], excess: Float[Tensor, " n"]) -> float:
    """lambda_c, above which the saturating rest point has an atom at argmin ell (claim C2).   [n], [n] -> number

    The root of the integral of dP / (exp(lambda (ell - min ell)) - 1) = 1. The atom has the mass

        1 - integral of dP / (exp(lambda (ell - min ell)) - 1)    for lambda > lambda_c.

    inf if P itself has mass where ell is least: then the mass gathers there without a threshold.

    >>> import torch
    >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    >>> round(condensation_lambda(half, torch.tensor([0.25, 0.25])), 6)  # ell constant on M, less at a place off it
    2.772589
    >>> round(math.log(2) / 0.25, 6)
    2.772589

    Args:
        p: the weights of a quadrature of E_P, >= 0, of sum one. It must converge for the integrand, which grows like
            1 / |x - argmin ell|^2 at a minimum on M. For a nondegenerate minimum inside a k-dimensional M the integral
            is finite only for k >= 3; for k <= 2 lambda_c is inf, and what a rule with nodes off the minimum gives
            grows without bound as the rule becomes finer.
        excess: ell - min ell at its nodes, >= 0; the minimum is over all of R^d, on M or off it.

    Raises:
        ValueError: p are not masses of a law, or excess is negative, not finite or not of p's shape.
    """
    _check_masses(p)
    if excess.shape != p.shape or not bool((excess >= 0).all()) or not bool(excess.isfinite().all()):
        raise ValueError(f"excess must be >= 0, finite and of p's shape, {tuple(p.shape)}; given {excess.tolist()[:8]}")
    weight, gap = p.double()[p > 0], excess.double()[p > 0]
    if not bool((gap > 0).all()):
        return math.inf
    return _root(lambda lam: float((weight / torch.expm1(lam * gap)).sum()) - 1)


def gaussian_condensation_lambda(std: Sequence[float], nsr: float) -> float:
    """lambda_c, as `condensation_lambda`, of a Gaussian law with these standard deviations.   [k] -> number

    ell - min ell = sum_i a_i x_i^2 with a_i = nsr^2 / (nsr^2 + std_i^2)^2, and lambda_c is the root of

        sum over n >= 1 of  prod_i (1 + 2 n lambda a_i std_i^2)^(-1/2) = 1,

    which is inf for k <= 2. For k equal deviations tau, lambda_c = b / (a tau^2), the sum over n of
    (1 + 2 n b)^(-k/2) being 1: b = 0.7426 (k = 3), 0.0875 (k = 10), and k b -> log 2.

    >>> round(gaussian_condensation_lambda([1.0, 1.0, 1.0], nsr=1.0) / 4, 4)  # a = 1/4
    0.7426
    >>> gaussian_condensation_lambda([1.0, 1.0], nsr=1.0)
    inf

    Args:
        std: the standard deviations along the axes, in units of x, >= 0; those of length 0 do not count.
        nsr: the noise-to-signal ratio, in units of x.

    Raises:
        ValueError: std holds a negative number or none, or nsr is not in (0, inf).
    """
    deviations = np.array([at_least("std", value, 0) for value in std])
    variance = deviations[deviations > 0] ** 2
    rates = 2 * variance * (positive("nsr", nsr) / (nsr**2 + variance)) ** 2
    if len(rates) <= 2:
        return math.inf
    return _root(lambda lam: _sum_of_products(lam * rates) - 1)


def _sum_of_products(rates: Float[np.ndarray, " k"]) -> float:
    """The sum over n >= 1 of prod_i (1 + n r_i)^(-1/2), k >= 3, to 1e-12 of itself: by Euler and Maclaurin from n = N.

    The tail is integrated over t, n = N / t^2, in which the integrand is smooth.
    """

    rates, counts = np.unique(rates, return_counts=True)

    def term(n: Any) -> Any:
        return np.exp(-0.5 * np.log1p(np.multiply.outer(n, rates)) @ counts)

    first = 256
    slope = -0.5 * float((counts * rates / (1 + first * rates)).sum()) * float(term(first))
    tail, _ = quad(lambda t: float(term(first / t**2)) * 2 * first / t**3, 0, 1, epsabs=0, epsrel=1e-13)
    return float(term(np.arange(1, first)).sum()) + float(term(first)) / 2 - slope / 12 + tail


def _root(decreasing: Callable[[float], float]) -> float:
    """The root in (0, inf) of a function that falls from inf to -1."""
    low = high = 1.0
    while decreasing(low) < 0:
        low /= 2
    while decreasing(high) > 0:
        high *= 2
    return brentq(decreasing, low, high, rtol=1e-12) if low < high else low


def lambda_for_bias(law: Law, interval: Interval, tv: float, loss: Loss = "saturating", samples: int = 128) -> float:
    """The largest lambda at which the game's rest point is within total variation `tv` of the real law.

    ell is averaged over nsr uniform on the interval, and the rest point is `equilibrium` on samples of the law and on
    the place of R^d where ell is least. To first order (claim E3) the answer is tv / E_P|ell - E_P ell|, for both
    losses. Under the saturating loss mass leaves the manifold where ell is less off it: for ell constant on M, lambda
    is log(1 + 1 / (1 - tv)) / (ell on M - min ell). Under the non-saturating loss no mass is off M at rest. inf where
    no lambda gives so much bias. (ell is least slightly off a curved M even at small noise, by O(nsr^6): the answer
    under the saturating loss is then large, and not inf.) ell is a mean over samples drawn with a fixed seed: the
    answer is off by some 1/sqrt(samples) of itself.

    >>> from theory.levels import Interval
    >>> from theory.manifolds import make
    >>> lambda_for_bias(make("ring"), Interval(0.1, 0.2), tv=0.05, samples=4) > 1e4  # all points of a circle are alike
    True
    >>> round(lambda_for_bias(make("ring"), Interval(0.85, 0.95), tv=0.05, samples=4), 2)  # mass goes to the centre
    1.99
    >>> lambda_for_bias(make("ring"), Interval(0.85, 0.95), tv=0.05, loss="non-saturating", samples=4)
    inf
    >>> from theory.manifolds import Gaussians
    >>> two_modes = Gaussians([(-1,), (1,)], weights=(0.8, 0.2))
    >>> round(lambda_for_bias(two_modes, Interval(0.7, 0.8), tv=0.05), 2)
    0.29

    Args:
        tv: the bias that is allowed, in (0, 1).
        loss: the generator's loss, "saturating" or "non-saturating"; the rest point of others is not known.

    Raises:
        ValueError: tv is not in (0, 1), or loss is neither of the two.
    """
    if not 0 < tv < 1:
        raise ValueError(f"tv must lie in (0, 1); given {tv}")
    _check_loss(loss)
    generator = torch.Generator().manual_seed(0)
    x, counts = torch.unique(law.sample(samples, generator, torch.float64), dim=0, return_counts=True)
    p = counts.double() / samples
    levels = interval.nsr(torch.tensor([0.5 - 12**-0.5, 0.5 + 12**-0.5], dtype=torch.float64))  # Gauss-Legendre
    candidates = x if loss == "non-saturating" else torch.cat([x, _off_samples(law, x, levels)[None]])
    found = pointwise_estimate(law, candidates.expand(2, *candidates.shape), 1.0, levels[:, None], generator)
    ell, error = found.value.mean(0), 2 * float(found.error.mean())
    on = ell[: len(p)]
    spread = float(p @ (on - p @ on).abs())
    if spread <= error + 1e-12 * (1 + float(p @ on)):  # no more than the error of ell
        spread, ell = 0.0, torch.cat([torch.full_like(on, float(p @ on)), ell[len(p) :]])
    if len(ell) > len(p) and float(ell[: len(p)].min() - ell[-1]) > error + 1e-9 * (1 + float(ell[-1].abs())):
        p = torch.cat([p, torch.zeros(1, dtype=torch.float64)])
    elif spread == 0:
        return math.inf
    ell = ell[: len(p)]

    def excess(lam: float) -> float:
        return float(total_variation(p, equilibrium(p, ell, lam, loss))) - tv

    high = tv / (spread or float(ell.max() - ell.min()))
    for _ in range(40):
        if excess(high) > 0:
            return brentq(excess, 0, high, rtol=1e-9)
        high *= 2
    return math.inf


def _off_samples(law: Law, x: Float[Tensor, "n d"], levels: Float[Tensor, " m"]) -> Float[Tensor, " d"]:
    """Where ell, averaged over the levels, is least, by descent from the best of many places: samples, and their
    refinements at ever larger noise, of which the last are E[X].   [n, d] -> [d]

    ell is a coarse quadrature here, or a mean over few draws in more than three dimensions: it says where, and not how
    much.
    """
    few = x[:: max(1, len(x) // 16)]
    noises = float(levels.max()) * 2.0 ** torch.arange(8, dtype=torch.float64)
    starts = torch.cat([few, law.denoise(few[:, None], 1.0, noises).reshape(-1, law.dim)])
    if law.dim in COARSE:
        eps, weights = gaussian_rule(law.dim, COARSE[law.dim])
    else:
        half = torch.randn(256, law.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        eps, weights = torch.cat([half, -half]), torch.full((512,), 1 / 512, dtype=torch.float64)

    def ell(y: Tensor) -> Tensor:  # [n, d] -> [n]
        refined = law.denoise(y[:, None, None] + levels[:, None, None] * eps, 1.0, levels[:, None])  # [n, m, eps, d]
        return ((y[:, None, None] - refined).square().sum(-1) @ weights / levels.square()).mean(1)

    def objective(y: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        place = torch.from_numpy(y).requires_grad_()
        loss = ell(place[None]).sum()
        (slope,) = torch.autograd.grad(loss, place)
        return loss.item(), slope.numpy()

    ends = [
        minimize(objective, start.numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 100})
        for start in starts[ell(starts).argsort()[:3]]
    ]
    return torch.from_numpy(min(ends, key=lambda end: float(end.fun)).x)


COARSE = {1: 64, 2: 32, 3: 16}  # steps an axis, by dimension


def _check_masses(p: Tensor) -> None:
    if not bool((p >= 0).all()) or not abs(float(p.sum()) - 1) < 1e-6:
        raise ValueError(f"p must hold masses >= 0 that sum to one; given {p.tolist()[:8]}, sum {float(p.sum())}")


def _check_loss(loss: str) -> None:
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be 'saturating' or 'non-saturating'; given {loss!r}")
