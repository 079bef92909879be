"""Sums in an order that does not depend on how many processes hold the terms: in pairs, then in pairs of those, ...

Where the number of terms is a power of two, and each of a power of two of processes holds as many in a row, the sum of
each process is one of the tree's branches: ((a + b) + (c + d)) has the same bits over one process, two or four.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor


class Pairs:
    """The sum of what is added, in pairs. It holds at most log2(n) + 1 of n terms."""

    def __init__(self) -> None:
        self.held: list[tuple[int, list[Tensor]]] = []  # (the number of times that it was paired, its sum)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """One more term: a list of tensors, of the same length and shapes as the others."""
        times, found = 0, list(tensors)
        while self.held and self.held[-1][0] == times:
            times, found = times + 1, added(self.held.pop()[1], found)
        self.held.append((times, found))

    def total(self) -> list[Tensor]:
        """The sum; no tensors if there were no terms."""
        found: list[Tensor] = []
        for _, before in reversed(self.held):
            found = added(before, found) if found else before
        return found


def in_pairs(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    pairs = Pairs()
    for term in terms:
        pairs.add([term])
    return pairs.total()[0]


def added(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    return [x + y for x, y in zip(a, b, strict=True)]
