"""TF32 is off in features and distances, and as it was after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from images.metrics import during_training
from images.metrics.exact import exact
from images.metrics.features import extract

matmul: Any = torch.backends.cuda.matmul
cudnn: Any = torch.backends.cudnn


def state() -> dict[str, Any]:
    return {
        "matmul": matmul.fp32_precision,
        "conv": cudnn.conv.fp32_precision,
        "rnn": cudnn.rnn.fp32_precision,
    }


def off() -> bool:
    return not matmul.allow_tf32 and not cudnn.allow_tf32 and {state()["matmul"], state()["conv"]} <= {"ieee", "none"}


def by_old_names() -> None:
    matmul.allow_tf32 = cudnn.allow_tf32 = True


def by_new_names() -> None:
    matmul.fp32_precision = cudnn.conv.fp32_precision = "tf32"


def by_default() -> None: ...


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = state()
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = False, True
    matmul.fp32_precision, cudnn.conv.fp32_precision = before["matmul"], before["conv"]
    cudnn.rnn.fp32_precision = before["rnn"]


@pytest.mark.parametrize("given", [by_default, by_old_names, by_new_names])
def test_tf32_is_off_inside_and_as_it_was_after(given: Any) -> None:
    given()
    before = state()
    with exact():
        assert off()
    with pytest.raises(ValueError, match="ends it early"):
        failing()
    assert state() == before
    assert given is by_default or before["conv"] == "tf32"  # a control: it was on


@exact()
def failing() -> None:
    assert off()
    raise ValueError("ends it early")


class Asking(nn.Module):
    """Features that say whether TF32 is off; with autograd off, as all features are."""

    shape = None

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 2), float(off()))


def test_features_and_metrics_are_computed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    by_old_names()
    pixels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    assert bool((extract(Asking(), pixels) == 1).all())  # type: ignore[arg-type]
    asked = []

    def ask(*_: object) -> dict[str, float]:
        asked.append(off())
        return {}

    monkeypatch.setattr(during_training, "copies", ask)
    monkeypatch.setattr(during_training.distances, "moments", ask)
    monkeypatch.setattr(during_training.distances, "frechet", ask)

    class Data:
        def __len__(self) -> int:
            return 4

        def take(self, which: Tensor) -> tuple[Tensor, None]:
            return torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8), None

        def labels(self, which: Tensor) -> None: ...

    during_training.Coarse(Data())(Data().take(torch.arange(4))[0], None, last=True)
    assert asked == [True] * len(asked)
    assert len(asked) == 4
