"""python -m figures: draws every figure from tidy results; computes what is missing.

Each is a jupytext percent script, figures/NAME.py, that may also be run by itself or opened as a notebook; it writes
NAME.png, NAME.pdf, NAME.txt (what is seen) and NAME.csv (the numbers that are drawn) to figures/drawn.

Exit status: 0 all drawn; 1 a figure failed, told in one line, the others are drawn; 2 bad usage, nothing is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import joblib
import matplotlib
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from figures.tools import results, style
from figures.tools.render import draw
from theory.common.checks import choose
from theory.common.commandline import complain, parse
from theory.common.errors import UsageError
from toy.jobs.interrupts import closing, held

NAMES = (
    "fields",
    "saturation",
    "bound",
    "pythagoras",
    "divergence",
    "training",
    "equilibrium",
    "interval",
    "lazy",
    "regularizers",
    "score_quality",
    "non_manifold",
    "beyond_gan",
    "digits",
    "published",
    "speed",
)


@dataclass(frozen=True)
class Options:
    """Draw the figures from tidy results; compute what is missing."""

    only: tuple[str, ...] = ()
    """Draw these alone: saturation. All of them if none is named."""
    out: Path = style.OUT
    """Where to."""
    fresh: bool = False
    """Forget what was computed before, and compute it again; committed results are kept."""
    processes: int = 2
    """How many figures to draw at a time."""


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, "python -m figures")
        names = [choose(name, NAMES, "figure") for name in options.only] or list(NAMES)
        if options.processes < 1:
            raise UsageError(f"--processes must be at least 1; given {options.processes}")
        options.out.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context():  # of this process; a script switches its own
            style.use()
    except (UsageError, ValueError, OSError) as error:
        return complain(error, 2)
    if options.fresh:
        results.forget()
    try:
        failures = draw_all(names, options)
    except KeyboardInterrupt:
        return complain("interrupted; what was computed is kept", 1)
    except BrokenProcessPool:
        return complain("a process was killed (out of memory?); what was computed is kept", 1)
    for name, complaint in failures.items():
        complain(f"{name}: {complaint}", 1)
    return 1 if failures else 0


def draw_all(names: Sequence[str], options: Options) -> dict[str, str]:
    """Draws them, a process each, with progress; what went wrong with which."""
    console, failures = Console(stderr=True), {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("figures", total=len(names))
        with held():
            drawn = joblib.Parallel(min(options.processes, len(names)), return_as="generator_unordered", batch_size=1)(
                joblib.delayed(draw)(name, options.out) for name in names
            )
        with closing(drawn):
            for name, complaint, seconds in drawn:
                bars.advance(bar)
                if complaint:
                    failures[name] = complaint
                    continue
                console.print(f"{name:15} {seconds:6.1f} s  {results.named(options.out / name)}.png", highlight=False)
    return failures


if __name__ == "__main__":
    sys.exit(main())
