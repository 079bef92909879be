"""toy/FINDINGS.md from its template and the committed results of the sweeps.

The template is prose with places between double braces, filled from toy/results:

    {{tally EXPERIMENT ARM METRIC}}                 helps in 3, hurts in 1, undecided in 2 of 6 cells
    {{everywhere ARM METRIC}}                       the same over decoupling, healthy, dimension, modes, non-manifold
    {{EXPERIMENT: CELL: ARM: METRIC}}               the mean, against the baseline's, with the paired difference
    {{EXPERIMENT: CELL: ARM: METRIC: COLUMN}}       one number: mean, baseline_mean, difference, ratio, verdict ...
    {{EXPERIMENT: CELL: ARM: METRIC versus CELL: ARM}}   two arms of any cells, paired over seeds, uncorrected
    {{table EXPERIMENT}}                            means and verdicts of all cells and arms
    {{settings EXPERIMENT}}                         the learning rate and lambda of each of them
    {{predictions}}                                 of the experiment lambda: measured and predicted bias
    {{searched ...}}                                what the searches found: see searches.py
    {{cost}}                                        core-hours of all results

An ARM is a coupling and options: `summed`, `summed, every 8`. Where several arms of a cell have the values named, the
one whose other options are those of a plain configuration is meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from figures.report import searches
from figures.tools import results
from theory.common.errors import UsageError
from theory.common.files import workplace
from theory.common.statistics import compare, interval
from toy.sweep import collect
from toy.sweep.design import SHORT, default, said
from toy.sweep.experiments import EXPERIMENTS

ROOT = collect.RESULTS.parents[1]
TEMPLATE, FINDINGS = ROOT / "figures" / "report" / "findings.md.in", workplace() / "toy" / "FINDINGS.md"
EVERYWHERE = ("decoupling", "healthy", "dimension", "modes", "non-manifold")
MARKS = {"helps": " **+**", "hurts": " **−**", "undecided": ""}
HEADINGS = {"scale_by_every": "scaled", "score_steps": "steps", "score_error": "error", "weight": "λ"}
WIDE = 3  # more options than that stand below two headings, option and value
OF_TERM = ("score", "score_steps", "score_error", "low", "high", "every", "scale_by_every", "term", "momentum",
           "equal_length", "warm_up", "bound")  # fmt: skip
YES_NO = {"True": "yes", "False": "no"}

Place = tuple[str, ...]  # an arm: its cell, its coupling, and the values of its options in words


def render(template: str) -> str:
    """The template with its places filled.

    Raises:
        UsageError: a place names what the results do not have.
    """
    return re.sub(r"\{\{(.*?)\}\}", lambda place: fill(" ".join(place[1].split())), template, flags=re.DOTALL)


def fill(place: str) -> str:
    """The text of a place.

    Raises:
        UsageError: it is malformed, or names what the results do not have.
    """
    try:
        return filled(place)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"nothing can fill {{{{{place}}}}}: {error}") from None


def filled(place: str) -> str:
    words = place.split()
    if words[0] == "searched":
        return searches.filled(place.removeprefix("searched "))
    if place == "cost":
        return f"{sum(facts(name)['core_seconds'] for name in have()) / 3600:.1f}"
    if place == "predictions":
        return predictions()
    if words[0] == "table":
        return table(words[1])
    if words[0] == "settings":
        return settings(words[1])
    if words[0] == "tally":
        return tally([words[1]], " ".join(words[2:-1]), words[-1])
    if words[0] == "everywhere":
        return tally(EVERYWHERE, " ".join(words[1:-1]), words[-1])
    if " versus " in place:
        return versus(*(part.split(": ") for part in place.split(" versus ")))
    parts = [part.strip() for part in place.split(": ")]
    if len(parts) not in (4, 5):
        raise UsageError(f"a place is EXPERIMENT: CELL: ARM: METRIC[: COLUMN]; given {place!r}")
    row = the_row(*parts[:4])
    return sentence(row) if len(parts) == 4 else number(row[parts[4]])


def have() -> list[str]:
    """The experiments that have results, in their order."""
    return [name for name in EXPERIMENTS if (collect.RESULTS / f"{name}.json").exists()]


@lru_cache
def facts(name: str) -> dict:
    return results.record(collect.RESULTS / f"{name}.json")


@lru_cache
def verdicts(name: str) -> pd.DataFrame:
    """cell, arm, the options in which arms differ, baseline, metric, mean, ..."""
    path = collect.RESULTS / f"{name}.verdicts.csv"
    if not path.exists():
        raise UsageError(f"{name} has no results: {path.name} is missing")
    return results.table(path, ["cell", "arm", "metric", "mean", "difference", "verdict"])


@lru_cache
def runs(name: str) -> pd.DataFrame:
    return results.table(collect.RESULTS / f"{name}.csv", ["cell", "arm", "seed", "metric", "value"])


def options(name: str) -> list[str]:
    """The columns that tell arms of one coupling apart."""
    columns = list(verdicts(name).columns)
    return columns[columns.index("arm") + 1 : columns.index("baseline")]


def rows_of(name: str, found: pd.DataFrame, cell: str, arm: str) -> pd.DataFrame:
    """The rows of one arm of a cell in a table of the experiment; none where it has no such arm.

    Raises:
        UsageError: the arm is ambiguous, or names an option that the table does not have.
    """
    coupling, *parts = arm.split(", ")
    wanted = {option: value for option, _, value in (part.partition(" ") for part in parts)}
    rows, names = found[(found.cell == cell) & (found.arm == coupling)], options(name)
    if unknown := set(wanted) - set(names):
        raise UsageError(f"arms of {name} differ in {', '.join(names) or 'nothing'}; given {', '.join(unknown)}")
    for option, value in wanted.items():
        rows = rows[rows[option].map(said) == value]
    if several(rows, names):
        for option in set(names) - set(wanted):
            rows = rows[rows[option].map(said) == said(default(option))]
    if several(rows, names):
        raise UsageError(f"{name}: {cell} has several arms {arm}")
    return rows


def several(rows: pd.DataFrame, options: list[str]) -> bool:
    """Whether rows of one coupling are of more than one arm."""
    return bool(options) and len(rows[options].drop_duplicates()) > 1


def versus(first: list[str], second: list[str]) -> str:
    """The means of two arms and their paired difference; its interval is not corrected for the number of questions."""
    name, cell, arm, metric = first
    one, other = (values(name, place[0], place[1], metric) for place in ([cell, arm], second))
    found = compare(one, other)
    ends = ", ".join(number(float(found[end])) for end in ("low", "high"))
    return f"{number(one.mean())} against {number(other.mean())} ({number(float(found['difference']))} [{ends}])"


def values(name: str, cell: str, arm: str, metric: str) -> np.ndarray:
    """A metric's values, in the order of seeds."""
    rows = rows_of(name, runs(name), cell, arm)
    rows = rows[rows.metric == metric]
    if not len(rows):
        raise UsageError(f"{name} has no runs of {cell}: {arm}: {metric}")
    return rows.sort_values("seed").value.to_numpy(np.float64)


