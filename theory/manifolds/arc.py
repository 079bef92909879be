"""The uniform law on an arc of a circle, and what is made of arcs: the half circles of two moons, the spiral.

In the frame where the arc is {R (cos t, sin t): |t| <= T} the noised law is that of von Mises, cut off. By symmetry
take u_2 >= 0 and fold t to [0, T]. From any c on, with t = c + delta,

    |u - R e(t)|^2 = |u - R e(c)|^2 + 2 R (g sin delta + h (1 - cos delta)),   e(t) = (cos t, sin t),
    h + i g = u_1 cos c + u_2 sin c + i (u_1 sin c - u_2 cos c),

so that, with c the nearest point's angle,

    p(u; s)  = exp(-|u - R e(c)|^2 / 2 s^2) / (2 pi s^2) (1 / 2T) integral over [0, T] of A(t) (1 + rho(t)) dt
    A(t)     = exp(-(R / s^2) (g sin delta + h (1 - cos delta))),   rho(t) = exp(-2 (R / s^2) u_2 sin t)
    E[X | u] = R (E cos t, E sin t (1 - rho) / (1 + rho)),   t ~ A (1 + rho)

Every exponent is zero or below. The integrals are Gauss-Legendre sums in tan(delta / 4), in which sine and cosine are
rational, over the part of [0, T] that carries the mass; the nodes are constants to autograd. All is computed in float64
and returned in the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, inf, pi, sin
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common import checks
from theory.manifolds.box import as_point
from theory.manifolds.combinators import Mixture
from theory.manifolds.law import JointLaw, check_points
from theory.manifolds.posterior import Anchored
from theory.quadrature import legendre

NODES, CUT = 44, 41.0  # mass below exp(-0.7 CUT) = 3e-13 of the peak may be left out


class _Window(NamedTuple):
    """What the quadrature needs of the angles; constants to autograd."""

    cos_c: Tensor  # [...], as sin_c and inside
    sin_c: Tensor
    inside: Tensor  # whether the nearest point is no end of the arc
    weight: Tensor  # of the node, d t included; [..., NODES], as those below
    sine: Tensor  # sin delta
    versine: Tensor  # 1 - cos delta
    sin_t: Tensor


def _window(u1: Tensor, u2: Tensor, scale: Tensor, half: float) -> _Window:
    """The nodes for a point (u1, u2), u2 >= 0, with scale = R / s^2."""
    angle = torch.atan2(u2, u1)  # in [0, pi]
    c = angle.clamp(max=half)
    beyond = angle - c
    kappa = scale * torch.hypot(u1, u2)
    # at c -+ x the exponent is kappa [cos(beyond) - cos(beyond + x)], at most kappa [1 + cos(beyond)]; where it reaches
    # CUT at all, it has reached 0.7 CUT at the x at which slope x + curvature x^2 / 2 = CUT
    slope, curvature = kappa * torch.sin(beyond), (kappa * torch.cos(beyond)).clamp(min=0)
    reach = 2 * CUT / (slope + torch.sqrt(slope.square() + 2 * CUT * curvature))
    reach = torch.where(kappa * (1 + torch.cos(beyond)) > CUT, reach, inf)

    nodes, weights = (torch.as_tensor(part, dtype=u1.dtype, device=u1.device) for part in legendre(0.0, 1.0, NODES))
    low = torch.tan(-torch.minimum(c, reach) / 4)
    width = torch.tan(torch.minimum(half - c, reach) / 4) - low
    tau = low[..., None] + width[..., None] * nodes  # tan(delta / 4)
    squared = tau.square()
    root = 1 / (1 + squared)
    sine, versine = 4 * tau * (1 - squared) * root.square(), 8 * squared * root.square()
    cos_c, sin_c = torch.cos(c), torch.sin(c)
    sin_t = sin_c[..., None] * (1 - versine) + cos_c[..., None] * sine
    weight = weights * (4 * width[..., None] * root)
    return _Window(cos_c, sin_c, beyond <= 0, weight, sine, versine, sin_t)


def moments(u: Float[Tensor, "*n d"], radius: float, half: float, s: Float[Tensor, "*n"]) -> tuple[Tensor, ...]:
    """(rest, square, mean) at u of X + s eps, X uniform on the arc |t| <= half about the first axis.

    square is the squared distance to the arc, and the log density is rest - square / 2 s^2.
    """
    negative = u[..., 1] < 0  # not abs(), which has no slope at 0
    u1, u2 = u[..., 0], torch.where(negative, -u[..., 1], u[..., 1])
    scale = radius / s.square()
    with torch.no_grad():
        w = _window(u1, u2, scale, half)
    g, h = u1 * w.sin_c - u2 * w.cos_c, u1 * w.cos_c + u2 * w.sin_c
    g = g - torch.where(w.inside, g, torch.zeros_like(g)).detach()  # 0 there to the last digit; it keeps its slope
    main = w.weight * torch.exp(-((scale * g)[..., None] * w.sine + (scale * h)[..., None] * w.versine))
    mirrored = main * torch.exp(-2 * (scale * u2)[..., None] * w.sin_t)
    both = main + mirrored
    mass = both.sum(-1)
    rest, square = torch.log(mass / (2 * half)) - torch.log(2 * pi * s.square()), (h - radius).square() + g.square()
    # as differences from e(c), which keep their digits where t hardly varies
    sine, versine = (both * w.sine).sum(-1) / mass, (both * w.versine).sum(-1) / mass
    folded = 2 * (mirrored * w.sin_t).sum(-1) / mass
    mean1 = w.cos_c - (w.cos_c * versine + w.sin_c * sine)
    mean2 = w.sin_c - (w.sin_c * versine - w.cos_c * sine) - folded
    mean = radius * torch.stack([mean1, torch.where(negative, -mean2, mean2)], -1)
    return rest, square, mean


@dataclass(frozen=True)
class Arc(JointLaw):
    """Uniform on the arc {centre + radius (cos t, sin t): start <= t <= stop} of a circle in the plane.

    Args:
        start, stop: angles in radians.

    Raises:
        ValueError: radius is not in (0, inf), stop - start is not in (0, 2 pi), or centre is not two finite numbers.
    """

    radius: float = 1.0
    start: float = 0.0
    stop: float = pi
    centre: Sequence[float] = (0.0, 0.0)
    dim: int = field(init=False, repr=False, default=2)
    intrinsic_dim: int = field(init=False, repr=False, default=1)
    reach: float = field(init=False, repr=False)  # the radius, or half the gap of an arc longer than half a circle

    def __post_init__(self) -> None:
        checks.positive("radius", self.radius)
        for name in ("start", "stop"):
            checks.real(name, getattr(self, name))
        if not (0 < self.stop - self.start < 2 * pi):
            raise ValueError(f"stop - start must lie in (0, 2 pi); given start {self.start} and stop {self.stop}")
        centre = as_point(self.centre, "centre")
        if len(centre) != 2:
            raise ValueError(f"centre must be a point of the plane; given {self.centre}")
        vars(self).update(
            radius=float(self.radius),
            start=float(self.start),
            stop=float(self.stop),
            centre=centre,
            reach=self.radius * sin(max(self._half, pi / 2)),
        )

    @property
    def _half(self) -> float:
        """T: half the angle."""
        return (self.stop - self.start) / 2

    def _frame(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(centre, rotation): x = centre + rotation u."""
        middle = (self.start + self.stop) / 2
        rotation = [[cos(middle), -sin(middle)], [sin(middle), cos(middle)]]
        return like.new_tensor(self.centre), like.new_tensor(rotation)

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        t = self.start + 2 * self._half * torch.rand(n, generator=generator, dtype=dtype, device=device)
        return self.radius * torch.stack([torch.cos(t), torch.sin(t)], -1) + self._frame(t)[0]

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        wide, variance = y.double(), nsr.double().square()
        centre, rotation = self._frame(wide)
        rest, square, mean = moments((wide - centre) @ rotation, self.radius, self._half, nsr.double())
        x0hat = centre + mean @ rotation.T
        parts = rest - square / (2 * variance), x0hat, self.project(wide.detach()), variance, rest.detach()
        return Anchored(*[part.to(y.dtype) for part in parts])

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The point of the arc in the direction of x, or the nearer end; for x = centre, the middle of the arc."""
        check_points(x, self.dim, "x")
        centre, rotation = self._frame(x)
        u1, u2 = ((x - centre) @ rotation).unbind(-1)
        t = torch.atan2(u2, u1).clamp(-self._half, self._half)
        return centre + self.radius * torch.stack([torch.cos(t), torch.sin(t)], -1) @ rotation.T


def spiral(halves: int = 6, radius: float = 1.0) -> Mixture:
    """Uniform on a spiral of half circles of radii g, 2g, ..., radius, joined smoothly; successive turns are 2g apart.

    Half circles above the first axis have their centre at (0, 0), those below it at (g, 0): the involute of a segment
    of length g, which is to the spiral of Archimedes as two points are to a circle. Being made of arcs, it is as exact
    as they are, at every noise and distance.

    Raises:
        ValueError: halves < 1, or radius not in (0, inf).
    """
    halves, radius = checks.whole("halves", halves, 1), checks.positive("radius", radius)
    gap = radius / halves
    arcs = [Arc(gap * (k + 1), k * pi, (k + 1) * pi, (gap * (k % 2), 0.0)) for k in range(halves)]
    return Mixture(arcs, [2 * (k + 1) / (halves * (halves + 1)) for k in range(halves)], reach=gap)
