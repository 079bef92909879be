"""Intervals, p-values and the summary; statistical checks are seeded and state how often they reject a truth."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from theory.common import statistics
from theory.common.statistics import compare, expanded, interval, ratio, sign_flip, summary

RNG = np.random.default_rng(0)
EIGHT = RNG.normal(size=8)


def coverage_at_eight_seeds() -> float:
    """Share of 2000 normal data sets of 8 whose 95 % interval holds the true mean."""
    data = np.random.default_rng(1).normal(size=(20, 100, 8))  # the resamples of 100 fit a processor's cache
    ends = [interval(part)[1:] for part in data]
    return float(np.mean([(low <= 0) & (high >= 0) for low, high in ends]))


def covers(share: float) -> bool:
    # The docstring states .944. The standard error of 2000 data sets is .0051: 4.7 of them on either side, so that
    # a true .944 is rejected less than once in 1e5
    return 0.92 <= share <= 0.968


def test_interval_covers_what_its_docstring_says():
    assert covers(coverage_at_eight_seeds())


def test_the_textbook_percentile_interval_undercovers(monkeypatch):
    monkeypatch.setattr(statistics, "expanded", lambda level, n: level)  # the control
    assert not covers(coverage_at_eight_seeds())


@pytest.mark.parametrize("n", [3, 8, 30])
def test_expanded_level_gives_the_length_of_students_interval(n):
    # the bootstrap's standard error is sqrt((n - 1) / n) of the usual one
    quantile = stats.norm.ppf((1 + expanded(0.95, n)) / 2) * math.sqrt((n - 1) / n)
    assert quantile == pytest.approx(stats.t.ppf(0.975, n - 1))


def test_interval_against_all_resamples():
    # the 27 resamples of three seeds; the bootstrap draws 9999 of them
    x = np.array([0.0, 1.0, 5.0])
    means = [np.mean(chosen) for chosen in itertools.product(x, repeat=3)]
    low, high = np.quantile(means, [0.25, 0.75], method="inverted_cdf")
    level = 2 * stats.t.cdf(stats.norm.ppf(0.75) * math.sqrt(2 / 3), 2) - 1  # expanded(level, 3) = 1/2
    assert expanded(level, 3) == pytest.approx(0.5)
    assert interval(x, level) == pytest.approx((2.0, low, high))


def test_interval_is_deterministic_and_row_by_row():
    rows = RNG.normal(size=(3, 2, 8))
    found = np.stack(interval(rows))
    assert found.shape == (3, 3, 2)
    assert np.array_equal(found, interval(rows))
    assert interval(rows[1, 0]) == pytest.approx(found[:, 1, 0])
    assert interval(rows[1, 0] * 2 + 3) == pytest.approx(2 * found[:, 1, 0] + 3)


def test_interval_without_variation_or_seeds():
    assert interval(np.full(8, 0.25)) == (0.25, 0.25, 0.25)
    one = interval(np.array([0.3]))
    assert one.mean == 0.3
    assert math.isnan(one.low)
    assert math.isnan(one.high)


def enumerated(d: np.ndarray) -> float:
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=len(d))]
    return float(np.mean(np.array(sums) >= abs(d.sum()) - 1e-12))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 11])
def test_sign_flip_counts_every_pattern(n):
    generator = np.random.default_rng(n)
    for d in (generator.normal(size=n), generator.normal(1, 1, size=n), generator.integers(-2, 3, size=n) * 0.1):
        assert sign_flip(d) == pytest.approx(enumerated(d), abs=1e-12)


def test_sign_flip_of_seeds_that_agree_is_two_of_all_patterns():
    """16 of 16 of one sign: 2^-15 = 3e-5, where scipy's signed-rank test with ties says 4e-4."""
    assert sign_flip(np.full(16, 0.3)) == 2.0**-15
    assert sign_flip(np.full(32, 0.3)) == 2.0**-31
    assert sign_flip(np.zeros(5)) == 1.0


def test_sign_flip_agrees_with_scipy():
    d = np.random.default_rng(0).normal(0.4, 1, size=13)
    found = stats.permutation_test(
        (d,), lambda x, axis: x.mean(axis), permutation_type="samples", vectorized=True, n_resamples=2**13
    )
    assert sign_flip(d) == pytest.approx(float(found.pvalue), abs=1e-9)


def test_sign_flip_of_many_seeds_is_near_the_exact_one(monkeypatch):
    d = np.random.default_rng(5).normal(0.3, 1, size=30)
    exact = sign_flip(d)
    monkeypatch.setattr(statistics, "EXACT", 29)
    error = math.sqrt(exact * (1 - exact) / statistics.FLIPS)
    assert sign_flip(d) == pytest.approx(exact, abs=5 * error + 2 / statistics.FLIPS)


@pytest.mark.parametrize("d", [[], [1.0, math.nan], [[1.0, 2.0]]])
def test_differences_must_be_finite_numbers(d):
    with pytest.raises(ValueError, match="differences must be"):
        sign_flip(np.array(d))


@pytest.mark.parametrize("difference", [EIGHT + 0.4, EIGHT[:5], np.array([1.0, 1, -1, 2, 2, 3, 3, 4]), np.ones(6)])
def test_p_is_exact_with_and_without_ties(difference):
    assert compare(difference, np.zeros_like(difference))["p"] == pytest.approx(enumerated(difference))


def test_p_is_uniform_when_nothing_differs():
    """All 256 signs of eight differences are then as likely: P(p <= 2 k / 256) = 2 k / 256 wherever that is a p."""
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))

    null, moved = ([sign_flip(row) for row in signs * abs(EIGHT) + shift] for shift in (0, 0.7))
    for level in (2 / 256, 10 / 256, 64 / 256):
        assert np.mean(np.array(null) <= level + 1e-9) == level
    assert np.mean(np.array(moved) <= 10 / 256 + 1e-9) > 30 / 256  # control


