"""The files of a run in its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from theory.common import files
from theory.common.processes import clear_shared_memory
from toy.config import Config, as_dict
from toy.jobs.job import Result

FILES = ("config.json", "metrics.csv", "summary.json", "samples.npz", "figure.png", "checkpoint.pt")
BOARD = ".board"


def begin(config: Config, directory: Path) -> None:
    """Makes the directory that of a new run: its config.json, and no file of an earlier run; other files stay.

    Raises:
        OSError: it cannot be written; an earlier run there is then as it was.
    """
    clear_leftovers(directory)
    files.write_json(directory / "config.json", as_dict(config))
    for name in FILES[1:]:
        (directory / name).unlink(missing_ok=True)


def clear_leftovers(directory: Path) -> None:
    """Removes what killed processes may have left: unfinished files, the checkpoint's lock and the board."""
    files.clear_partials(directory)
    clear_shared_memory()
    for name in (".checkpoint.pt.lock", BOARD):
        (directory / name).unlink(missing_ok=True)


def table_of(results: Sequence[Result]) -> pd.DataFrame:
    """The records of all jobs, tidy: arm, seed, step, metric, value."""
    rows = [
        (result.job.arm, seed, step, metric, value)
        for result in results
        for step, metric, values in result.records
        for seed, value in zip(result.job.seeds, values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "step", "metric", "value"])
    arms = list(dict.fromkeys(result.job.arm for result in results))
    order = table.assign(rank=table.arm.map(arms.index)).sort_values(["rank", "seed", "step"], kind="stable")
    return order.drop(columns="rank").reset_index(drop=True)


def defined(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the metrics of an arm that are NaN for one of its seeds at the end.

    What is given on the manifold is NaN for a seed with too few samples there; a mean over the others would hide it.
    """
    last = table[table.step == table.step.max()]
    undefined = last[last.value.isna()].set_index(["arm", "metric"]).index
    return table[~table.set_index(["arm", "metric"]).index.isin(undefined)].reset_index(drop=True)


def arrays_of(results: Sequence[Result]) -> dict[str, np.ndarray]:
    """What the picture draws: final samples by arm [seed, n, d], real ones, the start, and the gradient fields."""
    arrays: dict[str, np.ndarray] = {}
    for result in results:
        arrays |= result.picture
    for arm in dict.fromkeys(result.job.arm for result in results):
        parts = [result.samples for result in results if result.job.arm == arm and result.samples is not None]
        arrays[arm] = np.concatenate(parts)
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays as a compressed .npz; OSError as `theory.common.files.replacing`."""
    with files.replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
