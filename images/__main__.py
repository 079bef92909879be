"""python -m images: lists the commands of this room, and runs the one that is named."""

from __future__ import annotations

import sys

from theory.common.commandline import dispatch, run

COMMANDS = {
    "train": ("images.train", "train GANs with and without the score term, compare, draw and store"),
    "ranks": ("images.ranks", "torchrun for train and sample, of which an end is told in one line"),
    "data": ("images.data", "make an archive of images from digits, photos, CIFAR10 or a folder"),
    "sample": ("images.sample", "write images of a trained generator"),
    "evaluate": ("images.evaluate", "distances between samples and real images: FID, KID, precision, recall"),
    "scores": ("images.scores", "describe a diffusion checkpoint and denoise with it"),
    "compare": ("images.compare.__main__", "arms searched equally and compared on fresh seeds, on small images"),
    "plan": ("images.plan.__main__", "parameters, FLOPs, memory and hours of a recipe, without training"),
    "table": ("images.table", "published FIDs beside ours"),
    "tune": ("images.tune", "the best learning rate and weight of each arm on digits"),
    "publish": ("images.publish", "store the results of a finished run as small files"),
    "gpucheck": (
        "images.gpucheck",
        "what one GPU shows in minutes: tests, a step of every recipe, bf16, a training",
    ),
    "bench": ("images.bench.__main__", "time and memory against diffusers, and the cost of the score term"),
}


def main(arguments: list[str]) -> int:
    return dispatch("images", COMMANDS, arguments)


def script() -> int:
    """The console script smart-images."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
