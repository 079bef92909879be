"""The committed results of sweeps, toy/results, and how those of new sweeps get there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from theory.common import files
from theory.common.errors import FileError, UsageError
from toy.sweep.design import options_of
from toy.sweep.experiments import EXPERIMENTS
from toy.sweep.verdicts import verdicts

RESULTS = Path(__file__).parents[1] / "results"
KEPT = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2", "bias", "predicted_bias",
        "prediction_error", "wrong_class", "negative_log_likelihood")  # fmt: skip


def collect(directory: Path, results: Path = RESULTS) -> None:
    """Copies NAME.csv (the metrics KEPT, 4 digits) and NAME.json of each experiment to `results`, and judges them anew
    there, NAME.verdicts.csv: of its own `results` it does no more than that.

    Raises:
        UsageError: there are none. FileError: one of them is damaged.
        OSError: one of them is missing, or cannot be written.
    """
    names = [name for name in EXPERIMENTS if (directory / f"{name}.json").exists()]
    if not names:
        raise UsageError(f"--collect needs a directory with results of sweeps; {directory} has none")
    results.mkdir(exist_ok=True)
    for name in names:
        table = files.read_table(directory / f"{name}.csv", ("cell", "arm", "metric"), ("seed", "value"))
        files.read_json(directory / f"{name}.json", "record of a sweep")
        record = (directory / f"{name}.json").read_bytes()
        files.write_table(results / f"{name}.csv", table[table.metric.isin(KEPT)], digits=4)
        files.write_table(results / f"{name}.verdicts.csv", judged(name, results / f"{name}.csv"), digits=6)
        files.write(results / f"{name}.json", record)


def judged(name: str, path: Path) -> pd.DataFrame:
    """The verdicts of an experiment's kept values, as in `verdicts`; FileError: the table is damaged."""
    table, experiment = files.read_table(path, ("cell", "arm", "metric"), ("seed", "value")), EXPERIMENTS[name]
    options = options_of(experiment.cells(False))
    try:
        return verdicts(table, experiment.metrics, experiment.baseline, options)
    except (KeyError, ValueError) as error:
        raise FileError(f"{path} cannot be judged: {error}") from None
