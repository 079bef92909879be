"""The slopes of the losses against autograd, and the losses against their formulas in D."""

from __future__ import annotations

import pytest
import torch

from toy.losses import GENERATOR_LOSSES, LOG_ONE_MINUS_D, MINUS_LOG_D, MINUS_LOG_ONE_MINUS_D, Loss

FORMULAS = [
    (MINUS_LOG_D, lambda d: -d.log()),
    (MINUS_LOG_ONE_MINUS_D, lambda d: -(1 - d).log()),
    (LOG_ONE_MINUS_D, lambda d: (1 - d).log()),
]


@pytest.mark.parametrize(("loss", "formula"), FORMULAS, ids=["-log D", "-log(1-D)", "log(1-D)"])
def test_value_and_slope(loss: Loss, formula) -> None:
    logit = torch.linspace(-12, 12, 49, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(loss.value(logit), formula(torch.sigmoid(logit)), rtol=1e-9, atol=1e-12)
    (slope,) = torch.autograd.grad(loss.value(logit).sum(), logit)
    torch.testing.assert_close(loss.slope(logit.detach()), slope)


def test_what_saturating_means() -> None:
    """Where the discriminator is sure of a fake, the saturating slope is gone and the other is not."""
    sure = torch.tensor([-40.0])
    assert abs(GENERATOR_LOSSES["saturating"].slope(sure)) < 1e-16
    assert GENERATOR_LOSSES["non-saturating"].slope(sure) == -1


@pytest.mark.parametrize("loss", [loss for loss, _ in FORMULAS])
def test_far_logits_are_finite(loss: Loss) -> None:
    far = torch.tensor([-1e30, 1e30])
    assert loss.value(far).isfinite().all()
    assert loss.slope(far).isfinite().all()
