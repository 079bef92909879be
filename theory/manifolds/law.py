"""What every law is: a distribution whose noised density, posterior mean and score are known exactly.

Notation: X ~ P on R^d; Y = alpha X + sigma eps with eps ~ N(0, I); p_t is the density of Y; nsr = sigma / alpha.
A family writes its formulas at alpha = 1, where sigma is nsr, in `_log_density` and `_denoise` (and, where that saves
work or digits, in `_posterior`, `_anchored` and `_score`); this file alone knows alpha. For Y = alpha (X + nsr eps):

    log p_t(y; alpha, sigma) = log p_t(y / alpha; 1, nsr) - d log alpha
    x0hat(y; alpha, sigma)   = x0hat(y / alpha; 1, nsr)
    score(y; alpha, sigma)   = score(y / alpha; 1, nsr) / alpha
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.levels import Scalars
from theory.manifolds.posterior import Anchored

BLOCK = {"cpu": 2**11, "cuda": 2**18}  # points at a time: the nodes of a quadrature stay in the cache, memory bounded
WIDE = 64  # coordinates; of more there are as many points fewer
BOUND = {torch.float32: 1e18, torch.float64: 1e75}  # up to which all is finite, see `Law`
PROJECTED = 8  # so many times BLOCK are projected at a time


def block_of(x: Tensor) -> int:
    """Points [..., d] that are computed at a time: what is beside them in memory does not grow with their number."""
    return max(1, BLOCK.get(x.device.type, BLOCK["cuda"]) * WIDE // max(WIDE, x.shape[-1]))


def some_at_a_time(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """A method of x [..., d], each point by itself, that takes PROJECTED blocks of them at a time."""

    @functools.wraps(method)
    def call(self: Any, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim < 2 or x.shape[-1] < 1:
            return method(self, x)  # which says what is wrong
        size = PROJECTED * block_of(x)
        if x.numel() <= size * x.shape[-1]:
            return method(self, x)
        flat = torch.cat([method(self, block) for block in x.reshape(-1, x.shape[-1]).split(size)])
        return flat.reshape(*x.shape[:-1], *flat.shape[1:])

    return call


class Law(ABC):
    """A probability law P on R^d with exact noised quantities.

    Attributes:
        dim: d, the dimension of the space.
        intrinsic_dim: k, the dimension of the support; None where its parts differ.
        reach: the largest r such that every point nearer than r to M (see `project`) has one nearest point of M: inf
            for convex M, 0 where M has a corner, None where nobody has worked it out.

    `alpha` and `sigma` are positive numbers or tensors that broadcast against the leading axes of `y` (and may enlarge
    them). Every method keeps y's dtype (float32 or float64) and device, differentiates twice, and returns finite values
    for finite input, with two exceptions:

    - `distance` has a kink on M. Its first and second derivatives are given as 0 where x - Proj(x) is exactly 0, and
      the second grow like 1 / dist beside it.
    - With r = |y| / alpha + max |x|, the numbers r, nsr and r / nsr must lie below B, and nsr above 1 / B, where B is
      1e18 in float32 and 1e75 in float64 (`BOUND`). log p_t is -dist^2 / 2 nsr^2 and smaller terms: a number of the
      dtype while dist / nsr is below the root of the largest one, 1.8e19 and 1.3e154. The formulas square nothing but
      r, nsr and r / nsr, and B^2 = 1e36 is below the largest float32, 3.4e38. Spheres and arcs, which compute float32
      in float64, also form (r / nsr)^4, and B^4 = 1e300 is below the largest float64, 1.8e308. A score, up to
      r / (nsr sigma), must be a number itself; second derivatives need r / nsr^2 below B as well. Beyond, values may be
      infinite or NaN: float32, a y of length 1, alpha = sigma = 1e-30.
    """

    dim: int
    intrinsic_dim: int | None
    reach: float | None = None

    @abstractmethod
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """n independent draws of X, [n, d]."""

    @abstractmethod
    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """log p_t(y) at alpha = 1, sigma = nsr; nsr already has y's leading shape."""

    @abstractmethod
    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """E[X | X + nsr eps = y]; nsr already has y's leading shape."""

    def _posterior(
        self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n d"]]:
        """(log p_t(y), x0hat(y)) at alpha = 1; see `JointLaw` for laws that get both from one computation."""
        return self._log_density(y, nsr), self._denoise(y, nsr)

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        """The posterior with its density in two parts; here `rest` cancels, and is as exact as log p_t(y) alone."""
        log_density, mean = self._posterior(y, nsr)
        with torch.no_grad():
            anchor, variance = self.project(y), nsr.square()
            rest = log_density + (y - anchor).square().sum(-1) / (2 * variance)
        return Anchored(log_density, mean, anchor, variance, rest)

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """grad log p_t(y) at alpha = 1; for laws in which Tweedie's x0hat - y would cancel."""
        return (self._denoise(y, nsr) - y) / nsr.square()[..., None]

    @abstractmethod
    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Proj(x): a nearest point of M, [..., d].

        M is the support; for a law made by adding Gaussian noise (Thickened, Gaussians with std > 0), whose support
        is all of R^d, M is the core that was thickened.
        """

    @some_at_a_time
    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """dist(x, M) = ||x - Proj(x)||, [...]. On M its derivatives are 0 (see the class)."""
        check_points(x, self.dim, "x")
        return length(x - self.project(x))

    def __init_subclass__(cls, **options: object) -> None:
        """What a family writes for `project` and `distance` is asked for some points at a time."""
        super().__init_subclass__(**options)
        for name in {"project", "distance"} & set(vars(cls)):
            setattr(cls, name, some_at_a_time(vars(cls)[name]))

    def log_density(self, y: Float[Tensor, "*#n d"], alpha: Scalars, sigma: Scalars) -> Float[Tensor, "*n"]:
        """log p_t(y), normalised: the law of alpha X + sigma eps.   [..., d] -> [...]

        Raises:
            TypeError: y is no float32 or float64 tensor. ValueError: its last axis is not d, a level is not in
                (0, inf), or there is no point or no level.
        """
        u, alpha, nsr = at_unit_alpha(self.dim, y, alpha, sigma)
        return _in_blocks(self._log_density, u, nsr) - self.dim * torch.log(alpha)

    def denoise(self, y: Float[Tensor, "*#n d"], alpha: Scalars, sigma: Scalars) -> Float[Tensor, "*n d"]:
        """x0hat(y) = E[X | alpha X + sigma eps = y], the posterior mean.   [..., d] -> [..., d]

        Raises:
            as `log_density`.
        """
        u, _, nsr = at_unit_alpha(self.dim, y, alpha, sigma)
        return _in_blocks(self._denoise, u, nsr)

    def score(self, y: Float[Tensor, "*#n d"], alpha: Scalars, sigma: Scalars) -> Float[Tensor, "*n d"]:
        """grad log p_t(y) = (alpha x0hat(y) - y) / sigma^2 (Tweedie's formula).   [..., d] -> [..., d]

        Raises:
            as `log_density`.
        """
        u, alpha, nsr = at_unit_alpha(self.dim, y, alpha, sigma)
        return _in_blocks(self._score, u, nsr) / alpha[..., None]


class JointLaw(Law):
    """A law whose family writes `_anchored`, one computation that gives density and mean."""

    @abstractmethod
    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        """The posterior at alpha = 1 with its density in two parts, neither of which cancels."""

    def _posterior(
        self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n d"]]:
        return self._anchored(y, nsr)[:2]

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return self._posterior(y, nsr)[0]

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return self._posterior(y, nsr)[1]


def _in_blocks(f: Callable[[Tensor, Tensor], Tensor], y: Tensor, nsr: Tensor) -> Tensor:
    """f(y, nsr), computed some points at a time."""
    size = block_of(y)
    if nsr.numel() <= size:
        return f(y, nsr)
    blocks = zip(y.reshape(-1, y.shape[-1]).split(size), nsr.reshape(-1).split(size), strict=True)
    flat = torch.cat([f(*block) for block in blocks])
    return flat.reshape(*nsr.shape, *flat.shape[1:])


def at_unit_alpha(
    dim: int, y: Tensor, alpha: Scalars, sigma: Scalars
) -> tuple[Float[Tensor, "*n d"], Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """(y / alpha, alpha, sigma / alpha), the levels broadcast against the leading axes of y.

    Raises:
        TypeError: y is no float32 or float64 tensor.
        ValueError: y's last axis is not `dim`; a level is not in (0, inf) or does not broadcast; y or a level is empty.
    """
    check_points(y, dim, "y")
    alpha, sigma = as_level(alpha, "alpha", y), as_level(sigma, "sigma", y)
    shape = shape_with(y, "y", alpha, sigma)
    alpha, sigma = alpha.expand(shape), sigma.expand(shape)
    return (y / alpha[..., None]).expand(*shape, dim), alpha, sigma / alpha


def shape_with(x: Tensor, name: str, alpha: Tensor, sigma: Tensor) -> tuple[int, ...]:
    """The shape that the leading axes of x and the levels broadcast to; ValueError if they do not."""
    try:
        return np.broadcast_shapes(x.shape[:-1], alpha.shape, sigma.shape)  # torch's own imports sympy: a second
    except ValueError:
        raise ValueError(
            f"alpha {tuple(alpha.shape)} and sigma {tuple(sigma.shape)} must broadcast against "
            f"the leading axes of {name}, {tuple(x.shape[:-1])}"
        ) from None


def as_level(value: Scalars, name: str, like: Tensor) -> Tensor:
    """The level as a tensor of like's dtype and device; ValueError if there is none or one is not in (0, inf)."""
    level = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if level.numel() == 0:
        raise ValueError(f"{name} must hold at least one level; given shape {tuple(level.shape)}")
    if not bool(((level > 0) & torch.isfinite(level)).all()):
        given = value if not isinstance(value, Tensor) else f"values in [{value.min()}, {value.max()}]"
        raise ValueError(f"{name} must lie in (0, inf); given {given}")
    return level


def length(v: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """||v||, with first and second derivatives 0 at v = 0, where the norm has none.   [..., d] -> [...]"""
    zero = (v == 0).all(-1)
    found = torch.linalg.vector_norm(torch.where(zero[..., None], torch.ones_like(v), v), dim=-1)
    return torch.where(zero, torch.zeros_like(found), found)


def check_points(x: Tensor, dim: int, name: str) -> None:
    """TypeError unless x is a float32 or float64 tensor, ValueError unless it holds points of `dim` coordinates."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        given = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a float32 or float64 tensor [..., {dim}]; given {given}")
    if x.ndim == 0 or x.shape[-1] != dim:
        raise ValueError(f"{name} must have {dim} as its last axis; given shape {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name} must hold at least one point; given shape {tuple(x.shape)}")
