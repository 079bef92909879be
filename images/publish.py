"""python -m images.publish DIR [NAME]: the results of a finished run as the small files of images/results/.

NAME.csv (arm, seed, step, metric, value), NAME.json (command, date, commit, versions, cost, recipe, means and paired
differences with intervals), and, of images up to 8x8, NAME-samples.npz: uint8 [rows, columns, c, h, w] of the first
seed, ARM and interpolation-ARM, and real. NAME is the recipe's where none is given.

Exit status: 0 done, 2 bad usage or no such run, 1 anything else.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from images.datasets.dataset import to_uint8
from images.recipes import Recipe, from_dict
from images.training.experiment import arranged
from images.training.inputs import real_images
from theory.common.commandline import complain, parse, reason
from theory.common.errors import UsageError
from theory.common.files import replacing

PROG = "python -m images.publish"
RESULTS = Path(__file__).parent / "results"
SMALL = 8  # pixels a side of images that are stored


@dataclass(frozen=True)
class Options:
    """Store the results of a finished run as small files."""

    directory: Annotated[Path, tyro.conf.Positional]
    """The run's: runs/images-digits."""
    name: Annotated[str | None, tyro.conf.Positional] = None
    """Of the files; the recipe's if not given."""


def publish(directory: Path, name: str | None = None, into: Path = RESULTS) -> None:
    """Raises OSError: a file of the run is missing, or one cannot be written."""
    recipe = from_dict(json.loads((directory / "config.json").read_text()))
    name = name or recipe.recipe
    facts = json.loads((directory / "run.json").read_text())
    facts |= {"recipe": json.loads((directory / "config.json").read_text())}
    facts |= json.loads((directory / "summary.json").read_text())
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(directory / "metrics.csv", into / f"{name}.csv")
    with replacing(into / f"{name}.json") as file:
        file.write((json.dumps(facts, indent=1) + "\n").encode())
    if recipe.resolution <= SMALL:
        with replacing(into / f"{name}-samples.npz") as file:
            np.savez_compressed(file, **grids(directory, recipe))  # type: ignore[arg-type]


def grids(directory: Path, recipe: Recipe) -> dict[str, np.ndarray]:
    stored = np.load(directory / "samples.npz")
    data = real_images(recipe, None, Path("runs/cache"))
    real, labels = data.take(torch.arange(len(data)))
    found = {"real": arranged(real.numpy(), None if labels is None else labels.numpy())}
    for arm in recipe.couplings:
        x = stored[f"{arm}-{recipe.first_seed}"]
        found[arm] = arranged(x, np.arange(len(x)) % recipe.classes if recipe.classes else None)
        found[f"interpolation-{arm}"] = stored[f"interpolation-{arm}-{recipe.first_seed}"]
    return {key: to_uint8(torch.from_numpy(x)).numpy() for key, x in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, PROG)
        publish(options.directory, options.name)
    except UsageError as error:
        return complain(error, 2)
    except (TypeError, KeyError, ValueError):
        return complain(f"{options.directory} is no finished run of images.train", 2)
    except OSError as error:
        return complain(reason(error), 2 if isinstance(error, FileNotFoundError) else 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
