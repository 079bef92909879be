"""The score matching regularity: how far a sample is from what the score model would refine it to.

With x_t = alpha x + sigma eps and eps*(y) = (y - alpha x0hat(y)) / sigma, the residual of the exact score model is

    eps*(x_t) - eps = (alpha / sigma) (x - x0hat(x_t)),

so its square is SNR times the squared distance from the sample to its refinement (claim P1). `score_matching_loss` is
the one function that theory checks, toy trains with and images scales; `pointwise_loss` is its mean over eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from theory.common import checks, seeds
from theory.cubature import nodes_of, resolve
from theory.levels import Level, Scalars
from theory.manifolds.law import Law, as_level, check_points, shape_with
from theory.quadrature import REACH, gaussian_rule

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
        level: alpha and sigma, each a number or a tensor of exactly the shape of x's axes before the last `event_dims`:
            one level a sample. They are used in x's dtype.
        noise: eps, standard normal, of x's shape.
        event_dims: how many of x's last axes make one sample, 1 to x.ndim.

    Raises:
        ValueError: x is empty; event_dims is not in 1..x.ndim; a level is of another shape; noise or the estimate is
            not of x's shape.
    """
    if x.numel() == 0:
        raise ValueError(f"x must hold at least one sample; given shape {tuple(x.shape)}")
    if noise.shape != x.shape:
        raise ValueError(f"noise must have the shape of x, {tuple(x.shape)}; given {tuple(noise.shape)}")
    if not 1 <= event_dims <= x.ndim:
        raise ValueError(f"event_dims must lie in 1..{x.ndim}, the axes of x; given {event_dims}")
    alpha, sigma = (_one_a_sample(name, getattr(level, name), x, event_dims) for name in ("alpha", "sigma"))
    x_t = alpha * x + sigma * noise
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        estimate = eps_model(x_t, level)
    if estimate.shape != x.shape:
        raise ValueError(f"eps_model must return x's shape, {tuple(x.shape)}; it returned {tuple(estimate.shape)}")
    if detach:
        estimate = estimate + (alpha / sigma) * (x - x.detach())  # adds 0, and the gradient stated above
    return (estimate - noise).square().flatten(x.ndim - event_dims).sum(-1)


def eps_model_of(law: Law) -> EpsModel:
    """The exact score model of a law: eps*(y) = (y - alpha x0hat(y)) / sigma = -sigma grad log p_t(y)."""

    def eps_star(y: Tensor, level: Level) -> Tensor:
        alpha, sigma = (_over_events(value, y, 1) for value in (level.alpha, level.sigma))
        return (y - alpha * law.denoise(y, level.alpha, level.sigma)) / sigma

    return eps_star


