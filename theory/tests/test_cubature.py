"""The rules of the adaptive cubature are Gauss and Kronrod's: exact for the polynomials of their degree, no further."""

from __future__ import annotations

import pytest
import torch

from theory.cubature import _rule


def moments(nodes: torch.Tensor, weights: torch.Tensor, axis: int, powers: range) -> list[float]:
    """The rule's integrals of x_axis^power over [-1, 1]^dim."""
    return [float(weights @ nodes[:, axis] ** power) for power in powers]


@pytest.mark.parametrize(("dim", "gauss", "kronrod"), [(1, 13, 23), (2, 13, 23), (3, 5, 11)])
def test_the_rules_have_their_degrees(dim: int, gauss: int, kronrod: int) -> None:
    """n nodes of Gauss: 2 n - 1; with Kronrod's n + 1 more: 3 n + 2 for odd n. Two degrees on, both fail."""
    nodes, high, low = _rule(dim)
    for weights, degree in ((high, kronrod), (low, gauss)):
        for axis in range(dim):
            exact = [2 ** (dim - 1) * (2 / (power + 1) if power % 2 == 0 else 0.0) for power in range(degree + 2)]
            found = moments(nodes, weights, axis, range(degree + 2))
            assert found[: degree + 1] == pytest.approx(exact[: degree + 1], abs=1e-14 * 2**dim)
            assert abs(found[degree + 1] - exact[degree + 1]) > 1e-12


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_all_weights_are_positive_or_of_the_other_rule(dim: int) -> None:
    nodes, high, low = _rule(dim)
    assert bool((high > 0).all())
    assert bool((low >= 0).all())
    assert int((low > 0).sum()) == {1: 7, 2: 7**2, 3: 3**3}[dim]
    assert bool((nodes.abs() < 1).all())
