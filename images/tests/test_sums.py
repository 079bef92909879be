"""Sums in pairs: the same bits however the terms are split over processes."""

from __future__ import annotations

import pytest
import torch

from images.sums import Pairs, in_pairs


def terms(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1000, generator=generator) * 10.0 ** (3 * (i % 3)) for i in range(n)]


def test_it_is_the_sum() -> None:
    for n in range(1, 12):
        found = in_pairs(terms(n))
        wanted = torch.stack(terms(n)).double().sum(0)  # of up to 1e6; found in float32
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2.0)
    assert Pairs().total() == []


def test_pairs_hold_few_sums() -> None:
    pairs = Pairs()
    for n, term in enumerate(terms(64), 1):
        pairs.add([term])
        assert len(pairs.held) == n.bit_count() <= n.bit_length()


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_branches_have_the_bits_of_the_tree(processes: int) -> None:
    """16 terms over several processes, whose sums are then added in pairs; one after the other they differ."""
    all_of, each = terms(16), 16 // processes
    parts = [in_pairs(all_of[rank * each : (rank + 1) * each]) for rank in range(processes)]
    assert torch.equal(in_pairs(parts), in_pairs(all_of))
    if 1 < processes < 8:  # the near-miss
        whole, branches = one_by_one(all_of), [one_by_one(all_of[r * each : (r + 1) * each]) for r in range(processes)]
        assert not torch.equal(one_by_one(branches), whole)


def one_by_one(terms: list[torch.Tensor]) -> torch.Tensor:
    total = torch.zeros(1000)
    for term in terms:
        total = total + term
    return total
