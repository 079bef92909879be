"""The score term: its gradient against autograd of the formula, and every rule for lambda."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from theory.levels import Interval
from theory.manifolds import Law, make
from toy.config import Arm, Config
from toy.jobs.worker import trainer_of
from toy.training.classes import Classes
from toy.training.score_term import LARGEST, ScoreTerm, budget

SEEDS, BATCH = (0, 1, 2), 16
torch.set_num_threads(1)
CONFIG = Config(steps=100)


def term(weight: float = 0.5, bound: float | None = None, **changes) -> ScoreTerm:
    config = dataclasses.replace(CONFIG, **changes)
    law = make(config.manifold, dim=config.dim)
    settings = [Arm(1e-3, weight, bound)] * len(SEEDS)
    return ScoreTerm(config, law, SEEDS, settings, Classes(law) if config.conditional else None)


def draws(dim: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, BATCH, dim, generator=g)
    return x, torch.rand(3, BATCH, generator=g), torch.randn(3, BATCH, dim, generator=g)


def formula(x: Tensor, u: Tensor, eps: Tensor, laws: list, weighting: str) -> Tensor:
    """autograd's d/dx of sum w ||(x - x0hat(x + nsr eps)) / nsr||^2, by blocks of classes."""
    x = x.clone().requires_grad_()
    nsr = CONFIG.low + (CONFIG.high - CONFIG.low) * u[..., None]
    rows = BATCH // len(laws)
    x0 = [
        law.denoise((x + nsr * eps)[:, c * rows : (c + 1) * rows], 1.0, nsr[:, c * rows : (c + 1) * rows, 0])
        for c, law in enumerate(laws)
    ]
    squared = ((x - torch.cat(x0, 1)) / nsr).square()
    loss = (squared * nsr**2 if weighting == "x0" else squared).sum()
    return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("weighting", ["eps", "x0"])
@pytest.mark.parametrize("conditional", [False, True])
def test_gradient(weighting: str, conditional: bool) -> None:
    found = term(manifold="8-ring", weighting=weighting, conditional=conditional)
    laws = [make("8-ring")] if found.classes is None else found.classes.laws
    torch.testing.assert_close(found.gradient(*draws()), formula(*draws(), laws, weighting), rtol=1e-3, atol=1e-3)


def test_the_bound_is_in_medians_of_the_batch() -> None:
    """No gradient is longer than twice the median one; directions and all shorter gradients are as before, and a batch
    that is far off as a whole loses nothing."""

    def gradient(found: ScoreTerm, x: Tensor, u: Tensor, eps: Tensor) -> Tensor:
        return found.bounded(found.gradient(x, u, eps))

    x, u, eps = draws()
    x[:, 0] = 40.0
    free, bound = (gradient(term(bound=m), x, u, eps) for m in (None, 2.0))
    lengths = free.norm(dim=-1)
    longest = 2 * lengths.median(1, keepdim=True).values
    torch.testing.assert_close(bound.norm(dim=-1), lengths.minimum(longest))
    torch.testing.assert_close(torch.cosine_similarity(bound, free, -1), torch.ones(3, BATCH))
    assert (lengths[:, 0] > 5 * longest[:, 0]).all()
    far = x.clone()
    far[:] = 40.0
    free, bound = (gradient(term(bound=m, low=0.1, high=0.1), far, u, eps) for m in (None, 2.0))
    torch.testing.assert_close(bound, free)


def test_the_terms_differ() -> None:
    """On a circle of radius comparable to the noise the Jacobian matters; far off the manifold at small noise not."""
    x, u, eps = draws()
    wide = {"low": 0.5, "high": 0.5}
    full, detached = (term(term=name, **wide).gradient(x, u, eps) for name in ("full", "detached"))
    assert (full - detached).norm() > 0.2 * full.norm()
    far = 5 * x / x.norm(dim=-1, keepdim=True)
    full, detached = (term(term=name, low=0.01, high=0.01).gradient(far, u, eps) for name in ("full", "detached"))
    assert (full - detached).norm() < 0.02 * full.norm()


