"""The committed results of sweeps, toy/results, and how those of new sweeps get there."""

from __future__ import annotations

from pathlib import Path

from theory.common import files
from theory.common.errors import UsageError
from toy.sweep.experiments import EXPERIMENTS

RESULTS = Path(__file__).parents[1] / "results"
KEPT = ("off_manifold", "mean_distance", "coverage", "total_variation", "w2", "bias", "predicted_bias",
        "prediction_error", "wrong_class", "negative_log_likelihood")  # fmt: skip


def collect(directory: Path, results: Path = RESULTS) -> None:
    """Copies NAME.csv (the metrics KEPT, 4 digits), NAME.verdicts.csv and NAME.json of each experiment to `results`.

    Raises:
        UsageError: there are none. FileError: one of the three is damaged.
        OSError: one of the three is missing, or cannot be written.
    """
    names = [name for name in EXPERIMENTS if (directory / f"{name}.json").exists()]
    if not names:
        raise UsageError(f"--collect needs a directory with results of sweeps; {directory} has none")
    results.mkdir(exist_ok=True)
    for name in names:
        table = files.read_table(directory / f"{name}.csv", ("cell", "arm", "metric"), ("seed", "value"))
        files.read_table(directory / f"{name}.verdicts.csv", ("cell", "arm", "metric", "verdict"))
        files.read_json(directory / f"{name}.json", "record of a sweep")
        files.write_table(results / f"{name}.csv", table[table.metric.isin(KEPT)], digits=4)
        for ending in ("verdicts.csv", "json"):
            files.write(results / f"{name}.{ending}", (directory / f"{name}.{ending}").read_bytes())
