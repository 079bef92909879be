"""Batches decoded ahead by worker processes are those that a single process reads."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from images.bench import host
from images.datasets import archive, dataset
from images.datasets.dataset import Images, OnDisk, batch_indices, to_float
from images.datasets.loading import Steps, loaded
from images.recipes import RECIPES, Recipe
from images.training.feed import Feed
from images.training.inputs import Pixels
from images.training.parallel import World
from theory.common.errors import FileError

COUNT, BATCH = 40, 8


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    """Images whose pixels say which they are, not kept in memory."""
    monkeypatch.setattr(dataset, "RESIDENT", 0)
    archive.write(tmp_path / "a.zip", ((np.full((3, 8, 8), i, np.uint8), i % 4) for i in range(COUNT)))
    return Images.open(tmp_path / "a.zip")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_batches_are_those_of_the_steps_numbers(workers: int, rank: int, world: int, on_disk: Images) -> None:
    """From a step in the middle on, as after resuming; also while this process reads the same archive."""
    found = []
    for batch in loaded(on_disk, Steps(3, BATCH, COUNT, 4, 16, rank, world), workers):
        found.append(batch)
        on_disk.batch(torch.arange(COUNT))
    assert len(found) == 12
    for step, (pixels, labels) in enumerate(found, 4):
        indices = batch_indices(3, step, BATCH, COUNT, rank, world)
        assert torch.equal(pixels, indices[:, None, None, None].expand_as(pixels).to(torch.uint8))
        assert labels is not None
        assert torch.equal(labels, indices % 4)


class Counted(Pixels):
    """Counts how often images are read."""

    reads = 0

    def take(self, which):
        self.reads += 1
        return super().take(which)


def of_recipe(images: Images) -> Counted:
    return Counted(images, Recipe(resolution=8, channels=3, classes=4, batch=BATCH, images=80), "here")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_feed_reads_each_batch_once_and_goes_where_a_resumed_run_is(workers: int, on_disk: Images) -> None:
    data = of_recipe(on_disk)
    feed = Feed(data, 3, BATCH, World(), torch.device("cpu"), workers)
    for place in (4, 4, 5, 5, 6, 2, 3, 40):
        x, labels = feed(place)
        indices = batch_indices(3, place, BATCH, COUNT)
        assert torch.equal(x, to_float(indices[:, None, None, None].expand_as(x).to(torch.uint8)))
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert labels is not None
        assert torch.equal(labels, indices % 4)
    assert data.reads == (0 if workers else 6)
    feed.close()


def test_labels_alone_read_no_image(on_disk: Images) -> None:
    data = of_recipe(on_disk)
    feed = Feed(data, 3, BATCH, World(1, 2), torch.device("cpu"))
    labels = feed.labels(7)
    assert labels is not None
    assert torch.equal(labels, batch_indices(3, 7, BATCH, COUNT, 1, 2) % 4)
    assert data.reads == 0


def test_a_damaged_image_is_named_by_the_feed(tmp_path: Path, on_disk: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(index: int) -> None:
        raise FileError(f"image {index} is damaged")

    assert isinstance(on_disk.images, OnDisk)
    monkeypatch.setattr(on_disk.images.archive, "read", damaged)
    feed = Feed(of_recipe(on_disk), 3, BATCH, World(), torch.device("cpu"), 1)
    with pytest.raises(FileError, match=r"image \d+ is damaged"):
        feed(0)
    feed.close()


def test_the_host_s_share_counts_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process reads no image of the archive: its time for a batch is the same, however long reading takes."""
    recipe = dataclasses.replace(RECIPES["imagenet64"], resolution=8, batch=8 * host.GPUS)
    here, read = os.getpid(), archive.Archive.read

    def slow(self: archive.Archive, index: int) -> np.ndarray:
        assert os.getpid() != here
        time.sleep(0.01)
        return read(self, index)

    monkeypatch.setattr(archive.Archive, "read", slow)
    seconds, conversion = host.batch_seconds(recipe, steps=4, stored=32)
    assert 0 < seconds < 0.08  # of 8 images, read for 0.01 s each
    assert 0 < conversion < 0.08
    monkeypatch.setattr(host, "WORKERS", 0)
    with pytest.raises(AssertionError):
        host.batch_seconds(recipe, steps=4, stored=32)
