"""`python -m` and `python -c` in a process that is forked from one that has imported what takes seconds to import.

A new interpreter needs 3 to 7 seconds of a core until it has imported torch, scipy and pandas. Here one server imports
them, and no module of this project, and every command is forked from it. A test of what an interpreter imports, or of
how it begins or ends, takes a real one: `python` below.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

PRELOADED = [
    "numpy",
    "torch",
    "torch._dynamo",
    "torch.func",
    "scipy.stats",
    "scipy.spatial",
    "pandas",
    "joblib",
    "matplotlib.figure",
]


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Forked:
    """A command that runs; its pid, its end and what it writes as of subprocess.Popen."""

    def __init__(
        self, *arguments: str | Path, cwd: str | Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        context: ForkServerContext = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._written = [tempfile.NamedTemporaryFile("w+", suffix=suffix) for suffix in (".out", ".err")]  # noqa: SIM115
        self.args = [str(argument) for argument in arguments]
        names = [file.name for file in self._written]
        where = str(Path.cwd() if cwd is None else cwd)
        self._process = context.Process(
            target=_become, args=(self.args, where, dict(os.environ if env is None else env), names)
        )
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The status, minus the signal's number, or None while the command runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The status; TimeoutExpired when the command has not ended in so many seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0, *self.written())
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to standard output and error when it has ended."""
        self.wait(timeout)
        return self.written()

    def written(self) -> tuple[str, str]:
        """What it has written until now."""
        out, err = (Path(file.name).read_text() for file in self._written)
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()
        for file in self._written:
            file.close()


def python(*arguments: str | Path, **options) -> Ended:
    """Python in its own process, from its start."""
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)
    return Ended(done.returncode, done.stdout, without_progress(done.stderr))


def forked(*arguments: str | Path, **options) -> Ended:
    """The same in a process that has what takes seconds to import."""
    with Forked(*arguments, **options) as process:
        out, err = process.communicate()
        return Ended(process.wait(), out, without_progress(err))


def alive(group: int) -> bool:
    """Whether a process of the group is."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def without_progress(err: str) -> str:
    """Standard error without the lines of progress, which come where a machine is slow."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("training: "))


def _become(arguments: list[str], directory: str, environment: dict[str, str], names: list[str]) -> None:
    """What the interpreter does with `arguments` in a session, a directory and an environment of its own."""
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate((os.devnull, *names)):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    multiprocessing.current_process().name = "MainProcess"
    sys.path.insert(0, directory)
    kind, what, *rest = arguments
    try:
        if kind == "-m":
            sys.argv = [what, *rest]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [kind, *rest]
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    finally:  # as an interpreter ends; multiprocessing leaves it out
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