def the_row(name: str, cell: str, arm: str, metric: str) -> pd.Series:
    rows = rows_of(name, verdicts(name), cell, arm)
    rows = rows[rows.metric == metric]
    if len(rows) != 1:
        raise UsageError(f"{name} has {len(rows)} rows for {cell}: {arm}: {metric}")
    return rows.iloc[0]


def sentence(row: pd.Series) -> str:
    """0.021 against 0.86 (-0.84 [-0.87, -0.80], helps)"""
    ends = f"{number(row.difference)} [{number(row.difference_low)}, {number(row.difference_high)}]"
    return f"{number(row['mean'])} against {number(row.baseline_mean)} ({ends}, {row.verdict})"


def number(value: object) -> str:
    """Three significant digits; words as they are."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def tally(names: Sequence[str], arm: str, metric: str) -> str:
    """How often an arm helps, hurts and is undecided, in all cells of some experiments."""
    cells = [(name, str(cell)) for name in names for cell in verdicts(name).cell.drop_duplicates()]
    parts = [rows_of(name, verdicts(name), cell, arm) for name, cell in cells]
    rows = pd.concat([part[part.metric == metric] for part in parts])
    if not len(rows):
        raise UsageError(f"{', '.join(names)} has no arm {arm} judged by {metric}")
    counts = {verdict: int((rows.verdict == verdict).sum()) for verdict in ("helps", "hurts", "undecided")}
    listed = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
    return f"{listed} of {len(rows)} cell{'s' if len(rows) > 1 else ''}"


def predictions() -> str:
    """Of the experiment lambda: the measured bias, the predicted one, and how far the shares are apart."""
    found = {}
    for arm, rows in by_arm("lambda", runs("lambda")).items():
        bias, predicted, error = (
            interval(rows[rows.metric == metric].value.to_numpy(np.float64))
            for metric in ("bias", "predicted_bias", "prediction_error")
        )
        ends = f"{number(float(bias.mean))} [{number(float(bias.low))}, {number(float(bias.high))}]"
        found[arm] = [ends, number(float(predicted.mean)), number(float(error.mean))]
    return markdown("lambda", ["bias", "predicted", "error"], found)


def table(name: str) -> str:
    """A row an arm, below its cell: each judged metric's mean, with the mark of its verdict."""
    metrics, judged, found = list(EXPERIMENTS[name].metrics), by_arm(name, verdicts(name)), {}
    for arm, rows in by_arm(name, runs(name)).items():
        means = rows.groupby("metric").value.mean()
        verdict = judged[arm].set_index("metric").verdict if arm in judged else {}
        found[arm] = [number(float(means[metric])) + MARKS[verdict.get(metric, "undecided")] for metric in metrics]
    return markdown(name, [SHORT.get(metric, metric.replace("_", " ")) for metric in metrics], found)


