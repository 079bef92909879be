"""python -m images.compare fashion: every arm searches its settings equally, then the best are compared on fresh seeds.

Several runs at a time, each in a process of its own with one thread. Every run keeps what came of it, so that the same
command continues what was stopped; the tables are written after each run. Exit status: 0 done, 2 bad usage, 1 anything
else (Ctrl-C, ...).
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from theory.common.checks import choose, existing, whole
from theory.common.commandline import noted, parse, run, usage
from theory.common.provenance import origin

if TYPE_CHECKING:
    from images.compare.tables import Tables

PROG = "python -m images.compare"
NAMES = ("fashion", "fashion-biggan", "cifar10-small", "stacked-mnist")


@dataclass(frozen=True)
class Options:
    """Compare gan, summed, own-step and decoupled on small images, each with settings that it searched equally.

    Two games, saturated (no penalties on D) and healthy (R1 and R2, whose gamma is searched), at two lengths. Twelve
    settings an arm with successive halving on one seed, selected by the Frechet distance to training images in the
    features of a classifier; then ten fresh seeds, judged against test images: frechet_test and coverage, with exact
    sign-flip tests, Holm over the table, and a margin of 10 %. In the shorter runs each arm is compared with the GAN at
    the arm's own setting, too.
    """

    name: Annotated[str, tyro.conf.Positional] = "fashion"
    """fashion, fashion-biggan, cifar10-small or stacked-mnist."""
    plan: bool = False
    """Print how much there is to do and what it takes; do none of it."""
    classifier: bool = False
    """Train the classifier, if that was not done, print its accuracy on the test images, and end."""
    ell: tuple[Path, ...] = ()
    """Directories of runs (.../gan/seed-0/gan-0): measure ell against nsr of their images, of real and of perturbed
    ones, and D's gradients, write NAME.ell.csv, NAME.p2.csv and NAME.push.csv, and end."""
    cells: tuple[str, ...] = ()
    """Cells: 'saturated, x1', 'healthy, x1', 'saturated, x3', 'healthy, x3'; all if not given."""
    data: Path | None = None
    """As that of images.train; fashion finds Debian's package."""
    out: Path = Path("runs/compare")
    """Directory for the runs."""
    into: Path | None = None
    """Directory for the tables; that of the runs if not given. What its tables have is not run again."""
    cache: Path = Path("runs/cache")
    """Where classifier and score model are kept."""
    processes: int = max(1, os.cpu_count() or 1)
    """Runs at the same time; the results do not depend on it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", choose(self.name, NAMES, "comparison"))
        whole("processes", self.processes, 1)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        if options.data is not None:
            existing("--data", options.data)
        for path in options.ell:
            existing("--ell", path / "checkpoint.pt")
    if options.classifier:
        return tell_classifier(options)
    if options.ell:
        return tell_ell(options)
    from images.compare.design import CELLS, base_of
    from images.compare.runs import scattered
    from images.compare.tables import Tables, told

    base, names = base_of(options.name), [cell.name for cell in CELLS]
    with usage():
        wanted = [CELLS[names.index(choose(cell, names, "cell"))] for cell in options.cells] or list(CELLS)
        directory = options.out / options.name
        scattered((options.into or directory) / f"{options.name}.outcomes.json", directory)
    if options.plan:
        print("\n".join(told(options.name, Tables.of(base, wanted, directory))))
        return 0
    return execute(options, wanted, shlex.join([*PROG.split(), *arguments]))


def tell_classifier(options: Options) -> int:
    """Prints the classifier's size, accuracy and place."""
    from images.compare.design import base_of
    from images.datasets.splits import splits
    from images.metrics.classifier import classifier

    source = base_of(options.name).source
    with noted("nothing was kept"), usage():
        found = splits(source, options.data)
        known = classifier(source, found, options.cache)
    size, shape = sum(parameter.numel() for parameter in known.network.parameters()), list(found.train.shape)
    print(f"{known.network.name}: {size:,} parameters, {len(found.train):,} training images of {shape}")
    print(f"accuracy on {len(found.test):,} test images: {known.accuracy:.4f}")
    print(f"kept in {known.path}")
    if found.note:
        print(f"note: {found.note}: not the pixels of the original; compare with itself only")
    return 0