def test_compare_is_paired():
    b = 10 * RNG.normal(size=8)
    a = b + 0.5 + 0.1 * EIGHT
    found = compare(a, b)
    assert found["difference"] == pytest.approx(0.5 + 0.1 * EIGHT.mean())
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] == pytest.approx(2 / 256)
    shuffled = compare(a, np.roll(b, 3))  # control: the same values, the pairs lost
    assert shuffled["low"] < 0 < shuffled["high"]
    assert shuffled["p"] > 0.05


def test_compare_changes_sign_with_its_arguments():
    # random resamples are the same both ways, so that the ends are mirrored exactly
    a, b = EIGHT, EIGHT[::-1] ** 2
    one, other = compare(a, b), compare(b, a)
    assert one["low"] == pytest.approx(-other["high"])
    assert one["high"] == pytest.approx(-other["low"])
    assert one["p"] == other["p"]


def test_compare_equal_arms_and_one_seed():
    assert compare(EIGHT, EIGHT) == {"difference": 0, "low": 0, "high": 0, "p": 1}
    assert compare(np.ones(1), np.zeros(1))["p"] == 1


def test_ratio():
    b = np.exp(EIGHT)
    assert ratio(0.2 * b, b) == pytest.approx((0.2, 0.2, 0.2))
    found = ratio(0.2 * np.roll(b, 3), b)  # control: the pairs lost
    assert found.mean == pytest.approx(0.2)
    assert found.low < 0.15 < 0.25 < found.high
    back = ratio(b, 0.2 * np.roll(b, 3))
    assert (1 / back.mean, 1 / back.high, 1 / back.low) == pytest.approx(found, rel=1e-3)


def test_ratio_where_resamples_have_nothing_to_divide_by():
    found = ratio(np.full(5, 0.1), np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    assert found.mean == pytest.approx(0.5)
    assert found.high == math.inf
    with pytest.raises(ValueError, match="b must have a mean above 0"):
        ratio(EIGHT**2, np.zeros(8))
    with pytest.raises(ValueError, match="a must be >= 0; given -"):
        ratio(EIGHT, EIGHT**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval(np.zeros(0)), "per_seed must have at least one seed"),
        (lambda: interval(np.array([1.0, math.nan])), "per_seed must be finite; given nan"),
        (lambda: interval(EIGHT, level=1.0), r"level must lie in \(0, 1\); given 1.0"),
        (lambda: compare(EIGHT, EIGHT[:7]), r"a and b must have one shape, paired over seeds; given \(8,\) and \(7,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# summary.json


def table(seeds: int = 8) -> pd.DataFrame:
    """Value = 100 arm + seed at the last step, less before; w2 only at the last step, extra only in smart."""
    rows = []
    for number, arm in enumerate(["gan", "summed", "decoupled"]):
        for seed, step in itertools.product(reversed(range(seeds)), [0, 50, 100]):
            rows.append((arm, seed, step, "mean_distance", 100.0 * number + seed - (100 - step)))
        for seed in range(seeds):
            rows.append((arm, seed, 100, "w2", 1.0))
            if arm == "summed":
                rows.append((arm, seed, 100, "extra", 2.0))
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "metric", "value"])


def test_summary_takes_the_last_step_of_each_metric():
    found = summary(table())
    assert list(found["arms"]) == ["gan", "summed", "decoupled"]
    entry = found["arms"]["summed"]["mean_distance"]
    assert entry["per_seed"] == [100.0 + seed for seed in range(8)]
    assert (entry["mean"], entry["low"], entry["high"]) == pytest.approx(interval(np.array(entry["per_seed"])))
    assert found["arms"]["gan"]["w2"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "per_seed": [1.0] * 8}


def test_summary_compares_every_pair_of_arms():
    comparisons = summary(table())["comparisons"]
    assert list(comparisons) == ["mean_distance", "w2"]  # extra has one arm only
    pairs = comparisons["mean_distance"]
    assert list(pairs) == ["summed - gan", "decoupled - gan", "decoupled - summed"]
    assert pairs["decoupled - gan"] == pytest.approx({"difference": 200, "low": 200, "high": 200, "p": 2 / 256})


def test_summary_survives_json_and_shuffling():
    found = summary(table())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    rows = table()
    shuffled = pd.concat([rows[:1], rows[1:].sample(frac=1, random_state=0)])
    assert summary(shuffled)["arms"]["decoupled"] == found["arms"]["decoupled"]


def test_summary_of_one_seed_has_no_interval():
    found = summary(table(seeds=1))
    assert found["arms"]["gan"]["mean_distance"] == {"mean": 0.0, "low": None, "high": None, "per_seed": [0.0]}
    assert found["comparisons"]["mean_distance"]["summed - gan"]["low"] is None
    json.dumps(found, allow_nan=False)


def test_summary_of_a_bad_table():
    rows = table()
    with pytest.raises(ValueError, match=r"\['step'\] are missing"):
        summary(rows.drop(columns="step"))
    with pytest.raises(ValueError, match="it has two for arm gan, seed 7, step 0, metric mean_distance"):
        summary(pd.concat([rows, rows[:1]]))
    with pytest.raises(ValueError, match="mean_distance of summed has"):
        summary(rows[~((rows.arm == "summed") & (rows.seed == 3) & (rows.metric == "mean_distance"))])
    rows.loc[(rows.arm == "summed") & (rows.seed == 3) & (rows.step == 100), "value"] = math.nan
    with pytest.raises(ValueError, match="value must be finite; it is not for arm summed, seed 3, step 100"):
        summary(rows)
