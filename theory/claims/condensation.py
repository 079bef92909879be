"""C2, C9. Where the mass of the rest point gathers: an atom at a finite lambda, and the free weights of modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammainc
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS, STYLES
from theory.claims.game import flow
from theory.equilibrium import Loss, equilibrium, gaussian_condensation_lambda, total_variation
from theory.manifolds import AffineGaussian, Box, Mixture
from theory.quadrature import richardson
from theory.regularity import pointwise_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# C2. P = N(0, I_k) at nsr 1: ell - min ell = |x|^2 / 4

RATE = 0.25  # a = nsr^2 / (nsr^2 + tau^2)^2
NEAR = 0.05


def chi_square(u: float, k: int) -> float:
    """The density at u > 0 of chi-square with k degrees of freedom."""
    return math.exp((k / 2 - 1) * math.log(u / 2) - u / 2 - math.lgamma(k / 2)) / 2


def excited(lam: float, k: int, gap: float = 0.0, within: float = 12.0) -> float:
    """The mass of p / (exp(lambda |x|^2 / 4 + gap) - 1) in the ball of that radius, by quadrature over the radius."""

    def density(r: float) -> float:
        cost = lam * RATE * r**2 + gap
        return 2 * r * chi_square(r**2, k) / math.expm1(cost) if 0 < cost < 700 else 0.0

    ends = sorted({0.0, min(within, math.sqrt(gap)), min(within, 0.5), min(within, 3.0), within})
    return sum(quad(density, low, high, epsabs=1e-11, limit=100)[0] for low, high in pairwise(ends))


def gathered(lam: float, k: int, critical: float) -> float:
    """Q(|x| < 0.05) of the rest point in the continuum: with an atom above the critical lambda, without one below."""
    if lam > critical:
        return 1 - excited(lam, k) + excited(lam, k, within=NEAR)
    if excited(lam, k, math.exp(-25)) < 1:  # no constant gives mass one
        return excited(lam, k, within=NEAR)
    log_gap = brentq(lambda g: excited(lam, k, math.exp(g)) - 1, -25, 1, xtol=1e-10)
    return excited(lam, k, math.exp(log_gap), NEAR)


@lru_cache
def cells(k: int, n: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], int]:
    """P's masses in n shells of equal width up to radius 8, ell - min ell at their middles, and how many are within
    0.05."""
    edges = np.linspace(0, 8, n + 1)
    masses = np.diff(gammainc(k / 2, edges**2 / 2))
    middle = torch.from_numpy((edges[1:] + edges[:-1]) / 2)
    return torch.from_numpy(masses / masses.sum()), RATE * middle.square(), round(n * NEAR / 8)


def within(lam: float, k: int, n: int, loss: Loss = "saturating") -> float:
    """Q(|x| < 0.05) of `equilibrium` on n cells."""
    p, ell, near = cells(k, n)
    return float(equilibrium(p, ell, lam, loss)[:near].sum())


def over_chi_square(b: float, k: int) -> float:
    """E 1 / (exp(b u) - 1), u chi-square with k degrees of freedom, by quadrature."""

    def density(u: float) -> float:
        return chi_square(u, k) / math.expm1(b * u) if 0 < b * u < 700 else 0.0

    return sum(quad(density, low, high, epsabs=1e-10)[0] for low, high in pairwise((0, 0.1, 1, 8, 40, 200)))


Critical = Callable[[Sequence[float], float], float]


def check_condensation(
    critical: Critical = gaussian_condensation_lambda, fine: int = 4800, excess: float = RATE
) -> Iterator[Comparison]:
    x = torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8], [1.5, -1.0, 0.3]], dtype=torch.float64)
    gaussian = AffineGaussian((0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    ell = pointwise_loss(gaussian, x, 1.0, 1.0)
    yield compare("ell - min ell of N(0, I_3) at nsr 1, for |x|^2 / 4", ell - ell[0], excess * x.square().sum(-1))
    for k in (3, 4, 10):
        b = excess * critical([1.0] * k, 1.0)
        yield compare(f"k = {k}: the mass without an atom at lambda_c", over_chi_square(b, k), 1.0)
    many = torch.tensor([excess * k * critical([1.0] * k, 1.0) for k in (200, 400, 800)], dtype=torch.float64)
    yield compare("k b as k -> inf", richardson(many, order=1), math.log(2))
    for k in (3, 4):
        at = critical([1.0] * k, 1.0)
        for ratio in (0.8, 1.2, 2.0):
            what = f"k = {k}, lambda = {ratio} lambda_c: Q(|x| < 0.05) on {fine} cells"
            yield compare(what, within(ratio * at, k, fine), gathered(ratio * at, k, at))
    for k in (1, 2):  # no atom at any lambda
        yield compare(f"k = {k}, lambda 6: Q(|x| < 0.05) on {fine} cells", within(6.0, k, fine), gathered(6.0, k, 1e9))
    with_gaps = [within(6.0, 3, fine // m) for m in (2, 1)]
    yield compare("k = 3, lambda 6: the same on half of the cells", with_gaps[0], with_gaps[1])


def doubled(std: Sequence[float], nsr: float) -> float:
    """The root with (1 + n b) in the place of (1 + 2 n b)."""
    return 2 * gaussian_condensation_lambda(std, nsr)


def atoms(axes: Axes) -> None:
    """C2: the mass near the centre at rest against lambda, in one to ten dimensions."""
    lam = np.linspace(0.2, 8, 40)
    for number, k in enumerate((1, 2, 3, 10)):
        at = gaussian_condensation_lambda([1.0] * k, 1.0)
        axes.plot(lam, [within(a, k, 4800) for a in lam], color=COLOURS[number], label=f"k = {k}, 4800 cells")
        if k >= 3:
            mass = [max(0.0, 1 - excited(a, k)) for a in lam]
            axes.plot(lam, mass, ls="--", color=COLOURS[number], label=f"k = {k}, atom: $\\lambda_c$ = {at:.2f}")
    axes.set(
        xlabel=r"$\lambda$",
        ylabel="Q(|x| < 0.05) at rest",
        ylim=(-0.02, 1.6),
        title=r"$N(0, I_k)$ at nsr 1: from $k = 3$ on an atom forms",
    )


C2 = Claim(
    id="C2",
    title="Condensation: at a finite lambda the saturating rest point has an atom on M, for k >= 3",
    statement=(
        "The saturating rest point q = p / (exp(lambda (ell - min ell) + g) - 1), g >= 0, has the form of Bose and\n"
        "Einstein. It has an atom, at argmin ell, iff I(lambda) = integral of dP / (exp(lambda (ell - min ell)) - 1)\n"
        "is below 1; the atom's mass is 1 - I. At a nondegenerate minimum inside M, with a density that is positive\n"
        "there, I is finite only for k >= 3: no atom forms on a curve or a surface. For N(0, tau^2 I_k),\n"
        "lambda_c = b / (a tau^2) with a = nsr^2 / (nsr^2 + tau^2)^2 and sum over n >= 1 of (1 + 2 n b)^(-k/2) = 1:\n"
        "b = 0.7426 (k = 3), 0.0875 (k = 10), k b -> log 2."
    ),
    assumptions=(
        "Optimal discriminator, saturating loss; Q can be any law.",
        "P = N(0, I_k), nsr 1, cut into 4800 shells of the radius: an atom appears as the mass of the few innermost.",
    ),
    source=Source("ours", "the form of Bose and Einstein; looked for in print for this game and not found"),
    tolerance=1e-4,
    why=(
        "Shells of width h replace smooth integrands by their middle: off by O(h^2), some 1e-5 at 4800 shells and 4 "
        "times as much at 1600. lambda_c is a root to 1e-12; k b is extrapolated from k = 400 and 800, which leaves "
        "O(1/k^2), 1e-5."
    ),
    check=check_condensation,
    controls=(
        Control("lambda_c larger by a tenth", {"critical": lambda s, nsr: 1.1 * gaussian_condensation_lambda(s, nsr)}),
        Control("(1 + n b) in the place of (1 + 2 n b)", {"critical": doubled}),
        Control("k + 1 in the place of k", {"critical": lambda s, nsr: gaussian_condensation_lambda([*s, 1.0], nsr)}),
        Control("ell - min ell larger by a hundredth", {"excess": 1.01 * RATE}),
    ),
    picture=atoms,
)

# C9

CELLS = 16  # a component of length 1


@lru_cache
def row(nsr: float, bridge: float) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Middles, P's masses and ell of cells on [-1.5, 1.5]: segments of weight 0.7 and 0.3, a gap of length 1 between.

    `bridge` is the weight that P has in the gap, taken from both segments.
    """
    x = (np.arange(3 * CELLS) + 0.5) / CELLS - 1.5
    parts, weights = [Box((-1.5,), (-0.5,)), Box((0.5,), (1.5,))], [0.7 - bridge / 2, 0.3 - bridge / 2]
    if bridge:
        parts, weights = [*parts, Box((-0.5,), (0.5,))], [*weights, bridge]
    ell = pointwise_loss(Mixture(parts, weights), torch.from_numpy(x)[:, None], 1.0, nsr).numpy()
    p = np.repeat([weights[0], bridge, weights[1]], CELLS) / CELLS
    return x, p, ell


