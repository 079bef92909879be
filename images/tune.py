"""python -m images.tune --recipe digits: the best learning rate and lambda of each arm, from one grid.

The rule is the same for all arms: the least Frechet distance to the training digits after the last step, in the mean
over SEEDS, which no comparison uses. Every number is kept in RECIPE-tuning.csv; the choice is written into the recipe
by hand. Exit status: 0 done, 2 bad usage, 1 anything else (the same command goes on from the last checkpoints).
"""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from images.publish import results
from images.recipes import COUPLINGS, DECOUPLED, OWN_STEP, RECIPES, Recipe
from theory.common.checks import choose, whole
from theory.common.commandline import noted, parse, run, usage
from theory.common.errors import CheckpointError, Diverged
from theory.common.files import clear_partials, held, write_table
from theory.common.processes import children

if TYPE_CHECKING:
    import pandas as pd

    from images.training.run import Job

PROG = "python -m images.tune"
RATES = (0.5, 1.0, 2.0, 4.0)  # factors of the recipe's learning rate
WEIGHTS = {
    "gan": (0.0,),
    **dict.fromkeys(("summed", *OWN_STEP), (0.1, 0.3, 1.0)),
    **dict.fromkeys(DECOUPLED, (0.03, 0.1, 0.3)),
}
SEEDS = (1000, 1001, 1002, 1003)
METRIC = "frechet_distance"
JUDGED = ("digits", "digits-vanilla")


@dataclass(frozen=True)
class Options:
    """Find each arm's learning rate and weight of the score term, on seeds that no comparison uses."""

    recipe: str = "digits"
    """digits or digits-vanilla."""
    out: Path | None = None
    """Directory for checkpoints, from which an interrupted search goes on; runs/tune-RECIPE if not given."""
    cache: Path = Path("runs/cache")
    """Where the small score models are kept."""
    into: Path | None = None
    """Directory for RECIPE-tuning.csv; if not given, images/results of the checkout, or of the current directory where
    this package is installed."""
    processes: int = max(1, os.cpu_count() or 1)
    """Runs at the same time; the results do not depend on it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", choose(self.recipe, JUDGED, "recipe"))
        whole("processes", self.processes, 1)


def settings(recipe: Recipe) -> list[tuple[str, float, float, Recipe]]:
    """(arm, rate, weight, recipe) of every setting of the grid."""
    found = []
    for arm, rate in product(recipe.couplings, RATES):
        for weight in WEIGHTS[arm]:
            change = {"rates": (rate,) * len(COUPLINGS), "weight": weight, "decoupled_weight": weight}
            found.append((arm, rate, weight, dataclasses.replace(recipe, **change)))  # type: ignore[arg-type]
    return found


def value(job: Job) -> float:
    """The metric after the last step; infinite where training diverged."""
    from images.training.run import result_of

    try:
        return next(value for _, name, value in reversed(result_of(job).records) if name == METRIC)
    except Diverged:
        return float("inf")


def tune(recipe: Recipe, directory: Path, cache: Path, processes: int) -> pd.DataFrame:
    """The metric of every setting and seed: arm, rate, weight, seed, metric, value."""
    import joblib
    import pandas as pd

    from images.training import inputs
    from images.training.run import Job

    inputs.score_model(recipe, inputs.real_images(recipe, None, cache), cache, "cpu")
    cells = list(product(SEEDS, settings(recipe)))
    jobs = [Job(tried, arm, seed, directory / f"{rate}-{weight}", cache) for seed, (arm, rate, weight, tried) in cells]
    rows = []
    with children():
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


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    directory = options.out or Path("runs") / f"tune-{options.recipe}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with noted("the same command goes on from there"), held(directory):
            for path in (directory, options.cache, *directory.glob("*/*/")):
                clear_partials(path)
            table = tune(RECIPES[options.recipe], directory, options.cache, options.processes)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it, or give another --out") from None
    into = options.into or results()
    into.mkdir(parents=True, exist_ok=True)
    write_table(into / f"{options.recipe}-tuning.csv", table, digits=6)
    print(means(table).to_string(float_format=lambda number: f"{number:.4g}"))
    for arm, (rate, weight) in best(table).items():
        print(f"{arm}: rate {rate}, weight {weight}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
