"""Modified Bessel functions as a sphere needs them: exact, cheap and differentiable for every order and argument.

In q = kappa^2 everything a sphere needs is analytic, at q = 0 too:

    F_nu(q) = Gamma(nu + 1) (2 / kappa)^nu I_nu(kappa) = 0F1(; nu + 1; q / 4)
    B_nu(q) = I_{nu+1}(kappa) / (kappa I_nu(kappa)) = 2 d/dq log F_nu(q)

With t_k = 1 / B_k the three-term recurrence of I_k reads t_k = 2 (k + 1) + q / t_{k+1}. All its terms are positive, so
that running it downwards keeps every digit, in t_k and (because t is a complete Bernstein function of q) in its
derivatives. It starts STEPS orders higher with the uniform expansion of Debye, which holds for all q at once:
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

STEPS = 20  # of the recurrence
TERMS = 8  # of the expansions in 1 / order it starts from


def reduced_ratio(nu: float, q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """B_nu(q) = I_{nu+1}(kappa) / (kappa I_nu(kappa)) at q = kappa^2 >= 0, nu >= 0; differentiable to any order.

    B_nu(0) = 1 / (2 nu + 2); B_nu ~ 1 / kappa. Value, first and second derivative to 1e-14 relative; computed in
    float64 and returned in q's dtype.
    Source: DLMF 10.29.1 (recurrence), 10.41(ii) (Debye's expansion).
    """
    return _Derivative.apply(q, nu, 0)


def reduced_ratio_and_slope(nu: float, q: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """(B_nu(q), B_nu'(q)) from one recurrence, without a gradient; for the rest as `reduced_ratio`."""
    with torch.no_grad():
        value, slope = _reciprocal(_inverse_ratio(nu, q.double(), 1))
        return value.to(q.dtype), slope.to(q.dtype)


def log_0f1(nu: float, q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log F_nu(q) = log 0F1(; nu + 1; q / 4) at q = kappa^2 >= 0, nu >= 0; differentiable to any order.

    It grows like kappa; where that would cancel against another term take `log_scaled` for the value.
    Source: as `reduced_ratio`.
    """
    return _Log0F1.apply(q, nu)


def log_scaled(nu: float, q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log F_nu(q) - kappa = log[Gamma(nu + 1) (2 / kappa)^nu I_nu(kappa) exp(-kappa)]: the value, without a gradient.

    Its gradient in q is singular at 0; that of log F_nu is not: see `log_0f1`.
    Source: as `reduced_ratio`.
    """
    with torch.no_grad():
        dtype, q = q.dtype, q.double()
        m = nu + STEPS
        w, kappa = torch.sqrt(q + m * m), torch.sqrt(q)
        p = m / w
        # Debye: log F_m = w - m - m log((m + w) / 2m) + log(p) / 2 + log U(p) / U(1)
        total = m * m / (w + kappa) - m - m * torch.log((m + w) / (2 * m)) + 0.5 * torch.log(p)
        total += torch.log(_horner(_debye_sum(m), p))
        t = w + m + _horner(_debye_ratio(m, 0), p)
        for k in range(STEPS):  # from order m - k to the one below
            a = 2.0 * (m - k)
            t = q / t + a
            total += torch.log(t / a)  # F_k / F_{k+1} = t_k / (2 k + 2)
        return total.to(dtype)


class _Derivative(torch.autograd.Function):
    """The derivative of B_nu of the given order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, nu: float, order: int) -> Tensor:
        t = _inverse_ratio(nu, q.double(), order)
        return (factorial(order) * _reciprocal(t)[order]).to(q.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, int], output: Tensor) -> None:
        q, ctx.nu, ctx.order = inputs
        ctx.save_for_backward(q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * _Derivative.apply(ctx.saved_tensors[0], ctx.nu, ctx.order + 1), None, None


class _Log0F1(torch.autograd.Function):
    """log F_nu, whose derivative is B_nu / 2."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, nu: float) -> Tensor:
        wide = q.double()
        return (log_scaled(nu, wide) + torch.sqrt(wide)).to(q.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        q, ctx.nu = inputs
        ctx.save_for_backward(q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * reduced_ratio(ctx.nu, ctx.saved_tensors[0]) / 2, None


def _inverse_ratio(nu: float, q: Tensor, order: int) -> list[Tensor]:
    """Taylor coefficients of t_nu = 1 / B_nu at q, up to the given order."""
    m = nu + STEPS
    p = m * torch.rsqrt(q + m * m)
    t = [_horner(_debye_ratio(m, i), p) for i in range(order + 1)]
    t[0] += m / p + m
    for k in range(STEPS):
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
