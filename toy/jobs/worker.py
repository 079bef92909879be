"""The work of one process: trains one arm on one stack of seeds, saving its state and telling of it on the way."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from theory.common import signals
from theory.common.errors import Diverged, FileError, Stopped
from theory.common.logs import Log, Record, close
from toy.config import Arm, Config
from toy.device import on_cpu
from toy.jobs.board import Board, NoBoard
from toy.jobs.job import Job, Result
from toy.metrics import Reference
from toy.pictures.fields import fields
from toy.training import checkpoint
from toy.training.gan import Trainer, Trains, training
from toy.training.likelihood import LikelihoodTrainer

SAVE_EVERY = 5.0  # seconds
LOOK = 0.2  # seconds between two looks at whether to stop
saving = threading.Lock()  # held while a state is written: the process does not end in the middle


def work(
    job: Job,
    slot: int,
    board: Board | NoBoard,
    path: Path | None = None,
    draws: bool = False,
    stop_on_failure: bool = False,
    logs: Sequence[Log] = (),
) -> Result:
    """Trains the job to its end, from its state in the checkpoint at `path` if it has one there.

    Evaluates every `eval_every` steps and tells the board and the logs, which hear first of the evaluations before
    the state that it begins with. If the board says so, it saves and stops after the step that it is at. With `draws`
    the result has the gradient fields of the start; a job that fails (it diverges, or cannot save) tells the others
    to stop if `stop_on_failure`.

    Raises:
        CheckpointError: as `checkpoint.load`. FileError: an own log that cannot be used.
    """
    prepare_process()
    trainer = trainer_of(job.config, job.arm, job.seeds)
    reference = Reference.of(trainer.law, job.seeds, n=job.config.samples)
    saved = checkpoint.load(path, job.config).get(job.key) if path is not None and path.exists() else None
    state: dict[str, Any] = {"records": [], "picture": {}} if saved is None else saved
    if saved is not None:
        checkpoint.check(Path(path or ""), job.key, saved, trainer.state(), job.config.steps, len(job.seeds))
        trainer.load(saved["trainer"])
    records = state["records"]
    last_save = last_look = time.monotonic()
    failure: Diverged | Stopped | FileError | OSError | None = None

    def stopped() -> bool:
        nonlocal last_look
        due = time.monotonic() - last_look > LOOK
        if due:
            last_look = time.monotonic()
        return due and board.stopped

    def tell(new: Sequence[Record]) -> None:
        for log in logs:
            log(job.arm, job.seeds, new)

    try:
        if records:
            tell(records)
        for found in training(trainer, reference, stopped):
            if trainer.at == 0 and draws:
                state["picture"] = {name: torch.from_numpy(value) for name, value in fields(trainer).items()}
            if found:
                if not records or records[-1][0] < trainer.at:
                    found |= trainer.gradient_norms()
                    new = [(trainer.at, name, values.tolist()) for name, values in found.items()]
                    records += new
                    tell(new)
                board.tell(slot, trainer.at, found["off_manifold"].mean().item(), found["mean_distance"].mean().item())
            stops, finished = board.stopped, trainer.at == job.config.steps
            if path is not None and trainer.at and (stops or finished or time.monotonic() - last_save > SAVE_EVERY):
                with saving:
                    checkpoint.save(path, job.config, job.key, {**state, "trainer": on_cpu(trainer.state())})
                last_save = time.monotonic()
            if stops and not finished:
                failure = Stopped("stopped")
                break
    except (Diverged, FileError, OSError) as error:
        if stop_on_failure:
            board.stop()
        failure = error
    finally:
        close(logs)
    picture = {name: value.numpy() for name, value in state["picture"].items()}
    return Result(job, records, None if failure else trainer.sample().numpy(), picture, failure)


def trainer_of(config: Config, arm: str, seeds: Sequence[int], settings: Sequence[Arm] | None = None) -> Trains:
    """What trains this kind of generator; `settings`: see `Trainer`."""
    kind = Trainer if config.adversarial else LikelihoodTrainer
    return kind(config, arm, seeds, settings)


def prepare_process() -> None:
    """One thread; freed memory is kept (page faults took a third of a step); requests to stop are the parent's to
    handle, and a worker that ends with it (`theory.common.processes.children`) does not end while it saves."""
    torch.set_num_threads(1)
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**29)  # M_TRIM_THRESHOLD
    if in_worker() and threading.current_thread() is threading.main_thread():  # a cluster's tasks run in another one
        for number in signals.REQUESTS:
            signal.signal(number, signal.SIG_IGN)
        if saving.acquire not in signals.before_the_end:
            signals.before_the_end.append(saving.acquire)


def in_worker() -> bool:
    """Whether this process was started by another one of this program."""
    return multiprocessing.current_process().name != "MainProcess"
