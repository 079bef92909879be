"""Recipes: fields are checked by name, names ignore case, the stored form is read back; commands are listed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from images.__main__ import COMMANDS, main
from images.recipes import CHECKS, COUPLINGS, OFFERED, RECIPES, Recipe, as_dict, from_dict
from theory.common import colours
from theory.common.checks import flag
from theory.common.commandline import run

FIELDS = [field.name for field in dataclasses.fields(Recipe)]


def changed(name: str, value: Any) -> Recipe:
    return Recipe(**{name: value})


def test_every_field_has_a_check() -> None:
    assert set(CHECKS) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [None, "x", float("nan"), [], (1.0,), ("a", "b"), -1, {}], ids=repr)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: Any) -> None:
    """Names of couplings are called coupling; any word may be the file of a score."""
    if (name, value) == ("score", "x"):
        return
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        changed(name, value)


@pytest.mark.parametrize("name", [name for name in FIELDS if CHECKS[name] is not flag])
def test_true_is_no_number(name: str) -> None:
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        changed(name, True)


def test_names_ignore_case() -> None:
    found = dataclasses.replace(
        Recipe(), recipe="Digits", generator="SMALL", couplings=("GAN", "Decoupled"), loss="Relativistic"
    )
    assert (found.recipe, found.generator, found.couplings, found.loss) == (
        "digits", "small", ("gan", "decoupled"), "relativistic"
    )  # fmt: skip


def test_couplings_are_those_of_all_rooms() -> None:
    assert COUPLINGS == colours.COUPLINGS
    assert Recipe(couplings=COUPLINGS).couplings == COUPLINGS
    with pytest.raises(ValueError, match=r"unknown coupling 'own-steps': choose from gan, .*'own-step'"):
        Recipe(couplings=("gan", "own-steps"))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes_of_the_paper_take_the_steps_of_its_framework(recipe: Recipe) -> None:
    """A lazy score term has a step of its own there; StyleGAN2's lazy terms too, with its correction."""
    if recipe.recipe not in OFFERED:
        return
    assert recipe.couplings == ("own-step",)
    assert not recipe.corrected
    assert recipe.lazy_steps == ("corrected" if recipe.generator == "stylegan2" else "summed")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_stored_form_gives_the_recipe_back(recipe: Recipe) -> None:
    assert from_dict(as_dict(recipe)) == recipe


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, []) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == list(COMMANDS)
    assert run(main, ["tables"]) == 2
    assert "did you mean 'table'?" in capsys.readouterr().err


WATCHED = """
import sys
import images.__main__ as m
for name in m.COMMANDS:
    try:
        m.main([name, "--help"])
    except SystemExit as end:
        assert not end.code, name
    assert "torch" not in sys.modules, name
    print("---")
"""


def test_help_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *told, rest = done.stdout.split("---\n")
    assert (len(told), rest) == (len(COMMANDS), "")
    assert all("--help" in text for text in told)
