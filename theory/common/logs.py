"""What hears of every evaluation when it comes: metrics.csv, TensorBoard, or a callable of the user's.

A log is called in the process that trains, as log(arm, seeds, records), a record being (step, metric, [value of each
seed]); once an evaluation, and, where a run is resumed, first with all that came before. No torch here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from theory.common.errors import FileError
from theory.common.files import naming, write
from theory.common.parts import is_own, load, tried

Record = tuple[int, str, list[float]]
"""Step, metric, and its value for each seed."""
LOGS = ("tensorboard",)
HEADER = "arm,seed,step,metric,value"


class Log(Protocol):
    """`close()`, if there is one, is called when the job ends, however."""

    def __call__(self, arm: str, seeds: Sequence[int], records: Sequence[Record]) -> object: ...


def close(logs: Sequence[Log]) -> None:
    """At the end of a job, however it ended."""
    for log in logs:
        getattr(log, "close", lambda: None)()


@dataclass(frozen=True)
class Table:
    """Rows of metrics.csv, in the order in which they come; the run sorts them when it ends. A resumed run adds what is
    not there: its evaluations have the same digits again."""

    path: Path
    there: dict[tuple[str, int], int] = field(default_factory=dict, compare=False)
    """The last step of each arm and seed in the file, when this process first wrote to it."""

    def begin(self) -> None:
        """The file with its header; of one that is there an unfinished last row goes, and of a damaged one all: a run
        that is resumed tells what came before. OSError: it cannot be written."""
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        try:
            rows_of(whole)
        except ValueError:
            whole = f"{HEADER}\n".encode()
        if whole != data:
            write(self.path, whole)

    def __call__(self, arm: str, seeds: Sequence[int], records: Sequence[Record]) -> None:
        """OSError: they cannot be written; it names the file."""
        if not self.there:
            self.there["", 0] = 0
            for arm_there, seed, step in rows_of(self.path.read_bytes()):
                self.there[arm_there, seed] = max(step, self.there.get((arm_there, seed), -1))
        rows = [
            f"{arm},{seed},{step},{metric},{value!r}\n"
            for step, metric, values in records
            for seed, value in zip(seeds, values, strict=True)
            if step > self.there.get((arm, seed), -1)
        ]
        left = "".join(rows).encode()
        with naming(self.path), open(self.path, "ab", buffering=0) as file:
            while left:  # one call: rows of two processes do not mix; a second one, and an error, if the disk is full
                left = left[file.write(left) :]


def rows_of(data: bytes) -> list[tuple[str, int, int]]:
    """(arm, seed, step) of each row of metrics.csv.

    Raises:
        ValueError: it is no such table.
    """
    header, *rows = data.decode().split("\n")
    if header != HEADER:
        raise ValueError(f"the first line must be {HEADER}")
    found = []
    for row in filter(None, rows):
        arm, seed, step, _, value = row.split(",")
        float(value or "nan")  # a value that is none is empty
        found.append((arm, int(seed), int(step)))
    return found


@dataclass(frozen=True)
class TensorBoard:
    """Event files below a directory: a run of TensorBoard for each arm and seed, a scalar for each metric."""

    directory: Path
    writers: dict[str, Any] = field(default_factory=dict, compare=False)
    """Of this process's job."""

    def __call__(self, arm: str, seeds: Sequence[int], records: Sequence[Record]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for row, seed in enumerate(seeds):
            path = str(self.directory / f"{arm}-{seed}")
            writer = self.writers.get(path) or self.writers.setdefault(path, SummaryWriter(path))
            for step, metric, values in records:
                writer.add_scalar(metric, values[row], step)
            writer.flush()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()


@dataclass(frozen=True)
class Own:
    """A callable of the user's file; see toy/OWN_PARTS.md."""

    part: str

    def __call__(self, arm: str, seeds: Sequence[int], records: Sequence[Record]) -> None:
        """Raises FileError: it is not there, or raises."""
        tried(self.part, "fails as a log", load(self.part), arm, seeds, records)


def log_of(value: str, directory: Path) -> Log:
    """What a value of --log means, for the run in a directory: of TensorBoard, which hears of all again, it removes
    the event files.

    Raises:
        FileError: an own log that is not there, or is not callable. ModuleNotFoundError: TensorBoard's writer.
    """
    if is_own(value):
        if not callable(load(value)):
            raise FileError(f"{value} must be callable as log(arm, seeds, records); given {load(value)!r:.80}")
        return Own(value)
    import tensorboard  # noqa: F401

    shutil.rmtree(directory / "tensorboard", ignore_errors=True)
    return TensorBoard(directory / "tensorboard")
