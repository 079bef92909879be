"""Requests to stop, in this process; commands that get them are in the tests of toy and images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from theory.common import signals
from theory.common.signals import REQUESTS, Terminated, end_with_parent, handled, interrupt, interruption, status

ROOT = Path(__file__).parents[2]


def test_the_requests_are_those_of_a_person_a_batch_system_and_a_terminal() -> None:
    assert REQUESTS == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_status(number: int, wanted: int) -> None:
    assert status(number) == wanted


def test_each_request_has_its_exception() -> None:
    assert type(interruption(signal.SIGINT)) is KeyboardInterrupt
    for number in (signal.SIGTERM, signal.SIGHUP):
        found = interruption(number)
        assert isinstance(found, Terminated)
        assert found.number == number
        assert str(found) == signal.Signals(number).name
        with pytest.raises(Terminated, match=f"^{signal.Signals(number).name}$"):
            interrupt(number)
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT)


@pytest.fixture
def first() -> Iterator[dict[signal.Signals, object]]:
    """Handlers as a terminal leaves them, SIGHUP's as nohup does; jobs in the background ignore Ctrl-C too."""
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_IGN,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield dict(usual)
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> dict[signal.Signals, object]:
    return {number: signal.getsignal(number) for number in REQUESTS}


def test_in_the_block_requests_are_handled_and_after_it_as_before(first: dict[signal.Signals, object]) -> None:
    """One that was ignored stays ignored; also where the block raises."""
    heard: list[tuple[int, bool]] = []
    with suppress(ZeroDivisionError), handled(lambda number, frame: heard.append((number, frame is not None))):
        for number in REQUESTS:
            os.kill(os.getpid(), number)
            time.sleep(0)  # a handler runs between two statements
        raise ZeroDivisionError
    assert heard == [(signal.SIGINT, True), (signal.SIGTERM, True)]
    assert handlers() == first


def test_in_another_thread_nothing_changes() -> None:
    """Python refuses handlers there."""
    before = handlers()
    found: list[object] = []

    def look() -> None:
        with handled(lambda *_: None):
            found.append(handlers())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


class Ended(Exception):
    pass


def test_a_process_ends_when_its_parent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent's number is looked at again and again; then what waits for the end is called, and the end is at once,
    whatever other threads do."""
    parents = [7, 7, 1]
    told: list[str] = []
    slept: list[float] = []
    ended = threading.Event()

    def leave(code: int) -> None:
        told.append(f"status {code}")
        ended.set()

    monkeypatch.setattr(signals.os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(signals.time, "sleep", slept.append)
    monkeypatch.setattr(signals.os, "_exit", leave)
    monkeypatch.setattr(signals, "before_the_end", [lambda: told.append("first"), lambda: told.append("second")])
    threads: list[threading.Thread] = []
    start = threading.Thread.start

    def begin(thread: threading.Thread) -> None:
        threads.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", begin)
    end_with_parent(7)
    assert ended.wait(10)
    threads[0].join(10)
    assert told == ["first", "second", "status 1"]
    assert slept == [signals.LOOK] * 2
    assert 0 < signals.LOOK < 1
    assert parents == []
    assert threads[0].daemon
    assert threads[0].name == "end with parent"


ORPHAN = """
import os, sys, time
from theory.common.signals import end_with_parent
end_with_parent(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=-1, text=True)
print(child.stdout.readline(), flush=True)
"""


def test_an_orphan_ends() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT, ORPHAN], capture_output=True, text=True, cwd=ROOT, check=True)
    end = time.monotonic() + 20
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
