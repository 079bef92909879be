"""README.md: its Python runs, its commands and options exist, its links lead somewhere."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language."""
    return [
        body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if kind == language
    ]


def said(text: str) -> str:
    """All that is set as code: what stands in blocks without language and between backticks, a line each."""
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return "\n".join([*blocks(text), *inline])


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of each `python -m module arguments`."""
    found = re.findall(r"python -m ([\w.]+)([^\n#;]*)", said(text))
    return [(module, shlex.split(rest.replace("...", ""))) for module, rest in found]


@cache
def help_of(module: str) -> str:
    """What `python -m module --help` prints.

    Raises:
        subprocess.CalledProcessError: there is no such command.
    """
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def unknown_options(module: str, arguments: list[str]) -> list[str]:
    """The options that its help does not name; subprocess.CalledProcessError if there is no such command."""
    text = help_of(module)
    options = [argument.split("=")[0] for argument in arguments if argument.startswith("--")]
    return [option for option in options if not re.search(rf"{option}(?![\w-])", text)]


def targets(text: str) -> list[str]:
    """The targets and variables of `make ...`."""
    return re.findall(r"\bmake ([a-z][\w-]*)", said(text))


def links(text: str) -> list[str]:
    """The files that it links to or shows."""
    return [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]


def test_the_lines_of_python_run_and_say_what_stands_beside_them() -> None:
    code, _ = blocks(README, "python")  # the second one is that of test_api.py
    assert len([line for line in code.splitlines() if line]) <= 6
    torch.manual_seed(0)
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)
    ring, x = names["ring"], names["x"]
    assert x.shape == ring.score(x, 1.0, 0.1).shape == (3, 2)
    assert torch.allclose(ring.distance(x), torch.full((3,), 0.5), atol=1e-5)
    assert torch.allclose(names["pointwise_loss"](ring, x, 1.0, 0.1).float(), torch.tensor(26.0), atol=0.01)
    assert (torch.nn.functional.cosine_similarity(ring.score(x, 1.0, 0.1), ring.project(x) - x) > 0.999).all()


def test_every_command_and_option_exists() -> None:
    found = commands(README)
    assert len({module for module, _ in found}) >= 6
    for module, arguments in found:
        assert unknown_options(module, arguments) == [], (module, arguments)


def test_a_command_or_option_that_is_none_is_seen() -> None:
    [(module, arguments)] = commands("Then `python -m theory --explian P2` explains.")
    assert unknown_options(module, arguments) == ["--explian"]
    assert commands("```\npython -m theory --only P2  # one\n```\n") == [("theory", ["--only", "P2"])]
    [(module, arguments)] = commands("`python -m theory.ledgers`")
    with pytest.raises(subprocess.CalledProcessError):
        unknown_options(module, arguments)


def test_every_target_of_make_exists_and_is_named() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    found = set(targets(README))
    assert {"run", "test", "test-quick", "figures"} <= found <= set(phony.group(1).split())
    for target in phony.group(1).split():
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    for variable in re.findall(r"\b([A-Z]{4,})=", said(README)):
        assert f"$({variable})" in MAKEFILE or f"$(if $({variable})" in MAKEFILE, variable
    assert targets("`make tests`") == ["tests"]  # which would be refused above


def test_the_quick_tests_are_there() -> None:
    told = subprocess.run(["make", "-n", "-o", ".venv/.ready", "test-quick"], cwd=ROOT, capture_output=True, text=True)
    paths = re.findall(r"\S+/test_\w+\.py", told.stdout)
    assert {path.split("/")[0] for path in paths} >= {"theory", "toy", "images", "tests"}
    for path in paths:
        assert (ROOT / path).is_file(), path


def test_every_link_leads_to_a_file() -> None:
    found = links(README)
    assert len(found) > 5
    for link in found:
        assert (ROOT / link).exists(), link
    assert links("[a](nowhere.md), [b](https://example.org)") == ["nowhere.md"]


def test_every_file_named_in_the_layout_exists() -> None:
    layout = README.split("## How to read the code")[1]
    [block] = blocks(layout)
    names = re.findall(r"[\w/]+\.py\b|\b\w+/(?=[\s,])", block)
    assert len(names) > 20
    everything = [str(path.relative_to(ROOT)) for room in block_rooms(block) for path in (ROOT / room).rglob("*")]
    for name in names:
        if name != "NAME.py":
            assert any(f"/{path}".endswith("/" + name.rstrip("/")) for path in [*everything, *block_rooms(block)]), name


def block_rooms(block: str) -> list[str]:
    return [line.split("/")[0] for line in block.splitlines() if line and not line.startswith(" ")]


def test_extras_and_scripts_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"pip install [^`]*\[([\w,]+)\]", README):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])
    assert set(re.findall(r"`(smart-\w+)`", README)) == set(project["scripts"])


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_ground_truths_of_others_are_those_recorded() -> None:
    """The numbers are those of theory/results/others.csv, rounded."""
    part = README.split("## Why exact scores")[1].split("\n## ")[0]
    shown = [cells_of(line) for line in part.splitlines() if line.startswith("| ")][1:]
    with (ROOT / "theory" / "results" / "others.csv").open(newline="") as file:
        recorded = {tuple(rounded(row)) for row in csv.DictReader(file)}
    assert len(shown) >= 5
    for _, *numbers in shown:
        assert tuple(numbers) in recorded
    assert ("0.5", "0.3762", "0.3729 ± 0.003") not in recorded


def rounded(row: dict[str, str]) -> list[str]:
    theirs, ours, sampled = (f"{float(row[name] or 'nan'):.4g}" for name in ("theirs", "ours", "monte_carlo"))
    return [theirs.replace("nan", "NaN"), ours, f"{sampled} ± {float(row['standard_error']):.1g}"]


def test_the_two_entries_say_what_the_citation_file_says() -> None:
    """Each field of BibTeX that has a number or a name, but for braces."""
    [block] = blocks(README, "bibtex")
    told, cited = re.sub(r"[{}]", "", block), (ROOT / "CITATION.cff").read_text()
    for key in ("start", "end", "volume", "year", "family-names", "given-names", "version", "collection-title"):
        values = re.findall(rf"^\W*{key}: (.*)$", cited, re.MULTILINE)
        assert values, key
        for value in values:
            assert value.strip('"') in told, (key, value)
    for title in re.findall(r'^\W*title: "(.*)"$', cited, re.MULTILINE):
        assert title in told
    assert re.findall(r"^@(\w+)", block, re.MULTILINE) == ["inproceedings", "software"]
