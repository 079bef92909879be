"""The Gaussian law on an affine subspace: a linear manifold of any dimension, every formula in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, log, pi

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds.box import as_point
from theory.manifolds.gaussians import as_matrix
from theory.manifolds.law import Law, check_points


@dataclass(frozen=True)
class AffineGaussian(Law):
    """The law of b + A z, z ~ N(0, I_k), A of full rank: N(b, A A^T), on the subspace b + range A of R^d.

    With A = U diag(S) V^T, z = U^T (y - b), n = y - b - U z and v_i = S_i^2 + nsr^2, at alpha = 1:

        log p_t(y) = -sum_i [z_i^2 / v_i + log(2 pi v_i)] / 2 - [||n||^2 / nsr^2 + (d - k) log(2 pi nsr^2)] / 2
        x0hat(y)   = b + U (z S^2 / v),   score(y) = -U (z / v) - n / nsr^2

    M is the whole subspace.

    Args:
        mean: b, d numbers.
        axes: the columns of A, k vectors of R^d, 1 <= k <= d; the law's standard deviations are its singular values.

    Raises:
        ValueError: mean or axes hold no finite numbers, differ in length, or the axes are linearly dependent.
    """

    mean: Sequence[float]
    axes: Sequence[Sequence[float]]
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int = field(init=False, repr=False)
    reach: float = field(init=False, repr=False, default=inf)
    _mean: Float[Tensor, " d"] = field(init=False, repr=False, compare=False)
    _factor: Float[Tensor, "d k"] = field(init=False, repr=False, compare=False)  # A
    _basis: Float[Tensor, "d k"] = field(init=False, repr=False, compare=False)  # U
    _variance: Float[Tensor, " k"] = field(init=False, repr=False, compare=False)  # S^2

    def __post_init__(self) -> None:
        mean, axes = as_point(self.mean, "mean"), as_matrix(self.axes, "axes")
        count, dim = axes.shape
        if len(mean) != dim:
            raise ValueError(f"mean must have {dim} numbers, as each of the axes; given {len(mean)}")
        basis, std, _ = torch.linalg.svd(axes.T, full_matrices=False)
        if count > dim or float(std.min()) <= 1e-12 * float(std.max()):
            raise ValueError(f"axes must be linearly independent; given {self.axes}")
        vars(self).update(
            mean=mean,
            axes=tuple(map(tuple, axes.tolist())),
            dim=dim,
            intrinsic_dim=count,
            _mean=torch.tensor(mean, dtype=torch.float64),
            _factor=axes.T.contiguous(),
            _basis=basis,
            _variance=std.square(),
        )

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        z = torch.randn(n, self.intrinsic_dim, generator=generator, dtype=dtype, device=device)
        return self._mean.to(z) + z @ self._factor.to(z).T

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        z, normal, v = self._split(y, nsr)
        along = (z.square() / v + torch.log(v)).sum(-1)
        across = (normal / nsr[..., None]).square().sum(-1) + 2 * (self.dim - self.intrinsic_dim) * torch.log(nsr)
        return -(along + across + self.dim * log(2 * pi)) / 2

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        z, _, v = self._split(y, nsr)
        return self._mean.to(y) + (z * (self._variance.to(y) / v)) @ self._basis.to(y).T

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Not by Tweedie's x0hat - y, which would cancel along the subspace for nsr far below S."""
        z, normal, v = self._split(y, nsr)
        return -(z / v) @ self._basis.to(y).T - normal / nsr.square()[..., None]

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """b + U U^T (x - b)."""
        check_points(x, self.dim, "x")
        basis, mean = self._basis.to(x), self._mean.to(x)
        return mean + (x - mean) @ basis @ basis.T

    def _split(self, y: Tensor, nsr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(z, n, v); n is formed as a vector, and is 0 where the subspace is the whole space."""
        basis, offset = self._basis.to(y), y - self._mean.to(y)
        z = offset @ basis
        normal = offset - z @ basis.T if self.intrinsic_dim < self.dim else torch.zeros_like(offset)
        return z, normal, self._variance.to(y) + nsr.square()[..., None]
