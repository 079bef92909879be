"""python -m images.train: train GANs on images with and without the score matching regularity, compare, draw, store.

Under torchrun every process takes its share of each batch: torchrun --nproc_per_node=8 -m images.train --recipe cifar10
Exit status: 0 done, 2 bad usage, 1 anything else (what was saved is continued by --resume).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.recipes import FREE, NOT_YET, RECIPES, Recipe, as_dict, differences, from_dict, interval
from theory.common.checks import choose
from theory.common.commandline import complain, new_directory, parse, reason, value_of
from theory.common.errors import CheckpointError, Diverged, OutOfMemory, UsageError

PROG = "python -m images.train"


@dataclass(frozen=True)
class Options(Recipe):
    """Train GANs on images with and without the score matching regularity.

    digits (scikit-learn's, 8x8) and digits-vanilla (without penalties) compare all three couplings within minutes on a
    CPU; photos takes 32x32 crops of scikit-learn's photographs through the code path of cifar10, briefly. cifar10,
    cifar10-stylegan2, imagenet64, imagenet128 and lsun-bedroom need --data, --score and CUDA to be of use; they have
    the paper's lambda, interval and frequency. Not there yet: BigGAN, Aurora.
    """

    reading: str = "recipe"
    """What the paper's range of t means, which it leaves open: "edm", an index of EDM's grid of 1000 noise levels, or
    "ddpm", an index of the DDPM schedule of the recipe's ADM network. CIFAR10's t 40-60 is sigma/alpha .0051-.0077 (one
    grey step of 8 bits is .0078) or .144-.209; ImageNet 64's 25-35 is .0036-.0045 or .052-.068. "recipe" keeps the
    recipe's, which are edm for cifar10 (as its code configures it), ddpm for the others."""
    data: Path | None = None
    """Archive of images (python -m images.data makes one)."""
    score: Path | None = None
    """Diffusion checkpoint for the score term (python -m images.scores says what one is)."""
    device: str = "cpu"
    """cpu or cuda; under torchrun each process takes the CUDA device of its number."""
    out: Path | None = None
    """Directory for the results; a new one under runs/ if not given."""
    resume: bool = False
    """Continue the runs in --out, with their options."""
    overwrite: bool = False
    """Replace the runs in --out."""
    cache: Path = Path("runs/cache")
    """Where the small score models of digits and photos are kept."""
    processes: int = max(1, os.cpu_count() or 1)
    """Runs at the same time, on a CPU without torchrun; the results do not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(self.reading, ("recipe", "edm", "ddpm"), "reading")
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1; given {self.processes}")
        if self.resume and self.overwrite:
            raise ValueError("give --resume or --overwrite, not both")
        if self.resume and self.out is None:
            raise ValueError("which run? --resume needs --out, its directory")


FIELDS = [field.name for field in dataclasses.fields(Recipe)]


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parse(Options, arguments, PROG, default=defaults(arguments))
        recipe = Recipe(**{name: getattr(options, name) for name in FIELDS})
        if options.reading != "recipe":
            low, high = interval(options.recipe, options.reading)
            recipe = dataclasses.replace(recipe, low=low, high=high)
        return execute(options, recipe)
    except (UsageError, CheckpointError, ValueError, TypeError) as error:
        return complain(error, 2)
    except OutOfMemory as error:
        return complain(error, 2)
    except Diverged as error:
        return complain(error, 1)
    except FileNotFoundError as error:
        return complain(reason(error), 2)
    except OSError as error:
        return complain(reason(error), 1)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError" and "allocate memory" not in str(error):
            raise
        return complain("out of memory outside of training's steps (score model, samples): lower --width", 2)
    except KeyboardInterrupt:
        return complain("interrupted; --resume continues from the last checkpoints", 1)


def defaults(arguments: Sequence[str]) -> Options:
    """The recipe that is named; with --resume and none, that of the runs in --out.

    Raises:
        UsageError: an unknown recipe, or one that is not there yet; nothing to resume.
    """
    name, out = value_of("--recipe", arguments), value_of("--out", arguments)
    if name is None and out is not None and "--resume" in arguments:
        return Options(**dataclasses.asdict(stored(Path(out))))
    if (name or "").lower() in NOT_YET:
        raise UsageError(f"recipe {name!r} is not there yet; choose from: {', '.join(RECIPES)}")
    try:
        choose(name or "digits", tuple(RECIPES), "recipe")
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Options(**dataclasses.asdict(RECIPES[name or "digits"]))


def stored(directory: Path) -> Recipe:
    """The recipe of the runs in a directory.

    Raises:
        UsageError: there is none, or it is not of this version.
    """
    path = directory / "config.json"
    try:
        return from_dict(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"nothing to resume: {path} does not exist") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged or of another version: {error}") from None


def prepare(options: Options, recipe: Recipe) -> Path:
    """The directory of the runs; checks it, and writes nothing.

    Raises:
        UsageError: it is not empty and neither --resume nor --overwrite was given; it is no directory; what is to be
            resumed has another recipe.
    """
    directory = new_directory(f"images-{recipe.recipe}") if options.out is None else options.out
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out must be a directory; given the file {directory}")
    if options.resume:
        there, here = as_dict(stored(directory)), as_dict(recipe)
        if differing := [text for text in differences(there, here) if text.split(" is ")[0] not in FREE]:
            raise UsageError(f"cannot resume {directory} with another configuration: {'; '.join(differing)}")
    elif directory.exists() and any(directory.iterdir()) and not options.overwrite:
        raise UsageError(f"{directory} is not empty: --resume continues the runs in it, --overwrite replaces them")
    return directory


def execute(options: Options, recipe: Recipe) -> int:
    """Trains all runs, compares them, draws, stores."""
    directory = prepare(options, recipe)
    from images.training.experiment import Experiment
    from images.training.parallel import device_of, joined

    device = device_of(options.device)
    with joined(device) as world:
        known: dict[str, Any] = {"cache": options.cache, "data": options.data, "score": options.score}
        experiment = Experiment(recipe, directory, world, str(device), options.processes, **known)
        experiment.begin(options.overwrite and not options.resume)
        experiment.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
