"""Levels: the paper's table of what "t in [25, 35]" means, and the laws of intervals and parametrisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theory.levels import SCHEDULES, STEPS, Interval, Level, index_interval, index_level, schedule

TEXT: Any = "5"  # where numbers belong
NOTHING: Any = None
FIVE: Any = 5.0
THIRTY: Any = np.int64(30)
noises = st.floats(1e-6, 1e6)
shares = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("name", "t0", "t1", "alphas", "sigmas", "digits"),
    [
        ("karras", 40, 60, (1, 1), (0.0051, 0.0077), 4),
        ("karras", 25, 35, (1, 1), (0.0036, 0.0045), 4),
        ("ddpm-cosine", 25, 35, (0.9987, 0.9977), (0.0515, 0.0674), 4),
        ("ddpm-linear", 25, 35, (0.9955, 0.9920), (0.0951, 0.1266), 4),
    ],
)
def test_the_table_of_index_ranges(name, t0, t1, alphas, sigmas, digits):
    first, last = (index_level(name, t) for t in (t0, t1))
    assert (round(float(first.alpha), digits), round(float(last.alpha), digits)) == alphas
    assert (round(float(first.sigma), digits), round(float(last.sigma), digits)) == sigmas
    interval = index_interval(name, t0, t1)
    assert (interval.low, interval.high) == (first.nsr, last.nsr)
    both = index_level(name, torch.tensor([t0, t1]))
    assert torch.equal(torch.as_tensor(both.nsr), torch.tensor([first.nsr, last.nsr], dtype=torch.float64))


def test_ddpm_linear_40_to_60_as_a_ratio():
    interval = index_interval("ddpm-linear", 40, 60)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.144, 0.209)


def test_the_readings_of_25_to_35_differ_by_a_factor_of_30_in_noise():
    lows = [index_interval(name, 25, 35).low for name in SCHEDULES]
    assert 25 < max(lows) / min(lows) < 35


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_run_from_little_noise_to_much(name):
    alpha, sigma = schedule(name)
    assert alpha.shape == sigma.shape == (STEPS,)
    assert bool(((sigma / alpha).diff() > 0).all())
    if name == "karras":
        assert sigma[[0, -1]].tolist() == pytest.approx([0.002, 80], rel=1e-14)
    else:  # 1 - sigma^2 is lost to rounding where alpha is small, alpha^2 + sigma^2 is not
        assert torch.allclose(alpha**2 + sigma**2, torch.ones(STEPS, dtype=torch.float64), rtol=0, atol=1e-14)


def test_the_last_beta_of_ddpm_cosine_is_cut():
    """f(1000) = 0: without the cut no signal is left, and the ratio is infinite."""
    alpha, _ = schedule("ddpm-cosine")
    assert float((alpha[-1] / alpha[-2]).square()) == pytest.approx(1e-3, rel=1e-9)


@given(nsr=noises)
def test_both_parametrisations_keep_the_ratio(nsr):
    preserving, exploding = Level.variance_preserving(nsr), Level.variance_exploding(nsr)
    assert preserving.alpha**2 + preserving.sigma**2 == pytest.approx(1, rel=1e-14)
    assert exploding.alpha == 1
    for level in (preserving, exploding):
        assert level.nsr == pytest.approx(nsr, rel=1e-14)
        assert level.snr == pytest.approx(nsr**-2, rel=1e-14)


def test_levels_of_tensors_are_levels_of_their_elements():
    nsr = torch.tensor([0.1, 2.0], dtype=torch.float64)
    for make in (Level.variance_preserving, Level.variance_exploding):
        for at, level in zip(nsr, (make(float(r)) for r in nsr), strict=True):
            assert float(make(at).alpha) == pytest.approx(level.alpha, rel=1e-15)
            assert float(make(at).sigma) == pytest.approx(level.sigma, rel=1e-15)


@given(ends=st.tuples(noises, noises), u=shares, spacing=st.sampled_from(["uniform", "log-uniform"]))
def test_an_interval_is_never_left(ends, u, spacing):
    interval = Interval(min(ends), max(ends))
    for dtype in (torch.float32, torch.float64):
        nsr = interval.nsr(torch.tensor([0.0, u, 1.0], dtype=dtype), spacing)
        assert nsr.dtype == dtype
        assert bool((nsr.diff() >= 0).all())
        assert nsr[[0, 2]].tolist() == pytest.approx([interval.low, interval.high], rel=1e-6)
        assert bool((nsr >= torch.tensor(interval.low, dtype=dtype)).all())
        assert bool((nsr <= torch.tensor(interval.high, dtype=dtype)).all())


def test_spacings_are_uniform_in_what_they_say():
    interval, u = Interval(0.05, 5.0), torch.linspace(0, 0.99, 100, dtype=torch.float64)
    assert torch.allclose((interval.nsr(u) - 0.05) / 4.95, u, rtol=0, atol=1e-14)
    log = interval.nsr(u, "log-uniform").log()
    assert torch.allclose((log - math.log(0.05)) / math.log(100), u, rtol=0, atol=1e-14)


def test_samples_come_from_the_generator():
    draws = [Interval(0.1, 0.2).sample(5, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].shape == (5,)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Interval(0.2, 0.1), r"low <= high; given low=0.2, high=0.1"),
        (lambda: Interval(0.0, 0.1), r"low must lie in \(0, inf\); given 0.0"),
        (lambda: Interval(0.1, math.inf), r"high must lie in \(0, inf\); given inf"),
        (lambda: Interval(math.nan, 0.1), r"low must lie in \(0, inf\); given nan"),
        (
            lambda spacing="log": Interval(0.1, 0.2).nsr(torch.zeros(1), spacing),
            "spacing must be 'uniform' or 'log-uniform'",
        ),
        (lambda: Interval(TEXT, 0.2), r"low must lie in \(0, inf\); given '5'"),
        (lambda: Interval(0.1, True), r"high must lie in \(0, inf\); given True"),
        (lambda: Level(NOTHING, 0.1), r"alpha must lie in \(0, inf\); given None"),
        (lambda: Level(1.0, -0.1), r"sigma must lie in \(0, inf\); given -0.1"),
        (lambda: schedule("ddpm-linera"), "choose from ddpm-linear, ddpm-cosine, karras; did you mean 'ddpm-linear'"),
        (lambda: index_level("karras", 1000), r"t must hold whole numbers in 0..999; given 1000"),
        (lambda: index_level("karras", torch.tensor([0.5])), "t must hold whole numbers"),
        (lambda: index_level("karras", TEXT), "t must hold whole numbers in 0..999; given '5'"),
        (lambda: index_level("karras", FIVE), "t must hold whole numbers in 0..999; given 5.0"),
        (lambda: index_level("karras", True), "t must hold whole numbers in 0..999; given True"),
        (lambda: index_level("karras", torch.tensor([5, 1000])), "t must hold whole numbers"),
        (lambda: index_interval("karras", 35, 25), "t0 <= t1; given t0=35, t1=25"),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=message) as raised:
        build()
    assert "\n" not in str(raised.value)


def test_schedules_ignore_case():
    assert index_level("DDPM-Linear", THIRTY).nsr == index_level("ddpm-linear", 30).nsr


def test_levels_that_hold_tensors_can_be_compared_and_are_keys():
    level, same = (Level(torch.ones(2), torch.ones(2)) for _ in range(2))
    assert level != same
    assert {level: 1}[level] == 1


def test_the_first_and_the_last_index_are_levels() -> None:
    for name in SCHEDULES:
        alpha, sigma = schedule(name)
        for t in (0, STEPS - 1):
            for index in (t, torch.tensor([t])):
                found = index_level(name, index)
                assert (float(found.alpha), float(found.sigma)) == (float(alpha[t]), float(sigma[t]))
