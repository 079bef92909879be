"""python -m theory.accuracy.dimension: the intrinsic dimension from a score, beside estimators that see samples alone.

Writes theory/results/dimension.csv: law, dim, k, then a column for `intrinsic_dimension` (exact score, nsr 1e-4, the
mean over 8 samples) with its standard error, and one for each estimator of scikit-dimension, from 1000 samples of the
same law. Where scikit-dimension is missing, its columns are left out and a line says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import torch

from theory.common.commandline import run
from theory.common.files import write_table
from theory.manifolds import Law, Sphere, make
from theory.regularity import eps_model_of, intrinsic_dimension

RESULTS = Path(__file__).parents[1] / "results"
LAWS: dict[str, Law] = {
    **{f"S^{n}": Sphere(n + 1) for n in (1, 2, 5, 10, 30, 100)},
    "ring in R^16": make("ring", 16),
    "torus in R^9": make("torus", 9),
    "swiss-roll": make("swiss-roll"),
    "segment in R^5": make("segment", 5),
    "box": make("box"),
    "subspace in R^7": make("subspace", 7),
}
ESTIMATORS = ("MLE", "TwoNN", "lPCA", "CorrInt", "MOM", "FisherS")
SAMPLES, POINTS, NSR = 1000, 8, 1e-4


def main(arguments: list[str]) -> int:
    """The table, on stdout and in theory/results/."""
    torch.set_num_threads(1)
    try:
        from skdim import id as estimators  # type: ignore[import-not-found]
    except ImportError:
        estimators = None
        print("scikit-dimension is not installed: its columns are left out", file=sys.stderr)
    rows = []
    for name, law in LAWS.items():
        x = law.sample(SAMPLES, torch.Generator().manual_seed(1), torch.float64)
        found = intrinsic_dimension(eps_model_of(law), x[:POINTS], NSR)
        row = {"law": name, "dim": law.dim, "k": law.intrinsic_dim, "score": round(float(found.value.mean()), 3)}
        row["score, standard error"] = round(float(found.error.square().sum().sqrt()) / POINTS, 4)
        for estimator in ESTIMATORS if estimators is not None else ():
            row[estimator] = round(float(getattr(estimators, estimator)().fit(x.numpy()).dimension_), 2)
        rows.append(row)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    RESULTS.mkdir(exist_ok=True)
    write_table(RESULTS / "dimension.csv", table)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
