"""S8: pairs of circles that meet are found."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from theory.claims.other_divergences import meet_in_space, of_points, random_circles, touching


def test_who_touches_cannot_be_told_and_few_do():
    gap, r, s = torch.tensor([3.0, 3.0 + 9e-6, 3.0 + 2e-5, 1.0, 1.0 - 9e-6, 0.9, 2.5]), 2.0, torch.tensor(1.0)
    assert touching(gap.double(), torch.tensor(r), s).tolist() == [True, True, False, True, True, False, False]
    assert touching(torch.tensor(1.0), s, torch.tensor(r)) == torch.tensor(True)


def test_circles_made_to_meet_are_found() -> None:
    """S8 counts pairs that meet: each second circle is moved to any point of the first; and off it, by 1e-6."""
    generator = torch.Generator().manual_seed(1)
    first, second = random_circles(200, 3, generator), random_circles(200, 3, generator)
    angle = 2 * math.pi * torch.rand(200, 1, generator=generator, dtype=torch.float64)
    point = first.c + first.r[:, None] * (torch.cos(angle) * first.u + torch.sin(angle) * first.v)
    for apart, wanted in ((0.0, 200), (1e-6, 0)):
        moved = dataclasses.replace(second, c=point - (second.r[:, None] + apart) * second.u)
        assert int(meet_in_space(first, moved).sum()) == wanted


@pytest.mark.parametrize(("d", "k"), [(2, 1), (3, 2)])
def test_points_of_a_sphere_are_as_far_from_another_as_they_can_be(d: int, k: int) -> None:
    """At gap - r to gap + r from its centre; some come near the farthest."""
    generator = torch.Generator().manual_seed(10 + d + k)
    first, second = (random_circles(20_000, d, generator) for _ in range(2))
    gap = torch.linalg.vector_norm(first.c - second.c, dim=-1)
    farthest = torch.maximum(gap + first.r - second.r, second.r - (gap - first.r).abs())
    share = of_points(20_000, d, k, False) / farthest
    assert float(share.max()) == pytest.approx(1, abs=1e-3)
