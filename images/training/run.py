"""One run: an arm with a seed, trained from its checkpoint or from the start, and its result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from images.draws import EVALUATE
from images.generators.families import augment_of, networks_of
from images.recipes import Recipe, as_dict
from images.training import checkpoint
from images.training.inputs import real_images, score_model
from images.training.parallel import World
from images.training.speed import SLOW, Speed
from images.training.trainer import Trainer
from theory.common.errors import CheckpointError, Diverged, Stopped, out_of_memory
from theory.common.logs import Log
from theory.common.seeds import generator, one_thread
from theory.common.terminal import console

Record = tuple[int, str, float]  # (step, metric, value)
Retry = tuple[int, int]  # (the step after which the run diverged, the step to which it went back)
FRAMES = 12  # of an interpolation
SHOWN = 10  # images a class, or a row, of the grids


@dataclass(frozen=True)
class Job:
    """The configuration of one run."""

    recipe: Recipe
    coupling: str
    seed: int
    directory: Path
    cache: Path
    data: Path | None = None
    device: str = "cpu"
    workers: int = 0
    """Processes that read images of an archive ahead."""
    speed: Speed = SLOW

    @property
    def name(self) -> str:
        return f"{self.coupling}-{self.seed}"

    @property
    def checkpoint(self) -> Path:
        return self.directory / self.name / "checkpoint.pt"


@dataclass(frozen=True)
class Result:
    """A finished run: its records, and its averaged generator's images [n, c, h, w] with their labels."""

    job: Job
    records: list[Record]
    samples: np.ndarray
    labels: np.ndarray | None
    interpolation: np.ndarray  # [rows, FRAMES, c, h, w]
    retries: list[Retry] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)


def trainer_of(job: Job, world: World | None = None) -> Trainer:
    """The trainer of a run at its first step.

    Raises:
        ValueError, OSError: the data or the score model is not there, or does not fit the recipe.
    """
    data = real_images(job.recipe, job.data, job.cache)
    score = None
    if job.coupling != "gan":
        score = score_model(job.recipe, data, job.cache, job.device, job.data)
    recipe = job.recipe.arm(job.coupling)
    known = job.device, world, augment_of(recipe), job.workers, job.speed
    return Trainer(recipe, job.coupling, job.seed, networks_of, data, score, *known)


@one_thread()
def result_of(
    job: Job,
    world: World | None = None,
    report: Callable[[int], None] | None = None,
    asked: Callable[[], bool] = lambda: False,
    logs: Sequence[Log] = (),
) -> Result:
    """The result of training to the recipe's end, from the checkpoint if there is one. Saves checkpoints on the way.

    On one thread: on a CPU sums depend on the number of threads, and the bits of a run must not.

    Args:
        report: called with the number of steps taken, after each.
        asked: whether to stop, after each step; under torchrun it is enough that one process is.
        logs: told every evaluation, those of before the checkpoint first; see `theory.common.logs`.

    A run that diverged goes back to its last sound checkpoint and takes other random numbers, at most `retry` times.

    Raises:
        Diverged, OutOfMemory, CheckpointError, ValueError, OSError.
    """
    from images.metrics.during_training import measures  # loads torchmetrics

    begin = cpu_seconds()
    world = world or World()
    trainer = trainer_of(job, world)
    records: list[Record] = []
    retries: list[Retry] = []
    if job.checkpoint.exists():
        content = loaded(job, job.checkpoint)
        records = restored(trainer, content, job.checkpoint)
        retries = [tuple(retry) for retry in content["retries"]]
        if report is not None:
            report(trainer.at)
    tell(logs, job, records)
    job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    recipe = job.recipe
    judge = measures(recipe, job.cache, None if job.data is None else trainer.data)
    while trainer.at < recipe.steps:
        try:
            trainer.step()
        except Diverged as error:
            if len(retries) >= recipe.retry:
                raise
            diverged, known = trainer.at, sound(job)
            if known is None:
                trainer = trainer_of(job, world)
            records = [] if known is None else restored(trainer, known, job.checkpoint)
            retries.append((diverged, trainer.at))
            trainer.retry = len(retries)
            if world.leads:
                said = f"{error}; retry {trainer.retry} of {recipe.retry}, from step {trainer.at} with other noise"
                console(stderr=True).print(said, soft_wrap=True)
            continue
        last = trainer.at == recipe.steps
        if trainer.at % recipe.evaluate_every == 0 or last:
            new = [(trainer.at, name, value) for name, value in trainer.losses.items()]
            if world.leads:
                found = judge(*samples(trainer, judge.n), last)
                new += [(trainer.at, name, value) for name, value in found.items()]
            records += new
            tell(logs, job, new)
        stops = world.any(asked()) and not last
        if (trainer.at % recipe.save_every == 0 or last or stops) and world.leads:
            save(job, trainer, records, retries)
        if report is not None:
            report(trainer.at)
        if stops:
            world.wait()
            raise Stopped("stopped")
    world.wait()
    x, labels = samples(trainer, judge.n)
    numbers = None if labels is None else labels.numpy()
    return Result(job, records, x.numpy(), numbers, interpolation(trainer).numpy(), retries, cpu_seconds() - begin)


