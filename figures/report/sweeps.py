"""FINDINGS.md from its template and the committed results, so that the two cannot drift.

The template is prose with places between double braces, filled from toy/results:

    {{tally EXPERIMENT ARM METRIC}}                 helps in 3, hurts in 1, undecided in 2 of 6 cells
    {{everywhere ARM METRIC}}                       the same over decoupling, healthy, dimension, modes, non-manifold
    {{EXPERIMENT: CELL: ARM: METRIC}}               the mean, against the baseline's, with the paired difference
    {{EXPERIMENT: CELL: ARM: METRIC: COLUMN}}       one number: mean, baseline_mean, difference, ratio, verdict ...
    {{EXPERIMENT: CELL: ARM: METRIC versus CELL: ARM}}   two arms of any cells, paired over seeds, uncorrected
    {{table EXPERIMENT}}                            all cells and arms
    {{predictions}}                                 of the experiment lambda: measured and predicted bias
    {{cost}}                                        core-hours of all results

`--collect DIR` first takes over the results of sweeps from a directory, less the metrics that nobody judges.
Exit status: 0 done, 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from theory.common import files
from theory.common.commandline import complain, parse, reason
from theory.common.errors import UsageError
from theory.common.statistics import compare, interval
from toy.sweep.experiments import EXPERIMENTS

TEMPLATE = Path(__file__).parent / "findings.md.in"
TOY = Path(__file__).parents[2] / "toy"
RESULTS, FINDINGS = TOY / "results", TOY / "FINDINGS.md"
KEPT = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2", "bias", "predicted_bias",
        "prediction_error", "wrong_class", "negative_log_likelihood")  # fmt: skip
SHORT = {"off_manifold": "off", "mean_distance": "distance", "total_variation": "TV"}


@dataclass(frozen=True)
class Options:
    """Write toy/FINDINGS.md from figures/report/findings.md.in and toy/results."""

    collect: Path | None = None
    """Take over the results of sweeps from this directory first."""


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, "python -m figures.report.sweeps")
        if options.collect is not None:
            collect(options.collect)
        files.write(FINDINGS, render(TEMPLATE.read_text()).encode())
    except UsageError as error:
        return complain(error, 2)
    except OSError as error:
        return complain(reason(error), 1)
    return 0


def collect(directory: Path) -> None:
    """Copies each experiment's three files to RESULTS.

    Raises:
        UsageError: there are none.
    """
    names = [name for name in EXPERIMENTS if (directory / f"{name}.json").exists()]
    if not names:
        raise UsageError(f"--collect needs a directory with results of sweeps; {directory} has none")
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        table = pd.read_csv(directory / f"{name}.csv")
        table = table[table.metric.isin(KEPT)]
        files.write(RESULTS / f"{name}.csv", table.to_csv(index=False, float_format="%.4g").encode())
        for ending in ("verdicts.csv", "json"):
            files.write(RESULTS / f"{name}.{ending}", (directory / f"{name}.{ending}").read_bytes())


def render(template: str) -> str:
    """The template with its places filled.

    Raises:
        UsageError: a place names what the results do not have.
    """
    return re.sub(r"\{\{(.*?)\}\}", lambda place: fill(place.group(1)), template)


def fill(place: str) -> str:
    """What a place says.

    Raises:
        UsageError: it is malformed, or names what the results do not have.
    """
    try:
        return filled(place)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"nothing can fill {{{{{place}}}}}: {error}") from None


def filled(place: str) -> str:
    words = place.split()
    if place == "cost":
        return f"{sum(facts(name)['core_seconds'] for name in have()) / 3600:.1f}"
    if place == "predictions":
        return predictions()
    if words[0] == "table":
        return table(words[1])
    if words[0] == "tally":
        return tally([words[1]], " ".join(words[2:-1]), words[-1])
    if words[0] == "everywhere":
        return tally(["decoupling", "healthy", "dimension", "modes", "non-manifold"], words[1], words[2])
    if " versus " in place:
        return versus(*(part.split(": ") for part in place.split(" versus ")))
    parts = [part.strip() for part in place.split(": ")]
    if len(parts) not in (4, 5):
        raise UsageError(f"a place is EXPERIMENT: CELL: ARM: METRIC[: COLUMN]; given {place!r}")
    row = the_row(*parts[:4])
    return sentence(row) if len(parts) == 4 else number(row[parts[4]])


def have() -> list[str]:
    """The experiments that have results, in their order."""
    return [name for name in EXPERIMENTS if (RESULTS / f"{name}.json").exists()]


@lru_cache
def facts(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


@lru_cache
def verdicts(name: str) -> pd.DataFrame:
    path = RESULTS / f"{name}.verdicts.csv"
    if not path.exists():
        raise UsageError(f"{name} has no results: {path.name} is missing")
    return pd.read_csv(path)


@lru_cache
def runs(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def versus(first: list[str], second: list[str]) -> str:
    """The means of two arms and their paired difference; its interval is not corrected for the number of questions."""
    name, cell, arm, metric = first
    one, other = (values(name, place[0], place[1], metric) for place in ([cell, arm], second))
    found = compare(one, other)
    ends = ", ".join(number(float(found[end])) for end in ("low", "high"))
    return f"{number(one.mean())} against {number(other.mean())} ({number(float(found['difference']))} [{ends}])"


def values(name: str, cell: str, arm: str, metric: str) -> np.ndarray:
    """A metric's values, in the order of seeds."""
    table = runs(name)
    rows = table[(table.cell == cell) & (table.arm == arm) & (table.metric == metric)]
    if not len(rows):
        raise UsageError(f"{name} has no runs of {cell}: {arm}: {metric}")
    return rows.sort_values("seed").value.to_numpy(np.float64)


