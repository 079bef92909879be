"""A small convolutional classifier of a recipe's classes, trained here: its features are those that distances are in.

    32 x 32: three times convolution 3 x 3, batch norm, ReLU, maximum over 2 x 2; then a hidden layer of 64 features

Three stacked digits have a classifier of single digits, whose features of the three channels are joined.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from images.datasets.dataset import Images, batch_indices, to_float
from images.datasets.splits import Splits
from images.metrics.exact import exact
from theory.common.errors import FileError
from theory.common.files import read_tensors, write_tensors
from theory.common.seeds import one_thread
from theory.common.terminal import console, tracked

VERSION = 1  # of the classifier and how it is trained and stored: raise it when either changes
WIDTHS, FEATURES = (16, 32, 64), 64
EPOCHS, BATCH, LR = 4, 128, 4e-3


class Classifier(nn.Module):
    """Images uint8 -> features; the logits of the classes are linear in them.   [b, c, h, w] -> [b, d]

    Args:
        data: what the images are; it names the features.
        shape: (c, h, w) of the images.
        apart: each channel is an image of its own, and a class is the number that their classes write.
    """

    def __init__(self, data: str, shape: tuple[int, int, int], classes: int, apart: bool = False):
        super().__init__()
        self.name, self.apart = f"{data} classifier {VERSION}", apart
        self.shape: tuple[int, int, int] | None = shape
        self.frechet = f"Frechet distance ({data} classifier)"
        self.kernel = f"kernel distance ({data} classifier)"
        before, layers = 1 if apart else shape[0], list[nn.Module]()
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            before = width
        side = shape[1] >> len(WIDTHS)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side**2, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        return self.body(to_float(self.single(images))).reshape(len(images), -1)

    def single(self, images: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "n c2 h w"]:
        """The images that are classified: each channel for itself if they are apart."""
        return images.flatten(0, 1)[:, None] if self.apart else images

    def classify(self, images: UInt8[Tensor, "b c h w"]) -> Int64[Tensor, " b"]:
        """The likeliest class of each; of stacked digits the number that they write."""
        found = self.head(self.body(to_float(self.single(images)))).argmax(1)
        if not self.apart:
            return found
        number = torch.zeros(len(images), dtype=torch.long)
        for digit in found.view(len(images), -1).T:
            number = 10 * number + digit
        return number


@dataclass(frozen=True)
class Known:
    """A trained classifier, its accuracy on the test images, and the file that it is in."""

    network: Classifier
    accuracy: float
    path: Path


def fresh(data: str, found: Splits) -> Classifier:
    """The untrained classifier of these images."""
    channels, height, width = found.train.shape
    apart = data == "stacked-mnist"
    return Classifier(data, (channels, height, width), 10 if apart else found.train.classes, apart)


def classifier(data: str, found: Splits, cache: Path) -> Known:
    """The classifier of these images: from the cache, or trained now, in minutes, and stored there. A damaged file is
    replaced, which is said.

    Raises:
        ValueError: the images have no labels. OSError: the cache cannot be read or written.
    """
    if found.train.labels is None or found.test.labels is None:
        raise ValueError(f"a classifier of {data} needs labels; the images have none")
    network = fresh(data, found)
    path = cache / f"{data}-classifier-{key(found)}.pt"
    try:
        like = {"network": dict(network.state_dict()), "accuracy": 0.0}
        content = read_tensors(path, f"classifier of {data}", like=like)
        network.load_state_dict(content["network"])
        accuracy = content["accuracy"]
    except (FileNotFoundError, FileError) as error:
        if isinstance(error, FileError):
            console(stderr=True).print(f"{error}; it is trained again", soft_wrap=True)
        train(network, found.train)
        accuracy = accuracy_of(network, found.test)
        cache.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"network": dict(network.state_dict()), "accuracy": accuracy})
    return Known(network.eval().requires_grad_(False), accuracy, path)


def key(found: Splits) -> str:
    """The first digits of a hash of everything that decides the training."""
    decided = [VERSION, WIDTHS, FEATURES, EPOCHS, BATCH, LR, *found.train.images.shape, found.digest]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:12]


@one_thread()
def train(network: Classifier, images: Images, seed: int = 0) -> None:
    """Cross-entropy and Adam, the learning rate falling linearly to 0, over EPOCHS; on one thread, for the same bits on
    any number of cores. Progress goes to standard error."""
    assert images.labels is not None
    if network.apart:
        places = torch.tensor([100, 10, 1])
        images = Images(network.single(images.images[:]), (images.labels[:, None] // places % 10).flatten())
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), LR)
    batch = min(BATCH, len(images))
    steps = EPOCHS * len(images) // batch
    for step in tracked(range(steps), "classifier", steps):
        optimiser.param_groups[0]["lr"] = LR * (1 - step / steps)
        pixels, labels = images.batch(batch_indices(seed, step, batch, len(images)))
        assert labels is not None
        loss = F.cross_entropy(network.head(network.body(to_float(pixels))), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()


@torch.no_grad()
@exact()
def accuracy_of(network: Classifier, images: Images) -> float:
    """The share of images that are put into their class."""
    assert images.labels is not None
    network.eval()
    parts = [slice(first, first + 500) for first in range(0, len(images), 500)]
    right = [network.classify(images.images[part]) == images.labels[part] for part in parts]
    return torch.cat(right).double().mean().item()
