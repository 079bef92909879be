"""The commands of images/README.md are commands, and its numbers those of the recipes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from torch.distributed import run as torchrun

from images import train
from images.__main__ import COMMANDS
from images.recipes import INTERVALS, OFFERED, RECIPES
from theory.common.commandline import parse

README = Path(__file__).parent.parent / "images" / "README.md"


def commands() -> list[list[str]]:
    """Those of images' modules: module, options ..."""
    blocks = re.findall(r"```\n(.*?)```", README.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [shlex.split(line.split(">")[0], comments=True) for line in lines]
    return [part[part.index("-m") + 1 :] for part in parts if "-m" in part]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_are_understood(command: list[str]) -> None:
    name, *arguments = command
    if name == "images.ranks":
        options = torchrun.parse_args(arguments)
        name, arguments = options.training_script, options.training_script_args
    module = importlib.import_module(COMMANDS[name.removeprefix("images.")][0])
    default = train.defaults(arguments) if module is train else None
    parse(module.Options, arguments, name, default=default)


def test_all_of_images_commands_are_there() -> None:
    named = {name for name, *_ in commands()}
    assert named == {f"images.{name}" for name in COMMANDS if name != "bench"}  # make bench runs that


def test_intervals_are_those_of_the_recipes() -> None:
    text = README.read_text()
    for name in OFFERED:
        (row,) = (line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line)
        for reading, cell in zip(("edm", "ddpm"), row.split("|")[3:5], strict=True):
            low, high = INTERVALS[OFFERED[name][reading]]
            digits = 4 if low < 0.01 else 3
            assert "-".join(f"{x:.{digits}f}" for x in (low, high)) in cell
            assert ("default" in cell) == ((low, high) == (RECIPES[name].low, RECIPES[name].high))
