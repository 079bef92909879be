"""python -m theory.accuracy.dimension: the intrinsic dimension from a score, beside estimators that see samples alone.

A row a distribution: law, dim, k, then `intrinsic_dimension` (exact score, nsr 1e-4, the mean over 8 samples) with its
standard error, and a column for each estimator of scikit-dimension, from 1000 samples of the same distribution. Where
scikit-dimension is missing, its columns are left out and a line says so. theory/results/dimension.csv is the table with
all of them: `--csv theory/results/dimension.csv`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.common.commandline import parse, run
from theory.common.files import write_table

if TYPE_CHECKING:
    from theory.manifolds import Law

ESTIMATORS = ("MLE", "TwoNN", "lPCA", "CorrInt", "MOM", "FisherS")
SAMPLES, POINTS, NSR = 1000, 8, 1e-4


@dataclass(frozen=True)
class Options:
    """Compare the intrinsic dimension read from a score with estimators that see samples alone."""

    csv: Path | None = None
    """Write the table to this file too."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m theory.accuracy.dimension")
    import pandas as pd
    import torch

    from theory.regularity import eps_model_of, intrinsic_dimension

    torch.set_num_threads(1)
    estimators: Any = None
    try:
        from skdim import id as estimators  # type: ignore[import-not-found,no-redef]
    except ImportError:
        print("scikit-dimension is not installed: its columns are left out", file=sys.stderr)
    rows = []
    for name, law in laws().items():
        x = law.sample(SAMPLES, torch.Generator().manual_seed(1), torch.float64)
        found = intrinsic_dimension(eps_model_of(law), x[:POINTS], NSR)
        row = {"law": name, "dim": law.dim, "k": law.intrinsic_dim, "score": round(float(found.value.mean()), 3)}
        row["score, standard error"] = round(float(found.error.square().sum().sqrt()) / POINTS, 4)
        for estimator in ESTIMATORS if estimators is not None else ():
            row[estimator] = round(float(getattr(estimators, estimator)().fit(x.numpy()).dimension_), 2)
        rows.append(row)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if options.csv is not None:
        write_table(options.csv, table)
    return 0


def laws() -> dict[str, Law]:
    """The distributions of the table, by name."""
    from theory.manifolds import Sphere, make

    return {
        **{f"S^{n}": Sphere(n + 1) for n in (1, 2, 5, 10, 30, 100)},
        "ring in R^16": make("ring", 16),
        "torus in R^9": make("torus", 9),
        "swiss-roll": make("swiss-roll"),
        "segment in R^5": make("segment", 5),
        "box": make("box"),
        "subspace in R^7": make("subspace", 7),
    }


if __name__ == "__main__":
    sys.exit(run(main))
