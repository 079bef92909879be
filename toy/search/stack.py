"""Trains a round of settings in stacks, [setting x seed] one batch axis, and stops the worse half on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from toy.config import Arm, Config
from toy.jobs.worker import trainer_of
from toy.metrics import Reference
from toy.noised import divergences
from toy.training.gan import Trains

RUNGS = (0.25, 0.5)  # shares of the steps at which the worse half of the settings is stopped
ROWS = 8192  # rows trained in one stack, times width: what is fastest on the processors measured (toy.bench)


@dataclass
class Running:
    """Settings that are trained in one stack, each on all seeds: rows setting by setting."""

    places: list[int]
    trainer: Trains

    def keep(self, kept: set[int], seeds: int) -> Running | None:
        """What is left of it; None where nothing is."""
        left = [at for at, place in enumerate(self.places) if place in kept]
        if len(left) == len(self.places):
            return self
        rows = [at * seeds + s for at in left for s in range(seeds)]
        return Running([self.places[at] for at in left], self.trainer.take(rows)) if left else None


def search_round(
    config: Config, arm: str, settings: Sequence[Arm], seeds: Sequence[int], rungs: Sequence[float] = RUNGS
) -> list[tuple[float, list[float]]]:
    """Of each setting: the share of the steps that it was trained for, and its number on each seed (inf: diverged).

    Successive halving (Jamieson and Talwalkar 2016): at each of `rungs` the worse half of the settings is stopped, by
    the mean over seeds.
    """
    size = max(1, ROWS // (config.width * len(seeds)))
    blocks = [list(range(i, min(i + size, len(settings)))) for i in range(0, len(settings), size)]
    running = [Running(block, started(config, arm, [settings[i] for i in block], seeds)) for block in blocks]
    found: dict[int, tuple[float, list[float]]] = {}
    for share in (*rungs, 1.0):
        for part in running:
            train_to(part.trainer, round(share * config.steps))
            numbers = numbers_of(part.trainer, seeds, config.samples if share == 1 else config.samples // 2)
            for at, place in enumerate(part.places):
                found[place] = share, numbers[at * len(seeds) : (at + 1) * len(seeds)]
        if share < 1:
            ranked = sorted((p for part in running for p in part.places), key=lambda p: sum(found[p][1]))
            kept = set(ranked[: math.ceil(len(ranked) / 2)])
            running = [left for part in running if (left := part.keep(kept, len(seeds))) is not None]
    return [found[place] for place in range(len(settings))]


def started(config: Config, arm: str, settings: Sequence[Arm], seeds: Sequence[int]) -> Trains:
    """A stack at its start: each setting on all seeds, the discriminators trained ahead."""
    rows = [setting for setting in settings for _ in seeds]
    trainer = trainer_of(config, arm, tuple(seeds) * len(settings), rows)
    trainer.train_ahead()
    return trainer


def train_to(trainer: Trains, step: int) -> None:
    while trainer.at < step:
        trainer.step()


def numbers_of(trainer: Trains, seeds: Sequence[int], count: int) -> list[float]:
    """What a search selects by, of each row: `kl`, the mean of the noised divergences both ways; inf: it diverged.

    Args:
        count: samples of each row.
    """
    samples = trainer.sample()[:, :count]
    found = []
    for block, diverged in zip(samples.split(len(seeds)), trainer.diverged.split(len(seeds)), strict=True):
        finite = block.isfinite().all(-1).all(-1) & ~diverged
        numbers = torch.stack(
            list(divergences(trainer.law, torch.where(finite[:, None, None], block, 0), seeds).values())
        )
        found += [x if ok else math.inf for x, ok in zip(numbers.mean(0).tolist(), finite.tolist(), strict=True)]
    return found


def compare_round(config: Config, arm: str, setting: Arm, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Every metric at the end of training with one setting on fresh seeds; NaN of a seed that diverged."""
    found: dict[str, list[float]] = {}
    size = max(1, ROWS // config.width)
    for block in (seeds[i : i + size] for i in range(0, len(seeds), size)):
        trainer = started(config, arm, [setting], block)
        train_to(trainer, config.steps)
        record = trainer.evaluate(Reference.of(trainer.law, block, n=config.samples)) | trainer.gradient_norms()
        for name, values in record.items():
            found.setdefault(name, []).extend(values.tolist())
    return found
