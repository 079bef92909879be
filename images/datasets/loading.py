"""Batches of images that worker processes decode ahead of the step that takes them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from images.datasets.dataset import Images, batch_indices
from theory.common.errors import FileError
from theory.common.signals import REQUESTS

AHEAD = 4  # messages that a worker prepares before they are asked for
MESSAGE = 32  # images; a message costs this process about a millisecond, whatever is in it
Batch = tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"] | None]


class _Decoding(Dataset[Batch | FileError]):
    """The batches of some steps by the number of the first: the worker finds the indices, so that this process sends a
    number only. An error is a result, since a worker's would come with its traceback."""

    def __init__(self, images: Images, steps: Steps):
        self.images, self.steps = images, steps

    def __getitem__(self, step: int) -> Batch | FileError:
        try:
            return self.images.batch(self.steps.indices(step))
        except FileError as error:
            return error


class Steps:
    """The steps from `first` on, one batch of this rank each: its indices are a function of the step's number alone.

    A message of a worker has the images of `each` steps in a row, MESSAGE images or more where a batch is smaller.
    """

    def __init__(self, seed: int, batch: int, n: int, first: int, last: int, rank: int = 0, world: int = 1):
        self.first, self.last = first, last
        self.given = seed, batch, n, rank, world
        self.share = batch // world
        self.each = max(1, -(-MESSAGE // self.share))

    def __len__(self) -> int:
        return -(-(self.last - self.first) // self.each)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last, self.each))

    def indices(self, first: int) -> Int64[Tensor, " b"]:
        """Of the steps of a message."""
        seed, batch, n, rank, world = self.given
        steps = range(first, min(first + self.each, self.last))
        return torch.cat([batch_indices(seed, step, batch, n, rank, world) for step in steps])


def _spared(_: int) -> None:
    """In a worker: requests to stop, sent to all processes, are the parent's to handle. It ends with its parent."""
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def loaded(images: Images, steps: Steps, workers: int = 1, pinned: bool = False, ahead: int = AHEAD) -> Iterator[Batch]:
    """(pixels, labels) of each step in turn, decoded `ahead` messages before by each of the worker processes.

    Resuming at a step needs its number only: the batches are those of `batch_indices`, whatever the number of workers.

    Args:
        workers: processes; 0 decodes in this one. Each opens the archive once.
        pinned: in page-locked memory, from which copies to a CUDA device need not wait.

    Raises:
        FileError: a damaged image; names archive and image.
    """
    loader = DataLoader(
        _Decoding(images, steps), sampler=cast(Any, steps), batch_size=None, num_workers=workers,
        prefetch_factor=ahead if workers else None, pin_memory=pinned, worker_init_fn=_spared,
    )  # fmt: skip
    for batch in loader:
        if isinstance(batch, FileError):
            raise batch
        pixels, labels = batch
        for at in range(0, len(pixels), steps.share):
            here = slice(at, at + steps.share)
            yield pixels[here], None if labels is None else labels[here]
