"""Where laws end: how large numbers may be for all to be finite, and how many points for memory to be bounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from theory.manifolds import Gaussians, Law, Points, Scaled, make, names
from theory.manifolds import law as module
from theory.manifolds.law import BOUND

LAWS: dict[str, Law] = {
    **{name: make(name) for name in names()},
    "ring in R^32": make("ring", dim=32),
    "8-ring in R^32": make("8-ring", dim=32),
    "sphere in R^10": make("sphere", n=9),
    "thickened": make("ring", thickness=0.1),
    "scaled": Scaled(make("square"), 0.5),
    "file": Points([(-1.0, 0.5), (0.25, 1.0)], 0.1),
    "unequal": Gaussians([(-1.0, 0.5), (0.25, 1.0)], [0.0, 0.3]),
}
SIZE = 4.0  # max |x| of each; of those with Gaussian noise, up to 1e-9 of their mass
DTYPES = (torch.float32, torch.float64)
LARGEST = {dtype: torch.finfo(dtype).max for dtype in DTYPES}


def points(law: Law, length: float, dtype: torch.dtype, count: int = 6) -> Tensor:
    """Points of this length, in fixed directions."""
    way = torch.randn(count, law.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (length * torch.nn.functional.normalize(way, dim=-1)).to(dtype)


def slope(f: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    y = y.clone().requires_grad_()
    return torch.autograd.grad(f(y).sum(), y)[0]


# Large and small numbers


def corners(bound: float) -> list[tuple[float, float]]:
    """(|y| / alpha, nsr) all around what the docstring allows, within by a factor of 1.1."""
    low, high = 1.1 * SIZE / bound, bound / 1.1 - SIZE
    return [
        *((length, low) for length in (0.0, 1.1 / bound, 1e-3)),
        (1.0, 1.1 * (1 + SIZE) / bound),
        *((length, high) for length in (0.0, 1.0, high)),
        (high, 1.2),
        (1e-3 * high, 1.2e-3),
        (high**0.5, 1.2 * high**-0.5),
    ]


# the bound of float32 is the lower one
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", LAWS)
def test_all_is_finite_up_to_the_bound(name: str, dtype: torch.dtype) -> None:
    law, bound = LAWS[name], BOUND[dtype]
    for (length, nsr), alpha in zip(corners(bound), cycle((1.0, 1e-6, 1e6)), strict=False):
        y, sigma, r = points(law, alpha * length, dtype), alpha * nsr, length + SIZE

        def log_density(y: Tensor, alpha: float = alpha, sigma: float = sigma) -> Tensor:
            return law.log_density(y, alpha, sigma)

        def score(y: Tensor, alpha: float = alpha, sigma: float = sigma) -> Tensor:
            return law.score(y, alpha, sigma)

        found = {"log_density": log_density(y), "denoise": law.denoise(y, alpha, sigma)}
        found |= {"project": law.project(y / alpha), "distance": law.distance(y / alpha)}
        if r / nsr / sigma < LARGEST[dtype] / 10:
            found |= {"score": score(y), "slope of log_density": slope(log_density, y)}
        if r / nsr**2 < bound and r / nsr / sigma < bound:
            found["slope of score"] = slope(score, y)
        assert not [what for what, value in found.items() if not value.isfinite().all()], (alpha, length, nsr)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAWS)
def test_beyond_the_root_of_the_largest_number_no_log_density_is_one(name: str, dtype: torch.dtype) -> None:
    """dist / nsr is 3 times that root: log p_t is -9/2 of the largest number."""
    law = LAWS[name]
    y = points(law, 3 * LARGEST[dtype] ** 0.5, dtype)
    assert not law.log_density(y, 1.0, 1.0).isfinite().any()


@pytest.mark.parametrize("name", LAWS)
def test_levels_of_1e_minus_30_are_beyond_it_in_float32(name: str) -> None:
    law = LAWS[name]
    assert not law.log_density(points(law, 1.0, torch.float32), 1e-30, 1e-30).isfinite().any()
    near = points(law, 1e-30, torch.float32)  # of the size of alpha, where r / nsr is small
    assert law.log_density(near, 1e-30, 1e-30).isfinite().all()
    assert law.score(near, 1e-30, 1e-30).isfinite().all()
    assert law.log_density(points(law, 1.0, torch.float64), 1e-30, 1e-30).isfinite().all()


def test_the_bound_is_not_far_from_the_end() -> None:
    """B^2 and B^4 are numbers and (100 B)^2 and (1000 B)^4 are none; a sphere ends there in float64, a box does not."""
    for dtype, power, times in ((torch.float32, 2, 100), (torch.float64, 4, 1000)):
        assert BOUND[dtype] ** power < LARGEST[dtype]
        assert power * math.log10(times * BOUND[dtype]) > math.log10(LARGEST[dtype])
    y = torch.full((1, 2), 0.5, dtype=torch.float64)
    assert not make("ring").log_density(y, 1.0, 1e-78).isfinite().any()
    assert make("box").log_density(y, 1.0, 1e-78).isfinite().all()


# Many points


class Tables(TorchDispatchMode):
    """The largest tensor that is made within, in numbers."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for part in made if isinstance(made, list | tuple) else [made]:
            if isinstance(part, Tensor):
                self.largest = max(self.largest, part.untyped_storage().nbytes() // part.element_size())
        return made


def largest(method: Callable[..., Tensor], *arguments: Any) -> int:
    with Tables() as tables:
        method(*arguments)
    return tables.largest


METHODS: dict[str, Callable[[Law, Tensor], Tensor]] = {
    "log_density": lambda law, y: law.log_density(y, 1.0, 0.1),
    "denoise": lambda law, y: law.denoise(y, 1.0, 0.1),
    "score": lambda law, y: law.score(y, 1.0, 0.1),
    "project": lambda law, y: law.project(y),
    "distance": lambda law, y: law.distance(y),
}
WIDER = {"grid in R^512": make("grid", dim=512), "box in R^512": make("box", lower=[0] * 512, upper=[1] * 512)}


QUICKLY = ("ring", "grid", "torus", "box in R^512")  # a law of each kind; the others are slow


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in (*LAWS, *WIDER)]
)
def test_no_table_grows_beyond_the_points_and_the_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside tensors of the points' own size there are those of a block, for whatever number of points."""
    monkeypatch.setitem(module.BLOCK, "cpu", 32)
    law = (LAWS | WIDER)[name]
    few, many = (points(law, 1.0, torch.float32, count) for count in (32, 512))
    for what, method in METHODS.items():
        blocks = module.PROJECTED if what in ("project", "distance") else 1
        assert largest(method, law, many) <= max(many.numel(), blocks * largest(method, law, few)), what
    assert largest(law.sample, 512, torch.Generator()) <= 2 * 512 * max(2, law.dim)


