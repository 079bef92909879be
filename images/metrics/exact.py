"""float32 in full on CUDA: without TF32, whose products have 10 bits of their factors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch


@contextmanager
def exact() -> Iterator[None]:
    """In the block, or the function that it decorates, products and convolutions are in float32, whatever is set; then
    it is as it was.

    Both of torch's names for it are kept: allow_tf32, and fp32_precision since torch 2.9.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    owners = [(matmul, "allow_tf32"), (cudnn, "allow_tf32"), (matmul, "fp32_precision")]
    owners += [(getattr(cudnn, part, None), "fp32_precision") for part in ("conv", "rnn")]
    before = []
    for owner, name in owners:
        with suppress(AttributeError, RuntimeError):  # an older torch; the user set the other name
            before.append((owner, name, getattr(owner, name)))
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
