"""Noise levels: how much signal (alpha) and how much noise (sigma) x_t = alpha x + sigma eps carries.

What the theory says depends on a level through nsr = sigma / alpha alone (claim P1). Intervals are therefore stored as
intervals of nsr: "t in [25, 35]" means noises that differ by a factor of 30 from one code base to the next.
`index_level` and `index_interval` turn indices t into levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from theory.common.checks import choose

Scalars: TypeAlias = Float[Tensor, "..."] | float | int  # one level, or a tensor of them
Spacing: TypeAlias = Literal["uniform", "log-uniform"]


@dataclass(frozen=True, eq=False)
class Level:
    """alpha, sigma of x_t = alpha x + sigma eps: two numbers, or two tensors that broadcast against x's leading axes.

    Raises:
        ValueError: alpha or sigma is a number outside (0, inf). Tensors are not looked at, which would stop an
            accelerator at every step of training; a law checks those it is given.
    """

    alpha: Scalars
    sigma: Scalars

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("sigma", self.sigma)):
            if not isinstance(value, Tensor):
                check_positive(value, name)

    @classmethod
    def variance_preserving(cls, nsr: Scalars) -> Level:
        """alpha = 1 / sqrt(1 + nsr^2), sigma = nsr alpha: alpha^2 + sigma^2 = 1."""
        alpha = (1 + nsr**2) ** -0.5
        return cls(alpha, nsr * alpha)

    @classmethod
    def variance_exploding(cls, nsr: Scalars) -> Level:
        """alpha = 1, sigma = nsr."""
        return cls(torch.ones_like(nsr) if isinstance(nsr, Tensor) else 1.0, nsr)

    @property
    def nsr(self) -> Scalars:
        """The noise-to-signal ratio sigma / alpha, in units of x."""
        return self.sigma / self.alpha

    @property
    def snr(self) -> Scalars:
        """The signal-to-noise ratio (alpha / sigma)^2."""
        return (self.alpha / self.sigma) ** 2


@dataclass(frozen=True)
class Interval:
    """The noise-to-signal ratios from `low` to `high`, in units of x.

    Raises:
        ValueError: not 0 < low <= high < inf, or no numbers.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_positive(self.low, "low")
        check_positive(self.high, "high")
        if self.low > self.high:
            raise ValueError(f"an interval needs low <= high; given low={self.low}, high={self.high}")

    def nsr(self, u: Float[Tensor, "*n"], spacing: Spacing = "uniform") -> Float[Tensor, "*n"]:
        """The inverse distribution function: u uniform on [0, 1) becomes a noise-to-signal ratio.   [...] -> [...]

        "uniform" is uniform in nsr: low + (high - low) u. "log-uniform" is uniform in log nsr, hence also in log SNR:
        low (high / low)^u. (Uniform in an index t is a third distribution; on the paper's short intervals it is
        within a few per cent of uniform in nsr.)
        """
        if spacing == "uniform":
            nsr = torch.lerp(torch.full_like(u, self.low), torch.full_like(u, self.high), u)
        elif spacing == "log-uniform":
            nsr = self.low * (self.high / self.low) ** u
        else:
            raise ValueError(f"spacing must be 'uniform' or 'log-uniform'; given {spacing!r}")
        return nsr.clamp(self.low, self.high)  # rounding may step over an end

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        spacing: Spacing = "uniform",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Float[Tensor, " n"]:
        """n independent noise-to-signal ratios, [n]."""
        return self.nsr(torch.rand(n, generator=generator, dtype=dtype, device=device), spacing)


def schedule(name: str) -> tuple[Float[Tensor, " 1000"], Float[Tensor, " 1000"]]:
    """(alpha, sigma) at the indices t = 0..999 of a named schedule, float64; nsr grows with t.

    - "ddpm-linear":  abar_t = prod_{s<=t} (1 - beta_s), beta from 1e-4 to 0.02 in equal steps; alpha = sqrt(abar),
      sigma = sqrt(1 - abar). Ho, Jain, Abbeel 2020.
    - "ddpm-cosine":  the same with 1 - beta_t = f(t + 1) / f(t), f(t) = cos^2(pi/2 (t/1000 + 0.008) / 1.008), and beta
      at most 0.999. Nichol, Dhariwal 2021.
    - "karras":  alpha = 1, sigma_t = (a + t/999 (b - a))^7 from a^7 = 0.002 to b^7 = 80. Karras et al. 2022, ascending.

    Raises:
        ValueError: no schedule of that name.
    """
    name = choose(name, SCHEDULES, "schedule")
    t = torch.arange(STEPS, dtype=torch.float64)
    if name == "karras":
        a, b = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
        return torch.ones_like(t), (a + t / (STEPS - 1) * (b - a)) ** 7
    if name == "ddpm-linear":
        beta = torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)
    else:
        s = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
        f = torch.cos(math.pi / 2 * (s + 0.008) / 1.008) ** 2
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    log_abar = torch.log1p(-beta).cumsum(0)
    return torch.exp(log_abar / 2), torch.sqrt(-torch.expm1(log_abar))


STEPS = 1000
SCHEDULES = ("ddpm-linear", "ddpm-cosine", "karras")


def index_level(name: str, t: int | Int[Tensor, "*n"]) -> Level:
    """The level of index t (a number or a tensor of them, 0..999) of a named schedule, float64.

    Raises:
        ValueError: no schedule of that name; an index outside 0..999.
    """
    alpha, sigma = schedule(name)
    whole = isinstance(t, Integral) or (isinstance(t, Tensor) and not t.is_floating_point())
    if isinstance(t, bool) or not whole or bool(((index := torch.as_tensor(t)) < 0).any() or (index >= STEPS).any()):
        raise ValueError(f"t must hold whole numbers in 0..{STEPS - 1}; given {t!r}")
    if not isinstance(t, Tensor):
        return Level(float(alpha[t]), float(sigma[t]))
    return Level(alpha[t], sigma[t])


def index_interval(name: str, t0: int, t1: int) -> Interval:
    """The noise-to-signal ratios of the indices t0..t1 of a named schedule.

    Raises:
        ValueError: as `index_level`; t0 > t1.
    """
    if t0 > t1:
        raise ValueError(f"an index range needs t0 <= t1; given t0={t0}, t1={t1}")
    low, high = index_level(name, t0).nsr, index_level(name, t1).nsr
    return Interval(float(low), float(high))


def check_positive(value: object, name: str) -> None:
    """ValueError unless value is a number in (0, inf)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must lie in (0, inf); given {value!r}")
