"""Distances against closed forms, loops, scipy and torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from images.metrics import distances
from images.metrics.distances import Moments, frechet, kernel_distance, memorised, moments, nearest, precision_recall


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal(d, d, seed)).Q


def law(mean: list[float], variances: list[float], turn: Tensor | None = None) -> Moments:
    q = torch.eye(len(mean), dtype=torch.float64) if turn is None else turn
    diagonal = torch.tensor(variances, dtype=torch.float64).diag()
    return Moments(q @ torch.tensor(mean, dtype=torch.float64), q @ diagonal @ q.T)


@pytest.mark.parametrize("turn", [None, rotation(3)])
def test_frechet_of_laws_with_common_axes(turn: Tensor | None) -> None:
    """|m - m'|^2 + sum (s - s')^2 over the standard deviations along the axes; one of them is 0."""
    a, b = law([1, 2, 3], [4, 9, 1], turn), law([1, 0, 3], [1, 9, 0], turn)
    assert frechet(a, b) == pytest.approx(4 + 1 + 0 + 1, abs=1e-12)
    assert frechet(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_of_laws_on_two_lines() -> None:
    """C = u u^T, C' = v v^T: 2 - 2 |u.v|. Neither has full rank."""
    angle = 0.3
    u, v = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    u[0], v[0], v[1] = 1, math.cos(angle), math.sin(angle)
    mean = torch.zeros(5, dtype=torch.float64)
    a, b = Moments(mean, torch.outer(u, u)), Moments(mean, torch.outer(v, v))
    assert frechet(a, b) == pytest.approx(2 - 2 * math.cos(angle), abs=1e-7)


def test_frechet_is_what_scipys_square_root_gives() -> None:
    a, b = moments(normal(50, 6)), moments(normal(50, 6, 1) @ normal(6, 6, 2))
    root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
    expected = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace() - 2 * np.trace(root).real
    assert frechet(a, b) == pytest.approx(expected.item(), rel=1e-10)
    assert frechet(b, a) == pytest.approx(expected.item(), rel=1e-10)


class Given(nn.Module):
    """A feature network for torchmetrics whose images are features already."""

    num_features = 4

    def forward(self, features: Tensor) -> Tensor:
        return features


def test_frechet_is_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = normal(40, 4), 2 * normal(60, 4, 1) + 1
    metric = FrechetInceptionDistance(Given()).set_dtype(torch.float64)
    metric.update(x, real=True)
    metric.update(y, real=False)
    assert frechet(moments(x), moments(y)) == pytest.approx(metric.compute().item(), rel=1e-8)


def test_moments_survive_a_large_mean() -> None:
    """float32 features about 1000 with deviations of 1/1000: squared first, nothing would be left of them."""
    x = (1000 + normal(500, 3) / 1000).float()
    found = moments(x)
    assert torch.allclose(found.covariance, torch.from_numpy(np.cov(x.double().numpy().T)), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: moments(normal(1, 3)), "at least 2 images"),
        (lambda: moments(torch.full((3, 3), torch.nan)), "not finite"),
        (lambda: frechet(law([0], [1]), law([0, 0], [1, 1])), "dimension 1 on one side and 2"),
        (lambda: frechet(law([0], [-1]), law([0], [1])), "no covariance"),
        (lambda: frechet(law([0], [math.nan]), law([0], [1])), "not finite"),
        (lambda: kernel_distance(normal(1, 3), normal(5, 3)), "at least 2 images"),
        (lambda: precision_recall(normal(3, 3), normal(9, 3)), "more than 3 images"),
        (lambda: nearest(normal(1, 3)), "no other images"),
    ],
)
def test_what_cannot_be_measured_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_kernel_distance_is_the_unbiased_estimate_by_loops() -> None:
    x, y = normal(6, 4), normal(6, 4, 1) + 0.5

    def kernel(a: Tensor, b: Tensor) -> float:
        return ((a @ b / 4 + 1) ** 3).item()

    others = [(i, j) for i in range(6) for j in range(6) if i != j]
    same = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in others) / 30
    cross = sum(kernel(a, b) for a in x for b in y) / 36
    mean, deviation = kernel_distance(x, y, subsets=2, size=100)  # a subset is then all there is
    assert mean == pytest.approx(same - 2 * cross, rel=1e-10)
    assert deviation == pytest.approx(0, abs=1e-12)


def test_kernel_distance_depends_on_its_seed_alone() -> None:
    x, y = normal(40, 4), normal(40, 4, 1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = kernel_distance(x, y, subsets=3, size=10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert kernel_distance(x, y, subsets=3, size=10) == found
    assert kernel_distance(x, y, subsets=3, size=10, seed=1) != found


def test_precision_and_recall_are_those_by_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK", 7)  # so that there are several
    real, samples = normal(30, 3), 1.5 * normal(20, 3, 1)

    def share(points: Tensor, others: Tensor) -> float:
        radius = [sorted((o - p).norm().item() for p in others)[2 + 1] for o in others]
        lies = [any((p - o).norm() <= r for o, r in zip(others, radius, strict=True)) for p in points]
        return sum(lies) / len(lies)

    found = precision_recall(real, samples)
    assert found == (share(samples, real), share(real, samples))
    assert 0 < found.precision < 1
    assert 0 < found.recall < 1


def test_a_lost_mode_costs_recall_and_a_false_one_precision() -> None:
    left, right = normal(50, 2), normal(50, 2, 1) + 100
    lost = precision_recall(torch.cat([left, right]), normal(50, 2, 2))
    assert lost.recall <= 0.5 < 0.8 < lost.precision
    false = precision_recall(left, torch.cat([normal(50, 2, 2), right]))
    assert false.precision <= 0.5 < 0.8 < false.recall


def test_neighbours_are_those_by_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK", 4)
    x, y = normal(9, 3), normal(13, 3, 1)
    found = nearest(x, y)
    apart = (x[:, None] - y).norm(dim=-1)
    assert torch.allclose(found.distance, apart.min(1).values)
    assert torch.equal(found.which, apart.argmin(1))
    alone = nearest(x)
    apart = (x[:, None] - x).norm(dim=-1) + torch.diag(torch.full((9,), torch.inf, dtype=torch.float64))
    assert torch.allclose(alone.distance, apart.min(1).values)
    assert torch.equal(alone.which, apart.argmin(1))


def test_copies_are_memorised_and_fresh_samples_are_not() -> None:
    """Fresh samples: 1000 tries of probability about 0.01; more than 27 come in fewer than 1 of 10^5 seeds (binomial),
    with as much again for the threshold, which is itself an estimate."""
    training = normal(1000, 8)
    assert memorised(training[:100], training) == 1
    assert memorised(training[:100] + 1e-4, training) == 1
    assert memorised(normal(1000, 8, 1), training) <= 0.027