def tell_ell(options: Options) -> int:
    """Measures ell and D's gradients of the runs' images, and writes the tables."""
    from images.compare import offmanifold
    from images.compare.design import base_of
    from images.datasets.dataset import to_float
    from images.generators.families import networks_of
    from images.metrics.classified import COUNT
    from images.recipes import from_dict
    from images.training import checkpoint
    from images.training.inputs import real_images, score_model
    from theory.common.files import write_table
    from theory.common.seeds import one_thread

    base = base_of(options.name)
    with usage():
        data = real_images(base, options.data, options.cache)
        found = getattr(data, "splits", None)
        if found is None:
            raise ValueError(f"--data must have a test split; given {options.data}")
        made = {}
        for name, path in zip(offmanifold.names_of(options.ell), options.ell, strict=True):
            content = checkpoint.read(path / "checkpoint.pt")
            recipe = from_dict(content["recipe"])
            g, d = networks_of(recipe)
            g.load_state_dict(content["trainer"]["average"])
            d.load_state_dict(content["trainer"]["d"])
            made[name] = g.eval().requires_grad_(False), d.eval().requires_grad_(False), recipe.latent
    with one_thread():
        score = score_model(base, data, options.cache, "cpu", options.data)
        labels = found.test.labels[:COUNT] if base.classes else None
        tables = offmanifold.measured(score, (to_float(found.test.images[:COUNT]), labels), made, base.classes)
    into = options.into or options.out / options.name
    into.mkdir(parents=True, exist_ok=True)
    for ending, table in zip(("ell", "p2", "push"), tables, strict=True):
        write_table(into / f"{options.name}.{ending}.csv", table, digits=5)
    print(tables[1].to_string(index=False))
    return 0


def execute(options: Options, wanted: list, command: str) -> int:
    """Trains what is missing and writes the tables after each run."""
    from images.compare.design import CELLS, base_of
    from images.compare.runs import Conductor, Run
    from images.compare.tables import Tables, told
    from images.metrics.classified import Classified
    from images.metrics.during_training import measures
    from images.training.inputs import real_images, score_model
    from images.training.progress import places
    from theory.common import signals
    from theory.common.errors import Stopped
    from theory.common.files import held
    from theory.common.processes import clear_shared_memory
    from theory.common.seeds import one_thread

    base, directory = base_of(options.name), options.out / options.name
    asked: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if asked:
            raise signals.interruption(number)
        asked.append(number)
        place.stop()
        print("\nstopping after the step (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    def write() -> None:
        note = getattr(getattr(data, "splits", None), "note", "")
        facts = origin(command) | ({"note": note} if note else {})
        facts |= {"classifier_accuracy": round(judge.accuracy, 4)} if isinstance(judge, Classified) else {}
        facts["real"] = {name: float(f"{x:.4g}") for name, x in judge.real.items()}
        Tables.of(base, CELLS, directory).write((options.into or directory) / options.name, directory, facts)

    def after(run: Run, share: float) -> None:
        write()
        left = Tables.of(base, wanted, directory).hours[1]
        print(f"{run.said(share)}; {left:.1f} core-hours left", file=sys.stderr, flush=True)

    directory.mkdir(parents=True, exist_ok=True)
    with usage():
        data = real_images(base, options.data, options.cache)
    with held(directory), one_thread(), noted("what is done is kept: the same command continues"):
        clear_shared_memory()
        score_model(base, data, options.cache, "cpu", options.data)
        judge = measures(base, options.cache, None if options.data is None else data)
        with places(directory / ".places", [options.name], 1, shown=False) as (place,):
            conductor = Conductor(directory, options.cache, options.data, place.asked, after, options.processes)
            try:
                with signals.handled(handle):
                    conductor.conduct(base, wanted)
            except Stopped as stopped:
                stopped.status = signals.status(asked[0] if asked else signal.SIGINT)
                raise
            finally:
                write()
    print_results(Tables.of(base, wanted, directory))
    print("\n".join(told(options.name, Tables.of(base, wanted, directory))))
    return 0


def print_results(tables: Tables) -> None:
    """A row an arm and metric with its verdict."""
    for found, against in ((tables.verdicts(), "the GAN"), (tables.without(), "the GAN at this setting")):
        for row in found.itertuples():
            print(
                f"{row.cell}: {row.arm}, {row.metric}: {row.mean:.4g} against {row.baseline_mean:.4g} of {against} "
                f"({row.verdict}, difference {row.difference:.3g} [{row.low:.3g}, {row.high:.3g}], "
                f"corrected p {row.p_holm:.2g}, {row.seeds} seeds)"
            )


if __name__ == "__main__":
    sys.exit(run(main))
