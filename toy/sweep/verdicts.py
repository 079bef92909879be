"""Whether an arm helps, hurts, or cannot be told from the baseline: paired over seeds, corrected over the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from theory.common.statistics import compare

COLUMNS = (
    "cell", "arm", "baseline", "metric", "mean", "baseline_mean",
    "difference", "low", "high", "ratio", "p", "p_holm", "verdict",
)  # fmt: skip


def verdicts(table: pd.DataFrame, baseline: str, metrics: Mapping[str, str], alpha: float = 0.05) -> pd.DataFrame:
    """A row a cell, arm and metric, in the order of the table.

    An arm helps where the 95 % interval of the mean paired difference to the baseline lies on the metric's better side
    of 0 and Wilcoxon's p, corrected over all rows, is below alpha; it hurts where it lies on the other; else it is
    undecided. The chance that any row of a table without differences is decided is at most alpha.

    Args:
        table: tidy: cell, arm, seed, metric, value; an arm without its cell's baseline is left out.
        metrics: the metrics that are judged -> which direction is better, lower or higher.

    Raises:
        ValueError: an arm and its baseline have different seeds, or a value is NaN or infinite.
    """
    rows = []
    judged = table[table.metric.isin(list(metrics))]
    for (cell, metric), part in judged.groupby(["cell", "metric"], sort=False):
        arms = {arm: rows.set_index("seed").value.sort_index() for arm, rows in part.groupby("arm", sort=False)}
        reference = arms.pop(baseline, None)
        for arm, values in arms.items() if reference is not None else ():
            if not values.index.equals(reference.index):
                raise ValueError(f"{arm} and {baseline} must have the same seeds; in {cell}, {metric} they do not")
            found = compare(values.to_numpy(), reference.to_numpy())
            means = {"mean": values.mean(), "baseline_mean": reference.mean()}
            ratio = means["mean"] / means["baseline_mean"] if means["baseline_mean"] > 0 else np.nan
            names = {"cell": cell, "arm": arm, "baseline": baseline, "metric": metric}
            rows.append(names | means | found | {"ratio": ratio, "p_holm": np.nan, "verdict": ""})
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    if len(frame):
        frame["p_holm"] = holm(frame.p.to_numpy(np.float64))
        frame["verdict"] = [verdict(row, metrics[row.metric], alpha) for row in frame.itertuples()]
    order = {name: place for place, name in enumerate(dict.fromkeys(zip(table.cell, table.arm, strict=True)))}
    places = [(order[row.cell, row.arm], list(metrics).index(row.metric)) for row in frame.itertuples()]
    return frame.loc[sorted(frame.index, key=lambda i: places[i])].reset_index(drop=True)


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """p-values corrected so that P(any p_holm <= a | no effect in these) <= a: step-down, whatever their dependence.

    p_holm of the i-th smallest = max over j <= i of min(1, (m - j + 1) p_(j)). Holm, "A simple sequentially rejective
    multiple test procedure", 1979.
    """
    order = np.argsort(p)
    steps = np.minimum(1, np.arange(len(p), 0, -1) * p[order])
    corrected = np.empty_like(steps)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected


def verdict(row, better: str, alpha: float) -> str:
    """helps, hurts or undecided."""
    if row.p_holm >= alpha or row.low <= 0 <= row.high:
        return "undecided"
    return "helps" if (row.difference < 0) == (better == "lower") else "hurts"


def shown(found: pd.DataFrame, settings: Mapping[tuple[str, str], str], metrics: Sequence[str]) -> list[list[str]]:
    """Rows of the printed table: cell, arm, its setting, and for each metric the verdict with the ratio."""
    rows = []
    for (cell, arm), part in found.groupby(["cell", "arm"], sort=False):
        cells = {
            row.metric: f"{row.verdict} {'' if np.isnan(row.ratio) else f'{row.ratio:.3g}'}"
            for row in part.itertuples()
        }
        rows.append([cell, arm, settings[cell, arm], *(cells.get(metric, "") for metric in metrics)])
    return rows
