"""Laws made from laws: mixture, product, isometric embedding, thickening, scaling; each as exact as its parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.common import checks
from theory.manifolds.gaussians import as_matrix, as_weights, draw_components
from theory.manifolds.law import JointLaw, Law, check_points, length
from theory.manifolds.posterior import Anchored, differences, pick


@dataclass(frozen=True)
class Mixture(JointLaw):
    """sum_k w_k P_k, of laws of one space; their supports may differ in dimension.

        log p_t(y) = logsumexp_k [log w_k + log p_{k,t}(y)]
        x0hat(y)   = sum_k r_k x0hat_k(y),   r_k proportional to w_k p_{k,t}(y)

    The shares r_k are exact to a change of y and of the parts by a few units in the last place (see `differences`). No
    more than that can be had: at distance 1e3 and nsr 1e-3 such a change moves the log of r_1 / r_2 by 1e-7 times the
    distance of the parts' nearest points. Where only log densities can be subtracted, which round at 1e-4 there, it is
    less: for parts that are AffineGaussian, or products whose factors are thickened unequally.

    Args:
        laws: P_k.
        weights: w_k; equal when None.
        reach: that of the union of the parts, where it is known; it does not follow from those of the parts.

    Raises:
        ValueError: no laws, laws of different dim, weights that are not positive, not one a law or do not sum to one,
            reach not in [0, inf].
    """

    laws: Sequence[Law]
    weights: Sequence[float] | None = None
    reach: float | None = None
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int | None = field(init=False, repr=False)
    _weights: Float[Tensor, " K"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.laws, Sequence) or not all(isinstance(law, Law) for law in self.laws):
            raise ValueError(f"laws must be a sequence of laws; given {self.laws!r}")
        dims = {law.dim for law in self.laws}
        if len(dims) != 1:
            raise ValueError(f"laws must be at least one, and all of one dim; given dims {[p.dim for p in self.laws]}")
        if self.reach is not None and not self.reach >= 0:
            raise ValueError(f"reach must lie in [0, inf], or be None; given {self.reach}")
        inner_dims = {law.intrinsic_dim for law in self.laws}
        weights = as_weights(self.weights, len(self.laws))
        vars(self).update(
            laws=tuple(self.laws),
            weights=None if self.weights is None else tuple(weights.tolist()),
            dim=dims.pop(),
            intrinsic_dim=inner_dims.pop() if len(inner_dims) == 1 else None,
            _weights=weights,
        )

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """A draw of P_k with k ~ w, [n, d]."""
        k = draw_components(self._weights, n, generator, device)
        x = torch.empty(n, self.dim, dtype=dtype, device=device)
        for index, law in enumerate(self.laws):
            x[k == index] = law.sample(int((k == index).sum()), generator, dtype, device)
        return x

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        terms, gaps, r = self._compared(y, nsr)
        total = gaps.logsumexp(-1)
        return Anchored(
            log_density=pick(terms.log_density, r) + total,
            mean=_average(gaps, terms.mean),
            anchor=pick(terms.anchor, r),
            variance=pick(terms.variance, r),
            rest=pick(terms.rest, r) + total.detach(),
        )

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """sum_k r_k grad log p_{k,t}(y)."""
        gaps = self._compared(y, nsr)[1]
        return _average(gaps, torch.stack([law._score(y, nsr) for law in self.laws], -2))

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The nearest of the parts' nearest points, [..., d]."""
        check_points(x, self.dim, "x")
        nearest = self._distances(x).argmin(-1)  # [...]
        points = torch.stack([law.project(x) for law in self.laws], -1)  # [..., d, K]
        return points.take_along_dim(nearest[..., None, None], -1).squeeze(-1)

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The least of the distances to the parts, [...]."""
        return self._distances(x).amin(-1)

    def _compared(self, y: Tensor, nsr: Tensor) -> tuple[Anchored, Tensor, Tensor]:
        """(w_k P_k in its parts, [..., K]; the logs of r_k / r_r, [..., K]; r, the likeliest, [...])."""
        parts = [law._anchored(y, nsr) for law in self.laws]
        log_p, mean, anchor, variance, rest = (torch.stack(column, y.ndim - 1) for column in zip(*parts, strict=True))
        log_weights = self._weights.log().to(y)
        terms = Anchored(log_p + log_weights, mean, anchor, variance, rest + log_weights)
        r, gaps = differences(y, terms.log_density, terms.anchor, terms.variance, terms.rest)
        return terms, gaps, r

    def _distances(self, x: Tensor) -> Tensor:
        return torch.stack([law.distance(x) for law in self.laws], -1)  # [..., K]


def _average(log_terms: Tensor, vectors: Tensor) -> Tensor:
    """sum_k r_k v_k, r the softmax of the log terms.   [..., K], [..., K, d] -> [..., d]"""
    return (log_terms.softmax(-1)[..., None] * vectors).sum(-2)


@dataclass(frozen=True)
class Product(Law):
    """P_1 x ... x P_m: independent coordinates, in the order of the laws.

        log p_t(y) = sum_i log p_{i,t}(y_i),   x0hat(y) = (x0hat_1(y_1), ..., x0hat_m(y_m))

    Raises:
        ValueError: no laws.
    """

    laws: tuple[Law, ...]

    def __init__(self, *laws: Law) -> None:
        if not laws:
            raise ValueError("laws must be at least one; given none")
        inner_dims = [law.intrinsic_dim for law in laws if law.intrinsic_dim is not None]
        reaches = [law.reach for law in laws if law.reach is not None]
        vars(self).update(
            laws=laws,
            dim=sum(law.dim for law in laws),
            intrinsic_dim=sum(inner_dims) if len(inner_dims) == len(laws) else None,
            reach=min(reaches) if len(reaches) == len(laws) else None,
        )

    def __repr__(self) -> str:
        return f"Product({', '.join(map(repr, self.laws))})"

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """The parts' draws side by side, [n, d]."""
        return torch.cat([law.sample(n, generator, dtype, device) for law in self.laws], -1)

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return torch.stack([law._log_density(part, nsr) for law, part in self._parts(y)]).sum(0)

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return torch.cat([law._denoise(part, nsr) for law, part in self._parts(y)], -1)

    def _posterior(
        self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n d"]]:
        log_densities, means = zip(*[law._posterior(part, nsr) for law, part in self._parts(y)], strict=True)
        return torch.stack(log_densities).sum(0), torch.cat(means, -1)

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        coordinates = [part for _, part in self._parts(y)]
        factors = [law._anchored(part, nsr) for law, part in self._parts(y)]
        variance = factors[0].variance
        rests = [
            factor.rest - (part - factor.anchor).square().sum(-1) / 2 * _excess(variance, factor.variance)
            for factor, part in zip(factors, coordinates, strict=True)
        ]
        return Anchored(
            log_density=torch.stack([factor.log_density for factor in factors]).sum(0),
            mean=torch.cat([factor.mean for factor in factors], -1),
            anchor=torch.cat([factor.anchor for factor in factors], -1),
            variance=variance,
            rest=torch.stack(rests).sum(0),
        )

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return torch.cat([law._score(part, nsr) for law, part in self._parts(y)], -1)

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The parts' nearest points side by side, [..., d]."""
        check_points(x, self.dim, "x")
        return torch.cat([law.project(part) for law, part in self._parts(x)], -1)

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The root of the sum of the parts' squared distances, [...]."""
        check_points(x, self.dim, "x")
        return length(torch.stack([law.distance(part) for law, part in self._parts(x)], -1))

    def _parts(self, x: Tensor) -> Iterator[tuple[Law, Tensor]]:
        """Each law with its own coordinates of x."""
        return zip(self.laws, x.split([law.dim for law in self.laws], -1), strict=True)


@dataclass(frozen=True)
class Embedded(Law):
    """The law of B X + b in R^D, X ~ P on R^d. With z = B^T (y - b) and n = y - b - B z, at alpha = 1:

        log p_t(y) = log p_{P,t}(z) - (D - d)/2 log(2 pi nsr^2) - ||n||^2 / (2 nsr^2)
        x0hat(y)   = B x0hat_P(z) + b

    Args:
        law: P.
        isometry: B, [D, d], its columns orthonormal to 1e-12.
        offset: b, D numbers; zero when None.

    Raises:
        ValueError: B is no isometry from R^d, or b is not D finite numbers.
    """

    law: Law
    isometry: Sequence[Sequence[float]] | Float[Tensor, "dim k"]
    offset: Sequence[float] | None = None
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int | None = field(init=False, repr=False)
    reach: float | None = field(init=False, repr=False)
    _basis: Float[Tensor, "D d"] = field(init=False, repr=False, compare=False)
    _offset: Float[Tensor, " D"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        basis = as_matrix(self.isometry, "isometry")
        dim, columns = basis.shape
        if columns != self.law.dim:
            raise ValueError(f"isometry must have {self.law.dim} columns, the law's dim; given shape {(dim, columns)}")
        error = float((basis.T @ basis - torch.eye(columns, dtype=torch.float64)).abs().max())
        if error > 1e-12:
            raise ValueError(f"isometry must have orthonormal columns; given B with max |B^T B - I| = {error:.2g}")
        offset = torch.as_tensor([0.0] * dim if self.offset is None else self.offset, dtype=torch.float64)
        if offset.shape != (dim,) or not bool(offset.isfinite().all()):
            raise ValueError(f"offset must be {dim} finite numbers; given {self.offset}")
        vars(self).update(
            isometry=tuple(map(tuple, basis.tolist())),
            offset=None if self.offset is None else tuple(offset.tolist()),
            dim=dim,
            intrinsic_dim=self.law.intrinsic_dim,
            reach=self.law.reach,
            _basis=basis,
            _offset=offset,
        )

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n D"]:
        """B X + b, [n, D]."""
        return self._embed(self.law.sample(n, generator, dtype, device))

    def _log_density(self, y: Float[Tensor, "*n D"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        z, normal = self._split(y)
        return self.law._log_density(z, nsr) + self._log_normal(normal, nsr)

    def _denoise(self, y: Float[Tensor, "*n D"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
        return self._embed(self.law._denoise(self._split(y)[0], nsr))

    def _posterior(
        self, y: Float[Tensor, "*n D"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n D"]]:
        z, normal = self._split(y)
        log_density, mean = self.law._posterior(z, nsr)
        return log_density + self._log_normal(normal, nsr), self._embed(mean)

    def _anchored(self, y: Float[Tensor, "*n D"], nsr: Float[Tensor, "*n"]) -> Anchored:
        z, normal = self._split(y)
        log_density, mean, anchor, variance, rest = self.law._anchored(z, nsr)
        rest = rest + self._log_normal(torch.zeros_like(normal), nsr)
        return Anchored(
            log_density=log_density + self._log_normal(normal, nsr),
            mean=self._embed(mean),
            anchor=self._embed(anchor),
            variance=variance,
            rest=rest - normal.square().sum(-1) / 2 * _excess(variance, nsr.square()),
        )

    def _score(self, y: Float[Tensor, "*n D"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
        """B score_P(z) - n / nsr^2."""
        z, normal = self._split(y)
        return self.law._score(z, nsr) @ self._basis.to(y).T - normal / nsr.square()[..., None]

    def project(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
        """B Proj_P(B^T (x - b)) + b, [..., D]."""
        check_points(x, self.dim, "x")
        return self._embed(self.law.project(self._split(x)[0]))

    def distance(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n"]:
        """The root of dist(z, M_P)^2 + ||n||^2, [...]."""
        check_points(x, self.dim, "x")
        z, normal = self._split(x)
        return length(torch.cat([self.law.distance(z)[..., None], normal], -1))

    def _log_normal(self, normal: Tensor, nsr: Tensor) -> Tensor:
        """The log density of the noise orthogonal to the subspace, [...]."""
        constant = -(self.dim - self.law.dim) * (nsr.log() + math.log(2 * math.pi) / 2)
        return constant - (normal / nsr[..., None]).square().sum(-1) / 2

    def _embed(self, z: Tensor) -> Tensor:
        return z @ self._basis.to(z).T + self._offset.to(z)

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z, n): the coordinates in the subspace, [..., d], and the part orthogonal to it, [..., D].

        n is formed as a vector; ||y - b||^2 - ||z||^2 would cancel near the subspace.
        """
        basis = self._basis.to(y)
        shifted = y - self._offset.to(y)
        z = shifted @ basis
        if self.dim == self.law.dim:  # a rotation leaves no normal part, and its rounding would count as one
            return z, torch.zeros_like(shifted)
        return z, shifted - z @ basis.T


@dataclass(frozen=True)
class Thickened(Law):
    """The law of X + tau eps', X ~ P, eps' ~ N(0, I): more noise, and the posterior mean mapped back.

    With s'^2 = nsr^2 + tau^2, at alpha = 1:

        log p_t(y) = log p_P(y; s')
        x0hat(y)   = (tau^2 y + nsr^2 x0hat_P(y; s')) / s'^2

    The support is R^d; M is P's.

    Raises:
        ValueError: tau is not in (0, inf).
    """

    law: Law
    tau: float
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int | None = field(init=False, repr=False)
    reach: float | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tau = checks.positive("tau", self.tau)
        vars(self).update(tau=tau, dim=self.law.dim, intrinsic_dim=self.law.dim, reach=self.law.reach)

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """X + tau eps', [n, d]."""
        x = self.law.sample(n, generator, dtype, device)
        return x + self.tau * torch.randn(n, self.dim, generator=generator, dtype=dtype, device=device)

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return self.law._log_density(y, self._widen(nsr))

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return self._map_back(y, nsr, self.law._denoise(y, self._widen(nsr)))

    def _posterior(
        self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n d"]]:
        log_density, mean = self.law._posterior(y, self._widen(nsr))
        return log_density, self._map_back(y, nsr, mean)

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        part = self.law._anchored(y, self._widen(nsr))
        return part._replace(mean=self._map_back(y, nsr, part.mean))

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """P's score at the noise s': exact for nsr far below tau, where Tweedie's x0hat - y would cancel."""
        return self.law._score(y, self._widen(nsr))

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """P's nearest point, [..., d]."""
        return self.law.project(x)

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The distance to P's M, [...]."""
        return self.law.distance(x)

    def _map_back(self, y: Tensor, nsr: Tensor, mean: Tensor) -> Tensor:
        total = self._widen(nsr)
        return (self.tau / total).square()[..., None] * y + (nsr / total).square()[..., None] * mean

    def _widen(self, nsr: Tensor) -> Tensor:
        return torch.hypot(nsr, nsr.new_tensor(self.tau))  # s'


@dataclass(frozen=True)
class Scaled(Law):
    """The law of c X, X ~ P. At alpha = 1:

        log p_t(y) = log p_P(y / c; nsr / c) - d log c,   x0hat(y) = c x0hat_P(y / c; nsr / c)

    Raises:
        ValueError: c is not in (0, inf).
    """

    law: Law
    factor: float
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int | None = field(init=False, repr=False)
    reach: float | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vars(self).update(
            factor=checks.positive("factor", self.factor),
            dim=self.law.dim,
            intrinsic_dim=self.law.intrinsic_dim,
            reach=None if self.law.reach is None else self.factor * self.law.reach,
        )

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """c X, [n, d]."""
        return self.factor * self.law.sample(n, generator, dtype, device)

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return self.law._log_density(y / self.factor, nsr / self.factor) - self.dim * math.log(self.factor)

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return self.factor * self.law._denoise(y / self.factor, nsr / self.factor)

    def _posterior(
        self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n d"]]:
        log_density, mean = self.law._posterior(y / self.factor, nsr / self.factor)
        return log_density - self.dim * math.log(self.factor), self.factor * mean

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        log_density, mean, anchor, variance, rest = self.law._anchored(y / self.factor, nsr / self.factor)
        constant = self.dim * math.log(self.factor)
        return Anchored(
            log_density - constant,
            self.factor * mean,
            self.factor * anchor,
            self.factor**2 * variance,
            rest - constant,
        )

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return self.law._score(y / self.factor, nsr / self.factor) / self.factor

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """c Proj_P(x / c), [..., d]."""
        check_points(x, self.dim, "x")
        return self.factor * self.law.project(x / self.factor)

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """c dist(x / c, M_P), [...]."""
        check_points(x, self.dim, "x")
        return self.factor * self.law.distance(x / self.factor)


def _excess(variance: Tensor, other: Tensor) -> Tensor:
    """1 / other - 1 / variance, exactly 0 where they are equal."""
    return (variance - other) / variance / other


def random_isometry(dim: int, k: int, seed: int) -> Float[Tensor, "dim k"]:
    """An isometry R^k -> R^dim, uniform (Haar) over all: the Q of a Gaussian matrix's QR with R's diagonal positive.

    Raises:
        ValueError: k > dim or k < 1.
    """
    if not 1 <= k <= dim:
        raise ValueError(f"k must lie in 1..dim, and dim is {dim}; given {k}")
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, k)))
    return torch.from_numpy(q * np.sign(np.diag(r)))
