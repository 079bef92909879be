"""Verdicts on paired differences over seeds: exact sign-flip test, equivalence, influence, and summaries over tables.

The difference of one seed is that of two methods trained on the same seed. A verdict is one of

    equal      the interval of the mean difference lies inside +- margin, stated beforehand
    helps      else: the interval lies on the better side of 0, and the corrected p is below alpha
    hurts      else: it lies on the worse side of 0, and the corrected p is below alpha
    unknown    else

so that "no difference that matters" and "not enough seeds" are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from theory.common.statistics import differences_of, interval, sign_flip

Verdict: TypeAlias = Literal["helps", "hurts", "equal", "unknown"]
MARGIN = 0.1  # of the baseline's mean: differences inside it do not matter
COLUMNS = (
    "baseline", "metric", "mean", "baseline_mean", "difference", "low", "high", "p", "p_holm", "margin", "influence",
    "seeds", "diverged", "baseline_diverged", "verdict",
)  # fmt: skip


def verdict(
    difference: float,
    low: float,
    high: float,
    p: float,
    better: Literal["lower", "higher"],
    margin: float,
    alpha: float,
) -> Verdict:
    """What the interval [low, high] of a mean difference to the baseline and its corrected p say.

    Args:
        better: the direction in which the metric is better.
        margin: differences inside +- margin do not matter.
        alpha: level of the test that p belongs to.
    """
    if -margin <= low and high <= margin:
        return "equal"
    if p >= alpha or low <= 0 <= high:
        return "unknown"
    return "helps" if (difference < 0) == (better == "lower") else "hurts"


def holm(p: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Holm's corrected p of a family of tests: the chance of any false rejection below alpha is at most alpha.

    The i-th smallest of m becomes the maximum over j <= i of (m - j + 1) p_(j), at most 1. Source: Holm 1979.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    found = np.empty(len(p))
    found[order] = np.minimum(steps, 1.0)
    return found


def influence(differences: Float[np.ndarray, " seed"]) -> float:
    """The largest change of the mean when one seed is left out, relative to the standard error of the mean.

    max_i |mean without i - mean| / (s / sqrt(n)) = max_i |d_i - mean| sqrt(n) / ((n - 1) s). About 0.4 for 32 normal
    differences; 1 says that one seed moves the mean by a standard error. 0 where all are equal.

    Raises:
        ValueError: fewer than 3 differences, or one is NaN or infinite.
    """
    d = differences_of(differences)
    n = len(d)
    if n < 3:
        raise ValueError(f"influence needs at least 3 seeds; given {n}")
    s = float(d.std(ddof=1))
    return float(np.abs(d - d.mean()).max() * math.sqrt(n) / ((n - 1) * s)) if s else 0.0


def best_of_n(values: Float[np.ndarray, " trial"]) -> Float[np.ndarray, " n"]:
    """The expected least of n trials, n = 1 .. N, drawn with replacement from the N trials that were run.

    sum over i of v_(i) [((N - i + 1) / N)^n - ((N - i) / N)^n],  v_(1) <= ... <= v_(N).  A trial that diverged is inf.
    Source: Dodge et al., "Show your work", 2019, eq. 6 (there for the largest).

    Raises:
        ValueError: no trials, or one is NaN.
    """
    v = np.sort(np.asarray(values, dtype=np.float64))
    if v.ndim != 1 or not len(v) or np.isnan(v).any():
        raise ValueError(f"values must be one or more trials without NaN; given {values!r}")
    count = len(v)
    n = np.arange(1, count + 1)[:, None]
    left = np.arange(count, 0, -1) / count  # share of trials that are no better than the i-th
    chance = left**n - (left - 1 / count) ** n
    return np.where(chance > 0, chance * v, 0.0).sum(1)


class Profile(NamedTuple):
    """A performance profile: at each threshold, the share of runs that are at least as good, and its interval."""

    thresholds: Float[np.ndarray, " t"]
    share: Float[np.ndarray, " t"]
    low: Float[np.ndarray, " t"]
    high: Float[np.ndarray, " t"]


def profile(scores: Float[np.ndarray, "cell seed"], thresholds: Sequence[float], level: float = 0.95) -> Profile:
    """The share of (cell, seed) runs with score <= each threshold; lower scores are better.

    Its interval is of a bootstrap stratified by cells, 2000 resamples, seeded. Source: Agarwal et al., "Deep
    reinforcement learning at the edge of the statistical precipice", 2021, section 4.

    Raises:
        ValueError: scores is not [cell, seed], or has NaN.
    """
    x, edges = _table(scores), np.asarray(thresholds, dtype=np.float64)
    draws = np.stack([(sample[..., None] <= edges).mean((0, 1)) for sample in _resamples(x)])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Profile(edges, (x[..., None] <= edges).mean((0, 1)), low, high)


def interquartile_mean(scores: Float[np.ndarray, "cell seed"], level: float = 0.95) -> tuple[float, float, float]:
    """(mean of the middle half of all runs, low, high), the interval of a bootstrap stratified by cells.

    Source: Agarwal et al. 2021, section 4.3.

    Raises:
        ValueError: as `profile`.
    """
    x = _table(scores)
    draws = stats.trim_mean(np.stack(_resamples(x)).reshape(-1, x.size), 0.25, axis=1)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(stats.trim_mean(x, 0.25, axis=None)), float(low), float(high)


def _resamples(x: Float[np.ndarray, "cell seed"], count: int = 2000) -> list[Float[np.ndarray, "cell seed"]]:
    """Within each cell, seeds drawn with replacement."""
    generator = np.random.default_rng(0)
    rows = np.arange(len(x))[:, None]
    return [x[rows, generator.integers(0, x.shape[1], x.shape)] for _ in range(count)]


def _table(scores: np.ndarray) -> Float[np.ndarray, "cell seed"]:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or not x.size or np.isnan(x).any():
        raise ValueError(f"scores must be [cell, seed] without NaN; given shape {x.shape}")
    return x


def verdicts(table: pd.DataFrame, metrics: Mapping[str, str], alpha: float = 0.05) -> pd.DataFrame:
    """A row a cell, arm and metric, in the order of the table: cell, arm, COLUMNS.

    The baseline of a cell is its first arm. The difference is the mean over seeds of arm - baseline with its 95 %
    interval (`theory.common.statistics.interval`), p that of the exact sign-flip test, corrected by Holm over all rows.
    A seed that diverged in either is left out of the mean, and counted. verdict: as at the top.

    Args:
        table: tidy: cell, arm, seed, metric, value.
        metrics: the metrics that are judged -> which direction is better, lower or higher.

    Raises:
        ValueError: an arm and its baseline have different seeds.
    """
    rows = []
    for cell, part in table.groupby("cell", sort=False):
        arms = list(dict.fromkeys(part.arm))
        for arm in arms[1:]:
            for metric in metrics:
                a, b = (by_seed(part, name, metric) for name in (arm, arms[0]))
                if not a.index.equals(b.index):
                    raise ValueError(f"{arm} and {arms[0]} must have the same seeds; in {cell}, {metric} not")
                rows.append([cell, arm, arms[0], metric, *compared(a.to_numpy(), b.to_numpy())])
    frame = pd.DataFrame(rows, columns=["cell", "arm", *COLUMNS])
    known = frame.p.notna()
    frame.loc[known, "p_holm"] = holm(frame.p[known].to_numpy(np.float64))
    frame["verdict"] = [
        verdict(row.difference, row.low, row.high, row.p_holm, metrics[row.metric], row.margin, alpha)  # type: ignore[arg-type]
        if row.p == row.p
        else "unknown"
        for row in frame.itertuples()
    ]
    return frame


def by_seed(part: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    return part[(part.arm == arm) & (part.metric == metric)].set_index("seed").value.sort_index()


def compared(a: np.ndarray, b: np.ndarray) -> list[object]:
    """mean .. verdict, in the order of COLUMNS; NaN where fewer than 3 seeds are finite in both."""
    finite = np.isfinite(a) & np.isfinite(b)
    lost = [int((~np.isfinite(x)).sum()) for x in (a, b)]
    if finite.sum() < 3:
        return [*[np.nan] * 9, int(finite.sum()), *lost, ""]
    a, b = a[finite], b[finite]
    found = interval(a - b)
    ends = [float(found.mean), float(found.low), float(found.high)]
    p = sign_flip(a - b)
    return [a.mean(), b.mean(), *ends, p, np.nan, MARGIN * abs(b.mean()), influence(a - b), len(a), *lost, ""]
