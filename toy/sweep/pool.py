"""Runs tasks in processes of this machine, or in those of a cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import joblib

from theory.common import signals
from theory.common.errors import Lost, UsageError
from theory.common.processes import children, closing, started
from toy.sweep.cache import Outcome
from toy.sweep.design import Task

PATIENCE = 10  # seconds in which a cluster has to answer


@contextmanager
def pool(processes: int, cluster: str | None) -> Iterator[int]:
    """The number of processes in which `run` runs tasks within the block.

    Raises:
        UsageError: no scheduler answers at the cluster's address, it has no workers, or its extra is not installed.
        Lost: during the work the scheduler went away, or a job killed worker after worker.
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
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told in one line
    try:
        client = Client(cluster, timeout=PATIENCE, set_as_default=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"no dask scheduler answers at --cluster {cluster}: {error}") from None
    with client, joblib.parallel_config(backend="dask"):
        cores = sum(client.ncores().values())
        if not cores:
            raise UsageError(f"the dask scheduler at --cluster {cluster} has no workers")
        try:
            yield cores
        except (FutureCancelledError, KilledWorker) as error:
            lost = Lost(f"the cluster was lost: {' '.join(str(error).split())}")
            for note in getattr(error, "__notes__", ()):
                lost.add_note(note)
            raise lost from None


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
                joblib.delayed(work)(index, task) for index, task in enumerate(tasks)
            )
        with closing(outcomes):
            for outcome in outcomes:
                yield outcome
                if asked:
                    raise signals.interruption(asked[0])


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
