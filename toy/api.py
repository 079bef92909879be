"""The toy from Python: `compare` trains arms on manifolds over seeds, and says which differ.

    from toy.api import compare
    table = compare(["gan", "summed"], ["ring", "8-ring", "spiral"], seeds=32, steps=1000)

Names are those of `python -m toy.run --help`. In the place of a name can stand FILE.csv, FILE.py:NAME or an object:
toy/OWN_PARTS.md says what it must have.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from theory.common.checks import choose, whole
from theory.common.comparing import by_seed, verdicts
from theory.common.errors import Failure
from theory.common.parts import OBJECTS, given, label
from theory.common.statistics import interval
from toy.config import OWNED, PRESETS, Config
from toy.jobs.progress import meter
from toy.search.cache import Cache, Outcome, Task, finish
from toy.sweep.pool import pool, run

CACHE = Path("runs/compare-cache")
COLUMNS = (
    "manifold", "arm", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high", "p",
    "p_holm", "verdict", "influence", "seeds", "undefined",
)  # fmt: skip


def compare(
    arms: Sequence[str],
    manifolds: Sequence[Any] | Mapping[str, Any],
    seeds: int = 32,
    *,
    metrics: Sequence[str] = ("kl", "w2", "off_manifold", "total_variation_on"),
    preset: str = "saturated",
    processes: int | None = None,
    cache: str | os.PathLike[str] = CACHE,
    **options: Any,
) -> pd.DataFrame:
    """A row for each manifold, arm and metric at the end of training, with intervals and verdicts.

    Arms see the same data, latents and noise of a seed, and are compared with the first arm:

        mean, low, high        the mean over seeds and its 95 % interval (`theory.common.statistics.interval`)
        difference             the mean of arm - first arm, paired over seeds, with its interval difference_low, _high
        p, p_holm              the exact sign-flip test of difference 0; corrected over all rows of the table (Holm)
        verdict                helps, hurts, equal (the interval of the difference lies within 10 % of the first arm's
                               mean) or unknown; see `theory.common.comparing`
        influence              of the seed that moves the difference most, in standard errors
        seeds, undefined       how many are compared; how many of this arm have no value: they diverged, or have too
                               few samples on the manifold for what is given on it

    Finished work is kept in the cache, by everything that decides it, and is not done again. The options are compared
    as they are given: nothing is tuned here (`python -m toy.search` does that).

    Args:
        arms: of `toy.config.ARMS`; the first one is the baseline.
        manifolds: names, files or objects; a mapping names the rows of objects.
        seeds: how many: 0, 1, ...
        metrics: of `toy.metrics.METRICS`; all of them are measured.
        preset: whence the other options come.
        processes: as many as there are cores if None; the table does not depend on it.
        options: fields of `toy.config.Config`: steps=2000, loss="hinge", summed=Arm(2e-3, weight=1e-3), ... In the
            place of a loss, regulariser or score an object.

    Raises:
        ValueError: an unknown name or option, or a value out of range. FileError: an own part that cannot be used.
        Failure: a job failed in another way than by diverging. KeyboardInterrupt: what was done is in the cache.
    """
    from toy.device import device_of
    from toy.laws import law_of
    from toy.metrics import METRICS

    whole("seeds", seeds, 1)
    judged = {choose(name, METRICS, "metric"): METRICS[choose(name, METRICS, "metric")].better for name in metrics}
    known = [field.name for field in dataclasses.fields(Config)]
    changes = {choose(name, known, "option"): value for name, value in options.items()}
    changes |= {name: named(name, changes[name]) for name in OWNED if name in changes}
    if not isinstance(manifolds, Mapping):
        values = [named("manifold", value) for value in manifolds]
        names = [label(value) for value in values]
        numbers = [names[: place + 1].count(name) for place, name in enumerate(names)]
        names = [name if n == 1 else f"{name} {n}" for name, n in zip(names, numbers, strict=True)]
        manifolds = dict(zip(names, values, strict=True))
    plain = dataclasses.replace(PRESETS[choose(preset, PRESETS, "preset")], arms=tuple(arms), seeds=seeds, **changes)
    cells: dict[str, Config] = {}
    for name, value in manifolds.items():
        cells[name] = dataclasses.replace(plain, manifold=named(name, value), eval_every=plain.steps)
        law_of(cells[name])  # refused here, and not in a worker
        device_of(cells[name])

    tasks = [
        (cell, Task(config, arm, (config.arm(arm),), group, compared=True))
        for cell, config in cells.items()
        for arm in config.arms
        for group in config.seed_groups()
    ]
    Path(cache).mkdir(parents=True, exist_ok=True)
    found = outcomes([task for _, task in tasks], Cache(Path(cache)), processes or os.cpu_count() or 1)
    values = pd.DataFrame(
        [
            (cell, task.arm, seed, metric, value)
            for (cell, task), outcome in zip(tasks, found, strict=True)
            for metric in judged
            for seed, value in zip(task.seeds, outcome.values[metric], strict=True)
        ],
        columns=["cell", "arm", "seed", "metric", "value"],
    )
    return table_of(values, judged)


def named(name: str, value: Any) -> str:
    """The value as a configuration holds it: a name, a file, or the name under which the object is known."""
    return str(value) if isinstance(value, (str, os.PathLike)) else given(name, value)


def outcomes(tasks: Sequence[Task], cache: Cache, processes: int) -> list[Outcome]:
    """Of each task, from the cache or trained now.

    Raises:
        Failure: one failed, and not by diverging; the others are in the cache.
    """
    found = [cache.get(task) for task in tasks]
    missing = [place for place, outcome in enumerate(found) if outcome is None]
    if missing:
        with meter("compare", [tasks[place].work for place in missing]) as advance, pool(processes, None):
            work = [(tasks[place], {key: OBJECTS[key] for key in used(tasks[place])}) for place in missing]
            for index, outcome in run(work, finish_with):
                if outcome.failure is None:
                    cache.put(tasks[missing[index]], outcome)
                found[missing[index]] = outcome
                advance(index)
    for task, outcome in zip(tasks, found, strict=True):
        assert outcome is not None
        if outcome.failure is not None:
            raise Failure(f"{label(task.config.manifold)}, {task.arm}: {outcome.failure}")
    return [outcome for outcome in found if outcome is not None]


def used(task: Task) -> list[str]:
    """The objects of a task's configuration."""
    values = (getattr(task.config, name) for name in ("manifold", *OWNED))
    return [value for value in values if value in OBJECTS]


def finish_with(index: int, work: tuple[Task, dict[str, Any]]) -> tuple[int, Outcome]:
    """As `finish`, in a worker that is told the objects."""
    task, objects = work
    OBJECTS.update(objects)
    return finish(index, task)


def table_of(values: pd.DataFrame, judged: Mapping[str, str]) -> pd.DataFrame:
    """The table of `compare` from the values of each cell, arm, seed and metric."""
    differences = {(row.cell, row.arm, row.metric): row for row in verdicts(values, judged).itertuples()}
    rows = []
    for cell, part in values.groupby("cell", sort=False):
        for arm in dict.fromkeys(part.arm):
            for metric in judged:
                x = by_seed(part, str(arm), metric).to_numpy(np.float64)
                sound = x[np.isfinite(x)]
                mean = interval(sound) if len(sound) else (np.nan, np.nan, np.nan)
                d = differences.get((cell, arm, metric))
                rest = (
                    (*[np.nan] * 5, "", np.nan, len(sound))
                    if d is None
                    else (d.difference, d.low, d.high, d.p, d.p_holm, d.verdict, d.influence, d.seeds)
                )
                rows.append((cell, arm, metric, *map(float, mean), *rest, len(x) - len(sound)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
