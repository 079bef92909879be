"""E. The game with the regularity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.divergences import optimal_discriminator, value
from theory.equilibrium import Loss, equilibrium, total_variation
from theory.manifolds import Box, Gaussians, Law, Mixture, Sphere
from theory.quadrature import richardson
from theory.regularity import pointwise_loss


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
    """V(D*, Q)."""
    return value(optimal_discriminator(found.p, q), found.p, q, torch.ones_like(q))


def check_linear(functional: Callable[[Game, Tensor], Tensor] = mean_loss) -> Iterator[Comparison]:
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


def played(found: Game, lam: float, adversarial: Callable[[Tensor], Tensor] | None, steps: int = 1000) -> Tensor:
    """Where the game leads from a uniform Q: every cell's mass falls with its cost, D = D* after every step.   -> [n]

    Replicator dynamics, q <- q exp(-cost) / Z. It knows the loss of a sample and nothing of the closed forms.
    """
    q = torch.full_like(found.p, 1 / len(found.p))
    for _ in range(steps):
        cost = lam * found.ell
        if adversarial is not None:
            cost = cost + adversarial(optimal_discriminator(found.p, q))
        log_q = torch.log(q) - cost
        q = torch.softmax(log_q, 0)
    return q


E1 = Claim(
    id="E1",
    title="The regularity is linear in Q: alone, it is content with a point",
    statement=(
        "L_score(Q) = E_Q ell is linear in Q. Its minimisers are all laws on argmin ell, a point among them: nothing\\n"
        "in the regularity asks for diversity, and alone it is no divergence."
    ),
    assumptions=("The exact score of P, which does not depend on Q.",),
    source=Source("ours", "linearity of a mean"),
    tolerance=1e-9,
    why="Sums of tens of terms in float64; the replicator dynamics comes to rest.",
    check=check_linear,
    controls=(
        Control("V(D*, Q), which is strictly convex, in the place of L_score", {"functional": adversarial_value}),
    ),
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


def check_equilibrium(formula: dict[Loss, Loss] | None = None, count: int = 4) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(12)
    for found in games()[:count]:
        for lam in (0.1, 0.5, 3.0):
            for loss, adversarial in LOSSES.items():
                q = equilibrium(found.p, found.ell, lam, loss if formula is None else formula[loss])
                yield compare(f"{found.name}, {loss}, lambda {lam}", played(found, lam, adversarial), q)
                other = torch.rand(len(q), generator=generator, dtype=torch.float64)
                other = other if loss == "saturating" else other * (found.p > 0)  # elsewhere its objective is infinite
                near = q + 0.1 * (other / other.sum() - q)
                objective = OBJECTIVES[loss]
                least, here = (objective(found, law) + lam * mean_loss(found, law) for law in (q, near))
                yield compare_at_least(f"{found.name}, {loss}, lambda {lam}: the objective near it", here, least)


E2 = Claim(
    id="E2",
    title="The game's rest points in closed form; with the non-saturating loss they drop modes",
    statement=(
        "min over Q of V(D*, Q) + lambda E_Q ell is attained at q = p s/(1-s), s = exp(c - lambda ell), c fixed\n"
        "by mass one; no mass is off the manifold M unless c reaches lambda ell there (for ell constant on M: unless\n"
        "lambda > log 2 / (ell on M - min ell)), and then what mass is missing on M sits at argmin ell. The rest\n"
        "point of the non-saturating loss is q = p (C exp(-lambda ell) - 1)_+, which drops parts of P at finite\n"
        "lambda; it minimises 2 KL((P+Q)/2 || P) + lambda E_Q ell, not V."
    ),
    assumptions=(
        "Optimal discriminator at every step; Q can be any law on the cells. Compared with replicator dynamics, which "
        "sees only the loss of a sample.",
    ),
    source=Source("ours", "calculus of variations"),
    tolerance=1e-9,
    why="The dynamics is linear near rest and 1000 steps leave 1e-14 where no cell is close to being dropped.",
    check=check_equilibrium,
    controls=(Control("the two formulas exchanged", {"formula": SWAPPED, "count": 2}),),
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


E3 = Claim(
    id="E3",
    title="The bias is TV(Q, P) = lambda E_P|ell - E_P ell| + O(lambda^2), for both losses",
    statement=(
        "At the rest points of E2, TV(Q, P) = lambda E_P |ell - E_P ell| + O(lambda^2), with either loss. So the\n"
        "bias vanishes where ell is constant on M (a circle, a sphere, a torus), and `lambda_for_bias` gives the\n"
        "lambda of a bias that one allows."
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
    ),
)

CLAIMS: tuple[Claim, ...] = (E1, E2, E3)