def tell(logs: Sequence[Log], job: Job, records: Sequence[Record]) -> None:
    for log in logs if records else ():
        log(job.coupling, (job.seed,), [(step, metric, [value]) for step, metric, value in records])


def save(job: Job, trainer: Trainer, records: list[Record], retries: Sequence[Retry] = ()) -> None:
    content = {
        "recipe": as_dict(job.recipe),
        "coupling": job.coupling,
        "seed": job.seed,
        "trainer": trainer.state(),
        "records": [list(record) for record in records],
        "retries": [list(retry) for retry in retries],
    }
    checkpoint.save(job.checkpoint, content)


def loaded(job: Job, path: Path) -> dict[str, Any]:
    """A checkpoint of this run.

    Raises:
        CheckpointError: as `checkpoint.load`, or it is that of another arm or seed.
    """
    content = checkpoint.load(path, as_dict(job.recipe))
    if (content["coupling"], content["seed"]) != (job.coupling, job.seed):
        raise CheckpointError(f"{path} is of {describe(content)}, not of {job.name}")
    return content


def restored(trainer: Trainer, content: dict[str, Any], path: Path) -> list[Record]:
    """The records of a checkpoint, after the trainer went to it.

    Raises:
        CheckpointError: its networks, optimisers or numbers are not those of this trainer.
    """
    try:
        with warnings.catch_warnings(action="error"):
            trainer.load(content["trainer"])
    except Exception as error:  # whatever torch makes of what is no state of these networks and optimisers
        if out_of_memory(error):
            raise
        why = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} is of other networks, or another version: {why}") from None
    return [tuple(record) for record in content["records"]]


def finite(content: dict[str, Any]) -> bool:
    """Whether all parameters of a checkpoint are: a loss tells that they are not one step later."""
    networks = (content["trainer"][name] for name in ("g", "d", "average"))
    return all(bool(value.isfinite().all()) for network in networks for value in network.values())


def sound(job: Job) -> dict[str, Any] | None:
    """The last checkpoint of this run whose parameters are finite; None: there is none, and it starts anew."""
    for path in (job.checkpoint, checkpoint.previous(job.checkpoint)):
        if path.exists() and finite(content := loaded(job, path)):
            return content
    return None


def samples(trainer: Trainer, n: int) -> tuple[Tensor, Tensor | None]:
    """n images of the averaged generator, the classes in turn; the same latents at every call."""
    recipe = trainer.recipe
    z = torch.randn(n, recipe.latent, generator=generator(trainer.seed, EVALUATE))
    labels = torch.arange(n) % recipe.classes if recipe.classes else None
    return trainer.sample(z, labels), labels


def interpolation(trainer: Trainer) -> Tensor:
    """From one latent to another on the great circle, a class a row.   [rows, FRAMES, c, h, w]"""
    recipe = trainer.recipe
    rows = min(SHOWN, recipe.classes or 4)
    first, last = torch.randn(2, rows, 1, recipe.latent, generator=generator(trainer.seed, EVALUATE, 1))
    t = torch.linspace(0, torch.pi / 2, FRAMES)[:, None]
    z = first * t.cos() + last * t.sin()  # [rows, FRAMES, latent]
    labels = torch.arange(rows).repeat_interleave(FRAMES) if recipe.classes else None
    x = trainer.sample(z.reshape(rows * FRAMES, -1), labels)
    return x.view(rows, FRAMES, *x.shape[1:])


def cpu_seconds() -> float:
    """Of this process so far."""
    spent = os.times()
    return spent.user + spent.system


def describe(content: dict[str, Any]) -> str:
    return f"{content['coupling']}, seed {content['seed']}, step {content['trainer']['at']}"
