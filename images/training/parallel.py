"""The processes that train together (torchrun's, or this one alone), and their devices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process is number `rank` of `size`; all hold the same parameters, each an equal share of every batch."""

    rank: int = 0
    size: int = 1
    device: torch.device | str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The samples of a batch that are this process's.

        Raises:
            ValueError: the batch has no equal shares.
        """
        if batch % self.size:
            raise ValueError(f"batch must be a multiple of the {self.size} processes; given {batch}")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor's sum over processes; one message for all of them."""
        if self.size == 1 or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for tensor, part in zip(tensors, parts, strict=True)]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, in their order; all have the same shape."""
        if self.size == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(found, tensor)
        return found

    def any(self, here: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def device_of(name: str) -> torch.device:
    """The device of this name; under torchrun, of several CUDA devices that of this process's number.

    Raises:
        ValueError: it is not there.
    """
    if name.lower() == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(usable(name))


def usable(name: str) -> str:
    """The device's name in lower case.

    Raises:
        ValueError: no device has this name, or it is not there.
    """
    name = name.lower()
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = "meta"
    if kind == "meta":
        raise ValueError(f"device must be cpu or cuda (cuda:1 for the second one); given {name!r}")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return name


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world of torchrun's environment variables: nccl on CUDA, gloo elsewhere; without them this process alone."""
    if "WORLD_SIZE" not in os.environ:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
