"""Both gradients at a generated sample in the plane, and the equilibrium of the game: the numbers of `toy.explore`.

The score term, at a noise-to-signal ratio s, by claim P1 and with E over eps of a noised sample as a convolution with
the kernel G of N(0, s^2 I):

    ell(x) = (||x||^2 - 2 x . (G * x0hat)(x) + (G * ||x0hat||^2)(x)) / s^2

so that x0hat on one lattice gives ell and its gradient, whose kernel is G's, at every point of a picture at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from theory.equilibrium import Loss as Game
from theory.equilibrium import equilibrium, total_variation
from theory.manifolds import Gaussians, Law, Mixture
from theory.regularity import pointwise_estimate

NODES, MARGIN = 192, 6.0  # of the lattice: nodes an axis, and how far it reaches beyond the picture, in units of s
COARSE, FINEST = 0.005, 768  # how far a gradient may move when the nodes are doubled, relative; nodes at most
THIN = 1e-5  # the noise at which the density of a thick law is read off (as in claim S6)
FAINT = -1e5  # a log density below it is of that noise alone: farther than 0.005 from a law with an edge


class Loss(NamedTuple):
    """ell [m] and its gradient [m, 2] at some points."""

    value: Float[Tensor, " m"]
    gradient: Float[Tensor, "m 2"]


def exact_loss(law: Law, x: Float[Tensor, "m 2"], nsr: float) -> Loss:
    """ell and its gradient by `theory.regularity.pointwise_estimate`: to 1e-9, and slow."""
    x = x.detach().requires_grad_()
    value = pointwise_estimate(law, x, 1.0, nsr).value
    return Loss(value.detach(), torch.autograd.grad(value.sum(), x)[0])


class Square(NamedTuple):
    """The drawn part of the plane: its lower left corner and its side."""

    left: float
    low: float
    side: float

    def grid(self, n: int) -> Float[Tensor, "m 2"]:
        """The centres of n x n cells, row by row from below, [n^2, 2]."""
        centres = (torch.arange(n, dtype=torch.float64) + 0.5) / n * self.side
        y, x = torch.meshgrid(self.low + centres, self.left + centres, indexing="ij")
        return torch.stack([x, y], -1).reshape(-1, 2)


def square_around(law: Law) -> Square:
    """The law's samples with a margin on all sides."""
    x = law.sample(4096, torch.Generator().manual_seed(0), torch.float64)
    low, high = x.amin(0), x.amax(0)
    side = math.ceil(10 * 1.4 * float((high - low).max())) / 10
    left, bottom = ((low + high - side) / 2).tolist()
    return Square(round(left, 1), round(bottom, 1), side)


