"""What every command of every room owes: help without torch, one line for a wrong option, quiet before `head`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import python

ROOT = Path(__file__).parents[1]
MEASURING = {  # nothing of them is of use without torch: they time it, or write the committed results
    "theory.bench", "theory.claims.snapshot", "toy.bench", "figures.report",
}  # fmt: skip


def modules() -> list[str]:
    """Every module that can be run: python -m MODULE."""
    found = []
    for room in ("theory", "toy", "images", "figures"):
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text()
            if "tests" not in path.parts and re.search(r"^if __name__ == .__main__.:", text, re.MULTILINE):
                found.append(
                    str(path.relative_to(ROOT)).removesuffix(".py").removesuffix("/__main__").replace("/", ".")
                )
    return found


WATCHED = """
import runpy, sys
for option in ("--help", "--no-such-option"):
    sys.argv = ["x", option]
    try:
        runpy.run_module({!r}, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(option, "ends with", end.code or 0)
print("torch" if "torch" in sys.modules else "no torch")
"""


def test_there_are_commands() -> None:
    assert {"toy", "toy.run", "theory", "images", "images.train", "figures", "figures.report"} <= set(modules())


@pytest.mark.parametrize(
    "module", [pytest.param(m, marks=pytest.mark.slow) if m in MEASURING else m for m in modules()]
)
def test_help_answers_without_torch_and_a_wrong_option_is_one_line(module: str) -> None:
    told = python("-c", WATCHED.format(module), cwd=ROOT)
    assert told.status == 0, told.err
    assert told.out.startswith(f"usage: python -m {module}")
    imported = "torch" if module in MEASURING else "no torch"
    assert told.out.endswith(f"\n--help ends with 0\n--no-such-option ends with 2\n{imported}\n"), told.out[-200:]
    assert re.fullmatch(r"error: [^\n]+\n", told.err), told.err


def test_a_module_that_imports_torch_is_seen() -> None:
    assert python("-c", WATCHED.format("theory.levels"), cwd=ROOT).out == "torch\n"


@pytest.mark.parametrize("command", ["toy", "images", "theory --explain", "toy.run --help", "figures --help"])
def test_head_is_quiet(command: str) -> None:
    pipe = f"{sys.executable} -m {command} | head -n 1"
    done = subprocess.run(pipe, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["toy", *(pytest.param(c, marks=pytest.mark.slow) for c in ("theory --explain", "figures --help"))]
)
def test_a_reader_that_is_gone_already_is_quiet_too(command: str) -> None:
    pipe = f"{{ sleep 0.2; {sys.executable} -m {command}; echo $? >&2; }} | true"
    done = subprocess.run(["bash", "-c", pipe], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "1\n"  # the status, and nothing else
