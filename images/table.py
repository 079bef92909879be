"""python -m images.table: what others published, beside what was measured here.

images/published.csv has a row a method; ours stands where `python -m images.evaluate ... --json` was written to
RESULTS/RECIPE-COUPLING.json. Exit status: 0 done, 2 bad usage or a bad file, 1 anything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from theory.common.commandline import complain, parse, reason
from theory.common.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

PROG = "python -m images.table"
PUBLISHED = Path(__file__).with_name("published.csv")
NOT_RUN, NOT_BUILT = "not run: needs a GPU", "not built here"
SCORES = ("fid", "inception_score", "precision", "recall")


@dataclass(frozen=True)
class Options:
    """Print the FIDs that others published beside ours."""

    results: Path = Path("runs/results")
    """Directory of ours: RECIPE-COUPLING.json, as images.evaluate --json prints them."""


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        show(table(parse(Options, arguments, PROG).results))
    except (UsageError, ValueError) as error:
        return complain(error, 2)
    except OSError as error:
        return complain(reason(error), 1)
    return 0


def table(results: Path) -> pd.DataFrame:
    """The rows of published.csv with the column "ours": a FID, or why there is none.

    Raises:
        ValueError: a result that is none of images.evaluate's, or has no FID.
    """
    import pandas as pd

    rows = pd.read_csv(PUBLISHED, keep_default_na=False)
    rows["ours"] = [
        ours(results, recipe, coupling) for recipe, coupling in zip(rows.recipe, rows.coupling, strict=True)
    ]
    return rows


def ours(results: Path, recipe: str, coupling: str) -> str:
    if not recipe:
        return NOT_BUILT
    path = results / f"{recipe}-{coupling}.json"
    if not path.exists():
        return NOT_RUN
    try:
        report = json.loads(path.read_text())
        values, count, kind = report["values"], report["samples"]["count"], report["reference"]["kind"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is not what images.evaluate --json prints") from None
    if "FID" not in values:
        raise ValueError(f"{path} has {', '.join(values)}; wanted: FID, which needs --inception")
    return f"{values['FID']:.2f} ({count:,} images, {kind})"


def show(rows: pd.DataFrame) -> None:
    """A table on a terminal, aligned lines through a pipe; scores that no row has are left out."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    known = [score for score in SCORES if rows[score].ne("").any()]
    drawn = Table("data", "method", box=SIMPLE if console.is_terminal else None, padding=(0, 2, 0, 0))
    for name in (*(score.replace("_", " ") for score in known), "ours"):
        drawn.add_column(name.upper() if name == "fid" else name, justify="right" if name != "ours" else "left")
    for _, row in rows.iterrows():
        method = f"{row.method} ({row.note})" if row.note else row.method
        drawn.add_row(f"{row.dataset} {row.resolution}", method, *(str(row[score]) for score in known), row.ours)
    console.print(drawn, soft_wrap=not console.is_terminal)
    for source in rows.source.unique():
        named = rows[(rows.source == source) & rows.fid.ne("")]
        if len(named):
            console.print(f"Source of {', '.join(dict.fromkeys(named.method))}: {source}.", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
