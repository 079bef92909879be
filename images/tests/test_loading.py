"""Batches decoded ahead by worker processes are those that a single process reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from images.datasets import archive, dataset
from images.datasets.dataset import Images, batch_indices
from images.datasets.loading import Steps, loaded

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
