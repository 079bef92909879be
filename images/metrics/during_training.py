"""Metrics of a generator's images during training; the digits' features are those of `images.evaluate`."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from images.datasets.dataset import to_uint8
from images.datasets.splits import Splits
from images.denoisers.small import score_for
from images.interfaces import Data
from images.metrics import distances
from images.metrics.classified import Classified, copies
from images.metrics.classifier import classifier
from images.metrics.exact import exact
from images.metrics.features import Pixels, digits, digits_classifier, extract
from images.recipes import CLASSIFIED, RECIPES, Recipe


class Judge(Protocol):
    """(images, labels, whether these are the last) -> metrics; `n` is the number of images, `real` the metrics of
    real images that nothing was trained on."""

    n: int
    real: dict[str, float]

    def __call__(
        self, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None, last: bool
    ) -> dict[str, float]: ...


class Silent:
    """No metrics, for recipes that need the user's Inception: python -m images.evaluate measures them."""

    def __init__(self) -> None:
        self.n, self.real = 256, dict[str, float]()

    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        return {}


class Digits:
    """In the features of the digits classifier, against the training digits and against the held-out ones.

    frechet_distance: "Frechet distance (digits classifier)", no FID, to the training digits, 0 for a generator that
    copies them; frechet_held_out: to the held-out digits; precision, recall: among the training digits; class_accuracy:
    the share that the classifier puts into the requested class; nearest_training: the median root mean squared
    difference a pixel to the nearest training image; memorised: see `distances.memorised`, in pixels.

    `real` is the floor: frechet_held_out of the training digits, which are as many as the generator's images; all else
    of the held-out digits, a quarter as many.
    """

    @exact()
    def __init__(self, cache: Path):
        self.network = digits_classifier(cache)
        train, held_out = digits("train"), digits("test")
        assert isinstance(train.images, Tensor)
        assert isinstance(held_out.images, Tensor)
        self.train = train.images
        self.features, unseen = (extract(self.network, part) for part in (self.train, held_out.images))
        self.moments, self.unseen = distances.moments(self.features), distances.moments(unseen)
        self.n = len(self.train)
        floor = distances.frechet(self.moments, self.unseen)
        self.real = self.of(held_out.images, held_out.labels, last=True) | {"frechet_held_out": floor}
        del self.real["frechet_distance"]  # of fewer images it is larger

    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        return self.of(to_uint8(x), labels, last)

    @exact()
    def of(self, pixels: UInt8[Tensor, "n 1 8 8"], labels: Tensor | None, last: bool) -> dict[str, float]:
        features = extract(self.network, pixels)
        moments = distances.moments(features)
        found = {
            "frechet_distance": distances.frechet(self.moments, moments),
            "frechet_held_out": distances.frechet(self.unseen, moments),
            **distances.precision_recall(self.features, features)._asdict(),
        }
        if labels is not None:
            found["class_accuracy"] = (self.network.classify(pixels) == labels).double().mean().item()
        return found | copies(pixels, self.train) if last else found


class Coarse:
    """In coarse pixels (`features.Pixels`), against the first COUNT training images, for images of the user's.

    frechet_pixels: "Frechet distance (pixels)", no FID; precision, recall; at the end nearest_training and memorised,
    as those of `Digits`. `real` is empty: all real images may be trained on.
    """

    COUNT = 1024

    @exact()
    def __init__(self, data: Data):
        if len(data) < 4:
            raise ValueError(f"at least 4 images are wanted; given {len(data)}")
        self.n, self.real = self.COUNT, dict[str, float]()
        self.network = Pixels()
        self.train = to_uint8(data.take(torch.arange(min(self.COUNT, len(data))))[0])
        self.features = extract(self.network, self.train)
        self.moments = distances.moments(self.features)

    @exact()
    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        pixels = to_uint8(x)
        features = extract(self.network, pixels)
        found = {
            "frechet_pixels": distances.frechet(self.moments, distances.moments(features)),
            **distances.precision_recall(self.features, features)._asdict(),
        }
        return found | copies(pixels, self.train) if last else found


def measures(recipe: Recipe, cache: Path, own: Data | None = None) -> Judge:
    """The metrics of a recipe's images, or of the user's own.

    Raises:
        ValueError: fewer than 4 images.
    """
    if recipe.source in CLASSIFIED:
        from images.training.inputs import real_images

        data = real_images(recipe, None, cache) if own is None else own
        found: Splits | None = getattr(data, "splits", None)
        if found is not None:
            return _classified(dataclasses.replace(RECIPES[recipe.recipe], classes=recipe.classes), found, cache)
    if own is not None:
        return Coarse(own)
    return Digits(cache) if recipe.source == "digits" else Silent()


@lru_cache(maxsize=2)
def _classified(recipe: Recipe, found: Splits, cache: Path) -> Classified:
    """The judge of these images, which takes seconds to make."""
    from images.training.inputs import Pixels as Stored

    data = Stored(found.train, recipe, recipe.source, found)
    return Classified(recipe, found, classifier(recipe.source, found, cache), score_for(recipe, data, cache))
