"""The comparison on standard output: a table on a terminal, plain aligned lines through a pipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from toy.config import Config

SHOWN = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2", "sliced_w2", "energy_distance")
BETTER = {"coverage": "higher"}  # all others: lower


def print_report(config: Config, summary: dict[str, Any], directory: Path) -> None:
    """Means with 95 % intervals over seeds, and the paired differences to the first arm."""
    console = Console()
    first, *others = summary["arms"]
    law = config.manifold if config.dim is None else f"{config.manifold} in R^{config.dim}"
    console.print(f"{law}, {config.loss} loss, {config.steps} steps; mean over {config.seeds} seeds [95 % interval]")
    table = Table(
        "", *summary["arms"], *(f"{arm} - {first}" for arm in others), box=SIMPLE if console.is_terminal else None
    )
    for metric in SHOWN:
        values = [summary["arms"][arm][metric] for arm in summary["arms"]]
        gains = [summary["comparisons"][metric][f"{arm} - {first}"] for arm in others]
        table.add_row(metric.replace("_", " "), *map(interval, values), *map(difference, gains))
    if not console.is_terminal:
        console.width = 250
    console.print(table)
    for arm in summary["arms"]:
        options = dataclasses.asdict(config.arm(arm))
        console.print(f"  {arm}: " + ", ".join(f"{name} {value:g}" for name, value in options.items()))
    console.print(f"written to {directory}: figure.png, metrics.csv, summary.json, samples.npz", highlight=False)


def interval(value: dict[str, Any]) -> str:
    """0.012 [0.010, 0.015]; without an interval where there is one seed."""
    if value["low"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def difference(value: dict[str, Any]) -> str:
    """-0.678 [-0.80, -0.55] p=.008."""
    if value["low"] is None:
        return f"{value['difference']:+.4f}"
    return f"{value['difference']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}] p={value['p']:.3f}"
