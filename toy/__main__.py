"""python -m toy: lists the commands of this room, and runs the one that is named."""

from __future__ import annotations

import sys

from theory.common.commandline import dispatch, run

COMMANDS = {
    "run": ("toy.run", "train a GAN with and without the score term on a known distribution, compare, draw and store"),
    "sweep": ("toy.sweep.__main__", "the experiments: every arm of every cell tuned, then compared over seeds"),
    "explore": ("toy.explore.__main__", "a page with the gradients on one generated sample, to be changed by sliders"),
    "bench": ("toy.bench", "what a run costs and what it reaches, as JSON"),
}


def main(arguments: list[str]) -> int:
    return dispatch("toy", COMMANDS, arguments)


def script() -> int:
    """The console script smart-toy."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
