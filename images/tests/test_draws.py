"""Random numbers on a device that draws them itself, by its own generator and in the CPU's blocks; without a GPU.

The device is said to be CUDA's; its generators give 10 times the numbers of a CPU's, and its tensors are the CPU's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from images import draws
from images.draws import BLOCK, draw, generator_on
from images.training.parallel import World
from theory.common.seeds import generator

CUDA = torch.device("cuda", 0)


class Generator:
    """Of the device: what `draw` may ask of it."""

    def __init__(self, device: torch.device):
        self.device, self.own = device, torch.Generator()

    def manual_seed(self, seed: int) -> Generator:
        self.own.manual_seed(seed)
        return self


def on_device(*shape: int, generator: Any, device: torch.device) -> Tensor:
    """torch.randn of the device."""
    assert generator.device == device == CUDA
    return 10 * torch.randn(*shape, generator=generator.own)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    to = Tensor.to
    monkeypatch.setattr(Tensor, "to", lambda x, *a, **k: x if a[0] == CUDA else to(x, *a, **k))
    monkeypatch.setattr(draws, "torch", SimpleNamespace(Generator=Generator, cat=torch.cat))


def drawn(part: slice, seed: int = 3, stream: int = 1, step: int = 7, retry: int = 0) -> Tensor:
    return draw(on_device, (2, 3), seed, stream, step, part, retry, CUDA)


@pytest.mark.usefixtures("cuda")
def test_the_device_draws_and_neither_ranks_nor_micro_batches_change_a_sample() -> None:
    whole = drawn(slice(0, 60))
    assert whole.shape == (60, 2, 3)
    for ranks in (2, 4):
        assert torch.equal(torch.cat([drawn(World(rank, ranks).share(60)) for rank in range(ranks)]), whole)
    for micro in (1, 7, BLOCK, BLOCK + 1):
        parts = [drawn(slice(at, min(at + micro, 60))) for at in range(0, 60, micro)]
        assert torch.equal(torch.cat(parts), whole)
    assert whole.unique().numel() == whole.numel()  # no block is another


@pytest.mark.usefixtures("cuda")
def test_each_of_seed_stream_step_and_retry_gives_other_numbers() -> None:
    part = slice(5, 9)
    found = [drawn(part), drawn(part, seed=4), drawn(part, stream=2), drawn(part, step=8), drawn(part, retry=1)]
    assert torch.cat(found).unique().numel() == 5 * found[0].numel()
    assert torch.equal(drawn(part), found[0])


def test_the_cpu_s_numbers_are_those_of_its_generators() -> None:
    blocks = [torch.randn(BLOCK, 2, generator=generator(3, 1, 7, block)) for block in range(2)]
    for device in (torch.device("cpu"), torch.device("meta")):
        found = draw(torch.randn, (2,), 3, 1, 7, slice(9, 20), device=device)
        assert found.device == device
        assert device.type == "meta" or torch.equal(found, torch.cat(blocks)[9:20])
    place = 3, 1, 7, 0
    assert generator_on(torch.device("cpu"), place).initial_seed() == generator(*place).initial_seed()
