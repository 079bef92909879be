"""Runs that diverge go back to a sound checkpoint and take other noise; resumed, they are unbroken ones."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from images.draws import SCORE, draw
from images.recipes import DIGITS
from images.train import main
from images.training import checkpoint
from images.training.run import Job, Result, result_of
from images.training.trainer import Trainer
from tests.trained import with_classifier
from theory.common.commandline import run
from theory.common.errors import Diverged
from theory.common.files import write_tensors

RECIPE = dataclasses.replace(
    DIGITS, couplings=("gan",), seeds=1, width=4, latent=4, batch=8, images=96, evaluate_every=4, save_every=4, retry=2
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_classifier(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """breaks(at, times): the generator has a NaN after that step, in the first `times` tries."""
    original = Trainer.g_step

    def set_up(at: int, times: int) -> None:
        def g_step(self: Trainer) -> dict[str, torch.Tensor]:
            found = original(self)
            if self.at + 1 == at and self.retry < times:
                [*self.g.parameters()][-1].data.fill_(math.nan)  # the bias of all images
            return found

        monkeypatch.setattr(Trainer, "g_step", g_step)

    return set_up


def job(directory: Path, cache: Path, **changes: Any) -> Job:
    return Job(dataclasses.replace(RECIPE, **changes), "gan", 0, directory, cache)


def same(a: Result, b: Result) -> bool:
    return a.records == b.records and np.array_equal(a.samples, b.samples) and a.retries == b.retries


def test_it_goes_back_and_takes_other_noise(
    breaks: Callable[[int, int], None], tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NaN after step 6 is found in step 7; step 4 has a checkpoint. Until there nothing differs from a plain run."""
    plain = result_of(job(tmp_path / "plain", cache))
    breaks(6, 2)
    found = result_of(job(tmp_path / "broken", cache))
    assert found.retries == [(7, 4), (7, 4)]
    assert plain.retries == []
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "retry" in line] == [
        f"gan, seed 0: d_loss is not finite after step 7; retry {k} of 2, from step 4 with other noise" for k in (1, 2)
    ]
    until = [record for record in plain.records if record[0] <= 4]
    assert found.records[: len(until)] == until
    assert found.records[len(until) :] != plain.records[len(until) :]
    assert [record[:2] for record in found.records] == [record[:2] for record in plain.records]
    assert np.isfinite(found.samples).all()


@pytest.mark.parametrize("at", [6, pytest.param(9, marks=pytest.mark.slow)])
def test_a_resumed_run_is_an_unbroken_one(
    at: int, breaks: Callable[[int, int], None], tmp_path: Path, cache: Path
) -> None:
    """Stopped after a retry, before the next checkpoint (step 6) and after it (step 9)."""
    breaks(6, 1)
    unbroken = result_of(job(tmp_path / "unbroken", cache))
    count = 0

    def stop(step: int) -> None:
        nonlocal count
        count += step == at
        if count == 1 + (at == 6):  # step 6 comes twice
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result_of(job(tmp_path / "stopped", cache), report=stop)
    assert same(result_of(job(tmp_path / "stopped", cache)), unbroken)
    assert unbroken.retries == [(7, 4)]


def test_a_checkpoint_that_is_not_finite_is_passed_over(
    breaks: Callable[[int, int], None], tmp_path: Path, cache: Path
) -> None:
    """Step 8 has a checkpoint with the NaN in it, step 4 one without."""
    breaks(8, 1)
    found = result_of(job(tmp_path, cache))
    assert found.retries == [(9, 4)]
    assert np.isfinite(found.samples).all()


def test_without_a_checkpoint_it_starts_anew(breaks: Callable[[int, int], None], tmp_path: Path, cache: Path) -> None:
    breaks(2, 1)
    assert result_of(job(tmp_path, cache)).retries == [(3, 0)]


@pytest.mark.parametrize("retry", [0, 2])
def test_it_fails_after_so_many_tries(
    retry: int, breaks: Callable[[int, int], None], tmp_path: Path, cache: Path
) -> None:
    breaks(6, 3)
    with pytest.raises(Diverged, match="d_loss is not finite after step 7"):
        result_of(job(tmp_path, cache, retry=retry))


def test_retries_are_recorded(breaks: Callable[[int, int], None], tmp_path: Path, cache: Path) -> None:
    breaks(6, 1)
    options = "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --images 96 --save-every 4 --retry 1"
    where = ["--processes", "1", "--out", str(tmp_path / "run"), "--cache", str(cache)]
    assert run(main, [*options.split(), *where]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["retries"] == {"gan-0": [[7, 4]]}
    content = checkpoint.read(tmp_path / "run" / "gan-0" / "checkpoint.pt")
    assert (content["retries"], content["trainer"]["retry"]) == ([[7, 4]], 1)


def test_each_try_has_numbers_of_its_own() -> None:
    tries = [draw(torch.randn, (3,), 1, SCORE, 7, slice(0, 40), retry) for retry in range(3)]
    assert torch.equal(tries[0], draw(torch.randn, (3,), 1, SCORE, 7, slice(0, 40)))
    assert len(torch.stack(tries).unique()) == 3 * 40 * 3


def test_checkpoints_of_other_versions_say_so(tmp_path: Path) -> None:
    write_tensors(tmp_path / "checkpoint.pt", {"format": f"{checkpoint.KIND} 1"})
    with pytest.raises(checkpoint.CheckpointError, match=r"was written by another version of images.train"):
        checkpoint.read(tmp_path / "checkpoint.pt")
