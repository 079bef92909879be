"""images.gpucheck without a GPU: every part on tiny shapes, and a part that fails, hangs or dies takes no other along.

Processes are forked here, so that what a test replaces is replaced in them too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from images import gpucheck
from images.bench import gpuparts
from images.gpucheck import Check, Options
from images.plan.costs import Cost, Costs
from images.plan.devices import DEVICES
from images.recipes import RECIPES

FORK = multiprocessing.get_context("fork")
PYTEST = "F.s\nFAILED images/tests/test_cuda.py::test_x - assert 1 == 2\n1 failed, 12 passed, 2 skipped in 3.21s\n"


def checked(tmp_path: Path, *names: str, minutes: float = 20) -> dict[str, Any]:
    """The content of gpucheck.json."""
    options = Options(minutes, tmp_path, names or ("digits",), "cpu", tiny=True)
    assert Check(options, FORK).all() == ""
    return json.loads((tmp_path / "gpucheck.json").read_text())


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pytest."""
    monkeypatch.setattr(gpucheck, "output", lambda *_: PYTEST)


@pytest.mark.usefixtures("printed")
def test_every_part_runs_on_tiny_shapes(tmp_path: Path) -> None:
    found = checked(tmp_path, "cifar10-biggan", "digits")
    assert found["device"] == {"name": "cpu", "compute_capability": None, "memory": None}
    parts = found["parts"]
    assert list(parts) == ["tests", "recipes", "unets", "toy", "training"]
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(parts, "done") | {
        "toy": "not run: tiny"
    }
    assert parts["tests"]["found"] == {
        "failed": 1, "passed": 12, "skipped": 2,
        "failures": ["FAILED images/tests/test_cuda.py::test_x - assert 1 == 2"],
    }  # fmt: skip
    assert list(parts["recipes"]["found"]) == ["digits", "cifar10-biggan"]
    for step in parts["recipes"]["found"].values():
        assert all(step[name]["seconds"] > 0 for name in ("d", "d_penalised", "g", "g_scored"))
        assert {"d_loss", "g_loss", "score_loss"} <= set(step["losses"])
    for errors in parts["unets"]["found"].values():
        assert 0 < errors["mean_error"] <= errors["largest_error"] < 0.1
    (trained,) = parts["training"]["found"].values()
    assert trained["steps"] == 8
    assert (tmp_path / "gpucheck.png").read_bytes().startswith(b"\x89PNG")
    told = (tmp_path / "gpucheck.json").read_text()
    assert os.uname().nodename not in told
    assert str(tmp_path) not in told