def the_row(name: str, cell: str, arm: str, metric: str) -> pd.Series:
    found = verdicts(name)
    rows = found[(found.cell == cell) & (found.arm == arm) & (found.metric == metric)]
    if len(rows) != 1:
        raise UsageError(f"{name} has {len(rows)} rows for {cell}: {arm}: {metric}")
    return rows.iloc[0]


def sentence(row: pd.Series) -> str:
    """.021 against .86 (-.84 [-.87, -.80], helps)"""
    ends = f"{number(row.difference)} [{number(row.low)}, {number(row.high)}]"
    return f"{number(row['mean'])} against {number(row.baseline_mean)} ({ends}, {row.verdict})"


def number(value: object) -> str:
    """Three significant digits, no zero before the point; words as they are."""
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.3g}"
    return re.sub(r"^(-?)0\.", r"\1.", text)


def tally(names: Sequence[str], arm: str, metric: str) -> str:
    """How often an arm helps, hurts and is undecided, in all cells of some experiments."""
    found = pd.concat([verdicts(name) for name in names])
    rows = found[(found.arm == arm) & (found.metric == metric)]
    if not len(rows):
        raise UsageError(f"{', '.join(names)} has no arm {arm} judged by {metric}")
    counts = {verdict: int((rows.verdict == verdict).sum()) for verdict in ("helps", "hurts", "undecided")}
    said = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
    return f"{said} of {len(rows)} cell{'s' if len(rows) > 1 else ''}"


def predictions() -> str:
    """Of the experiment lambda: the measured bias, the predicted one, and how far the shares are apart."""
    table = runs("lambda")
    lines = ["| loss | arm, λ | bias, measured | predicted | samples' shares from predicted ones |", "|" + "---|" * 5]
    for cell, arm in table[["cell", "arm"]].drop_duplicates().itertuples(index=False):
        bias = interval(values("lambda", str(cell), str(arm), "bias"))
        shown = f"{number(float(bias.mean))} [{number(float(bias.low))}, {number(float(bias.high))}]"
        others = [
            number(float(values("lambda", str(cell), str(arm), m).mean()))
            for m in ("predicted_bias", "prediction_error")
        ]
        lines.append(f"| {cell} | {arm} | {shown} | {others[0]} | {others[1]} |")
    return "\n".join(lines)


MARKS = {"helps": " **+**", "hurts": " **−**", "undecided": ""}


def table(name: str) -> str:
    """A row a cell and arm: the setting that was tuned, and each judged metric's mean with its verdict."""
    found = verdicts(name)
    metrics = list(EXPERIMENTS[name].metrics)
    means = runs(name).groupby(["cell", "arm", "lr", "weight", "metric"], sort=False).value.mean()
    lines = [f"| cell | arm | lr, λ | {' | '.join(SHORT.get(m, m.replace('_', ' ')) for m in metrics)} |"]
    lines.append("|" + "---|" * (3 + len(metrics)))
    for (cell, arm, lr, weight), part in means.groupby(["cell", "arm", "lr", "weight"], sort=False):
        shown = []
        for metric in metrics:
            row = found[(found.cell == cell) & (found.arm == arm) & (found.metric == metric)]
            mark = MARKS[row.verdict.iloc[0]] if len(row) else ""
            shown.append(number(float(part[cell, arm, lr, weight, metric])) + mark)
        lines.append(f"| {cell} | {arm} | {lr:g}, {weight:g} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
