"""The uniform law on the black squares of a board: full-dimensional, with many edges and no smooth boundary."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common import checks
from theory.manifolds.box import moments
from theory.manifolds.law import JointLaw, check_points
from theory.manifolds.posterior import Anchored, differences, pick


@dataclass(frozen=True)
class Checkerboard(JointLaw):
    """Uniform on the black squares of a board of cells x cells squares in [-half, half]^2; the lower left is black.

    A square is a product of two intervals of the line, and a row of squares shares one of them. With L_i(y) the log
    density and m_i(y) the posterior mean of the law on interval i of the line, over the black squares (i, j)

        log p_t(y) = logsumexp_ij [L_i(y_1) + L_j(y_2)] - log(number of black squares)
        x0hat(y)   = sum_ij r_ij (m_i(y_1), m_j(y_2)),   r_ij proportional to exp(L_i(y_1) + L_j(y_2))

    which takes 2 cells laws on the line where the mixture of boxes would take cells^2.

    Raises:
        ValueError: cells is no whole number of at least 2; half is no positive finite number.
    """

    cells: int = 4
    half: float = 1.0
    dim: int = field(init=False, repr=False, default=2)
    intrinsic_dim: int = field(init=False, repr=False, default=2)
    reach: float = field(init=False, repr=False, default=0.0)  # black squares touch at their corners

    def __post_init__(self) -> None:
        vars(self).update(cells=checks.whole("cells", self.cells, 2), half=checks.positive("half", self.half))

    def _centres(self, like: Tensor) -> Tensor:
        """The middles of the intervals, [cells]."""
        places = [self.half * ((2 * i + 1) / self.cells - 1) for i in range(self.cells)]
        return like.new_tensor(places)

    def _squares(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(column, row) of each black square, [squares] each."""
        black = torch.ones(self.cells, self.cells, dtype=torch.bool, device=like.device)
        black[1::2, ::2] = black[::2, 1::2] = False
        column, row = black.nonzero(as_tuple=True)
        return column, row

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        place = self.half / self.cells * (2 * torch.rand(n, 2, generator=generator, dtype=dtype, device=device) - 1)
        column, row = self._squares(place)
        square = torch.randint(len(column), (n,), generator=generator, device=device)
        return self._centres(place)[torch.stack([column[square], row[square]], -1)] + place

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        half, s = y.new_tensor(self.half / self.cells).expand_as(y), nsr[..., None].expand_as(y)
        # one interval after the other: the nodes of all at once would not fit the cache
        parts = [(c + (y - c).clamp(-half, half), *moments(y - c, half, s), c) for c in self._centres(y)]
        anchor = torch.stack([a for a, *_ in parts], -1)  # [..., 2, cells]
        rest = torch.stack([part for _, part, *_ in parts], -1)
        log_density = rest - torch.stack([gap for _, _, gap, *_ in parts], -1).square() / 2
        mean = torch.stack([c + part for *_, part, c in parts], -1)
        variance = s.square()[..., None].expand_as(rest)
        nearest, gaps = differences(y[..., None], log_density, anchor[..., None], variance, rest)  # on each axis

        column, row = self._squares(y)
        anchors, rests, means, terms = (
            torch.stack([part[..., 0, column], part[..., 1, row]], -1) for part in (anchor, rest, mean, gaps)
        )  # [..., squares, 2]
        terms = terms.sum(-1)
        r = terms.argmax(-1)
        total = terms.logsumexp(-1) - log(len(column))
        return Anchored(
            log_density=pick(log_density, nearest).sum(-1) + total,
            mean=(terms.softmax(-1)[..., None] * means).sum(-2),
            anchor=pick(anchors, r),
            variance=nsr.square(),
            rest=pick(rests, r).sum(-1) + total - pick(terms, r),
        )

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The nearest point of the nearest black square."""
        check_points(x, self.dim, "x")
        half = self.half / self.cells
        centres = self._centres(x)
        middles = torch.stack([centres[k] for k in self._squares(x)], -1)  # [squares, 2]
        nearest = middles + (x[..., None, :] - middles).clamp(-half, half)  # [..., squares, 2]
        square = torch.linalg.vector_norm(x[..., None, :] - nearest, dim=-1).argmin(-1)
        return nearest.take_along_dim(square[..., None, None], -2).squeeze(-2)
