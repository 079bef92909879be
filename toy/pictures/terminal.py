"""The comparison on standard output: tables of at most 80 columns on a terminal, plain aligned lines through a pipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from toy.config import GENERATORS, Config

SHOWN = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2", "sliced_w2", "energy_distance")
SOMETIMES = ("wrong_class", "negative_log_likelihood")  # of a conditional generator; of a VAE (a bound) or a flow


def print_report(config: Config, summary: dict[str, Any], directory: Path) -> None:
    """Means with 95 % intervals over seeds, and the paired differences to the first arm."""
    console = Console(highlight=False)
    arms, comparisons = summary["arms"], summary["comparisons"]
    console.print(f"{title(config)}; mean over {config.seeds} seeds [95 % interval]", soft_wrap=True)
    first, *others = arms
    rows = [metric for metric in SHOWN + SOMETIMES if metric in arms[first]]
    print_table(console, list(arms), rows, lambda arm, metric: interval(arms[arm][metric]))
    if others:
        console.print("paired differences [95 % interval] p")
        pairs = [f"{arm} - {first}" for arm in others]
        print_table(console, pairs, rows, lambda pair, metric: difference(comparisons[metric][pair]))
    for arm in arms:
        options = config.arm(arm)
        rule = f" ({config.weight_rule})" if options.weight and config.weight_rule != "fixed" else ""
        console.print(f"{arm}: lr {options.lr:g}, weight {options.weight:g}{rule}")
    console.print(f"written to {directory}: figure.png, metrics.csv, summary.json, samples.npz", soft_wrap=True)


def title(config: Config) -> str:
    """What was trained on what: 'ring in R^32, non-saturating loss, r1, 2000 steps'."""
    parts = [config.manifold if config.dim is None else f"{config.manifold} in R^{config.dim}"]
    if config.conditional:
        parts.append("class-conditional")
    if config.generator == "gan":
        parts.append(f"{config.loss} loss")
        parts += [config.regulariser] if config.regulariser != "none" else []
    else:
        parts.append(GENERATORS[config.generator])
    return ", ".join([*parts, f"{config.steps} steps"])


def print_table(
    console: Console, columns: Sequence[str], metrics: Sequence[str], cell: Callable[[str, str], str]
) -> None:
    """A row a metric."""
    table = Table("", *columns, box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
    for metric in metrics:
        table.add_row(name(metric), *(cell(column, metric) for column in columns))
    console.print(table, soft_wrap=not console.is_terminal)


def name(metric: str) -> str:
    """Of at most 15 characters, for 80 columns."""
    return "-log likelihood" if metric == "negative_log_likelihood" else metric.replace("_", " ")


def interval(value: dict[str, Any]) -> str:
    """.014 [.009,.021]; without an interval where there is one seed."""
    return number(value["mean"]) + ends(value)


def difference(value: dict[str, Any]) -> str:
    """-.868 [-.884,-.849] .008; the last is p."""
    return number(value["difference"]) + (f"{ends(value)} {number(value['p'])}" if value["low"] is not None else "")


def ends(value: dict[str, Any]) -> str:
    return "" if value["low"] is None else f" [{number(value['low'])},{number(value['high'])}]"


def number(value: float) -> str:
    """Three decimals, four below a tenth, one from a hundred on, no zero before the point."""
    text = f"{value:.{1 if abs(value) >= 100 else 3 if abs(value) >= 0.0995 else 4}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0.") else text
