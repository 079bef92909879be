"""python -m images.table: FIDs that others published, beside those that were measured here.

images/published.csv has a row a method. Ours are read from RESULTS/RECIPE-COUPLING.json, the output of `python -m
images.evaluate ... --json`. Exit status: 0 done, 2 bad usage or a bad file, 1 anything else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from images.recipes import CLASSIFIED, RECIPES
from theory.common import checks
from theory.common.commandline import parse, run, usage
from theory.common.errors import FileError
from theory.common.files import read_json

if TYPE_CHECKING:
    import pandas as pd

PROG = "python -m images.table"
PUBLISHED = Path(__file__).with_name("published.csv")
NOT_RUN, NOT_BUILT = "not run: needs a GPU", "not built here"
LONGEST = 40  # characters of the reference's kind
SCORES = ("fid", "inception_score", "precision", "recall")


@dataclass(frozen=True)
class Options:
    """Print the FIDs that others published beside ours."""

    results: Path = Path("runs/results")
    """Directory of ours: RECIPE-COUPLING.json, as images.evaluate --json prints them."""


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    show(table(options.results))
    return 0


def table(results: Path) -> pd.DataFrame:
    """The rows of published.csv with the column "ours": a FID, or why there is none.

    Raises:
        FileError: a result that is none of images.evaluate's, or has no FID.
    """
    import pandas as pd

    rows = pd.read_csv(PUBLISHED, keep_default_na=False)
    rows["ours"] = [
        ours(results, recipe, coupling) for recipe, coupling in zip(rows.recipe, rows.coupling, strict=True)
    ]
    return rows


def ours(results: Path, recipe: str, coupling: str) -> str:
    """Our FID with the number of images and the kind of reference, or why there is none."""
    if not recipe:
        return NOT_BUILT
    path = results / f"{recipe}-{coupling}.json"
    if not path.exists():
        return NOT_RUN
    try:
        report = read_json(path, "report of images.evaluate --json")
        values, kind = dict(report["values"]), report["reference"]["kind"]
        count = checks.whole("count", report["samples"]["count"], 1)
        if not isinstance(kind, str) or len(kind) > LONGEST or not kind.isprintable():
            raise ValueError("kind must be a name")
        if "FID" in values:
            return f"{checks.at_least('FID', values['FID'], 0):.2f} ({count:,} images, {kind})"
    except FileError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)[:150]
        raise FileError(f"{path} is not what images.evaluate --json prints: {said}") from None
    raise FileError(f"{path} has {checks.few(values)}; wanted: FID, which needs --inception")


def show(rows: pd.DataFrame) -> None:
    """A table on a terminal, aligned lines through a pipe; scores that no row has are left out."""
    from rich.box import SIMPLE
    from rich.table import Table

    from theory.common.terminal import console

    out = console()
    known = [score for score in SCORES if rows[score].ne("").any()]
    drawn = Table("data", "method", box=SIMPLE if out.is_terminal else None, padding=(0, 2, 0, 0))
    for name in (*(score.replace("_", " ") for score in known), "ours"):
        drawn.add_column(name.upper() if name == "fid" else name, justify="right" if name != "ours" else "left")
    for _, row in rows.iterrows():
        method = f"{row.method} ({row.note})" if row.note else row.method
        drawn.add_row(f"{row.dataset} {row.resolution}", method, *(str(row[score]) for score in known), row.ours)
    out.print(drawn)
    for source in rows.source.unique():
        cited = rows[(rows.source == source) & rows.fid.ne("")]
        if len(cited):
            out.print(f"Source of {', '.join(dict.fromkeys(cited.method))}: {source}.", soft_wrap=True)
    small = ", ".join(name for name, recipe in RECIPES.items() if recipe.source in CLASSIFIED)
    out.print(f"Without a FID, judged by a classifier (python -m images.compare): {small}.", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run(main))
