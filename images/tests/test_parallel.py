"""The processes that share a batch, where one of them is gone. The store is one in memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch.distributed as dist

from images.ranks import once
from images.training import parallel
from images.training.parallel import SAID, World
from theory.common.errors import Failure, Lost, Stopped, UsageError

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed")


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask of signals stays as it is; nothing waits for long."""
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: set())
    monkeypatch.setattr(parallel, "ANSWER", 0.2)


def broken(rank: int, *others: int) -> None:
    """What a process of four does where a message fails, and these others find the same."""
    world = World(rank, 4, store=dist.HashStore())
    for other in others:
        world.store.set(f"left/{other}", "")
    with world.together():
        raise RuntimeError("Connection closed by peer")


def test_the_first_that_is_left_tells_who_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SAID, str(tmp_path / "said"))
    with pytest.raises(SystemExit) as end:
        broken(3, 1)
    assert (end.value.code, (tmp_path / "said").exists()) == (1, False)
    with pytest.raises(Lost, match=r"^process 0, 2 \(of 0 to 3\) was lost: killed, or out of memory$"):
        broken(1, 3)
    assert (tmp_path / "said").exists()


def test_an_error_of_all_is_their_own() -> None:
    with pytest.raises(RuntimeError, match="Connection closed"):
        broken(0, 1, 2, 3)


class Ends:
    """A main that ends so."""

    def __init__(self, error: Exception):
        self.error = error

    def __call__(self, arguments: list[str]) -> int:
        raise self.error


@pytest.mark.parametrize("error", [UsageError("no such option"), Failure("diverged"), Stopped("stopped")])
def test_what_is_wrong_in_all_is_told_by_the_first(error: Failure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others end silently with its status: they wait until torchrun ends them. One that is not ended tells."""
    main = once(Ends(error))
    for rank in ("", "0"):
        monkeypatch.setenv("RANK", rank or "0")
        with pytest.raises(type(error)):
            main([])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(signal, "sigtimedwait", lambda *_: object())
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == error.status
    monkeypatch.setattr(signal, "sigtimedwait", lambda *_: None)
    with pytest.raises(SystemExit if isinstance(error, Stopped) else type(error)):
        main([])


def test_a_lost_process_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.delattr(signal, "sigtimedwait")
    with pytest.raises(Lost):
        once(Ends(Lost("process 0 was lost")))([])
    assert os.environ["RANK"] == "2"
