"""Bessel ratios and logarithms against mpmath, over every argument a sphere can ask for."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from theory.manifolds.bessel import log_0f1, log_scaled, reduced_ratio

RELATIVE = 5e-14  # of the ratio and both derivatives: 200 roundings; measured over a grid: 4e-15
ABSOLUTE = 5e-12  # of the logarithm, whose series leave 8e-13

orders = st.integers(0, 62).map(lambda n: n / 2)  # d / 2 - 1 for d = 2 ... 64
exponents = st.floats(-8, 10)  # log10 kappa


def exact(nu: float, kappa: float) -> tuple[mp.mpf, ...]:
    """(B, B', B'', log F - kappa) at q = kappa^2, the float squared exactly."""
    with mp.workdps(50):  # the differences below lose two digits for each one of kappa
        k = mp.mpf(kappa)
        i = [scaled(nu + j, k) for j in range(4)]
        b = [i[j + 1] / i[j] for j in range(3)]
        slope = [b[j] * (b[j + 1] - b[j]) / 2 for j in range(2)]  # B_nu' = B_nu (B_{nu+1} - B_nu) / 2
        curvature = (slope[0] * (b[1] - b[0]) + b[0] * (slope[1] - slope[0])) / 2
        return b[0], slope[0], curvature, mp.log(i[0] * mp.gamma(nu + 1) * mp.mpf(2) ** nu)


def scaled(nu: float, k: mp.mpf) -> mp.mpf:
    """kappa^-nu I_nu(kappa) exp(-kappa), by the power series where mpmath can sum it."""
    if k < 1000:
        return mp.hyp0f1(nu + 1, k * k / 4) / mp.gamma(nu + 1) / mp.mpf(2) ** nu * mp.exp(-k)
    return k ** (-mp.mpf(nu)) * mp.besseli(nu, k) * mp.exp(-k)


def derivatives(f: Callable[[Tensor], Tensor], at: float) -> list[float]:
    q = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    value = f(q)
    (slope,) = torch.autograd.grad(value, q, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, q)
    return [value.item(), slope.item(), curvature.item()]


def ratio_agrees(nu: float, kappa: float, shift: float = 0.0) -> bool:
    """B and two derivatives at order nu + shift against the exact ones at nu."""
    found = derivatives(lambda q: reduced_ratio(nu + shift, q), kappa**2)
    wanted = exact(nu, kappa)
    return all(abs(mp.mpf(f) / w - 1) < RELATIVE for f, w in zip(found, wanted, strict=False))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(nu=orders, exponent=exponents)
@example(nu=0.0, exponent=-mp.inf)  # kappa = 0
@example(nu=31.0, exponent=1.5)  # kappa = nu: where Debye's expansion is at its worst
@example(nu=0.0, exponent=1.2)
def test_ratio_and_derivatives(nu: float, exponent: float) -> None:
    assert ratio_agrees(nu, 10.0 ** float(exponent))


@settings(derandomize=True, deadline=None, max_examples=20)
@given(nu=orders, exponent=exponents)
def test_control_another_order_is_rejected(nu: float, exponent: float) -> None:
    """nu + 1/2 changes B by 1 / (2 kappa) of itself or more: at least 5e-10 up to kappa = 1e9."""
    assert not ratio_agrees(nu, 10.0 ** min(exponent, 9.0), shift=0.5)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(nu=orders, exponent=exponents)
def test_logarithm(nu: float, exponent: float) -> None:
    kappa = 10.0**exponent
    wanted = exact(nu, kappa)[3]
    q = torch.tensor(kappa**2, dtype=torch.float64)
    assert abs(log_scaled(nu, q).item() - wanted) < ABSOLUTE * max(1, abs(wanted) / 100)
    assert abs(log_0f1(nu, q).item() - (wanted + mp.mpf(kappa))) < ABSOLUTE * max(1, abs(wanted + kappa) / 100)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(nu=st.floats(0, 2000), exponent=exponents)
def test_recurrence(nu: float, exponent: float) -> None:
    """1 / B_nu = 2 (nu + 1) + q B_{nu+1}, for orders that are no half-integers too."""
    q = torch.tensor(10.0 ** (2 * exponent), dtype=torch.float64)
    assert torch.isclose(1 / reduced_ratio(nu, q), 2 * (nu + 1) + q * reduced_ratio(nu + 1, q), rtol=RELATIVE, atol=0)


def test_control_the_textbook_formulas_lose_their_digits() -> None:
    """Riccati's B' = (1 - q B^2 - 2 (nu + 1) B) / 2q cancels at both ends; I_1 / I_0 overflows at kappa = 800."""
    for kappa in (1e-5, 1e6):
        q = torch.tensor(kappa**2, dtype=torch.float64)
        b = reduced_ratio(0.0, q)
        riccati = ((1 - q * b * b - 2 * b) / (2 * q)).item()
        wanted = exact(0.0, kappa)[1]
        assert abs(riccati / wanted - 1) > 1e-11
        assert abs(derivatives(lambda q: reduced_ratio(0.0, q), kappa**2)[1] / wanted - 1) < RELATIVE
    k = torch.tensor(800.0, dtype=torch.float64)
    assert (torch.special.modified_bessel_i1(k) / torch.special.modified_bessel_i0(k)).isnan()


@pytest.mark.parametrize("f", [reduced_ratio, log_0f1])
def test_gradgradcheck(f: Callable[[float, Tensor], Tensor]) -> None:
    q = torch.tensor([0.0, 0.3, 7.0, 150.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: f(0.0, q + 1e-3), (q,))  # the checker's step must not leave q >= 0
    assert torch.autograd.gradgradcheck(lambda q: f(1.5, q + 1e-3), (q,))


def test_float32_is_float64_rounded() -> None:
    q = torch.logspace(-20, 18, 400, dtype=torch.float32)
    for f in (reduced_ratio, log_0f1, log_scaled):
        for nu in (0.0, 0.5, 31.0):
            assert torch.equal(f(nu, q), f(nu, q.double()).float())
            assert f(nu, q).isfinite().all()


def test_functional_transforms() -> None:
    q = torch.tensor([0.0, 0.3, 7.0, 150.0], dtype=torch.float64)
    curvature = torch.func.vmap(torch.func.grad(torch.func.grad(lambda q: log_0f1(0.5, q))))(q)
    for found, at in zip(curvature, q, strict=True):
        assert found.item() == pytest.approx(float(exact(0.5, at.sqrt().item())[1] / 2), rel=1e-13)