class Lattice:
    """x0hat on a lattice at one noise level: ell and its gradient at any point of the square, by the trapezoidal rule.

    Args:
        law: of the plane.
        nsr: the noise-to-signal ratio s.
        square: where ell can be asked for.
        nodes: of the lattice, an axis.
    """

    def __init__(self, law: Law, nsr: float, square: Square, nodes: int = NODES):
        self.nsr, self.square = nsr, square
        margin, steps = MARGIN * nsr, torch.linspace(0, 1, nodes, dtype=torch.float64)
        side = square.side + 2 * margin
        self.x, self.y = square.left - margin + side * steps, square.low - margin + side * steps
        self.step = side / (nodes - 1)
        refined = law.denoise(torch.cartesian_prod(self.x, self.y), 1.0, nsr)  # [nodes^2, 2]
        moments = torch.cat([refined, refined.square().sum(-1, keepdim=True)], -1)
        self.moments = moments.view(nodes, nodes, 3)

    def _kernel(self, at: Float[Tensor, " m"], nodes: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
        """Weights of the nodes of one axis for E f(at + s eps), and their derivatives in `at`.   [m, n], [m, n]"""
        z = (nodes - at[:, None]) / self.nsr
        weight = torch.exp(-z.square() / 2) * (self.step / (self.nsr * math.sqrt(2 * math.pi)))
        return weight, weight * z / self.nsr

    def loss(self, points: Float[Tensor, "m 2"]) -> Loss:
        """ell and its gradient at points of the square."""
        (gx, dx), (gy, dy) = self._kernel(points[:, 0], self.x), self._kernel(points[:, 1], self.y)
        along_y, slope_y = (torch.einsum("mj,ijc->mic", kernel, self.moments) for kernel in (gy, dy))  # [m, n, 3]
        return self._loss(
            points,
            *(
                torch.einsum("mi,mic->mc", kernel, part)
                for kernel, part in ((gx, along_y), (dx, along_y), (gx, slope_y))
            ),
        )

    def loss_on_grid(self, n: int) -> Loss:
        """The same at the points of square.grid(n), an axis at a time."""
        points = self.square.grid(n)
        (gx, dx), (gy, dy) = self._kernel(points[:n, 0], self.x), self._kernel(points[::n, 1], self.y)
        along_y, slope_y = (torch.einsum("mj,ijc->mic", kernel, self.moments) for kernel in (gy, dy))  # [n, nodes, 3]
        return self._loss(
            points,
            *(
                torch.einsum("ki,mic->mkc", kernel, part).reshape(-1, 3)
                for kernel, part in ((gx, along_y), (dx, along_y), (gx, slope_y))
            ),
        )

    def _loss(
        self, points: Float[Tensor, "m 2"], mean: Float[Tensor, "m 3"], by_x: Float[Tensor, "m 3"], by_y: Tensor
    ) -> Loss:
        """Of the means of x0hat and ||x0hat||^2 at the noised points, and their slopes in x and in y."""
        value = points.square().sum(-1) - 2 * (points * mean[:, :2]).sum(-1) + mean[:, 2]
        slopes = torch.stack([by_x, by_y], 1)  # [m, 2, 3]
        gradient = 2 * (points - mean[:, :2]) - 2 * (slopes[..., :2] @ points[..., None])[..., 0] + slopes[..., 2]
        return Loss(value / self.nsr**2, gradient / self.nsr**2)


def settled(law: Law, nsr: float, square: Square, n: int) -> tuple[Lattice, Loss]:
    """A lattice fine enough, and the loss at square.grid(n): its nodes are doubled until the gradients move by at most
    COARSE, relative to 1 + their norm. The trapezoidal rule converges faster than that: three digits are right."""
    nodes, before = NODES // 2, None
    while True:
        lattice = Lattice(law, nsr, square, nodes)
        found = lattice.loss_on_grid(n)
        if before is not None:
            moved = torch.linalg.vector_norm(found.gradient - before.gradient, dim=-1)
            if nodes >= FINEST or bool(
                (moved <= COARSE * (1 + torch.linalg.vector_norm(found.gradient, dim=-1))).all()
            ):
                return lattice, found
        nodes, before = 2 * nodes, found


def log_densities(law: Law, y: Float[Tensor, "m 2"]) -> tuple[Float[Tensor, " m"], Float[Tensor, "m 2"]]:
    """log p and its gradient, p the density of the part of the law that has one in the plane; -inf and 0 elsewhere.

    Points and curves have none: off them p is exactly 0.
    """
    if isinstance(law, Mixture):
        weights = torch.tensor(law.weights or [1 / len(law.laws)] * len(law.laws), dtype=y.dtype)
        parts = [log_densities(part, y) for part in law.laws]
        each = torch.stack([log_p for log_p, _ in parts], -1) + weights.log()  # [m, parts]
        share = torch.softmax(torch.where(each.amax(-1, keepdim=True) > -math.inf, each, 0), -1)
        slopes = torch.stack([slope for _, slope in parts], -1)  # [m, 2, parts]
        return each.logsumexp(-1), (slopes * share[:, None]).sum(-1)
    if law.intrinsic_dim != law.dim:
        return torch.full_like(y[:, 0], -math.inf), torch.zeros_like(y)
    log_p = law.log_density(y, 1.0, THIN)
    none = log_p < FAINT
    return torch.where(none, -math.inf, log_p), torch.where(none[:, None], 0, law.score(y, 1.0, THIN))


class Adversarial(NamedTuple):
    """The optimal discriminator's D* [m], and minus the gradient of the generator's loss [m, 2], which decreases it."""

    discriminator: Float[Tensor, " m"]
    downhill: Float[Tensor, "m 2"]


def adversarial(
    law: Law, y: Float[Tensor, "m 2"], x: Float[Tensor, " 2"], spread: float, loss: Game = "saturating"
) -> Adversarial:
    """D* = p / (p + q) and minus the loss's gradient at y, for the generated law Q = N(x, spread^2 I):

        saturating       -grad log(1 - D*) = D* grad log(p / q)
        non-saturating       grad log D*   = (1 - D*) grad log(p / q)

    p is the density of the real distribution in the plane. Where it is 0, the first is exactly 0 (claim S2), and the
    second is not defined, since the loss is infinite: NaN. On points and curves D* is 1 and there is no gradient; Q has
    no mass there, and y must not lie there.
    """
    generated = Gaussians([x.tolist()], spread)
    log_p, slope = log_densities(law, y)
    log_q, log_slope = generated.log_density(y, 1.0, THIN), generated.score(y, 1.0, THIN)
    d = torch.sigmoid(log_p - log_q)
    if loss == "saturating":
        return Adversarial(d, d[:, None] * (slope - log_slope))
    weight = torch.where(log_p > -math.inf, torch.sigmoid(log_q - log_p), math.nan)
    return Adversarial(d, weight[:, None] * (slope - log_slope))


class Cells(NamedTuple):
    """The real distribution as masses [n] at places [n, 2]."""

    places: Float[Tensor, "n 2"]
    masses: Float[Tensor, " n"]


def cells_of(law: Law, samples: int = 1000) -> Cells:
    """Samples of the law, equal ones counted once."""
    x = law.sample(samples, torch.Generator().manual_seed(0), torch.float64)
    places, counts = torch.unique(x, dim=0, return_counts=True)
    return Cells(places, counts.double() / samples)


def is_off(law: Law, y: Float[Tensor, "m 2"]) -> Tensor:
    """Whether the law has no mass at y, neither a density nor a curve or point there.   [m, 2] -> [m], bool"""
    return (log_densities(law, y)[0] == -math.inf) & (law.distance(y) > 1e-12)


class Rest(NamedTuple):
    """The equilibrium: masses q [n] at the cells of the law, the mass off them, TV(P, Q)."""

    masses: Float[Tensor, " n"]
    off: float
    bias: float


def rest_point(
    cells: Cells, ell: Float[Tensor, " n"], lowest: Float[Tensor, " k"], lam: float, loss: Game = "saturating"
) -> Rest:
    """`theory.equilibrium` (claim E2) on the cells and on k more, of real mass 0: where ell is lowest off the law."""
    p = torch.cat([cells.masses, torch.zeros_like(lowest)])
    q = equilibrium(p, torch.cat([ell, lowest]), lam, loss)
    on = len(cells.masses)
    return Rest(q[:on], float(q[on:].sum()), float(total_variation(p, q)))
