"""What the searches found, for toy/FINDINGS.md and paper_repro.md: numbers and tables of `python -m toy.search`.

Places between double braces, filled from toy/results:

    {{searched EXPERIMENT: CELL: ARM: METRIC}}            the mean, the baseline's, difference [interval], verdict
    {{searched EXPERIMENT: CELL: ARM: METRIC: COLUMN}}    one column of comparing.verdicts, or of the arm's
                                                          own runs: alone (their mean), median, greatest
    {{searched table EXPERIMENT: CELL; CELL; ...}}        means and verdicts of these cells, or of all that are there
    {{searched setting EXPERIMENT: CELL: ARM: OPTION}}    lr, d_lr, gamma or weight of the setting that was chosen, or
                                                          trials: how many it is the best of
    {{searched settings EXPERIMENT: CELL; CELL; ...}}     the settings that were chosen
    {{searched turns EXPERIMENT: CELL; ...}}              from how many trials on each arm's order to the baseline stays
    {{searched versus EXPERIMENT: CELL: ARM: ARM: METRIC}}   two arms of a cell, paired over seeds, p uncorrected
    {{searched across EXPERIMENT: CELL; CELL; ...}}       KL over these cells: interquartile mean, share of good runs
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Float

from figures.tools import results
from theory.common.comparing import best_of_n, interquartile_mean
from theory.common.errors import UsageError
from theory.common.statistics import compare, interval
from theory.manifolds import make
from toy.metrics import floor
from toy.search.experiments import EXPERIMENTS, GAMES
from toy.search.tables import Tables
from toy.sweep.collect import RESULTS

MARKS = {"helps": " **+**", "hurts": " **−**", "equal": " =", "unknown": " ?"}
SHORT = {"kl": "KL", "w2": "W2", "off_manifold": "off", "total_variation_on": "TV on M"}
WORDS = {  # of an arm's options -> in a table
    r", corrected True": ", corrected",
    r", scale_by_every False": ", no factor k",
    r"^summed, term (\w+), game False, weight 1": r"no game, \1",
    r", detached": ", distillation",
    r", term (\w+)": r", \1",
    r", weight_rule annealed": ", λ annealed",
    r", weight_rule (\w+), weight (\S+)$": r", \1 \2",
    r", low \S+, high \S+, anneal \S+$": ", annealed",
    r", low (\S+), high (\S+)$": r", \1–\2",
    r", score analytic": ", ideal score",
    r", score empirical": ", exact score of the samples",
    r", score learned": ", learned score",
    r", regulariser none": ", no regulariser",
    r", regulariser instance-noise": ", fading noise",
    r", regulariser diffusion": ", noise that D is told",
}
OWN = {"alone": pd.Series.mean, "median": pd.Series.median, "greatest": pd.Series.max}  # of an arm's runs
SETTING = {"lr": "lr", "d_lr": "lr of D", "gamma": "γ", "weight": "λ"}
TITLES = {"saturated": "saturated game", "space": "healthy game, R$^{16}$", "modes": "eight modes"}  # of the games


def filled(place: str) -> str:
    """The text of a place, without its `searched`.

    Raises:
        UsageError: it names what the results do not have.
    """
    kind, _, rest = place.partition(" ")
    if kind in ("table", "settings", "turns", "across"):
        name, _, cells = rest.partition(": ")
        wanted = [cell for cell in cells.split("; ") if cell] or list(dict.fromkeys(read(name).arms.cell))
        return {"table": table, "settings": settings, "turns": turns, "across": across}[kind](name, wanted)
    if kind == "setting":
        return setting(*rest.split(": "))
    if kind == "versus":
        return versus(*rest.split(": "))
    parts = [part.strip() for part in place.split(": ")]
    if len(parts) not in (4, 5):
        raise UsageError(f"a place is EXPERIMENT: CELL: ARM: METRIC[: COLUMN]; given {place!r}")
    name, cell, arm, metric = parts[:4]
    if parts[4:] and parts[4] in OWN:
        return number(float(OWN[parts[4]](pd.Series(runs(name, cell, arm, metric)))))
    row = judged(name, cell, arm, metric)
    return number(row[parts[4]]) if parts[4:] else sentence(row)


@lru_cache
def read(name: str) -> Tables:
    """The tables of an experiment; of second/NAME those of a second, independent search, in toy/results/second."""
    place, _, experiment = name.rpartition("/")
    if experiment not in EXPERIMENTS or place not in ("", "second"):
        raise UsageError(f"no experiment {name}: {', '.join(EXPERIMENTS)}")
    found = Tables.read(RESULTS / place, EXPERIMENTS[experiment])
    if found.arms.empty:
        raise UsageError(f"{name} has no results: python -m toy.search {experiment} --out toy/results makes them")
    return found


@lru_cache
def verdicts(name: str) -> pd.DataFrame:
    """Those that are kept beside the values, which a test makes again."""
    place, _, experiment = name.rpartition("/")
    read(name)
    columns = ["cell", "arm", "metric", "mean", "baseline_mean", "difference", "low", "high", "verdict"]
    return results.table(RESULTS / place / f"{experiment}.verdicts.csv", columns)


@lru_cache
def rows_of(name: str) -> dict[tuple[str, str, str], list[pd.Series]]:
    """Cell, arm, metric -> its verdicts."""
    found: dict[tuple[str, str, str], list[pd.Series]] = {}
    for _, row in verdicts(name).iterrows():
        found.setdefault((row.cell, row.arm, row.metric), []).append(row)
    return found


def judged(name: str, cell: str, arm: str, metric: str) -> pd.Series:
    rows = rows_of(name).get((cell, arm, metric), [])
    if len(rows) != 1:
        raise UsageError(f"{name} has {len(rows)} verdicts of {cell}: {arm}: {metric}")
    return rows[0]


@lru_cache
def values_of(name: str) -> dict[tuple[str, str], pd.DataFrame]:
    """Cell, arm -> its runs, by seed."""
    return {key: rows.sort_values("seed") for key, rows in read(name).values.groupby(["cell", "arm"])}


def runs(name: str, cell: str, arm: str, metric: str) -> Float[np.ndarray, " seed"]:
    rows = values_of(name).get((cell, arm))
    if rows is None or metric not in rows:
        raise UsageError(f"{name} has no runs of {cell}: {arm}: {metric}")
    return rows[metric].to_numpy(np.float64)


def mean(name: str, cell: str, arm: str, metric: str) -> float:
    return float(pd.Series(runs(name, cell, arm, metric)).mean())


def versus(name: str, cell: str, arm: str, other: str, metric: str) -> str:
    """0.11 against 0.059 (0.051 [0.033, 0.068], p 3.8e-06): the first arm's mean against the second's."""
    one, two = runs(name, cell, arm, metric), runs(name, cell, other, metric)
    found = compare(one, two)
    difference, low, high, p = (number(float(found[end])) for end in ("difference", "low", "high", "p"))
    return f"{number(one.mean())} against {number(two.mean())} ({difference} [{low}, {high}], p {p})"


def side(name: str, cell: str, arm: str, other: str, metric: str) -> int:
    """-1, 0 or 1: the paired 95 % interval of the first arm's difference to the second lies below 0, holds it, lies
    above; uncorrected."""
    found = compare(runs(name, cell, arm, metric), runs(name, cell, other, metric))
    return int(found["low"] > 0) - int(found["high"] < 0)


def number(value: object) -> str:
    """Three significant digits; words as they are; – where there is no number."""
    if value != value:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def sentence(row: pd.Series) -> str:
    """0.19 against 0.24 (-0.05 [-0.08, -0.02], helps)"""
    ends = f"{number(row.difference)} [{number(row.low)}, {number(row.high)}]"
    return f"{number(row['mean'])} against {number(row.baseline_mean)} ({ends}, {row.verdict})"


def table(name: str, cells: list[str]) -> str:
    """A row an arm, below its cell: each judged metric's mean, with the mark of its verdict."""
    metrics = [metric for metric in EXPERIMENTS[name.rpartition("/")[2]].metrics if metric in read(name).values]
    lines = [
        f"| arm | {' | '.join(SHORT.get(metric, metric) for metric in metrics)} |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for cell in cells:
        lines.append(f"| **{cell}** |{' |' * len(metrics)}")
        for at, arm in enumerate(arms(name, cell)):
            shown = []
            for metric in metrics:
                mark = MARKS[judged(name, cell, arm, metric).verdict] if at else ""
                shown.append(number(mean(name, cell, arm, metric)) + mark)
            lines.append(f"| {worded(arm)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def worded(arm: str) -> str:
    """An arm's name for a table."""
    for options, words in WORDS.items():
        arm = re.sub(options, words, arm)
    return arm


def heading(columns: list[str]) -> list[str]:
    return [f"| arm | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def arms(name: str, cell: str) -> list[str]:
    found = read(name).arms
    if not (found.cell == cell).any():
        raise UsageError(f"{name} has no cell {cell}; it has {', '.join(dict.fromkeys(found.cell))}")
    return found[found.cell == cell].arm.tolist()


def setting(name: str, cell: str, arm: str, option: str) -> str:
    """One option of the setting that was chosen, or the number of trials."""
    found = read(name).arms
    rows = found[(found.cell == cell) & (found.arm == arm)]
    if len(rows) != 1 or option not in (*SETTING, "trials"):
        raise UsageError(f"{name} has no setting of {cell}: {arm}: {option}")
    value = rows.iloc[0][option]
    return str(value) if option == "trials" else f"{value:.2g}"


def settings(name: str, cells: list[str]) -> str:
    """A row an arm, below its cell: its best setting; folded."""
    found = read(name).arms
    options = [option for option in SETTING if option in found]
    lines = heading([SETTING[option] for option in options])
    for cell in cells:
        arms(name, cell)
        lines.append(f"| **{cell}** |{' |' * len(options)}")
        for row in found[found.cell == cell].to_dict("records"):
            shown = ["" if row[option] != row[option] else f"{row[option]:.2g}" for option in options]
            lines.append(f"| {worded(row['arm'])} | {' | '.join(shown)} |")
    listed = "\n".join(lines)
    return f"<details><summary>Settings that were chosen</summary>\n\n{listed}\n\n</details>"


def relative(name: str, cells: Sequence[str], arm: str) -> Float[np.ndarray, "cell seed"]:
    """KL of every run of an arm over the mean KL of the cell's first arm; inf where it diverged."""
    found = []
    for cell in cells:
        base = mean(name, cell, arms(name, cell)[0], "kl")
        kl = runs(name, cell, arm, "kl")
        found.append(np.where(np.isnan(kl), np.inf, kl) / base)
    return np.stack(found)


def relative_mean(name: str, cell: str, arm: str) -> tuple[float, float, float]:
    """Of `relative` the mean over the runs that did not diverge, with its interval."""
    (ratios,) = relative(name, [cell], arm)
    mean, low, high = (float(end) for end in interval(ratios[np.isfinite(ratios)]))
    return mean, low, high


def across(name: str, cells: list[str]) -> str:
    """A row an arm: the interquartile mean over all runs of KL / the baseline's mean, geometric, with the interval of a
    bootstrap stratified by cells; and the shares of runs at most half the baseline's mean, and at most that."""
    lines = heading(["KL / GAN's", "≤ 1/2", "≤ 1"])
    for arm in arms(name, cells[0]):
        ratios = relative(name, cells, arm)
        middle = [number(float(np.exp(x))) for x in interquartile_mean(np.log(ratios))]
        shares = [f"{(ratios <= most).mean():.0%}" for most in (0.5, 1.0)]
        lines.append(f"| {worded(arm)} | {middle[0]} [{middle[1]}, {middle[2]}] | {' | '.join(shares)} |")
    return "\n".join(lines)


@lru_cache
def floor_of(game: str) -> float:
    """KL of as many real samples as a run of the game has."""
    config = GAMES[game]
    return float(floor(make(config.manifold, dim=config.dim), config.samples)["kl"].mean())


def curve(name: str, cell: str, arm: str) -> np.ndarray:
    """The expected best KL of n trials of an arm on the tuning seeds, n = 1 .. all.

    A trial that was stopped counts with its number then, one that diverged with the worst of the others.
    """
    trials = read(name).trials
    kl = trials[(trials.cell == cell) & (trials.arm == arm)].kl.to_numpy(np.float64)
    return best_of_n(np.minimum(kl, kl[np.isfinite(kl)].max()))


def turns(name: str, cells: list[str]) -> str:
    """From how many trials on each arm's order to the baseline is the last one: "summed from 3 of 48 trials on"."""
    said = []
    for cell in cells:
        first, *others = arms(name, cell)
        base = curve(name, cell, first)
        found = []
        for arm in others:
            less = curve(name, cell, arm) < base
            same = np.flatnonzero(less != less[-1])
            found.append(f"{arm} from {int(same[-1]) + 2 if len(same) else 1}")
        said.append(f"{', '.join(found)} of {len(base)} trials on")
    return "; ".join(said)
