"""Classes of a mixture, and the blocks in which a batch holds them."""

from __future__ import annotations

import pytest
import torch

from theory.common.seeds import generator
from theory.manifolds import Embedded, Gaussians, make
from toy.training.classes import Classes


def test_classes_of_the_catalogue() -> None:
    ring = Classes(make("8-ring"))
    assert len(ring) == 8
    assert repr(ring.laws[0]) == repr(Gaussians([(1.0, 0.0)], 0.02))
    moons = Classes(make("two-moons", dim=5, thickness=0.1))
    assert len(moons) == 2
    assert all(law.dim == 5 and isinstance(law.law, Embedded) for law in moons.laws)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["ring", "torus", "checkerboard"])
def test_no_mixture_has_no_classes(name: str) -> None:
    with pytest.raises(ValueError, match="conditional needs a mixture"):
        Classes(make(name))


def test_blocks_follow_the_weights() -> None:
    classes = Classes(make("weighted"))
    assert [part.stop - part.start for part in classes.parts(10)] == [4, 3, 2, 1]
    assert classes.one_hot(torch.empty(1, 10, 2)).sum(0).tolist() == [4, 3, 2, 1]
    assert classes.one_hot(torch.empty(1, 3, 2), label=2).tolist() == [[0, 0, 1, 0]] * 3
    with pytest.raises(ValueError, match="a row of each of the 4 classes; given 2 rows"):
        classes.parts(2)


def test_samples_are_of_their_class() -> None:
    classes = Classes(make("weighted"))
    x = classes.sample(3, 40, generator(0, 0))
    assert x.shape == (3, 40, 2)
    assert classes.wrong(x).tolist() == [0, 0, 0]
    assert classes.wrong(x.flip(1)).min() > 0.5
    assert not torch.equal(x[0], x[1])
