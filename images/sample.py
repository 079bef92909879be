"""python -m images.sample: write images of a trained generator as an archive, for images.evaluate.

Image i depends on the run, --seed and i alone: torchrun with any number of processes writes the same bytes.
Exit status: 0 done, 2 bad usage or a bad checkpoint, 1 anything else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from images.ranks import once
from theory.common.checks import real, whole
from theory.common.commandline import noted, parse, run, usage
from theory.common.errors import FileError, OutOfMemory, UsageError, out_of_memory

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from images.recipes import Recipe
    from images.training.parallel import World

PROG = "python -m images.sample"
STYLES = 10_000  # styles in the mean that truncation moves towards


@dataclass(frozen=True)
class Options:
    """Write images of a run's averaged generator, the classes in turn."""

    run: Annotated[Path, tyro.conf.Positional]
    """DIR/ARM-SEED of images.train, or a checkpoint in it."""
    out: Path = Path("samples.zip")
    """The archive (.zip)."""
    count: int = 50_000
    """Images to write; published FIDs are of 50,000."""
    truncation: float = 1.0
    """StyleGAN2: 1 is the generator as trained; below 1 styles move towards their mean, 0 gives one image."""
    seed: int = 0
    """Of the latents."""
    generator: str | None = None
    """Your own pair that the run trained, FILE.py:NAME: a file that a checkpoint names is run only if it is given."""
    batch: int = 64
    """Images a process handles at once."""
    device: str = "cpu"
    """cpu or cuda; under torchrun each process takes the CUDA device of its number."""
    overwrite: bool = False
    """Replace --out."""

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("batch", 1), ("seed", 0)):
            whole(name, getattr(self, name), least)
        if not 0 <= real("truncation", self.truncation) <= 1:
            raise ValueError(f"truncation must lie in [0, 1]; given {self.truncation}")
        if self.out.suffix != ".zip":
            raise ValueError(f"out must be a .zip; given {self.out}")


@once
def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    if options.out.exists() and not options.overwrite:
        raise UsageError(f"{options.out} exists: --overwrite replaces it")
    path = options.run / "checkpoint.pt" if options.run.is_dir() else options.run
    if not path.exists():
        raise UsageError(f"no checkpoint: {path} does not exist")
    with noted("nothing was written"), usage():
        write(options, path)
    return 0


def write(options: Options, path: Path) -> None:
    """Samples and writes the archive.

    Raises:
        ValueError: no such device; truncation of a generator without styles. OutOfMemory: names the batch.
    """
    from images.datasets import archive
    from images.training.parallel import device_of, joined
    from theory.common.seeds import one_thread
    from theory.common.terminal import tracked

    device = device_of(options.device)
    with joined(device) as world, one_thread():  # on a CPU sums depend on the number of threads
        g, recipe = generator_of(path, device, options.generator)
        try:
            items = samples(g, recipe, options, device, world)
            if not world.leads:
                for _ in items:
                    pass
                return
            n = archive.write(options.out, tracked(items, "images", options.count))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise OutOfMemory(f"{device} ran out of memory: lower --batch ({options.batch})") from None
    classes = f"{recipe.classes} classes in turn" if recipe.classes else "no labels"
    print(f"{options.out}: {n} images {[recipe.channels, *[recipe.resolution] * 2]}, {classes}")


