"""The real images of a recipe, and the score model of its score term."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from images.datasets import archive, sources
from images.datasets.dataset import Images, to_float
from images.datasets.splits import FASHION, Splits, has_splits, splits
from images.denoisers import published
from images.denoisers.small import score_for
from images.interfaces import Data, Scores
from images.metrics.features import digits
from images.recipes import CLASSIFIED, Recipe
from theory.common.errors import FileError
from theory.common.parts import is_own, load, part_of, tried
from theory.levels import Level
from theory.regularity import EpsModel


class Pixels:
    """Images with pixels from -1 to 1, and their labels if the recipe has classes; an `images.interfaces.Data`.

    Args:
        splits: that they are the training split of, if there is a test split.

    Raises:
        ValueError: images of another shape than the recipe's, no labels where it has classes, or other classes.
    """

    def __init__(self, found: Images, recipe: Recipe, where: str, splits: Splits | None = None):
        self.found, self.conditional, self.splits = found, recipe.classes > 0, splits
        channels, height, _ = found.shape
        if (channels, height) != (recipe.channels, recipe.resolution):
            raise ValueError(
                f"{where} holds {channels}-channel images of {height} pixels a side, the recipe has {recipe.channels} "
                f"channels and resolution {recipe.resolution}"
            )
        if self.conditional and found.labels is None:
            raise ValueError(f"{where} has no labels, the recipe {recipe.classes} classes: --classes 0 trains without")
        if self.conditional and found.classes != recipe.classes:
            raise ValueError(f"{where} has {found.classes} classes, the recipe {recipe.classes}")

    def __len__(self) -> int:
        return len(self.found)

    def labels(self, which: Int[Tensor, " b"]) -> Int[Tensor, " b"] | None:
        return self.found.labels[which] if self.conditional and self.found.labels is not None else None

    def take(self, which: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"] | None]:
        pixels, labels = self.found.batch(which)
        return to_float(pixels), labels if self.conditional else None


def real_images(recipe: Recipe, path: Path | None, cache: Path) -> Data:
    """scikit-learn's digits, crops of its photographs by way of an archive in the cache, the training split of a source
    of `datasets.splits`, or the user's archive.

    Raises:
        ValueError: the recipe needs an archive, or has another shape. FileError: a bad archive. OSError: none there.
        UsageError: as `splits`.
    """
    if has_splits(recipe.source, path):
        found = splits(recipe.source, path)
        return Pixels(found.train, recipe, str(path or FASHION), found)
    if path is None and recipe.source == "digits":
        return Pixels(digits("train"), recipe, "scikit-learn's digits")
    if path is None and recipe.recipe == "photos":
        path = cache / "photos.zip"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            archive.write(path, sources.photos().items)
    if path is None:
        raise ValueError(f"recipe {recipe.recipe} needs --data, an archive of images (python -m images.data makes one)")
    return Pixels(Images.open(path), recipe, str(path))


def score_model(recipe: Recipe, data: Data, cache: Path, device: str, archive: Path | None = None) -> Scores:
    """The recipe's score model: of a file, of the user's FILE.py:NAME, or the small one of digits and photos, trained
    on the recipe's images, or on those of an archive, and cached.

    Raises:
        ValueError: the recipe needs a file; that in it is for images of other shape, classes, or noise. FileError: it
            holds none; as `own_score`. OSError: it cannot be read.
    """
    if not recipe.score:
        if recipe.source not in ("digits", "photos", *CLASSIFIED):
            raise ValueError(f"recipe {recipe.recipe} needs --score, a diffusion checkpoint, or --couplings gan")
        return score_for(recipe, data, cache, archive).to(device)
    if is_own(recipe.score):
        return own_score(recipe, data, device)
    path = recipe.score
    score = published.load(path, device=device).score
    config = score.network.config
    for name, there, here in (
        ("resolution", config.resolution, recipe.resolution),
        ("channels", config.channels_in, recipe.channels),
        ("classes", config.classes, recipe.classes),
    ):
        if there != here:
            raise ValueError(f"{path} is a score model with {name} {there}, the recipe has {here}")
    if recipe.low < score.interval.low or recipe.high > score.interval.high:
        known = f"{score.interval.low:.4g} to {score.interval.high:.4g}"
        raise ValueError(f"{path} is for sigma/alpha from {known}; given low={recipe.low}, high={recipe.high}")
    return score


class Same:
    """A score model that is one for all classes."""

    def __init__(self, eps_model: EpsModel):
        self.eps_model = eps_model

    def of(self, labels: Int[Tensor, " b"] | None = None) -> EpsModel:
        return self.eps_model


def own_score(recipe: Recipe, data: Data, device: str) -> Scores:
    """The score model that FILE.py:NAME means: a function (x_t, level) -> eps, the same for all classes, or an object
    with `of(labels)`, which returns one. Level.alpha is 1, level.sigma [b]. A class is called once, without arguments.
    A module is frozen, in evaluation mode and on the device.

    It is tried on two real images at both ends of the recipe's interval.

    Raises:
        FileError: it is neither, or raises; eps has another shape or type than x_t, is not finite, or not
            differentiable in x_t.
    """
    name, given = str(part_of(recipe.score)), load(recipe.score)
    found = tried(name, "is no score", given) if isinstance(given, type) else given
    if isinstance(found, nn.Module):
        found.requires_grad_(False).eval().to(device)
    if not callable(getattr(found, "of", found)):
        raise FileError(f"{name} must be a function (x_t, level), or have of(labels); given {type(given).__name__}")
    scores: Scores = found if hasattr(found, "of") else Same(found)
    x, labels = data.take(torch.arange(2) % len(data))
    nsr = torch.tensor([recipe.low, recipe.high])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    x_t = (x + nsr[:, None, None, None] * noise).to(device).requires_grad_()
    known = None if labels is None else labels.to(device)
    level = Level.variance_exploding(nsr.to(device))
    eps = tried(name, "is no score", lambda: scores.of(known)(x_t, level))
    told = f"{eps.dtype} {list(eps.shape)}" if isinstance(eps, Tensor) else type(eps).__name__
    if told != (wanted := f"{x_t.dtype} {list(x_t.shape)}"):
        raise FileError(f"{name} must return eps as x_t is, {wanted}; given {told}")
    if not eps.isfinite().all():
        raise FileError(f"{name} returns NaN or infinity at real images with noise")
    if not eps.requires_grad:
        raise FileError(f"{name} is not differentiable in x_t")
    return scores
