"""python -m figures.notebooks: every figure's script as an executed notebook, out/notebooks/NAME.ipynb.

What a notebook draws it writes beside itself; figures/drawn stays as it is.

Needs the extra figures. Exit status: 0 all made; 1 a notebook failed, the others are made; 2 bad usage.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

from figures.__main__ import NAMES
from figures.tools.results import ROOT, ended
from figures.tools.style import SCRIPTS
from theory.common.checks import choose
from theory.common.commandline import complain, parse, run, usage
from theory.common.files import workplace


@dataclass(frozen=True)
class Options:
    """Execute the figures' scripts as notebooks."""

    only: tuple[str, ...] = ()
    """These alone: saturation. All of them if none is named."""
    out: Path = workplace() / "out" / "notebooks"
    """Where to."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures.notebooks")
    with usage():
        names = [choose(name, NAMES, "figure") for name in options.only] or list(NAMES)
    importlib.import_module("jupytext")  # if it is missing, `run` says so in a line
    options.out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in names if not executed(name, options.out)]
    return 1 if failed else 0


def executed(name: str, out: Path) -> bool:
    """Whether the notebook of a figure was made; prints its path, or what went wrong."""
    path, script = out.resolve() / f"{name}.ipynb", str(SCRIPTS / f"{name}.py")
    convert = ["-m", "jupytext", "--quiet", "--to", "ipynb", "--execute", "--run-path", str(ROOT)]
    status, last = ended(*convert, "--output", str(path), script, PYTHONPATH=str(ROOT), FIGURES_OUT=str(path.parent))
    if status:
        complain(f"{name}: {last}", status)
    else:
        print(out / path.name, flush=True)
    return not status


if __name__ == "__main__":
    sys.exit(run(main))
