"""Correct digits of the laws and of what is usually written instead: `python -m theory.accuracy` prints the comparison.

Compared are relative errors of the score (with 1 / nsr added to its size), of the posterior mean x0hat and of the log
density (its error, where that is below 1 in size), at every nsr and distance, the worst of a few points:

    law       this library
    mixture   sum_i w_i exp(-||y - x_i||^2 / 2 nsr^2) and its gradient, by exp and sum as they stand; 1000 points x_i
              spread evenly over the support, or the components of a mixture of Gaussians
    draws     the Monte Carlo score: 4000 draws of the prior, weighted by a softmax; the median error of 8 samples
    kde       a Gaussian kernel density estimate from 4000 draws of x + nsr eps, Scott's bandwidth, and its gradient
    rounding  the truth where one coordinate of y is moved to the next number: no method can have a smaller error

The truth has 60 digits (`theory.accuracy.reference`), at the very numbers that the method is given. Points "at a tie"
are equally near to two parts of the support.

`python -m theory.accuracy --others` prints ground truths of public toys beside this library: see others.py.

Exit status: 0, 1 if a file cannot be written, 2 on bad usage.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.common import files
from theory.common.checks import choose
from theory.common.commandline import parse, run, usage
from theory.common.errors import UsageError

if TYPE_CHECKING:  # --help answers without them
    import pandas as pd
    from rich.console import Console


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare the accuracy of the laws with that of plain sums, Monte Carlo and kernel densities."""

    law: str | None = None
    """Only this law, and its digits at every nsr and distance."""
    json: Path | None = None
    """Write every error to this file."""
    others: bool = False
    """Instead: the ground truths of public toys at points where they fail, beside this library and Monte Carlo."""
    csv: Path | None = None
    """With --others: write the table to this file."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m theory.accuracy")
    for name, path in (("--json", options.json), ("--csv", options.csv)):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{name}: {path.parent} is not a directory")
    if options.others and (options.law is not None or options.json is not None):
        raise UsageError("--others prints a table of its own, of laws of its own: it goes with --csv alone")
    if options.csv is not None and not options.others:
        raise UsageError("--csv writes the table of --others; the digits are written by --json")

    import torch

    torch.set_num_threads(1)
    if options.others:
        print_others(options.csv)
    else:
        print_digits(options)
    return 0


def print_others(path: Path | None) -> None:
    """The table of other ground truths, printed, and written where a file is given."""
    from theory.accuracy.others import lines, table

    found = table()
    if path is not None:
        files.write_table(path, found, digits=6)
    print("\n".join(lines(found, max(60, shutil.get_terminal_size((80, 24)).columns))))


def print_digits(options: Options) -> None:
    """Measure, print, and write.

    Raises:
        UsageError: an unknown law. ModuleNotFoundError: mpmath, which counts the digits, is not installed.
    """
    from rich.console import Console
    from rich.progress import track

    from theory.accuracy.methods import CASES

    with usage():
        names = tuple(CASES) if options.law is None else (choose(options.law, tuple(CASES), "law"),)
    console = Console(highlight=False)
    progress: Iterable[str] = track(
        names, "Counting digits", console=console, transient=True, disable=not console.is_terminal
    )
    errors = measured(progress)
    print_summary(errors, console)
    if options.law is not None:
        print_grids(errors, console)
    if options.json is not None:
        files.write_json(options.json, entries(errors))


def measured(names: Iterable[str]) -> pd.DataFrame:
    """A row a `Cell` of the named cases."""
    import pandas as pd

    from theory.accuracy.methods import cells

    return pd.DataFrame([cell for name in names for cell in cells(name)])


METHODS = ("law", "mixture", "draws", "kde", "rounding")


def summary(errors: pd.DataFrame) -> pd.DataFrame:
    """Shares of the grid, for each law, method, bits and quantity, and the worst error.

    `nan`: not finite; `below3`, `below8`: fewer than so many correct digits, what is not finite among them; `digits`:
    the mean of the correct digits, 0 where it is not finite.
    """
    groups = errors.error.groupby([errors[key] for key in ("law", "method", "bits", "quantity")], sort=False)
    return groups.agg(
        nan=lambda e: (e == math.inf).mean(),
        below3=lambda e: (e > 1e-3).mean(),
        below8=lambda e: (e > 1e-8).mean(),
        digits=lambda e: e.map(correct_digits).mean(),
        worst="max",
    )


def print_summary(errors: pd.DataFrame, console: Console) -> None:
    """A table a law: a row a method and dtype, four columns a quantity."""
    from rich.box import SIMPLE
    from rich.table import Table

    shares = summary(errors)
    quantities = list(dict.fromkeys(errors.quantity))
    console.print("share of the grid (%) that is NaN, has fewer than 3, than 8 digits; worst error")
    for law in dict.fromkeys(errors.law):
        table = Table(box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
        table.add_column(law)
        for quantity in quantities:
            for heading in (f"{quantity}\nNaN", "\n<3", "\n<8", "\nworst"):
                table.add_column(heading, justify="right")
        for method, bits in rows(errors[errors.law == law]):
            cells = [
                text
                for quantity in quantities
                for entry in [shares.loc[(law, method, bits, quantity)]]
                for text in (
                    *(f"{100 * entry[key]:.0f}" for key in ("nan", "below3", "below8")),
                    "NaN" if entry.worst == math.inf else f"{entry.worst:.0e}",
                )
            ]
            table.add_row(f"{method} {bits}", *cells)
        console.print(table, soft_wrap=not console.is_terminal)
    draws = errors[(errors.method == "draws") & (errors.bits == 64) & (errors.quantity == "score")]
    ratio = (draws.most / draws.least)[(draws.least > 0) & (draws.most < math.inf)].median()
    console.print(f"draws: of 8 samples, the worst errs {ratio:.1f} times as much as the best (score, median)")


def print_grids(errors: pd.DataFrame, console: Console) -> None:
    """Correct digits, a row an nsr and a column a distance, of each quantity and method."""
    for quantity in dict.fromkeys(errors.quantity):
        for method, bits in rows(errors):
            chosen = (errors.quantity == quantity) & (errors.method == method) & (errors.bits == bits)
            grid = errors[chosen].pivot(index="nsr", columns="distance", values="error")
            console.print(f"\ncorrect digits of {quantity}, {method} in float{bits}: distance across, nsr down")
            console.print("        " + "".join(f"{distance:>7g}" for distance in grid.columns))
            for nsr, line in grid.iterrows():
                console.print(f"{nsr:>8g}" + "".join(f"{digits(error):>7}" for error in line))


def rows(errors: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """The pairs of method and bits that were measured, the library first."""
    found = set(zip(errors.method, errors.bits, strict=True))
    return ((method, bits) for method in METHODS for bits in (64, 32) if (method, bits) in found)


def correct_digits(error: float) -> float:
    """-log10 of the relative error, between 0 and 16."""
    return max(-math.log10(max(error, 1e-16)), 0.0)


def digits(error: float) -> str:
    return "NaN" if error == math.inf else f"{correct_digits(error):.1f}"


def entries(errors: pd.DataFrame) -> list[dict[str, Any]]:
    """The errors as a list of objects; None for what is not finite."""
    return [
        {key: None if value == math.inf else value for key, value in entry.items()}
        for entry in errors.to_dict("records")
    ]


if __name__ == "__main__":
    sys.exit(run(main))
