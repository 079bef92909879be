"""The real images of each step of the discriminator, in order: each batch is read once, on disk ahead of its step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import torch

from images.datasets.dataset import Images as Stored
from images.datasets.dataset import OnDisk, batch_indices, to_float
from images.datasets.loading import Batch, Steps, loaded
from images.interfaces import Data, Images, Labels
from images.training.parallel import World


class Feed:
    """The batch of a step, this process's share: called with the numbers of the steps as they come. The steps of G see
    the batch of D's last one, which is kept. After a jump, as when a run resumes, reading ahead begins anew there.

    Args:
        workers: processes that decode images ahead; of no use where `data` holds its pixels in memory.
        device: where the images go; from page-locked memory if it is a CUDA device.
    """

    def __init__(self, data: Data, seed: int, batch: int, world: World, device: torch.device, workers: int = 0):
        self.data, self.device = data, device
        self.seed, self.batch, self.world = seed, batch, world
        self.workers = workers
        stored = getattr(data, "found", None)
        self.stored = stored if isinstance(stored, Stored) and isinstance(stored.images, OnDisk) else None
        self.place = -1
        self.kept: tuple[Images, Labels | None] | None = None
        self.ahead: Iterator[Batch] | None = None

    def __call__(self, place: int) -> tuple[Images, Labels | None]:
        """Images on the device, channels last, and labels, of the step of this number.

        Raises:
            FileError: a damaged image of an archive.
        """
        if place != self.place or self.kept is None:
            x, labels = self.read(place)
            x = x.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            x = x if x.is_floating_point() else to_float(x)
            labels = None if labels is None else labels.to(self.device, non_blocking=True)
            self.kept = x, labels
            self.place = place
        return self.kept

    def labels(self, place: int) -> Labels | None:
        """The labels alone: no image is read for them."""
        found = self.data.labels(self.indices(place))
        return None if found is None else found.to(self.device)

    def indices(self, place: int) -> Labels:
        """Of the images of a step."""
        return batch_indices(self.seed, place, self.batch, len(self.data), self.world.rank, self.world.size)

    def read(self, place: int) -> tuple[torch.Tensor, Labels | None]:
        """Pixels, as they are stored where workers read them, and labels."""
        if self.stored is None or not self.workers:
            return self.data.take(self.indices(place))
        if self.ahead is None or place != self.place + 1:
            self.close()
            steps = Steps(self.seed, self.batch, len(self.data), place, 2**62, self.world.rank, self.world.size)
            self.ahead = iter(loaded(self.stored, steps, self.workers, pinned=self.device.type == "cuda"))
        pixels, labels = next(self.ahead)
        return pixels, None if self.data.labels(torch.zeros(1, dtype=torch.long)) is None else labels

    def close(self) -> None:
        """Ends the worker processes."""
        with suppress(AttributeError):
            self.ahead.close()  # type: ignore[union-attr]
        self.ahead = None
