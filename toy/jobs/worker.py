"""What one process does: train one arm on one stack of seeds, saving as it goes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from theory.common.errors import Diverged, Stopped
from theory.manifolds import Law
from toy.jobs.board import Board
from toy.jobs.job import Job, Result
from toy.metrics import Reference
from toy.training import checkpoint
from toy.training.gan import Trainer, Trains, training
from toy.training.likelihood import LikelihoodTrainer

SAVE_EVERY = 5.0  # seconds
GRID, REACH = 21, 1.25  # points an axis of the gradient fields; their extent over that of the data and the start


def work(job: Job, slot: int, board: Board, path: Path | None, draws: bool, stop_on_failure: bool) -> Result:
    """Trains the job to its end, from its state in the checkpoint at `path` if it has one there.

    Evaluates every `eval_every` steps, tells the board, and stops there if the board says so, after saving. With
    `draws` the result has what the picture needs of the start; a job that fails (it diverges, or cannot save) tells
    the others to stop if `stop_on_failure`.

    Raises:
        CheckpointError: as `checkpoint.load`.
    """
    prepare_process()
    parent = os.getppid()
    trainer = trainer_of(job)
    reference = Reference.of(trainer.law, job.seeds, n=job.config.samples)
    saved = checkpoint.load(path, job.config).get(job.key) if path is not None and path.exists() else None
    state: dict[str, Any] = {"records": [], "picture": {}} if saved is None else saved
    if saved is not None:
        trainer.load(saved["trainer"])
    records = state["records"]
    last_save = time.monotonic()
    failure: Diverged | Stopped | OSError | None = None
    try:
        for found in training(trainer, reference):
            if trainer.at == 0 and draws:
                state["picture"] = {name: torch.from_numpy(value) for name, value in fields(trainer).items()}
            if not records or records[-1][0] < trainer.at:
                found |= trainer.gradient_norms()
                records += [(trainer.at, name, values.tolist()) for name, values in found.items()]
            board.tell(slot, trainer.at, found["off_manifold"].mean().item(), found["mean_distance"].mean().item())
            orphaned = in_worker() and os.getppid() != parent
            stopped = board.stopped or orphaned
            finished = trainer.at == job.config.steps
            if path is not None and trainer.at and (stopped or finished or time.monotonic() - last_save > SAVE_EVERY):
                checkpoint.save(path, job.config, job.key, {**state, "trainer": trainer.state()})
                last_save = time.monotonic()
            if orphaned:
                os._exit(1)  # the parent was killed: nobody waits for the result
            if stopped and not finished:
                failure = Stopped("stopped")
                break
    except (Diverged, OSError) as error:
        if stop_on_failure:
            board.stop()
        failure = error
    picture = {name: value.numpy() for name, value in state["picture"].items()}
    return Result(job, records, None if failure else trainer.sample().numpy(), picture, failure)


def trainer_of(job: Job) -> Trains:
    """What trains the job's kind of generator."""
    kind = Trainer if job.config.generator == "gan" else LikelihoodTrainer
    return kind(job.config, job.arm, job.seeds)


def prepare_process() -> None:
    """One thread; freed memory is kept (page faults took a third of a step); Ctrl-C is the parent's to handle."""
    torch.set_num_threads(1)
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**29)  # M_TRIM_THRESHOLD
    if in_worker() and threading.current_thread() is threading.main_thread():  # a cluster's tasks run in another one
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_worker() -> bool:
    """Whether this process was started by another one of this program."""
    return multiprocessing.current_process().name != "MainProcess"


def plane_of(law: Law) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean [d] and the two directions [2, d] in which the law is widest: where the picture is drawn."""
    points = law.sample(4096, torch.Generator().manual_seed(0), dtype=torch.float64)
    if law.dim == 2:
        return torch.zeros(2), torch.eye(2)
    origin = points.mean(0)
    return origin.float(), torch.linalg.svd(points - origin, full_matrices=False)[2][:2].float()


def fields(trainer: Trains) -> dict[str, np.ndarray]:
    """The gradients at a sample, as the direction in which it moves, over a grid in the plane of the law (first seed,
    and first class where there are classes): that of the score term and, where there is one, the adversarial one."""
    origin, plane = plane_of(trainer.law)
    draws = trainer.noise(0)
    start = trainer.generate(draws.latent[-1])[0]
    real = trainer.law.sample(2048, torch.Generator().manual_seed(0))
    extent = REACH * max(((points - origin) @ plane.T).abs().max().item() for points in (start, real))
    axis = torch.linspace(-extent, extent, GRID)
    grid = torch.cartesian_prod(axis, axis)
    x = (origin + grid @ plane).expand(len(trainer.seeds), -1, -1).contiguous()
    repeats = 64  # draws of eps a point
    u = torch.linspace(0, 1, repeats).repeat(GRID**2).expand(len(trainer.seeds), -1)
    eps = torch.randn((*u.shape, trainer.law.dim), generator=torch.Generator().manual_seed(1))
    label = None if trainer.term.classes is None else 0
    score = trainer.term.gradient(x.repeat_interleave(repeats, 1), u, eps, label)
    score = score.view(len(trainer.seeds), GRID**2, repeats, -1).mean(2)
    arrays = {
        "real": real,
        "start": start,
        "origin": origin,
        "plane": plane,
        "field_points": grid,
        "field_score": -score[0] @ plane.T,
    }
    if isinstance(trainer, Trainer):
        arrays["field_adversarial"] = -trainer.adversarial_gradient(x, label)[0] @ plane.T
    return {name: value.numpy() for name, value in arrays.items()}
