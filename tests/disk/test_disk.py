"""A disk that becomes full under every command that writes: one line with the path, no partial file, the same bits
afterwards. `python -m tests.disk` does it at 20 sizes of a real file system."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk.cases import cheap
from tests.disk.full import mountable, stopping
from tests.disk.judge import contents, lasting, wrong
from theory.common import files

QUICK = ("theory --json", "images.data", pytest.param("toy.sweep", marks=pytest.mark.slow))


@pytest.mark.parametrize("name", QUICK)
def test_a_full_disk_is_told_in_a_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What Python writes fails after 0 bytes, and after half and nine tenths of what the command writes; with room
    the same command goes on to the same contents."""
    case, whole = cheap()[name], tmp_path / "whole"
    whole.mkdir()
    assert case(whole, tmp_path) == 0
    wanted = contents(whole)
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for n, share in enumerate((0, 0.5, 0.9)):
        disk = tmp_path / str(n)
        disk.mkdir()
        capsys.readouterr()
        with stopping(disk, int(size * share)):
            status = case(disk, tmp_path)
        assert not wrong(status, capsys.readouterr().err, disk)
        assert case(disk, tmp_path) == 0
        assert contents(disk) == wanted


def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    line = f"error: {tmp_path}/a: No space left on device\n"
    assert wrong(1, line, tmp_path) == ""
    assert wrong(0, "", tmp_path).startswith("status 0, 0 lines")
    assert wrong(2, line, tmp_path).startswith("status 2")
    assert wrong(1, line + line, tmp_path).startswith("status 1, 2 lines")
    assert wrong(1, "Traceback (most recent call last)\n" + line, tmp_path).startswith("a traceback")
    assert wrong(1, "error: [Errno 28] No space left on device\n", tmp_path).startswith("no disk and path")
    (tmp_path / ".a.7.partial").touch()
    assert wrong(1, line, tmp_path) == "left: .a.7.partial"
    assert lasting({"seconds": 1, "found": [{"sha256": "x", "value": 2}]}) == {"found": [{"value": 2}]}


def test_the_writer_stops(tmp_path: Path) -> None:
    """After so many bytes below the directory, however they are written; elsewhere it does not."""
    with stopping(tmp_path / "disk", 10):
        (tmp_path / "disk").mkdir()
        (tmp_path / "elsewhere").write_bytes(bytes(100))
        (tmp_path / "disk" / "a").write_text("12345678")
        with pytest.raises(OSError, match="No space left") as found:
            (tmp_path / "disk" / "b").write_bytes(b"123456789")
        assert found.value.errno == errno.ENOSPC
    assert (tmp_path / "disk" / "b").read_bytes() == b"12"
    (tmp_path / "disk" / "b").write_bytes(bytes(100))


# What is written whole or not at all


def test_partial_files_of_others_are_cleared_unless_they_are_being_written(tmp_path: Path) -> None:
    (tmp_path / ".a.csv.77.partial").write_text("what a killed process left")
    (tmp_path / ".mine").write_text("mine")
    with files.replacing(tmp_path / "b.csv") as file:
        file.write(b"1")
        files.clear_partials(tmp_path)
        file.write(b"2")
    assert {path.name for path in tmp_path.iterdir()} == {".mine", "b.csv"}
    assert (tmp_path / "b.csv").read_bytes() == b"12"


def test_a_partial_file_that_is_cleared_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, cleared = files.fcntl.flock, Cleared(tmp_path / ".a.partial")
    monkeypatch.setattr(files.fcntl, "flock", lambda file, how: (cleared(), flock(file, how)))
    with files._unfinished(tmp_path / ".a.partial") as file:
        assert os.fstat(file.fileno()).st_nlink == 1
    assert cleared.times == 2


class Cleared:
    """Removes a file the first time."""

    def __init__(self, path: Path):
        self.path, self.times = path, 0

    def __call__(self) -> None:
        self.times += 1
        if self.times == 1:
            self.path.unlink()


def test_an_error_without_a_file_gets_its_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device: '/x/y'"), files.naming("/x/y"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="'/z'"), files.naming("/x/y"):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/z")


# A real file system


@pytest.mark.slow
def test_small_file_systems_are_survived() -> None:
    """20 sizes under every command."""
    if not mountable():
        pytest.skip("this machine does not let us mount")
    done = subprocess.run([sys.executable, "-m", "tests.disk"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
