"""python -m images.scores FILE: family, licence and network of a diffusion checkpoint, and a batch denoised by it.

Exit status: 0 done, 2 bad usage or a file that holds no score model, 1 anything else. Nothing in the file is executed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from theory.common.checks import existing, positive, whole
from theory.common.commandline import parse, run, usage
from theory.common.errors import OutOfMemory

if TYPE_CHECKING:
    from torch import Tensor

    from images.denoisers.published import Loaded

PROG = "python -m images.scores"


@dataclass(frozen=True)
class Options:
    """Describe a diffusion checkpoint (family, licence, network), and denoise a batch with it."""

    file: Annotated[Path, tyro.conf.Positional]
    """Of guided-diffusion (.pt), consistency_models (.pt), EDM (.pkl), or of this project. Nothing in it is run."""
    like: str | None = None
    """For a network of another size than the published ones: the published file whose heads, schedule and
    preconditioning it shares."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    batch: int = 4
    """Images to denoise."""
    nsr: float = 0.5
    """Their noise-to-signal ratio sigma/alpha; pixels run from -1 to 1."""
    seed: int = 0
    """Of images, classes and noise."""

    def __post_init__(self) -> None:
        whole("batch", self.batch, 1)
        positive("nsr", self.nsr)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        if existing("file", options.file).is_dir():
            raise ValueError(f"file: {options.file} is a directory")
        show(options)
    return 0


def show(options: Options) -> None:
    """Loads, describes, denoises.

    Raises:
        FileError: the file holds no score model. ValueError: there is no such device. OutOfMemory: names the part.
    """
    import torch

    from images.denoisers.published import load
    from images.training.parallel import usable

    device = usable(options.device)
    part = "loading the network"
    try:
        loaded = load(options.file, options.like, device)
        print(describe(options.file, loaded))
        part = f"denoising {options.batch} images (a smaller --batch takes less)"
        print(denoised(loaded, options, device))
    except torch.OutOfMemoryError:
        raise OutOfMemory(f"{device} ran out of memory {part}") from None


def describe(path: Path, loaded: Loaded) -> str:
    """The facts of a file, a line each."""
    from images.denoisers.precondition import DDPMScore

    score = loaded.score
    config, network = score.network.config, type(score.network).__name__
    preconditioning = f"DDPM, schedule {score.schedule}" if isinstance(score, DDPMScore) else score.title
    sides = [f"at {config.resolution >> level}" for level in config.attention]
    middle = ["in the middle"] if getattr(config, "middle_attention", True) else []
    facts = {
        "file": f"{path} ({os.path.getsize(path) / 2**20:.1f} MiB)",
        "family": f"{loaded.family}, {loaded.name}",
        "licence": loaded.licence,
        "network": f"{network}, {loaded.parameters / 1e6:.2f} M parameters",
        "images": f"{config.channels_in} x {config.resolution} x {config.resolution}, "
        + (f"{config.classes} classes" if config.classes else "unconditional"),
        "widths": " ".join(str(config.width * multiplier) for multiplier in config.multipliers)
        + f", {config.blocks} blocks a level, attention: "
        + (", ".join([*sides, *middle]) or "none"),
        "preconditioning": preconditioning,
        "sigma/alpha": f"{score.interval.low:.5g} to {score.interval.high:.5g}",
    }
    return "\n".join(f"{name:16} {fact}" for name, fact in facts.items())


def denoised(loaded: Loaded, options: Options, device: str) -> str:
    """Two lines on smooth random images, noised and denoised: shape, range, mean squared error before and after."""
    import torch

    from theory.levels import Level

    config = loaded.score.network.config
    generator = torch.Generator().manual_seed(options.seed)
    x = smooth(options.batch, config.channels_in, config.resolution, generator)
    noise = torch.randn(x.shape, generator=generator)
    labels = torch.randint(config.classes, (options.batch,), generator=generator) if config.classes else None
    x_t = (x + options.nsr * noise).to(device)
    with torch.no_grad():
        level = Level.variance_exploding(options.nsr)
        found = loaded.score.denoise(x_t, level, None if labels is None else labels.to(device)).cpu()
    lines = [
        f"{'noised':16} {list(x_t.shape)} at sigma/alpha {options.nsr:g}, mean square {options.nsr**2:.4g} off",
        f"{'denoised':16} {list(found.shape)}, range {found.min():.3f} to {found.max():.3f}, mean {found.mean():.3f}, "
        f"mean square off the clean images {(found - x).square().mean():.4g}",
    ]
    return "\n".join(lines)


def smooth(n: int, channels: int, side: int, generator: object) -> Tensor:
    """Images of four by four random colours, smoothly interpolated, in [-1, 1].   [n, channels, side, side]"""
    import torch
    from torch.nn import functional as F

    coarse = 2 * torch.rand(n, channels, 4, 4, generator=generator) - 1  # type: ignore[call-overload]
    return F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)


if __name__ == "__main__":
    sys.exit(run(main))
