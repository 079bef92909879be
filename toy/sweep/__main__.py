"""python -m toy.sweep: experiments over many cells, each arm at its own best setting, compared over seeds.

Every finished job is kept under --cache, so that the same command continues a sweep that was stopped. Exit status:
0 done, 2 bad usage, 1 anything else (a cell was lost, Ctrl-C, ...).
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from theory.common.checks import choose, positive, whole
from theory.common.commandline import complain, noted, parse, run, usage
from theory.common.errors import UsageError
from theory.common.provenance import origin
from toy.sweep.design import SHORT, TUNING, Experiment, entries, text
from toy.sweep.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from toy.sweep.runner import Conductor, Results

PROG = "python -m toy.sweep"
SEEDS, TUNING_SEEDS = 16, 4
QUICK_SEEDS, QUICK_TUNING_SEEDS = 4, 2
MARKS = {"helps": " +", "hurts": " -", "undecided": ""}


@dataclass(frozen=True)
class Options:
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME ...")]
    """Experiments, or all."""
    quick: bool = False
    """Fewer cells, steps and seeds: shows that it runs, not what is true."""
    plan: bool = False
    """Print how many jobs there are, how many are done, and what the rest will take; run none of them."""
    seeds: int | None = None
    """Seeds of the comparisons, 0, 1, ...; 16 if not given, 4 with --quick."""
    processes: int = max(1, os.cpu_count() or 1)
    """Processes on this machine; the results do not depend on it."""
    cluster: str | None = None
    """Address of a dask scheduler, whose workers are used instead (start them with --nthreads 1)."""
    patience: float = 10.0
    """Minutes that a cluster may be without workers before the sweep ends."""
    out: Path = Path("runs/sweeps")
    """Directory for NAME.csv, NAME.verdicts.csv and NAME.json."""
    cache: Path = Path("runs/cache")
    """Directory for finished jobs."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f"name experiments, or all: {', '.join(EXPERIMENTS)}")
        names = [choose(name, (*EXPERIMENTS, "all"), "experiment") for name in self.names]
        object.__setattr__(self, "names", tuple(EXPERIMENTS if "all" in names else dict.fromkeys(names)))
        if self.seeds is not None and not 2 <= self.seeds <= TUNING:
            raise ValueError(
                f"seeds must be at least 2, for an interval, and at most {TUNING}, where those of tuning begin; "
                f"given {self.seeds}"
            )
        whole("processes", self.processes, 1)
        positive("patience", self.patience)


Options.__doc__ = "Compare ways to train with and without the score term, each at its own best setting.\n\n" + (
    "\n".join(f"- {name}: {experiment.question}" for name, experiment in EXPERIMENTS.items())
)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        for name in options.names:
            entries(EXPERIMENTS[name], options.quick)
    check_writable(options.cache)
    if not options.plan:
        check_writable(options.out)
    from toy.sweep.pool import pool

    with pool(options.processes, options.cluster, options.patience) as processes:
        return execute(options, processes, shlex.join([*PROG.split(), *arguments]))


def check_writable(directory: Path) -> None:
    """Makes the directory, and clears it of what killed processes left.

    Raises:
        UsageError: no files can be written there. OSError: the disk is full.
    """
    from theory.common import files
    from theory.common.processes import clear_shared_memory

    try:
        directory.mkdir(parents=True, exist_ok=True)
        files.clear_partials(directory)
        clear_shared_memory()
        files.write(directory / ".writable", b"")
        (directory / ".writable").unlink(missing_ok=True)  # another command may have begun here
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from None


def execute(options: Options, processes: int, command: str) -> int:
    """Plans, runs, writes and prints; the exit status."""
    from toy.sweep.cache import Cache
    from toy.sweep.runner import Conductor

    experiments = [EXPERIMENTS[name] for name in options.names]
    seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    tuning_seeds = QUICK_TUNING_SEEDS if options.quick else TUNING_SEEDS
    conductor = Conductor(Cache(options.cache), processes, seeds, tuning_seeds, options.quick)
    lost = 0
    with noted("what is done is kept: the same command continues"):
        print_plan(conductor, experiments, each=options.plan)
        for experiment in experiments if not options.plan else ():
            begun = time.monotonic()
            results = conductor.conduct(experiment)
            facts = origin(command) | {
                "seeds": seeds,
                "quick": options.quick,
                "seconds": round(time.monotonic() - begun, 1),
            }
            results.write(options.out, facts)
            print_results(results)
            for line in results.lost:
                print(f"lost: {line}", file=sys.stderr)
            lost += len(results.lost)
    return complain(f"{lost} arms of cells were lost, see above; the rest is in {options.out}", 1) if lost else 0


def print_plan(conductor: Conductor, experiments: Sequence[Experiment], each: bool) -> None:
    """What there is to do in all, in one line, and before it in `each` experiment."""
    from toy.jobs.progress import duration

    plans = {experiment.name: conductor.plan(experiment) for experiment in experiments}
    whole_plan = {k: planned for plan in plans.values() for k, planned in plan.items()}
    source = conductor.estimate_costs(next(iter(whole_plan.values()))[0])
    shown = (plans if each and len(plans) > 1 else {}) | {"all" if len(plans) > 1 else next(iter(plans)): whole_plan}
    for name, plan in shown.items():
        seconds = [conductor.costs.seconds(task) for task, known in plan.values() if not known]
        wall = max([sum(seconds) / conductor.processes, *seconds])
        print(
            f"{name}: {len(plan)} jobs, {len(plan) - len(seconds)} done; "
            f"to do: {duration(sum(seconds))} of CPU, {duration(wall)} on {conductor.processes} processes",
            flush=True,
        )
    print(f"times estimated {source}", flush=True)


def print_results(results: Results) -> None:
    """A row an arm, below its cell: its setting, and each metric's ratio to the baseline with its verdict's mark."""
    from rich.box import SIMPLE
    from rich.table import Table

    from theory.common.terminal import console

    experiment, shown = results.experiment, console()
    shown.print(f"{experiment.name}: {experiment.question}", soft_wrap=True)
    shown.print(f"Ratios to {text(experiment.baseline)}; + helps, - hurts, else undecided.", soft_wrap=True)
    table = Table("", box=SIMPLE if shown.is_terminal else None, padding=(0, 1, 0, 0))
    for title in ("lr", "lambda", *(SHORT.get(name, name) for name in experiment.metrics)):
        table.add_column(title, no_wrap=True)
    ratios: dict[tuple[str, ...], dict[str, str]] = {}
    for row in results.verdicts().to_dict("records"):
        ratio = "n/a" if row["ratio"] != row["ratio"] else f"{row['ratio']:.3g}"
        ratios.setdefault(results.identity(row), {})[row["metric"]] = ratio + MARKS[row["verdict"]]
    cell = None
    for identity, (arm, setting) in results.compared.items():
        if identity[0] != cell:
            cell = identity[0]
            table.add_row(cell)
        found = ratios.get(identity, {})
        table.add_row(
            f"  {arm}", f"{setting.lr:g}", f"{setting.weight:g}", *(found.get(name, "") for name in experiment.metrics)
        )
    shown.print(table)


if __name__ == "__main__":
    sys.exit(run(main))
