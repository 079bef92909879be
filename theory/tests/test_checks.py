"""What checks accept and refuse, and that the refusal names what was given and what is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from theory.common import checks
from theory.common.checks import at_least, choose, existing, flag, positive, real, share, suggestion, whole

NAMES = ("ring", "8-ring", "two-moons")


@pytest.mark.parametrize("given", ["two-moons", "Two-Moons", "TWO-MOONS"])
def test_a_choice_ignores_case_and_is_given_as_it_is_spelt(given: str) -> None:
    assert choose(given, NAMES, "law") == "two-moons"
    assert choose(given, iter(NAMES), "law") == "two-moons"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rign", "unknown law 'rign': choose from ring, 8-ring, two-moons; did you mean 'ring'?"),
        ("TWO-MOON", "unknown law 'TWO-MOON': choose from ring, 8-ring, two-moons; did you mean 'two-moons'?"),
        ("cifar10", "unknown law 'cifar10': choose from ring, 8-ring, two-moons"),
        ("", "unknown law '': choose from ring, 8-ring, two-moons"),
        (3, "law must be one of ring, 8-ring, two-moons; given 3"),
        (None, "law must be one of ring, 8-ring, two-moons; given None"),
    ],
)
def test_a_choice_that_is_none_names_the_choices(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"law") as found:
        choose(given, NAMES, "law")
    assert str(found.value) == message


def test_names_with_commas_are_told_apart() -> None:
    with pytest.raises(ValueError, match="choose from 'a, x1', 'b, x1'; did you mean 'a, x1'"):
        choose("a, x", ("a, x1", "b, x1"), "cell")


def test_a_suggestion_is_the_nearest_or_nothing() -> None:
    assert suggestion("Rinf", ["Ring", "box"]) == "; did you mean 'Ring'?"
    assert suggestion("sphere", ["Ring", "box"]) == ""


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("check", "accepted", "refused", "wanted"),
    [
        (
            lambda n, v: whole(n, v),
            (0, 5, np.int64(3)),
            (-1, 1.0, True, "2", None, NAN),
            "a whole number of at least 0",
        ),
        (lambda n, v: whole(n, v, 2), (2, np.int32(9)), (1, 2.5), "a whole number of at least 2"),
        (real, (0, -1.5, np.float32(0.5), 10**6), (INF, -INF, NAN, True, "1", None, 1j, [1.0]), "a finite number"),
        (lambda n, v: at_least(n, v, 0.5), (0.5, 3), (0.49, -1), "at least 0.5 and finite"),
        (positive, (1e-300, 3), (0, 0.0, -1), "positive and finite"),
        (share, (0, 0.999), (1, 1.0, -1e-9), "lie in [0, 1)"),
        (flag, (True, False), (1, 0, "yes", None, np.True_), "True or False"),
    ],
    ids=["whole", "whole from 2", "real", "at least", "positive", "share", "flag"],
)
def test_checks(check: Callable[[str, Any], Any], accepted: tuple, refused: tuple, wanted: str) -> None:
    for value in accepted:
        assert check("lr", value) == value
    for value in refused:
        with pytest.raises(ValueError, match=r"^lr must ") as found:
            check("lr", value)
        assert wanted in str(found.value)
        assert str(found.value).endswith(f"; given {value!r}")


@pytest.mark.parametrize(
    "check", [lambda n, v: at_least(n, v, 0), positive, share], ids=["at least", "positive", "share"]
)
@pytest.mark.parametrize("value", [INF, NAN, True, "1", None, torch.zeros(2)], ids=repr)
def test_what_is_no_finite_number_is_refused_by_every_check_of_numbers(check: Callable, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^lr must .*given"):
        check("lr", value)


def test_plain_numbers_come_back() -> None:
    assert type(whole("n", np.int64(3))) is int
    for check in (real, positive, share, lambda n, v: at_least(n, v, 0)):
        assert type(check("x", np.float32(0.5))) is float
    assert type(real("x", 1)) is float


def test_a_path_exists_or_is_named(tmp_path: Path) -> None:
    assert existing("--images", tmp_path) == tmp_path
    with pytest.raises(ValueError, match=r"^--images: .*nowhere does not exist$"):
        existing("--images", tmp_path / "nowhere")


def test_messages_quote_a_part_of_what_is_long() -> None:
    assert checks.told("a" * 78) == repr("a" * 78)
    assert checks.told("a" * 79) == f"'{'a' * 76}..."
    assert checks.told(10**5000) == "a whole number of 16610 bits"
    assert checks.few(["a", "b", "c"]) == "a, b, c"
    assert checks.few("abcde", between="; ") == "a; b; c and 2 more"
    assert checks.few(["x" * 81]) == f"{'x' * 77}..."


def test_numbers_beyond_those_of_64_bits_are_refused() -> None:
    assert checks.whole("n", 2**62) == 2**62
    with pytest.raises(ValueError, match=r"^n must be at most 4611686018427387904; given 4611686018427387905$"):
        checks.whole("n", 2**62 + 1)
    with pytest.raises(ValueError, match=r"^n must be at most 7; given 8$"):
        checks.whole("n", 8, most=7)
    with pytest.raises(ValueError, match=r"^x must be a finite number; given 1000"):
        checks.real("x", 10**400)
