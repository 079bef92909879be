"""Rows whose numbers are no longer finite: one ends a run of one setting, and is marked among several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from theory.common.errors import Diverged


class Finite:
    """Looks at a number a row.

    Attributes:
        diverged: the rows that had one which is not finite, where it does not raise.

    Args:
        raises: whether one such row ends the run, as in a run of one setting; a search goes on with the others.
    """

    def __init__(self, arm: str, seeds: Sequence[int], raises: bool):
        self.arm, self.seeds = arm, tuple(seeds)
        self.raises = raises
        self.diverged: Bool[Tensor, " row"] = torch.zeros(len(self.seeds), dtype=torch.bool)

    def check(self, values: Float[Tensor, " row"], what: str, step: int) -> None:
        """Marks the rows whose value is not finite.

        Raises:
            Diverged: there are some, and it raises.
        """
        if all(map(math.isfinite, found := values.tolist())):  # a tenth of the time of torch.isfinite
            return
        if self.raises:
            seed = next(seed for seed, value in zip(self.seeds, found, strict=True) if not math.isfinite(value))
            raise Diverged(f"the {what} is no longer finite: arm {self.arm}, seed {seed}, step {step}")
        self.diverged |= torch.tensor([not math.isfinite(value) for value in found])

    def measured(self, samples: Float[Tensor, "row n d"]) -> Float[Tensor, "row n d"]:
        """The samples, 0 in the place of those of diverged rows, which have no metrics."""
        return torch.where(self.diverged[:, None, None], 0, samples) if self.diverged.any() else samples

    def record(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """The metrics, NaN in the place of those of diverged rows: what is there is of `measured` samples."""
        if not self.diverged.any():
            return found
        return {name: torch.where(self.diverged, math.nan, values) for name, values in found.items()}
