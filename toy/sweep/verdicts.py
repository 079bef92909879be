"""Whether an arm helps, hurts, or is undecided against the baseline: paired over seeds, corrected over the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from theory.common.comparing import holm
from theory.common.statistics import compare
from toy.sweep.design import text

COLUMNS = (
    "baseline", "metric", "mean", "baseline_mean", "difference", "difference_low", "difference_high", "ratio", "p",
    "p_holm", "verdict",
)  # fmt: skip


def verdicts(
    table: pd.DataFrame,
    metrics: Mapping[str, str],
    baseline: Mapping[str, Any],
    options: Sequence[str] = (),
    alpha: float = 0.05,
) -> pd.DataFrame:
    """A row a cell, arm and metric, in the order of the table: cell, arm, options, COLUMNS.

    An arm helps where the 95 % interval of the mean paired difference to the baseline lies on the metric's better side
    of 0 and p of the exact sign-flip test, corrected over all rows, is below alpha; it hurts where it lies on the
    other; else it is undecided. The probability that a table without differences has any other verdict is at most
    alpha.

    Args:
        table: tidy: cell, arm, options, seed, metric, value; an arm without its cell's baseline is left out.
        metrics: the metrics that are judged -> which direction is better, lower or higher.
        baseline: the values of arm and options that identify the baseline in its cell.
        options: the columns that, with cell and arm, identify an arm.

    Raises:
        ValueError: an arm and its baseline have different seeds, or a value is NaN or infinite.
    """
    said, names, rows = text(baseline), ["cell", "arm", *options], []
    plain = np.logical_and.reduce([table[name] == value for name, value in baseline.items()])
    references = dict(list(table[plain].groupby("cell")))
    for _, own in table[~plain].groupby(names, sort=False, dropna=False):
        first = own.iloc[0]
        for metric in metrics if first.cell in references else ():
            a, b = (by_seed(part, metric) for part in (own, references[first.cell]))
            if not len(a) or not len(b):
                continue
            if not a.index.equals(b.index):
                raise ValueError(f"{first.arm} and {said} must have the same seeds; in {first.cell}, {metric} not")
            rows.append([*first[names], said, metric, *numbers(a.to_numpy(), b.to_numpy()), ""])
    frame = pd.DataFrame(rows, columns=[*names, *COLUMNS])
    if len(frame):
        frame["p_holm"] = holm(frame.p.to_numpy(np.float64))
        frame["verdict"] = [verdict(row, metrics[row.metric], alpha) for row in frame.itertuples()]
    return frame


def by_seed(part: pd.DataFrame, metric: str) -> pd.Series:
    return part[part.metric == metric].set_index("seed").value.sort_index()


def numbers(a: Float[np.ndarray, " seed"], b: Float[np.ndarray, " seed"]) -> list[float]:
    """mean, baseline_mean, difference, its ends, ratio, p, and NaN in the place of p_holm."""
    found = compare(a, b)
    ratio = a.mean() / b.mean() if b.mean() > 0 else np.nan
    ends = (float(found[name]) for name in ("difference", "low", "high"))
    return [a.mean(), b.mean(), *ends, ratio, float(found["p"]), np.nan]


def verdict(row, better: str, alpha: float) -> str:
    """helps, hurts or undecided."""
    if row.p_holm >= alpha or row.difference_low <= 0 <= row.difference_high:
        return "undecided"
    return "helps" if (row.difference < 0) == (better == "lower") else "hurts"
