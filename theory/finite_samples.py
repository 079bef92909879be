"""What a score learned from n samples can be, and the interval of noises that follows from it (claim C6)."""

from __future__ import annotations

import math

import torch

from theory.common import checks
from theory.critical_noise import critical_nsr
from theory.levels import Interval
from theory.manifolds import Law

DRAWS = 512
SHARE = 0.5  # of the critical noise, or of the reach


def sample_score_error(k: int, n: int, density: float, nsr: float) -> float:
    """E ||eps_n - eps*||^2 = k / (2 n rho (2 sqrt(pi) nsr)^k), for n rho nsr^k >> 1 and nsr small against M's features.

    eps_n is the exact eps model of n samples (point masses), the best that denoising score matching on them can learn;
    the mean is over the samples and over x_t = x + nsr eps at x on M.

    Args:
        k: dimension of M, at least 1. n: samples. density: rho at x, against the volume of M, in 1 / (unit of x)^k.
        nsr: the noise, in units of x.
    """
    return k / (2 * n * density * (2 * math.sqrt(math.pi) * nsr) ** k)


def optimal_interval(
    law: Law, n: int, error: float = 0.05, distance: float | None = None, detach: bool = False
) -> Interval:
    """The noises at which a score learned from n samples is good and its gradient leads to M.

    Lower end, C6: the noise at which the sample score's error at a point of median density is `error` times k, the loss
    of a sample on M. By P6 it then changes that loss by at most 2 sqrt(error) + error of itself.

        low = [2 n error rho]^(-1/k) / (2 sqrt(pi)),   rho the median of 512 draws, read from log p_t at small noise

    Upper end, the smallest of those that apply:
    - I2, or C4 with `detach`: half of `critical_nsr`, where it is known. The minimum of the potential is there off M by
      1 % of the radius for a circle and a sphere (detached 7 and 9 %), by 9 % for two points (detached 1 %).
    - P3: half of the reach of M, below which the projection is unique, where it is finite and the former is not known.
    - I3, with `distance` (how far off M the samples to be corrected are), for the detached gradient: the noise at which
      one draw's standard deviation 2 sqrt(k) / nsr equals its mean 2 distance / nsr^2, nsr = distance / sqrt(k). The
      full gradient's noise is bounded on M and sets no end.

    >>> from theory.manifolds import make
    >>> found = optimal_interval(make("ring"), n=10_000)
    >>> round(found.low, 5), round(found.high, 3)
    (0.00177, 0.365)

    Args:
        law: its dimension k must be one number, at least 1.
        n: how many samples the score is learned from.
        error: share of k, in (0, 1).

    Raises:
        ValueError: n, error or distance out of range; a law of points or of parts of several dimensions, for which C6
            has no k; no upper end is known; the ends cross: n samples are too few.
    """
    n = checks.whole("n", n, 1)
    if not 0 < checks.real("error", error) < 1:
        raise ValueError(f"error must lie in (0, 1); given {error}")
    k = law.intrinsic_dim
    if k is None or k == 0:
        raise ValueError(f"optimal_interval takes laws whose support has one dimension of at least 1; given {law}")
    low = (2 * n * error * _median_density(law, k)) ** (-1 / k) / (2 * math.sqrt(math.pi))
    highs = [_upper(law, detach)]
    if distance is not None and detach:
        highs.append(checks.positive("distance", distance) / math.sqrt(k))
    high = min(highs)
    if high == math.inf:
        raise ValueError(f"no upper end is known: the law has no critical noise and no finite reach; given {law}")
    if low >= high:
        raise ValueError(f"{n} samples are too few: the lower end {low:.3g} is above the upper one, {high:.3g}")
    return Interval(low, high)


def _upper(law: Law, detach: bool) -> float:
    """Half of the critical noise; half of the reach where that is not known; inf without either."""
    try:
        return SHARE * critical_nsr(law, detach)
    except ValueError:
        return math.inf if not law.reach else SHARE * law.reach


def _median_density(law: Law, k: int) -> float:
    """The median of rho(X), rho(x) the limit of p_t(x) (2 pi nsr^2)^((d - k) / 2), taken at 1e-3 of the law's size."""
    x = law.sample(DRAWS, torch.Generator().manual_seed(0), torch.float64)
    nsr = 1e-3 * float((x - x.mean(0)).square().sum(-1).mean().sqrt())
    log_density = law.log_density(x, 1.0, nsr) + (law.dim - k) / 2 * math.log(2 * math.pi * nsr**2)
    return float(torch.exp(log_density.median()))