class Estimate(NamedTuple):
    """A number and how far off it may be: a standard error (Monte Carlo), or a bound (quadrature)."""

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

    d <= 3: the trapezoidal rule for the Gaussian weight, on grids over [-8.5, 8.5]^d of 64, 128, 256 steps an axis (d =
    1), of 48, 96 (d = 2), of 40 (d = 3). The error is the largest change from three rules of half the steps, two of
    them shifted: where one grid meets a jump of x0hat by chance, the others do not. A point is done once that is below
    1e-9 (1 + ell). The rules converge geometrically, like exp(-2 pi a / h) for the step h, a being the width of the
    strip around the real eps in which x0hat is analytic; for manifolds at nsr well below their reach the first rule is
    exact. Between point masses x0hat jumps, and a = pi nsr / separation is small.

    Where the last grid leaves more than 1e-9, 1e-6, 1e-4 of 1 + ell (d = 1, 2, 3), the space of eps is cut into boxes
    instead, the smaller the more x0hat varies in them (`theory.cubature`); the error is then the sum over the boxes of
    the difference of two rules. It bounds the true error at all of 1000 points near the edges of Voronoi cells of
    mixtures (theory/tests/test_regularity.py), where nsr is 0.01 to 0.2 times the separation.

    d > 3: the mean over 4096 draws of eps, the same for all points, with its standard error.

    Raises:
        TypeError, ValueError: x or a level as in `Law.denoise`; d > 3 and no generator, so that a random answer is
            only given to those who asked for one.
    """
    check_points(x, law.dim, "x")
    points = x.double()
    alpha, sigma = as_level(alpha, "alpha", points), as_level(sigma, "sigma", points)
    shape = shape_with(x, "x", alpha, sigma)
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


RULES = {1: (64, 128, 256), 2: (48, 96), 3: (40,)}  # steps an axis, by dimension
RTOL = 1e-9
# Of a step, an axis each. An error that oscillates like exp(2 pi i <k, place> / step) for a whole k could be 0 in one
# coarse rule by chance: the three agree for no k shorter than 3.
SHIFTS = ((4 / 16, 2 / 16, 1 / 16), (1 / 16, 2 / 16, 4 / 16))
ADAPTIVE = {1: 1e-9, 2: 1e-6, 3: 1e-4}  # relative to 1 + ell; boxes where no grid reaches it
DRAWS = 4096
CHUNK = 2**18  # noised points at a time


def _quadrature(law: Law, x: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """ell by finer grids, at each point until it changes little; by boxes where no grid does.   [n, d] -> [n], [n]"""
    values, errors, places = [], [], []
    left = torch.arange(len(x), device=x.device)
    for steps in RULES[law.dim]:
        at = x[left], alpha[left], sigma[left]
        fine, *shifted = (tuple(part.to(x.device) for part in rule) for rule in _grids(law.dim, steps))
        both = _mean_over(law, *at, *fine).value
        value, constant = both[0], tuple(part.detach() for part in at)
        coarse = torch.cat([both[1:].detach(), *(_mean_over(law, *constant, *rule).value for rule in shifted)])
        error = (coarse - value.detach()).abs().amax(0)
        enough = RTOL if steps < RULES[law.dim][-1] else ADAPTIVE[law.dim]
        done = error <= enough * (1 + value.detach())
        values.append(value[done])
        errors.append(error[done])
        places.append(left[done])
        left = left[~done]
        if len(left) == 0:
            break
    else:
        found = _by_boxes(law, x[left], alpha[left], sigma[left])
        values.append(found.value)
        errors.append(found.error)
        places.append(left)
    order = torch.cat(places).argsort()
    return Estimate(torch.cat(values)[order], torch.cat(errors)[order])


def _by_boxes(law: Law, x: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """ell by adaptive cubature.   [n, d], [n], [n] -> [n], [n]"""

    def weighted(x: Tensor, alpha: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
        """The integrand, a row a node.   [m, d], [m], [m], [m, d] -> [m]"""
        x_t = alpha[:, None] * x + sigma[:, None] * eps
        losses = ((alpha / sigma)[:, None] * (x - law.denoise(x_t, alpha, sigma))).square().sum(-1)
        return torch.exp(-eps.square().sum(-1) / 2) * losses / (2 * math.pi) ** (law.dim / 2)

    def integrand(which: Tensor, eps: Tensor) -> Tensor:
        which = which.to(x.device)
        with torch.no_grad():
            return weighted(x[which], alpha[which], sigma[which], eps.to(x.device)).cpu()

    found = resolve(integrand, len(x), law.dim, REACH, ADAPTIVE[law.dim])
    which, eps, weights = (part.to(x.device) for part in nodes_of(found.boxes))

    def chunk(x: Tensor, alpha: Tensor, sigma: Tensor, part: slice) -> Tensor:
        i = which[part]
        terms = weights[part] * weighted(x[i], alpha[i], sigma[i], eps[part])
        return torch.zeros_like(alpha).index_add(0, i, terms)

    value = torch.zeros_like(alpha)
    for start in range(0, len(which), CHUNK):
        part = slice(start, start + CHUNK)
        if x.requires_grad:
            value = value + checkpoint(chunk, x, alpha, sigma, part, use_reentrant=False, preserve_rng_state=False)
        else:
            value = value + chunk(x, alpha, sigma, part)
    return Estimate(value, found.error.to(x.device))


@lru_cache
@seeds.usual_state()
def _grids(dim: int, steps: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Sets of nodes, [m, dim], and rules on them, [r, m]: the grid, with all of its nodes and with every second one of
    an axis; two grids of half the steps, shifted by SHIFTS."""
    eps, weights = gaussian_rule(dim, steps)
    even = (torch.round((eps + REACH) * steps / (2 * REACH)) % 2 == 0).all(-1)
    found = [(eps, torch.stack([weights, weights * even / (weights * even).sum()]))]
    for shift in SHIFTS:
        offset = torch.tensor(shift[:dim], dtype=torch.float64) * 4 * REACH / steps
        moved = gaussian_rule(dim, steps // 2).nodes + offset
        rule = torch.exp(-moved.square().sum(-1) / 2)
        found.append((moved, (rule / rule.sum())[None]))
    return tuple(found)


def _mean_over(law: Law, x: Tensor, alpha: Tensor, sigma: Tensor, eps: Tensor, weights: Tensor | None) -> Estimate:
    """The mean of SNR ||x - x0hat(x_t)||^2 over nodes eps [m, d].

    With weights, [r, m], by each of the r rules, [r, n]; without, with its standard error, [n] and [n].
    """

    def chunk(x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        x_t = alpha[:, None] * x + sigma[:, None] * eps[:, None, :]  # [m, n, d]
        refined = law.denoise(x_t, alpha, sigma)  # [m, n, d]
        losses = ((alpha / sigma)[:, None] * (x - refined)).square().sum(-1)  # [m, n]
        if weights is not None:
            return weights @ losses, weights.new_zeros(len(weights), x.shape[0])
        return losses.mean(0), losses.detach().std(0) / len(eps) ** 0.5

    size = max(1, CHUNK // len(eps))
    chunks = list(zip(x.split(size), alpha.split(size), sigma.split(size), strict=True))
    if len(chunks) == 1 or not x.requires_grad:
        parts = [chunk(*part) for part in chunks]
    else:
        parts = [checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in chunks]
    values, errors = zip(*parts, strict=True)
    return Estimate(torch.cat(values, -1), torch.cat(errors, -1))


def _one_a_sample(name: str, value: Scalars, x: Tensor, event_dims: int) -> Scalars:
    """A level's alpha or sigma, in x's dtype, with `event_dims` axes of length 1 behind it.

    Raises:
        ValueError: it is neither a number nor of the shape of x's leading axes.
    """
    leading = x.shape[: x.ndim - event_dims]
    if isinstance(value, Tensor) and value.ndim > 0 and value.shape != leading:
        raise ValueError(
            f"level.{name} must be a number or have the shape {tuple(leading)}, one for each sample of x "
            f"{tuple(x.shape)} with event_dims {event_dims}; given the shape {tuple(value.shape)}"
        )
    return _over_events(value, x, event_dims)


def _over_events(value: Scalars, x: Tensor, event_dims: int) -> Scalars:
    """A level's alpha or sigma, in x's dtype (float32 for a narrower one), with `event_dims` axes of length 1."""
    if not isinstance(value, Tensor):
        return value
    dtype = x.dtype if x.dtype.itemsize >= 4 else torch.float32
    return value.to(dtype)[(..., *[None] * event_dims)]


STREAM = 1_204_631  # of the eps of `intrinsic_dimension`: samples drawn with a small seed must not be its eps


class Dimension(NamedTuple):
    """An intrinsic dimension and its standard error, [...] each."""

    value: Float[Tensor, " ..."]
    error: Float[Tensor, " ..."]


def intrinsic_dimension(
    eps_model: EpsModel,
    x: Float[Tensor, "*n d"],
    nsr: float,
    draws: int = 4096,
    generator: torch.Generator | None = None,
) -> Dimension:
    """k, the dimension of M near each x on M, and its standard error, from a score model.   [..., d] -> [...], [...]

    By P2, ell(x) = k + O(nsr^2) on M: k is the mean over eps of the loss ||eps_model(x_t) - eps||^2. Its variance,
    about 2k, is reduced by the control variate ||eps||^2 - d, of mean 0, with the best factor (about k / d):

        k = mean of [loss_i - b (||eps_i||^2 - d)],   b = cov(loss, ||eps||^2) / var(||eps||^2) over the same draws,

    whose variance is about 2k (1 - k/d) / draws: 2 / draws for a sphere of any dimension. The level given to the model
    is alpha = 1 / sqrt(1 + nsr^2), sigma = nsr alpha. Computed point by point in x's dtype; sums in float64.

    The error is that of the draws alone. The bias is nsr^2 r(x) (claim C1; for a unit S^n about -n^2 nsr^2), SNR dist^2
    where x is off M, and what P6 allows where the score is not exact. So nsr must be well below 1/k of the radius of
    curvature, and for a learned score not below what it has learned.

    Args:
        eps_model: any callable (x_t, level) -> eps, as `score_matching_loss` takes.
        x: points on M, such as samples of the data.
        nsr: the noise, in units of x.
        draws: how many eps a point, at least 3.
        generator: of eps, which must not be what x was drawn by; None is one of a seed of its own.

    Raises:
        TypeError, ValueError: x is no float32 or float64 tensor [..., d], or empty; nsr is not positive; draws < 3; the
            model returns another shape.
    """
    if not isinstance(x, Tensor) or x.ndim == 0:
        raise TypeError(f"x must be a float32 or float64 tensor [..., d]; given {type(x).__name__}")
    dim = x.shape[-1]
    check_points(x, dim, "x")
    level = Level.variance_preserving(checks.positive("nsr", nsr))
    draws = checks.whole("draws", draws, 3)
    generator = seeds.generator(0, STREAM) if generator is None else generator
    size = max(1, CHUNK // dim)
    values, errors = [], []
    for point in x.detach().reshape(-1, dim):
        losses, squares = [], []
        for start in range(0, draws, size):
            count = min(size, draws - start)
            eps = torch.randn(count, dim, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
            with torch.no_grad():
                losses.append(score_matching_loss(point.expand(count, dim), eps_model, level, eps).double())
            squares.append(eps.double().square().sum(-1) - dim)
        loss, square = torch.cat(losses), torch.cat(squares)
        factor = (loss - loss.mean()) @ square / (square - square.mean()).square().sum()
        rest = loss - factor * square
        values.append(rest.mean())
        errors.append(rest.std() * (draws - 1) ** 0.5 / (draws * (draws - 2)) ** 0.5)
    shape = x.shape[:-1]
    return Dimension(torch.stack(values).reshape(shape).to(x.dtype), torch.stack(errors).reshape(shape).to(x.dtype))