def settings(name: str) -> str:
    """A row an arm, below its cell: the learning rate and lambda that were chosen; folded."""
    chosen = [option for option in ("lr", "weight") if option not in options(name)]
    found = {arm: list(map(said, rows[chosen].iloc[0])) for arm, rows in by_arm(name, runs(name)).items()}
    what = "Learning rates and weights" if "weight" in chosen else "Learning rates"
    listed = markdown(name, [HEADINGS.get(option, option) for option in chosen], found)
    return f"<details><summary>{what}</summary>\n\n{listed}\n\n</details>"


def by_arm(name: str, rows: pd.DataFrame) -> dict[Place, pd.DataFrame]:
    """The rows of each arm in a table of the experiment."""
    places = rows[["cell", "arm", *options(name)]].map(said).itertuples(index=False, name=None)
    return dict(list(rows.groupby(pd.Series(list(places), index=rows.index), sort=False)))


def markdown(name: str, headings: list[str], found: dict[Place, list[str]]) -> str:
    """A table: the arms with their options, each cell's below its name, and what was found of each."""
    names = options(name)
    wide = len(names) > WIDE
    shown = ["option", "value"] if wide else [HEADINGS.get(option, option) for option in names]
    lines = [markdown_row("arm", *shown, *headings), "|" + "---|" * (1 + len(shown) + len(headings))]
    cells = list(dict.fromkeys(arm[0] for arm in found))
    for cell in cells:
        if len(cells) > 1:
            lines.append(markdown_row(f"**{cell}**", *[""] * (len(shown) + len(headings))))
        for (place, coupling, *values), texts in found.items():
            if place == cell:
                told = options_told(coupling, dict(zip(names, values, strict=True)), wide)
                lines.append(markdown_row(coupling, *told, *texts))
    return "\n".join(lines)


def options_told(coupling: str, values: dict[str, str], wide: bool) -> list[str]:
    """The values of an arm's options, empty where one has no effect on it; if wide, names and values that differ."""
    idle = set(OF_TERM) if coupling == "gan" else set()
    if values.get("score") != "learned":
        idle |= {"score_steps"}
    if values.get("score") != "perturbed":
        idle |= {"score_error"}
    if wide:
        own = {o: value for o, value in values.items() if o not in idle and value != said(default(o))}
        return [", ".join(own), ", ".join(YES_NO.get(value, value) for value in own.values())]
    return ["" if option in idle else YES_NO.get(value, value) for option, value in values.items()]


def markdown_row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
