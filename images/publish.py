"""python -m images.publish DIR [NAME]: the results of a finished run as the small files of images/results/.

NAME.csv (arm, seed, step, metric, value), NAME.json (command, date, commit, versions, cost, recipe, means and paired
differences with intervals), and, of images up to 8x8, NAME-samples.npz: uint8 [rows, columns, c, h, w] of the first
seed, ARM and interpolation-ARM, and real. NAME is the recipe's where none is given.

Exit status: 0 done, 2 bad usage or no such run, 1 anything else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from images.formats.messages import reading
from images.recipes import Recipe, from_dict
from theory.common import files
from theory.common.checks import existing
from theory.common.commandline import parse, run, usage
from theory.common.errors import FileError
from theory.common.files import replacing, workplace, write, write_json

if TYPE_CHECKING:
    import numpy as np

PROG = "python -m images.publish"
SMALL = 8  # pixels a side of images that are stored


@dataclass(frozen=True)
class Options:
    """Store the results of a finished run as small files."""

    directory: Annotated[Path, tyro.conf.Positional]
    """The run's: runs/images-digits."""
    name: Annotated[str | None, tyro.conf.Positional] = None
    """Of the files; the recipe's if not given."""
    into: Path | None = None
    """Directory for the files; if not given, images/results of the checkout, or of the current directory where this
    package is installed."""
    cache: Path = Path("runs/cache")
    """Where the archive of photos is kept."""


def results() -> Path:
    """Where results are published: images/results of the checkout, or of the current directory if there is none."""
    return workplace() / "images" / "results"


def publish(directory: Path, name: str | None, into: Path, cache: Path) -> None:
    """Writes the files of a run.

    Raises:
        FileError: the directory holds no finished run. OSError: a file of the run is missing, or one cannot be written.
    """
    with reading(f"{directory} is no finished run of images.train"):
        config, made, found = (
            files.read_json(directory / f"{name}.json", "part of a run") for name in ("config", "run", "summary")
        )
        recipe = from_dict(config | {"score": ""})  # which need not be there any more
        facts = made | {"recipe": config} | found
        if not isinstance(facts.get("arms"), dict) or not isinstance(facts.get("comparisons"), dict):
            raise FileError("summary.json must hold arms and comparisons")
        files.read_table(directory / "metrics.csv", ("arm", "metric"), ("seed", "step", "value"))
        grids = of_samples(directory, recipe, cache) if recipe.resolution <= SMALL else None
    name = name or recipe.recipe
    into.mkdir(parents=True, exist_ok=True)
    write(into / f"{name}.csv", (directory / "metrics.csv").read_bytes())
    write_json(into / f"{name}.json", facts)
    if grids is not None:
        import numpy as np

        with replacing(into / f"{name}-samples.npz") as file:
            np.savez_compressed(file, **grids)  # type: ignore[arg-type]


def of_samples(directory: Path, recipe: Recipe, cache: Path) -> dict[str, np.ndarray]:
    """real, ARM and interpolation-ARM of the first seed, uint8 [rows, columns, c, h, w]."""
    import numpy as np
    import torch

    from images.datasets.dataset import to_uint8
    from images.training.experiment import arranged
    from images.training.inputs import real_images

    data = real_images(recipe, None, cache)
    real, labels = data.take(torch.arange(len(data)))
    found = {"real": arranged(real.numpy(), None if labels is None else labels.numpy())}
    with open(directory / "samples.npz", "rb") as file, np.load(file) as stored:
        for arm in recipe.couplings:
            x = stored[f"{arm}-{recipe.first_seed}"]
            found[arm] = arranged(x, np.arange(len(x)) % recipe.classes if recipe.classes else None)
            found[f"interpolation-{arm}"] = stored[f"interpolation-{arm}-{recipe.first_seed}"]
    return {key: to_uint8(torch.from_numpy(x)).numpy() for key, x in found.items()}


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        for name in ("config.json", "run.json", "summary.json", "metrics.csv"):
            existing("no finished run", options.directory / name)
    publish(options.directory, options.name, options.into or results(), options.cache)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
