"""The real distribution of a configuration: a law of the catalogue, points of a file, or a law of the user's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.errors import FileError
from theory.common.parts import is_own, label, load, part_of, read, tried
from theory.common.seeds import generator, usual_state
from theory.manifolds import Embedded, Law, Points, make, placed
from toy.config import Config

LEAST = ("sample", "log_density", "project")  # what nothing else replaces
TRAINING_SET = 102  # stream of the random numbers that draw it
NSR, DRAWS, AGREE = 0.1, 64, 1e-3  # of the check of a law: its level, its points, and how far two formulas may differ


def law_of(config: Config) -> Law:
    """The law in R^dim, thickened, as `theory.manifolds.make` does it.

    Raises:
        FileError: an own law cannot be used; the message names it and says why. ValueError: dim is below its own.
    """
    if not is_own(config.manifold):
        return make(config.manifold, dim=config.dim, thickness=config.thickness)
    return placed(own_law(config.manifold), label(config.manifold), config.dim, config.thickness)


def training_law(config: Config) -> Law:
    """What is trained on: the law itself or, if training_samples are given, point masses at so many draws from it, the
    same for all seeds.

    A distribution that is embedded is drawn from before it is, which leaves a score fewer coordinates to sum over.

    Raises:
        FileError, ValueError: as `law_of`.
    """
    if config.training_samples is None:
        return law_of(config)
    flat = config if config.thickness else dataclasses.replace(config, dim=None)
    return placed(sampled(law_of(flat), config.training_samples), label(config.manifold), config.dim)


def training_set(config: Config) -> Float[Tensor, "k d"]:
    """The points of `training_law`, float64; training_samples must be given."""
    law = training_law(config)
    points = law.law if isinstance(law, Embedded) else law
    assert isinstance(points, Points), config.training_samples
    means = torch.tensor(points.means, dtype=torch.float64)
    return means @ torch.tensor(law.isometry, dtype=torch.float64).T if isinstance(law, Embedded) else means


@lru_cache(maxsize=16)
@usual_state()
def sampled(law: Law, n: int) -> Points:
    """The point masses at n draws of the law, the same in every process."""
    return Points(law.sample(n, generator(0, TRAINING_SET), torch.float64).tolist())


@lru_cache(maxsize=16)
@usual_state()
def own_law(value: str) -> Law:
    """The law that FILE.csv, FILE.npy (see `Points.read`) or FILE.py:NAME means, looked at with a few draws.

    NAME is a law, or a class or function that returns one without arguments. A law is a `theory.manifolds.Law`, or any
    object with sample(n, generator) -> [n, d], log_density(y, alpha, sigma) -> [...] and project(x) -> [..., d]; see
    `OwnLaw` for what follows from these.

    Raises:
        FileError: as `law_of`.
    """
    part = part_of(value)
    assert part is not None, value
    if part.kind != "py":
        read(part)
        law: Law = Points.read(part.path)
    else:
        given = load(value)
        if isinstance(given, type) or not hasattr(given, "sample"):
            if not callable(given):
                raise FileError(f"{part} is no law, nor does it return one: it has no method sample")
            given = tried(part, "returns no law", given)
        for method in LEAST:
            if not callable(getattr(given, method, None)):
                raise FileError(f"{part} lacks {method}, which does not follow from what it has")
        law = given if isinstance(given, Law) and hashable(given) else OwnLaw(value, given)
    tried(part, "is no law", check, law, str(part))
    return law


@dataclass(frozen=True)
class OwnLaw(Law):
    """An object of the user's as a law. What it lacks follows from what it has:

        dim        from the shape of a sample
        score      (x0hat(y) - y) / nsr^2 (Tweedie's formula); without denoise, the gradient of log_density by autograd
        denoise    y + nsr^2 score(y)
        distance   ||x - project(x)||

    All its methods are asked at alpha = 1, with alpha and sigma tensors [...], one a point.

    Args:
        part: what decides the law: the file with its digest, and the name. Laws of equal parts are equal.
        given: the object.
    """

    part: str
    given: Any = field(repr=False, compare=False)
    dim: int = field(init=False, repr=False, compare=False)
    intrinsic_dim: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        drawn = tried(self.name, "cannot be sampled", self.given.sample, 2, torch.Generator().manual_seed(0))
        if not isinstance(drawn, Tensor) or drawn.ndim != 2 or not drawn.is_floating_point():
            raise FileError(f"{self.name}: sample(n, generator) must return points [n, d]; given {described(drawn)}")
        dim = getattr(self.given, "dim", drawn.shape[1])
        vars(self).update(dim=dim, intrinsic_dim=getattr(self.given, "intrinsic_dim", None))

    @property
    def name(self) -> str:
        return str(part_of(self.part))

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """The object's own draws, [n, d]."""
        return self._shaped("sample", self.given.sample(n, generator), (n, self.dim)).to(device, dtype)

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return self._shaped("log_density", self.given.log_density(y, torch.ones_like(nsr), nsr), nsr.shape).to(y)

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        if not hasattr(self.given, "denoise"):
            return y + nsr.square()[..., None] * self._score(y, nsr)
        return self._shaped("denoise", self.given.denoise(y, torch.ones_like(nsr), nsr), y.shape).to(y)

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        if hasattr(self.given, "score"):
            return self._shaped("score", self.given.score(y, torch.ones_like(nsr), nsr), y.shape).to(y)
        return super()._score(y, nsr) if hasattr(self.given, "denoise") else gradient(self, y, nsr)

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The object's own nearest points, [..., d]."""
        return self._shaped("project", self.given.project(x), x.shape).to(x)

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The object's own distances; without any, those to its nearest points, [...]."""
        if not hasattr(self.given, "distance"):
            return super().distance(x)
        return self._shaped("distance", self.given.distance(x), x.shape[:-1]).to(x)

    def _shaped(self, method: str, found: Any, shape: tuple[int, ...]) -> Tensor:
        if not isinstance(found, Tensor) or found.shape != shape:
            raise FileError(f"{self.name}: {method} must return a tensor {list(shape)}; given {described(found)}")
        return found


def gradient(law: Law, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
    """grad log p_t(y) at alpha = 1 by autograd, differentiable where y is."""
    again = torch.is_grad_enabled() and y.requires_grad
    with torch.enable_grad():
        at = y if again else y.detach().requires_grad_()
        return torch.autograd.grad(law._log_density(at, nsr).sum(), at, create_graph=again)[0]


def hashable(value: Any) -> bool:
    """Whether metrics can keep what they compute of a law: one that is not stands in an `OwnLaw`."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def check(law: Law, name: str) -> None:
    """FileError where shapes, types, finiteness, the generator or the law's formulas are not as they must be."""
    must(law.dim >= 2, f"{name} lies in R^{law.dim}: the toy needs points of two coordinates or more")
    for dtype in (torch.float32, torch.float64):
        first, second = (law.sample(DRAWS, torch.Generator().manual_seed(0), dtype) for _ in range(2))
        must(first.shape == (DRAWS, law.dim), f"{name}: sample must return [n, {law.dim}]; given {described(first)}")
        must(bool(first.isfinite().all()), f"{name}: sample returns NaN or infinite points")
        must(torch.equal(first, second), f"{name}: sample must draw from the generator that it is given")
        noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        y = (first + NSR * noise).view(2, -1, law.dim).requires_grad_()
        nsr = torch.full(y.shape[:-1], NSR, dtype=dtype)
        found = {method: getattr(law, method)(y, 1.0, nsr) for method in ("log_density", "denoise", "score")}
        found |= {"project": law.project(y), "distance": law.distance(y)}
        for method, value in found.items():
            shape = y.shape[:-1] if method in ("log_density", "distance") else y.shape
            given = described(value)
            must(value.shape == shape, f"{name}: {method} must return {list(shape)}; given {given}")
            must(value.dtype == dtype, f"{name}: {method} must keep y's type, {dtype}; given {given}")
            must(bool(value.isfinite().all()), f"{name}: {method} returns NaN or infinity near its samples")
        must(found["denoise"].requires_grad, f"{name}: denoise must be differentiable in y, by torch's operations")
    score = found["score"].detach()  # in float64
    agrees(gradient(law, y.detach(), nsr), score, f"{name}: score is not the gradient of log_density")
    tweedie = (found["denoise"].detach() - y.detach()) / NSR**2
    agrees(tweedie, score, f"{name}: score is not (denoise - y) / sigma^2, which Tweedie's formula says it is")


def agrees(found: Tensor, wanted: Tensor, says: str) -> None:
    off = float((found - wanted).norm() / wanted.norm())
    must(off < AGREE, f"{says}; they differ by {off:.2g} of its length at sigma {NSR}")


def must(holds: bool, says: str) -> None:
    if not holds:
        raise FileError(says)


def described(value: Any) -> str:
    """A tensor's type and shape, or the type of what is none."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
