"""Where a figure's numbers come from: committed results, and tables that are computed once.

What is slow is committed, in the room that made it: toy/results (sweeps), theory/results (the ledger), images/results.
What takes seconds is computed when a figure wants it and kept under CACHE, by the hash of what was asked and of every
source file it may depend on: nothing stale is ever drawn.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pandas as pd

from theory.common import files
from toy.sweep.cache import digest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "runs" / "figures"


class ResultsError(Exception):
    """A results file is missing, damaged, or not what its name says: one line."""


def table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A tidy CSV.

    Raises:
        ResultsError: it cannot be read, or lacks a column.
    """
    try:
        found = pd.read_csv(path, comment="#")
    except FileNotFoundError:
        raise ResultsError(f"{named(path)} is missing") from None
    except (ValueError, OSError) as error:
        raise ResultsError(f"{named(path)} is not a table of results: {' '.join(str(error).split())}") from None
    missing = [column for column in columns if column not in found.columns]
    if missing or not len(found):
        what = f"lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}" if missing else "has no rows"
        raise ResultsError(f"{named(path)} {what}: is it a result of this repository?")
    return found


def record(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ResultsError: it cannot be read or is none.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ResultsError(f"{named(path)} is missing") from None
    except (ValueError, OSError) as error:
        raise ResultsError(f"{named(path)} is not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ResultsError(f"{named(path)} must hold a JSON object; it holds a {type(found).__name__}")
    return found


def sweep(name: str) -> tuple[pd.DataFrame, str]:
    """The seeds' last values of a sweep (experiment, cell, regime, arm, lr, weight, seed, metric, value), and whence.

    Where the committed results are missing the sweep is run, which takes minutes to an hour.

    Raises:
        ResultsError: they are damaged, or the sweep fails.
    """
    return _of_sweep(name, ".csv", ["cell", "arm", "lr", "weight", "seed", "metric", "value"])


def verdicts(name: str) -> tuple[pd.DataFrame, str]:
    """The comparisons of a sweep: cell, arm, metric, mean, baseline_mean, difference, low, high, p_holm, verdict.

    Raises:
        ResultsError: as `sweep`.
    """
    return _of_sweep(name, ".verdicts.csv", ["cell", "arm", "metric", "mean", "difference", "low", "high", "verdict"])


def _of_sweep(name: str, ending: str, columns: Sequence[str]) -> tuple[pd.DataFrame, str]:
    directory = ROOT / "toy" / "results"
    if not (directory / f"{name}{ending}").exists():
        directory = ROOT / "runs" / "sweeps"
        command("-m", "toy.sweep", name, "--out", str(directory))
    found = table(directory / f"{name}{ending}", columns)
    made = record(directory / f"{name}.json")
    source = f"{named(directory / f'{name}{ending}')} (python -m toy.sweep {name}, commit {made.get('commit')})"
    return found, source


def training(*arguments: str) -> tuple[Path, str]:
    """The directory of `python -m toy.run ARGUMENTS`, which is run if it was not yet, and whence.

    Raises:
        ResultsError: the run fails.
    """
    directory = CACHE / f"run-{digest([list(arguments), sources('toy.run', 'toy.jobs.worker')])}"
    said = " ".join(["python -m toy.run", *arguments])
    if not (directory / "summary.json").exists():
        command("-m", "toy.run", *arguments, "--out", str(directory), "--overwrite")
    return directory, said


def computed(
    make: Callable[..., pd.DataFrame], rooms: Sequence[str] = ("theory",), **config: Any
) -> tuple[pd.DataFrame, str]:
    """make(**config), computed once, and whence.

    Args:
        make: a function of the figure's script that gives the table.
        rooms: whose code it uses; with that of its own script, a part of the hash.
        config: its arguments, of JSON's kinds.
    """
    key = digest([code(make), config, sources(*rooms)])
    path = CACHE / f"{make.__name__}-{key}.csv"
    source = f"the figure's own {make.__name__}()"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        files.write(path, make(**config).to_csv(index=False).encode())
    return table(path, []), source  # read back: the first drawing sees what the second sees


def command(*arguments: str) -> None:
    """Python in its own process.

    Raises:
        ResultsError: it fails; its last line.
    """
    status, last = ended(*arguments)
    if status:
        raise ResultsError(f"python {' '.join(arguments)} ended with status {status}: {last}")


def ended(*arguments: str, **environment: str) -> tuple[int, str]:
    """Python in its own process, with these variables in its environment: its status, and its last complaint."""
    environ = os.environ | environment
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()  # the kernel of a notebook colours what it says
    return done.returncode, (said.splitlines() or ["it said nothing"])[-1]


def code(function: Callable[..., Any], seen: set[str] | None = None) -> list[str]:
    """The source of a function, and of the functions and constants of its module that it uses."""
    seen = set() if seen is None else seen
    seen.add(function.__name__)
    found = [inspect.getsource(function)]
    for name in sorted(names_in(function.__code__) - seen):
        value = function.__globals__.get(name)
        if inspect.isfunction(value) and value.__module__ == function.__module__:
            found += code(value, seen)
        elif isinstance(value, str | int | float | tuple | list | dict):
            found.append(re.sub(r" at 0x\w+", "", f"{name} = {value!r}"))  # where in memory is no part of a value
    return found


def names_in(body: CodeType) -> set[str]:
    """The names that a function looks up outside itself, the functions and comprehensions in it included."""
    inner = [names_in(part) for part in body.co_consts if isinstance(part, CodeType)]
    return set(body.co_names).union(*inner)


@cache
def sources(*roots: str) -> str:
    """A hash of every source file that a result may depend on: all of a room, or what a module imports."""
    paths: set[Path] = set()
    for root in roots:
        module = file_of(root)
        paths |= reached(module) if module else set((ROOT / root).rglob("*.py"))
    kept = sorted(path for path in paths if "tests" not in path.parts)
    return digest([[str(path.relative_to(ROOT)), path.read_text()] for path in kept])


def reached(path: Path) -> set[Path]:
    """A source file and every one of the repository that it imports, directly or not, at any place in it."""
    found, waiting = {path}, [path]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            new = {file for name in names if (file := file_of(name))} - found
            found |= new
            waiting += new
    return found


def file_of(module: str) -> Path | None:
    """The file of one of the repository's modules, or None where the name is something else."""
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return package if "." in module and package.exists() else None


def forget() -> None:
    """Throws away what was computed."""
    shutil.rmtree(CACHE, ignore_errors=True)


def named(path: Path) -> str:
    """As a reader of the repository would name it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
