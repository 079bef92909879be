"""How numbers are printed, and that a full table fits 80 columns."""

from __future__ import annotations

import pytest

from toy.config import Config
from toy.pictures.terminal import SHOWN, SOMETIMES, difference, interval, name, number, title


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.88194, ".882"), (0.0143, ".0143"), (-0.0469, "-.0469"), (1.0, "1.000"), (12.345, "12.345"), (0.0, ".0000"),
     (0.09951, ".100"), (-0.8676, "-.868"), (0.99999, "1.000"), (10.5, "10.500"), (221.603, "221.6"),
     (-100.0, "-100.0")],
)  # fmt: skip
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_cells() -> None:
    assert interval({"mean": 0.5, "low": 0.4, "high": 0.6}) == ".500 [.400,.600]"
    assert interval({"mean": 0.5, "low": None, "high": None}) == ".500"
    gain = {"difference": -0.25, "low": -0.5, "high": 0.01, "p": 0.0078}
    assert difference(gain) == "-.250 [-.500,.0100] .0078"
    assert difference(gain | {"low": None}) == "-.250"


def test_three_arms_fit_a_terminal() -> None:
    """80 columns: the longest metric name, three intervals of five characters a number, and what separates them."""
    cell = interval({"mean": 0.0143, "low": 0.0088, "high": 0.0206})
    assert len("energy distance") + 3 * len(cell) + 4 <= 80
    assert max(len(name(metric)) for metric in SHOWN + SOMETIMES) == len("energy distance")


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
