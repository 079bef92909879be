"""python -m toy: lists the commands of this room, and runs the one that is named."""

from __future__ import annotations

import sys

from theory.common.commandline import dispatch, run

COMMANDS = {
    "run": ("toy.run", "train a GAN with and without the score term, compare, draw and store"),
    "sweep": ("toy.sweep.__main__", "the experiments: tune every arm of every cell, compare over seeds"),
    "search": ("toy.search.__main__", "experiments in which every arm searches equally"),
    "explore": ("toy.explore.__main__", "a page with both gradients at a generated sample, under sliders"),
    "bench": ("toy.bench", "cost and results of a run, as JSON"),
}


def main(arguments: list[str]) -> int:
    return dispatch("toy", COMMANDS, arguments)


def script() -> int:
    """The console script smart-toy."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
