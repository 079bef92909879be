"""Modified Bessel functions as a sphere needs them: exact, cheap and differentiable for every order and argument.

In q = kappa^2 everything a sphere needs is analytic, at q = 0 too:

    F_nu(q) = Gamma(nu + 1) (2 / kappa)^nu I_nu(kappa) = 0F1(; nu + 1; q / 4)
    B_nu(q) = I_{nu+1}(kappa) / (kappa I_nu(kappa)) = 2 d/dq log F_nu(q)

With t_k = 1 / B_k the three-term recurrence of I_k reads t_k = 2 (k + 1) + q / t_{k+1}. All its terms are positive, so
that running it downwards keeps every digit, in t_k and (because t is a complete Bernstein function of q) in its
derivatives. It starts at an order large enough for the uniform expansion of Debye, which holds for all q at once:
one path for every argument, no branches and no seams.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial
from typing import Any

import torch
from jaxtyping import Float
from numpy.polynomial import Polynomial
from torch import Tensor

LOWEST_ORDER = 18  # of an expansion; smaller orders are reached by recurrence
TERMS = 8  # of the expansion in 1 / order


def reduced_ratio(nu: float, q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """B_nu(q) = I_{nu+1}(kappa) / (kappa I_nu(kappa)) at q = kappa^2 >= 0; differentiable to any order.

    The values are computed in float64 and returned in q's dtype. B_nu(0) = 1 / (2 nu + 2); B_nu ~ 1 / kappa.
    Source: DLMF 10.29.1 (recurrence), 10.41(ii) (Debye's expansion).
    """
    return _ReducedRatio.apply(q, nu, 0)


class _ReducedRatio(torch.autograd.Function):
    """The derivative of B_nu of the given order."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, nu: float, order: int) -> Tensor:
        ctx.save_for_backward(q)
        ctx.nu, ctx.order = nu, order
        t = _inverse_ratio(nu, q.double(), order)
        return (factorial(order) * _reciprocal(t)[order]).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (q,) = ctx.saved_tensors
        return grads[0] * _ReducedRatio.apply(q, ctx.nu, ctx.order + 1), None, None


def log_scaled(nu: float, q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log F_nu(q) - kappa = log[Gamma(nu + 1) (2 / kappa)^nu I_nu(kappa) exp(-kappa)]: the value, without a gradient.

    Its gradient is reduced_ratio(nu, q) / 2 - 1 / (2 kappa), singular at 0; that of log F_nu is regular.
    Source: as `reduced_ratio`.
    """
    with torch.no_grad():
        dtype, q = q.dtype, q.double()
        m = _start(nu)
        w, kappa = torch.sqrt(q + m * m), torch.sqrt(q)
        p = m / w
        # Debye: log F_m = w - m - m log((m + w) / 2m) + log(p) / 2 + log U(p) / U(1)
        total = m * m / (w + kappa) - m - m * torch.log((m + w) / (2 * m)) + 0.5 * torch.log(p)
        total += torch.log(_horner(_debye_sum(m), p))
        t = w + m + _horner(_debye_ratio(m, 0), p)
        for k in range(round(m - nu)):  # log F_k = log F_{k+1} + log(t_k / (2k + 2))
            a = 2.0 * (m - k)
            t = q / t + a
            total += torch.log(t / a)
        return total.to(dtype)


def _start(nu: float) -> float:
    """The order nu + integer at which the recurrence starts."""
    return nu + max(0, round(LOWEST_ORDER - nu))


def _inverse_ratio(nu: float, q: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of t_nu = 1 / B_nu at q, up to the given order."""
    m = _start(nu)
    p = m * torch.rsqrt(q + m * m)
    t = [_horner(_debye_ratio(m, i), p) for i in range(order + 1)]
    t[0] += m / p + m
    for k in range(round(m - nu)):
        t = _quotient(q, t)
        t[0] += 2.0 * (m - k)
    return t


def _quotient(q: Tensor, t: list[Tensor]) -> list[Tensor]:
    """Taylor coefficients of (q + e) / t(e)."""
    inverse = 1 / t[0]
    out = [q * inverse]
    for i in range(1, len(t)):
        rest = sum(t[j] * out[i - j] for j in range(1, i + 1))
        out.append((float(i == 1) - rest) * inverse)
    return out


def _reciprocal(t: list[Tensor]) -> list[Tensor]:
    """Taylor coefficients of 1 / t(e)."""
    out = [1 / t[0]]
    for i in range(1, len(t)):
        out.append(-sum(t[j] * out[i - j] for j in range(1, i + 1)) * out[0])
    return out


def _horner(coefficients: tuple[float, ...], p: Tensor) -> Tensor:
    """The polynomial with these coefficients, the constant first."""
    out = torch.full_like(p, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        out.mul_(p).add_(c)
    return out


@lru_cache
def _debye_ratio(m: float, order: int) -> tuple[float, ...]:
    """Taylor coefficient number `order` in q of t_m - m - (w if order == 0), a polynomial in p = m / w, w^2 = m^2 + q.

    t_m / m = 1 + 1 / p + sum_k theta_k(p) / m^k solves Riccati's equation 2 q t' = q + 2 (m + 1) t - t^2 term by term.
    """
    p = Polynomial([0.0, 1.0])
    theta = [Polynomial([0.0]), (1 + p) ** 2 / 2]
    for k in range(2, TERMS + 1):
        products = sum((theta[i] * theta[k - i] for i in range(1, k)), Polynomial([0.0]))
        theta.append(p / 2 * ((1 - p**2) * p * theta[-1].deriv() + 2 * theta[-1] - products))
    total = sum((theta[k] * m ** (1 - k) for k in range(1, TERMS + 1)), Polynomial([0.0]))
    slope = -(p**3) / (2 * m * m)  # dp/dq
    for i in range(1, order + 1):
        total = total.deriv() * slope / i
        if i == 1:
            total = total + p / (2 * m)  # dw/dq
    return tuple(total.coef)


@lru_cache
def _debye_sum(m: float) -> tuple[float, ...]:
    """U(p) / U(1), U(p) = sum_k u_k(p) / m^k with the polynomials of DLMF 10.41.9."""
    p = Polynomial([0.0, 1.0])
    u = Polynomial([1.0])
    total = u
    for k in range(1, TERMS + 1):
        u = p**2 * (1 - p**2) * u.deriv() / 2 + ((1 - 5 * p**2) * u).integ() / 8
        total = total + u / m**k
    return tuple((total / total(1.0)).coef)
