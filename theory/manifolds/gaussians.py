"""Point masses and mixtures of isotropic Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds.law import JointLaw, check_points
from theory.manifolds.posterior import Anchored

TABLE = 2**24  # numbers


@dataclass(frozen=True)
class Gaussians(JointLaw):
    """The mixture sum_k w_k N(mu_k, std_k^2 I); a component of std 0 is a point mass.

    At alpha = 1, with v_k = nsr^2 + std_k^2 and r_k proportional to w_k N(y; mu_k, v_k I):

        log p_t(y) = logsumexp_k [log w_k - d/2 log(2 pi v_k) - ||y - mu_k||^2 / (2 v_k)]
        x0hat(y)   = sum_k r_k (std_k^2 y + nsr^2 mu_k) / v_k

    M is the set of means.

    Args:
        means: mu, K points of R^d.
        std: one standard deviation for all components, or one for each; in units of y, >= 0.
        weights: w, K positive numbers that sum to one; equal when None.

    Raises:
        ValueError: means are no [K, d] table of finite numbers; std is negative, infinite or not K numbers; weights
            are not K positive numbers that sum to one.
    """

    means: Sequence[Sequence[float]]
    std: float | Sequence[float] = 0.0
    weights: Sequence[float] | None = None
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int | None = field(init=False, repr=False)
    reach: float = field(init=False, repr=False)  # half the least distance of two means
    _means: Float[Tensor, "K d"] = field(init=False, repr=False, compare=False)
    _centred: Float[Tensor, "K d"] = field(init=False, repr=False, compare=False)  # means less their average
    _half_squares: Float[Tensor, "K K"] = field(init=False, repr=False, compare=False)  # ||mu_k - mu_r||^2 / 2
    _variance: Float[Tensor, " K"] = field(init=False, repr=False, compare=False)
    _weights: Float[Tensor, " K"] = field(init=False, repr=False, compare=False)
    _shared: bool = field(init=False, repr=False, compare=False)  # one std for all

    def __post_init__(self) -> None:
        means = as_matrix(self.means, "means")
        count, dim = means.shape
        try:
            std = torch.as_tensor(self.std, dtype=torch.float64)
        except (TypeError, ValueError):
            std = torch.tensor(-1.0)
        if std.shape not in ((), (count,)) or not bool(((std >= 0) & std.isfinite()).all()):
            raise ValueError(f"std must be a number in [0, inf), or {count} of them, one a mean; given {self.std}")
        weights = as_weights(self.weights, count)
        between = distances(means, means)
        vars(self).update(
            means=tuple(map(tuple, means.tolist())),
            std=tuple(std.tolist()) if std.ndim else float(std),
            weights=None if self.weights is None else tuple(weights.tolist()),
            dim=dim,
            intrinsic_dim={0: 0, count: dim}.get(int((std > 0).expand(count).sum())),
            reach=float(between[between > 0].min()) / 2 if bool((between > 0).any()) else math.inf,
            _means=means,
            _centred=means - means.mean(0),
            _half_squares=between.square() / 2,
            _variance=std.square().expand(count).contiguous(),
            _weights=weights,
            _shared=bool((std == std.max()).all()),
        )

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        """mu_k + std_k eps with k ~ w, [n, d]."""
        k = draw_components(self._weights, n, generator, device)
        noise = torch.randn(n, self.dim, generator=generator, dtype=dtype, device=device)
        return self._means.to(noise)[k] + self._variance.sqrt().to(noise)[k, None] * noise

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        r, rest, square, gaps = self._log_terms(y, nsr)
        means, variance = self._means.to(y), self._variance.to(y)
        v = nsr.square() + variance[r]
        rest = rest + gaps.logsumexp(-1)
        share = gaps.softmax(-1)  # of each component, [..., K]
        if self.intrinsic_dim == 0:
            mean = share @ means
        else:
            noise = nsr.square()[..., None]
            share = share / (noise + variance)
            mean = noise * (share @ means) + (share @ variance)[..., None] * y
        return Anchored(rest - square / (2 * v), mean, means[r], v, rest.detach())

    def _score(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """sum_k r_k (mu_k - y) / v_k; Tweedie's x0hat - y would cancel for nsr far below std."""
        gaps = self._log_terms(y, nsr)[-1]
        share = gaps.softmax(-1) / (nsr.square()[..., None] + self._variance.to(y))  # r_k / v_k
        return share @ self._means.to(y) - share.sum(-1, keepdim=True) * y

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The nearest mean, [..., d]."""
        check_points(x, self.dim, "x")
        means = self._means.to(x)
        return means[distances(x.detach(), means).argmin(-1)]

    def _log_terms(self, y: Tensor, nsr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(r, rest, ||y - mu_r||^2, gaps): the likeliest component, [...], and the others' differences to it, [..., K].

        The differences are those of log(w_k N(y; mu_k, v_k I)), which is rest - ||y - mu_r||^2 / (2 v_r) for r.

        Far out, ||y - mu_k||^2 / v_k is so large that its rounding alone would decide between the components. The
        differences are therefore formed from

            ||y - mu_r||^2 - ||y - mu_k||^2 = 2 <y - mu_r, mu_k - mu_r> - ||mu_k - mu_r||^2,

        whose error is that of a change of y by a few units in its last place.
        """
        means, variance, log_weights = self._means.to(y), self._variance.to(y), self._weights.log().to(y)
        noise = nsr.square()[..., None]
        # A shared std keeps v at [..., 1], which spares every operation on it a factor K.
        v = noise + (variance[:1] if self._shared else variance)
        constant = log_weights - self.dim / 2 * v.log()  # [..., K]

        with torch.no_grad():  # any r gives the same sums; the likeliest gives them accurately
            r = (constant - distances(y, means).square() / (2 * v)).argmax(-1)
        offset, v_r = y - means[r], noise[..., 0] + variance[r]  # [..., d], [...]
        constant_r = log_weights[r] - self.dim / 2 * v_r.log()
        square = offset.square().sum(-1)

        inner = offset @ self._centred.to(y).T  # centred: a common shift of the means would cancel
        inner = inner - inner.gather(-1, r[..., None])
        few = r.numel() < len(means)  # rows: then only these are converted
        halves = self._half_squares[r].to(y) if few else self._half_squares.to(y)[r]
        gaps = (inner - halves) / v + (constant - constant_r[..., None])
        if not self._shared:  # ||y - mu_r||^2 (1 / v_r - 1 / v_k) / 2
            gaps = gaps + square[..., None] / 2 * ((variance - variance[r][..., None]) / v_r[..., None] / v)
        return r, constant_r - self.dim / 2 * math.log(2 * math.pi), square, gaps


