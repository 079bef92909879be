"""Ctrl-C while workers start, and where Python drops the exception of a signal handler."""

import contextlib
import signal
import subprocess
import sys
import time

import joblib
import pytest

from theory.common.processes import closing
from toy.sweep import pool

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
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True)
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
    done = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["{True}", "False {True}"], done.stderr


def test_a_ctrl_c_that_is_dropped_ends_the_work_when_the_next_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(*_: object):
        with contextlib.suppress(KeyboardInterrupt):  # as in a finaliser
            signal.raise_signal(signal.SIGINT)
        yield from ((0, None), (1, None))

    monkeypatch.setattr(pool.joblib, "Parallel", lambda **_: outcomes)
    before = signal.getsignal(signal.SIGINT)
    ended = pool.run([], pool.finish)
    assert next(ended) == (0, None)
    with pytest.raises(KeyboardInterrupt):
        next(ended)
    assert signal.getsignal(signal.SIGINT) == before


def test_work_that_is_given_up_gives_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    slow = joblib.Parallel(n_jobs=2, backend="threading", return_as="generator_unordered", batch_size=1)
    with closing(slow(joblib.delayed(time.sleep)(0.2 * (i > 0)) for i in range(4))) as outcomes:
        assert next(outcomes) is None
    assert not [warning for warning in recwarn if "cancelled" in str(warning.message)]
