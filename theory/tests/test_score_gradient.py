"""The closed form against autograd through the score, to 1e-12 of the loss's own size, for every kind of law."""

from __future__ import annotations

import sys

import pytest
import torch

from theory.levels import Level
from theory.manifolds import (
    Embedded,
    Gaussians,
    Law,
    Mixture,
    Points,
    Product,
    Scaled,
    Sphere,
    Thickened,
    make,
    names,
    random_isometry,
)
from theory.regularity import eps_model_of, score_matching_loss
from theory.score_gradient import components, has_closed_form, linearized, score_gradient, shares

LAWS: dict[str, Law] = {
    **{name: make(name) for name in names()},
    "ring in R^16": make("ring", dim=16),
    "sphere S^9": Sphere(10, 2.0),
    "unequal Gaussians": Gaussians([(0, 0), (1, 0), (0, 2)], (0.0, 0.3, 0.1), (0.2, 0.5, 0.3)),
    "thick ring": Thickened(Sphere(2), 0.2),
    "scaled": Scaled(Thickened(make("8-ring"), 0.1), 1.7),
    "mixture of mixtures": Mixture([make("grid"), Mixture([Sphere(2, 0.5), Gaussians([(1, 1)], 0.1)])], (0.3, 0.7)),
    "embedded product": Embedded(Product(Sphere(2), make("points")), random_isometry(7, 4, 3).tolist(), range(7)),
}


def drawn(law: Law, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples on M, near it and far away, noise levels from .02 to 2, and noise."""
    g = torch.Generator().manual_seed(0)
    x = law.sample(60, g, torch.float64)
    x = x + torch.logspace(-3, 0.5, 60, dtype=torch.float64)[:, None] * torch.randn(60, law.dim, generator=g).double()
    nsr = 0.02 * 100 ** torch.rand(60, generator=g, dtype=torch.float64)
    return x.to(dtype), nsr.to(dtype), torch.randn(60, law.dim, generator=g, dtype=torch.float64).to(dtype)


def by_autograd(law: Law, x: torch.Tensor, nsr: torch.Tensor, eps: torch.Tensor, detach: bool) -> torch.Tensor:
    x = x.clone().requires_grad_()
    loss = score_matching_loss(x, eps_model_of(law), Level.variance_exploding(nsr), eps, detach=detach)
    return torch.autograd.grad(loss.sum(), x)[0]


def size(law: Law, x: torch.Tensor, nsr: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """2 (|r| + |J r|) / nsr: the size of what is subtracted."""
    mean, jacobian = linearized(law, x + nsr[:, None] * eps, nsr)
    r = (x - mean) / nsr[:, None]
    return (2 * (r.norm(dim=-1) + jacobian(r).norm(dim=-1)) / nsr)[:, None] + 1e-300


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("name", LAWS)
def test_equals_autograd(name, detach):
    law = LAWS[name]
    given = drawn(law, torch.float64)
    error = (score_gradient(law, *given, detach) - by_autograd(law, *given, detach)).abs() / size(law, *given)
    assert error.max() < 1e-12


@pytest.mark.parametrize("law", [LAWS["ring in R^16"], LAWS["8-ring"], LAWS["mixed"]])
def test_float32_is_as_near_as_autograd_is(law):
    narrow = drawn(law, torch.float32)
    x, nsr, eps = (part.double() for part in narrow)
    truth, unit = score_gradient(law, x, nsr, eps), size(law, x, nsr, eps)
    ours, theirs = score_gradient(law, *narrow), by_autograd(law, *narrow, False)
    assert ours.dtype == torch.float32
    errors = [((found.double() - truth).abs() / unit).max() for found in (ours, theirs)]
    assert errors[0] < 3 * errors[1] + 1e-6


def test_leading_axes_and_near_misses():
    """A stack gives what its rows give; J left out, or taken at the clean point, is another gradient."""
    law = make("grid")
    x, nsr, eps = drawn(law, torch.float64)
    stacked = score_gradient(law, x.view(3, 20, 2), nsr.view(3, 20), eps.view(3, 20, 2)).view(60, 2)
    found = score_gradient(law, x, nsr, eps)
    assert torch.allclose(stacked, found, rtol=1e-12, atol=1e-12)
    truth, unit = by_autograd(law, x, nsr, eps, False), size(law, x, nsr, eps)
    assert ((score_gradient(law, x, nsr, eps, detach=True) - truth).abs() / unit).max() > 1e-2
    y = x + nsr[:, None] * eps
    r = (x - law.denoise(y, 1.0, nsr)) / nsr[:, None]
    wrong = 2 * (r - linearized(law, x, nsr)[1](r)) / nsr[:, None]
    assert ((wrong - truth).abs() / unit).max() > 1e-2


def test_shares_are_a_softmax():
    terms = torch.tensor([[0.0, -1.0, 3.0], [-1e5, 0.0, -59.0], [1e5, 1e5 + 2, 0.0]], dtype=torch.float64)
    assert torch.allclose(shares(terms), terms.softmax(-1), rtol=1e-14, atol=1e-26)


def test_which_laws_have_a_closed_form():
    """Those of which no part is left to autograd."""
    closed = {"points", "8-ring", "grid", "weighted", "ring", "concentric", "sphere", "torus"}
    assert {name for name in names() if has_closed_form(make(name))} == closed
    kept = {"ring in R^16", "sphere S^9", "unequal Gaussians", "thick ring", "scaled", "embedded product"}
    assert all(has_closed_form(LAWS[name]) for name in kept)
    assert not has_closed_form(Thickened(Product(Sphere(2), make("segment")), 0.1))


def test_the_gradient_is_the_loss_s_unless_distillation_s_is_asked_for() -> None:
    law = Gaussians([(1.0, 0.0), (0.0, 0.5)])
    x, eps = torch.tensor([[0.3, 0.2]], dtype=torch.float64), torch.tensor([[0.1, -0.7]], dtype=torch.float64)
    nsr = torch.tensor([0.4], dtype=torch.float64)
    assert torch.equal(score_gradient(law, x, nsr, eps), score_gradient(law, x, nsr, eps, detach=False))
    assert not torch.allclose(score_gradient(law, x, nsr, eps), score_gradient(law, x, nsr, eps, detach=True))


def test_many_points_are_taken_some_at_a_time(monkeypatch):
    """The blocks give what the whole does, row for row."""
    law = Embedded(Points(make("ring").sample(40, torch.Generator().manual_seed(1)).tolist()), ((1, 0), (0, 0), (0, 1)))
    assert (components(law), components(make("8-ring")), components(make("ring"))) == (40, 8, 1)
    x, nsr, eps = (part.view(4, 15, *part.shape[1:]) for part in drawn(law, torch.float64))
    whole = score_gradient(law, x, nsr, eps)
    module, called = sys.modules[score_gradient.__module__], []

    def counted(given, y, nsr):
        called.append((given, y, nsr))
        return linearized(given, y, nsr)

    monkeypatch.setattr(module, "TABLE", 7 * 40 + 1)
    monkeypatch.setattr(module, "linearized", counted)
    torch.testing.assert_close(score_gradient(law, x, nsr, eps), whole, rtol=1e-12, atol=1e-12)
    assert [len(nsr) for given, _, nsr in called if given is law] == [7] * 8 + [4]
