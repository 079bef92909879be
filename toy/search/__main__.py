"""python -m toy.search: every arm searches its settings equally, then the best are compared on fresh seeds.

Finished work is kept under --cache, so that the same command continues a search that was stopped. Exit status: 0 done,
2 bad usage, 1 anything else (an arm was lost, Ctrl-C, ...).
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from theory.common.checks import choose, positive, whole
from theory.common.commandline import complain, noted, parse, run, usage
from theory.common.provenance import origin
from toy.search.design import Entry, entries
from toy.search.experiments import EXPERIMENTS
from toy.sweep.design import TUNING

if TYPE_CHECKING:
    from toy.search.runner import Conductor
    from toy.search.tables import Tables

PROG = "python -m toy.search"
MARKS = {"helps": " +", "hurts": " -", "equal": " =", "unknown": " ?"}
SHORT = {"off_manifold": "off", "total_variation_on": "TV on M", "w2": "W2", "kl": "KL"}


@dataclass(frozen=True)
class Options:
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME ...")]
    """Experiments, or all."""
    times: tuple[int, ...] = ()
    """Lengths of the runs, in multiples of the shortest; all if not given."""
    cells: tuple[str, ...] = ()
    """Cells; all if not given."""
    plan: bool = False
    """Print how much there is to do and what it will take; do none of it."""
    seeds: int = 32
    """Seeds of the comparisons."""
    tuning_seeds: int = 8
    """Seeds of the searches, which no comparison uses."""
    search: int = 0
    """Number of the search: another number has other proposals, other tuning seeds and other fresh seeds."""
    processes: int = max(1, os.cpu_count() or 1)
    """Processes on this machine; the results do not depend on it."""
    patience: float = 10.0
    """Minutes that a cluster may be without workers before the search ends."""
    cluster: str | None = None
    """Address of a dask scheduler, whose workers are used instead (start them with --nthreads 1)."""
    out: Path = Path("runs/search")
    """Directory for the tables."""
    cache: Path = Path("runs/search-cache")
    """Directory for finished work."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f"name experiments, or all: {', '.join(EXPERIMENTS)}")
        names = [choose(name, (*EXPERIMENTS, "all"), "experiment") for name in self.names]
        object.__setattr__(self, "names", tuple(EXPERIMENTS if "all" in names else dict.fromkeys(names)))
        if self.seeds > TUNING:
            raise ValueError(f"seeds must be at most {TUNING}, where those of tuning begin; given {self.seeds}")
        for name, least in {"seeds": 3, "tuning_seeds": 1, "search": 0, "processes": 1}.items():
            whole(name, getattr(self, name), least)
        positive("patience", self.patience)


Options.__doc__ = "Search every arm's settings equally, then compare the best of each on fresh seeds.\n\n" + (
    "\n".join(f"- {name}: {experiment.question}" for name, experiment in EXPERIMENTS.items())
)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        wanted = {name: entries(EXPERIMENTS[name], options.times, options.cells) for name in options.names}
    from toy.search.cache import Cache
    from toy.search.runner import Conductor, Plan
    from toy.search.tables import Tables
    from toy.sweep.__main__ import check_writable
    from toy.sweep.pool import pool

    check_writable(options.cache)
    conductor = Conductor(
        Cache(options.cache), Plan(seeds=options.seeds, tuning_seeds=options.tuning_seeds, search=options.search)
    )
    kept = {name: Tables.read(options.out, EXPERIMENTS[name]) for name in wanted}
    if options.plan:
        for name, rows in wanted.items():
            conductor.starts = kept[name].starts
            for times, part in by_length(rows).items():
                tell_plan(f"{name}, x{times}", part, kept[name], conductor)
        return 0
    for name, rows in wanted.items():
        kept[name].starts(rows[0])  # of the shortest runs: refused before anything is measured
    check_writable(options.out)
    lost: list[str] = []
    with (
        noted("what is done is kept: the same command continues"),
        pool(options.processes, options.cluster, options.patience),
    ):
        for name, rows in wanted.items():
            for part in by_length(rows).values():
                conductor.starts = kept[name].starts
                if missing := kept[name].missing(part, conductor.plan):
                    begun = time.monotonic()
                    found = conductor.conduct(EXPERIMENTS[name], missing)
                    facts = origin(shlex.join([*PROG.split(), *arguments]))
                    facts |= dataclasses.asdict(conductor.plan) | {"seconds": round(time.monotonic() - begun, 1)}
                    lost += kept[name].take(found, facts)
                    kept[name].write(options.out)
                    kept[name] = Tables.read(options.out, EXPERIMENTS[name])  # with the digits that files hold
            print_results(kept[name], [row.cell.name for row in rows])
    for line in lost:
        print(f"lost: {line}", file=sys.stderr)
    return complain(f"{len(lost)} arms were lost, see above; the rest is in {options.out}", 1) if lost else 0


def by_length(rows: list[Entry]) -> dict[int, list[Entry]]:
    """Length -> its rows."""
    found: dict[int, list[Entry]] = {}
    for row in rows:
        found.setdefault(row.cell.keys["times"], []).append(row)
    return found


def tell_plan(title: str, rows: list[Entry], kept: Tables, conductor: Conductor) -> None:
    """One line: arms, those in the tables, and how far the others are."""
    from toy.search.tables import NotYet

    try:
        missing = kept.missing(rows, conductor.plan)
    except NotYet as error:
        print(f"{title}: {len(rows)} arms; {error}")
        return
    line = f"{title}: {len(rows)} arms, {len(rows) - len(missing)} measured"
    if missing:
        left = conductor.left(missing)
        line += f"; of the others {left.done} of {left.tasks} tasks done, {left.share:.0%} of the work left"
    print(line)


def print_results(tables: Tables, cells: list[str]) -> None:
    """A row an arm of these cells: its setting, and each judged metric with its verdict's mark."""
    from rich.box import SIMPLE
    from rich.table import Table

    from theory.common.terminal import console

    experiment, shown = tables.experiment, console()
    shown.print(f"{experiment.name}: {experiment.question}", soft_wrap=True)
    shown.print("Means over fresh seeds. Against the first arm of a cell: + helps, - hurts, = equal, ? unknown.")
    if tables.arms.empty:
        return
    found = tables.verdicts()
    marks = {(row.cell, row.arm, row.metric): MARKS[row.verdict] for row in found.itertuples()}
    means = tables.values.groupby(["cell", "arm"]).mean(numeric_only=True)
    options = [name for name in ("lr", "d_lr", "gamma", "weight") if name in tables.arms]
    metrics = [name for name in experiment.metrics if name in means]
    table = Table("", box=SIMPLE if shown.is_terminal else None, padding=(0, 1, 0, 0))
    for title in (*options, *(SHORT.get(name, name) for name in metrics)):
        table.add_column("lambda" if title == "weight" else title, no_wrap=True)
    cell = None
    for row in tables.arms[tables.arms.cell.isin(cells)].to_dict("records"):
        if row["cell"] != cell:
            cell = row["cell"]
            table.add_row(cell)
        place = cell, row["arm"]
        setting = ["" if row[name] != row[name] else f"{row[name]:.2g}" for name in options]
        table.add_row(
            f"  {row['arm']}", *setting, *(f"{means.loc[place, m]:.3g}{marks.get((*place, m), '')}" for m in metrics)
        )
    shown.print(table)


if __name__ == "__main__":
    sys.exit(run(main))
