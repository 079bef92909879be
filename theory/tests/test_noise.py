"""I2: the mean resultant; C4: the way downhill."""

from __future__ import annotations

import pytest
import torch

from theory.claims.noise import downhill, mean_resultant


def test_the_mean_resultant_has_its_limit_where_bessel_functions_underflow():
    for d, kappa in ((400, 1e-3), (128, 0.5)):
        assert mean_resultant(d, kappa) == pytest.approx(kappa / d, rel=1e-4)


def test_steps_downhill_lead_to_the_nearest_minimum() -> None:
    """From either side; to an end too; on flat ground they stay."""
    value = torch.tensor([1.0, 2.0, 3.0, 2.5, 1.5, 4.0, 0.5, 0.5])
    assert [downhill(value, at) for at in range(8)] == [0, 0, 0, 4, 4, 6, 6, 7]
