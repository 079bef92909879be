"""What is stored beside results."""

import re
import time

import torch

from theory.common import provenance as module
from theory.common.provenance import origin


def test_origin_names_command_day_commit_and_versions() -> None:
    found = origin("python -m theory")
    assert list(found) == ["command", "date", "commit", "versions"]
    assert found["command"] == "python -m theory"
    assert found["date"] in (time.strftime("%Y-%m-%d"), time.strftime("%Y-%m-%d", time.localtime(time.time() - 60)))
    assert found["commit"] is None or re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", found["commit"].rpartition("-g")[2])
    assert list(found["versions"]) == ["python", "torch", "numpy", "scipy"]
    assert found["versions"]["torch"] == torch.__version__


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "origin.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin("python -m theory")["commit"] is None
