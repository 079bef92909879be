"""Ctrl-C while workers start, and where Python drops the exception of a signal handler."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest

from theory.common.errors import Lost
from theory.common.processes import closing
from theory.common.provenance import code
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


def test_a_worker_with_other_code_is_refused() -> None:
    """One digit of the code, or of a version, is enough; the same is let through."""
    mine = code(*pool.PACKAGES)
    assert pool.checked(mine, lambda index, task: (index, task), 3, "task") == (3, "task")
    for name, says in (("code", "its code"), ("torch", r"torch is [\d.]+\S* there, 0.1 here")):
        with pytest.raises(Lost, match=rf"^a worker differs, process \d+ of .*: {says}; its numbers would be others"):
            pool.checked({**mine, name: "0.1"}, lambda index, task: (index, task), 3, "task")


def test_the_code_is_that_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for name, content, test in (("one", "x = 1", "1"), ("two", "x = 1", "2"), ("three", "x = 2", "1")):
        package = tmp_path / name
        (package / "tests").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "a.py").write_text(content)
        (package / "tests" / "b.py").write_text(test)
        link = tmp_path / "package"
        link.unlink(missing_ok=True)
        link.symlink_to(package)
        importlib.invalidate_caches()
        code.cache_clear()
        found.append(code("package")["code"])
    code.cache_clear()
    assert found[0] == found[1] != found[2]  # tests do not count


def test_a_cluster_without_workers_is_told_of_and_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, workers, sent = [0.0], [1], []
    monkeypatch.setattr(pool.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pool.os, "kill", lambda *given: sent.append(given))
    watch = pool.Watch(lambda: workers[0], 3.0)

    def later(seconds: float) -> str:
        now[0] += seconds
        watch.look()
        return capsys.readouterr().err

    assert later(1000) == ""
    workers[0] = 0
    assert later(10) == ""
    assert later(59) == ""
    assert later(2) == "the cluster has had no workers for 61 s; waiting for one\n"
    workers[0] = 2  # one has come back: the time begins anew
    assert later(10) == ""
    workers[0] = 0
    assert [later(60) for _ in range(3)] == [
        "",
        "the cluster has had no workers for 60 s; waiting for one\n",
        "the cluster has had no workers for 2 min; waiting for one\n",
    ]
    assert (sent, watch.given_up) == ([], False)
    later(60)
    assert (sent, watch.given_up) == ([(os.getpid(), signal.SIGINT)], True)
