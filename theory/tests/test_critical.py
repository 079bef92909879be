"""critical_nsr: its examples, its invariances, and what has no critical noise."""

from __future__ import annotations

import doctest

import pytest

from theory import critical_noise as critical
from theory.critical_noise import critical_nsr, mean_and_width
from theory.manifolds import Embedded, Gaussians, Sphere

PAIR = Gaussians([(-1.0,), (1.0,)])


def test_the_examples_run():
    found = doctest.testmod(critical)
    assert found.attempted >= 4
    assert found.failed == 0


def test_it_is_the_same_wherever_the_law_is_put_and_scales_with_it():
    at_home = critical_nsr(PAIR)
    moved = Gaussians([(40.0,), (40.5,)])  # half a unit apart: a quarter of the size
    assert critical_nsr(moved) == pytest.approx(at_home / 4, rel=1e-5)
    in_a_plane = Embedded(PAIR, ((0.6,), (0.8,)), offset=(3.0, -2.0))
    assert critical_nsr(in_a_plane) == pytest.approx(at_home, rel=1e-5)


def test_mean_and_width():
    mean, width = mean_and_width(Gaussians([(0.0, 1.0), (2.0, 1.0)], weights=(0.25, 0.75)))
    assert mean.tolist() == pytest.approx([1.5, 1.0], abs=1e-9)
    assert width == pytest.approx(0.75**0.5, rel=1e-6)


@pytest.mark.parametrize("std", [0.0, 1.0])
def test_laws_whose_mean_always_attracts_have_none(std):
    with pytest.raises(ValueError, match="takes laws whose mean repels at small noise"):
        critical_nsr(Gaussians([(0.0, 0.0)], std=std))


def test_more_than_three_dimensions_are_refused():
    with pytest.raises(ValueError, match="dim at most 3, for which ell is a quadrature; given 4"):
        critical_nsr(Sphere(4))
