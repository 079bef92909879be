"""The uniform law on a sphere: the circle (the catalogue's ring), the sphere in R^3, and every dimension above.

With kappa = R |u| / s^2 and nu = d / 2 - 1 the noised law is that of von Mises and Fisher integrated out:

    log p(u; s) = -(d/2) log(2 pi s^2) - (|u| - R)^2 / (2 s^2)
                  + log[Gamma(d/2) (2 / kappa)^nu I_nu(kappa) exp(-kappa)]
    E[X | u]    = R A(kappa) u / |u|,   A = I_{nu+1} / I_nu

The mean is written u (R / s)^2 B(kappa^2), B = A / kappa: analytic in u, at 0 too. All is computed in float64 and
returned in the dtype of the input. Derivatives are exact relative to the norm of the Jacobian: along the normal that is
smaller by 1 / (2 kappa) than along the sphere, and so many digits shorter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common import checks
from theory.manifolds.bessel import log_0f1, log_scaled, reduced_ratio
from theory.manifolds.law import Law, check_points
from theory.manifolds.posterior import Anchored


@dataclass(frozen=True)
class Sphere(Law):
    """Uniform on {x in R^dim: ||x|| = radius}; Sphere(2) is the unit circle.

    Raises:
        ValueError: dim is no whole number of at least 2; radius is no positive finite number.
    """

    dim: int
    radius: float = 1.0
    intrinsic_dim: int = field(init=False, repr=False)
    reach: float = field(init=False, repr=False)  # the radius

    def __post_init__(self) -> None:
        dim, radius = checks.whole("dim", self.dim, 2), checks.positive("radius", self.radius)
        vars(self).update(dim=dim, radius=radius, intrinsic_dim=dim - 1, reach=radius)

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, "n d"]:
        _, direction = _polar(torch.randn(n, self.dim, generator=generator, dtype=dtype, device=device))
        return self.radius * direction

    def _log_density(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        u, s = y.double(), nsr.double()
        nu, radius = self.dim / 2 - 1, self.radius
        squared = u.square().sum(-1)
        q = squared * (radius / s.square()).square()  # kappa^2
        # log F(q) has the gradient B / 2 and is regular at u = 0, where the distance | |u| - R | has none: it carries
        # the derivatives. The distance carries the value, which would cancel in the other form.
        with torch.no_grad():
            value = -((torch.sqrt(squared) - radius) / s).square() / 2 + log_scaled(nu, q)
        exponent = log_0f1(nu, q) - (squared + radius**2) / (2 * s.square())
        out = value + (exponent - exponent.detach()) - self.dim * (torch.log(s) + log(2 * pi) / 2)
        return out.to(y.dtype)

    def _denoise(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        u, s = y.double(), nsr.double()
        scale = self.radius / s.square()
        q = u.square().sum(-1) * scale.square()  # kappa^2
        factor = self.radius * scale * reduced_ratio(self.dim / 2 - 1, q)
        return (u * factor[..., None]).to(y.dtype)

    def _anchored(self, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> Anchored:
        with torch.no_grad():
            u, s = y.double(), nsr.double()
            q = u.square().sum(-1) * (self.radius / s.square()).square()
            rest = log_scaled(self.dim / 2 - 1, q) - self.dim * (torch.log(s) + log(2 * pi) / 2)
            parts = self.project(u), s.square(), rest
        return Anchored(*self._posterior(y, nsr), *[part.to(y.dtype) for part in parts])

    def project(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """radius x / ||x||; radius e_1 for x = 0, which every point of the sphere is nearest to."""
        check_points(x, self.dim, "x")
        _, direction = _polar(x)
        return self.radius * direction

    def distance(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """| ||x|| - radius |."""
        check_points(x, self.dim, "x")
        norm, _ = _polar(x)
        return (norm - self.radius).abs()


def _polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """(||x||, x / ||x||), with the direction e_1 for x = 0; no square over- or underflows."""
    largest = x.detach().abs().amax(-1, keepdim=True)
    first = torch.zeros_like(x)
    first[..., 0] = 1
    scaled = torch.where(largest > 0, x / torch.where(largest > 0, largest, 1), first)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return (largest * length)[..., 0], scaled / length