def test_without_blocks_tables_would_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.BLOCK, "cpu", 1 << 30)
    for name, what in (("grid", "project"), ("grid", "score"), ("square", "distance"), ("box", "log_density")):
        law, sizes = LAWS[name], []
        for count in (256, 512):
            y = points(law, 1.0, torch.float32, count)
            sizes.append(largest(METHODS[what], law, y))
        assert sizes[1] == 2 * sizes[0] > 2 * y.numel() / 2, (name, what)


@pytest.mark.parametrize("name", LAWS)
def test_blocks_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they lose a derivative, or the shape of the points."""
    law = LAWS[name]
    x = law.sample(3000, torch.Generator().manual_seed(0)).view(3, 1000, law.dim) + 0.25
    whole = law.project(x), law.distance(x), slope(law.distance, x)
    monkeypatch.setitem(module.BLOCK, "cpu", 64)
    parts = law.project(x), law.distance(x), slope(law.distance, x)
    assert all(torch.equal(*pair) for pair in zip(whole, parts, strict=True))
    assert [part.shape for part in parts] == [x.shape, x.shape[:2], x.shape]


def test_points_of_another_kind_are_still_named() -> None:
    for wrong, error in (
        (torch.zeros(3, 5), ValueError),
        (torch.zeros(0, 2), ValueError),
        (torch.zeros(1, 2).int(), TypeError),
    ):
        for method in (make("grid").project, make("grid").distance, make("ring").distance):
            with pytest.raises(error, match=r"^(x must|Type-check)"):  # where annotations are checked, as in tests
                method(wrong)
