"""Small score models for digits and photos: trained on the noise that the score term has, and cached.

min over theta of E ||eps_theta(x + nsr eps, labels) - eps||^2,    log nsr uniform from low / 2 to 2 high
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from images.datasets.dataset import batch_indices
from images.denoisers import published
from images.denoisers.precondition import EDMScore
from images.denoisers.song import SongConfig, SongUNet
from images.draws import DENOISER, draw
from images.interfaces import Data
from images.recipes import CLASSIFIED, Recipe
from theory.common.errors import FileError
from theory.common.files import read_tensors
from theory.common.seeds import generator, one_thread
from theory.common.terminal import console, tracked
from theory.levels import Interval, Level
from theory.regularity import score_matching_loss

WIDE = (0.04, 0.5)


@dataclass(frozen=True)
class Denoiser:
    """The configuration of a small score model, which names its file in the cache."""

    data: str
    resolution: int
    channels: int
    classes: int
    low: float
    high: float
    width: int = 16
    multipliers: tuple[int, ...] = (1,)
    attention: bool = False
    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3

    @classmethod
    def of(cls, recipe: Recipe, data: str | None = None) -> Denoiser:
        """The configuration for a recipe. At 8x8: one level without attention; of photos: the three levels of CIFAR10's
        network, thin, and trained briefly; of images that a classifier judges: three levels, thinner, trained for
        minutes on noise from WIDE, so that its loss can be read at levels beyond the recipe's.

        Args:
            data: what the images are, if not the recipe's own.
        """
        shape = recipe.resolution, recipe.channels, recipe.classes, recipe.low, recipe.high
        data = data or recipe.source
        if recipe.source in CLASSIFIED:
            kind = {"width": 8, "multipliers": (1, 2, 4), "steps": 1000, "batch": 32}
            return cls(data, *shape[:3], *WIDE, **kind)  # type: ignore[arg-type]
        if recipe.resolution == 8:
            return cls(data, *shape)
        return cls(data, *shape, multipliers=(1, 2, 2), attention=True, steps=150, batch=16)

    @property
    def config(self) -> SongConfig:
        """Of the network."""
        channels = self.channels, self.channels
        shape = self.resolution, *channels, self.width, self.multipliers
        return SongConfig(*shape, blocks=1, attention=(), middle_attention=self.attention, classes=self.classes)

    def network(self) -> SongUNet:
        """With random parameters."""
        return SongUNet(self.config)

    @property
    def file(self) -> str:
        key = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]
        return f"{self.data}-denoiser-{key}.pt"


def score_for(recipe: Recipe, data: Data, cache: Path, archive: Path | None = None) -> EDMScore:
    """The recipe's small score model, frozen: from the cache, or trained now and stored there. A damaged file is
    replaced, which is said.

    Args:
        archive: that the data are from, if they are not the recipe's own; its content names the file in the cache.

    Raises:
        OSError: the cache cannot be read or written.
    """
    splits = getattr(data, "splits", None)
    if splits is not None:
        name = f"{recipe.source}-{splits.digest}"
    else:
        name = recipe.source if archive is None else named(archive)
    what = Denoiser.of(recipe, name)
    path = cache / what.file
    try:
        return stored(what, path)
    except FileNotFoundError:
        pass
    except FileError as error:
        console(stderr=True).print(f"{error}; it is trained again", soft_wrap=True)
    cache.mkdir(parents=True, exist_ok=True)
    published.save(train(what, data), path)
    return stored(what, path)


def stored(what: Denoiser, path: Path) -> EDMScore:
    """The score model in a file of the cache.

    Raises:
        FileError: it is damaged, of another configuration, or not finite. OSError: it cannot be read.
    """
    read_tensors(path, "score model")  # its checksum, which files of others do not have
    score = published.load(path).score
    if not isinstance(score, EDMScore) or score.network.config != what.config:
        raise FileError(f"{path} is of another score model")
    if not all(bool(value.isfinite().all()) for value in score.state_dict().values()):
        raise FileError(f"{path} has parameters that are not finite")
    return score


def named(archive: Path) -> str:
    """The first digits of the SHA-256 of an archive."""
    with open(archive, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@one_thread()
def train(what: Denoiser, data: Data) -> EDMScore:
    """A trained SongUNet under EDM preconditioning, its parameters averaged; the same bits each time on a CPU.

    Progress goes to standard error.
    """
    everything, _ = data.take(torch.arange(min(len(data), 2048)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(0, DENOISER).initial_seed())
        network = what.network()
    score = EDMScore(network, sigma_data=float(everything.std()))
    average = copy.deepcopy(score)
    optimizer = torch.optim.Adam(score.parameters(), lr=what.lr, betas=(0.9, 0.99))
    interval = Interval(what.low / 2, 2 * what.high)
    shape = what.channels, what.resolution, what.resolution
    for step in tracked(range(what.steps), "score model", what.steps):
        optimizer.param_groups[0]["lr"] = what.lr * 0.5 * (1 + math.cos(math.pi * step / what.steps))
        part = slice(0, what.batch)
        x, labels = data.take(batch_indices(0, step, what.batch, len(data)))
        eps = draw(torch.randn, shape, 0, DENOISER, 2 * step, part)
        nsr = interval.nsr(draw(torch.rand, (), 0, DENOISER, 2 * step + 1, part), "log-uniform")
        loss = score_matching_loss(x, score.of(labels), Level.variance_exploding(nsr), eps, event_dims=3).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        keep = min(0.99, step / (step + 10))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), score.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
    return average.requires_grad_(False).eval()
