"""The score matching regularity: how far a sample is from what the score model would refine it to.

With x_t = alpha x + sigma eps and eps*(y) = (y - alpha x0hat(y)) / sigma, the residual of the exact score model is

    eps*(x_t) - eps = (alpha / sigma) (x - x0hat(x_t)),

so its square is SNR times the squared distance from the sample to its refinement (claim P1). `score_matching_loss` is
the one function that theory checks, toy trains with and images scales; `pointwise_loss` is its mean over eps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from theory.levels import Level, Scalars
from theory.manifolds.law import Law, as_level, check_points
from theory.quadrature import gaussian_rule

EpsModel: TypeAlias = Callable[[Tensor, Level], Tensor]  # (x_t, level) -> an estimate of eps, of x_t's shape


def score_matching_loss(
    x: Float[Tensor, " ..."],
    eps_model: EpsModel,
    level: Level,
    noise: Float[Tensor, " ..."],
    detach: bool = False,
    event_dims: int = 1,
) -> Float[Tensor, " ..."]:
    """||eps_model(x_t, level) - eps||^2 of each sample, x_t = alpha x + sigma eps.   [..., d] -> [...]

    The squares are *summed* over the last `event_dims` axes (1 for points [..., d], 3 for images [B, C, H, W]), as in
    the formula of the paper (eq. 10). Its pseudo-code takes their *mean*: that loss is this one divided by the number
    of pixels, and its lambda is larger by the same factor.

    The gradient runs through the score model, to x: 2 alpha J^T (eps_model(x_t) - eps), J its Jacobian.

    With `detach` the loss has the same value, and the gradient

        d loss / dx = 2 (alpha / sigma) (eps_model(x_t) - eps),

    in which J is replaced by I / sigma, its value normal to the manifold: it is the gradient of SNR ||x - r||^2 with
    the refinement r = (x_t - sigma eps_model(x_t)) / alpha held fixed (score distillation). The scale is chosen for
    two reasons: both gradients then have the same limit 2 SNR (x - Proj x) off the manifold as nsr -> 0, so that one
    lambda serves both; and for the exact score the expected gradient is that of -2 E_eps log p_t(alpha x + sigma eps)
    (claim P5), with no factor left that depends on the level.

    Args:
        x: samples.
        eps_model: any callable (x_t, level) -> eps estimate. No gradient reaches its parameters under `detach`.
        level: alpha and sigma, numbers or tensors that broadcast against x's axes before the last `event_dims`.
        noise: eps, standard normal, of x's shape.

    Raises:
        ValueError: x is empty; noise or the estimate is not of x's shape.
    """
    if x.numel() == 0:
        raise ValueError(f"x must hold at least one sample; given shape {tuple(x.shape)}")
    if noise.shape != x.shape:
        raise ValueError(f"noise must have the shape of x, {tuple(x.shape)}; given {tuple(noise.shape)}")
    alpha, sigma = (_over_events(value, event_dims) for value in (level.alpha, level.sigma))
    x_t = alpha * x + sigma * noise
    if detach:
        with torch.no_grad():
            estimate = eps_model(x_t, level)
        estimate = estimate + (alpha / sigma) * (x - x.detach())  # adds 0, and the gradient stated above
    else:
        estimate = eps_model(x_t, level)
    if estimate.shape != x.shape:
        raise ValueError(f"eps_model must return x's shape, {tuple(x.shape)}; it returned {tuple(estimate.shape)}")
    return (estimate - noise).square().flatten(x.ndim - event_dims).sum(-1)


def eps_model_of(law: Law) -> EpsModel:
    """The exact score model of a law: eps*(y) = (y - alpha x0hat(y)) / sigma = -sigma grad log p_t(y)."""

    def eps_star(y: Tensor, level: Level) -> Tensor:
        alpha, sigma = (_over_events(value, 1) for value in (level.alpha, level.sigma))
        return (y - alpha * law.denoise(y, level.alpha, level.sigma)) / sigma

    return eps_star


class Estimate(NamedTuple):
    """A number and how far off it may be: a standard error (Monte Carlo), or the last change (quadrature)."""

    value: Float[Tensor, " ..."]
    error: Float[Tensor, " ..."]


def pointwise_loss(
    law: Law, x: Float[Tensor, "*n d"], alpha: Scalars, sigma: Scalars, generator: torch.Generator | None = None
) -> Float[Tensor, " ..."]:
    """ell(x) = E_eps ||eps*(alpha x + sigma eps) - eps||^2, the value of `pointwise_estimate`.   [..., d] -> [...]"""
    return pointwise_estimate(law, x, alpha, sigma, generator).value


def pointwise_estimate(
    law: Law, x: Float[Tensor, "*n d"], alpha: Scalars, sigma: Scalars, generator: torch.Generator | None = None
) -> Estimate:
    """ell(x) = SNR E_eps ||x - x0hat(alpha x + sigma eps)||^2 and its error; differentiable.   [..., d] -> [...], [...]

    Computed in float64 whatever x's dtype, in chunks of points (recomputed in the backward pass) so that memory stays
    bounded. This form of ell has no cancellation where eps* and eps nearly agree.

    d <= 3: the trapezoidal rule for the Gaussian weight on a grid of step h over [-8.5, 8.5]^d. h is halved until ell
    changes by less than 1e-9 (1 + ell) at every point, or until there are 1024, 192, 80 steps an axis (d = 1, 2, 3);
    the error is the last change, far above that of the finer rule wherever the rules converge. They do so
    geometrically, like exp(-2 pi a / h), a being the width of the strip around the real eps in which x0hat is analytic;
    for manifolds at nsr well below their reach the first rule is exact. Between point masses x0hat jumps and a is
    small, pi nsr / separation: this rule then needs some 50/a steps, where Gauss-Hermite needs about 100/a^2 nodes,
    which is why it is used (two points at +-1, x = 0, nsr 0.1, 512 steps: off by 6e-10, Gauss-Hermite with 512 nodes by
    0.2). The error reaches 1e-4 (1 + ell) there at nsr = 0.015, 0.1, 0.25 times the separation (d = 1, 2, 3).

    d > 3: the mean over 4096 draws of eps, the same for all points, with its standard error.

    Raises:
        TypeError, ValueError: x or a level as in `Law.denoise`; d > 3 and no generator, so that a random answer is
            only given to those who asked for one.
    """
    check_points(x, law.dim, "x")
    points = x.double()
    alpha, sigma = as_level(alpha, "alpha", points), as_level(sigma, "sigma", points)
    shape = torch.broadcast_shapes(x.shape[:-1], alpha.shape, sigma.shape)
    points = points.expand(*shape, law.dim).reshape(-1, law.dim)
    alpha, sigma = alpha.expand(shape).reshape(-1), sigma.expand(shape).reshape(-1)
    if law.dim > max(RULES):
        if generator is None:
            raise ValueError(f"dim {law.dim} > 3: ell is then estimated by Monte Carlo; give a generator")
        eps = torch.randn(DRAWS, law.dim, generator=generator, dtype=torch.float64, device=generator.device)
        found = _mean_over(law, points, alpha, sigma, eps.to(x.device), None)
    else:
        found = _quadrature(law, points, alpha, sigma)
    return Estimate(found.value.reshape(shape).to(x.dtype), found.error.reshape(shape).to(x.dtype))


RULES = {1: (32, 64, 128, 256, 512, 1024), 2: (24, 48, 96, 192), 3: (20, 40, 80)}  # steps an axis, by dimension
RTOL = 1e-9
DRAWS = 4096
CHUNK = 2**18  # noised points at a time


def _quadrature(law: Law, x: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """ell by finer and finer rules, until one changes little.   [n, d] -> [n], [n]"""
    last: Tensor | None = None
    for steps in RULES[law.dim]:
        eps, weights = (part.to(x.device) for part in gaussian_rule(law.dim, steps))
        value = _mean_over(law, x, alpha, sigma, eps, weights).value
        if last is not None:
            change = (value - last).detach().abs()
            if bool((change <= RTOL * (1 + value)).all()):
                break
        last = value
    return Estimate(value, change)


def _mean_over(law: Law, x: Tensor, alpha: Tensor, sigma: Tensor, eps: Tensor, weights: Tensor | None) -> Estimate:
    """The mean of SNR ||x - x0hat(x_t)||^2 over nodes eps [m, d]; without weights, its standard error too.   -> [n]"""

    def chunk(x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        x_t = alpha[:, None] * x + sigma[:, None] * eps[:, None, :]  # [m, n, d]
        refined = law.denoise(x_t, alpha, sigma)  # [m, n, d]
        losses = ((alpha / sigma)[:, None] * (x - refined)).square().sum(-1)  # [m, n]
        if weights is not None:
            return weights @ losses, torch.zeros_like(x[:, 0])
        return losses.mean(0), losses.detach().std(0) / len(eps) ** 0.5

    size = max(1, CHUNK // len(eps))
    chunks = list(zip(x.split(size), alpha.split(size), sigma.split(size), strict=True))
    if len(chunks) == 1 or not x.requires_grad:
        parts = [chunk(*part) for part in chunks]
    else:
        parts = [checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in chunks]
    values, errors = zip(*parts, strict=True)
    return Estimate(torch.cat(values), torch.cat(errors))


def _over_events(value: Scalars, event_dims: int) -> Scalars:
    """A level's alpha or sigma with `event_dims` axes of length 1 behind it."""
    return value[(..., *[None] * event_dims)] if isinstance(value, Tensor) else value
