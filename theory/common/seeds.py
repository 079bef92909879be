"""Random numbers as functions of (seed, stream, where), torch with one thread, and torch as it is at its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, stream: int, *where: int) -> torch.Generator:
    """The random generator of (seed, stream, *where), on the CPU; other numbers give independent generators.

    Numbers below 2^32, and one length of `where` for a stream: zeros at the end do not count among the first four
    numbers, so that (3, 1) and (3, 1, 0) are one generator. Source: numpy.random.SeedSequence.

    Args:
        where: what else the numbers belong to: a step, a batch.

    Raises:
        ValueError: a number is negative.
    """
    state = np.random.SeedSequence((seed, stream, *where)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block, or the function that it decorates, torch uses one thread.

    On a CPU sums depend on the number of threads, and on small tensors a second one costs more than it gives.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def usual_state() -> Iterator[None]:
    """Within the block, or the function that it decorates, torch is as at its start, whatever the caller has set: one
    thread, float32 and the CPU where nothing else is said, and tensors that autograd may use later.

    For what is computed once and kept: its bits must not depend on who asks first. (The sum of a tensor of 2^15
    numbers or more depends on the number of threads.)
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with one_thread(), torch.device("cpu"), torch.inference_mode(False):
            yield
    finally:
        torch.set_default_dtype(dtype)
