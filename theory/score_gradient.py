"""The score term's gradient in closed form: no autograd for the laws where training spends its time.

At alpha = 1, with y = x + nsr eps and r = (x - x0hat(y)) / nsr,

    ||eps*(y) - eps||^2        = ||r||^2
    d/dx ||eps*(y) - eps||^2   = 2 (r - J r) / nsr,      J = d x0hat / dy = Cov[X | y] / nsr^2   (symmetric),

the last by Tweedie's formula of second order. `linearized` gives x0hat and the map v -> J v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds.bessel import reduced_ratio_and_slope
from theory.manifolds.combinators import Embedded, Mixture, Product, Scaled, Thickened
from theory.manifolds.gaussians import Gaussians
from theory.manifolds.law import Law
from theory.manifolds.sphere import Sphere

TABLE = 2**19  # samples times components at a time: what is made of them stays in the cache

Map: TypeAlias = Callable[[Float[Tensor, "*n d"]], Float[Tensor, "*n d"]]


@torch.no_grad()
def score_gradient(
    law: Law, x: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"], eps: Float[Tensor, "*n d"], detach: bool = False
) -> Float[Tensor, "*n d"]:
    """d/dx ||eps*(x + nsr eps) - eps||^2 of each sample: that of `score_matching_loss` with the law's own score.

    Args:
        nsr: sigma / alpha, one a sample.
        detach: the gradient of score distillation instead, 2 r / nsr.
    """
    if nsr.numel() * (count := components(law)) > TABLE:
        size = max(1, TABLE // count)
        flat = x.reshape(-1, law.dim).split(size), nsr.reshape(-1).split(size), eps.reshape(-1, law.dim).split(size)
        found = [score_gradient(law, *block, detach=detach) for block in zip(*flat, strict=True)]
        return torch.cat(found).view(x.shape)
    noise = nsr[..., None]
    mean, jacobian = linearized(law, x + noise * eps, nsr)
    r = (x - mean) / noise
    return 2 * (r if detach else r - jacobian(r)) / noise


def components(law: Law) -> int:
    """The terms of the sum that each sample takes: many for point masses."""
    if isinstance(law, (Embedded, Thickened, Scaled)):
        return components(law.law)
    return len(law.means) if isinstance(law, Gaussians) else 1


def shares(log_terms: Float[Tensor, "*n K"]) -> Float[Tensor, "*n K"]:
    """Their softmax, none below e^-60: torch's takes several times as long along a short axis, and so does an exp that
    underflows."""
    terms = (log_terms - log_terms.amax(-1, keepdim=True)).clamp_(min=-60).exp_()
    return terms.div_(terms.sum(-1, keepdim=True))


def has_closed_form(law: Law) -> bool:
    """Whether no part of the law is left to autograd: of the whole, that is faster than a form closed in part."""
    inner: Sequence[Law] = ()
    if isinstance(law, (Mixture, Product)):
        inner = law.laws
    elif isinstance(law, (Embedded, Thickened, Scaled)):
        inner = (law.law,)
    return linearized.dispatch(type(law)) is not linearized.dispatch(object) and all(map(has_closed_form, inner))


@singledispatch
def linearized(law: Law, y: Float[Tensor, "*n d"], nsr: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n d"], Map]:
    """(x0hat(y), v -> J v) at alpha = 1, sigma = nsr; by autograd where no closed form is registered for the law."""
    with torch.enable_grad():
        at = y.detach().requires_grad_()
        mean = law.denoise(at, 1.0, nsr)
    return mean.detach(), lambda v: torch.autograd.grad(mean, at, v, retain_graph=True)[0]


@linearized.register
def _(law: Sphere, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """x0hat = f y with f = (R/s)^2 B(q), q = (R |y| / s^2)^2:   J v = f v + 2 (R/s^2)^2 (R/s)^2 B'(q) <y, v> y."""
    u, s = y.double(), nsr.double()
    scale = (law.radius / s.square()).square()
    value, slope = reduced_ratio_and_slope(law.dim / 2 - 1, u.square().sum(-1) * scale)
    size = (law.radius / s).square()
    f, g = ((size * value)[..., None].to(y.dtype), (2 * scale * size * slope)[..., None].to(y.dtype))
    return f * y, lambda v: f * v + g * (y * v).sum(-1, keepdim=True) * y