def test_toy_s_default_run_is_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device; done if it leaves a summary, and failed if it does not."""
    asked: list[list[str]] = []

    def output(command: list[str], *_: Any) -> str:
        asked.append(command)
        if len(asked) == 1:
            (Path(command[-1]) / "summary.json").write_text("{}")
        return "printed"

    monkeypatch.setattr(gpucheck, "output", output)
    check = Check(Options(9, tmp_path), FORK)
    found: dict[str, Any] = {}
    assert check.toy(1.0, found) == "done"
    assert asked[0][1:-1] == ["-m", "toy.run", "--device", "cuda", "--out"]
    assert found["printed"] == ["printed"]
    assert check.toy(1.0, {}).startswith("failed")


@pytest.mark.usefixtures("printed")
def test_what_fails_hangs_or_dies_takes_nothing_else_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(name: str, given: Any) -> dict[str, Any]:
        if name == "photos":
            raise ValueError("of this one\nalone")
        if name == "digits-vanilla":
            os._exit(3)
        if name == "cifar10":
            raise RuntimeError("CUDA error: an illegal memory access")
        return {"seconds": 1.0}

    def hangs(given: Any) -> Iterator[tuple[str, Any]]:
        yield "ADM", {"mean_error": 0.5}
        time.sleep(60)

    def fails(given: Any) -> Iterator[tuple[str, Any]]:
        yield "photos", {"steps": 3}
        raise RuntimeError("late")

    monkeypatch.setattr(gpuparts, "of_recipe", step)
    monkeypatch.setattr(gpuparts, "unets", hangs)
    monkeypatch.setattr(gpuparts, "training", fails)
    monkeypatch.setitem(gpucheck.SHARES, "unets", 1 / 1200)  # one second
    parts = checked(tmp_path, "digits", "digits-vanilla", "photos", "cifar10", "imagenet64")["parts"]
    assert parts["recipes"]["status"] == "done"
    assert parts["recipes"]["found"] == {
        "digits": {"seconds": 1.0},
        "digits-vanilla": {"failed": "failed: the process ended with status 3"},
        "photos": {"failed": "ValueError: of this one"},
        "cifar10": {"failed": "failed: RuntimeError: CUDA error: an illegal memory access"},
        "imagenet64": {"seconds": 1.0},
    }
    assert (parts["unets"]["status"], parts["unets"]["found"]) == ("stopped after 1 s", {"ADM": {"mean_error": 0.5}})
    assert parts["training"]["status"] == "failed: RuntimeError: late"
    assert parts["training"]["found"] == {"photos": {"steps": 3}}


@pytest.mark.parametrize(
    ("printed", "status"),
    [
        ("python: No module named pytest\n", "pytest is not installed"),
        ("ERROR: file not found\n", "failed: ERROR: file not found"),
        ("13 skipped in 2.0s\n", "done"),
    ],
)
def test_what_pytest_may_say(printed: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpucheck, "output", lambda *_: printed)
    assert Check(Options(), FORK).tests(1.0, {}) == status


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: FORK)
    monkeypatch.setattr(FORK, "set_forkserver_preload", lambda _: None)
    assert gpucheck.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "not run: needs a GPU\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="with --tiny"):
        Options(device="cpu")


def test_measured_over_planned() -> None:
    """At images between and beyond the two sizes of a plan: FLOPs in proportion, memory along the line."""
    costs = [Costs(n, 1, 1, 1, 1, *[Cost(100 * n, 1000 + 10 * n)] * 5) for n in (2, 4)]
    step = {"seconds": 2.0, "peak_bytes": 2160}
    found = {"images": 8, "d": step, "d_penalised": step, "g": step, "g_scored": step}
    over = gpuparts.over_plan(found, (costs[0], costs[1]), "cpu")
    assert over["g_scored"]["flops"] == 800
    assert over["g_scored"]["memory_over_plan"] == 2.0
    for name, key in {"NVIDIA H200": "h200", "NVIDIA H100 80GB HBM3": "h100", "NVIDIA H100 PCIe": "h100-pcie",
                      "NVIDIA A100-SXM4-40GB": "a100-40gb", "NVIDIA GeForce RTX 4090": "rtx4090"}.items():  # fmt: skip
        assert gpuparts.rate_of(name) == DEVICES[key].flops
    assert gpuparts.rate_of("NVIDIA T4") is None


def test_out_of_memory_halves_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def step(recipe: Any, images: int, given: Any) -> dict[str, Any]:
        tried.append(images)
        if images > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"images": images}

    monkeypatch.setattr(gpuparts, "step_of", step)
    monkeypatch.setattr(gpuparts, "at_once", lambda *_: 32)
    given = gpuparts.Given("cpu", False, Path())
    assert gpuparts.of_recipe("cifar10", given) == {"images": 8}
    assert tried == [32, 16, 8]
    assert RECIPES["lsun-bedroom"].together == 8
    monkeypatch.setattr(gpuparts, "at_once", lambda *_: 8)
    monkeypatch.setattr(gpuparts, "step_of", lambda *_: step(None, 16, None))
    with pytest.raises(torch.OutOfMemoryError):  # groups of 8 are the least
        gpuparts.of_recipe("lsun-bedroom", given)
