"""The speed of the laws: `python -m theory.bench` prints, as JSON, the time of denoising relative to a plain mixture.

For each law of the catalogue: the seconds that `denoise` takes for 1e5 float64 points on one thread, divided by those
of a plain mixture of 25 components, which is written out here. Law and mixture take turns; the ratio is that of the
least times of ROUNDS. Each law is timed at two levels, since the work may depend on the noise. The processor is named
on standard error: ratios depend on it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.commandline import parse, run
from theory.common.provenance import processor
from theory.manifolds import make, names

POINTS = 100_000
ROUNDS = 3
LEVELS = (0.1, 10.0)  # nsr


def plain_mixture(
    y: Float[Tensor, "n 2"], means: Float[Tensor, "25 2"], nsr: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 2"]]:
    """(log p_t, x0hat) of equally likely points, by logsumexp and softmax, up to a constant in the first."""
    exponent = -(y[:, None] - means).square().sum(-1) / (2 * nsr**2)  # [n, 25]
    return exponent.logsumexp(-1), exponent.softmax(-1) @ means


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def denoise_ratio(name: str, nsr: float, points: int = POINTS, rounds: int = ROUNDS) -> float:
    """The time of the law's denoise over that of the plain mixture, each the least of as many turns."""
    law = make(name)
    generator = torch.Generator().manual_seed(0)
    x = law.sample(points, generator, torch.float64)
    y = x + nsr * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    means = make("grid").sample(25, generator, torch.float64)
    flat = torch.randn(points, 2, generator=generator, dtype=torch.float64)
    turns = [
        (seconds(lambda: law.denoise(y, 1.0, nsr)), seconds(lambda: plain_mixture(flat, means, nsr)))
        for _ in range(rounds)
    ]
    own, plain = map(min, zip(*turns, strict=True))
    return own / plain


@dataclasses.dataclass(frozen=True)
class Options:
    """Time denoising by every law of the catalogue against a plain mixture of 25 components; prints JSON."""


def main(arguments: list[str]) -> int:
    parse(Options, arguments, "python -m theory.bench")
    torch.set_num_threads(1)
    print(processor(), file=sys.stderr)
    ratios = {name: round(max(denoise_ratio(name, nsr) for nsr in LEVELS), 2) for name in names()}
    worst = max(ratios, key=lambda name: ratios[name])
    print(json.dumps({"denoise_over_plain_mixture": ratios, "worst": {worst: ratios[worst]}}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
