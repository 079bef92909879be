"""The host's share of a training step on a GPU: what this process computes for a batch, over the plan's step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from time import process_time

import numpy as np
import torch

from images.datasets import archive, dataset
from images.datasets.dataset import Images, batch_flips, to_float
from images.plan.__main__ import flops_by_part
from images.plan.costs import costs
from images.plan.devices import DEVICES
from images.recipes import RECIPES, Recipe
from images.training.feed import Feed
from images.training.inputs import Pixels
from images.training.parallel import World

NAMES = ("imagenet64", "lsun-bedroom")
DEVICE, GPUS, UTILISATION = "h100", 8, 0.3  # of the plan
STORED, STEPS, WORKERS = 256, 48, 2


def host() -> dict[str, dict[str, float]]:
    """{recipe: {"images", "batch_seconds", "conversion_seconds", "step_seconds", "share"}} of a process that has the
    images of one GPU.

    batch_seconds: this process's own time for a batch, the mean: to receive the pixels that WORKERS processes read
    ahead from an archive of STORED made-up photographs, labels, and flips. Page-locked memory, which a CPU has not, and
    what the calls of kernels take are left out.

    conversion_seconds: of pixels to floats, channels last, on the CPU. On a GPU the device does that, as it draws the
    random numbers: they are not in the share.

    step_seconds: the plan's mean step on GPUS of DEVICE at UTILISATION, an assumption. share: batch_seconds over it.
    """
    found = {}
    for name in NAMES:
        recipe = RECIPES[name]
        (measured, conversion), planned = batch_seconds(recipe), step_seconds(recipe)
        found[name] = {
            "images": recipe.batch // GPUS,
            "batch_seconds": round(measured, 5),
            "conversion_seconds": round(conversion, 5),
            "step_seconds": round(planned, 5),
            "share": round(measured / planned, 5),
        }
    return found


def step_seconds(recipe: Recipe) -> float:
    """The plan's mean step."""
    flops = flops_by_part(recipe, costs(recipe, recipe.couplings[-1], max(2, recipe.together)))["mean step"]
    return flops / GPUS / (DEVICES[DEVICE].flops * UTILISATION)


def batch_seconds(recipe: Recipe, steps: int = STEPS, stored: int = STORED) -> tuple[float, float]:
    """This process's own time to receive a batch, with labels and flips, and to convert it."""
    world, device = World(0, GPUS), torch.device("cpu")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "photographs.zip"
        archive.write(path, photographs(recipe, stored))
        resident, dataset.RESIDENT = dataset.RESIDENT, 0  # as the whole set, too large to be kept
        try:
            data = Pixels(Images.open(path), dataclasses.replace(recipe, classes=min(recipe.classes, 10)), str(path))
        finally:
            dataset.RESIDENT = resident
        feed = Feed(data, 0, recipe.batch, world, device, WORKERS)
        times = []
        for step in range(steps):
            start = process_time()
            pixels, _ = feed.read(step)
            feed.place = step
            batch_flips(0, step, recipe.batch, world.rank, world.size)
            there = process_time()
            to_float(pixels.contiguous(memory_format=torch.channels_last))
            times.append((there - start, process_time() - there))
        feed.close()
    read, converted = zip(*times[steps // 3 :], strict=True)  # the first ones start the workers
    return fmean(read), median(converted)


def photographs(recipe: Recipe, n: int) -> Iterator[tuple[np.ndarray, int | None]]:
    """Smooth colours with noise, which PNG packs about as well as photographs; labels if the recipe has classes."""
    draws, side = np.random.default_rng(0), recipe.resolution
    x = np.linspace(0, 1, side)
    for i in range(n):
        a, b, c, d = draws.uniform(0, 255, (4, 3, 1, 1))
        smooth = (a * (1 - x) + b * x) * (1 - x[:, None]) + (c * (1 - x) + d * x) * x[:, None]
        noisy = smooth + draws.normal(0, 8, smooth.shape)
        yield noisy.clip(0, 255).astype(np.uint8), i % 10 if recipe.classes else None
