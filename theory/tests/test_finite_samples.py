"""optimal_interval: its examples, its two ends, and what has none."""

from __future__ import annotations

import doctest
import math
from itertools import product

import pytest
import torch

from theory import finite_samples
from theory.claims.finite_samples import mean_square
from theory.critical_noise import (
    critical_nsr,
    critical_nsr_of_sphere,
    detached_potential,
    full_potential,
    minimum_near,
)
from theory.finite_samples import optimal_interval, sample_score_error
from theory.manifolds import Gaussians, Sphere, make


def test_the_examples_run():
    found = doctest.testmod(finite_samples)
    assert found.attempted >= 2
    assert found.failed == 0


@pytest.mark.parametrize(
    ("name", "options", "density"),
    [
        ("ring", {"radius": 2.0}, 1 / (4 * math.pi)),
        ("ring", {"dim": 5}, 1 / (2 * math.pi)),
        ("sphere", {}, 1 / (4 * math.pi)),
        ("square", {}, 1 / 8),
    ],
)
def test_the_lower_end_is_where_the_error_is_the_one_allowed(name, options, density):
    law = make(name, **options)
    low = optimal_interval(law, 20_000, error=0.1).low
    k = law.intrinsic_dim
    assert k is not None
    assert sample_score_error(k, 20_000, density, low) == pytest.approx(0.1 * k, rel=0.02)


def test_the_upper_end_is_half_of_the_critical_noise_or_of_the_reach():
    assert optimal_interval(Sphere(2), 10_000).high == pytest.approx(critical_nsr(Sphere(2)) / 2)
    assert optimal_interval(Sphere(2), 10_000, detach=True).high == pytest.approx(critical_nsr(Sphere(2), True) / 2)
    roll = make("swiss-roll")
    assert roll.reach is not None
    assert optimal_interval(roll, 10_000).high == pytest.approx(roll.reach / 2)
    near = optimal_interval(Sphere(2), 10_000, distance=0.05, detach=True)
    assert near.high == pytest.approx(0.05)


@pytest.mark.parametrize(("d", "detach", "off"), [(1, False, 0.09), (1, True, 0.01), (2, False, 0.011)])
def test_how_far_the_minimum_is_off_at_half_the_critical_noise(d, detach, off):
    law = Sphere(d) if d > 1 else Gaussians([(-1.0,), (1.0,)])
    potential = (detached_potential if detach else full_potential)(law)
    start = 0.9 * torch.eye(d, dtype=torch.float64)[0]
    found = float(minimum_near(potential, start, critical_nsr_of_sphere(d, detach) / 2, 1.0).norm())
    assert abs(found - 1) < off


def test_more_samples_widen_it():
    few, many = (optimal_interval(Sphere(3), n) for n in (2000, 200_000))
    assert many.low == pytest.approx(few.low / 10, rel=1e-9)
    assert many.high == few.high


@pytest.mark.parametrize(
    ("law", "change", "says"),
    [
        (make("points"), {}, "laws whose support has one dimension of at least 1"),
        (make("mixed"), {}, "laws whose support has one dimension of at least 1"),
        (make("segment"), {}, "no upper end is known"),
        (Sphere(3), {"n": 10}, "10 samples are too few: the lower end 1 is above the upper one, 0.299"),
        (Sphere(2), {"n": 0}, "n must be a whole number of at least 1"),
        (Sphere(2), {"error": 1.0}, "error must lie in"),
        (Sphere(2), {"distance": -1.0, "detach": True}, "distance must be positive"),
    ],
)
def test_what_has_none_is_refused(law, change, says):
    with pytest.raises(ValueError, match=says):
        optimal_interval(**({"law": law, "n": 1000} | change))


def test_the_mean_square_is_the_one_of_all_samples():
    """Of three independent X at three places: 27 triples."""
    kernel, along = torch.tensor([0.9, 0.3, 0.05]).double(), torch.tensor([1.0, -0.4, 2.0]).double()
    across, masses = torch.tensor([0.0, 0.7, -0.5]).double(), torch.tensor([0.2, 0.5, 0.3]).double()
    total = 0.0
    for triple in product(range(3), repeat=3):
        i = torch.tensor(triple)
        for signs in product((-1, 1), repeat=3):  # across has no direction
            mean = [kernel[i] @ along[i], kernel[i] @ (across[i] * torch.tensor(signs))]
            total += float(masses[i].prod() / 8 * (mean[0] ** 2 + mean[1] ** 2) / kernel[i].sum() ** 2)
    found = mean_square(3, kernel, along, along.square() + across.square(), masses)
    assert float(found) == pytest.approx(total, rel=1e-7)
