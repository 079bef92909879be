"""python -m images.bench: three costs of training on images, printed as JSON.

over_diffusers: our networks against diffusers' UNet2DModel that computes the same function with the same parameters
(`images.bench.peers`). Forward and backward, batch 4 of 3 x 32 x 32; "train" has gradients to all parameters, "score"
to the images alone, as the regularity does. Memory is the ratio of the peaks of what PyTorch allocates in a step.

lazy_term: what the score term adds to the mean step of the recipe digits, as a share of the step without it.

host: seconds of this process for a batch of imagenet64 and of lsun-bedroom, of which other processes read the images,
over the plan's step on a GPU (`images.bench.host`).

Exit status: 0 done, 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theory.common.checks import choose, whole
from theory.common.commandline import parse, run, usage

PROG = "python -m images.bench"
PARTS = ("over_diffusers", "lazy_term", "host")


@dataclass(frozen=True)
class Options:
    """Measure our networks against diffusers', the cost of the score term, and the host's share of a step; minutes."""

    only: tuple[str, ...] = PARTS
    """over_diffusers, lazy_term, host."""

    width: int = 128
    """Channels of the finest level of the compared networks, a multiple of 64; 128 is that of EDM's CIFAR10 network."""
    device: str = "cpu"
    """cpu or cuda, for the compared networks."""

    def __post_init__(self) -> None:
        for part in self.only:
            choose(part, PARTS, "part")
        if whole("width", self.width, 1) % 64:
            raise ValueError(f"width must be a multiple of 64, the channels of an attention head; given {self.width}")


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    from images.bench.host import host
    from images.bench.measure import compare, lazy_term
    from images.training.parallel import usable
    from theory.common.seeds import one_thread

    with usage():
        device = usable(options.device)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports its own start and stop otherwise
    with one_thread():
        parts: dict[str, Callable[[], Any]] = {
            "over_diffusers": lambda: compare(options.width, device),
            "lazy_term": lazy_term,
            "host": host,
        }
        found = {name: part() for name, part in parts.items() if name in options.only}
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
