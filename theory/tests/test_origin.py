"""What is stored beside results."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import torch

from theory.common import provenance as module
from theory.common.provenance import code, commit, git, origin, processor, version_of


def test_origin_names_command_day_commit_versions_and_processor() -> None:
    found = origin("python -m theory")
    assert list(found) == ["command", "date", "commit", "versions", "processor"]
    assert found["command"] == "python -m theory"
    assert found["date"] in (time.strftime("%Y-%m-%d"), time.strftime("%Y-%m-%d", time.localtime(time.time() - 60)))
    assert found["commit"] is None or re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", found["commit"].rpartition("-g")[2])
    assert list(found["versions"]) == ["python", "torch", "numpy", "scipy"]
    assert found["versions"]["torch"] == torch.__version__
    assert json.loads(json.dumps(found)) == found


def repository(directory: Path, *names: str) -> None:
    """A git repository in which these files are committed."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("first\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for step in (["init", "-q"], ["add", *names], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *step], cwd=directory, check=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory in no repository, whose git reads no settings of this machine."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def place(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    monkeypatch.setattr(module, "__file__", str(path))


def test_outside_a_repository_there_is_no_commit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, home / "provenance.py")
    assert commit() is None
    assert origin("python -m theory")["commit"] is None


def test_a_checkout_has_its_commit_and_a_mark_where_files_differ(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(home, "theory/common/provenance.py", "README.md")
    monkeypatch.setattr(module, "__file__", str(home / "theory" / "common" / "provenance.py"))
    clean = commit()
    assert clean is not None
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    (home / "runs").mkdir()
    (home / "runs" / "new.csv").write_text("a result\n")
    assert commit() == clean  # what git does not follow is no part of the code
    (home / "README.md").write_text("second\n")
    assert commit() == f"{clean}-dirty"


def test_installed_below_a_foreign_repository_there_is_no_commit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(home, "experiment.py")
    place(monkeypatch, home / ".venv" / "lib" / "site-packages" / "theory" / "common" / "provenance.py")
    assert commit() is None
    assert git(home, "describe", "--always")  # though git, asked there, names one: the foreign one


def test_without_git_there_is_no_commit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(home, "provenance.py")
    place(monkeypatch, home / "provenance.py")
    assert commit() is not None
    monkeypatch.setenv("PATH", str(home))
    assert git(home, "describe", "--always") == ""
    assert commit() is None


def test_what_git_refuses_is_empty(home: Path) -> None:
    assert git(home, "describe", "--always") == ""


def test_the_version_of_what_is_not_installed_is_none() -> None:
    assert version_of("torch") == torch.__version__
    assert version_of("no-such-package-of-ours") is None


CPUINFO = "processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu sse4_2 avx {}\nprocessor\t: 1\nmodel name\t: B\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CPUINFO.format("avx2 avx512f avx512bw"), "A Processor, avx512f"),
        (CPUINFO.format("avx2"), "A Processor, avx2"),
        (CPUINFO.format(""), "A Processor, avx"),
        ("model name : A Processor\nflags : fpu sse4_2\n", "A Processor"),
        ("processor : 0\nFeatures : asimd\n", "aarch64"),  # no model name is told
    ],
)
def test_a_processor_has_a_name_and_its_widest_vector_unit(
    text: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Path, "read_text", lambda self: text)
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    assert processor() == name


def test_a_processor_of_another_system_has_the_name_that_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(module.Path, "read_text", nothing)
    monkeypatch.setattr(module.platform, "processor", lambda: "arm")
    assert processor() == "arm"


def test_the_code_is_that_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for name, content, test in (("one", "x = 1", "1"), ("two", "x = 1", "2"), ("three", "x = 2", "1")):
        package = tmp_path / name
        (package / "tests").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "a.py").write_text(content)
        (package / "tests" / "b.py").write_text(test)
        link = tmp_path / "package"
        link.unlink(missing_ok=True)
        link.symlink_to(package)
        importlib.invalidate_caches()
        code.cache_clear()
        found.append(code("package")["code"])
    code.cache_clear()
    assert found[0] == found[1] != found[2]  # tests do not count
