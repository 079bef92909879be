"""C2's numbers at parameters of their own, and the transport of C9."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from theory.claims.condensation import excited, gathered, over_chi_square, within
from theory.claims.game import flow
from theory.equilibrium import equilibrium, gaussian_condensation_lambda


def cells(n: int, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Masses of N(0, I_k) in n shells up to radius 8 by the midpoint rule, ell - min ell at nsr 1, and the middles."""
    r = (torch.arange(n, dtype=torch.float64) + 0.5) * 8 / n
    p = r ** (k - 1) * torch.exp(-r.square() / 2)
    return p / p.sum(), r.square() / 4, r


@pytest.mark.parametrize(("n", "wanted"), [(500, 0.618), (5000, 0.620), (50000, 0.620)])
def test_the_mass_of_the_centre_does_not_fall_as_cells_become_finer(n, wanted):
    """d = 3, tau = nsr = 1, lambda 6: P has 3e-5 within 0.05."""
    p, ell, r = cells(n, 3)
    q = equilibrium(p, ell, 6.0)
    assert round(float(q[r < 0.05].sum()), 3) == wanted
    assert float(p[r < 0.05].sum()) < 4e-5


def test_in_two_dimensions_it_falls():
    found = []
    for n in (1600, 16000):
        p, ell, r = cells(n, 2)
        q = equilibrium(p, ell, 6.0)
        found.append(float(q[r < 0.005].sum()))
    assert found[1] < 2e-3
    assert max(found) < 2e-3


def test_the_atom_at_twice_the_critical_lambda():
    critical = gaussian_condensation_lambda([1.0] * 3, 1.0)
    assert round(1 - excited(2 * critical, 3), 3) == 0.588
    assert round(gathered(2 * critical, 3, critical), 3) == 0.615
    assert within(2 * critical, 3, 4800) == pytest.approx(gathered(2 * critical, 3, critical), abs=1e-4)


def test_the_integral_is_the_sum_of_the_series():
    for b, k in ((0.5, 5), (0.2, 12)):
        series = sum((1 + 2 * n * b) ** (-k / 2) for n in range(1, 200001))
        tail = (1 + 2 * 200000.5 * b) ** (1 - k / 2) / (b * (k - 2))
        assert over_chi_square(b, k) == pytest.approx(series + tail, rel=1e-8)


def test_the_flow_keeps_mass_and_stays_positive():
    p, ell = np.array([0.2, 0.3, 0.5, 0.0]), np.array([1.0, 0.5, 2.0, 9.0])
    start = np.array([0.7, 0.1, 0.1, 0.1])
    for loss in ("saturating", "non-saturating"):
        start_here = start if loss == "saturating" else np.array([0.8, 0.1, 0.1, 0.0])
        end = flow(p, ell, 0.4, loss, start_here, 0.5, 30.0)
        assert end.sum() == pytest.approx(1, abs=1e-12)
        assert (end >= 0).all()
        wanted = equilibrium(torch.from_numpy(p), torch.from_numpy(ell), 0.4, loss).numpy()
        assert end == pytest.approx(wanted, abs=1e-9)


def test_a_flow_lowers_the_energy():
    """V + lambda E_Q ell along the way, from entropies."""
    p, ell, lam = np.array([0.2, 0.3, 0.5]), np.array([1.0, 0.5, 2.0]), 0.7
    q = np.array([0.7, 0.2, 0.1])

    def energy(q: np.ndarray) -> float:
        return float((p * np.log(p / (p + q)) + q * np.log(q / (p + q)) + lam * ell * q).sum())

    values = [energy(q)]
    for _ in range(5):
        q = flow(p, ell, lam, "saturating", q, 1.0, 0.4)
        values.append(energy(q))
    assert all(b < a for a, b in pairwise(values))
    assert math.isfinite(values[-1])
