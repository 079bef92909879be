"""Jobs: one arm on one stack of seeds, and the result. No torch here: the parent reads these too."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from theory.common.errors import Diverged, FileError, OutOfMemory, Stopped
from theory.common.logs import Record
from toy.config import Config


@dataclass(frozen=True)
class Job:
    """One arm on one stack of seeds."""

    config: Config
    arm: str
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of the job in the checkpoint."""
        return f"{self.arm} {self.seeds[0]}-{self.seeds[-1]}"


@dataclass(frozen=True)
class Result:
    """The records of a job, its final samples [seed, n, d] if it finished, and why it ended early."""

    job: Job
    records: list[Record]
    samples: np.ndarray | None = None
    picture: dict[str, np.ndarray] = field(default_factory=dict)
    failure: Diverged | Stopped | FileError | OSError | None = None


CELLS = 18 * 2**16  # bytes a dimension at the peak of `toy.metrics.Cells.of`: 15.6 (ring) to 17.8 (torus) a point


def check_memory(config: Config, dim: int, processes: int) -> None:
    """Compares what a run needs with the machine's memory: the states and samples of all seeds and the file that is
    made of them, and the real points that every process makes cells of.

    Args:
        dim: of the space.
        processes: at most as many train at once.

    Raises:
        OutOfMemory: it is more.
    """
    most = memory()
    if (cells := CELLS * dim * min(processes, len(jobs_of(config)))) > most:
        raise OutOfMemory(
            f"not enough memory: the real points that samples are compared with take about {cells / 1e9:.0f} GB in all "
            f"processes, of {most / 1e9:.0f} GB: lower --dim or --processes"
        )
    hidden, inner = config.width, config.width**2 * (config.layers - 1)
    g, d = hidden * (config.latent + dim) + inner, hidden * (dim + 1) + inner
    rows = 4 * config.seeds * len(config.arms)  # bytes of a number of each seed and arm
    states, samples = rows * (6 * g + 3 * d), rows * config.samples * dim  # g, its average and moments; d and its
    if 2 * (states + samples) > most:
        raise OutOfMemory(
            f"not enough memory: the checkpoint of all seeds takes about {states / 1e9:.0f} GB, their samples "
            f"{samples / 1e9:.0f} GB, of {most / 1e9:.0f} GB: lower --seeds, --width, --dim or --samples"
        )


def memory() -> int:
    """The machine's, in bytes; 2^63 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**63


def jobs_of(config: Config) -> list[Job]:
    """Every arm on every stack of seeds, the arms in turn so that processes share them evenly."""
    return [Job(config, arm, seeds) for seeds in config.seed_groups() for arm in config.arms]
