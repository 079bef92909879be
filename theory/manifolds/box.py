"""Uniform laws with edges: the segment between two points of R^d and the full-dimensional box.

Both come from one law, X uniform on [-l, l], noised: u = X + s eps. By symmetry take u >= 0 and write X = l v. Then
|v| has the density exp(-(l v - u)^2 / 2 s^2) (1 + rho(v)) on [0, 1], rho(v) = exp(-2 l u v / s^2), and

    p(u; s)  = (2 pi s^2)^(-1/2) (1/2) integral over [0, 1] of exp(-(l v - u)^2 / 2 s^2) (1 + rho(v)) dv
    E[X | u] = l E[|v| (1 - rho) / (1 + rho)]

Every term is positive, so nothing cancels: where the noise is wide and the mean is a tiny multiple of u, or far out,
where differences of error functions lose all digits. The integrals are Gauss-Legendre sums over the part of [0, 1] that
carries the mass. The nodes are constants to autograd: the integrals do not depend on where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, log, pi

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds.law import JointLaw, check_points
from theory.manifolds.posterior import Anchored
from theory.quadrature import legendre

# nodes, and the exponent beyond which mass is left out: exp(-37) is float64's rounding unit, exp(-17) float32's
RULE = {torch.float64: (44, 41.0), torch.float32: (20, 20.0)}


def moments(y: Tensor, half: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(rest, gap, mean) at y of X + s eps, X uniform on [-half, half]: log density rest - gap^2 / 2; all of one shape.

    gap is the distance to the interval, in units of s.
    """
    count, cut = RULE[y.dtype]
    nodes, weights = (torch.as_tensor(part, dtype=y.dtype, device=y.device) for part in legendre(0.0, 1.0, count))
    negative = y < 0  # not y.abs(), which has no slope at 0
    u = torch.where(negative, -y, y)
    a, b, h = half / s, (u - half) / s, half / s * (u / s)
    with torch.no_grad():  # the nodes, v = centre - delta
        centre = torch.clamp(u / half, max=1)
        from_edge = torch.clamp((half - u) / half, min=0)  # 1 - centre; its rounding near an edge would count
        outside = torch.clamp(b, min=0)
        reach = 2 * cut / (outside + torch.sqrt(outside.square() + 2 * cut)) / a  # gap x + x^2 / 2 = cut
        low = -torch.minimum(from_edge, reach)
        width = torch.minimum(centre, reach) - low
        delta = low[..., None] + width[..., None] * nodes
        v = centre[..., None] - delta
    # (l v - u) / s = -(gap + a delta), gap = b + a from_edge: 0 inside, to the last digit, with the slope of b
    gap = b + a * from_edge
    gap = gap - torch.where(b < 0, gap, torch.zeros_like(gap)).detach()
    step = a[..., None] * delta
    weight = weights * torch.exp(-gap[..., None] * step - step.square() / 2)
    rho = torch.exp(-2 * h[..., None] * v)
    mass = (weight * (1 + rho)).sum(-1)
    rest = torch.log(mass * width / 2) - torch.log(s) - log(2 * pi) / 2
    near = (weight * v * -torch.expm1(-2 * h[..., None] * v)).sum(-1) / mass
    # the same mean, written as a difference from `centre`: keeps the digits of the derivative when v hardly varies
    far = centre - (weight * (delta + rho * (centre[..., None] + v))).sum(-1) / mass
    mean = half * torch.where((u < s) | (h < 1), near, far)
    return rest, gap, torch.where(negative, -mean, mean)


def as_point(values: Sequence[float], name: str) -> tuple[float, ...]:
    """The coordinates as floats; ValueError if there are none or one is not finite."""
    try:
        point = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        point = ()
    if not point or not all(map(isfinite, point)):
        raise ValueError(f"{name} must hold at least one finite number and nothing else; given {values!r}")
    return point


@dataclass(frozen=True)
class Segment(JointLaw):
    """Uniform on the segment between two points of R^d.

    Raises:
        ValueError: the points are equal, differ in length, or are not finite.
    """

    start: tuple[float, ...]
    end: tuple[float, ...]
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int = field(init=False, repr=False, default=1)
    reach: float = field(init=False, repr=False, default=inf)

    def __init__(self, start: Sequence[float], end: Sequence[float]) -> None:
        start, end = as_point(start, "start"), as_point(end, "end")
        if len(start) != len(end) or start == end:
            raise ValueError(f"start and end must be two different points of one space; given {start} and {end}")
        vars(self).update(start=start, end=end, dim=len(start))

    def _frame(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(midpoint, unit direction, half the length)."""
        start, end = (torch.tensor(p, dtype=torch.float64, device=like.device) for p in (self.start, self.end))
        length = torch.linalg.vector_norm(end - start)
        parts = ((start + end) / 2, (end - start) / length, length / 2)
        return parts[0].to(like.dtype), parts[1].to(like.dtype), parts[2].to(like.dtype)

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        place = 2 * torch.rand(n, 1, generator=generator, dtype=dtype, device=device) - 1
        middle, direction, half = self._frame(place)
        return middle + half * place * direction

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        middle, direction, half = self._frame(y)
        along = (y - middle) @ direction
        across = y - middle - along[..., None] * direction
        rest, gap, mean = moments(along, half.expand_as(along), nsr)
        rest = rest - (self.dim - 1) * (torch.log(nsr) + log(2 * pi) / 2)
        log_density = rest - gap.square() / 2 - (across / nsr[..., None]).square().sum(-1) / 2
        x0hat = middle + mean[..., None] * direction
        return Anchored(log_density, x0hat, self.project(y.detach()), nsr.square(), rest.detach())

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        check_points(x, self.dim, "x")
        middle, direction, half = self._frame(x)
        along = torch.clamp((x - middle) @ direction, min=-half, max=half)
        return middle + along[..., None] * direction


@dataclass(frozen=True)
class Box(JointLaw):
    """Uniform on the box {x in R^d: lower <= x <= upper}, every side longer than 0.

    Raises:
        ValueError: the corners differ in length, are not finite, or lower < upper fails in a coordinate.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    dim: int = field(init=False, repr=False)
    intrinsic_dim: int = field(init=False, repr=False)
    reach: float = field(init=False, repr=False, default=inf)

    def __init__(self, lower: Sequence[float], upper: Sequence[float]) -> None:
        lower, upper = as_point(lower, "lower"), as_point(upper, "upper")
        if len(lower) != len(upper) or not all(a < b for a, b in zip(lower, upper, strict=True)):
            raise ValueError(f"lower must lie below upper in every coordinate; given {lower} and {upper}")
        vars(self).update(lower=lower, upper=upper, dim=len(lower), intrinsic_dim=len(lower))

    def _frame(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(centre, half the side lengths)."""
        lower, upper = (torch.tensor(p, dtype=torch.float64, device=like.device) for p in (self.lower, self.upper))
        return ((lower + upper) / 2).to(like.dtype), ((upper - lower) / 2).to(like.dtype)

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        place = 2 * torch.rand(n, self.dim, generator=generator, dtype=dtype, device=device) - 1
        centre, half = self._frame(place)
        return centre + half * place

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        centre, half = self._frame(y)
        rest, gap, mean = moments(y - centre, half.expand_as(y), nsr[..., None].expand_as(y))
        log_density = (rest - gap.square() / 2).sum(-1)
        return Anchored(log_density, centre + mean, self.project(y.detach()), nsr.square(), rest.detach().sum(-1))

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        check_points(x, self.dim, "x")
        centre, half = self._frame(x)
        return centre + torch.clamp(x - centre, min=-half, max=half)
