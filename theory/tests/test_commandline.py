"""How commands end: the status, and the one line that is said."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType

import pytest
import torch

from theory.common.commandline import (
    EXTRAS,
    complain,
    dispatch,
    new_directory,
    noted,
    parse,
    reason,
    run,
    usage,
    value_of,
)
from theory.common.errors import CheckpointError, Diverged, FileError, Lost, OutOfMemory, Stopped, UsageError

ARRAY_MEMORY = type("_ArrayMemoryError", (MemoryError,), {})("Unable to allocate 8.00 TiB")  # as numpy raises it

ROOT = Path(__file__).parents[2]


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def main(arguments: list[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such law"), 2, "no such law"),
        (FileError("a.npz is no archive"), 2, "a.npz is no archive"),
        (CheckpointError("a.pt is truncated"), 2, "a.pt is truncated"),
        (Diverged("arm gan, seed 3:\n  the loss is nan"), 1, "arm gan, seed 3: the loss is nan"),
        (Stopped("asked to stop"), 1, "asked to stop"),
        (Lost("the scheduler"), 1, "the scheduler"),
        (OutOfMemory("the discriminator: lower --batch"), 1, "the discriminator: lower --batch"),
        (KeyboardInterrupt(), 1, "interrupted"),
        (BrokenProcessPool("x"), 1, "a process was killed (out of memory?)"),
        (ModuleNotFoundError("x", name="PIL.Image"), 1, "PIL is not installed: pip install 'smart-verified[images]'"),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), 1, "a.csv: No such file or directory"),
        (BrokenPipeError(32, "Broken pipe", "worker"), 1, "worker: Broken pipe"),  # not that of standard output
        (MemoryError(), 1, "out of memory"),
        (ARRAY_MEMORY, 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"), 1,
         "out of memory"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_ends_a_command_early_is_one_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error), []) == status
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("a defect"),
        KeyError("a defect"),
        ModuleNotFoundError("No module named 'theory.levles'", name="theory.levles"),
        ModuleNotFoundError("no name"),
        SystemExit(0),
    ],
    ids=repr,
)
def test_a_defect_of_ours_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)) as found:
        run(raising(error), [])
    assert found.value is error


def test_the_status_is_mains_and_the_arguments_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(len, ["--seeds", "2"]) == 2
    monkeypatch.setattr(sys, "argv", ["toy", "ring"])
    assert run(lambda arguments: len(arguments[0])) == 4


def test_a_missing_package_belongs_to_the_extra_that_brings_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {"PIL": "pillow", "sklearn": "scikit-learn", "markdown_it": "markdown-it-py", "material": "mkdocs-material"}
    brought = {"mkdocs": "mkdocs-material"}
    brought |= dict.fromkeys(("dask", "distributed"), "dask[distributed]")
    for module, extra in EXTRAS.items():
        assert importlib.util.find_spec(module), module
        wanted = {requirement.split(">")[0] for requirement in extras[extra]}
        assert {**names, **brought}.get(module, module) in wanted, (module, extra)


# | head


def without_reader(code: str) -> tuple[int, str]:
    """Exit status and standard error of Python code whose standard output is a pipe that is read by nothing."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    finally:
        os.close(write)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "output",
    [
        "print('x')",  # fails when it is flushed
        "print('x', flush=True)",
        "print('x' * 10**6); print('y')",  # fails within the print
        "parse(Options, ['--help'], 'toy')",
    ],
)
def test_a_reader_that_went_away_is_no_error(output: str) -> None:
    code = (
        "import dataclasses, sys\n"
        "from theory.common.commandline import parse, run\n"
        "@dataclasses.dataclass\nclass Options:\n    n: int = 1\n"
        f"def main(arguments):\n    {output}\n    return 0\n"
    )
    assert without_reader(code + "sys.exit(run(main, []))") == (1, "")
    status, said = without_reader(code + "sys.exit(main([]))")  # the near-miss: without run
    assert status != 0
    assert "BrokenPipeError" in said


def test_head_in_a_shell() -> None:
    code = (
        "import sys; from theory.common.commandline import run; sys.exit(run(lambda a: print('line\\n' * 10**6) or 0))"
    )
    pipe = f"""{sys.executable} -c "{code}" | head -n 1"""
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_head_in_a_shell_is_told_of_a_near_miss() -> None:
    pipe = f"""{sys.executable} -c "print('line\\n' * 10**6)" | head -n 1"""
    assert "BrokenPipeError" in subprocess.run(pipe, shell=True, capture_output=True, text=True).stderr


# Blocks that change what is told


@pytest.mark.parametrize("error", [ValueError("n is below 1"), TypeError("n is text")])
def test_within_usage_a_wrong_value_is_a_usage_error(error: Exception) -> None:
    with pytest.raises(UsageError, match=str(error)), usage():
        raise error


