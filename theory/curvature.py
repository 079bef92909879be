"""What curvature and density add to the loss of a sample on the manifold, in closed form (claim C1)."""

from __future__ import annotations

from functools import singledispatch
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
)
from theory.manifolds.law import check_points

NEAR = 1e-9  # of 1 + |x|: what counts as on M, and as on an edge of it


def curvature_term(law: Law, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """r(x), where ell(x) = k + nsr^2 r(x) + O(nsr^4) for x on M.   [..., d] -> [...]

        r = |II|^2 / 2 - Scal + 2 Lap_M log rho + |grad_M log rho|^2

    II is the second fundamental form of M, Scal its scalar curvature (twice Gauss's for a surface), rho the density of
    the law against the volume of M. Units: 1 / (unit of x)^2. Known for uniform laws on spheres, arcs, segments, boxes
    and boards, for Gaussian laws, for every smooth density on R^d, and for products, embeddings, scalings and mixtures
    of these.

    >>> import torch
    >>> from theory.manifolds import Product, Segment, Sphere
    >>> at = lambda *x: torch.tensor(x, dtype=torch.float64)
    >>> float(curvature_term(Sphere(2), at(1, 0)))  # a circle: curvature costs
    0.5
    >>> float(curvature_term(Sphere(3), at(0, 0, 1)))  # a sphere: it pays
    -1.0
    >>> float(curvature_term(Product(Sphere(2, 0.5), Segment((0,), (1,))), at(0.5, 0, 0.4)))  # a cylinder: it costs
    2.0

    Raises:
        TypeError, ValueError: x is no tensor of points of R^d. ValueError: x is not on M, or on an edge of it; two
            parts of M meet at x; the term is not known for this law.
    """
    check_points(x, law.dim, "x")
    return _term(law, x.detach())


@singledispatch
def _term(law: Law, x: Tensor) -> Tensor:
    raise ValueError(f"curvature_term is not known for {law}")


@_term.register
def _(law: Sphere, x: Tensor) -> Tensor:
    """-n (2n - 3) / (2 R^2) on S^n: |II|^2 = n / R^2, Scal = n (n - 1) / R^2."""
    n = law.dim - 1
    return _on(law, x).new_full(x.shape[:-1], -n * (2 * n - 3) / (2 * law.radius**2))


@_term.register
def _(law: Arc, x: Tensor) -> Tensor:
    """1 / (2 R^2)."""
    offset = _on(law, x) - x.new_tensor(law.centre)
    middle, half = (law.start + law.stop) / 2, (law.stop - law.start) / 2
    turn = torch.remainder(torch.atan2(offset[..., 1], offset[..., 0]) - middle + pi, 2 * pi) - pi
    _inside(law, turn.abs() < half * (1 - NEAR))
    return x.new_full(x.shape[:-1], 1 / (2 * law.radius**2))


@_term.register
def _(law: Segment, x: Tensor) -> Tensor:
    ends = x.new_tensor([law.start, law.end])
    length = torch.linalg.vector_norm(ends[1] - ends[0])
    _inside(law, torch.cdist(_on(law, x)[..., None, :], ends).amin((-1, -2)) > NEAR * length)
    return x.new_zeros(x.shape[:-1])


@_term.register
def _(law: Box, x: Tensor) -> Tensor:
    lower, upper = x.new_tensor(law.lower), x.new_tensor(law.upper)
    gap = torch.minimum(_on(law, x) - lower, upper - x) / (upper - lower)
    _inside(law, (gap > NEAR).all(-1))
    return x.new_zeros(x.shape[:-1])


@_term.register
def _(law: Checkerboard, x: Tensor) -> Tensor:
    place = (_on(law, x) / law.half + 1) * law.cells / 2
    _inside(law, ((place - place.round()).abs() > NEAR * law.cells).all(-1))
    return x.new_zeros(x.shape[:-1])


@_term.register
def _(law: AffineGaussian, x: Tensor) -> Tensor:
    """sum_i (z_i^2 / S_i^4 - 2 / S_i^2)."""
    z = (_on(law, x) - law._mean.to(x)) @ law._basis.to(x)
    variance = law._variance.to(x)
    return ((z / variance).square() - 2 / variance).sum(-1)


@_term.register
def _(law: Gaussians, x: Tensor) -> Tensor:
    if law.intrinsic_dim == 0:
        return _on(law, x).new_zeros(x.shape[:-1])
    return _of_density(law, x)


@_term.register
def _(law: Thickened, x: Tensor) -> Tensor:
    return _of_density(law, x)


@_term.register
def _(law: Product, x: Tensor) -> Tensor:
    """The sum over the factors: II and log rho have no mixed terms, Scal adds up."""
    return torch.stack([_term(part, coordinates) for part, coordinates in law._parts(x)]).sum(0)


@_term.register
def _(law: Embedded, x: Tensor) -> Tensor:
    return _term(law.law, law._split(_on(law, x) if law.dim > law.law.dim else x)[0])


@_term.register
def _(law: Scaled, x: Tensor) -> Tensor:
    return _term(law.law, x / law.factor) / law.factor**2


@_term.register
def _(law: Mixture, x: Tensor) -> Tensor:
    """That of the part on which x lies; a weight is a constant factor of rho."""
    if _least_std(law) > 0:
        return _of_density(law, x)
    if any(_least_std(part) > 0 for part in law.laws):
        raise ValueError(f"curvature_term is not known for {law}: a density and a thinner part overlap")
    distances = law._distances(_on(law, x))
    nearest = distances.argmin(-1)
    if len(law.laws) > 1:
        second = distances.topk(2, -1, largest=False).values[..., 1]
        _inside(law, second > NEAR * (1 + torch.linalg.vector_norm(x, dim=-1)))
    out = x.new_empty(x.shape[:-1])
    for index in nearest.unique().tolist():
        out[nearest == index] = _term(law.laws[index], x[nearest == index])
    return out


def _of_density(law: Law, x: Tensor) -> Tensor:
    """2 Laplacian log rho + |grad log rho|^2 of a smooth density on R^d: Hyvarinen's integrand."""
    least = _least_std(law)
    if least <= 0:
        raise ValueError(f"curvature_term is not known for {law}: a part of it has no smooth density")
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        score = law.score(x, 1.0, 1e-7 * least)  # which changes it by 1e-14 of itself
        laplacian = sum(
            torch.autograd.grad(score[..., j].sum(), x, retain_graph=True)[0][..., j] for j in range(law.dim)
        )
    return (2 * laplacian + score.square().sum(-1)).detach()


def _least_std(law: Law) -> float:
    """The standard deviation of the narrowest normal distribution that the law is smoothed by; 0 if there is none."""
    match law:
        case Gaussians(std=std):
            return min(std) if isinstance(std, tuple) else float(std)  # type: ignore[arg-type]
        case Thickened(tau=tau):
            return tau
        case AffineGaussian() if law.intrinsic_dim == law.dim:
            return float(law._variance.min().sqrt())
        case Embedded(law=inner) if inner.dim == law.dim:
            return _least_std(inner)
        case Scaled(law=inner, factor=factor):
            return factor * _least_std(inner)
        case Mixture(laws=parts) | Product(laws=parts):
            return min(map(_least_std, parts))
    return 0.0


def _on(law: Law, x: Tensor) -> Tensor:
    """x; ValueError unless it is on M."""
    away = law.distance(x) / (1 + torch.linalg.vector_norm(x, dim=-1))
    if float(away.max()) > max(NEAR, 8 * torch.finfo(x.dtype).eps):
        raise ValueError(f"x must lie on M; given a point at the distance {float(law.distance(x).max()):.2g} from it")
    return x


def _inside(law: Law, found: Tensor) -> None:
    """ValueError unless all are True."""
    if not bool(found.all()):
        raise ValueError(f"x must not lie on an edge of M, or where two of its parts meet; the law is {law}")
