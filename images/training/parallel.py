"""The processes that train together (torchrun's, or this one alone), and their devices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from theory.common.errors import Lost
from theory.common.signals import REQUESTS, end_with_parent

ANSWER = 2.0  # seconds in which the processes that are left say so, when one is lost
SAID = "IMAGES_RANKS_SAID"
"""Environment variable: a file that a process makes when it tells that another one is lost; see `images.ranks`."""


@dataclass(frozen=True)
class World:
    """This process is number `rank` of `size`; all hold the same parameters, each an equal share of every batch.

    Whatever asks the others raises Lost where one of them is gone: in one process, which tells; the rest end silently.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | str = "cpu"
    in_pairs: bool = False
    """Whether sums are in pairs, see `images.sums`: a sum over 1, 2, 4, ... processes then has the same bits."""
    store: Any = field(default=None, compare=False)
    """Of torch.distributed; outlives each of the processes."""

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
        with self.together():
            if self.in_pairs:
                flat = self.sum_in_pairs(flat)
            else:
                dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for tensor, part in zip(tensors, parts, strict=True)]

    def sum_in_pairs(self, flat: Tensor) -> Tensor:
        """The sum over processes: (0 + 1) + (2 + 3), ... Those whose numbers differ in one bit exchange what they have
        and add it, bit by bit; a + b is b + a, so that all get the same."""
        step = 1
        while step < self.size:
            there = torch.empty_like(flat)
            pair = [dist.P2POp(call, x, self.rank ^ step) for call, x in ((dist.isend, flat), (dist.irecv, there))]
            for work in dist.batch_isend_irecv(pair):
                work.wait()
            flat, step = flat + there, 2 * step
        return flat

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, in their order; all have the same shape."""
        if self.size == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        with self.together():
            dist.all_gather(found, tensor)
        return found

    def any(self, here: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        with self.together():
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            with self.together():
                dist.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """In the block all processes talk; where that fails because some are gone, one of the others tells which.

        Raises:
            Lost: in that one, the first that is left. SystemExit: in the rest. RuntimeError: it fails, none is gone.
        """
        try:
            yield
        except RuntimeError:
            signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)  # torchrun ends those that are left: not in the middle
            left = self.left()
            if len(left) == self.size:
                raise
            if self.rank != left[0]:
                raise SystemExit(1) from None
            if said := os.environ.get(SAID):
                Path(said).touch()
            gone = ", ".join(str(rank) for rank in range(self.size) if rank not in left)
            which = f"process {gone} (of 0 to {self.size - 1})"
            raise Lost(f"{which} was lost: killed, or out of memory") from None

    def left(self) -> list[int]:
        """The processes that ask this within ANSWER seconds, this one among them."""
        if self.store is None:
            return list(range(self.size))
        end = time.monotonic() + ANSWER
        try:
            self.store.set(f"left/{self.rank}", "")
            found = [self.rank]
            while len(found) < self.size and time.monotonic() < end:
                time.sleep(0.05)
                found = [rank for rank in range(self.size) if self.store.check([f"left/{rank}"])]
        except RuntimeError:  # the store is gone as well: the machine that starts the processes
            return [self.rank]
        return found


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
def joined(device: torch.device, in_pairs: bool = False) -> Iterator[World]:
    """The world of torchrun's environment variables: nccl on CUDA, gloo elsewhere; without them this process alone.

    Under torchrun this process ends when torchrun does, however that ended.

    Raises:
        ValueError: sums in pairs over a number of processes that is no power of two.
    """
    if "WORLD_SIZE" not in os.environ:
        yield World(in_pairs=in_pairs)
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(os.getppid())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, size = next(dist.rendezvous("env://"))
    if in_pairs and size & (size - 1):
        raise ValueError(f"--deterministic needs 1, 2, 4, 8, ... processes; given {size}")
    store.set_timeout(dist.default_pg_timeout)
    group = dist.PrefixStore("training", store)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=group, rank=rank, world_size=size)
    try:
        yield World(rank, size, device, in_pairs, dist.PrefixStore("lost", store))
    except (Lost, SystemExit):
        raise  # without those that are gone the group cannot be ended in order
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()
