"""Finitely many training samples: who sees them, what is a score of them, and what is a copy."""

from __future__ import annotations

import pytest
import torch

from theory.levels import Level
from theory.manifolds import Embedded, Points, make
from theory.manifolds.points import MOST
from theory.score_gradient import score_gradient
from toy.config import MOST_POINTS, Arm, Config, as_dict
from toy.laws import law_of, sampled, training_law, training_set
from toy.metrics import COPIED, Reference, copies
from toy.outcome import floors
from toy.training.denoiser import train_denoiser
from toy.training.gan import Trainer
from toy.training.likelihood import LikelihoodTrainer
from toy.training.score_term import ScoreTerm

N = 20
SMALL = Config(dim=3, training_samples=N, width=8, batch=16, steps=4, d_ahead=0, samples=64, eval_every=4)


def is_among(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x.double().reshape(-1, x.shape[-1]), points).amin(-1) < 1e-6


def test_the_set_is_on_the_manifold_and_the_same_for_all() -> None:
    points = training_set(SMALL)
    assert points.shape == (N, 3)
    assert law_of(SMALL).distance(points).max() < 1e-12
    law = training_law(SMALL)
    assert isinstance(law, Embedded)
    assert isinstance(law.law, Points)  # the score sums over points of the plane
    sampled.cache_clear()
    assert torch.equal(training_set(Config(dim=3, training_samples=N, seeds=3, first_seed=7)), points)
    thick = training_set(Config(dim=3, thickness=0.1, training_samples=N))
    assert law_of(SMALL).distance(thick).mean() > 0.05  # thickened in all three directions
    assert (torch.linalg.matrix_rank(points, atol=1e-9), torch.linalg.matrix_rank(thick, atol=1e-9)) == (2, 3)


@pytest.mark.parametrize("given", [N, None])
def test_d_sees_these_alone(given: int | None) -> None:
    config = Config(**{**vars(SMALL), "training_samples": given})
    points = training_set(SMALL)
    trainer = Trainer(config, "summed", (0, 1))
    assert bool(is_among(trainer.noise(0).real, points).all()) == (given is not None)
    flow = LikelihoodTrainer(Config(**{**vars(config), "generator": "flow", "arms": ("gan", "summed")}), "summed", (0,))
    assert bool(is_among(flow.noise(0).real, points).all()) == (given is not None)


def test_each_score_is_of_its_own_law() -> None:
    """empirical: of the points, in closed form and by autograd; analytic: of the distribution; learned: from the points
    that it is shown."""
    g = torch.Generator().manual_seed(0)
    x, u, eps = torch.randn(1, 6, 3, generator=g), torch.rand(1, 6, generator=g), torch.randn(1, 6, 3, generator=g)
    law, data, found = law_of(SMALL), training_law(SMALL), {}
    for score in ("analytic", "empirical", "learned"):
        config = Config(**{**vars(SMALL), "score": score, "score_steps": 3})
        term = ScoreTerm(config, law, (0,), (Arm(1e-3, 1.0),))
        found[score] = term.gradient(x, u, eps)
        if score == "empirical":
            term.closed_form = False
            torch.testing.assert_close(term.gradient(x, u, eps), found[score], rtol=1e-3, atol=1e-3)
    nsr = term.interval.nsr(u)
    torch.testing.assert_close(found["empirical"], score_gradient(data, x, nsr, eps))
    torch.testing.assert_close(found["analytic"], score_gradient(law, x, nsr, eps))
    assert (found["empirical"] - found["analytic"]).norm() > 0.1 * found["analytic"].norm()
    level = Level.variance_exploding(nsr)
    shown, other = (train_denoiser(each, 3, term.interval, 0)(x, level) for each in (data, law))
    torch.testing.assert_close(term.models[0](x, level), shown)
    assert not torch.allclose(shown, other)


@pytest.mark.parametrize(("name", "m"), [("ring", 1), ("torus", 2)])
def test_fresh_samples_are_copies_as_often_as_is_known(name: str, m: int) -> None:
    """COPIED^m of them; of points that are the training samples all, of points halfway between two of a grid none."""
    law, g = make(name), torch.Generator().manual_seed(3)
    training, fresh = law.sample(4000, g, torch.float64), law.sample(8000, g, torch.float64)
    share = float(copies(fresh[None], training))
    chance = COPIED**m
    assert abs(share - chance) < 5 * (chance / 4000) ** 0.5  # five deviations of the training set's own share
    assert float(copies(training[None, :500] + 1e-9, training)) == 1
    line = torch.stack([torch.arange(10.0), torch.zeros(10)], 1)
    moved = torch.stack([line + torch.tensor([by, 0.0]) for by in (0.5, 0.2)])
    assert copies(moved, line).tolist() == [0, 1]


def test_copies_do_not_depend_on_where_the_data_lie() -> None:
    """||x||^2 + ||y||^2 - 2 xy loses the distance of near points, far from the origin and on each processor others."""
    generator = torch.Generator().manual_seed(0)
    training, fresh = (torch.randint(0, 2**10, (n, 4), generator=generator) / 2**10 for n in (200, 300))
    share = copies(fresh[None], training)
    assert 0 < share < 0.1
    assert torch.equal(copies(fresh[None] + 2**12, training + 2**12), share)  # sums are exact in float32


def test_a_run_measures_copies_only_where_samples_are_finite() -> None:
    for config in (SMALL, Config(**{**vars(SMALL), "training_samples": None})):
        trainer = Trainer(config, "gan", (0, 1))
        record = trainer.evaluate(Reference.of(trainer.law, (0, 1), n=64))
        assert ("copies" in record) == ("copies" in floors(config)) == (config is SMALL)
    near = copies(training_set(SMALL).float()[None].repeat(2, 1, 1), training_set(SMALL))
    assert near.tolist() == [1, 1]


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="score empirical is that of training_samples, whose number must be given"):
        Config(score="empirical")
    with pytest.raises(ValueError, match="conditional needs fresh samples of each class; given 50 in all"):
        Config(manifold="8-ring", conditional=True, training_samples=50)
    assert MOST_POINTS == MOST
    with pytest.raises(ValueError, match="training_samples must be at most 4096; given 5000"):
        Config(training_samples=5000)
    with pytest.raises(ValueError, match="weight_rule budget needs training_samples None; given 50"):
        Config(weight_rule="budget", training_samples=50)


def test_a_configuration_on_disk_names_them_only_where_they_are() -> None:
    assert "training_samples" not in as_dict(Config())
    assert as_dict(SMALL)["training_samples"] == N
