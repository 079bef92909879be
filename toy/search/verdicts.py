"""Verdicts of a table: does an arm help, hurt, is it equal, or is that unknown? Paired over fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from theory.common.comparing import holm, influence, sign_flip, verdict
from theory.common.statistics import interval

MARGIN = 0.1  # of the baseline's mean: differences inside it do not matter
COLUMNS = (
    "baseline", "metric", "mean", "baseline_mean", "difference", "low", "high", "p", "p_holm", "margin", "influence",
    "seeds", "diverged", "baseline_diverged", "verdict",
)  # fmt: skip


def verdicts(table: pd.DataFrame, metrics: Mapping[str, str], alpha: float = 0.05) -> pd.DataFrame:
    """A row a cell, arm and metric, in the order of the table: cell, arm, COLUMNS.

    The baseline of a cell is its first arm. The difference is the mean over seeds of arm - baseline with its 95 %
    interval (`theory.common.statistics.interval`), p that of the exact sign-flip test, corrected by Holm over all rows.
    A seed that diverged in either is left out of the mean, and counted. verdict: see `theory.common.comparing`.

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
