"""Where the adversarial game with the regularity comes to rest, and how far that is from the real law.

The generated law Q pays lambda * ell(x) for a sample at x, on top of the adversarial loss under the optimal
discriminator D* = p / (p + q). At rest no sample gains by moving: the marginal loss is a constant c wherever Q has
mass, and at least c elsewhere (claim E2):

    saturating       log(1 - D*) + lambda ell = c    q = p s / (1 - s),  s = exp(c - lambda ell)
    non-saturating       -log D* + lambda ell = c    q = p (exp(c - lambda ell) - 1)_+

The saturating rest point is the minimiser of V(D*, Q) + lambda E_Q ell. It has D* < 1 and keeps mass everywhere on the
support of P; the other drops the parts of P where ell is large, at a finite lambda.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from theory.levels import Interval
from theory.manifolds.law import Law
from theory.regularity import pointwise_estimate

Loss: TypeAlias = Literal["saturating", "non-saturating"]


def equilibrium(
    p: Float[Tensor, " n"], ell: Float[Tensor, " n"], lam: float, loss: Loss = "saturating"
) -> Float[Tensor, " n"]:
    """q, the masses of the generated law at rest, where the real law has the masses p.   [n], [n] -> [n]

    Cells with p = 0 are places off the manifold. There the saturating loss is 0: they get mass only if their lambda
    ell is below the constant c that mass one asks for. Then c is the lowest lambda ell, and what is left of the mass
    sits at the first such cell. (The same happens in the continuum where the density of p s / (1 - s) has too little
    mass at the largest c.) The non-saturating loss is infinite there, and they stay empty.

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

    Raises:
        ValueError: p are not masses of a law, ell is not finite and of p's shape, lam is not in [0, inf), or loss is
            neither of the two.
    """
    if not bool((p >= 0).all()) or not abs(float(p.sum()) - 1) < 1e-6:
        raise ValueError(f"p must hold masses >= 0 that sum to one; given {p.tolist()[:8]}, sum {float(p.sum())}")
    if ell.shape != p.shape or not bool(ell.isfinite().all()):
        raise ValueError(f"ell must be finite and of p's shape, {tuple(p.shape)}; given {ell.tolist()[:8]}")
    if not 0 <= lam < math.inf:
        raise ValueError(f"lam must lie in [0, inf); given {lam}")
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be 'saturating' or 'non-saturating'; given {loss!r}")
    cost = lam * (ell - ell.min()).double()  # a constant moves c alone
    weight = p.double()
    if loss == "saturating":
        return _saturating(weight, cost).to(p.dtype)
    return _non_saturating(weight, cost).to(p.dtype)


def _saturating(p: Tensor, cost: Tensor) -> Tensor:
    """p s / (1 - s), s = exp(c - cost), c < 0 such that the mass is one; the rest of the mass at the lowest cost."""

    def masses(log_gap: float) -> Tensor:  # c = -exp(log_gap): accurate where c is close to 0
        return p / torch.expm1(cost + math.exp(log_gap))

    if float(masses(SMALLEST).sum()) < 1:
        q = masses(SMALLEST)
        q[int(cost.argmin())] += 1 - q.sum()
        return q
    log_gap = brentq(lambda g: math.log(float(masses(g).sum())), SMALLEST, 1.0, xtol=1e-14, rtol=1e-14)
    return masses(log_gap)


SMALLEST = -60.0  # a mass of 1e-26 in the cell of the lowest cost would be enough to reach mass one


def _non_saturating(p: Tensor, cost: Tensor) -> Tensor:
    """p (exp(c - cost) - 1)_+: the cheapest cells keep mass, and how many follows."""
    inside = p > 0
    order = torch.argsort(torch.where(inside, cost, math.inf))
    weight, sorted_cost = p[order], cost[order]
    base = torch.where(inside.any(), sorted_cost[0], 0.0)
    total, discounted = weight.cumsum(0), (weight * torch.exp(base - sorted_cost)).cumsum(0)
    c = torch.log((1 + total) / discounted) + base  # mass one, if these cells and no others keep mass
    keeps = (c > sorted_cost) & (weight > 0)  # a prefix: of these, the longest is right
    return p * torch.expm1((c[int(keeps.sum()) - 1] - cost).clamp(min=0))


def total_variation(p: Float[Tensor, " n"], q: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """TV(P, Q) = 1/2 sum |p - q|."""
    return (p - q).abs().sum() / 2


def lambda_for_bias(law: Law, interval: Interval, tv: float, loss: Loss = "saturating", samples: int = 128) -> float:
    """The largest lambda at which the game's rest point is within total variation `tv` of the real law.

    ell is averaged over nsr uniform on the interval, and the rest point is `equilibrium` on samples of the law. To
    first order (claim E3) the answer is tv / E_P|ell - E_P ell|, for both losses; it is inf where ell is constant on
    the manifold, and where no lambda gives so much bias. It is a mean over samples drawn with a fixed seed: off by
    some 1/sqrt(samples) of itself.

    >>> from theory.levels import Interval
    >>> from theory.manifolds import make
    >>> lambda_for_bias(make("ring"), Interval(0.1, 0.2), tv=0.05, samples=4)  # all points of a circle are alike
    inf
    >>> from theory.manifolds import Gaussians
    >>> two_modes = Gaussians([(-1,), (1,)], weights=(0.8, 0.2))
    >>> round(lambda_for_bias(two_modes, Interval(0.7, 0.8), tv=0.05), 2)
    0.29

    Args:
        tv: the bias that is allowed, in (0, 1).

    Raises:
        ValueError: tv is not in (0, 1).
    """
    if not 0 < tv < 1:
        raise ValueError(f"tv must lie in (0, 1); given {tv}")
    generator = torch.Generator().manual_seed(0)
    x, counts = torch.unique(law.sample(samples, generator, torch.float64), dim=0, return_counts=True)
    p = counts.double() / samples
    nsr = interval.nsr(torch.tensor([0.5 - 12**-0.5, 0.5 + 12**-0.5], dtype=torch.float64))  # Gauss-Legendre
    found = pointwise_estimate(law, x.expand(2, *x.shape), 1.0, nsr[:, None], generator)
    ell = found.value.mean(0)
    spread = float(p @ (ell - p @ ell).abs())
    if spread <= 2 * float(found.error.mean()) + 1e-12 * (1 + float(p @ ell)):  # no more than the error of ell
        return math.inf

    def excess(lam: float) -> float:
        return float(total_variation(p, equilibrium(p, ell, lam, loss))) - tv

    high = tv / spread
    for _ in range(40):
        if excess(high) > 0:
            return brentq(excess, 0, high, rtol=1e-9)
        high *= 2
    return math.inf
