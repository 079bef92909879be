"""The real images of a recipe, and the score model of its score term."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from images.datasets import archive, sources
from images.datasets.dataset import Images, to_float
from images.denoisers import published
from images.denoisers.precondition import Score
from images.denoisers.small import score_for
from images.interfaces import Data
from images.metrics.features import digits
from images.recipes import Recipe


class Pixels:
    """Images with pixels from -1 to 1, and their labels if the recipe has classes; an `images.interfaces.Data`.

    Raises:
        ValueError: images of another shape than the recipe's, no labels where it has classes, or other classes.
    """

    def __init__(self, found: Images, recipe: Recipe, where: str):
        self.found, self.conditional = found, recipe.classes > 0
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
    """scikit-learn's digits, crops of its photographs by way of an archive in the cache, or the user's archive.

    Raises:
        ValueError: the recipe needs an archive, or has another shape. FileError: a bad archive. OSError: none there.
    """
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


def score_model(recipe: Recipe, data: Data, path: Path | None, cache: Path, device: str) -> Score:
    """The score model of a file, or the small one of digits and photos, trained and cached.

    Raises:
        ValueError: the recipe needs a file; that in it is for images of other shape, classes, or noise. FileError: it
            holds none. OSError: it cannot be read.
    """
    if path is None:
        if recipe.source not in ("digits", "photos"):
            raise ValueError(f"recipe {recipe.recipe} needs --score, a diffusion checkpoint, or --couplings gan")
        return score_for(recipe, data, cache).to(device)
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