def distances(x: Float[Tensor, "*n d"], points: Float[Tensor, "K d"]) -> Float[Tensor, "*n K"]:
    """||x - points_k||, from differences: ||x||^2 - 2 <x, p> + ||p||^2 would cancel.   [..., d], [K, d] -> [..., K]

    The table of differences, [..., K, d], is made in parts of at most TABLE numbers.
    """
    if x.ndim < 2 or x.numel() * len(points) <= TABLE:
        return torch.linalg.vector_norm(x[..., None, :] - points, dim=-1)
    rows = x.reshape(-1, x.shape[-1]).split(max(1, TABLE // points.numel()))
    found = torch.cat([torch.linalg.vector_norm(row[:, None] - points, dim=-1) for row in rows])
    return found.view(*x.shape[:-1], len(points))


def as_matrix(rows: Sequence[Sequence[float]] | Tensor, name: str) -> Float[Tensor, "rows columns"]:
    """The rows in float64; ValueError unless they are finite numbers, and equally many in each."""
    try:
        matrix = torch.as_tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError):
        matrix = torch.empty(0)
    if matrix.ndim != 2 or matrix.numel() == 0 or not bool(matrix.isfinite().all()):
        raise ValueError(f"{name} must be a non-empty table of finite numbers, its rows equally long; given {rows}")
    return matrix


def as_weights(weights: Sequence[float] | None, count: int) -> Float[Tensor, " K"]:
    """The weights in float64, equal when None; ValueError unless they are `count` positive numbers that sum to one.

    A sum within 1e-6 of one, as float32 leaves it, counts as one, and the weights are divided by it.
    """
    if weights is None:
        return torch.full((count,), 1 / count, dtype=torch.float64)
    try:
        values = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        values = []
    total = math.fsum(values)
    if len(values) != count or not min(values) > 0 or not math.isclose(total, 1, rel_tol=1e-6):
        raise ValueError(f"weights must be {count} positive numbers that sum to one; given {weights}")
    if not math.isclose(total, 1, rel_tol=1e-12):
        values = [value / total for value in values]
    return torch.tensor(values, dtype=torch.float64)


def draw_components(
    weights: Float[Tensor, " K"], n: int, generator: torch.Generator | None, device: torch.device | str
) -> Tensor:
    """n indices, k with probability w_k, by inversion; [n]."""
    level = torch.rand(n, generator=generator, dtype=torch.float64, device=device)
    edges = weights.to(device).cumsum(0)[:-1]  # the last would be one, or a rounding error below it
    return torch.searchsorted(edges, level, right=True)
