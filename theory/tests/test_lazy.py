"""The couplings' mean steps at numbers of their own: in closed form for a cycle of Adam's second moment."""

from __future__ import annotations

import pytest
import torch

from theory.claims.lazy import A, G, decoupled_law, mean_steps, noisy_moments, own_step_law, summed_law, two_adams_law


def settled(pattern: list[float], beta2: float) -> list[float]:
    """sqrt(v) after each update of a periodic sequence of gradients, v settled."""
    n = len(pattern)
    v = sum((1 - beta2) * g**2 * beta2 ** (n - 1 - i) for i, g in enumerate(pattern)) / (1 - beta2**n)
    roots = []
    for g in pattern:
        v = beta2 * v + (1 - beta2) * g**2
        roots.append(v**0.5)
    return roots


@pytest.mark.parametrize("k", [2, 8])
@pytest.mark.parametrize("coupling", ["summed", "own-step"])
def test_mean_steps_are_those_of_a_settled_cycle(coupling, k):
    """Exact at any beta2, here by hand for each pair of gradients."""
    beta2 = 0.99
    due_to_g, due_to_a = mean_steps(k, beta2, coupling)
    for i, (g, a) in enumerate(zip(G.tolist(), A.tolist(), strict=True)):
        if coupling == "summed":
            roots = settled([g + a] + [g] * (k - 1), beta2)
            wanted = sum(g / root for root in roots) / k, a / roots[0] / k
        else:
            roots = settled([g, a] + [g] * (k - 1), beta2)
            wanted = sum(g / root for root in [roots[0], *roots[2:]]) / k, a / roots[1] / k
        assert float(due_to_g[i]) == pytest.approx(wanted[0], rel=2e-3)
        assert float(due_to_a[i]) == pytest.approx(wanted[1], rel=2e-3)


def test_the_two_laws_that_saturate_differ_and_the_decoupled_is_linear():
    k, large = 8, A == 1000
    assert float(summed_law(k)[1][large]) == pytest.approx(k**-0.5, rel=2e-3)
    assert float(own_step_law(k)[1][large]) == pytest.approx((k + 1) ** 0.5 / k, rel=2e-3)
    assert float(two_adams_law(k)[1][large]) == 1 / k
    assert float(decoupled_law(k)[1][large]) == 1000 / k


def test_the_correction_scales_both_steps():
    plain, corrected = (mean_steps(2, 0.995, coupling) for coupling in ("own-step", "corrected"))
    for one, other in zip(plain, corrected, strict=True):
        torch.testing.assert_close(other, one * 2 / 3, rtol=5e-3, atol=0)


def test_a_clip_that_binds_ends_linearity():
    free, bound = (-float(noisy_moments(4, 0.3, 0.0, 2, clip=clip)[0]) / 8 for clip in (1e6, 1.0))
    assert free == pytest.approx(1 + 0.3 / 0.5)
    assert bound == pytest.approx(1 + 1.0 / 4)
