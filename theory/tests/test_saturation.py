"""S2: the discriminator that is written out, and the places at which it is looked at."""

from __future__ import annotations

import math

import torch

from theory.claims.saturation import log_one_minus_discriminator, off_circle, on_circle


def test_the_discriminator_and_the_places_of_s2():
    x, turn = on_circle(4), torch.arange(4, dtype=torch.float64) * math.pi / 2
    wanted = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-15)
    p, q = 1 + torch.cos(turn) / 2, (1 + torch.sin(turn) / 2) / 2
    torch.testing.assert_close(log_one_minus_discriminator(x), torch.log(q / (p + q)), rtol=1e-14, atol=0)
    off = off_circle(200)
    assert torch.equal(off, off_circle(200))
    assert bool((log_one_minus_discriminator(off) == 0).all())
    gap = torch.linalg.vector_norm(off, dim=-1) - 1
    assert 1e-9 < float(gap.abs().min()) < 1e-7
    assert 1 < float(gap.max()) < 3
    assert -1 < float(gap.min()) < -0.3
    for inside in (gap < 0, gap > 0):
        quarters = torch.atan2(off[inside, 1], off[inside, 0]).div(math.pi / 2).floor()
        assert set(quarters.tolist()) == {-2, -1, 0, 1}
