"""Verdicts over seeds: exact p-values against enumeration, and the error rates that they promise on simulated nulls.

The simulated rates are seeded. With m = 2000 tables a true rate of .05 is measured within .05 +- .015 in all but 1 of
500 seeds (binomial, standard error .0049).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from theory.common import comparing
from theory.common.comparing import (
    best_of_n,
    holm,
    influence,
    interquartile_mean,
    profile,
    verdict,
    verdicts,
)
from theory.common.statistics import interval, sign_flip

TABLES = 2000


def test_sign_flip_keeps_its_level_on_symmetric_nulls():
    """n = 12, so that one table takes no time; normal, and a skew-free law with heavy tails."""
    generator = np.random.default_rng(1)
    for draw in (generator.standard_normal, lambda size: generator.standard_t(2, size)):
        p = np.array([sign_flip(np.asarray(draw(12))) for _ in range(TABLES)])
        assert abs((p < 0.05).mean() - 0.05) < 0.015


def rates(shift: float, n: int, margin: float, tables: int = 40) -> dict[str, float]:
    """How often each verdict is given of n normal differences with mean `shift` and deviation 1."""
    generator = np.random.default_rng(2)
    d = generator.normal(shift, 1, (tables, n))
    ends = zip(*map(np.asarray, interval(d)), map(sign_flip, d), strict=True)
    found = [verdict(float(mean), low, high, p, "lower", margin, 0.05) for mean, low, high, p in ends]
    return {name: found.count(name) / tables for name in ("helps", "hurts", "equal", "unknown")}


def test_verdicts_keep_their_error_rates_at_32_seeds():
    """No difference: decided in at most 5 % (200 tables: below .05 + 3 standard errors of .015); a difference of the
    margin itself: equal in at most 5 % (40 tables: below .05 + 3 standard errors of .034); far inside: equal."""
    null = rates(0.0, 32, margin=0.1, tables=200)
    assert null["helps"] + null["hurts"] < 0.096
    assert min(null["helps"], null["hurts"]) > 0  # the check is able to fail
    assert rates(-1.0, 32, margin=1.0)["equal"] < 0.153
    assert rates(0.0, 32, margin=1.0)["equal"] > 0.99
    assert rates(-1.0, 32, margin=0.1)["helps"] > 0.99
    assert rates(1.0, 32, margin=0.1)["hurts"] > 0.99


def test_a_verdict_needs_both_interval_and_p():
    assert verdict(-1, -2, -0.5, 0.01, "lower", 0.1, 0.05) == "helps"
    assert verdict(-1, -2, -0.5, 0.01, "higher", 0.1, 0.05) == "hurts"
    assert verdict(-1, -2, -0.5, 0.06, "lower", 0.1, 0.05) == "unknown"
    assert verdict(-1, -2, 0.5, 0.01, "lower", 0.1, 0.05) == "unknown"
    assert verdict(-0.05, -0.09, -0.01, 1e-9, "lower", 0.1, 0.05) == "equal"
    assert verdict(-0.05, -0.11, -0.01, 1e-9, "lower", 0.1, 0.05) == "helps"


def test_holm():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def test_influence_is_the_largest_change_of_the_mean():
    d = np.array([0.0, 1.0, 2.0, 9.0])
    changes = [abs(np.delete(d, i).mean() - d.mean()) for i in range(4)]
    assert influence(d) == pytest.approx(max(changes) / (d.std(ddof=1) / 2))
    assert influence(np.ones(5)) == 0
    with pytest.raises(ValueError, match="at least 3"):
        influence(np.ones(2))


def test_best_of_n_is_the_expected_least():
    v = np.array([3.0, 1.0, 2.0])
    expected = [np.mean([min(draw) for draw in itertools.product(v, repeat=n)]) for n in (1, 2, 3)]
    assert best_of_n(v) == pytest.approx(expected)
    assert best_of_n(np.array([1.0, math.inf]))[1] == math.inf
    assert best_of_n(np.array([2.0])) == pytest.approx([2.0])


def test_profile_and_interquartile_mean():
    x = np.arange(20.0).reshape(4, 5)
    found = profile(x, [-1, 9, 20])
    assert found.share == pytest.approx([0, 0.5, 1])
    assert found.low[1] <= 0.5 <= found.high[1]
    mean, low, high = interquartile_mean(x)
    assert mean == pytest.approx(9.5)
    assert low < mean < high
    with pytest.raises(ValueError, match="cell, seed"):
        profile(np.array([1.0, math.nan]), [0])


# Verdicts of a table


def table(differences: dict[str, np.ndarray]) -> pd.DataFrame:
    """Arms whose values are 1 and noise that the baseline shares, plus these differences."""
    noise = np.random.default_rng(0).normal(1, 0.1, len(next(iter(differences.values()))))
    rows = [("a", "gan", seed, "kl", x) for seed, x in enumerate(noise)]
    rows += [("a", arm, s, "kl", noise[s] + d) for arm, part in differences.items() for s, d in enumerate(part)]
    return pd.DataFrame(rows, columns=["cell", "arm", "seed", "metric", "value"])


def test_verdicts_of_a_table() -> None:
    """Of 32 seeds; the margin is a tenth of the baseline's mean, 0.1."""
    g = np.random.default_rng(1)
    noise = g.normal(0, 0.2, 32) - 0.0
    noise -= noise.mean()
    cases = {"less": noise / 10 - 0.5, "more": noise / 10 + 0.5, "same": noise / 20, "open": noise * 3}
    found = verdicts(table(cases), {"kl": "lower"}).set_index("arm")
    assert found.verdict.to_dict() == {"less": "helps", "more": "hurts", "same": "equal", "open": "unknown"}
    assert found.p_holm["less"] == pytest.approx(4 * 2.0**-31)
    assert found.difference["more"] == pytest.approx(0.5)
    higher = verdicts(table(cases), {"kl": "higher"}).set_index("arm")
    assert higher.verdict["less"] == "hurts"
    lost = cases["less"].copy()
    lost[:5] = np.nan
    row = verdicts(table({"less": lost}), {"kl": "lower"}).iloc[0]
    assert (row.seeds, row.diverged, row.baseline_diverged, row.verdict) == (27, 5, 0, "helps")
    none = verdicts(table({"less": np.full(32, np.nan)}), {"kl": "lower"}).iloc[0]
    assert (none.seeds, none.diverged, none.verdict) == (0, 32, "unknown")
    with pytest.raises(ValueError, match="less and gan must have the same seeds; in a, kl not"):
        verdicts(table(cases).query("arm != 'less' or seed > 2"), {"kl": "lower"})


def test_the_interval_of_the_interquartile_mean_is_that_of_its_resamples():
    """Runs with heavy tails, which a mean of all would follow: each resample's own middle half, one by one."""
    x = np.random.default_rng(3).standard_cauchy((3, 12))
    draws = [np.sort(sample, axis=None)[9:27].mean() for sample in comparing._resamples(x)]
    mean, low, high = interquartile_mean(x)
    assert mean == pytest.approx(np.sort(x, axis=None)[9:27].mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
