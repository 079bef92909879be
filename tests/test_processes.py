"""Workers that lose a Ctrl-C, have other code, or are gone."""

import contextlib
import os
import signal

import pytest

from theory.common.errors import Lost
from theory.common.provenance import code
from toy.sweep import pool


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


def test_a_worker_with_other_code_is_refused() -> None:
    """One digit of the code, or of a version, is enough; the same is let through."""
    mine = code(*pool.PACKAGES)
    assert pool.checked(mine, lambda index, task: (index, task), 3, "task") == (3, "task")
    for name, says in (("code", "its code"), ("torch", r"torch is [\d.]+\S* there, 0.1 here")):
        with pytest.raises(Lost, match=rf"^a worker differs, process \d+ of .*: {says}; its numbers would be others"):
            pool.checked({**mine, name: "0.1"}, lambda index, task: (index, task), 3, "task")


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


def test_a_scheduler_that_went_away_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, sent = [False], []
    monkeypatch.setattr(pool.os, "kill", lambda *given: sent.append(given))

    def workers() -> int:
        if gone[0]:
            raise OSError("no answer")
        return 1

    watch = pool.Watch(workers, 3.0, lambda: gone[0])
    watch.look()
    assert (sent, watch.given_up) == ([], False)
    gone[0] = True
    watch.look()
    watch.look()
    assert (sent, watch.given_up) == ([(os.getpid(), signal.SIGINT)], True)
