"""The work of one process: trains one arm on one stack of seeds, saving its state on the way."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from theory.common.errors import Diverged, Stopped
from toy.config import Arm, Config
from toy.jobs.board import Board
from toy.jobs.job import Job, Result
from toy.metrics import Reference
from toy.pictures.fields import fields
from toy.training import checkpoint
from toy.training.gan import Trainer, Trains, training
from toy.training.likelihood import LikelihoodTrainer

SAVE_EVERY = 5.0  # seconds


def work(job: Job, slot: int, board: Board, path: Path | None, draws: bool, stop_on_failure: bool) -> Result:
    """Trains the job to its end, from its state in the checkpoint at `path` if it has one there.

    Evaluates every `eval_every` steps, writes to the board, and stops there after saving if the board says so.
    With `draws` the result has the gradient fields of the start; a job that fails (it diverges, or cannot save) tells
    the others to stop if `stop_on_failure`.

    Raises:
        CheckpointError: as `checkpoint.load`.
    """
    prepare_process()
    parent = os.getppid()
    trainer = trainer_of(job.config, job.arm, job.seeds)
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
                os._exit(1)  # the parent was killed: the result has no reader
            if stopped and not finished:
                failure = Stopped("stopped")
                break
    except (Diverged, OSError) as error:
        if stop_on_failure:
            board.stop()
        failure = error
    picture = {name: value.numpy() for name, value in state["picture"].items()}
    return Result(job, records, None if failure else trainer.sample().numpy(), picture, failure)


def trainer_of(config: Config, arm: str, seeds: Sequence[int], settings: Sequence[Arm] | None = None) -> Trains:
    """What trains this kind of generator; `settings`: see `Trainer`."""
    kind = Trainer if config.generator == "gan" else LikelihoodTrainer
    return kind(config, arm, seeds, settings)


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
