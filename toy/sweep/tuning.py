"""Each arm's best learning rate and lambda, from one small grid, on seeds that no comparison uses.

Rule, the same for all arms: among the settings whose coverage and total variation are within SLACK of the arm's best,
the least mean distance; so that coverage is not paid for distance.
"""

from __future__ import annotations

import dataclasses

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from theory.common.errors import Diverged, Stopped
from toy.config import Arm, Config
from toy.jobs.job import Job
from toy.jobs.local import run_jobs, table_of

RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
WEIGHTS = {"saturated": (0.01, 0.03, 0.1), "healthy": (3e-4, 1e-3, 3e-3), "lazy": (3e-4, 1e-3, 3e-3)}
SEEDS = (10_000, 10_001, 10_002, 10_003)
SLACK = 0.02
METRICS = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2")


def grid(preset: str, arm: str) -> list[Arm]:
    """The settings that are tried: all learning rates, times all weights where there is a score term."""
    return [Arm(lr, weight) for lr in RATES for weight in ((0.0,) if arm == "gan" else WEIGHTS[preset])]


def best(table: pd.DataFrame) -> pd.Series:
    """Which row of an arm's table (a row a setting: METRICS) the rule takes."""
    kept = table[
        (table.coverage >= table.coverage.max() - SLACK)
        & (table.total_variation <= table.total_variation.min() + SLACK)
    ]
    # the two bests may be of different settings, and nobody within reach of both
    kept = kept if len(kept) else table[table.coverage >= table.coverage.max() - SLACK]
    return kept.loc[kept.mean_distance.idxmin()]


def tune(preset: str, config: Config, processes: int) -> None:
    """Runs the grid, prints every setting and the best of each arm.

    Raises:
        Stopped: Ctrl-C. Diverged: every setting did.
    """
    cells = [(arm, setting) for arm in config.arms for setting in grid(preset, arm)]
    jobs = []
    for arm, setting in cells:
        chosen = dataclasses.replace(config.with_arm(arm, setting), eval_every=config.steps)
        jobs.append(Job(chosen, arm, SEEDS))
    results = run_jobs(jobs, processes, None, stop_on_failure=False)

    rows = []
    for (arm, setting), result in zip(cells, results, strict=True):
        if isinstance(result.failure, Stopped):
            raise result.failure
        if result.failure is None:
            final = table_of([result]).query("step == @config.steps").groupby("metric").value.mean()
            rows.append({"arm": arm, "lr": setting.lr, "weight": setting.weight} | final[list(METRICS)].to_dict())
    if not rows:
        raise Diverged(f"all {len(cells)} settings diverged")
    table = pd.DataFrame(rows)
    console = Console()
    shown = Table("arm", "lr", "weight", *METRICS, "", box=SIMPLE if console.is_terminal else None)
    for arm, part in table.groupby("arm", sort=False):
        winner = best(part).name
        for index, row in part.iterrows():
            numbers = [f"{row[name]:.4f}" for name in METRICS]
            shown.add_row(str(arm), f"{row.lr:g}", f"{row.weight:g}", *numbers, "best" if index == winner else "")
    if not console.is_terminal:
        console.width = 250
    console.print(shown)
    console.print(f"means over seeds {SEEDS[0]} to {SEEDS[-1]}; {len(cells) - len(rows)} settings diverged")