def generator_of(path: Path, device: Any, own: str | None = None) -> tuple[Any, Recipe]:
    """The averaged generator of a checkpoint, and the recipe it was trained by.

    Args:
        own: the user's FILE.py:NAME, if the run trained that.

    Raises:
        FileError: the file holds none, is damaged, or its tensors do not fit the recipe's network; the run trained the
            user's own and `own` is not given, or the other way round, or its content has changed.
    """
    import torch

    from images.formats import checkpoints
    from images.formats.messages import reading
    from images.generators.families import networks_of
    from images.recipes import from_dict
    from images.training.checkpoint import FORMAT
    from theory.common.files import content_of

    with reading(path):
        read = checkpoints.read(path)
        content = content_of(read) if isinstance(read, dict) and set(read) == {"sha256", "content"} else read
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FileError(f"{checkpoints.told(content) or 'this'} is no checkpoint of this version of images.train")
        known, state = dict(content["recipe"]), content["trainer"]["average"]
        known |= {"score": "", "generator": trained(known["generator"], own)}
        recipe = from_dict(known)
        with torch.device("meta"):  # allocates nothing: a recipe may name any width
            wanted = networks_of(recipe)[0].state_dict()
        fits = {name: value.shape for name, value in wanted.items()} == {name: x.shape for name, x in state.items()}
        if not fits or not all(bool(value.isfinite().all()) for value in state.values()):
            raise FileError("its generator is not that of its recipe (another version?), or not finite")
        g, _ = networks_of(recipe)
        g.load_state_dict(state)
    return g.to(device).eval().requires_grad_(False), recipe


def trained(generator: str, own: str | None) -> str:
    """The generator of a checkpoint: its name, or the user's file in which it is now.

    Raises:
        FileError: it is the user's and none is given, or the other way round; the file has another content.
    """
    from theory.common.parts import choose_or_own, part_of

    part = part_of(generator)
    if part is None:
        if own is not None:
            raise FileError(f"--generator is for runs of your own; the generator of this one is {generator}")
        return generator
    if own is None:
        raise FileError(f"the run trained a generator of your own: give --generator {part}")
    now = choose_or_own("generator", own, ())
    if now.rpartition(":")[2] != generator.rpartition(":")[2]:
        raise FileError(f"{own} is not what the run trained: that was {generator}, this is {now}")
    return now


def samples(
    g: Any, recipe: Recipe, options: Options, device: Any, world: World
) -> Iterator[tuple[np.ndarray, int | None]]:
    """(pixels uint8 [c, h, w], label or None) of each image in turn. All processes iterate; each gets all of them.

    Every part is computed whole, even beyond the last image, so that an image is computed beside the same others.

    Raises:
        ValueError: truncation of a generator without styles.
    """
    import torch

    from images.datasets.dataset import to_uint8
    from images.draws import SAMPLE, draw
    from images.generators.styles import truncated

    if options.truncation != 1 and not hasattr(g, "styles"):
        raise ValueError(f"truncation is for stylegan2; this run's generator is {recipe.generator}")
    mean = mean_style(g, recipe, options.seed, device) if options.truncation != 1 else None
    at_once = options.batch * world.size
    for start in range(0, options.count, at_once):
        first = start + world.rank * options.batch
        part = slice(first, first + options.batch)
        z = draw(torch.randn, (recipe.latent,), options.seed, SAMPLE, 0, part).to(device)
        labels = torch.arange(part.start, part.stop, device=device) % recipe.classes if recipe.classes else None
        with torch.no_grad():
            x = g(z, labels) if mean is None else g.synthesis(truncated(g.styles(z, labels), mean, options.truncation))
        pixels = torch.cat(world.gather(to_uint8(x).contiguous())).cpu().numpy()
        for i in range(start, min(start + at_once, options.count)):
            yield pixels[i - start], i % recipe.classes if recipe.classes else None


def mean_style(g: Any, recipe: Recipe, seed: int, device: Any) -> Tensor:
    """The mean style of STYLES latents, the classes in turn.   [s]"""
    import torch

    from images.draws import SAMPLE, draw

    z = draw(torch.randn, (recipe.latent,), seed, SAMPLE, 1, slice(0, STYLES)).to(device)
    labels = torch.arange(STYLES, device=device) % recipe.classes if recipe.classes else None
    with torch.no_grad():
        return g.styles(z, labels)[:, 0].mean(0)


if __name__ == "__main__":
    sys.exit(run(main))
