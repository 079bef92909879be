"""python -m toy.sweep: the experiments, each arm of each cell at its own best setting, compared over seeds.

Every finished job is kept under --cache, so that a sweep that was stopped goes on where it was. Exit status: 0 done,
2 bad usage, 1 anything else (a cell was lost, Ctrl-C, ...).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from theory.common.checks import choose
from theory.common.commandline import complain, parse, reason
from theory.common.errors import Lost, UsageError
from theory.common.provenance import origin
from toy.sweep.design import TUNING
from toy.sweep.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from toy.sweep.runner import Conductor, Results

PROG = "python -m toy.sweep"
SEEDS, TUNING_SEEDS = 16, 4
QUICK_SEEDS, QUICK_TUNING_SEEDS = 4, 2


@dataclass(frozen=True)
class Options:
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME ...")]
    """Experiments, or all."""
    quick: bool = False
    """Fewer cells, steps and seeds: whether it works, not what is true."""
    plan: bool = False
    """Print how many jobs there are, how many of them are done, and what the rest will take; run none of them."""
    seeds: int | None = None
    """Seeds of the comparisons, 0, 1, ...; 16 if not given, 4 with --quick."""
    processes: int = max(1, os.cpu_count() or 1)
    """Processes on this machine; the results do not depend on it."""
    cluster: str | None = None
    """Address of a dask scheduler, whose workers are used instead (start them with --nthreads 1)."""
    out: Path = Path("runs/sweeps")
    """Directory for NAME.csv, NAME.verdicts.csv and NAME.json."""
    cache: Path = Path("runs/cache")
    """Directory for finished jobs."""

    def __post_init__(self) -> None:
        for name in self.names:
            choose(name, (*EXPERIMENTS, "all"), "experiment")
        if not self.names:
            raise ValueError(f"name experiments, or all: {', '.join(EXPERIMENTS)}")
        if self.seeds is not None and not 2 <= self.seeds <= TUNING:
            raise ValueError(
                f"seeds must be at least 2, for there is no interval of one, and at most {TUNING}, "
                f"where those of tuning begin; given {self.seeds}"
            )
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1; given {self.processes}")


Options.__doc__ = "Compare ways to train with and without the score matching regularity, each at its own best.\n\n" + (
    "\n".join(f"- {name}: {experiment.question}" for name, experiment in EXPERIMENTS.items())
)


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, PROG)
        writable(options.cache)
        if not options.plan:
            writable(options.out)
        from toy.sweep.pool import pool

        with pool(options.processes, options.cluster) as processes:
            return execute(options, processes)
    except Lost as error:
        return complain(f"the cluster was lost: {error}; the same command goes on from what is done", 1)
    except (UsageError, ValueError) as error:
        return complain(error, 2)
    except OSError as error:
        return complain(reason(error), 1)
    except KeyboardInterrupt:
        return complain("interrupted; what is done is kept: the same command goes on from there", 1)
    except BrokenProcessPool:
        return complain("a process was killed (out of memory?); the same command goes on from what is done", 1)


def writable(directory: Path) -> None:
    """UsageError unless files can be written there."""
    from theory.common import files

    try:
        directory.mkdir(parents=True, exist_ok=True)
        files.write(directory / ".writable", b"")
        (directory / ".writable").unlink()
    except OSError as error:
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from None


def execute(options: Options, processes: int) -> int:
    """Plans, runs, writes and prints; the exit status."""
    from toy.sweep.cache import Cache
    from toy.sweep.runner import Conductor

    names = EXPERIMENTS if "all" in options.names else dict.fromkeys(options.names)
    seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    tuning_seeds = QUICK_TUNING_SEEDS if options.quick else TUNING_SEEDS
    conductor = Conductor(Cache(options.cache), processes, seeds, tuning_seeds, options.quick)
    print_plan(conductor, list(names), each=options.plan)
    if options.plan:
        return 0
    lost = 0
    for name in names:
        begun = time.monotonic()
        results = conductor.conduct(EXPERIMENTS[name])
        facts = origin(" ".join([PROG, *sys.argv[1:]])) | {
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


def print_plan(conductor: Conductor, names: Sequence[str], each: bool) -> None:
    """What there is to do in all, in one line, and before it in `each` experiment."""
    from toy.jobs.meter import duration

    plans = {name: conductor.plan(EXPERIMENTS[name]) for name in names}
    whole = {k: planned for plan in plans.values() for k, planned in plan.items()}
    source = conductor.estimate_costs(next(iter(whole.values()))[0])
    shown = (plans if each and len(plans) > 1 else {}) | {"all" if len(names) > 1 else names[0]: whole}
    for name, plan in shown.items():
        seconds = [conductor.costs.seconds(task) for task, known in plan.values() if not known]
        wall = max([sum(seconds) / conductor.processes, *seconds])
        print(
            f"{name}: {len(plan)} jobs, {len(plan) - len(seconds)} of them done; "
            f"to do: {sum(seconds):.0f} core-seconds, {duration(wall)} on {conductor.processes} processes ({source})",
            flush=True,
        )


def print_results(results: Results) -> None:
    """The verdicts, a row an arm: verdict and ratio to the baseline by metric."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from toy.sweep.verdicts import shown

    experiment, console = results.experiment, Console(highlight=False)
    settings = {place: f"{s.lr:g}" + (f", {s.weight:g}" if s.weight else "") for place, s in results.settings.items()}
    titles = ["cell", "arm", "lr, weight", *(name.replace("_", " ") for name in experiment.metrics)]
    table = Table(*titles, box=SIMPLE if console.is_terminal else None, padding=(0, 1, 0, 0))
    for row in shown(results.verdicts(), settings, list(experiment.metrics)):
        table.add_row(*row)
    if not console.is_terminal:
        console.width = 250
    console.print(
        f"{experiment.name}: {experiment.question} Verdict and ratio to {experiment.baseline}:", soft_wrap=True
    )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
