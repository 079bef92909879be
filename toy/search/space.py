"""The ranges in which a search looks for an arm's settings, and when it has to look further.

All ranges are logarithmic. A best value within the outer EDGE of its range says that the range is too small: it is
extended by FACTOR on that side, and the search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

EDGE = 0.1  # of the length of a range, in logarithms
FACTOR = 10.0
NEAR = 5.0


class Range(NamedTuple):
    """Values from low to high, by their logarithms; 0 too if `zero`."""

    low: float
    high: float
    zero: bool = False

    def place(self, value: float) -> float:
        """0 at the lower end, 1 at the upper one."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def value(self, place: float) -> float:
        """The value at a place: the inverse of `place`."""
        return self.low * (self.high / self.low) ** place


RANGES: Mapping[str, Range] = {
    "lr": Range(1e-4, 5e-2),
    "d_lr": Range(1e-4, 5e-2),
    "gamma": Range(1e-3, 10.0, zero=True),
    "weight": Range(1e-6, 3.0),
}
"""Option of a setting -> where it is looked for."""


def around(settings: Sequence[Mapping[str, float]], usual: Mapping[str, Range]) -> dict[str, Range]:
    """From the least value of these settings over NEAR to NEAR times the greatest; as usual where all are 0."""
    found = {}
    for name, searched in usual.items():
        values = [setting[name] for setting in settings if setting[name] > 0]
        found[name] = Range(min(values) / NEAR, NEAR * max(values), searched.zero) if values else searched
    return found


def edge(value: float, searched: Range) -> int:
    """-1 or 1 where the value lies within the outer EDGE of the range at its lower or upper end, else 0.

    A value of 0, where the range has it, lies at no edge.
    """
    if searched.zero and value == 0:
        return 0
    place = searched.place(value)
    return -1 if place < EDGE else 1 if place > 1 - EDGE else 0


def extended(best: Mapping[str, float], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, each extended at the end where its best value lies at the edge."""
    found = {}
    for name, searched in ranges.items():
        side = edge(best[name], searched)
        low = searched.low / FACTOR if side < 0 else searched.low
        high = searched.high * FACTOR if side > 0 else searched.high
        found[name] = Range(low, high, searched.zero)
    return found


def at_edges(best: Mapping[str, float], ranges: Mapping[str, Range]) -> list[str]:
    """The options whose best value lies at an edge."""
    return [name for name, searched in ranges.items() if edge(best[name], searched)]
