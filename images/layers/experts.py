"""A product with one of several matrices a token: the matrix of the expert that the token was sent to.

Tokens of an expert stand in blocks of equal size, the last of which is filled up, and each block is multiplied by its
expert's matrix. So all shapes are known beforehand: nothing waits for the device, and no token is left out. The work is
at most (1 + 1 / PARTS) of that without filling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

PARTS = 4  # blocks for an expert that has its equal share of tokens


@dataclass(frozen=True)
class Blocks:
    """Where tokens stand: token order[i] in row rows[i] of K blocks of `size` rows; block k is of expert owner[k]."""

    order: Int[Tensor, " n"]
    rows: Int[Tensor, " n"]
    owner: Int[Tensor, " k"]
    size: int

    @classmethod
    def of(cls, expert: Int[Tensor, " n"], experts: int) -> Blocks:
        """The blocks of tokens that were sent to these experts, 0 .. experts - 1."""
        n, device = len(expert), expert.device
        size = -(-n // (PARTS * experts))
        count = (expert[:, None] == torch.arange(experts, device=device)).sum(0)  # [experts]
        blocks = (count + size - 1) // size
        order = expert.argsort(stable=True)
        place = torch.arange(n, device=device) - (count.cumsum(0) - count)[expert[order]]  # among those of its expert
        rows = (blocks.cumsum(0) - blocks)[expert[order]] * size + place
        k = torch.arange(n // size + experts, device=device)  # at least as many as there can be
        owner = torch.searchsorted(blocks.cumsum(0), k, right=True).clamp(max=experts - 1)
        return cls(order, rows, owner, size)

    def fill(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "k s d"]:
        """The tokens in their blocks, and zeros."""
        filled = x.new_zeros(len(self.owner) * self.size, x.shape[1])
        return filled.index_copy(0, self.rows, x[self.order]).view(len(self.owner), self.size, -1)

    def empty(self, x: Float[Tensor, "k s d"]) -> Float[Tensor, "n d"]:
        """The inverse of `fill`."""
        found = x.flatten(0, 1)[self.rows]
        return torch.zeros_like(found).index_copy(0, self.order, found)

    def linear(
        self, x: Float[Tensor, "k s i"], weight: Float[Tensor, "e i o"], bias: Float[Tensor, "e o"]
    ) -> Float[Tensor, "k s o"]:
        """x W + b with W and b of each block's expert."""
        return x @ weight.to(x.dtype)[self.owner] + bias.to(x.dtype)[self.owner][:, None]
