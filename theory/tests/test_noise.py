"""I2: the mean resultant."""

from __future__ import annotations

import pytest

from theory.claims.noise import mean_resultant


def test_the_mean_resultant_has_its_limit_where_bessel_functions_underflow():
    for d, kappa in ((400, 1e-3), (128, 0.5)):
        assert mean_resultant(d, kappa) == pytest.approx(kappa / d, rel=1e-4)
