"""The rule that chooses, on tables made by hand; and a small search from end to end."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from theory.common.commandline import run
from toy.config import ARMS, PRESETS, Arm
from toy.run import main
from toy.sweep import tuning as tune
from toy.sweep.design import SHORT
from toy.sweep.tuning import METRICS, best, grid


def table(*rows: tuple[float, float, float]) -> pd.DataFrame:
    """Settings by (coverage, total variation, mean distance); the other metrics say the opposite."""
    frame = pd.DataFrame(rows, columns=["coverage", "total_variation", "mean_distance"])
    return frame.assign(off_manifold=-frame.mean_distance, w2=-frame.mean_distance)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([(0.9, 0.1, 0.3), (0.9, 0.1, 0.2), (0.9, 0.1, 0.4)], 1),  # the least distance
        ([(0.9, 0.1, 0.3), (0.87, 0.1, 0.2)], 0),  # not paid for in coverage
        ([(0.9, 0.1, 0.3), (0.881, 0.1, 0.2)], 1),  # of which 0.02 may go
        ([(0.9, 0.1, 0.3), (0.9, 0.13, 0.2)], 0),  # nor in total variation
        ([(0.9, 0.1, 0.3), (0.9, 0.119, 0.2)], 1),
        ([(0.9, 0.1, 0.3), (0.95, 0.07, 0.5), (0.5, 0.5, 0.1)], 1),  # higher coverage, lower total variation
        ([(0.9, 0.5, 0.3), (0.89, 0.5, 0.25), (0.5, 0.1, 0.1)], 1),  # no setting satisfies both: coverage decides
        ([(0.9, 0.1, 0.3)], 0),
    ],
)
def test_rule(rows: list[tuple[float, float, float]], wanted: int) -> None:
    assert best(table(*rows)).name == wanted


def test_rule_does_not_depend_on_order_or_names() -> None:
    frame = table((0.9, 0.1, 0.3), (0.87, 0.1, 0.1), (0.895, 0.105, 0.2)).set_index(pd.Index([7, 3, 5]))
    assert best(frame).name == best(frame[::-1]).name == 5


@pytest.mark.parametrize("preset", PRESETS)
def test_the_grid(preset: str) -> None:
    """All its settings are an arm's of this preset; a bound that is set is kept."""
    for name in ARMS:
        arm = PRESETS[preset].arm(name)
        assert {(setting.bound, setting.d_lr, setting.gamma) for setting in grid(preset, name, arm)} == {
            (arm.bound, arm.d_lr, arm.gamma)
        }
        assert all(setting.weight == 0 for setting in grid(preset, name, arm)) == (name == "gan")
    assert {setting.bound for setting in grid(preset, "bounded", Arm(1e-3, 0.1, 7.0))} == {7.0}


SMALL = "--tune --processes 1 --width 8 --layers 1 --steps 4 --batch 8 --samples 16 --d-ahead 2 --arms gan summed"


def complaints(err: str) -> list[str]:
    """The lines of standard error that are no progress, which a slow machine prints."""
    return [line for line in err.splitlines() if "% done" not in line]


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "RATES", (1e-3, 1e-2))
    monkeypatch.setattr(tune, "WEIGHTS", {"saturated": (0.1, 0.3)})


@pytest.mark.usefixtures("small_grid")
def test_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, SMALL.split()) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == []
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["arm", "lr", "lambda", *(SHORT.get(name, name) for name in METRICS)]
    assert max(map(len, out.splitlines())) <= 80
    settings = [(arm, float(lr), float(weight)) for arm, lr, weight, *_ in lines[1:7]]
    assert settings == [("gan", lr, 0) for lr in (1e-3, 1e-2)] + [
        ("summed", lr, weight) for lr in (1e-3, 1e-2) for weight in (0.1, 0.3)
    ]
    numbers = pd.DataFrame([line[3:8] for line in lines[1:7]], columns=list(METRICS)).astype(float)
    marked = [index for index, line in enumerate(lines[1:7]) if line[-1] == "best"]
    assert [index < 2 for index in marked] == [True, False]
    winners = [best(numbers[:2]), best(numbers[2:])]  # of rounded numbers, which may tie
    assert numbers.mean_distance[marked].tolist() == [winner.mean_distance for winner in winners]
    assert "seeds 10000 to 10003; 0 settings diverged" in out


@pytest.mark.usefixtures("small_grid")
def test_settings_that_diverge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They are counted and left out; where all diverge, the command fails."""
    monkeypatch.setattr(tune, "RATES", (1e-3, 1e30))
    assert run(main, [*SMALL.split(), "--arms", "gan"]) == 0
    assert "1 settings diverged" in capsys.readouterr().out
    monkeypatch.setattr(tune, "RATES", (1e30, math.nextafter(1e30, 0)))
    assert run(main, [*SMALL.split(), "--arms", "gan"]) == 1
    assert complaints(capsys.readouterr().err) == ["error: all 2 settings diverged"]
