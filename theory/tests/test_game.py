"""What E1 and E2's checkers are made of: conditions at rest, and particles."""

from __future__ import annotations

import pytest
import torch

from theory.claims.game import LOSSES, adversarial_value, descended, games, residual, spread
from theory.divergences import optimal_discriminator, value
from theory.equilibrium import equilibrium
from theory.manifolds import Gaussians


def test_v_from_entropies_is_v():
    found = games()[1]
    q = torch.rand(len(found.p), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = q / q.sum()
    wanted = value(optimal_discriminator(found.p, q), found.p, q, torch.ones_like(q))
    assert float(adversarial_value(found, q)) == pytest.approx(float(wanted), abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_conditions_tell_a_rest_point_from_its_neighbours(loss):
    found = games()[0]
    q = equilibrium(found.p, found.ell, 0.5, loss)
    assert max(map(float, residual(found, q, 0.5, loss))) < 1e-12
    moved = q.clone()
    moved[0], moved[1] = q[0] - 1e-3, q[1] + 1e-3
    assert float(residual(found, moved, 0.5, loss)[0]) > 1e-3


def test_mass_that_is_missing_where_it_pays_is_seen():
    """A mode emptied: the marginal loss there is below c."""
    found = games()[0]
    q = equilibrium(found.p, found.ell, 0.1)
    moved = q.clone()
    moved[0], moved[1] = 0.0, q[1] + q[0]
    assert float(residual(found, moved, 0.1, "saturating")[1]) > 1


def test_particles_below_the_critical_noise_divide():
    x = torch.tensor([[-1.5], [-0.4], [0.4], [1.5]], dtype=torch.float64)
    end = descended(Gaussians([(-1.0,), (1.0,)]), x, nsr=0.5, steps=40)
    assert float(end[:2].max()) < -0.5
    assert float(end[2:].min()) > 0.5


def test_the_spread_is_a_mean_deviation():
    found = games()[0]
    mean = float(found.p @ found.ell)
    assert float(spread(found)) == pytest.approx(
        float(sum(p * abs(e - mean) for p, e in zip(found.p, found.ell, strict=True)))
    )
