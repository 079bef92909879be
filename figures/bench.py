"""python -m figures.bench: runs the benchmarks of the rooms, and keeps what they print as ROOM/results/bench.json.

What a benchmark prints is kept under "found", beside its command, date, commit, versions, processor, and how busy the
machine was. Its numbers are ratios of interleaved runs of one process: other work changes them less than seconds.

Exit status: 0 done; 1 a benchmark failed, in one line, nothing of it is written; 2 bad usage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures.tools import results
from theory.common import files
from theory.common.checks import choose
from theory.common.commandline import complain, parse, run, usage
from theory.common.errors import Failure
from theory.common.provenance import origin

ROOMS = ("theory", "toy", "images")
TIMES = {"toy": ("--only", "share_width_64", "share_width_128", "cost_width_64")}  # what a quick run leaves of a room's
BUSY = 0.25  # of the cores were at work for others when it began


@dataclass(frozen=True)
class Options:
    """Run the benchmarks of the rooms, print what they say, and keep it as ROOM/results/bench.json."""

    only: tuple[str, ...] = ROOMS
    """Which rooms."""
    quick: bool = False
    """Only what is drawn: the trainings of toy.bench, which take minutes, are left out."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures.bench")
    with usage():
        rooms = [choose(room, ROOMS, "room") for room in options.only]
    load, failed = os.getloadavg()[0] / (os.cpu_count() or 1), 0  # of others: before the first of ours
    for room in rooms:
        try:
            keep(room, TIMES.get(room, ()) if options.quick else (), load)
        except (Failure, ValueError, OSError) as error:
            failed = complain(f"{room}: {error}", 1)
    return failed


def keep(room: str, arguments: Sequence[str], load: float) -> Path:
    """The file of a room's benchmark, run with these arguments; load: processes at work a core before.

    Raises:
        Failure: it fails. ValueError: what it prints is not JSON. OSError: the file cannot be written.
    """
    begun = time.monotonic()
    command = ["-m", f"{room}.bench", *arguments]
    said = f"python {' '.join(command)}"
    print(f"running {said}", file=sys.stderr, flush=True)
    machine = {"cores": os.cpu_count(), "load_a_core_before": round(load, 2), "busy": load > BUSY}
    # its complaints go to the terminal
    done = subprocess.run([sys.executable, *command], cwd=results.ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(f"{said} ended with status {done.returncode}")
    found = json.loads(done.stdout)
    print(done.stdout)
    facts = origin(said) | machine | {"seconds": round(time.monotonic() - begun)}
    path = files.workplace() / room / "results" / "bench.json"
    files.write(path, json.dumps(facts | {"found": found}, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(run(main))
