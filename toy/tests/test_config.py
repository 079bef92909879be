"""Configurations: wrong types and values are refused by name, whatever the caller; names ignore case."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from theory.common.colours import ARM_COLOURS, ARM_LABELS, COUPLINGS
from toy.config import ARMS, CHOICES, DECOUPLED, MANIFOLDS, OWN_STEP, PRESETS, Arm, Config, as_dict

NAN = float("nan")
WRONG = [
    ({"steps": "3"}, "steps must be a whole number of at least 1; given '3'"),
    ({"width": 16.0}, "width must be a whole number of at least 1; given 16.0"),
    ({"seeds": True}, "seeds must be a whole number of at least 1; given True"),
    ({"first_seed": 2**62}, "first_seed + seeds must be at most 2^62; given first_seed=4611686018427387904, seeds=8"),
    ({"dim": 2.5}, "dim must be a whole number of at least 1; given 2.5"),
    ({"arms": "gan"}, "arms must be a tuple of names; given 'gan'"),
    ({"arms": ("gan", 3)}, "arm must be one of gan, summed, own-step, two-adams, decoupled, bounded; given 3"),
    ({"arms": ("smart",)}, "unknown arm 'smart': choose from gan, summed, own-step, two-adams, decoupled, bounded"),
    ({"corrected": 1}, "corrected must be True or False; given 1"),
    ({"own_step": Arm(-1.0)}, "own_step.lr must be positive and finite; given -1.0"),
    (
        {"arms": ("gan", "GAN")},
        "arms must name one or more different arms of gan, summed, own-step, two-adams, ",
    ),
    ({"low": NAN}, "low must be a finite number; given nan"),
    ({"gamma": "1"}, "gamma must be a finite number; given '1'"),
    ({"ema": 1.0}, "ema must lie in [0, 1); given 1.0"),
    ({"conditional": 1}, "conditional must be True or False; given 1"),
    ({"equal_length": "no"}, "equal_length must be True or False; given 'no'"),
    ({"manifold": 3}, "manifold must be one of points, "),
    ({"manifold": "rign"}, "unknown manifold 'rign': choose from points, "),
    ({"loss": None}, "loss must be one of saturating, "),
    ({"gan": 3}, "gan must be an Arm(lr, weight, bound); given 3"),
    ({"gan": Arm(1e-3, 0.1)}, "gan is the arm without a score term, it takes no weight; given gan.weight 0.1"),
    ({"gan": Arm(1e-3, bound=2.0)}, "gan is the arm without a score term, it takes no bound; given gan.bound 2.0"),
    (
        {"summed": Arm("1e-3")},  # type: ignore[arg-type]
        "summed.lr must be a finite number; given '1e-3'",
    ),
    ({"summed": Arm(1e-3, NAN)}, "summed.weight must be a finite number; given nan"),
    ({"decoupled": Arm(1e-3, 0.1, 0.0)}, "decoupled.bound must be positive and finite; given 0.0"),
    ({"summed": Arm(1e-3, d_lr=0.0)}, "summed.d_lr must be positive and finite; given 0.0"),
    ({"gan": Arm(1e-3, gamma=-1.0)}, "gan.gamma must be at least 0 and finite; given -1.0"),
    ({"bounded": Arm(1e-3, 0.1)}, "bounded.bound must be a number: without a bound the arm is decoupled; given None"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG, ids=[str(changes) for changes, _ in WRONG])
def test_wrong_values(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}[^\n]*$"):
        Config(**changes)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
def test_every_option_is_checked(name: str) -> None:
    wrong: Any = object()
    with pytest.raises(ValueError, match=f"^{name} "):
        Config(**{name: wrong})


def test_one_form() -> None:
    """Names in any case, lists and numpy's numbers: the configuration is equal to the usual one, and JSON holds it."""
    arms, steps, lr, gamma = ["GAN", "Summed"], np.int64(3), np.float32(0.5), np.float32(2)
    arm = Arm(lr, d_lr=1, gamma=gamma)  # type: ignore[arg-type]
    given: dict[str, Any] = {"arms": arms, "steps": steps, "start": 3, "gan": arm}
    odd = Config(manifold="RING", loss="Saturating", **given)
    plain = Config(arms=("gan", "summed"), steps=3, gan=Arm(0.5, d_lr=1.0, gamma=2.0))
    assert odd == plain
    assert json.dumps(as_dict(odd)) == json.dumps(as_dict(plain))
    assert hash(odd) == hash(plain)


def test_names() -> None:
    """Arms are the couplings, each with a label and a colour of its own; every preset has each arm's options."""
    assert ARMS == COUPLINGS
    assert {*DECOUPLED, *OWN_STEP} == set(ARMS) - {"gan", "summed"}
    assert list(ARM_LABELS) == list(ARM_COLOURS) == list(COUPLINGS)
    assert len(set(ARM_LABELS.values())) == len(set(ARM_COLOURS.values())) == len(COUPLINGS)
    assert PRESETS["saturated"].bounded == dataclasses.replace(PRESETS["saturated"].decoupled, bound=3.0)
    for config in PRESETS.values():
        assert config.bounded.bound == 3.0
        assert config.own_step.bound is config.two_adams.bound is None
        assert (config.gan.weight, config.summed.bound, config.decoupled.bound) == (0.0, None, None)


@pytest.mark.parametrize("option", ["manifold", *CHOICES])
def test_case_is_ignored(option: str) -> None:
    for choice in {"manifold": MANIFOLDS, **CHOICES}[option]:
        needs: dict[str, Any] = {"training_samples": 9} if option == "score" else {}
        assert getattr(Config(**needs | {option: choice.upper()}), option) == choice


@pytest.mark.parametrize(
    ("width", "seeds", "sizes"),
    [
        (64, 4, [4]),  # the fewest
        (64, 8, [4, 4]),
        (64, 9, [5, 4]),  # halves
        (64, 40, [16, 16, 8]),  # the most
        (32, 8, [8]),
        (128, 16, [8, 8]),
        (2048, 3, [1, 1, 1]),
    ],
)
def test_stacks(width: int, seeds: int, sizes: list[int]) -> None:
    groups = Config(width=width, seeds=seeds, first_seed=5).seed_groups()
    assert [len(group) for group in groups] == sizes
    assert [seed for group in groups for seed in group] == list(range(5, 5 + seeds))
