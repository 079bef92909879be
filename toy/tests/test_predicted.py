"""Measured shares of a mixture's parts against the equilibrium of the game."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from theory.manifolds import Mixture, make
from toy.config import Arm, Config
from toy.sweep.predicted import shares

torch.set_num_threads(1)


def config(weight: float, **changes) -> Config:
    return dataclasses.replace(Config(manifold="mixed", arms=("summed",), summed=Arm(1e-3, weight)), **changes)


def test_real_samples_have_no_bias() -> None:
    """A share of 1000 samples is off by .015 (one standard error); four of them, of three seeds: 6e-5 a side."""
    samples = make("mixed").sample(3000, torch.Generator().manual_seed(0)).view(3, 1000, 2)
    found = shares(config(0.0), samples)
    assert max(found["bias"]) < 0.06
    assert found["predicted_bias"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["prediction_error"] == pytest.approx(found["bias"], abs=1e-6)
    assert [sum(found[f"share_{c}"][s] for c in (1, 2, 3)) for s in range(3)] == pytest.approx([1, 1, 1])


def test_the_predicted_distribution_is_recognised() -> None:
    """Claim E2 on the point, circle and square at lambda 1: most of the mass at the point, whose ell is least."""
    wanted = [0.832, 0.115, 0.053]
    law = Mixture(make("mixed").laws, wanted)  # type: ignore[attr-defined]
    samples = law.sample(2000, torch.Generator().manual_seed(0)).view(2, 1000, 2)
    found = shares(config(1.0), samples)
    assert max(found["prediction_error"]) < 0.06
    assert min(found["bias"]) > 0.4
    assert found["predicted_bias"][0] == pytest.approx(0.832 - 1 / 3, abs=0.02)
    swapped = shares(config(1.0, loss="non-saturating"), samples)
    assert min(swapped["prediction_error"]) > min(found["prediction_error"])


@pytest.mark.parametrize(("changes", "said"), [({"manifold": "ring"}, "needs a mixture"), ({"loss": "hinge"}, "hinge")])
def test_no_prediction(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shares(config(0.1, **changes), torch.zeros(1, 4, 2))
