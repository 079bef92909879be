"""Divergences with singular parts: the laws of V, D* and Jensen-Shannon on random mixed measures."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm

from theory.claims.other_divergences import by_discriminator
from theory.claims.saturation import mixed_carriers, random_law
from theory.divergences import (
    F_DIVERGENCES,
    Carrier,
    f_divergence,
    gaussian_mmd_squared,
    jensen_shannon,
    on_common_measure,
    optimal_discriminator,
    singular_mass,
    value,
    wasserstein,
)

ONE = torch.ones(1, dtype=torch.float64)
seeds = st.integers(0, 2**32)


def random_pair(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Densities of two random laws that mix atoms, a curve and a region, on their common measure."""
    generator = torch.Generator().manual_seed(seed)
    carriers = mixed_carriers()
    return on_common_measure(random_law(carriers, generator), random_law(carriers, generator))


def test_carriers_are_singular_though_they_share_their_cells():
    first, second = Carrier(ONE), Carrier(ONE)
    p, q, mu = on_common_measure({first: ONE}, {second: ONE})
    assert (p.tolist(), q.tolist(), mu.tolist()) == ([1, 0], [0, 1], [1, 1])


@given(seeds)
def test_densities_are_those_of_laws(seed_of_pair):
    p, q, mu = random_pair(seed_of_pair)
    assert float(mu @ p) == pytest.approx(1, abs=1e-12)
    assert float(mu @ q) == pytest.approx(1, abs=1e-12)


@given(seeds, st.floats(0.01, 0.99))
def test_jensen_shannon_lies_between_equality_and_singularity(seed_of_pair, share):
    p, q, mu = random_pair(seed_of_pair)
    found = float(jensen_shannon(p, q, mu, share))
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert -1e-12 <= found <= entropy + 1e-12
    assert found == pytest.approx(float(jensen_shannon(q, p, mu, 1 - share)), abs=1e-12)
    assert float(jensen_shannon(p, p, mu, share)) == pytest.approx(0, abs=1e-12)


@given(seeds)
def test_splitting_cells_changes_nothing(seed_of_pair):
    p, q, mu = random_pair(seed_of_pair)
    halves = jensen_shannon(p.repeat_interleave(2), q.repeat_interleave(2), (mu / 2).repeat_interleave(2))
    assert float(halves) == pytest.approx(float(jensen_shannon(p, q, mu)), abs=1e-12)