@linearized.register
def _(law: Gaussians, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """With shares r_k, v_k = s^2 + std_k^2, means m_k = (std_k^2 y + s^2 mu_k) / v_k and c_k = <mu_k - y, v> / v_k:

    x0hat = sum_k r_k m_k,   J v = (sum_k r_k std_k^2 / v_k) v + sum_k r_k (c_k - mean c) m_k.
    """
    share = shares(law._log_terms(y, nsr)[-1])
    means, variance = law._means.to(y), law._variance.to(y)
    noise = nsr.square()[..., None]
    total = noise + variance  # [..., K]
    kept, moved = share * variance / total, share * noise / total  # of y, of mu_k
    of_y = kept.sum(-1, keepdim=True)
    mean = of_y * y + moved @ means
    columns = means.T.contiguous()  # products with few columns are slow with the transposed

    def product(v: Tensor) -> Tensor:
        c = (v @ columns - (y * v).sum(-1, keepdim=True)) / total
        c = c - (share * c).sum(-1, keepdim=True)
        return of_y * v + (kept * c).sum(-1, keepdim=True) * y + (moved * c) @ means

    return mean, product


@linearized.register
def _(law: Mixture, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """x0hat = sum_k r_k m_k,   J v = sum_k r_k (J_k v + (c_k - mean c) m_k),   c_k = <m_k, v> / s^2.

    (The part -y / s^2 of the score of each component drops out of c_k - mean c.)
    """
    share = shares(law._compared(y, nsr)[1])[..., None]  # [..., K, 1]
    means, maps = zip(*[linearized(part, y, nsr) for part in law.laws], strict=True)
    stacked = torch.stack(means, -2)  # [..., K, d]
    average = (share * stacked).sum(-2)

    def product(v: Tensor) -> Tensor:
        inner = torch.stack([one(v) for one in maps], -2)
        apart = stacked - average[..., None, :]
        c = (apart * v[..., None, :]).sum(-1, keepdim=True) / nsr.square()[..., None, None]
        return (share * (inner + c * apart)).sum(-2)  # the mean of c is 0

    return average, product


@linearized.register
def _(law: Product, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    means, maps = zip(*[linearized(part, coordinates, nsr) for part, coordinates in law._parts(y)], strict=True)
    sizes = [part.dim for part in law.laws]
    return torch.cat(means, -1), lambda v: torch.cat(
        [one(part) for one, part in zip(maps, v.split(sizes, -1), strict=True)], -1
    )


@linearized.register
def _(law: Embedded, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """x0hat = B x0hat_P(z) + b,   J v = B J_P B^T v."""
    basis, offset = law._basis.to(y), law._offset.to(y)
    mean, inner = linearized(law.law, (y - offset) @ basis, nsr)
    return mean @ basis.T + offset, lambda v: inner(v @ basis) @ basis.T


@linearized.register
def _(law: Thickened, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """x0hat = (tau^2 y + s^2 m) / s'^2,   J v = (tau^2 v + s^2 J_P v) / s'^2,   m and J_P at s' = hypot(s, tau)."""
    wide = torch.hypot(nsr, nsr.new_tensor(law.tau))
    mean, inner = linearized(law.law, y, wide)
    kept, moved = (law.tau / wide).square()[..., None], (nsr / wide).square()[..., None]
    return kept * y + moved * mean, lambda v: kept * v + moved * inner(v)


@linearized.register
def _(law: Scaled, y: Tensor, nsr: Tensor) -> tuple[Tensor, Map]:
    """x0hat = c x0hat_P(y / c; s / c),   J v = J_P v."""
    mean, inner = linearized(law.law, y / law.factor, nsr / law.factor)
    return law.factor * mean, inner
