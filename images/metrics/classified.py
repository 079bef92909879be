"""Metrics of generated images in the features of a classifier trained here, and how far the denoiser moves them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from images.datasets.dataset import to_float, to_uint8
from images.datasets.splits import Splits
from images.interfaces import Scores
from images.metrics import distances
from images.metrics.classifier import Known
from images.metrics.exact import exact
from images.metrics.features import extract
from images.recipes import Recipe
from theory.common.seeds import generator
from theory.levels import Level
from theory.regularity import score_matching_loss

COUNT = 1000  # images that are judged, and real images that they are judged against one by one
REFERENCE = 5_000  # real images of a Frechet distance, at most
NEAR = 0.1  # nsr at which the denoiser tells what lies off the manifold
QUANTILE = 0.99  # of real images' losses: a larger loss is off the manifold
NOISE = 40  # stream of the noise


class Classified:
    """Against the test images, which nothing was trained on, unless said otherwise.

    frechet_test, frechet_train: Frechet distance in the classifier's features, no FID; kernel_test: the kernel distance
    there; precision, recall, density, coverage: of COUNT samples among as many test images; class_accuracy: share that
    the classifier puts into the requested class; modes: of the classes, those that it finds; off_manifold: share of
    samples with ell at nsr NEAR above QUANTILE of the test images' (claim P2: ell = distance^2 / nsr^2 + dimension);
    ell: the median; at the end nearest_training and memorised, in pixels, among COUNT training images.

    `real` has the same of training images: the level of samples that are as good as those.
    """

    @exact()
    def __init__(self, recipe: Recipe, found: Splits, known: Known, score: Scores):
        self.recipe, self.network, self.accuracy, self.score = recipe, known.network, known.accuracy, score
        self.n = COUNT
        self.classes = 1000 if self.network.apart else recipe.classes
        some = min(COUNT, len(found.train) // 2)
        self.train = found.train.images[:some]
        features = extract(self.network, found.train.images[some : some + REFERENCE])
        self.train_moments = distances.moments(features)
        everything = extract(self.network, found.test.images[:REFERENCE])
        self.moments, self.features, self.kernel = distances.moments(everything), everything[:COUNT], everything
        labels = None if found.test.labels is None or not recipe.classes else found.test.labels[:COUNT]
        losses = self.ell(to_float(found.test.images[:COUNT]), labels)
        self.limit = float(losses.quantile(QUANTILE))
        labels = None if found.train.labels is None or not recipe.classes else found.train.labels[:some]
        self.real = self.of(self.train, labels, last=False)

    def __call__(self, x: Tensor, labels: Tensor | None, last: bool) -> dict[str, float]:
        return self.of(to_uint8(x), labels, last)

    @exact()
    def of(self, pixels: UInt8[Tensor, "n c h w"], labels: Tensor | None, last: bool) -> dict[str, float]:
        features = extract(self.network, pixels)
        moments = distances.moments(features)
        some = features[: len(self.features)]
        losses = self.ell(to_float(pixels), labels)
        found = {
            "frechet_test": distances.frechet(self.moments, moments),
            "frechet_train": distances.frechet(self.train_moments, moments),
            "kernel_test": distances.kernel_distance(self.kernel, features, subsets=20)[0],
            **distances.precision_recall(self.features, some)._asdict(),
            **distances.density_coverage(self.features, some)._asdict(),
            "off_manifold": (losses > self.limit).double().mean().item(),
            "ell": losses.median().item(),
        }
        seen = torch.cat([self.network.classify(part) for part in pixels.split(500)])
        found["modes"] = float(len(seen.unique()))
        if labels is not None:
            found["class_accuracy"] = (seen == labels).double().mean().item()
        return found | copies(pixels, self.train) if last else found

    def ell(self, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None) -> Float[Tensor, " n"]:
        """||eps_theta(x + NEAR eps) - eps||^2 of each image, with noise by its place."""
        return ell(self.score, x, labels, NEAR)


@torch.no_grad()
def ell(
    score: Scores, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None, nsr: float, draw: int = 0
) -> Float[Tensor, " n"]:
    """The loss of each image at one noise level; the noise is a function of the image's place and of `draw`."""
    found = []
    for first in range(0, len(x), 250):
        part = x[first : first + 250]
        eps = torch.randn(part.shape, generator=generator(0, NOISE, first, draw))
        model = score.of(None if labels is None else labels[first : first + 250])
        level = Level.variance_exploding(torch.full((len(part),), nsr))
        found.append(score_matching_loss(part, model, level, eps, event_dims=3))
    return torch.cat(found)


def copies(pixels: UInt8[Tensor, "n c h w"], train: UInt8[Tensor, "m c h w"]) -> dict[str, float]:
    """The median root mean squared difference a pixel to the nearest training image, and `distances.memorised`."""
    flat, train = (part.flatten(1).double() / 127.5 for part in (pixels, train))
    return {
        "nearest_training": distances.nearest(flat, train).distance.median().item() / flat.shape[1] ** 0.5,
        "memorised": distances.memorised(flat, train),
    }
