"""Each arm's best learning rate and lambda, from one small grid, on seeds that no comparison uses.

Rule, the same for all arms: among the settings whose coverage and total variation are within SLACK of the arm's best,
the least mean distance. A gain in distance thus costs at most SLACK of coverage.
"""

from __future__ import annotations

import dataclasses

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table

from theory.common.errors import Diverged, Stopped
from theory.common.terminal import console
from toy.config import Arm, Config
from toy.jobs.job import Job
from toy.jobs.local import run_jobs
from toy.jobs.run_directory import table_of
from toy.sweep.design import SHORT

RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
WEIGHTS = {"saturated": (0.01, 0.03, 0.1), "healthy": (3e-4, 1e-3, 3e-3), "lazy": (3e-4, 1e-3, 3e-3)}
SEEDS = (10_000, 10_001, 10_002, 10_003)
SLACK = 0.02
METRICS = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2")


def grid(preset: str, coupling: str, plain: Arm) -> list[Arm]:
    """The settings that are tried: all learning rates, times all weights where there is a score term.

    Args:
        plain: the arm's options, of which lr and weight are replaced.
    """
    weights = (0.0,) if coupling == "gan" else WEIGHTS[preset]
    return [dataclasses.replace(plain, lr=lr, weight=weight) for lr in RATES for weight in weights]


def best(table: pd.DataFrame) -> pd.Series:
    """The row of an arm's table (a row a setting: METRICS) that the rule takes."""
    kept = table[
        (table.coverage >= table.coverage.max() - SLACK)
        & (table.total_variation <= table.total_variation.min() + SLACK)
    ]
    # no setting may satisfy both; then coverage decides
    kept = kept if len(kept) else table[table.coverage >= table.coverage.max() - SLACK]
    return kept.loc[kept.mean_distance.idxmin()]


def tune(preset: str, config: Config, processes: int) -> None:
    """Runs the grid, prints every setting and the best of each arm.

    Raises:
        Stopped: Ctrl-C.
        Diverged: every setting did.
    """
    cells = [(arm, setting) for arm in config.arms for setting in grid(preset, arm, config.arm(arm))]
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
    terminal = console()
    titles = ["arm", "lr", "lambda", *(SHORT.get(name, name) for name in METRICS), ""]
    shown = Table(*titles, box=SIMPLE if terminal.is_terminal else None, padding=(0, 1, 0, 0))
    for arm, part in table.groupby("arm", sort=False):
        winner = best(part).name
        for index, row in part.iterrows():
            numbers = [f"{row[name]:.4f}" for name in METRICS]
            shown.add_row(str(arm), f"{row.lr:g}", f"{row.weight:g}", *numbers, "best" if index == winner else "")
    terminal.print(shown)
    terminal.print(f"means over seeds {SEEDS[0]} to {SEEDS[-1]}; {len(cells) - len(rows)} settings diverged")
