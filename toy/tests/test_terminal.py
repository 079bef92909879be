"""The report on standard output: how numbers are printed, and that tables fit the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from toy.config import ARMS, Arm, Config
from toy.pictures.terminal import (
    NAME,
    REAL,
    SHOWN,
    SOMETIMES,
    difference,
    interval,
    level,
    name,
    number,
    options,
    print_tables,
    title,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.88194, "0.882"), (0.0143, "0.014"), (-0.0469, "-0.047"), (1.0, "1.000"), (12.345, "12.35"), (0.0, "0.000"),
     (-0.0001, "0.000"), (9.9996, "10.00"), (0.99999, "1.000"), (221.603, "221.6"), (-99.996, "-100.0")],
)  # fmt: skip
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_cells() -> None:
    assert interval({"mean": 0.5, "low": 0.4, "high": 0.6}) == "0.500 [0.400,0.600]"
    assert interval({"mean": 0.5, "low": None, "high": None}) == "0.500"
    gain = {"difference": -0.25, "low": -0.5, "high": 0.01, "p": 0.0078}
    assert difference(gain) == "-0.250 [-0.500,0.010] 0.008"
    assert difference(gain | {"low": None}) == "-0.250"


def test_real_samples_stand_beside_the_arms() -> None:
    """Their mean, without an interval; nothing for what only generators have."""
    columns = {"gan": {"kl": {"mean": 0.5, "low": 0.4, "high": 0.6}}, REAL: {"kl": {"mean": 0.008, "std": 0.003}}}
    assert [level(columns, column, "kl") for column in columns] == ["0.500 [0.400,0.600]", "0.008"]
    assert level(columns, REAL, "negative_log_likelihood") == ""


def test_options() -> None:
    """All that sets an arm apart."""
    config = Config(weight_rule="annealed", gan=Arm(2.5e-4), summed=Arm(8e-3, 0.1), bounded=Arm(2e-3, 0.1, 3.0))
    shown = [options(config, config.arm(arm)) for arm in ("gan", "summed", "bounded")]
    assert shown == [
        "lr 0.00025, weight 0",
        "lr 0.008, weight 0.1 (annealed)",
        "lr 0.002, weight 0.1 (annealed), bound 3",
    ]
    assert options(Config(), Arm(1e-3, d_lr=0.5, gamma=0)) == "lr 0.001, weight 0, d_lr 0.5, gamma 0"


@pytest.mark.parametrize(("width", "fitting"), [(80, 3), (120, 5), (10_000, 6)])
@pytest.mark.parametrize("terminal", [True, False])
def test_tables_fit_the_terminal(width: int, fitting: int, terminal: bool) -> None:
    """All arms: no line is longer than the terminal, no cell is broken, each arm is there once."""
    written = io.StringIO()
    shown = Console(file=written, width=width, force_terminal=terminal, color_system=None)
    cell = interval({"mean": 0.0143, "low": 0.0088, "high": 0.0206})
    print_tables(shown, list(ARMS), SHOWN + SOMETIMES, lambda *_: cell)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= min(width, 160)
    wanted = [list(ARMS[i : i + fitting]) for i in range(0, len(ARMS), fitting)]
    assert [line.split() for line in lines if any(arm in line.split() for arm in ARMS)] == wanted
    rows = [line for line in lines if cell in line]
    assert len(rows) == len(wanted) * len(SHOWN + SOMETIMES)
    assert sum(line.count(cell) for line in rows) == len(ARMS) * len(SHOWN + SOMETIMES)
    assert max(len(name(metric)) for metric in SHOWN + SOMETIMES) == NAME


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (Config(), "ring, saturating loss, 1500 steps"),
        (Config(dim=32, loss="hinge", regulariser="r1"), "ring in R^32, hinge loss, r1, 1500 steps"),
        (Config(generator="vae", loss="hinge", steps=7), "ring, a variational autoencoder, 7 steps"),
        (Config(manifold="8-ring", conditional=True), "8-ring, class-conditional, saturating loss, 1500 steps"),
    ],
)
def test_title(config: Config, text: str) -> None:
    assert title(config) == text
