"""python -m tests.soak --minutes 30 --out DIR: does what a sweep and training on images hold of the machine grow?

Both run together, a process each, and are asked to stop at the end. DIR/soak.csv has resident and shared memory, open
files and threads every few seconds; DIR/soak.png shows them. A line is fitted to the second half. Exit status: 0 if the
upper end of every growth's 95 % interval is within what is allowed, 1 if not or if a command ended, 2 on bad usage.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tests.soak.samples import HELD, Growth, growth, soak
from theory.common.checks import positive
from theory.common.commandline import parse, run, usage
from theory.common.errors import UsageError
from theory.common.files import replacing, write_table

PROG = "python -m tests.soak"
LIMITS = {"handles": 2.0, "threads": 2.0, "shared_mib": 4.0}
TITLES = {"rss_mib": "memory, MiB", "handles": "open files", "threads": "threads", "shared_mib": "shared memory, MiB"}
SWEEP = "-m tests.sweeps long --quick --seeds 10000 --processes 1"
IMAGES = (
    "-m images.train --recipe digits --couplings own-step --seeds 1 --images 1000000000 --processes 1 "
    "--evaluate-every 200 --save-every 200"
)


@dataclass(frozen=True)
class Options:
    """Run a sweep and training on images for long, and see whether memory, open files or threads grow."""

    out: Path
    """Directory for soak.csv, soak.png and what the commands write."""
    minutes: float = 30.0
    """How long."""
    every: float = 5.0
    """Seconds between two samples."""
    limit: float = 16.0
    """MiB by which the memory of a command may grow in the second half of the time."""
    read: bool = False
    """Run nothing: judge and draw the soak.csv that is in the directory."""

    def __post_init__(self) -> None:
        for name in ("minutes", "every", "limit"):
            positive(name, getattr(self, name))


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    table = options.out / "soak.csv"
    if options.read:
        if not table.exists():
            raise UsageError(f"--read needs {table}, which does not exist")
        found = pd.read_csv(table)
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        found = measured(options)
        write_table(table, found, digits=5)
    with usage():
        return judge(found, options.limit, options.out / "soak.png")


def measured(options: Options) -> pd.DataFrame:
    """The samples; what the commands wrote before is removed."""
    work = options.out / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    where = {"sweep": ["--out", work / "sweep", "--cache", work / "jobs"],
             "images": ["--out", work / "images", "--cache", work / "cache"]}  # fmt: skip
    commands = {
        name: [sys.executable, *line.split(), *map(str, where[name])]
        for name, line in {"sweep": SWEEP, "images": IMAGES}.items()
    }
    return soak(commands, 60 * options.minutes, options.every, options.out)


def judge(table: pd.DataFrame, limit: float, picture: Path) -> int:
    """Prints what each command's holdings grew by, draws them; 1 if one may have grown by more than is allowed."""
    limits = {"rss_mib": limit, **LIMITS}
    fits: dict[tuple[str, str], Growth] = {}
    grown = []
    for name, part in table.groupby("command", sort=False):
        for what in HELD:
            found = growth(part.seconds.to_numpy(float), part[what].to_numpy(float))
            fits[str(name), what] = found
            flat = found.high <= limits[what]
            print(
                f"{name}, {TITLES[what]}: {found.value:+.2f} [{found.low:.2f}, {found.high:.2f}] in the second half "
                f"({found.per_hour:+.2f} an hour), at most {limits[what]:g} allowed: {'flat' if flat else 'GROWS'}"
            )
            grown += [] if flat else [f"{name}, {TITLES[what]}"]
    draw(table, fits, picture)
    print(f"drawn: {picture}")
    if grown:
        print(f"error: not shown to be flat: {'; '.join(grown)}", file=sys.stderr)
    return 1 if grown else 0


def draw(table: pd.DataFrame, fits: dict[tuple[str, str], Growth], path: Path) -> None:
    """What is held against time, a panel each, with the lines fitted to the second half."""
    from matplotlib.figure import Figure

    colours = dict(zip(table.command.unique(), ("#0173b2", "#de8f05", "#029e73"), strict=False))
    names = {"sweep": "toy.sweep", "images": "images.train"}
    figure = Figure(figsize=(8, 5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for axes, what in zip(panels.flat, HELD, strict=True):
        for name, part in table.groupby("command", sort=False):
            minutes = part.seconds / 60
            axes.plot(minutes, part[what], lw=1, color=colours[name], label=names.get(name, name))
            late = np.array([part.seconds.max() / 2, part.seconds.max()])
            intercept, slope = fits[str(name), what].line
            axes.plot(late / 60, intercept + slope * late, "--", lw=1.5, color="black", zorder=3)
        axes.set_title(TITLES[what], fontsize=10)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1]:
        axes.set_xlabel("minutes")
    panels[0, 0].legend(frameon=False, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


if __name__ == "__main__":
    sys.exit(run(main))
