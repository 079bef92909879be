"""Command lines made from frozen dataclasses by tyro, with every complaint in one line.

A command is `main(arguments) -> exit status`, ended by `sys.exit(run(main))`: 0 done, 2 bad usage, 1 anything else. No
torch here: --help and bad usage answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from pathlib import Path
from typing import TypeVar
from unittest import mock

import tyro

from theory.common import signals
from theory.common.checks import choose
from theory.common.errors import Failure, UsageError, out_of_memory

Options = TypeVar("Options")
EXTRAS = {  # what a missing module belongs to
    "tornado": "explore",
    "dask": "cluster",
    "distributed": "cluster",
    "jupytext": "figures",
    "nbconvert": "figures",
    "ipykernel": "figures",
    "markdown_it": "figures",
    "optuna": "search",
    "tensorboard": "log",
    "PIL": "images",
    "sklearn": "images",
    "torchmetrics": "images",
    "latex2mathml": "docs",
    "material": "docs",
    "mkdocs": "docs",
    "diffusers": "dev",
    "mpmath": "dev",
    "pytest": "dev",
}


def run(main: Callable[[list[str]], int], arguments: Sequence[str] | None = None) -> int:
    """The exit status of main(arguments), sys.argv's if None; what ends it early is one line of standard error.

    A `Failure` has its own status; a system error, a lack of memory or of a package, a killed worker and Ctrl-C are 1;
    SIGTERM is 143, and SIGHUP 129.
    What `noted` added to the exception stands behind the message. A reader that went away (`| head`) is no error.
    Any other exception is a defect of ours, and keeps its traceback.
    """
    try:
        with signals.handled(signals.interrupt):
            status = main(list(sys.argv[1:] if arguments is None else arguments))
            sys.stdout.flush()
        return status
    except BrokenPipeError as error:
        return 1 if _reader_left() else complain(_with_notes(reason(error), error), 1)
    except Failure as error:
        return complain(_with_notes(str(error), error), error.status)
    except signals.Terminated as error:
        return complain(_with_notes(f"ended by {error}", error), signals.status(error.number))
    except KeyboardInterrupt as error:
        return complain(_with_notes("interrupted", error), 1)
    except BrokenProcessPool as error:
        return complain(_with_notes("a process was killed (out of memory?)", error), 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        return complain(f"{package} is not installed: pip install 'smart-verified[{EXTRAS[package]}]'", 1)
    except OSError as error:
        return complain(_with_notes(reason(error), error), 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return complain(_with_notes("out of memory", error), 1)


def dispatch(room: str, commands: Mapping[str, tuple[str, str]], arguments: Sequence[str]) -> int:
    """The exit status of the room's command that the first argument names; the rest of the arguments is passed on.

    Without arguments, and for --help, the commands are listed and the status is 0. Only the module of the command
    that runs is imported. `toy/__main__.py` is, but for its table:

        def main(arguments: list[str]) -> int:
            return dispatch("toy", COMMANDS, arguments)

        def script() -> int:  # the console script smart-toy
            return run(main)

        if __name__ == "__main__":
            sys.exit(script())

    Args:
        room: toy, images: the commands are `python -m ROOM NAME` and `smart-ROOM NAME`.
        commands: name -> (module with a main(arguments), what it does in one line).

    Raises:
        UsageError: no such command; names the commands and the nearest of them.
    """
    script = Path(sys.argv[0]).name
    prog = script if script == f"smart-{room}" else f"python -m {room}"
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, commands))
        print(f"usage: {prog} COMMAND [OPTIONS]\n")
        print("\n".join(f"  {name:{width}}  {line}" for name, (_, line) in commands.items()))
        print(f"\n{prog} COMMAND --help lists the options of one.")
        return 0
    with usage():
        name = choose(arguments[0], commands, "command")
    return import_module(commands[name][0]).main(list(arguments[1:]))


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """In the block, a ValueError or TypeError says what is wrong with the options: it becomes a UsageError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if isinstance(error, Failure):
            raise
        raise UsageError(str(error)) from error


@contextlib.contextmanager
def noted(text: str, *kinds: type[BaseException]) -> Iterator[None]:
    """What ends the block early is told with this text behind it: what was saved, and how to go on.

    Args:
        kinds: of the exceptions that are meant; all if none are given.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, kinds or BaseException):
            error.add_note(text)
        raise


def _reader_left() -> bool:
    """Whether standard output has no reader; what is still to be written then goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # it was put in the place of the real one
        return False
    state = select.poll()
    state.register(output, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in state.poll(0)):
        return False
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), output)
    return True


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join([message, *getattr(error, "__notes__", [])])


def parse(kind: type[Options], arguments: Sequence[str] | None, prog: str, default: Options | None = None) -> Options:
    """The options as a `kind`; --help prints and exits 0.

    Raises:
        UsageError: an unknown option, a missing or malformed value.
    """
    complaint = io.StringIO()
    wide = mock.patch.dict(os.environ, {"COLUMNS": "1000"}) if "--help" not in _given(arguments) else nothing()
    try:
        with wide, contextlib.redirect_stderr(complaint):
            if default is None:
                return tyro.cli(kind, args=arguments, prog=prog)
            return tyro.cli(kind, args=arguments, prog=prog, default=default)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UsageError(f"{_in_one_line(complaint.getvalue())} (see {prog} --help)") from None


nothing = contextlib.nullcontext


def _given(arguments: Sequence[str] | None) -> Sequence[str]:
    return sys.argv[1:] if arguments is None else arguments


def _in_one_line(box: str) -> str:
    """The message of tyro's box, and the first option that it suggests."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│| ") for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    title, *parts = re.split(r" *[─-]{9,} *", " ".join(lines))
    first = parts[0] if parts and "╭" not in text else title  # where only ASCII can be printed, the title is a part
    message = re.sub(r"^Error parsing \w+: (?!--)", "", first.strip().replace("Error parsing --", "--"))
    if either := re.match(r"(--[\w.-]+): no type matching \{None\}\|(\w+) could be .*? from \['(.*?)'\]", message):
        message = f"{either[1]}: expected None or {either[2]}, given '{either[3]}'"
    suggested = re.search(r"Perhaps you meant.*?(--[\w.-]+)", text, re.DOTALL)
    return message + (f"; did you mean {suggested.group(1)}?" if suggested else "")


def complain(message: object, status: int) -> int:
    """Says what went wrong as one line of standard error; gives the exit status back. What a terminal would obey, such
    as an escape sequence in a file, is told by its code."""
    line = " ".join(str(message).split())
    print("error:", "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)
    return status


def reason(error: OSError) -> str:
    """What the system refused."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def value_of(option: str, arguments: Sequence[str]) -> str | None:
    """The value given to an option, if any: '--option value' or '--option=value'."""
    for i, argument in enumerate(arguments):
        if argument == option and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(option + "="):
            return argument.split("=", 1)[1]
    return None


def new_directory(name: str, parent: Path = Path("runs")) -> Path:
    """parent/NAME, with a number behind it if that exists."""
    candidates = (parent / (name if n == 1 else f"{name}-{n}") for n in range(1, 10**6))
    return next(path for path in candidates if not path.exists())
