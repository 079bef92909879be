"""python -m figures.notebooks: the figures' and the tutorials' scripts as executed notebooks.

A figure's is out/notebooks/NAME.ipynb, and what it draws it writes beside itself; figures/drawn stays as it is. A
tutorial's is figures/tutorials/NAME.ipynb, which is committed, and a page of the site.

Needs the extra figures. Exit status: 0 all made; 1 a notebook failed, the others are made; 2 bad usage.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from figures.__main__ import NAMES
from figures.tools.results import ROOT, ended
from figures.tools.style import SCRIPTS
from theory.common import files
from theory.common.checks import choose
from theory.common.commandline import complain, parse, run, usage
from theory.common.errors import UsageError

TUTORIALS = ("argument", "exact_scores", "own_loop", "own_toy", "claims", "own_images")
HERE = SCRIPTS / "tutorials"


@dataclass(frozen=True)
class Options:
    """Execute the scripts of figures and tutorials as notebooks."""

    only: tuple[str, ...] = ()
    """These alone: saturation, or the tutorial argument. All of them if none is named."""
    out: Path | None = None
    """Where to. If None, figures to out/notebooks and tutorials beside their scripts."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures.notebooks")
    with usage():
        names = [choose(name, (*NAMES, *TUTORIALS), "notebook") for name in options.only] or [*NAMES, *TUTORIALS]
    if set(names) & set(TUTORIALS) and not HERE.exists():
        raise UsageError("tutorials are in a checkout; this package is installed: name figures by --only")
    importlib.import_module("jupytext")  # if it is missing, `run` says so in a line
    failed = [name for name in names if not executed(name, options.out)]
    return 1 if failed else 0


def executed(name: str, out: Path | None) -> bool:
    """Whether the notebook of a script was made; prints its path, or what went wrong."""
    tutorial = name in TUTORIALS
    script = (HERE if tutorial else SCRIPTS) / f"{name}.py"
    shown = out or (HERE if tutorial else files.workplace() / "out" / "notebooks")
    shown.mkdir(parents=True, exist_ok=True)
    path = shown.resolve() / f"{name}.ipynb"
    convert = ["-m", "jupytext", "--quiet", "--to", "ipynb", "--execute", "--run-path", str(ROOT)]
    places = {"PYTHONPATH": str(ROOT), "FIGURES_OUT": str(path.parent)}
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary, path.name)
        status, last = ended(*convert, "--output", str(made), str(script), **places)
        if status:
            complain(f"{name}: {last}", status)
        else:
            files.write(path, lasting(made.read_text()))
            print(shown / path.name, flush=True)
    return not status


def lasting(notebook: str) -> str:
    """An executed notebook without times, progress (standard error) and what it says of the interpreter; its cells are
    numbered, where jupytext draws their names."""
    found = json.loads(notebook)
    found["metadata"].pop("language_info", None)
    for number, cell in enumerate(found["cells"]):
        cell["id"] = f"cell-{number}"
        cell["metadata"].pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(run(main))