@given(seeds, seeds)
def test_no_discriminator_beats_the_optimal_one(seed_of_pair, seed):
    p, q, mu = random_pair(seed_of_pair)
    d = optimal_discriminator(p, q)
    best = float(value(d, p, q, mu))
    other = torch.rand(len(p), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for step in (1.0, 0.1, 0.01):
        assert float(value(d + step * (other - d), p, q, mu)) <= best + 1e-12


def test_jensen_shannon_of_gaussians_is_the_integral():
    shift, x = 1.5, torch.linspace(-12, 14, 4001, dtype=torch.float64)
    line = Carrier(torch.full_like(x, float(x[1] - x[0])))  # the trapezoidal rule, exact here to rounding
    p, q = (torch.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (0.0, shift))
    found = float(jensen_shannon(*on_common_measure({line: p}, {line: q})))

    def integrand(x: float) -> float:
        a, b = norm.pdf(x), norm.pdf(x - shift)
        return 0.5 * (a * math.log(2 * a / (a + b)) + b * math.log(2 * b / (a + b)))

    assert found == pytest.approx(integrate.quad(integrand, -12, 14, epsabs=1e-13, limit=200)[0], abs=1e-12)


@given(m=st.floats(0, 1))
def test_singular_parts_are_told_apart_by_their_carrier(m):
    curve, atoms = Carrier(torch.full((4,), 0.25, dtype=torch.float64)), Carrier(ONE)
    uniform = torch.ones(4, dtype=torch.float64)
    p, q, mu = on_common_measure({curve: uniform}, {curve: (1 - m) * uniform, atoms: m * ONE})
    assert float(singular_mass(p, q, mu)) == pytest.approx(m, abs=1e-15)
    if m == 1:
        assert float(jensen_shannon(p, q, mu)) == pytest.approx(math.log(2), abs=1e-15)


def test_the_optimal_discriminator_at_its_edges():
    p, q = torch.tensor([0.0, 1.0, 0.0, 3.0]), torch.tensor([2.0, 0.0, 0.0, 1.0])
    assert optimal_discriminator(p, q).tolist() == [0, 1, 0.5, 0.75]
    q = torch.tensor(2.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.log1p(-optimal_discriminator(torch.zeros(()), q)), q)
    assert float(gradient) == 0
    nowhere = torch.zeros(2, requires_grad=True)
    (gradient,) = torch.autograd.grad(optimal_discriminator(nowhere, torch.tensor([0.0, 1.0])).sum(), nowhere)
    assert gradient.tolist() == [0, 1]


@given(seeds)
def test_games_at_their_optimal_discriminator_are_f_divergences(seed_of_pair):
    p, q, mu = random_pair(seed_of_pair)
    for loss in ("LSGAN", "hinge"):
        game = by_discriminator(loss)(p, q, mu, torch.empty(len(mu), 2))
        torch.testing.assert_close(game, f_divergence(F_DIVERGENCES[loss], p, q, mu), rtol=1e-12, atol=1e-12)


# f-divergences and integral probability metrics


@given(seeds)
def test_f_divergences_obey_their_identities(seed_of_pair):
    p, q, mu = random_pair(seed_of_pair)
    found = {name: float(f_divergence(f, p, q, mu)) for name, f in F_DIVERGENCES.items()}
    back = {name: float(f_divergence(f, q, p, mu)) for name, f in F_DIVERGENCES.items()}
    assert found["Jensen-Shannon"] == pytest.approx(float(jensen_shannon(p, q, mu)), abs=1e-12)
    assert found["total variation"] == pytest.approx(float(mu @ (p - q).abs()) / 2, abs=1e-12)
    assert found["hinge"] == pytest.approx(2 * found["total variation"], abs=1e-12)
    assert found["squared Hellinger"] == pytest.approx(2 - 2 * float(mu @ (p * q).sqrt()), abs=1e-12)
    assert found["LSGAN"] == pytest.approx(2 - 4 * float(mu @ (p * q / (p + q).clamp(min=1e-300))), abs=1e-12)
    for name in ("Jensen-Shannon", "total variation", "squared Hellinger", "LSGAN", "hinge"):
        assert found[name] == pytest.approx(back[name], abs=1e-12)
    for name, other in (("KL(P || Q)", "KL(Q || P), reverse"), ("Pearson", "Neyman")):
        assert found[name] == pytest.approx(back[other], abs=1e-9)
    assert all(value >= -1e-12 for value in found.values())


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_limits_of_f_are_its_limits(name):
    f = F_DIVERGENCES[name]
    tiny, huge = torch.tensor([1e-12, 1e12], dtype=torch.float64)
    near_zero, per_t = float(f.f(tiny)), float(f.f(huge) / huge)
    assert near_zero > 20 if math.isinf(f.at_zero) else near_zero == pytest.approx(f.at_zero, abs=1e-5)
    assert per_t > 20 if math.isinf(f.slope_at_infinity) else per_t == pytest.approx(f.slope_at_infinity, abs=1e-5)
    assert float(f.f(torch.ones((), dtype=torch.float64))) == pytest.approx(0, abs=1e-15)


def test_wasserstein_and_mmd_of_known_pairs():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)  # the best pairs: 0 -> 1 (2), 1 -> 0 (1)
    assert float(wasserstein(x, y)) == pytest.approx(1.5)
    assert float(wasserstein(x, x.flip(0))) == 0
    a, b = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert float(gaussian_mmd_squared(a, b, 5.0)) == pytest.approx(2 - 2 * math.exp(-0.5))


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (torch.tensor([2.0, -1.0]), r"q must hold densities >= 0"),
        (torch.tensor([1.0]), r"q must hold densities >= 0, one a cell; given \(1,\)"),
        (torch.tensor([1.0, 1.0]), r"q must have mass 1; given 2.0"),
        (torch.tensor([math.nan, 1.0]), r"q must have mass 1; given nan"),
    ],
)
def test_what_is_no_law_is_refused(density, message):
    atoms = Carrier(torch.ones(2, dtype=torch.float64))
    real = torch.tensor([0.5, 0.5], dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        on_common_measure({atoms: real}, {atoms: density.double()})


def test_carriers_of_one_measure_are_singular_to_each_other():
    weight = torch.ones(3, dtype=torch.float64)
    assert Carrier(weight) != Carrier(weight)
    assert len({Carrier(weight), Carrier(weight)}) == 2


def test_the_gradient_of_the_discriminator_is_finite_where_neither_law_has_mass():
    p, q = (torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in ([0.0, 0.5], [0.0, 1.5]))
    found = optimal_discriminator(p, q)
    assert found.tolist() == [0.5, 0.25]
    slopes = torch.autograd.grad(found.sum(), (p, q))
    assert [slope.tolist() for slope in slopes] == [[0.0, 0.375], [0.0, -0.125]]


def test_wasserstein_far_from_the_origin() -> None:
    """Of clouds of more than 25 points, for which torch.cdist multiplies matrices and loses their small distances."""
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near = wasserstein(x, x + 1e-4)
    assert float(wasserstein(x + 1e6, x + 1e6 + 1e-4)) == pytest.approx(float(near), rel=1e-4)
