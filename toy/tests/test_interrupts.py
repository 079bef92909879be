"""Ctrl-C while workers start, and where Python drops what a signal's handler raises."""

import contextlib
import signal
import subprocess
import sys
import time

import joblib
import pytest

from toy.jobs.interrupts import closing
from toy.sweep import pool

HELD = """
import os, signal, subprocess, sys
from toy.interrupts import held
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
try:
    with held():
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


def test_a_ctrl_c_that_is_dropped_ends_the_work_when_the_next_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(*_: object):
        with contextlib.suppress(KeyboardInterrupt):  # as in a finaliser
            signal.raise_signal(signal.SIGINT)
        yield from ((0, None), (1, None))

    monkeypatch.setattr(pool.joblib, "Parallel", lambda **_: outcomes)
    before = signal.getsignal(signal.SIGINT)
    ended = pool.run([])
    assert next(ended) == (0, None)
    with pytest.raises(KeyboardInterrupt):
        next(ended)
    assert signal.getsignal(signal.SIGINT) == before


def test_work_that_is_given_up_says_nothing(recwarn: pytest.WarningsRecorder) -> None:
    slow = joblib.Parallel(n_jobs=2, backend="threading", return_as="generator_unordered", batch_size=1)
    with closing(slow(joblib.delayed(time.sleep)(0.2 * (i > 0)) for i in range(4))) as outcomes:
        assert next(outcomes) is None
    assert not [warning for warning in recwarn if "cancelled" in str(warning.message)]
