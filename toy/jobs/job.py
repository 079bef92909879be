"""Jobs: one arm on one stack of seeds, and the result. No torch here: the parent reads these too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from theory.common.errors import Diverged, FileError, Stopped
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


def jobs_of(config: Config) -> list[Job]:
    """Every arm on every stack of seeds, the arms in turn so that processes share them evenly."""
    return [Job(config, arm, seeds) for seeds in config.seed_groups() for arm in config.arms]
