"""The commands that write, each small, and what they are told."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.commands import TINY

TOY = f"{shlex.join(TINY)} --processes 1 --out DISK/run"
IMAGES = (
    "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --images 160 --save-every 5 --evaluate-every 10 "
    "--processes 1 --out DISK/run"
)


@dataclass(frozen=True)
class Case:
    """A command that writes below a directory.

    main: of the command.
    arguments: DISK and INPUTS in them stand for the directories of what it writes and of what it reads.
    run: the directory below DISK whose --resume goes on, once its config.json is written.
    patches: (object, name, value) of what is other than in the command itself; a text is a path, with DISK as above.
    """

    main: Callable[[list[str]], int]
    arguments: str
    run: str | None = None
    patches: Sequence[tuple[Any, str, Any]] = ()

    def told(self, disk: Path, inputs: Path) -> list[str]:
        """The command's arguments."""
        found = placed(self.arguments, disk, inputs)
        return [*found, "--resume"] if self.run and (disk / self.run / "config.json").exists() else found

    def __call__(self, disk: Path, inputs: Path) -> int:
        """The exit status; standard error has what was wrong."""
        from theory.common.commandline import run

        with ExitStack() as stack:
            for owner, name, value in self.patches:
                there = Path(*placed(value, disk, inputs)) if isinstance(value, str) else value
                stack.enter_context(mock.patch.object(owner, name, there))
            return run(self.main, self.told(disk, inputs))


def placed(text: str, disk: Path, inputs: Path) -> list[str]:
    """The words of a text, with the directories in their places."""
    return [word.replace("DISK", str(disk)).replace("INPUTS", str(inputs)) for word in text.split()]


def cheap() -> dict[str, Case]:
    """Those of which a run takes about a second."""
    from images import data, evaluate, publish, sample, train
    from tests import sweeps
    from theory import __main__ as theory
    from toy import run as toy
    from toy.sweep import __main__ as sweep

    return {
        "toy.run": Case(toy.main, TOY, "run"),
        "toy.sweep": Case(
            sweep.main,
            "small --quick --seeds 2 --processes 1 --out DISK/out --cache DISK/cache",
            patches=[(sweep, "EXPERIMENTS", sweeps.EXPERIMENTS)],
        ),
        "theory --json": Case(theory.main, "--only P2 --json DISK/ledger.json"),
        "theory --plot": Case(theory.main, "--explain P2 --plot DISK/P2.png"),
        "images.data": Case(data.main, "digits --dest DISK/digits.zip"),
        "images.train": Case(train.main, f"{IMAGES} --cache INPUTS/cache", "run"),
        "images.sample": Case(sample.main, "INPUTS/run/gan-0 --count 64 --out DISK/samples.zip"),
        "images.evaluate": Case(
            evaluate.main,
            "INPUTS/digits.zip --reference INPUTS/digits.zip --features pixels --pairs 100 "
            "--save-reference DISK/reference.npz",
        ),
        "images.publish": Case(publish.main, "INPUTS/run mine --into DISK/results --cache INPUTS/cache"),
    }


def dear() -> dict[str, Case]:
    """Those that take longer."""
    from figures import __main__ as figures
    from figures import notebooks
    from figures.docs import __main__ as docs
    from figures.report import __main__ as report
    from figures.report import sweeps as findings
    from images import train, tune
    from images.recipes import DIGITS
    from theory.accuracy import __main__ as accuracy
    from theory.claims import snapshot
    from theory.claims.ledger import ledger
    from toy import run as toy
    from toy.config import Config
    from toy.search import __main__ as search
    from toy.search import propose, runner
    from toy.search.design import Arm, Cell, Experiment

    config = Config(width=8, layers=1, batch=8, steps=8, d_steps=1, d_ahead=3, samples=32, start=1.0, regulariser="r1")
    arms = [Arm("gan"), Arm("summed")]
    searched = Experiment("small", "Does it run?", lambda: [Cell("ring", {}, config, arms)], (1,))
    recipe = dataclasses.replace(DIGITS, couplings=("gan",), seeds=1, width=4, latent=4, batch=8, images=80)
    rounds = [(owner, name, 4) for owner in (propose, runner) for name in ("FIRST", "LATER")]
    first = dict([*snapshot.CASES.items()][:1])
    return {
        "toy.run --animate": Case(toy.main, f"{TOY} --animate DISK/film.gif", "run"),
        "toy.search": Case(
            search.main,
            "small --seeds 3 --tuning-seeds 1 --processes 1 --out DISK/out --cache DISK/cache",
            patches=[
                (search, "EXPERIMENTS", {"small": searched}),
                *rounds,
            ],
        ),
        "images.train, cache": Case(train.main, f"{IMAGES} --cache DISK/cache", "run"),
        "images.tune": Case(
            tune.main,
            "--recipe digits --out DISK/tune --into DISK/results --cache INPUTS/cache --processes 1",
            patches=[(tune, "RATES", (1.0,)), (tune, "SEEDS", (1000, 1001)), (tune, "RECIPES", {"digits": recipe})],
        ),
        "theory.claims.snapshot": Case(
            snapshot.main,
            "--out DISK/results",
            patches=[
                (snapshot, "ledger", lambda: ledger()[:2]),
                (snapshot, "CASES", first),
            ],
        ),
        "theory.accuracy": Case(accuracy.main, "--law sphere --json DISK/accuracy.json"),
        "figures": Case(figures.main, "--only published --out DISK --processes 1"),
        "figures.notebooks": Case(notebooks.main, "--only published --out DISK"),
        "figures.docs": Case(docs.main, "--out DISK/site"),
        "figures.report": Case(
            report.main,
            "--html DISK/paper.html",
            patches=[(findings, "FINDINGS", "DISK/FINDINGS.md"), (report, "DOCUMENT", "DISK/paper_repro.md")],
        ),
    }


def inputs(directory: Path) -> None:
    """What the commands read: archives, a finished run, the cached classifier of digits."""
    cases = cheap()
    for name in ("images.train", "images.data"):
        assert dataclasses.replace(cases[name], run=None)(directory, directory) == 0
