"""python -m images.train: train GANs on images with and without the score term, compare the arms, draw and store.

Over several processes each takes its share of every batch:
python -m images.ranks --nproc_per_node=8 -m images.train --recipe cifar10; torchrun does, too, and prints more.
Exit status: 0 done, 2 bad usage, 1 anything else (--resume continues from the last checkpoints).
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.ranks import once
from images.recipes import CHECKS, FREE, READINGS, RECIPES, Recipe, as_dict, differences, from_dict, interval
from theory.common.checks import choose, existing, few, whole
from theory.common.commandline import new_directory, noted, parse, run, usage, value_of
from theory.common.errors import FileError, UsageError
from theory.common.files import read_json
from theory.common.logs import LOGS, log_of
from theory.common.parts import choose_or_own, is_own

PROG = "python -m images.train"


@dataclass(frozen=True)
class Options(Recipe):
    """Train GANs on images with and without the score term of SMaRt, and compare.

    digits (scikit-learn's, 8x8) and digits-vanilla (without penalties) compare three couplings within minutes on a CPU.
    photos runs the code of cifar10 briefly, on 32x32 crops of scikit-learn's photographs. fashion and fashion-biggan
    (Fashion-MNIST, of Debian's package dataset-fashion-mnist), cifar10-small (16x16) and stacked-mnist (three digits
    are the channels) train narrow networks in an hour on a CPU, on --data of yours or the package's. cifar10,
    cifar10-stylegan2, cifar10-biggan, imagenet64, imagenet64-aurora, imagenet128, imagenet128-biggan and lsun-bedroom
    have the paper's lambda, interval and frequency; they need --data, --score and a GPU.
    """

    reading: str = "recipe"
    """The schedule that the paper's range of t indexes, which the paper leaves open: edm (EDM's grid of 1000 levels)
    or ddpm (the DDPM schedule of the recipe's ADM network). CIFAR10's t 40-60 is sigma/alpha 0.0051-0.0077 or
    0.144-0.209, where one grey step of 8 bits is 0.0078; ImageNet 64's 25-35 is 0.0036-0.0045 or 0.052-0.068. recipe
    keeps the recipe's: edm for cifar10, as the paper's code configures it, ddpm for the others."""
    data: Path | None = None
    """Archive of images (python -m images.data makes one); of fashion and stacked-mnist a folder of IDX files too, of
    cifar10-small CIFAR10's archive or a folder with train/CLASS and test/CLASS."""
    device: str = "cpu"
    """cpu or cuda; under torchrun each process takes the CUDA device of its number."""
    out: Path | None = None
    """Directory for the results; a new one under runs/ if not given."""
    resume: bool = False
    """Continue the runs in --out, with their options."""
    overwrite: bool = False
    """Replace the runs in --out."""
    log: tuple[str, ...] = ()
    """What hears of every evaluation when it comes, beside metrics.csv: tensorboard (event files in the directory),
    or your own: FILE.py:NAME, see toy/OWN_PARTS.md."""
    cache: Path = Path("runs/cache")
    """Where the small score models of digits and photos are kept."""
    workers: int | None = None
    """Processes of each run that decode images of an archive ahead, if they are too many to be kept in memory; 4 with
    a CUDA device, else none, if not given. The results do not depend on it."""
    checkpoint_activations: bool = False
    """Blocks of the generator, the discriminator and the score model keep their inputs alone for the backward pass, and
    are computed again there: less memory, more time, the same results."""
    compile: bool = False
    """G, D and the score model pass torch.compile, except where they are differentiated twice: penalties, path lengths.
    Results differ by rounding."""
    cudnn_benchmark: bool = False
    """cuDNN measures its algorithms and takes the fastest; which one it is, and with it the rounding, may change from
    run to run."""
    deterministic: bool = False
    """Sums over a batch are in pairs: one process and 2, 4, 8, ... under torchrun take the same steps to the last bit,
    on a CPU. Needs --micro, the same for all, with batch / micro a power of two; keeps log2(batch / micro) more sums of
    gradients, and sends log2(processes) messages a step. On CUDA a run also repeats itself, if torch has a
    deterministic way for each of its operations."""
    processes: int = max(1, os.cpu_count() or 1)
    """Runs at the same time, on a CPU without torchrun; the results do not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "reading", choose(self.reading, ("recipe", *READINGS), "reading"))
        whole("processes", self.processes, 1)
        if self.workers is not None:
            whole("workers", self.workers)
        object.__setattr__(self, "log", tuple(choose_or_own("log", log, LOGS) for log in self.log))
        parts = self.batch / self.micro if self.micro else 0.5
        if self.deterministic and (parts != int(parts) or int(parts) & (int(parts) - 1)):
            raise ValueError(
                f"deterministic needs micro, with batch / micro a power of two; "
                f"given batch {self.batch}, micro {self.micro}"
            )
        if self.resume and self.overwrite:
            raise ValueError("give --resume or --overwrite, not both")
        if self.resume and self.out is None:
            raise ValueError("--resume needs --out, the directory of the run")


FIELDS = [field.name for field in dataclasses.fields(Recipe)]


@once
def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG, default=defaults(arguments))
        recipe = Recipe(**{name: getattr(options, name) for name in FIELDS})
        if options.reading != "recipe":
            low, high = interval(recipe.recipe, options.reading)
            recipe = dataclasses.replace(recipe, low=low, high=high)
        directory = prepare(options, recipe)
    execute(options, recipe, directory, shlex.join(PROG.split() + arguments))
    return 0


def defaults(arguments: Sequence[str]) -> Options:
    """The options' defaults: the recipe that is named; with --resume and no name, that of the runs in --out.

    Raises:
        ValueError: an unknown recipe. UsageError: nothing to resume.
    """
    name, out = value_of("--recipe", arguments), value_of("--out", arguments)
    if name is None and out is not None and "--resume" in arguments:
        return Options(**dataclasses.asdict(stored(Path(out))))
    return Options(**dataclasses.asdict(RECIPES[CHECKS["recipe"]("recipe", name or "digits")]))


def stored(directory: Path) -> Recipe:
    """The recipe of the runs in a directory.

    Raises:
        UsageError: there is none, or it is not of this version. FileError: a file that it names has changed, or cannot
            be read.
    """
    path = directory / "config.json"
    try:
        return from_dict(read_json(path, "configuration"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"nothing to resume: {path} does not exist") from None
    except FileError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged or of another version: {str(error)[:200]}") from None


def prepare(options: Options, recipe: Recipe) -> Path:
    """The directory of the runs; checks it and the files that are named, and writes nothing.

    Raises:
        ValueError: --data or --score does not exist. UsageError: the directory is not empty and neither --resume nor
            --overwrite was given; it is no directory; what is to be resumed has another recipe.
    """
    if options.data is not None:
        existing("--data", options.data)
    if recipe.score and not is_own(recipe.score):
        existing("--score", Path(recipe.score))
    directory = new_directory(f"images-{recipe.recipe}") if options.out is None else options.out
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out must be a directory; given the file {directory}")
    if options.resume:
        there, here = as_dict(stored(directory)), as_dict(recipe)
        if differing := [text for text in differences(there, here) if text.split(" is ")[0] not in FREE]:
            raise UsageError(f"cannot resume {directory} with another configuration: {few(differing, between='; ')}")
    elif directory.exists() and any(directory.iterdir()) and not options.overwrite:
        raise UsageError(f"{directory} is not empty: --resume continues the runs in it, --overwrite replaces them")
    return directory


def execute(options: Options, recipe: Recipe, directory: Path, command: str) -> None:
    """Trains all runs, compares them, draws, stores."""
    import torch

    from images.training.experiment import Experiment
    from images.training.parallel import device_of, joined
    from images.training.speed import Speed

    with usage():
        device = device_of(options.device)
    if options.deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    with ExitStack() as stack:
        with usage():
            world = stack.enter_context(joined(device, options.deterministic))
        workers = options.workers if options.workers is not None else 4 if device.type == "cuda" else 0
        known: dict[str, Any] = {"cache": options.cache, "data": options.data, "command": command, "workers": workers}
        known["speed"] = Speed(options.checkpoint_activations, options.compile)
        torch.backends.cudnn.benchmark = options.cudnn_benchmark
        experiment = Experiment(recipe, directory, world, str(device), options.processes, **known)
        with usage():
            experiment.begin(options.overwrite and not options.resume, stack)
        with noted(f"--resume --out {directory} continues from the last checkpoints"):
            experiment.run([log_of(log, directory) for log in options.log] if world.leads else [])


if __name__ == "__main__":
    sys.exit(run(main))
