"""E. The game with the regularity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS, STYLES
from theory.divergences import jensen_shannon, optimal_discriminator
from theory.equilibrium import Loss, equilibrium, total_variation
from theory.manifolds import Box, Gaussians, Law, Mixture, Sphere
from theory.quadrature import richardson
from theory.regularity import pointwise_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Game:
    """A real law cut into cells: their masses p (0 off the manifold), and ell at their centres."""

    name: str
    p: Float[Tensor, " n"]
    ell: Float[Tensor, " n"]


def game(name: str, law: Law, x: list[list[float]], p: list[float], nsr: float) -> Game:
    points = torch.tensor(x, dtype=torch.float64)
    return Game(name, torch.tensor(p, dtype=torch.float64), pointwise_loss(law, points, 1.0, nsr))


@lru_cache
def games() -> tuple[Game, ...]:
    """Laws on a line with three places off the manifold, one of the laws on a circle with its centre."""
    off = [[-2.0], [0.6], [2.5]]
    three, weights = [[-1.0], [0.2], [1.5]], [0.5, 0.3, 0.2]
    cells = [[(2 * i + 1) / 24 - 1] for i in range(24)]
    right = [[(1 + x) / 2 + 0.7] for (x,) in cells]
    segment, mixed = Box((-1.0,), (1.0,)), Mixture([Gaussians([(-1.0,)]), Box((0.7,), (1.7,))], (0.4, 0.6))
    return (
        game("three points", Gaussians(three, weights=weights), three + off, weights + [0.0] * 3, 0.5),
        game("a segment", segment, [*cells, [-1.5], [1.2]], [1 / 24] * 24 + [0.0] * 2, 0.3),
        game("a point and a segment", mixed, [[-1.0], *right, *off], [0.4] + [0.6 / 24] * 24 + [0.0] * 3, 0.2),
        game("a circle and its centre", Sphere(2), [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], [0.5, 0.5, 0.0], 0.9),
    )


# E1


def mean_loss(found: Game, q: Tensor) -> Tensor:
    """L_score(Q) = E_Q ell."""
    return q @ found.ell


def adversarial_value(found: Game, q: Tensor) -> Tensor:
    """V(D*, Q) = 2 JSD(P, Q) - 2 log 2 (claim S1), from entropies."""
    return 2 * jensen_shannon(found.p, q, torch.ones_like(q)) - 2 * math.log(2)


def with_entropy(found: Game, q: Tensor) -> Tensor:
    """E_Q ell less a hundredth of the entropy of Q."""
    return mean_loss(found, q) + torch.xlogy(q, q).sum() / 100


def descended(law: Law, x: Float[Tensor, "n d"], nsr: float, steps: int = 50) -> Float[Tensor, "n d"]:
    """Particles after gradient descent of the score term alone, each on its own: x <- x - (nsr^2 / 2) grad ell.

    The step is the one that reaches the nearest point at once where ell = SNR dist^2.
    """
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(pointwise_loss(law, x, 1.0, nsr).sum(), x)
        x = x.detach() - nsr**2 / 2 * slope
    return x


def check_linear(functional: Callable[[Game, Tensor], Tensor] = mean_loss, nsr: float = 1.8) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(11)
    for found in games():
        first, second = torch.rand(2, len(found.p), generator=generator, dtype=torch.float64)
        first, second = first / first.sum(), second / second.sum()
        between = [functional(found, (1 - a) * first + a * second) for a in (0.0, 0.25, 0.5, 1.0)]
        yield compare(f"{found.name}: halfway between two laws", between[2], (between[0] + between[3]) / 2)
        yield compare(f"{found.name}: a quarter of the way", between[1], (3 * between[0] + between[3]) / 4)
        point = torch.nn.functional.one_hot(found.ell.argmin(), len(found.p)).double()
        lowest = functional(found, point)
        yield compare_at_least(f"{found.name}: a point at argmin ell is as good as any law", between[2], lowest)
        alone = played(found, 50.0, adversarial=None)
        yield compare(f"{found.name}: the law that the score term alone leads to", functional(found, alone), lowest)
    law, start = Gaussians([(-1.0,), (1.0,)]), torch.linspace(-2, 2, 8, dtype=torch.float64)[:, None]
    end = descended(law, start, nsr)
    yield compare(f"particles between two points, nsr {nsr}: the width of what they become", end.std(), 0.0)
    lowest = pointwise_loss(law, torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None], 1.0, nsr).min()
    yield compare("and their mean loss, for the least on a grid", pointwise_loss(law, end, 1.0, nsr).mean(), lowest)


def played(found: Game, lam: float, adversarial: Callable[[Tensor], Tensor] | None, steps: int = 1000) -> Tensor:
    """Where the game leads from a uniform Q: every cell's mass falls with its cost, D = D* after every step.   -> [n]

    Replicator dynamics, q <- q exp(-cost) / Z. It uses the loss of a sample and none of the closed forms.
    """
    q = torch.full_like(found.p, 1 / len(found.p))
    for _ in range(steps):
        cost = lam * found.ell
        if adversarial is not None:
            cost = cost + adversarial(optimal_discriminator(found.p, q))
        log_q = torch.log(q) - cost
        q = torch.softmax(log_q, 0)
    return q


def linearity(axes: Axes) -> None:
    """E1: the score term and V along the segment from the real law to a point at argmin ell."""
    found, share = games()[0], torch.linspace(0, 1, 41, dtype=torch.float64)
    point = torch.nn.functional.one_hot(found.ell.argmin(), len(found.p)).double()
    laws = [(1 - a) * found.p + a * point for a in share]
    for number, (name, of) in enumerate(((r"$E_Q\,\ell$", mean_loss), ("$V(D^*, Q)$", adversarial_value))):
        values = torch.stack([of(found, q) for q in laws])
        axes.plot(
            share, values - values[0], ls=STYLES[number], color=COLOURS[number], label=f"{name}, less its value at P"
        )
    axes.set(
        xlabel="mass moved from P to a point at argmin $\\ell$",
        ylabel="change",
        title="The score term alone is least at a point",
    )


E1 = Claim(
    id="E1",
    title="The score term is linear in Q: alone, a single point minimises it",
    statement=(
        "L_score(Q) = E_Q ell is linear in Q. Its minimisers are all laws on argmin ell, a point among them. Nothing\n"
        "in the term requires diversity: it is no divergence. Particles that descend it alone meet at one point where\n"
        "ell has one minimum."
    ),
    assumptions=(
        "The exact score of P, which does not depend on Q.",
        "The particles: P two points at -1 and 1, nsr 1.8, above the critical noise 1.023 of claim I2.",
    ),
    source=Source("ours", "linearity of a mean"),
    tolerance=1e-9,
    why="Sums of tens of terms in float64; the replicator dynamics and the descent converge geometrically.",
    check=check_linear,
    controls=(
        Control("V(D*, Q), which is strictly convex, in the place of L_score", {"functional": adversarial_value}),
        Control("with a hundredth of the entropy of Q added", {"functional": with_entropy}),
        Control("particles below the critical noise, where ell has two minima", {"nsr": 0.9}),
    ),
    picture=linearity,
)

# E2


def kl_of_the_middle(found: Game, q: Tensor) -> Tensor:
    """2 KL((P+Q)/2 || P)."""
    middle = (found.p + q) / 2
    return 2 * (torch.xlogy(middle, middle) - torch.xlogy(middle, found.p)).sum()


LOSSES: dict[Loss, Callable[[Tensor], Tensor]] = {
    "saturating": lambda d: torch.log1p(-d),
    "non-saturating": lambda d: -torch.log(d),
}
OBJECTIVES: dict[Loss, Callable[[Game, Tensor], Tensor]] = {
    "saturating": adversarial_value,
    "non-saturating": kl_of_the_middle,
}
SWAPPED: dict[Loss, Loss] = {"saturating": "non-saturating", "non-saturating": "saturating"}


def flow(
    p: Float[np.ndarray, " n"],
    ell: Float[np.ndarray, " n"],
    lam: float,
    loss: Loss,
    q: Float[np.ndarray, " n"],
    dx: float,
    time: float,
) -> Float[np.ndarray, " n"]:
    """Masses of samples that move: the continuity equation dq/dt = div(q grad Phi), D = D* at every time.   -> [n]

    Phi = log(1 - D*) + lambda ell or -log D* + lambda ell is the loss of a sample. Finite volumes on a row of cells of
    width dx: mass goes to a neighbour only, along the fall of Phi, at a speed of -grad Phi (upwind). The steps are
    explicit, of dx^2 / 5.
    """
    q, gap = q.copy(), p == 0
    real = np.where(gap, 1.0, p)
    for _ in range(int(5 * time / dx**2)):
        if loss == "saturating":  # 0 off the support of P
            adversarial = np.where(gap, 0.0, np.log(np.maximum(q, 1e-300) / (q + real)))
        else:
            adversarial = np.where(gap, 1e3, np.log1p(q / real))  # inf off the support of P: a wall
        fall = -np.diff(adversarial + lam * ell)
        share = np.clip(0.2 * fall, -0.4, 0.4)  # of a cell's mass: at most so much a step
        moved = np.where(fall > 0, share * q[:-1], share * q[1:])
        q[:-1] -= moved
        q[1:] += moved
    return q


def residual(found: Game, q: Tensor, lam: float, loss: Loss) -> tuple[Tensor, Tensor]:
    """By how much the marginal loss differs from its mean c where Q has mass, and by how much it is below c elsewhere.

    The marginal loss is the derivative in q of the objective that the rest point minimises, by autograd.
    """
    masses = q.clamp(min=1e-200).requires_grad_()
    (marginal,) = torch.autograd.grad(OBJECTIVES[loss](found, masses) + lam * mean_loss(found, masses), masses)
    kept = q > 1e-9
    c = q[kept] @ marginal[kept] / q[kept].sum()
    below = (c - marginal)[~kept & ((found.p > 0) | torch.tensor(loss == "saturating"))]
    return (marginal[kept] - c).abs().max(), below.clamp(min=0).max() if len(below) else torch.zeros(())


def check_equilibrium(
    formula: dict[Loss, Loss] | None = None, count: int = 4, strength: float = 1.0
) -> Iterator[Comparison]:
    for found in games()[:count]:
        for lam in (0.1, 0.5, 3.0):
            for loss, adversarial in LOSSES.items():
                named = loss if formula is None else formula[loss]
                q = equilibrium(found.p, found.ell, strength * lam, named)
                name = f"{found.name}, {loss}, lambda {lam}"
                yield compare(name, played(found, lam, adversarial), q)
                off, below = residual(found, q, lam, loss)
                yield compare(f"{name}: the marginal loss less c where Q has mass", off, 0.0)
                yield compare(f"{name}: how far it is below c elsewhere", below, 0.0)
    if count < 4:
        return
    found = games()[1]
    row = torch.tensor([24, *range(24), 25])  # the places off the segment are at its ends
    for lam in (0.1, 3.0):
        for loss in LOSSES:
            named = loss if formula is None else formula[loss]
            q = equilibrium(found.p, found.ell, strength * lam, named)[row]
            start = (found.p[row] > 0).double() if loss == "non-saturating" else torch.ones(26, dtype=torch.float64)
            p, ell = found.p[row].numpy(), found.ell[row].numpy()
            moved = flow(p, ell, lam, loss, (start / start.sum()).numpy(), 1 / 12, 9.0)
            yield compare(f"{found.name}, {loss}, lambda {lam}: samples that move", torch.from_numpy(moved), q)


def rest_points(axes: Axes) -> None:
    """E2: the masses of three points as lambda grows."""
    found = games()[0]
    lam = torch.linspace(0, 4, 81, dtype=torch.float64)
    styles: dict[Loss, str] = {"saturating": "-", "non-saturating": "--"}
    for loss, style in styles.items():
        q = torch.stack([equilibrium(found.p, found.ell, value, loss) for value in lam.tolist()])
        for cell in range(3):
            label = rf"{loss}, $\ell$ = {found.ell[cell]:.2f}"
            axes.plot(lam, q[:, cell], style, color=COLOURS[cell], label=label)
    axes.set(xlabel=r"$\lambda$", ylabel="mass q at rest", title="Three points, weights 0.5, 0.3, 0.2")


E2 = Claim(
    id="E2",
    title="The game's rest points in closed form; with the non-saturating loss they drop modes",
    statement=(
        "Let q = p s/(1-s), s = exp(c - lambda ell), and F(c) its mass. If F(c) = 1 for a c <= lambda min ell, this q\n"
        "is where min over Q of V(D*, Q) + lambda E_Q ell is attained. If F(lambda min ell) < 1, no c does, and the\n"
        "minimum is attained at this q, with c = lambda min ell, and an atom of the rest of the mass at argmin ell:\n"
        "on M for k >= 3 and lambda above lambda_c (claim C2), or off M. No mass is off M unless c reaches lambda ell\n"
        "there (for ell constant on M: unless lambda > log 2 / (ell on M - min ell)). The rest point of the\n"
        "non-saturating loss is q = p (C exp(-lambda ell) - 1)_+ at every lambda. It drops parts of P at finite\n"
        "lambda; it minimises 2 KL((P+Q)/2 || P) + lambda E_Q ell, not V."
    ),
    assumptions=(
        "Optimal discriminator at every step; Q can be any law on M, or on the cells.",
        "Compared with replicator dynamics, which uses only the loss of a sample, with the conditions of Karush, Kuhn "
        "and Tucker, and with samples that move along a segment (where P has several components: claim C9).",
    ),
    source=Source(
        "in print",
        "the saturating form: f-divergence-regularised linear objectives, Wang et al. 2023; ours: the condition (C2), "
        "the non-saturating rest point",
    ),
    tolerance=1e-9,
    why=(
        "The dynamics is linear near rest: 1000 steps of the replicator leave 1e-14 where no cell is close to being "
        "dropped, 6500 of the moving samples 1e-10. The conditions are met to rounding of numbers below 100."
    ),
    check=check_equilibrium,
    controls=(
        Control("the two formulas exchanged", {"formula": SWAPPED, "count": 2}),
        Control("lambda larger by a hundredth in the formulas", {"strength": 1.01, "count": 2}),
    ),
    picture=rest_points,
)

# E3


def spread(found: Game) -> Tensor:
    """E_P |ell - E_P ell|."""
    return found.p @ (found.ell - found.p @ found.ell).abs()


def standard_deviation(found: Game) -> Tensor:
    """The standard deviation of ell under P."""
    return torch.sqrt(found.p @ (found.ell - found.p @ found.ell).square())


def check_bias(rate: Callable[[Game], Tensor] = spread, order: float = 2.0) -> Iterator[Comparison]:
    lam = torch.tensor([0.02, 0.01, 0.005], dtype=torch.float64)
    for found in games():
        for loss in LOSSES:
            laws = [equilibrium(found.p, found.ell, weight, loss) for weight in lam.tolist()]
            bias = torch.stack([total_variation(found.p, q) for q in laws])
            limit = richardson(bias / lam, order=1)
            yield compare(f"{found.name}, {loss}: TV / lambda as lambda -> 0", limit, rate(found))
            rest = (bias - lam * spread(found)).abs()
            if float(rest.max()) > 1e-9:
                orders = torch.log2(rest[:-1] / rest[1:])
                what = f"{found.name}, {loss}: order in lambda of the remainder, as lambda -> 0"
                yield compare(what, richardson(orders, order=1), order)


def bias(axes: Axes) -> None:
    """E3: the bias at rest against lambda, and its first order."""
    found, lam = games()[0], torch.logspace(-3, 0.5, 22, dtype=torch.float64)
    for number, loss in enumerate(LOSSES):
        values = [float(total_variation(found.p, equilibrium(found.p, found.ell, a, loss))) for a in lam.tolist()]
        axes.loglog(lam, values, "os"[number], ms=4, color=COLOURS[number], label=loss)
    axes.loglog(lam, lam * spread(found), color="0.4", label=r"$\lambda\,E_P|\ell - E_P\ell|$")
    axes.set(xlabel=r"$\lambda$", ylabel="$TV(Q, P)$", title="Three points: the bias at rest")


E3 = Claim(
    id="E3",
    title="The bias is TV(Q, P) = lambda E_P|ell - E_P ell| + O(lambda^2), for both losses",
    statement=(
        "At the rest points of E2, TV(Q, P) = lambda E_P |ell - E_P ell| + O(lambda^2), with either loss. So the\n"
        "bias vanishes to first order where ell is constant on M (a circle, a sphere, a torus); there it vanishes\n"
        "altogether until mass leaves M (E2). `lambda_for_bias` gives the lambda of a bias that is allowed."
    ),
    assumptions=("As E2, with lambda so small that no mass is dropped or leaves M.",),
    source=Source("ours", "first order of E2"),
    tolerance=2e-3,
    why=(
        "lambda is 0.02, 0.01 and 0.005; rate and order are extrapolated to 0, which leaves O(lambda^2) of each. The "
        "rates are about 0.2, so that this is 1 % of one."
    ),
    check=check_bias,
    controls=(
        Control("the standard deviation of ell in the place of its mean deviation", {"rate": standard_deviation}),
        Control("a remainder of order 1", {"order": 1.0}),
        Control("a rate of 1.1 times the mean deviation", {"rate": lambda found: 1.1 * spread(found)}),
    ),
    picture=bias,
)

CLAIMS: tuple[Claim, ...] = (E1, E2, E3)