def test_matching_subtracts_the_own_score() -> None:
    """2 (eps* - eps_own) / nsr; where the two agree, nothing is left to follow."""
    found, (x, u, eps) = term(term="matching", manifold="8-ring"), draws()
    assert found.own is not None
    nsr = (CONFIG.low + (CONFIG.high - CONFIG.low) * u)[..., None]
    x_t = x + nsr * eps
    exact = (x_t - make("8-ring").denoise(x_t, 1.0, nsr[..., 0])) / nsr
    wanted = 2 * (exact - found.own.eps(x_t, nsr[..., 0])) / nsr
    torch.testing.assert_close(found.gradient(x, u, eps), wanted, rtol=1e-4, atol=1e-3)
    before = found.own.network.theta.clone()
    found.train_along(x, u, eps)
    assert not torch.equal(found.own.network.theta, before)
    found.own.eps = lambda *_: exact  # type: ignore[method-assign]
    assert found.gradient(x, u, eps).abs().max() < 1e-2


def test_an_annealed_interval_comes_down_geometrically() -> None:
    """From anneal times its height to [low, high] at the end, for the term and for the generator's own score; the same
    numbers choose levels at the same place of it."""
    found, (x, u, eps) = term(anneal=9.0, term="matching"), draws()
    plain = CONFIG.low + (CONFIG.high - CONFIG.low) * u
    for at, factor in ((0, 9.0), (50, 3.0), (100, 1.0), (None, 1.0)):
        torch.testing.assert_close(found.nsr(u, at), factor * plain)
    assert torch.equal(term().nsr(u, 0), term().nsr(u))
    middle = term(low=3 * CONFIG.low, high=3 * CONFIG.high, term="matching")
    torch.testing.assert_close(found.gradient(x, u, eps, at=50), middle.gradient(x, u, eps))
    found.train_along(x, u, eps, 50)
    middle.train_along(x, u, eps)
    assert found.own is not None
    assert middle.own is not None
    torch.testing.assert_close(found.own.network.theta, middle.own.network.theta)


@pytest.mark.parametrize("generator", ["gan", "vae"])
def test_trainers_follow_the_annealed_interval(generator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The term and the generator's own score are asked at the noise of each step: twice a step."""
    asked, nsr = list[int | None](), ScoreTerm.nsr

    def told(self: ScoreTerm, u: Tensor, at: int | None = None) -> Tensor:
        asked.append(at)
        return nsr(self, u, at)

    monkeypatch.setattr(ScoreTerm, "nsr", told)
    config = Config(generator=generator, term="matching", anneal=3.0, width=8, batch=16, steps=3, d_ahead=0, samples=32)
    trainer = trainer_of(config, "summed", (0,))
    for _ in range(3):
        trainer.step()
    assert asked == [0, 0, 1, 1, 2, 2]


def test_acts_every_kth_step_and_never_without_weight() -> None:
    assert [at for at in range(9) if term(every=4).acts(at)] == [0, 4, 8]
    assert not any(term(weight=0.0, every=4).acts(at) for at in range(9))


def test_lambda() -> None:
    score = torch.ones(3, BATCH, 2)

    def at(step: int, **changes) -> float:
        """That of all rows, which are alike."""
        found = term(**changes).strength(step, 2 * score, score)
        assert found.shape == (3, 1, 1)
        assert (found == found[0]).all()
        return found[0].item()

    assert at(7) == 0.5
    assert at(7, every=8) == 4
    assert at(7, every=8, scale_by_every=False) == 0.5
    assert [at(step, warm_up=10) for step in (0, 5, 20)] == [0, 0.25, 0.5]
    assert at(50, weight_rule="annealed") == pytest.approx(0.25)
    assert at(100, weight_rule="annealed") == 0
    assert at(7, weight_rule="ratio") == pytest.approx(1, rel=1e-6)  # 0.5 times 2 / 1


def test_lambda_of_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """lambda_for_bias of the law, the interval and the budget; LARGEST where no lambda has so much bias."""
    asked = []

    def answer(law: Law, interval: Interval, tv: float, loss: str) -> float:
        asked.append((repr(law), interval, tv, loss))
        return 0.3 if tv < 0.2 else math.inf

    monkeypatch.setattr("toy.training.score_term.lambda_for_bias", answer)
    monkeypatch.setattr(
        "toy.training.score_term.budget", budget.__wrapped__
    )  # what was found before is not asked again
    budgeted: dict[str, Any] = {"weight_rule": "budget", "manifold": "weighted", "summed": Arm(1e-3, 0.1)}
    assert term(weight=0.1, **budgeted, decoupled=Arm(1e-3, 0.1)).weight.tolist() == [[[pytest.approx(0.3)]]] * 3
    assert asked == [(repr(make("weighted")), Interval(CONFIG.low, CONFIG.high), 0.1, CONFIG.loss)]
    assert term(weight=0.2, **budgeted, decoupled=Arm(1e-3, 0.1)).weight.tolist() == [[[LARGEST]]] * 3
