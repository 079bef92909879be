"""What `pip install .` gives: built, installed into a fresh environment, and run from another directory."""

from __future__ import annotations

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

import theory

ROOT = Path(__file__).parents[1]
ROOMS = ("theory", "toy", "images", "figures")
# pictures that a command draws; what one reads; what makes a site of a checkout
LEFT_OUT = (
    "figures/drawn/",
    "figures/ring.",
    "images/README.md",
    "toy/README.md",
    "figures/tutorials/",
    "figures/docs/",
)
LIMIT = 3_000_000  # bytes


class Installed(NamedTuple):
    """The wheel, and the environment that it was installed into."""

    wheel: Path
    environment: Path
    before: set[Path]
    elsewhere: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment in a directory outside the repository."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        settings |= {"HOME": str(self.elsewhere), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.elsewhere, env=settings, capture_output=True, text=True,
        )  # fmt: skip

    def files(self) -> set[Path]:
        return {path for path in self.environment.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from a copy, so that nothing is left here; what ours needs is taken from the environment of the tests."""
    home = tmp_path_factory.mktemp("wheel")
    source, environment, elsewhere = home / "source", home / "environment", home / "elsewhere"
    source.mkdir()
    elsewhere.mkdir()
    for name in (*ROOMS, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    build = ["wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", home]
    subprocess.run([*pip, *build], cwd=source, check=True)
    [wheel] = home.glob("*.whl")

    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    [site] = environment.glob("lib/python*/site-packages")
    # as a path only: the .pth files there, by which this checkout is installed, are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    made = Installed(wheel, environment, set(), elsewhere)
    return made._replace(before=made.files())


def wanted() -> set[str]:
    """Every file of the rooms that is no test, picture or text for readers of the repository."""
    found = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and not {"__pycache__", "tests"} & set(path.parts[len(ROOT.parts) :])
    }
    return {name for name in found if not name.startswith(LEFT_OUT) and not Path(name).name.startswith(".")}


def differences(names: Iterable[str], expected: set[str]) -> list[str]:
    """What is missing in a wheel, and what is in it that should not be."""
    content = {name for name in names if ".dist-info/" not in name}
    missing = [f"{name} is missing" for name in sorted(expected - content)]
    return missing + [f"{name} should not be there" for name in sorted(content - expected)]


def test_results_and_templates_are_in_and_tests_are_out(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert differences(names, wanted()) == []
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(ROOMS)
    for name in (
        "theory/results/ledger.json",
        "theory/claims/proofs/P2.md",
        "toy/results/healthy.csv",
        "toy/FINDINGS.md",
        "toy/explore/page.html",
        "images/published.csv",
        "images/results/digits.csv",
        "figures/tools/smart.mplstyle",
        "figures/report/paper_repro.md.in",
        *(f"{room}/py.typed" for room in ROOMS),
    ):
        assert name in names
    assert installed.wheel.stat().st_size < LIMIT


def test_a_forgotten_file_and_a_test_too_many_are_seen() -> None:
    expected = {"toy/run.py", "toy/explore/page.html"}
    assert differences([*expected, "smart_verified-1.dist-info/RECORD"], expected) == []
    assert differences({"toy/run.py"}, expected) == ["toy/explore/page.html is missing"]
    assert differences({*expected, "toy/tests/test_run.py"}, expected) == ["toy/tests/test_run.py should not be there"]
    assert differences({*expected, "tests/__init__.py"}, expected) == ["tests/__init__.py should not be there"]


def test_the_version_stands_in_one_place(installed: Installed) -> None:
    archive = zipfile.ZipFile(installed.wheel)
    [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    assert email.message_from_bytes(archive.read(metadata))["Version"] == theory.__version__
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited.group(1) == theory.__version__
    code = f"import {', '.join(ROOMS)}; print({', '.join(f'{room}.__version__' for room in ROOMS)}, theory.__file__)"
    told = installed.run("python", "-c", code)
    assert told.returncode == 0, told.stderr
    *versions, file = told.stdout.split()
    assert set(versions) == {theory.__version__}
    assert Path(file).is_relative_to(installed.environment)  # the wheel's, not this checkout's


@pytest.mark.parametrize("script", ["smart-toy", "smart-theory", "smart-images"])
def test_scripts_answer(installed: Installed, script: str) -> None:
    told = installed.run(script, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: {script} ")
    refused = installed.run(script, "--no-such-option")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1


def test_every_console_script_was_tried(installed: Installed) -> None:
    archive, points = zipfile.ZipFile(installed.wheel), configparser.ConfigParser()
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    points.read_string(archive.read(name).decode())
    assert set(points["console_scripts"]) == {"smart-toy", "smart-theory", "smart-images"}


@pytest.mark.slow  # what it reads is in the wheel, see above
def test_a_claim_is_explained(installed: Installed) -> None:
    told = installed.run("python", "-m", "theory", "--explain", "P2")
    assert (told.returncode, told.stderr) == (0, "")
    assert "P2 holds" in told.stdout


def test_a_tiny_run_leaves_its_results_here_and_nothing_in_the_package(installed: Installed) -> None:
    tiny = (
        "--seeds 2 --width 16 --layers 1 --steps 40 --d-ahead 5 --batch 16 --samples 64 --eval-every 10 --processes 1"
    )
    told = installed.run("smart-toy", "run", "--manifold", "ring", *tiny.split(), "--arms", "gan", "summed")
    assert told.returncode == 0, told.stderr
    [directory] = (installed.elsewhere / "runs").iterdir()
    assert {"config.json", "metrics.csv", "summary.json", "samples.npz", "figure.png", "checkpoint.pt"} <= {
        path.name for path in directory.iterdir()
    }
    assert installed.files() == installed.before  # after all that ran before, too


def test_the_recipes_are_listed(installed: Installed) -> None:
    told = installed.run("smart-images", "table")
    assert told.returncode == 0, told.stderr
    assert "CIFAR10" in told.stdout
