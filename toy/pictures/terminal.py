"""The comparison on standard output: tables as wide as the terminal, or plain aligned lines through a pipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from theory.common.parts import is_own, label
from theory.common.terminal import console
from toy.config import GENERATORS, Arm, Config
from toy.outcome import sentence

SHOWN = ("off_manifold", "mean_distance", "coverage", "total_variation", "kl", "w2", "sliced_w2", "energy_distance")
# Of a conditional generator; of a VAE (a bound) or a flow; where there are finitely many training samples
SOMETIMES = ("wrong_class", "negative_log_likelihood", "copies")
REAL = "real"  # the column of real samples: the floor
NAME = 15  # characters of the longest name of a metric


def print_report(config: Config, summary: dict[str, Any], directory: Path) -> None:
    """Means with 95 % intervals over seeds beside those of real samples, the paired differences to the first arm, and
    what became of each arm in words."""
    shown = console()
    arms, comparisons, floor = summary["arms"], summary["comparisons"], summary["floor"]
    shown.print(f"{title(config)}; mean over {config.seeds} seeds [95 % interval]", soft_wrap=True)
    first, *others = arms
    rows = [metric for metric in SHOWN + SOMETIMES if metric in arms[first]]
    print_tables(shown, [*arms, REAL], rows, lambda arm, metric: level(arms | {REAL: floor}, arm, metric))
    if others:
        shown.print("paired differences [95 % interval] p")
        pairs = [f"{arm} - {first}" for arm in others]
        print_tables(shown, pairs, rows, lambda pair, metric: difference(comparisons[metric][pair]))
    for arm in arms:
        shown.print(f"{arm}: {options(config, config.arm(arm))}", soft_wrap=True)
    for arm, outcome in summary["outcomes"].items():
        shown.print(sentence(arm, outcome, floor), soft_wrap=True)
    shown.print(f"written to {directory}: figure.png, metrics.csv, summary.json, samples.npz", soft_wrap=True)


def title(config: Config) -> str:
    """What was trained on what: 'ring in R^32, non-saturating loss, r1, 2000 steps'."""
    parts = [label(config.manifold) + ("" if config.dim is None else f" in R^{config.dim}")]
    if config.conditional:
        parts.append("class-conditional")
    if config.adversarial:
        parts += [label(config.generator)] if is_own(config.generator) else []
        parts.append(f"{label(config.loss)} loss")
        parts += [label(config.regulariser)] if config.regulariser != "none" else []
    else:
        parts.append(GENERATORS[config.generator])
    return ", ".join([*parts, f"{config.steps} steps"])


def options(config: Config, arm: Arm) -> str:
    """'lr 0.002, weight 0.1, bound 3': what is set of them."""
    rule = f" ({config.weight_rule})" if arm.weight and config.weight_rule != "fixed" else ""
    others = {"bound": arm.bound, "d_lr": arm.d_lr, "gamma": arm.gamma}
    given = "".join(f", {name} {value:g}" for name, value in others.items() if value is not None)
    return f"lr {arm.lr:g}, weight {arm.weight:g}{rule}{given}"


def print_tables(
    shown: Console, columns: Sequence[str], metrics: Sequence[str], cell: Callable[[str, str], str]
) -> None:
    """A row a metric; in as many tables as the columns need."""
    cells = {column: [cell(column, metric) for metric in metrics] for column in columns}
    width = max(len(text) for column in columns for text in (column, *cells[column])) + 1
    box, padding = (SIMPLE, 0) if shown.is_terminal else (None, (0, 1, 0, 0))
    room = max(1, (shown.width - NAME - 3) // width)
    for at in range(0, len(columns), room):
        some = columns[at : at + room]
        table = Table("", *some, box=box, padding=padding)
        for row, metric in enumerate(metrics):
            table.add_row(name(metric), *(cells[column][row] for column in some))
        shown.print(table)


def name(metric: str) -> str:
    """The metric in at most NAME characters."""
    return "-log likelihood" if metric == "negative_log_likelihood" else metric.replace("_", " ")


def level(columns: dict[str, Any], column: str, metric: str) -> str:
    """A cell of the first table: of an arm with its interval; of real samples the mean, empty where they have none."""
    value = columns[column].get(metric)
    if value is None:
        return ""
    return number(value["mean"]) if column == REAL else interval(value)


def interval(value: dict[str, Any]) -> str:
    """0.014 [0.009,0.021]; without an interval where there is one seed."""
    return number(value["mean"]) + ends(value)


def difference(value: dict[str, Any]) -> str:
    """-0.868 [-0.884,-0.849] 0.008; the last is p."""
    return number(value["difference"]) + (f"{ends(value)} {number(value['p'])}" if value["low"] is not None else "")


def ends(value: dict[str, Any]) -> str:
    return "" if value["low"] is None else f" [{number(value['low'])},{number(value['high'])}]"


def number(value: float) -> str:
    """Three decimals; of larger numbers two or one, so that all have five characters."""
    decimals = 3 if abs(value) < 9.9995 else 2 if abs(value) < 99.995 else 1
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no -0.000
