"""Where a figure's numbers come from: committed results, which a figure reads and never replaces by itself.

Sweeps, benchmarks and the ledger stand in the room that made them: toy/results, theory/results, images/results. What a
figure's own script computes stands in figures/computed/FIGURE-FUNCTION.csv, behind a line with the arguments. Numbers
are computed only where that file is missing or `FRESH` is set; a line on standard error then says so.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from theory.common import files
from theory.common.errors import FileError

ROOT = Path(__file__).parents[2]
FRESH = False  # compute what is committed again, and replace it; set by `figures.tools.render.draw`


NUMBERS = ("seed", "step", "value", "lr", "weight", "mean", "difference", "difference_low", "difference_high")
"""Columns that hold numbers wherever they stand."""


class ResultsError(FileError):
    """A results file is missing, damaged, or not what its name says: one line."""


def table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A tidy CSV.

    Raises:
        ResultsError: it cannot be read, or lacks a column.
    """
    try:
        found = files.read_table(path, comment="#")
    except FileNotFoundError:
        raise ResultsError(f"{named(path)} is missing") from None
    except FileError as error:
        why = str(error).removeprefix(f"{path} is damaged or no such table: ")
        raise ResultsError(f"{named(path)} is not a table of results: {why}") from None
    except OSError as error:
        raise ResultsError(f"{named(path)} cannot be read: {error.strerror}") from None
    missing = [column for column in columns if column not in found.columns]
    mixed = [name for name in columns if name in NUMBERS and name in found and found[name].dtype.kind not in "iuf"]
    if missing or mixed or not len(found):
        what = f"lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}" if missing else "has no rows"
        if mixed and not missing:
            what = f"holds more than numbers in {', '.join(mixed)}"
        raise ResultsError(f"{named(path)} {what}: is it a result of this repository?")
    return found


def record(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ResultsError: it cannot be read or is none.
    """
    try:
        found = files.read_json(path, "record of results", ResultsError)
    except FileNotFoundError:
        raise ResultsError(f"{named(path)} is missing") from None
    except OSError as error:
        raise ResultsError(f"{named(path)} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise ResultsError(f"{named(path)} must hold a JSON object; it holds a {type(found).__name__}")
    return found


def sweep(name: str) -> tuple[pd.DataFrame, str]:
    """The last values of each seed of a sweep, and their source: the file, its command and commit.

    Columns: experiment, cell, arm, the parameters of cells and arms, lr, weight, seed, metric, value.

    Raises:
        ResultsError: they are missing or damaged; a missing file's line names the command that makes it.
    """
    return _of_sweep(name, ".csv", ["cell", "arm", "lr", "weight", "seed", "metric", "value"])


def verdicts(name: str) -> tuple[pd.DataFrame, str]:
    """The comparisons of a sweep (cell, arm, metric, mean, difference, its ends, verdict, ...), and their source.

    Raises:
        ResultsError: as `sweep`.
    """
    return _of_sweep(
        name,
        ".verdicts.csv",
        ["cell", "arm", "metric", "mean", "difference", "difference_low", "difference_high", "verdict"],
    )


def _of_sweep(name: str, ending: str, columns: Sequence[str]) -> tuple[pd.DataFrame, str]:
    path = ROOT / "toy" / "results" / f"{name}{ending}"
    if not path.exists():
        raise ResultsError(f"{named(path)} is missing: python -m toy.sweep {name} --out toy/results makes it")
    made = record(path.with_name(f"{name}.json"))
    return table(path, columns), f"{named(path)} (python -m toy.sweep {name}, commit {made.get('commit')})"


def computed(
    figure: str, make: Callable[..., pd.DataFrame], digits: int = 12, **config: Any
) -> tuple[pd.DataFrame, str]:
    """The committed table of make(**config), and its source; make is called only if there is none, or under FRESH.

    Args:
        figure: the name of the figure's script, less .py.
        make: a function of that script.
        digits: significant digits that are kept.
        config: its arguments, of JSON's kinds.

    Raises:
        ResultsError: the committed table is damaged, or is that of other arguments.
    """
    path = ROOT / "figures" / "computed" / f"{figure}-{make.__name__}.csv"
    wanted = f"# {make.__name__}({', '.join(f'{name}={json.dumps(value)}' for name, value in config.items())})"
    if FRESH or not path.exists():
        print(f"{figure}: computing {wanted.removeprefix('# ')}", file=sys.stderr, flush=True)
        begun = time.monotonic()
        made = make(**config).to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
        path.parent.mkdir(exist_ok=True)
        files.write(path, f"{wanted}\n{made}")
        print(f"{figure}: computed in {time.monotonic() - begun:.0f} s, kept in {named(path)}", file=sys.stderr)
    found = table(path, [])
    with path.open() as file:
        said = file.readline().rstrip("\n")
    if said != wanted:
        remedy = f"make figures ONLY={figure} FRESH=1 computes it"
        raise ResultsError(f"{named(path)} holds {said[2:80]!r}, not {wanted[2:80]!r}: {remedy}")
    return found, f"{named(path)} (make figures ONLY={figure} FRESH=1)"


def training(directory: Path, *arguments: str) -> None:
    """Runs `python -m toy.run ARGUMENTS` into the directory.

    Raises:
        ResultsError: the run fails.
    """
    command = ["-m", "toy.run", *arguments, "--out", str(directory), "--overwrite"]
    status, last = ended(*command)
    if status:
        raise ResultsError(f"python {' '.join(command)} ended with status {status}: {last}")


def ended(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status of Python with these arguments, in its own process and environment, and its last complaint."""
    environ = os.environ | environment
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()  # the kernel of a notebook colours what it says
    return done.returncode, (said.splitlines() or ["it said nothing"])[-1]


def named(path: Path) -> str:
    """The path as a reader of the repository writes it: from the root."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