def by_component(p: Tensor, ell: Tensor, lam: float, loss: Loss, start: Tensor) -> Tensor:
    """The rest point with a constant c for each of the two segments, which keep the masses that they start with."""
    q = torch.zeros_like(p)
    for part in (slice(0, CELLS), slice(2 * CELLS, None)):
        real = p[part].sum()
        q[part] = real * equilibrium(p[part] / real, ell[part], lam, loss, float(start[part].sum() / real))
    return q


def of_all(p: Tensor, ell: Tensor, lam: float, loss: Loss, start: Tensor) -> Tensor:
    """The rest point of E2, with one constant."""
    return equilibrium(p, ell, lam, loss)


AtRest = Callable[[Tensor, Tensor, float, Loss, Tensor], Tensor]


def check_transport(
    rest: AtRest = by_component, nsr: float = 0.2, bridge: float = 0.0, shares: Sequence[float] = (0.5, 0.9)
) -> Iterator[Comparison]:
    x, p, ell = row(nsr, bridge)
    real, loss_at = torch.from_numpy(p), torch.from_numpy(ell)
    for share in shares:
        q = np.where(x < -0.5, share, np.where(x > 0.5, 1 - share, 0.0)) * (1 + np.sin(2 * math.pi * x) / 2)
        start = q / q.sum()
        for loss in ("saturating", "non-saturating"):
            for lam in (0.1, 1.0):
                end = torch.from_numpy(flow(p, ell, lam, loss, start, 1 / CELLS, 4.0))
                name = f"{loss}, lambda {lam}, from {share} on the left"
                yield compare(
                    f"{name}: samples that move", end, rest(real, loss_at, lam, loss, torch.from_numpy(start))
                )
                left = float(end[x < 0].sum())
                yield compare(f"{name}: the weight of the left mode", left, float(start[x < 0].sum()))
        far = total_variation(end, equilibrium(real, loss_at, lam, loss))
        yield compare_at_least(f"from {share} on the left: TV to the rest point of E2", far, 0.1)


