"""A law lives where its points are: tried on torch's device "meta", which has shapes and no values.

Tensors of two devices do not mix there either. What asks for values cannot be tried so: the draws of a mixture, and the
squares of a checkerboard.
"""

from __future__ import annotations

import pytest
import torch

from theory.levels import Interval
from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    random_isometry,
)

PLAIN: list[Law] = [
    Gaussians([(0, 0), (1, 1)], (0.1, 0.2)),
    Gaussians([(0, 0), (1, 1)]),
    Sphere(3),
    Arc(),
    Segment((0, 0), (1, 1)),
    Box((0, 0), (1, 1)),
    AffineGaussian((0, 0), [(1, 0)]),
    Thickened(Sphere(2), 0.1),
    Product(Sphere(2), Segment((0,), (1,))),
    Embedded(Sphere(2), random_isometry(3, 2, 0).tolist(), (1, 0, 0)),
    Scaled(Sphere(2), 2.0),
]
MIXED = Mixture([Sphere(2), Segment((0, 0), (1, 1))])
BOARD = Checkerboard()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", [*PLAIN, MIXED], ids=repr)
def test_laws_keep_device_and_dtype(law: Law, dtype: torch.dtype) -> None:
    y, nsr = (torch.empty(*shape, device="meta", dtype=dtype) for shape in ((5, law.dim), (5,)))
    found = [law._denoise(y, nsr), law._log_density(y, nsr), law._score(y, nsr), law.project(y), law.distance(y)]
    for part in (*found, *law._posterior(y, nsr), *law._anchored(y, nsr)):
        assert (part.device.type, part.dtype) == ("meta", dtype)


@pytest.mark.parametrize("law", PLAIN, ids=repr)
def test_draws_are_where_they_are_asked_for(law: Law) -> None:
    assert law.sample(5, device="meta").device.type == "meta"
    assert Interval(0.1, 0.2).sample(5, device="meta").device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", [*PLAIN, MIXED, BOARD], ids=repr)
def test_draws_are_those_of_the_generator(law: Law, dtype: torch.dtype) -> None:
    first, again, other = (law.sample(50, torch.Generator().manual_seed(seed), dtype) for seed in (0, 0, 1))
    assert first.dtype == dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert law.sample(3).dtype == torch.float32
