"""Arms compared over seeds: paired, by scipy's bootstrap.

With n seeds the percentile bootstrap is asked for a level such that for normal data its length is that of Student's
interval (Hesterberg 2015, section 5.3). It cannot leave the range of the seeds: with three it is that range, and covers
the mean of normal data 3 times in 4, not 19 in 20. So read intervals over few seeds as ranges.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats


def interval(per_seed: Float[np.ndarray, " seed"], level: float = 0.95) -> tuple[float, float, float]:
    """Mean over seeds and the ends of its interval; NaN for one seed."""
    x = np.asarray(per_seed, dtype=np.float64)
    n = len(x)
    if n < 2:
        return float(x.mean()), math.nan, math.nan
    if np.ptp(x) == 0:
        return float(x[0]), float(x[0]), float(x[0])
    t = stats.t.ppf((1 + level) / 2, n - 1)
    expanded = 1 - 2 * stats.norm.cdf(-math.sqrt(n / (n - 1)) * t)
    ends = stats.bootstrap(
        (x,), np.mean, method="percentile", confidence_level=expanded, rng=np.random.default_rng(0)
    ).confidence_interval
    return float(x.mean()), float(ends.low), float(ends.high)


def summary(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The content of summary.json from a tidy table (arm, seed, step, metric, value), at each metric's last step.

    arms.<arm>.<metric> = {mean, low, high, per_seed};  comparisons.<metric>.<"arm - other"> = {difference, low, high,
    per_seed}, later arm minus earlier. What one seed cannot give is None.
    """
    last = table.sort_values("step", kind="stable").drop_duplicates(["arm", "seed", "metric"], keep="last")
    arms: dict[str, Any] = {str(arm): {} for arm in table["arm"].unique()}
    for (arm, metric), rows in last.groupby(["arm", "metric"], sort=False):
        x = rows.sort_values("seed")["value"].to_numpy(np.float64)
        arms[str(arm)][metric] = named(x, "mean")
    comparisons: dict[str, Any] = {}
    for other, arm in combinations(arms, 2):
        for metric in [name for name in arms[arm] if name in arms[other]]:
            a, b = (np.array(arms[name][metric]["per_seed"]) for name in (arm, other))
            comparisons.setdefault(metric, {})[f"{arm} - {other}"] = named(a - b, "difference")
    return {"arms": arms, "comparisons": comparisons}


def named(x: Float[np.ndarray, " seed"], mean: str) -> dict[str, Any]:
    found = (value if math.isfinite(value) else None for value in interval(x))
    return dict(zip((mean, "low", "high"), found, strict=True)) | {"per_seed": x.tolist()}