def transported(axes: Axes) -> None:
    """C9: two modes that start with the wrong weights."""
    x, p, ell = row(0.2, 0.0)
    axes.step(x, p * CELLS, where="mid", color="0.6", lw=3, label="p: weights 0.7, 0.3")
    start = np.where(x < -0.5, 0.3, np.where(x > 0.5, 0.7, 0.0)) / CELLS
    end = flow(p, ell, 1.0, "saturating", start, 1 / CELLS, 4.0)
    axes.step(x, start * CELLS, where="mid", ls=":", color=COLOURS[1], label="q at the start: 0.3, 0.7")
    axes.step(x, end * CELLS, where="mid", color=COLOURS[1], label="q at rest, moved: 0.3, 0.7")
    wanted = equilibrium(torch.from_numpy(p), torch.from_numpy(ell), 1.0)
    axes.step(x, wanted * CELLS, where="mid", ls=STYLES[1], color=COLOURS[0], label="q of E2: mass may jump")
    axes.set(xlabel="x", ylabel="density", ylim=(0, 1.6), title="Samples that move keep the weights of separate modes")


C9 = Claim(
    id="C9",
    title="Samples that move rest with one constant a component: the weights of separate modes are free",
    statement=(
        "Let samples move along -grad Phi, Phi = log(1 - D*) + lambda ell or -log D* + lambda ell, D = D* at every\n"
        "time. Their law rests where Phi is a constant c_j on each connected component M_j of supp P. It has the form\n"
        "of E2 on M_j, c_j fixed by the mass that Q has there: the mass that it starts with, as long as no sample\n"
        "crosses a gap. So the weights of modes are free. E2's rest point, and its dropping of modes, needs mass to\n"
        "jump."
    ),
    assumptions=(
        "P uniform on two segments of length 1, weights 0.7 and 0.3, a gap of 1, nsr 0.2; finite volumes, with cells "
        "in the gap too: nothing but Phi keeps mass from it.",
        "The step of the samples is small against the gap; a generator with steps of that size can jump.",
    ),
    source=Source("ours", "the gradient flow in the space of laws (Jordan, Kinderlehrer, Otto 1998)"),
    tolerance=1e-6,
    why=(
        "The finite volumes rest exactly where Phi is constant on neighbouring cells; the slowest mode decays as "
        "exp(-pi^2 t / 2), to 3e-9 at t = 4."
    ),
    check=check_transport,
    controls=(
        Control("one constant for all, as in E2", {"rest": of_all, "shares": (0.5,)}),
        Control("a gap with a hundredth of P's weight in it", {"bridge": 0.01, "shares": (0.5,)}),
        Control("nsr 1.5, where ell is least in the gap", {"nsr": 1.5, "shares": (0.9,)}),
    ),
    picture=transported,
)

CLAIMS: tuple[Claim, ...] = (C2, C9)
