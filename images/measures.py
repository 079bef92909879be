"""What training says of a generator's images as it goes; the digits' features are those of `images.evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor

from images import distances
from images.dataset import to_uint8
from images.features import digits, digits_classifier, extract
from images.recipes import Recipe


class Judge(Protocol):
    """(images, labels, whether these are the last) -> metrics; `n` is how many images it wants."""

    n: int

    def __call__(
        self, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None, last: bool
    ) -> dict[str, float]: ...


class Silent:
    """Where nothing is here to judge images with: python -m images.evaluate does it, with the user's Inception."""

    n = 256

    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        return {}


class Digits:
    """Against the training digits, in the features of the digits classifier.

    frechet_distance: "Frechet distance (digits classifier)", no FID; precision, recall; class_accuracy: the share that
    the classifier puts into the class that was asked for; nearest_training: the median root mean squared difference a
    pixel to the nearest training image; memorised: see `distances.memorised`, in pixels.
    """

    def __init__(self, cache: Path):
        self.network = digits_classifier(cache)
        self.real = digits("train").images
        assert isinstance(self.real, Tensor)
        self.features = extract(self.network, self.real)
        self.moments = distances.moments(self.features)
        self.n = len(self.real)

    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        pixels = to_uint8(x)
        features = extract(self.network, pixels)
        found = {"frechet_distance": distances.frechet(self.moments, distances.moments(features))}
        found |= distances.precision_recall(self.features, features)._asdict()
        if labels is not None:
            found["class_accuracy"] = (self.network.classify(pixels) == labels).double().mean().item()
        if last:
            assert isinstance(self.real, Tensor)
            flat, real = (part.flatten(1).double() / 127.5 for part in (pixels, self.real))
            found["nearest_training"] = distances.nearest(flat, real).distance.median().item() / flat.shape[1] ** 0.5
            found["memorised"] = distances.memorised(flat, real)
        return found


def measures(recipe: Recipe, cache: Path) -> Judge:
    """The judge of a recipe's images."""
    return Digits(cache) if recipe.recipe == "digits" else Silent()
