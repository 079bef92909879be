"""A file that the processes of an experiment share: how far each run is, and whether all are asked to stop; and what
is shown of it, a bar with the time left on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from theory.common.files import naming
from theory.common.terminal import console

EVERY = 0.5  # seconds between looks


@dataclass(frozen=True)
class Place:
    """The number in the file that holds the step of one run; the file's last number is not 0 once all are to stop."""

    file: Path
    index: int

    def __call__(self, step: int) -> None:
        np.memmap(self.file, np.int64, "r+", offset=8 * self.index, shape=(1,))[0] = step

    def asked(self) -> bool:
        """Whether all are to stop."""
        return bool(np.memmap(self.file, np.int64, "r")[-1])

    def stop(self) -> None:
        """Asks all runs to end their step, save and stop."""
        np.memmap(self.file, np.int64, "r+")[-1] = 1


@contextmanager
def places(file: Path, names: list[str], steps: int, shown: bool) -> Iterator[list[Place]]:
    """A place in the file, a new one, for each run of `steps` steps.

    If `shown`, standard error shows the progress until the block ends. OSError: the file cannot be written.
    """
    with naming(file):
        file.write_bytes(bytes(8 * (len(names) + 1)))  # in full: a disk that is full later cannot end a process
    ended = threading.Event()
    watch = threading.Thread(target=show, args=(file, names, steps, ended), daemon=True)
    if shown:
        watch.start()
    try:
        yield [Place(file, index) for index in range(len(names))]
    finally:
        ended.set()
        if shown:
            watch.join()
        file.unlink(missing_ok=True)


def show(file: Path, names: list[str], steps: int, ended: threading.Event) -> None:
    shown = console(stderr=True)
    (bars if shown.is_terminal else lines)(shown, file, names, steps, ended)


def bars(shown: Console, file: Path, names: list[str], steps: int, ended: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True), TextColumn("after"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=shown, transient=True) as progress:
        task = progress.add_task("", total=steps * len(names))
        over = False
        while not over:
            over = ended.wait(EVERY)
            at = np.fromfile(file, np.int64)[:-1]
            working = [name for name, step in zip(names, at, strict=True) if 0 < step < steps]
            said = f"{(at == steps).sum()} of {len(names)} runs done; now {', '.join(working) or 'none'}"
            progress.update(task, completed=int(at.sum()), description=said)


def lines(shown: Console, file: Path, names: list[str], steps: int, ended: threading.Event) -> None:
    tenths, over = 0, False
    while not over:
        over = ended.wait(EVERY)
        at = np.fromfile(file, np.int64)[:-1]
        if (now := 10 * int(at.sum()) // (steps * len(names))) > tenths:
            tenths = now
            shown.print(f"{10 * now} % of all steps, {(at == steps).sum()} of {len(names)} runs done", soft_wrap=True)
