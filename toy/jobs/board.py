"""A small shared file: processes write how far they are, and read whether to stop."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from theory.common.files import naming


class Board:
    """One row a job: step, off-manifold share, mean distance; and one flag for all."""

    def __init__(self, jobs: int, path: Path | None = None):
        """At the path; without one in a file of the system's directory for such."""
        if path is None:
            handle, name = tempfile.mkstemp(prefix="toy-board-")
            os.close(handle)
        self.path, self.jobs = path or Path(name), jobs
        with naming(self.path):
            self.path.write_bytes(bytes(8 * 3 * (jobs + 1)))  # in full: a disk that is full later cannot end a process

    def _rows(self) -> np.memmap:
        return np.memmap(self.path, np.float64, "r+", shape=(self.jobs + 1, 3))

    def tell(self, slot: int, step: int, off_manifold: float, distance: float) -> None:
        self._rows()[slot] = step, off_manifold, distance

    def read(self) -> np.ndarray:
        """[job, 3]: step, off-manifold share, mean distance."""
        return np.array(self._rows()[:-1])

    def stop(self) -> None:
        """Asks all jobs to save and stop at their next evaluation."""
        self._rows()[-1] = 1

    @property
    def stopped(self) -> bool:
        return bool(self._rows()[-1, 0])

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


class NoBoard:
    """Of a job that is alone in its process: it is not asked to stop."""

    stopped = False

    def tell(self, slot: int, step: int, off_manifold: float, distance: float) -> None: ...

    def stop(self) -> None: ...
