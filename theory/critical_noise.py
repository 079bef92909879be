"""The noise above which the score term pulls to the mean of the law, and no longer to its support."""

from __future__ import annotations

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from theory.manifolds.law import Law
from theory.regularity import pointwise_loss


def critical_nsr(law: Law) -> float:
    """The largest nsr at which E[X] is no local minimum of ell: above it, the mean attracts what is near it.

    The root in nsr of the smallest eigenvalue of the Hessian of ell at E[X], to 1e-6 of itself; the unit is that of x.
    For a sphere or two points the mean is then the only minimum of ell (claim I2), so that an interval of noises
    should end well below it.

    >>> from theory.manifolds import Gaussians, Sphere
    >>> round(critical_nsr(Gaussians([(-1.0,), (1.0,)])), 3)
    1.023
    >>> round(critical_nsr(Sphere(2)), 3)
    0.729
    >>> round(critical_nsr(Sphere(2, radius=3.0)) / 3, 3)  # it scales with the law
    0.729

    Raises:
        ValueError: law.dim > 3; there is no such noise, because the mean is a minimum of ell at every noise that was
            tried: down to a twentieth of the law's width, the root of E||X - E[X]||^2.
    """
    if law.dim > 3:
        raise ValueError(f"critical_nsr takes laws of dim at most 3, for which ell is a quadrature; given {law.dim}")
    centre, width = mean_and_width(law)
    high = 2 * width
    while high > width / 20:
        if curvature_at(law, centre, high / 1.5) < 0:
            return brentq(lambda nsr: curvature_at(law, centre, nsr), high / 1.5, high, rtol=1e-6)
        high /= 1.5
    raise ValueError(f"critical_nsr takes laws whose mean repels at small noise; it never does for {law}")


def curvature_at(law: Law, x: Float[Tensor, " d"], nsr: float) -> float:
    """The smallest eigenvalue of the Hessian of nsr^2 ell at x."""
    hessian = torch.autograd.functional.hessian(lambda y: nsr**2 * pointwise_loss(law, y, 1.0, nsr), x)
    return float(torch.linalg.eigvalsh(hessian)[0])


def mean_and_width(law: Law) -> tuple[Float[Tensor, " d"], float]:
    """(E[X], sqrt(E||X - E[X]||^2)), read from x0hat where the noise drowns all: x0hat(y) = E[X] + Cov y / nsr^2."""
    nsr = 1e6
    zero = torch.zeros(law.dim, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: law.denoise(y, 1.0, nsr), zero)
    return law.denoise(zero, 1.0, nsr), float(nsr * jacobian.trace().clamp(min=0).sqrt())
