"""Verdicts on tables whose differences are known, and Holm's correction against its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from theory.common.comparing import holm
from toy import metrics
from toy.sweep.design import JUDGED
from toy.sweep.verdicts import COLUMNS, verdicts

SEEDS = 16
GAN = {"arm": "gan"}


def table(arms: dict[str, np.ndarray], metric: str = "mean_distance", cell: str = "c") -> pd.DataFrame:
    rows = [(cell, a, s, metric, v) for a, values in arms.items() for s, v in enumerate(values)]
    return pd.DataFrame(rows, columns=["cell", "arm", "seed", "metric", "value"])


def noise(seed: int, count: int = SEEDS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize(
    ("metric", "shift", "wanted"),
    [
        ("mean_distance", -0.5, "helps"),
        ("mean_distance", 0.5, "hurts"),
        ("coverage", 0.5, "helps"),
        ("coverage", -0.5, "hurts"),
        ("coverage", 0.0, "undecided"),
    ],
)
def test_direction(metric: str, shift: float, wanted: str) -> None:
    """Arms that differ by a shift and a little noise of their own."""
    base = 3 + noise(0)
    found = verdicts(table({"gan": base, "new": base + shift + 0.1 * noise(1)}, metric), JUDGED, GAN)
    assert list(found.columns) == ["cell", "arm", *COLUMNS]
    (row,) = found.itertuples()
    assert row.verdict == wanted
    assert row.difference_low < row.difference < row.difference_high
    assert row.difference == pytest.approx(row.mean - row.baseline_mean)
    assert row.ratio == pytest.approx(row.mean / row.baseline_mean)


def test_directions_are_those_of_the_metrics() -> None:
    assert {name: metrics.METRICS[name].better for name in JUDGED} == JUDGED


def test_corrected_over_the_whole_table() -> None:
    """What is clear alone need not be clear among a hundred; the 16 seeds' least p still is."""
    base = noise(0)
    weak = base + 0.6 * np.abs(noise(1)) * np.where(np.arange(SEEDS) < 3, -0.4, 1)  # 13 of 16 seeds rise
    alone = verdicts(table({"gan": base, "weak": weak}), JUDGED, GAN)
    assert alone.verdict.tolist() == ["hurts"]
    many = {"gan": base, "weak": weak, "strong": base - 1} | {f"null {i}": base + noise(2 + i) for i in range(98)}
    among = verdicts(table(many), JUDGED, GAN).set_index("arm")
    assert among.verdict["weak"] == "undecided"
    assert among.p["weak"] == alone.p[0]
    assert among.verdict["strong"] == "helps"


@pytest.mark.slow  # `theory.common.comparing` has its error rates in every run
def test_error_rate_over_a_table() -> None:
    """Without differences a table has a verdict with probability at most .05.

    80 tables of 10 comparisons: more than 12 with a verdict has probability below .0003 at .05 (binomial).
    """
    wrong = 0
    for i in range(80):
        values = np.random.default_rng(i).normal(size=(11, SEEDS))
        arms = {"gan": values[0]} | {f"arm {j}": v for j, v in enumerate(values[1:])}
        wrong += (verdicts(table(arms), JUDGED, GAN).verdict != "undecided").any()
    assert wrong <= 12


def test_paired_over_seeds() -> None:
    """Differences far below the spread over seeds are seen; the order of rows does not matter."""
    base = 100 * noise(0)
    frame = table({"gan": base, "new": base - 0.1 - 0.01 * np.abs(noise(1))})
    first = verdicts(frame, JUDGED, GAN)
    assert first.verdict.tolist() == ["helps"]
    mixed = frame.sample(frac=1, random_state=0).sort_values("arm", kind="stable")
    pd.testing.assert_frame_equal(verdicts(mixed, JUDGED, GAN), first)


def test_order_and_what_is_left_out() -> None:
    """By cell, arm and metric; a cell that lost its baseline has no verdict, a metric that is not judged neither."""
    frame = pd.concat(
        [
            table({"gan": noise(0), "b": noise(1), "a": noise(2)}, metric, cell)
            for metric in ("w2", "coverage", "mean_distance")
            for cell in ("z", "y")
        ]
    )
    frame = frame[~((frame.cell == "y") & (frame.arm == "gan"))]
    found = verdicts(frame, JUDGED, GAN)
    wanted = [("z", arm, metric) for arm in ("b", "a") for metric in ("mean_distance", "coverage")]
    assert list(found[["cell", "arm", "metric"]].itertuples(index=False, name=None)) == wanted


def test_arms_that_differ_in_an_option() -> None:
    """They are told apart by the option's column, an empty place included; the baseline is the one that is named."""
    base = noise(0)
    shifts = {("gan", None): 0.0, ("gan", 3.0): -1.0, ("summed", None): 1.0, ("summed", 3.0): -0.5}
    parts = [table({arm: base + shift}).assign(bound=bound) for (arm, bound), shift in shifts.items()]
    found = verdicts(pd.concat(parts), JUDGED, {"arm": "gan", "bound": 3.0}, ["bound"])
    assert list(found.columns) == ["cell", "arm", "bound", *COLUMNS]
    assert list(zip(found.arm, found.bound.fillna(0), found.difference.round(6), strict=True)) == [
        ("gan", 0.0, 1.0),
        ("summed", 0.0, 2.0),
        ("summed", 3.0, 0.5),
    ]
    assert found.baseline.unique().tolist() == ["gan, bound 3"]
    with pytest.raises(ValueError, match="same seeds"):  # without the column two arms are one, with each seed twice
        verdicts(pd.concat(parts), JUDGED, {"arm": "gan", "bound": 3.0})


def test_different_seeds() -> None:
    with pytest.raises(ValueError, match="new and gan must have the same seeds; in c, mean_distance not"):
        verdicts(table({"gan": noise(0), "new": noise(1)[:-1]}), JUDGED, GAN)


def test_equal_arms_and_a_baseline_of_zero() -> None:
    """No difference is undecided; a ratio to 0 is not a number."""
    zero = np.zeros(SEEDS)
    found = verdicts(table({"gan": zero, "same": zero, "more": zero + 1}), JUDGED, GAN)
    assert found.verdict.tolist() == ["undecided", "hurts"]
    assert found.p_holm.tolist()[0] == 1
    assert found.ratio.isna().all()


@pytest.mark.parametrize("seed", range(20))
def test_holm(seed: int) -> None:
    """The corrected p of i is the least level at which Holm's step-down rejects i."""
    p = np.random.default_rng(seed).uniform(size=6) ** 3
    corrected = holm(p)

    def rejected(level: float) -> set[int]:
        found: set[int] = set()
        for step, i in enumerate(np.argsort(p)):
            if p[i] > level / (len(p) - step):
                break
            found.add(int(i))
        return found

    for i, value in enumerate(corrected):
        if value < 1:
            assert i in rejected(value * (1 + 1e-9))
        assert i not in rejected(value * (1 - 1e-9))
    assert (corrected >= p).all()


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).shape == (0,)
