"""What a process computes once and keeps is the same whoever asks first: of which threads, dtype, device and mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from theory.levels import Interval, Level
from theory.manifolds import Sphere, make
from toy import laws, metrics, noised
from toy.sweep import predicted
from toy.training import score_models, score_term
from toy.training.denoiser import train_denoiser

INTERVAL = Interval(0.03, 0.3)
SEEN: set[tuple[int, torch.dtype, str, bool]] = set()
USUAL = (1, torch.float32, "cpu", False)


def state() -> tuple[int, torch.dtype, str, bool]:
    """Threads, default dtype, default device, and whether what is made now can serve autograd no more."""
    x = torch.ones(1)
    return torch.get_num_threads(), x.dtype, x.device.type, x.is_inference()


@dataclass(frozen=True)
class Witness(Sphere):
    """The circle; tells in which state it is asked for samples."""

    def sample(self, *arguments: Any, **options: Any) -> Tensor:
        SEEN.add(state())
        return super().sample(*arguments, **options)


@pytest.fixture
def unusual() -> Iterator[None]:
    """Two threads and float64."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)


KEPT: dict[str, Callable[[Witness], object]] = {
    "cells_of": lambda law: metrics.cells_of(law, 3),
    "Reference": lambda law: metrics.Reference.of(law, [0], n=4),
    "floor": lambda law: metrics.floor(law, 8, 1),
    "draws_of": lambda law: noised.draws_of(law, 0, 4),
    "perturbed": lambda law: score_models.perturbed(law, INTERVAL, 0.1),
    "train_denoiser": lambda law: train_denoiser(law, 1, INTERVAL, 0),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.usefixtures("unusual")
def test_computed_in_the_usual_state(name: str) -> None:
    SEEN.clear()
    law = Witness(2, 0.77)
    for function in (metrics.cells_of, metrics.floor, noised.draws_of):
        function.cache_clear()
    with torch.inference_mode(name != "train_denoiser"):
        KEPT[name](law)
        law.sample(1)  # the control: what the caller is in
    assert {USUAL} < SEEN <= {USUAL, (2, torch.float64, "cpu", name != "train_denoiser")}
    assert len(SEEN) == 2


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        (score_term, "budget", ("8-ring", None, 0.0, 0.03, 0.3, 0.05, "saturating")),
        (predicted, "points_of", ("8-ring", None, 0.0, 0.03, 0.3)),
    ],
)
@pytest.mark.usefixtures("unusual")
def test_a_law_by_its_name_too(module: Any, name: str, arguments: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """They make their law themselves: it is made in the usual state, and the rest is stopped there."""
    seen = []

    def made(*_: Any, **__: Any) -> None:
        seen.append(state())
        raise InterruptedError

    monkeypatch.setattr(module, "make", made)
    with pytest.raises(InterruptedError):
        getattr(module, name).__wrapped__(*arguments)
    assert seen == [USUAL]


@pytest.mark.usefixtures("unusual")
def test_an_own_law(tmp_path: Path) -> None:
    """It may draw points of the default dtype, and be made once: here a number is float32's."""
    path = tmp_path / "own.py"
    path.write_text(
        "import torch\nfrom theory.manifolds import Sphere\nlaw = lambda: Sphere(2, float(torch.tensor(0.1)))"
    )
    assert laws.own_law.__wrapped__(f"{path}:law").radius == float(torch.tensor(0.1, dtype=torch.float32))  # type: ignore[attr-defined]


def test_a_perturbed_score_is_the_same_of_two_threads() -> None:
    """Its scale is a mean over 2^16 numbers, whose last digit two threads change; the seed is one where they do."""
    law, x, found = make("ring", dim=16), torch.linspace(-1, 1, 2**14).view(-1, 16), []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(score_models.perturbed(law, INTERVAL, 0.1)(x, Level.variance_exploding(0.1)))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(*found)
