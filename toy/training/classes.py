"""Class-conditional distributions (eq. 15 of the paper): a mixture whose parts are its classes.

A batch holds the classes in blocks, in the proportions of the mixture's weights: the label of a row follows from its
place, and no labels are drawn, stored or shuffled. Generator and discriminator get it one-hot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds import Embedded, Gaussians, Law, Mixture, Scaled, Thickened


class Classes:
    """The classes of a mixture.

    Attributes:
        laws: the law of each class.
        weights: the probability of each, [C].

    Raises:
        ValueError: the law is no mixture.
    """

    def __init__(self, law: Law):
        self.laws, self.weights = parts_of(law)
        if len(self.laws) < 2:
            raise ValueError(f"conditional needs a mixture, whose parts are the classes; given {law!r}")
        self.known: dict[int, list[slice]] = {}
        self.labels: dict[tuple[int, int | None, torch.dtype, torch.device], Tensor] = {}

    def __len__(self) -> int:
        return len(self.laws)

    def parts(self, count: int) -> list[slice]:
        """The rows of each class in a batch of `count`.

        Raises:
            ValueError: a class would have none.
        """
        if count in self.known:
            return self.known[count]
        ends = [0, *(self.weights.cumsum(0) * count).round().int().tolist()]
        parts = [slice(a, b) for a, b in pairwise(ends)]
        if any(part.start == part.stop for part in parts):
            raise ValueError(f"a batch must have a row of each of the {len(self)} classes; given {count} rows")
        self.known[count] = parts
        return parts

    def one_hot(self, rows: Float[Tensor, "s n i"], label: int | None = None) -> Float[Tensor, "n c"]:
        """The labels of a batch, of its dtype and where it is; all are `label` if given."""
        count, key = rows.shape[1], (rows.shape[1], label, rows.dtype, rows.device)
        if key in self.labels:
            return self.labels[key]
        labels = torch.zeros(count, len(self))
        for c, part in enumerate(self.parts(count) if label is None else []):
            labels[part, c] = 1
        if label is not None:
            labels[:, label] = 1
        self.labels[key] = labels.to(rows)
        return self.labels[key]

    def sample(self, batches: int, count: int, generator: torch.Generator) -> Float[Tensor, "batches count d"]:
        """Real batches in the layout of `parts`."""
        drawn = []
        for law, part in zip(self.laws, self.parts(count), strict=True):
            rows = part.stop - part.start
            drawn.append(law.sample(batches * rows, generator).view(batches, rows, law.dim))
        return torch.cat(drawn, 1)

    def wrong(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, " s"]:
        """Share of samples, in the layout of `parts`, that are nearer to another class than to their own."""
        distances = torch.stack([law.distance(x) for law in self.laws])  # [C, s, n]
        own = torch.cat([distances[c, :, part] for c, part in enumerate(self.parts(x.shape[1]))], 1)
        return (own > distances.min(0).values).to(x.dtype).mean(1)


def parts_of(law: Law) -> tuple[list[Law], Float[Tensor, " c"]]:
    """The parts of a mixture and their weights; a map of a mixture is applied to each part."""
    if isinstance(law, Embedded | Thickened | Scaled):
        inner, weights = parts_of(law.law)
        return [dataclasses.replace(law, law=part) for part in inner], weights
    if isinstance(law, Mixture):
        return list(law.laws), weights_of(law.weights, len(law.laws))
    if isinstance(law, Gaussians):
        std = law.std if isinstance(law.std, tuple) else (law.std,) * len(law.means)
        parts: list[Law] = [Gaussians([mean], s) for mean, s in zip(law.means, std, strict=True)]
        return parts, weights_of(law.weights, len(parts))
    return [law], torch.ones(1)


def weights_of(weights: Sequence[float] | None, count: int) -> Float[Tensor, " c"]:
    return torch.full((count,), 1 / count) if weights is None else torch.tensor(weights)
