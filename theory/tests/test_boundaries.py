"""P2: what the dimension law reads at boundaries and beyond them."""

from __future__ import annotations

import pytest

from theory.claims.squared_distance import BEYOND_THE_END, Case, check_pythagoras
from theory.manifolds import Box, Segment


@pytest.mark.parametrize(
    ("case", "reads"),
    [
        (Case("on a segment's end", Segment((-1, 0), (1, 0)), ((1.0, 0.0),), k=1), 1),
        (BEYOND_THE_END[0], 2),
        (Case("on a square's corner", Box((-1, -1), (1, 1)), ((1.0, 1.0),), k=2), 2),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_boundaries_read(case, reads):
    limit = next(iter(check_pythagoras((case,))))
    assert limit.measured == pytest.approx(reads, abs=1e-4)
