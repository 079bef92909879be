"""Runs tasks in processes of this machine, or in those of a cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import joblib

from theory.common import signals
from theory.common.errors import Failure, Lost, UsageError
from theory.common.processes import children, closing, started
from theory.common.provenance import code
from toy.jobs.progress import duration, repeated
from toy.sweep.cache import Outcome
from toy.sweep.design import Task

PACKAGES = ("theory", "toy")  # whose code decides a job's numbers
ANSWER = 10  # seconds in which a cluster has to answer
LOOK = 2.0  # seconds between two looks at a cluster
SAID = 60.0  # seconds between two lines about a cluster without workers


@contextmanager
def pool(processes: int, cluster: str | None, patience: float = 10.0) -> Iterator[int]:
    """The number of processes in which `run` runs tasks within the block.

    Args:
        patience: minutes that a cluster may be without workers.

    Raises:
        UsageError: no scheduler answers at the cluster's address, it has no workers, or its extra is not installed.
        Lost: during the work the scheduler went away, a job killed worker after worker, or there were no workers for
            too long.
    """
    if cluster is None:
        with children(), joblib.parallel_config(n_jobs=processes):
            yield processes
        return
    try:
        from distributed import Client, KilledWorker
        from distributed.client import FutureCancelledError
    except ImportError:
        raise UsageError("--cluster needs the extra cluster: pip install 'smart-verified[cluster]'") from None
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what goes wrong is told in one line
    try:
        client = Client(cluster, timeout=ANSWER, set_as_default=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"no dask scheduler answers at --cluster {cluster}: {error}") from None
    with client, joblib.parallel_config(backend="dask"):
        cores = sum(client.ncores().values())
        if not cores:
            raise UsageError(f"the dask scheduler at --cluster {cluster} has no workers")
        watch = Watch(lambda: len(client.ncores()), patience, lambda: client.status in ("closing", "closed"))
        try:
            with repeated(watch.look, LOOK):
                yield cores
        except (KeyboardInterrupt, Exception) as error:
            gone = watch.gone() or isinstance(error, FutureCancelledError | KilledWorker)
            if isinstance(error, Failure) or not (watch.given_up or gone):
                raise
            away = watch.gone() or "scheduler-connection-lost" in str(error)
            why = "its scheduler went away" if away else " ".join(str(error).split())
            said = f"was lost: {why}" if gone else f"had no workers for {patience:g} minutes (--patience)"
            lost = Lost(f"the cluster at {cluster} {said}")
            for note in getattr(error, "__notes__", ()):
                lost.add_note(note)
            raise lost from None


class Watch:
    """Looks whether a cluster has workers: without any it says so each minute, and interrupts when it is enough, or at
    once when the scheduler went away.

    Args:
        workers: how many there are.
        patience: minutes.
        gone: whether the scheduler went away for good.
    """

    def __init__(self, workers: Callable[[], int], patience: float, gone: Callable[[], bool] = lambda: False):
        self.workers, self.patience, self.gone = workers, patience, gone
        self.alone: float | None = None  # since when
        self.said = 0.0
        self.given_up = False

    def look(self) -> None:
        if self.gone() and not self.given_up:
            self.give_up()
        try:
            found = self.workers()
        except Exception:  # it does not answer now
            return
        now = time.monotonic()
        if found:
            self.alone = None
            return
        if self.alone is None:
            self.alone = self.said = now
        if now - self.alone >= 60 * self.patience and not self.given_up:
            self.give_up()
        elif now - self.said >= SAID:
            self.said = now
            waited = duration(now - self.alone)
            print(f"the cluster has had no workers for {waited}; waiting for one", file=sys.stderr, flush=True)

    def give_up(self) -> None:
        """Interrupts the work."""
        self.given_up = True
        os.kill(os.getpid(), signal.SIGINT)


def run(tasks: Sequence[Any], work: Callable[[int, Any], tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yields work(index, task), (index, outcome), as they end, each once; they begin in the order given.

    Raises:
        KeyboardInterrupt: at a request to stop, at the latest when the next task ends.
    """
    asked: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        asked.append(number)  # where a finaliser runs, Python drops the exception
        raise signals.interruption(number)

    with signals.handled(interrupt):
        with started():
            outcomes = joblib.Parallel(return_as="generator_unordered", batch_size=1)(
                joblib.delayed(checked)(code(*PACKAGES), work, index, task) for index, task in enumerate(tasks)
            )
        with closing(outcomes):
            for outcome in outcomes:
                yield outcome
                if asked:
                    raise signals.interruption(asked[0])


def checked(
    wanted: dict[str, str | None], work: Callable[[int, Any], tuple[int, Any]], index: int, task: Any
) -> tuple[int, Any]:
    """work(index, task), in a worker whose code is that of the process that asks.

    Raises:
        Lost: it is another; the message says where, and in what it differs.
    """
    here = code(*PACKAGES)
    if here != wanted:
        parts = [
            "its code" if name == "code" else f"{name} is {here.get(name)} there, {value} here"
            for name, value in wanted.items()
            if here.get(name) != value
        ]
        where = f"process {os.getpid()} of {socket.gethostname()}"
        raise Lost(f"a worker differs, {where}: {'; '.join(parts)}; its numbers would be others: install the same")
    return work(index, task)


def finish(index: int, task: Task) -> tuple[int, Outcome]:
    """(index, outcome): in a worker, which imports torch, trains, evaluates and measures. A failure is an outcome."""
    from theory.common.errors import Diverged

    begun = time.thread_time()
    try:
        import toy.jobs.worker  # noqa: F401

        begun = time.thread_time()  # a process imports torch once: that is no job's
        return index, Outcome(values(task), time.thread_time() - begun)
    except Diverged as error:
        return index, Outcome({}, time.thread_time() - begun, str(error))
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return index, Outcome({}, time.thread_time() - begun, message, crashed=True)


def values(task: Task) -> dict[str, list[float]]:
    """The last value of each metric for each seed.

    Raises:
        Diverged: it did. ValueError: a measured value is NaN or infinite. Whatever training and measuring raise.
    """
    import math
    from pkgutil import resolve_name

    from toy.jobs.board import NoBoard
    from toy.jobs.worker import work

    result = work(task.job, 0, NoBoard())
    if result.failure is not None:
        raise result.failure
    found = {name: values for step, name, values in result.records if step == task.job.config.steps}
    if task.measure is not None:
        for name, measured in resolve_name(task.measure)(task.job.config, result.samples).items():
            found[name] = [float(value) for value in measured]
            if len(found[name]) != len(task.job.seeds) or not all(map(math.isfinite, found[name])):
                raise ValueError(f"{task.measure} must give a finite {name} for each seed; gave {found[name]}")
    return found
