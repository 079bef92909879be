"""A forked command is what a new interpreter would make of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.processes import Forked, forked, python

SCRIPT = """
import atexit, os, sys
atexit.register(print, "the end")
print(__name__, sys.argv, os.getcwd(), os.environ.get("GIVEN"), sys.stdin.read(), sys.path[0] in ("", os.getcwd()))
print("told", file=sys.stderr)
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "sys.exit('no')", "os._exit(5)", "os.kill(os.getpid(), 9)"])
def test_as_a_new_interpreter(end: str, tmp_path: Path) -> None:
    environment = {**os.environ, "GIVEN": "1", "PYTHONUNBUFFERED": "1"}
    given = ("-c", SCRIPT + end, "a", tmp_path)
    found = forked(*given, cwd=tmp_path, env=environment)
    assert found == python(*given, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL)
    assert found.err.startswith("told\n")


def test_a_module_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import sys\nif __name__ == '__main__':\n    print(sys.argv[1:], __spec__.name)\n")
    assert forked("-m", "own", "a", cwd=tmp_path) == (0, "['a'] own\n", "")


def test_a_session_of_its_own_ends_with_the_block() -> None:
    with Forked("-c", "import time; print(1, flush=True); time.sleep(600)") as process:
        while process.written()[0] != "1\n":
            assert process.poll() is None
        assert os.getsid(process.pid) == process.pid
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    assert process.returncode == -9
