"""Feature networks for distances between images: the user's Inception of 2015, and a classifier of digits.

Only distances in the Inception's features are called FID and KID; those in other features have other names. Without a
file and for images of any kind there are coarse pixels.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from images.datasets.dataset import Images, OnDisk, batch_indices, to_float
from images.metrics.classifier import Classifier
from images.metrics.exact import exact
from theory.common.errors import FileError, OutOfMemory, out_of_memory
from theory.common.files import read_tensors, write_tensors
from theory.common.seeds import one_thread
from theory.common.terminal import console, tracked

INCEPTION = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
CACHE = Path("runs/cache")
VERSION = 1  # of the digits classifier and how it is stored: raise it when either changes
STEPS, BATCH, LR, WIDTH = 600, 64, 2e-3, 64


class Inception(nn.Module):
    """The user's TorchScript of the Inception of 2015, with uint8 RGB images in and `return_features=True`.

    TorchScript is a program. A file of another checksum is run only if `trusted`, and its distances are not called FID.

    Attributes:
        name: of the features; shape: (c, h, w) of the images that it takes, None: any; frechet, kernel: what the
            distances in these features are called.

    Raises:
        FileError: no such file; another one, and it is not trusted; no TorchScript, or not of this kind.
    """

    shape: tuple[int, int, int] | None = None

    def __init__(self, path: Path, trusted: bool = False):
        super().__init__()
        if not path.is_file():
            raise FileError(f"{path}: no such file; wanted: {INCEPTION}, NVIDIA's TorchScript of the Inception of 2015")
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        standard = checksum == INCEPTION_SHA256
        if not standard and not trusted:
            raise FileError(
                f"{path} is not {INCEPTION}: its SHA-256 is {checksum[:16]}..., not {INCEPTION_SHA256[:16]}...; it "
                "is a program, and is run only with --trust-torchscript"
            )
        self.name = "inception-2015-12-05" if standard else f"torchscript {checksum[:16]}"
        self.frechet = "FID" if standard else f"Frechet distance in features of {path.name}"
        self.kernel = "KID" if standard else f"kernel distance in features of {path.name}"
        try:
            with warnings.catch_warnings():  # TorchScript is deprecated, and this file is what FID is defined by
                warnings.simplefilter("ignore", DeprecationWarning)
                self.network = torch.jit.load(path, map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise FileError(f"{path} is no TorchScript ({str(error).splitlines()[0]})") from None
        self.path = path

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        try:
            found = self.network(colour, return_features=True)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            said = str(error).strip().splitlines()[-1]
            raise FileError(
                f"{self.path} does not take images {list(colour.shape)} with return_features ({said})"
            ) from None
        if not isinstance(found, Tensor) or found.shape[:1] != images.shape[:1] or found.ndim != 2:
            raise FileError(f"{self.path} gives no features [b, d]")
        return found


class DigitsClassifier(nn.Module):
    """Two convolutions and a hidden layer of 64 features; the logits of the ten classes are linear in them."""

    name = f"digits classifier {VERSION}"
    shape: tuple[int, int, int] | None = (1, 8, 8)
    frechet = "Frechet distance (digits classifier)"
    kernel = "kernel distance (digits classifier)"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # 8x8
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),  # 4x4
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, WIDTH),
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, images: UInt8[Tensor, "b 1 8 8"]) -> Float[Tensor, "b d"]:
        return self.body(to_float(images))

    def classify(self, images: UInt8[Tensor, "b 1 8 8"]) -> Int64[Tensor, " b"]:
        """The likeliest class of each."""
        return self.head(self(images)).argmax(1)


class Pixels(nn.Module):
    """Means of pixels, from -1 to 1, over an 8 x 8 grid: features of any images, for which nothing is trained."""

    name = "pixels 1"
    shape: tuple[int, int, int] | None = None
    frechet = "Frechet distance (pixels)"
    kernel = "kernel distance (pixels)"

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        return F.adaptive_avg_pool2d(to_float(images), 8).flatten(1)


Features: TypeAlias = Inception | DigitsClassifier | Pixels | Classifier
"""A network from images uint8 [b, c, h, w] to features [b, d]."""


def digits_classifier(cache: Path | None = None) -> DigitsClassifier:
    """The classifier of digits, from the cache (runs/cache) or trained now, in seconds; one kind of processor always
    gives the same weights.

    A damaged file is replaced, which is said.

    Raises:
        OSError: the cache cannot be read or written.
    """
    cache = CACHE if cache is None else cache
    path = cache / f"digits-classifier-{VERSION}.pt"
    network = DigitsClassifier()
    try:
        network.load_state_dict(read_tensors(path, "digits classifier", like=network.state_dict()))
    except (FileNotFoundError, FileError) as error:
        if isinstance(error, FileError):
            console(stderr=True).print(f"{error}; it is trained again", soft_wrap=True)
        network = train_digits_classifier()
        cache.mkdir(parents=True, exist_ok=True)
        write_tensors(path, network.state_dict())
    return network.eval().requires_grad_(False)


@one_thread()
def train_digits_classifier(steps: int = STEPS, seed: int = 0) -> DigitsClassifier:
    """A classifier trained with cross-entropy and Adam, the learning rate falling linearly to 0; on one thread, for the
    same bits on any number of cores."""
    data = digits("train")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = DigitsClassifier()
    optimiser = torch.optim.Adam(network.parameters(), LR)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LR * (1 - step / steps)
        images, labels = data.batch(batch_indices(seed, step, BATCH, len(data)))
        assert labels is not None
        loss = F.cross_entropy(network.head(network(images)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def digits(split: str) -> Images:
    """scikit-learn's digits; see `sources.digits`."""
    from images.datasets import sources

    return Images.of(sources.digits(split).items)


@torch.no_grad()
@exact()
def extract(
    network: Features,
    images: UInt8[Tensor, "n c h w"] | OnDisk,
    batch: int = 250,
    device: str = "cpu",
    what: str = "images",
) -> Float[Tensor, "n d"]:
    """The features of all images, on the CPU.

    Args:
        what: what progress on standard error calls them.

    Raises:
        ValueError: images of another shape than the network takes. OutOfMemory: names the batch.
    """
    shape = tuple(images.shape[1:])
    if network.shape is not None and shape != network.shape:
        raise ValueError(f"{network.name}: images must be {list(network.shape)}; given {list(shape)}")
    found = []
    starts = range(0, images.shape[0], batch)
    try:
        for first in tracked(starts, what, len(starts)):
            pixels = images[torch.arange(first, min(first + batch, images.shape[0]))]
            found.append(network(pixels.to(device)).float().cpu())
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory on {device}: lower --batch ({batch})") from None
    return torch.cat(found)
