"""python -m figures: draws every figure from the committed results.

Each is a jupytext percent script, figures/NAME.py, that may also be run by itself or opened as a notebook. It writes
NAME.png, NAME.pdf, NAME.txt (the caption and the sources) and NAME.csv (the numbers that are drawn) to figures/drawn. A
file that would say the same is left as it is. --fresh computes the tables of figures/computed again. In a style or
format of your own (--style paper.mplstyle --format pdf svg) the files go to out/figures.

Exit status: 0 all drawn; 1 a figure failed, told in one line, the others are drawn; 2 bad usage, nothing is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import joblib
import matplotlib
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from figures.tools import results, style
from figures.tools.render import draw
from theory.common.checks import choose, whole
from theory.common.commandline import complain, noted, parse, run, usage
from theory.common.errors import UsageError
from theory.common.files import workplace
from theory.common.processes import children, closing, started

NAMES = (
    "fields",
    "saturation",
    "bound",
    "pythagoras",
    "divergence",
    "training",
    "searches",
    "limits",
    "profiles",
    "choices",
    "stabilisers",
    "finite",
    "equilibrium",
    "interval",
    "lazy",
    "regularizers",
    "score_quality",
    "non_manifold",
    "beyond_gan",
    "digits",
    "fashion",
    "published",
    "speed",
)


@dataclass(frozen=True)
class Options:
    """Draw the figures from committed results."""

    only: tuple[str, ...] = ()
    """Draw these alone: saturation. All of them if none is named."""
    out: Path | None = None
    """Where to: figures/drawn if None, or out/figures in a style or format of your own."""
    style: Path | None = None
    """A style sheet of matplotlib, FILE.mplstyle, over that of the figures. Sizes of text are then not checked."""
    format: tuple[Literal["png", "pdf", "svg"], ...] = ("png", "pdf")
    """Of the pictures."""
    fresh: bool = False
    """Compute what the figures' own scripts compute again, and replace figures/computed: about half an hour."""
    processes: int = 2
    """How many figures to draw at a time."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures")
    with usage():
        names = [choose(name, NAMES, "figure") for name in options.only] or list(NAMES)
        whole("--processes", options.processes, 1)
    if options.fresh and workplace() != results.ROOT:
        raise UsageError("--fresh replaces figures/computed of a checkout; this package is installed")
    own = options.style is not None or options.format != Options.format
    out = options.out or (workplace() / "out" / "figures" if own else style.OUT)
    sheet = None if options.style is None else options.style.resolve()
    with matplotlib.rc_context():  # of this process; a script switches its own
        style.use(sheet)
    out.mkdir(parents=True, exist_ok=True)
    with noted("what was drawn is kept"):
        failures = draw_all(names, replace(options, out=out, style=sheet))
    for name, complaint in failures.items():
        complain(f"{name}: {complaint}", 1)
    return 1 if failures else 0


def draw_all(names: Sequence[str], options: Options) -> dict[str, str]:
    """What went wrong with which figure. They are drawn a process each, with a line on standard error for each."""
    console, failures = Console(stderr=True), {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("figures", total=len(names))
        with started(), children():
            drawn = joblib.Parallel(min(options.processes, len(names)), return_as="generator_unordered", batch_size=1)(
                joblib.delayed(draw)(name, options.out, options.fresh, options.style, options.format) for name in names
            )
        with closing(drawn):
            for name, complaint, seconds in drawn:
                bars.advance(bar)
                if complaint:
                    failures[name] = complaint
                    continue
                shown = results.named((options.out or style.OUT) / name)
                console.print(
                    f"{name:15} {seconds:6.1f} s  {shown}.{options.format[0]}", highlight=False, soft_wrap=True
                )
    return failures


if __name__ == "__main__":
    sys.exit(run(main))
