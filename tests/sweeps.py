"""Small experiments, and `python -m tests.sweeps`: the command line of toy.sweep with these in place of its own."""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np

from theory.common.commandline import run
from toy.config import Config
from toy.sweep import __main__ as sweep
from toy.sweep.design import Arm, Cell, Experiment

CONFIG = Config(width=8, layers=1, batch=8, steps=20, d_ahead=5, samples=16, start=1.0)
RATES = (1e-3, 1e-2)


def cells(quick: bool, config: Config = CONFIG, rates: tuple[float, ...] = RATES) -> list[Cell]:
    """Two discriminator step counts; one without --quick's cut."""
    arms = [Arm("gan", rates=rates)]
    arms += [Arm("summed", {"every": k}, (0.01, 0.1), rates) for k in (1, 4)]
    counts = (1,) if quick else (1, 2)
    return [Cell(f"{n} steps", {"d_steps": n}, dataclasses.replace(config, d_steps=n), arms) for n in counts]


def long(quick: bool) -> list[Cell]:
    """The same with jobs of a quarter of a second or more, during which a process can be killed."""
    return cells(quick, dataclasses.replace(CONFIG, steps=150, width=64, samples=64))


def diverging(quick: bool) -> list[Cell]:
    """One of the learning rates is too large for anything."""
    return cells(quick, rates=(1e-3, 1e30))


def broken(quick: bool) -> list[Cell]:
    """Beside two sound arms one diverges at every rate and another cannot be trained."""
    (cell,) = cells(True)
    arms = [
        *cell.arms[:2],
        Arm("bounded", {}, (0.1,), (1e30, 2e30)),
        Arm("summed", {"dim": 1}, (0.1,)),
    ]
    return [dataclasses.replace(cell, arms=arms)]


def idle(quick: bool) -> list[Cell]:
    """An arm whose option has no effect beside a flow."""
    arms = [Arm("gan", rates=RATES), Arm("summed", {"latent": 5}, (0.1,), RATES)]
    return [Cell("flow", {}, dataclasses.replace(CONFIG, generator="flow"), arms)]


def idle_key(quick: bool) -> list[Cell]:
    """A key of a cell that has no effect beside a VAE."""
    config = dataclasses.replace(CONFIG, generator="vae", loss="hinge")
    return [Cell("vae", {"loss": "hinge"}, config, [Arm("gan", rates=RATES)])]


def own(quick: bool) -> list[Cell]:
    """Distribution and loss of the user's file, which $OWN names."""
    parts = {"manifold": f"{os.environ['OWN']}:ring", "loss": f"{os.environ['OWN']}:loss"}
    return cells(True, dataclasses.replace(CONFIG, **parts), rates=(1e-3,))


def radius(config: Config, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Mean norm of the samples of each seed."""
    return {"radius": np.linalg.norm(samples, axis=-1).mean(-1)}


def nothing(config: Config, samples: np.ndarray) -> dict[str, np.ndarray]:
    """A measure that gives NaN."""
    return {"radius": np.full(len(samples), np.nan)}


EXPERIMENTS = {
    "small": Experiment("small", "Does it run?", cells),
    "long": Experiment("long", "Does it survive?", long, measure="tests.sweeps:radius"),
    "diverging": Experiment("diverging", "Is what diverges left out?", diverging),
    "idle": Experiment("idle", "Is it refused?", idle),
    "idle-key": Experiment("idle-key", "Is it refused?", idle_key),
    "broken": Experiment("broken", "Does the rest go on?", broken),
    "measured": Experiment("measured", "Is it measured?", cells, {"radius": "lower"}, measure="tests.sweeps:radius"),
    "own": Experiment("own", "Do workers run the user's file?", own),
    "nan": Experiment("nan", "Is it seen?", cells, {"radius": "lower"}, measure="tests.sweeps:nothing"),
}


def main() -> int:
    sweep.EXPERIMENTS.clear()
    sweep.EXPERIMENTS.update(EXPERIMENTS)
    return run(sweep.main)


if __name__ == "__main__":
    sys.exit(main())
