"""Ctrl-C while workers start, and joblib's processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import joblib
import pytest

from theory.common import processes
from theory.common.processes import children, clear_shared_memory, closing, started
from theory.common.signals import REQUESTS, end_with_parent

ROOT = Path(__file__).parents[2]
HELD = """
import os, signal, subprocess, sys
from theory.common.processes import started
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
try:
    with started():
        child = subprocess.Popen([sys.executable, "-c", "input(); print('alive')"], stdin=-1, stdout=-1, text=True)
        os.kill(os.getpid(), signal.SIGINT)
        print("in the block", flush=True)
    print("lost")
except KeyboardInterrupt:
    print("raised after it")
child.send_signal(signal.SIGINT)
print(child.communicate("go\\n")[0].strip())
"""


def test_a_ctrl_c_waits_for_the_end_and_spares_who_was_started() -> None:
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no thread that takes it at once
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, cwd=ROOT, env=alone)
    assert done.stdout.splitlines() == ["in the block", "raised after it", "alive"], done.stderr


WORKERS = """
import signal
import joblib
from theory.common.processes import started


def blocked(_):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


with started():
    print(set(joblib.Parallel(n_jobs=2)(joblib.delayed(blocked)(i) for i in range(4))))
print(blocked(0), {*joblib.Parallel(n_jobs=2)(joblib.delayed(blocked)(i) for i in range(4))})
"""


def test_no_ctrl_c_reaches_workers_that_still_import() -> None:
    """Joblib's own processes too, the first that it starts in a program."""
    done = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["{True}", "False {True}"], done.stderr


@pytest.mark.parametrize("first", [set(), {signal.SIGUSR1}], ids=["none", "another"])
def test_the_block_holds_requests_and_leaves_the_mask_as_it_was(
    first: set[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a tracker, as Python's own does, unblocks them, and where the block raises."""
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    called: list[set[int]] = []

    def unblock() -> None:
        called.append(signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS))

    for tracker in (resource_tracker, loky_tracker):
        monkeypatch.setattr(tracker, "ensure_running", unblock)
    before = signal.pthread_sigmask(signal.SIG_SETMASK, first)
    try:
        with suppress(ZeroDivisionError), started():
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {*first, *REQUESTS}
            raise ZeroDivisionError
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == first
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert len(called) == 2
    assert called[0] == {*first, *REQUESTS}  # they are blocked while a tracker starts


def test_work_that_is_given_up_gives_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    slow = joblib.Parallel(n_jobs=2, backend="threading", return_as="generator_unordered", batch_size=1)
    with closing(slow(joblib.delayed(time.sleep)(0.2 * (i > 0)) for i in range(4))) as outcomes:
        assert next(outcomes) is None
    assert not [warning for warning in recwarn if "cancelled" in str(warning.message)]


def test_outcomes_are_closed_however_the_block_ends() -> None:
    closed: list[bool] = []

    def outcomes():
        try:
            yield from range(3)
        finally:
            closed.append(True)

    given = outcomes()
    with suppress(ZeroDivisionError), closing(given) as found:
        assert found is given
        next(found)
        raise ZeroDivisionError
    assert closed == [True]


def test_joblib_s_processes_end_with_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    config = joblib.parallel_config

    def keep(**keys: object):
        given.update(keys)
        return config(**keys)

    monkeypatch.setattr(joblib, "parallel_config", keep)
    with children():
        assert given == {"backend": "loky", "initializer": end_with_parent, "initargs": (os.getpid(),)}
    assert processes.end_with_parent is end_with_parent


def test_what_processes_that_are_gone_shared_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Semaphores, and folders that are empty; those of processes that run, and what is not joblib's, stay."""
    monkeypatch.setattr(processes, "SHARED", tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f"joblib_memmapping_folder_{pid}_a_b" for pid in (gone.pid, os.getpid(), "x")]
    full = f"joblib_memmapping_folder_{gone.pid}_c_d"
    for name in (*names, full, f"another_{gone.pid}"):
        (tmp_path / name).mkdir()
    (tmp_path / full / "array").write_text("")
    semaphores = [f"sem.loky-{gone.pid}-a_b", f"sem.loky-{os.getpid()}-c", f"sem.other-{gone.pid}-d"]
    for name in semaphores:
        (tmp_path / name).write_text("")
    clear_shared_memory()
    stay = {*names[1:], full, f"another_{gone.pid}", *semaphores[1:]}
    assert {path.name for path in tmp_path.iterdir()} == stay