@pytest.mark.parametrize("error", [RuntimeError("a defect"), CheckpointError("a.pt is truncated"), KeyError("n")])
def test_within_usage_anything_else_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as found, usage():
        raise error
    assert found.value is error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "interrupted; kept: --resume continues"),
        (Diverged("gan, seed 1"), "gan, seed 1; kept: --resume continues"),
        (OSError(28, "No space left on device", "a.csv"), "a.csv: No space left on device; kept: --resume continues"),
        (BrokenProcessPool(), "a process was killed (out of memory?); kept: --resume continues"),
        (MemoryError(), "out of memory; kept: --resume continues"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_kept_is_told_behind_the_reason(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: list[str]) -> int:
        with noted("kept: --resume continues"):
            raise error

    assert run(main, []) == 1
    assert capsys.readouterr().err == f"error: {line}\n"


def test_what_was_kept_is_told_of_the_errors_that_are_meant(capsys: pytest.CaptureFixture[str]) -> None:
    for error, line in ((Diverged("nan"), "nan; kept"), (Lost("nan"), "nan; kept"), (Stopped("nan"), "nan")):

        def main(arguments: list[str], error: Exception = error) -> int:
            with noted("kept", Diverged, Lost):
                raise error

        assert run(main, []) == 1
        assert capsys.readouterr().err == f"error: {line}\n"


def test_a_block_that_ends_well_notes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: list[str]) -> int:
        with noted("kept: --resume continues"):
            pass
        raise KeyboardInterrupt

    assert run(main, []) == 1
    assert capsys.readouterr().err == "error: interrupted\n"


# Options


@dataclasses.dataclass(frozen=True)
class Options:
    """A command."""

    seeds: int = 8
    """How many."""
    arms: tuple[str, ...] = ("gan",)
    """Which."""
    limit: float | None = None
    """At most."""


def test_options_are_parsed() -> None:
    assert parse(Options, ["--seeds", "2", "--arms", "gan", "summed"], "toy") == Options(2, ("gan", "summed"))
    assert parse(Options, [], "toy", Options(seeds=3)) == Options(3)


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "2"], ("--seed", "did you mean --seeds?", "(see toy --help)")),
        (["--seeds", "two"], ("--seeds", "two", "(see toy --help)")),
        (["--seeds"], ("--seeds", "(see toy --help)")),
        (["--limit", "x"], ("--limit: expected None or FLOAT, given 'x' (see toy --help)",)),
        (["ring"], ("ring", "(see toy --help)")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_malformed_option_is_one_line_on_any_terminal(
    arguments: list[str], words: tuple[str, ...], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(UsageError) as found:
        parse(Options, arguments, "toy")
    assert "\n" not in str(found.value)
    assert "│" not in str(found.value)
    for word in words:
        assert word in str(found.value)


def test_help_is_printed_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(Options, ["--help"], "toy")
    assert end.value.code in (0, None)
    assert "--seeds" in capsys.readouterr().out


def test_no_torch_is_imported_before_it_is_needed() -> None:
    names = "checks, commandline, errors, files, provenance"
    code = f"import sys; from theory.common import {names}; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False False\n"
    code = code.replace(names, "statistics")  # the near-miss
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("True\n")


# A room's commands


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    train = ModuleType("train")
    train.main = lambda arguments: len(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up.train", train)
    return {"train": ("made_up.train", "Train."), "evaluate": ("made_up.nowhere", "Evaluate.")}


def test_the_command_that_is_named_gets_the_rest(commands: dict[str, tuple[str, str]]) -> None:
    assert dispatch("toy", commands, ["train", "--seeds", "2"]) == 2
    assert dispatch("toy", commands, ["Train", "--help"]) == 1
    with pytest.raises(ModuleNotFoundError, match="made_up"):  # only now is it imported
        dispatch("toy", commands, ["evaluate"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
@pytest.mark.parametrize(("script", "prog"), [("/bin/smart-toy", "smart-toy"), ("toy/__main__.py", "python -m toy")])
def test_commands_are_listed(
    commands: dict[str, tuple[str, str]],
    arguments: list[str],
    script: str,
    prog: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    assert dispatch("toy", commands, arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: {prog} COMMAND [OPTIONS]"
    assert "  train     Train." in lines
    assert "  evaluate  Evaluate." in lines
    assert lines[-1] == f"{prog} COMMAND --help lists the options of one."


def test_an_unknown_command_names_the_nearest(commands: dict[str, tuple[str, str]]) -> None:
    with pytest.raises(UsageError, match="unknown command 'trian': choose from train, evaluate; did you mean 'train'"):
        dispatch("toy", commands, ["trian"])


# Words


def test_a_complaint_is_one_line_of_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(ValueError("no such\n  law:  rign"), 2) == 2
    assert capsys.readouterr() == ("", "error: no such law: rign\n")


def test_a_complaint_gives_a_terminal_nothing_to_obey(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence that stood in a file is told by its codes; letters of all alphabets are themselves."""
    complain("augment is \x1b[2J\x07 there, \u03bb \u00e9 here", 1)
    assert capsys.readouterr().err == "error: augment is \\x1b[2J\\x07 there, \u03bb \u00e9 here\n"


def test_the_reason_names_the_file_if_there_is_one() -> None:
    assert reason(OSError(28, "No space left on device", "a.csv")) == "a.csv: No space left on device"
    assert reason(OSError("port taken")) == "port taken"


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--out", "a"], "a"),
        (["--seeds", "2", "--out", "a", "--device", "cpu"], "a"),
        (["--seeds", "2", "--out=a=b"], "a=b"),
        (["--out=", "a"], ""),
        (["--out"], None),
        (["--output", "a"], None),
        ([], None),
    ],
)
def test_the_value_of_an_option(arguments: list[str], value: str | None) -> None:
    assert value_of("--out", arguments) == value


def test_a_new_directory_exists_not_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert new_directory("ring", tmp_path) == tmp_path / "ring"
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring-2").write_text("a file")
    assert new_directory("ring", tmp_path) == tmp_path / "ring-3"
    monkeypatch.chdir(tmp_path)
    assert new_directory("ring") == Path("runs/ring")  # below the current directory
