"""The types of what training is given: networks, data, score models, augmentations; those of a user too."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor, nn

from theory.regularity import EpsModel

Labels: TypeAlias = Int[Tensor, " b"]
Images: TypeAlias = Float[Tensor, "b c h w"]
"""Pixels from -1 to 1."""
Logits: TypeAlias = Float[Tensor, " b"]
Pair: TypeAlias = tuple[nn.Module, nn.Module]
"""G(z, labels) -> images [b, c, h, w], and D(images, labels) -> logits [b]; labels are None if unconditional."""


class Data(Protocol):
    """Real images by index: `take(which)` is (images, labels), `labels(which)` the latter; None if unconditional."""

    def __len__(self) -> int: ...
    def labels(self, which: Int[Tensor, " b"]) -> Labels | None: ...
    def take(self, which: Int[Tensor, " b"]) -> tuple[Images, Labels | None]: ...


class Scores(Protocol):
    """A score model: `of(labels)` is eps_theta(x_t, level) for these classes."""

    def of(self, labels: Labels | None = None) -> EpsModel: ...


class Augment(Protocol):
    """(images, u, p) -> images, differentiable: each change has probability p, by the uniform u [b, numbers]."""

    @property
    def numbers(self) -> int: ...
    def __call__(self, images: Images, u: Float[Tensor, "b numbers"], p: float) -> Images: ...
