"""python -m tests.disk: fills a small file system at many sizes under every command that writes, and prints a table.

Each command runs with room first, which says how much it writes. Then the file system has 0, 1/20, 2/20 ... of that.
The command must either end well, or with status 1 and one line that names the disk and the path, without a partial
file. With room, the same command (or its --resume) must then give the same bits. It needs `unshare -rm` and nothing
else: the file systems exist for this process alone. Exit status: 0 if all survived, 1 if not.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.disk.cases import Case, cheap, dear, inputs
from tests.disk.full import INSIDE, PAGE, ROOMY, Tmpfs, mountable
from tests.disk.judge import contents, wrong
from theory.common.checks import choose, whole
from theory.common.commandline import parse, run, usage
from theory.common.errors import UsageError


@dataclass(frozen=True)
class Options:
    """Fill a small file system at many sizes under every command that writes."""

    only: tuple[str, ...] = ()
    """These commands; all if none is named."""
    sizes: int = 20
    """Of the file system, for each command."""
    cheap: bool = False
    """Only the commands of which a run takes about a second."""


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, "python -m tests.disk")
        whole("sizes", options.sizes, 1)
    if INSIDE not in os.environ:
        if not mountable():
            raise UsageError("this machine does not let us mount: unshare -rm fails")
        again = ["unshare", "-rm", sys.executable, "-m", "tests.disk", *arguments]
        return subprocess.run(again, env={**os.environ, INSIDE: "1", "OMP_NUM_THREADS": "1"}).returncode
    cases = cheap() if options.cheap else cheap() | dear()
    with usage():
        names = [choose(name, cases, "command") for name in options.only] or list(cases)
    bad = 0
    with tempfile.TemporaryDirectory() as directory:
        there = Path(directory)
        (there / "inputs").mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            inputs(there / "inputs")
        print(f"{'command':24} {'writes':>9}  sizes  one line  went well  survived  seconds", flush=True)
        for name in names:
            bad += filled(name, cases[name], options.sizes, there)
    return 1 if bad else 0


def filled(name: str, case: Case, sizes: int, there: Path) -> int:
    """Prints a row; how many sizes the command did not survive."""
    begun, disk, given = time.monotonic(), there / "disk", there / "inputs"
    room = Tmpfs(disk, ROOMY)
    status, err = ended(case, disk, given, there)
    reference, used = contents(disk), room.used
    room.close()
    if status:
        print(f"{name}: with room it ends with status {status}: {err}")
        return sizes
    refused, problems = 0, []
    for n in range(sizes):
        size = max(PAGE, used * n // sizes // PAGE * PAGE)
        room = Tmpfs(disk, size)
        status, err = ended(case, disk, given, there)
        refused += status != 0
        problem = "" if status == 0 else wrong(status, err, disk)
        if status and not problem:
            room.grow()
            status, err = ended(case, disk, given, there)
            problem = "" if status == 0 else f"again: {err}"
        if not problem:
            found = contents(disk)
            other = [path for path in reference.keys() | found.keys() if reference.get(path) != found.get(path)]
            problem = f"other contents: {', '.join(sorted(other))}" if other else ""
        problems += [f"{size} bytes: {problem}"] if problem else []
        room.close()
    row = f"{name:24} {used:9,d}  {sizes:5}  {refused:8}  {sizes - refused:9}  {sizes - len(problems):8}"
    print(f"{row}  {time.monotonic() - begun:7.0f}", flush=True)
    for problem in problems:
        print(f"    {problem}", flush=True)
    return len(problems)


def ended(case: Case, disk: Path, given: Path, there: Path) -> tuple[int, str]:
    """Exit status and standard error of the command, in a process that has imported what it needs."""
    log = there / "log"
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 99
        try:
            with open(log, "wb") as said:
                os.dup2(said.fileno(), 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            status = case(disk, given)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, result = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(result), log.read_text()


if __name__ == "__main__":
    sys.exit(run(main))
