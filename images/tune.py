"""python -m images.tune --recipe digits: each arm's learning rate and lambda, from one grid, on seeds of their own.

Rule, the same for all arms: the least Frechet distance to the training digits after the last step, in the mean over
SEEDS, which no comparison uses. Every number is left in images/results/RECIPE-tuning.csv; the choice is written into
the recipe by hand.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import joblib
import pandas as pd

from images.publish import RESULTS
from images.recipes import RECIPES, Recipe
from images.training.inputs import real_images, score_model
from images.training.run import Job, run
from theory.common.checks import choose
from theory.common.commandline import complain, parse
from theory.common.errors import CheckpointError, Diverged, UsageError

PROG = "python -m images.tune"
RATES = (0.5, 1.0, 2.0, 4.0)  # times the recipe's learning rate
WEIGHTS = {"none": (0.0,), "paper": (0.1, 0.3, 1.0), "decoupled": (0.03, 0.1, 0.3)}
SEEDS = (1000, 1001, 1002, 1003)
METRIC = "frechet_distance"
JUDGED = ("digits", "digits-vanilla")


@dataclass(frozen=True)
class Options:
    """Try each arm's learning rates and weights of the score term, on seeds that no comparison uses."""

    recipe: str = "digits"
    """digits or digits-vanilla."""
    out: Path | None = None
    """Directory for checkpoints, from which an interrupted search goes on; runs/tune-RECIPE if not given."""
    cache: Path = Path("runs/cache")
    """Where the small score models are kept."""
    processes: int = max(1, joblib.cpu_count())
    """Runs at the same time."""


def settings(recipe: Recipe) -> list[tuple[str, float, float, Recipe]]:
    """(arm, rate, weight, recipe) of all that is tried."""
    found = []
    for arm, rate in product(recipe.couplings, RATES):
        for weight in WEIGHTS[arm]:
            change = {"rates": (rate, rate, rate), "weight": weight, "decoupled_weight": weight}
            found.append((arm, rate, weight, dataclasses.replace(recipe, **change)))  # type: ignore[arg-type]
    return found


def value(job: Job) -> float:
    """The metric after the last step; infinite where training diverged."""
    try:
        return next(value for _, name, value in reversed(run(job).records) if name == METRIC)
    except Diverged:
        return float("inf")


def tune(recipe: Recipe, directory: Path, cache: Path, processes: int) -> pd.DataFrame:
    """Tidy: arm, rate, weight, seed, metric, value."""
    score_model(recipe, real_images(recipe, None, cache), None, cache, "cpu")
    cells = list(product(SEEDS, settings(recipe)))
    jobs = [Job(tried, arm, seed, directory / f"{rate}-{weight}", cache) for seed, (arm, rate, weight, tried) in cells]
    rows = []
    values = joblib.Parallel(n_jobs=processes, return_as="generator")(joblib.delayed(value)(job) for job in jobs)
    for (seed, (arm, rate, weight, _)), found in zip(cells, values, strict=True):
        rows.append({"arm": arm, "rate": rate, "weight": weight, "seed": seed, "metric": METRIC, "value": found})
        print(f"{arm}, rate {rate}, weight {weight}, seed {seed}: {found:.4g}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def means(table: pd.DataFrame) -> pd.Series:
    """The metric's mean over seeds, by arm, rate and weight."""
    return table.groupby(["arm", "rate", "weight"], sort=False)["value"].mean()


def best(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """arm -> (rate, weight) of the rule."""
    found = means(table)
    return {arm: found[arm].idxmin() for arm in table["arm"].unique()}


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, PROG)
        choose(options.recipe, JUDGED, "recipe")
    except (UsageError, ValueError) as error:
        return complain(error, 2)
    directory = options.out or Path("runs") / f"tune-{options.recipe}"
    try:
        table = tune(RECIPES[options.recipe], directory, options.cache, options.processes)
    except KeyboardInterrupt:
        return complain("interrupted; the same command goes on from there", 1)
    except CheckpointError as error:
        return complain(f"{error}; delete it, or give another --out", 2)
    table.to_csv(RESULTS / f"{options.recipe}-tuning.csv", index=False, float_format="%.6g")
    print(means(table).to_string(float_format=lambda number: f"{number:.4g}"))
    for arm, (rate, weight) in best(table).items():
        print(f"{arm}: rate {rate}, weight {weight}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
