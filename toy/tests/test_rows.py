"""Rows of one stack: each trains as it would alone, with its own setting and the draws of its seed.

In float64, where "the same" means to 1e-9 of what moved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from theory.manifolds import make
from toy.config import ARMS, Arm, Config
from toy.metrics import Reference
from toy.training.adam import Adam, numbers
from toy.training.draws import CHUNK, TRAIN, Extras, Noise
from toy.training.gan import Trainer
from toy.training.likelihood import LikelihoodTrainer
from toy.training.update import Update

SMALL = Config(width=8, layers=2, batch=12, steps=50, d_steps=1, d_ahead=3, samples=32, regulariser="r1")


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def settings(arm: str) -> tuple[Arm, Arm]:
    """Two, of which every number differs."""
    weights = (0.0, 0.0) if arm == "gan" else (1e-3, 3e-3)
    bounds = (1.2, 2.0) if arm == "bounded" else (None, None)
    return (
        Arm(2e-3, weights[0], bounds[0], d_lr=1e-3, gamma=0.5),
        Arm(5e-3, weights[1], bounds[1], d_lr=4e-3, gamma=2.0),
    )


def trained(config: Config, arm: str, seeds: tuple[int, ...], rows: list[Arm]) -> Trainer | LikelihoodTrainer:
    kind = Trainer if config.generator == "gan" else LikelihoodTrainer
    trainer = kind(config, arm, seeds, rows)
    trainer.train_ahead()
    for _ in range(4):
        trainer.step()
    return trainer


def networks(trainer: Trainer | LikelihoodTrainer) -> list[list[Tensor]]:
    """The parameters of each network, as views [row, ...]."""
    if isinstance(trainer, LikelihoodTrainer):
        return [trainer.model.views(theta.detach()) for theta in (trainer.model.theta, trainer.average.theta)]
    d = trainer.discriminator
    return [trainer.views(trainer.g.theta), trainer.views(trainer.average.theta), d.views(d.network.parameters)]


def gap(one: Trainer | LikelihoodTrainer, rows: list[int], other: Trainer | LikelihoodTrainer) -> list[float]:
    """The largest difference of a parameter in each network, between these rows of one and all rows of the other."""
    return [
        max((a[rows] - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(networks(one), networks(other), strict=True)
    ]


@pytest.mark.parametrize("generator", ["gan", "flow"])
@pytest.mark.parametrize("arm", ARMS)
def test_rows_train_as_alone(arm: str, generator: str) -> None:
    """Two settings on the same two seeds in one stack, and each setting in a stack of its own; the near-miss compares
    the rows of the other setting."""
    config, (first, second) = dataclasses.replace(SMALL, generator=generator), settings(arm)
    both = trained(config, arm, (0, 1, 0, 1), [first, first, second, second])
    for rows, others, setting in (([0, 1], [2, 3], first), ([2, 3], [0, 1], second)):
        alone = trained(config, arm, (0, 1), [setting] * 2)
        assert max(gap(both, rows, alone)) < 1e-9
        assert min(gap(both, others, alone)) > 1e-6
        assert min(gap(both, rows[::-1], alone)) > 1e-3  # the seeds exchanged


def test_the_head_start_is_one_a_seed() -> None:
    """At the configuration's d_lr and gamma in every row, whatever the rows' own; those of the rows act after it."""
    rows = [Arm(1e-3, d_lr=4e-3, gamma=2.0), Arm(1e-3, d_lr=1e-4), Arm(1e-3)]
    several = Trainer(SMALL, "gan", (0, 0, 1), rows)
    alone = Trainer(SMALL, "gan", (0, 1), [Arm(1e-3)] * 2)
    for trainer in (several, alone):
        trainer.train_ahead()
    of_several, of_alone = (networks(trainer)[2] for trainer in (several, alone))
    for a, b in zip(of_several, of_alone, strict=True):
        torch.testing.assert_close(a, b[[0, 0, 1]], rtol=0, atol=1e-12)
    several.step()
    assert max((part[0] - part[1]).abs().max().item() for part in networks(several)[2]) > 1e-4


@pytest.mark.parametrize("option", ["lr", "weight", "bound", "d_lr", "gamma"])
def test_each_option_is_of_its_row(option: str) -> None:
    """Changed in one row: that row moves otherwise, the row beside it as before."""
    plain, changed = settings("bounded")
    other = dataclasses.replace(plain, **{option: getattr(changed, option)})
    alike, apart = (trained(SMALL, "bounded", (0, 0), [plain, row]) for row in (plain, other))
    pairs = zip(networks(alike)[0], networks(apart)[0], strict=True)
    most = torch.stack([(a - b).abs().flatten(1).max(1).values for a, b in pairs]).max(0).values
    assert most[0] < 1e-12
    assert most[1] > 1e-9


def test_unbounded_rows_beside_bounded_ones() -> None:
    """A row without a bound keeps its gradients, also where more than half of its batch has none."""
    plain, bounded = dataclasses.replace(settings("bounded")[0], bound=None), settings("bounded")[0]
    term = Trainer(SMALL, "bounded", (0, 0), [plain, bounded]).term
    gradient = torch.zeros(2, 12, 2)
    gradient[:, 0] = 1.0
    found = term.bounded(gradient)
    assert torch.equal(found[0], gradient[0])
    assert found[1].abs().max() == 0


@pytest.mark.parametrize("regulariser", ["instance-noise", "gradient-penalty", "diffusion"])
def test_a_seed_in_two_rows_has_the_same_draws(regulariser: str) -> None:
    """Those that it has alone, in every row; drawn once."""
    rows, alone = (
        (Noise(make("ring"), seeds, TRAIN, 5, 2, 2), Extras(regulariser, seeds, TRAIN, 5, 2, 2))
        for seeds in ((3, 7, 3), (3,))
    )
    assert rows[0].seeds == rows[1].seeds == (3, 7)
    for step in (0, CHUNK + 1):
        (draws, extras), (wanted, extra) = ((noise(step), more(step)) for noise, more in (rows, alone))
        for name, axis in (("real", 1), ("latent", 1), ("eps", 0), ("u", 0)):
            found = getattr(draws, name).movedim(axis, 0)
            assert torch.equal(found[0], getattr(wanted, name).movedim(axis, 0)[0])
            assert torch.equal(found[0], found[2])
            assert not torch.equal(found[0], found[1])
        for several, one in zip(extras, extra, strict=True):
            name = "u" if regulariser == "gradient-penalty" else "noise"
            found = getattr(several, name)
            assert torch.equal(found[0], getattr(one, name)[0])
            assert torch.equal(found[0], found[2])
            assert not torch.equal(found[0], found[1])


ROWS = {
    "gan": ("gan", {}),
    "summed": ("summed", {}),
    "own-step": ("own-step", {"every": 2}),
    "two-adams": ("two-adams", {"every": 2}),
    "bounded": ("bounded", {}),
    "spectral": ("decoupled", {"regulariser": "spectral"}),
    "lazy R1": ("summed", {"regulariser_every": 3, "regulariser_step": "own-step"}),
    "matching": ("decoupled", {"term": "matching"}),
    "flow": ("decoupled", {"generator": "flow"}),
}


@pytest.mark.parametrize(("arm", "changes"), ROWS.values(), ids=ROWS.keys())
def test_taken_rows_go_on(arm: str, changes: dict) -> None:
    """As in the whole stack; in another order too, and where one learning rate is left."""
    config, (first, second) = dataclasses.replace(SMALL, **changes), settings(arm)
    for rows in ([3, 0], [2, 3]):
        whole = trained(config, arm, (0, 1, 0, 1), [first, first, second, second])
        taken, before = whole.take(rows), networks(whole)[0][0].clone()
        assert (taken.seeds, taken.at) == (tuple([0, 1, 0, 1][row] for row in rows), 4)
        for _ in range(3):
            whole.step()
            taken.step()
        assert max(gap(whole, rows, taken)) < 1e-9
        assert min(gap(whole, rows[::-1], taken)) > 1e-6
        assert (networks(whole)[0][0] - before).abs().max() > 1e-4
        torch.testing.assert_close(taken.sample(), whole.sample()[rows], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("generator", ["gan", "flow"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_row_that_diverges_leaves_the_others_alone(arm: str, generator: str) -> None:
    """It is marked, has no metrics, and the other rows go on as beside one that does not; the mark is kept."""
    config, (first, second) = dataclasses.replace(SMALL, generator=generator), settings(arm)
    whole, healthy = (trained(config, arm, (0, 1, 0, 1), [first, first, second, second]) for _ in range(2))
    assert not whole.diverged.any()
    with torch.no_grad():
        for views in networks(whole)[:2]:
            views[0][2] = math.nan
    for _ in range(3):
        whole.step()
        healthy.step()
    assert whole.diverged.tolist() == [False, False, True, False]
    rows = [0, 1, 3]
    for ours, theirs in zip(networks(whole), networks(healthy), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a[rows], b[rows])
    whole.at = healthy.at = config.steps  # where all metrics are
    reference = Reference.of(whole.law, whole.seeds, n=32)
    found, wanted = (trainer.evaluate(reference) | trainer.gradient_norms() for trainer in (whole, healthy))
    assert "w2" in found
    for name, values in found.items():
        assert values[2].isnan(), name
        torch.testing.assert_close(values[rows], wanted[name][rows], equal_nan=True, msg=name)
    assert whole.take([2, 1]).diverged.tolist() == [True, False]
    again = type(whole)(config, arm, whole.seeds, whole.settings)
    again.load(whole.state())
    assert again.diverged.tolist() == whole.diverged.tolist()


def test_settings_that_do_not_fit_the_rows() -> None:
    with pytest.raises(ValueError, match="settings must be one for each of 2 rows; given 1"):
        Trainer(SMALL, "summed", (0, 1), [Arm(1e-3, 0.1)])
    with pytest.raises(ValueError, match=r"own-step in one stack must be all positive or all 0; given \[0.0, 0.1\]"):
        Trainer(SMALL, "own-step", (0, 1), [Arm(1e-3, 0.1), Arm(1e-3, 0.0)])
    Trainer(SMALL, "summed", (0, 1), [Arm(1e-3, 0.1), Arm(1e-3, 0.0)])


def parts(flat: Tensor) -> list[Tensor]:
    """Three rows of a weight [2, 3] and a bias [1, 3], laid out a parameter after the other."""
    weights, biases = flat.split([18, 9])
    return [weights.view(3, 2, 3), biases.view(3, 1, 3)]


@pytest.mark.parametrize("lr", [(1e-2, 1e-2, 1e-2), (1e-4, 1e-2, 0.3)], ids=["one", "three"])
def test_adam_is_torchs_of_each_row(lr: tuple[float, ...]) -> None:
    """Steps, decay of the learning rate, betas changed for one step, second moment, state."""
    g = torch.Generator().manual_seed(0)
    theta = torch.randn(27, generator=g)
    rows = [[part[row].clone().requires_grad_() for part in parts(theta)] for row in range(3)]
    theirs = [torch.optim.Adam(row, rate, (0.5, 0.9)) for row, rate in zip(rows, lr, strict=True)]
    ours = Adam(theta, parts, numbers(lr), (0.5, 0.9))
    for step in range(6):
        ours.grad.copy_(torch.randn(27, generator=g) * 10.0 ** (step - 3))
        betas = (0.5**0.8, 0.9**0.8) if step == 2 else (0.5, 0.9)
        ours.step(1 - step / 7, betas)
        for row, (adam, rate) in enumerate(zip(theirs, lr, strict=True)):
            adam.param_groups[0].update(lr=rate * (1 - step / 7), betas=betas)
            for p, grad in zip(rows[row], parts(ours.grad), strict=True):
                p.grad = grad[row].clone()
            adam.step()
        if step == 3:
            again = Adam(theta, parts, numbers(lr), (0.5, 0.9))
            again.load(ours.state())
            again.grad.copy_(ours.grad)
            ours = again
    for row, adam in enumerate(theirs):
        for p, value, v in zip(rows[row], parts(theta), parts(ours.second_moment()), strict=True):
            torch.testing.assert_close(value[row], p.detach(), rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(v[row], adam.state[p]["exp_avg_sq"] / (1 - 0.9**6), rtol=1e-12, atol=0)
    assert len(ours.state()) == 3


CHANGES = [{}, {"optimizer": "sgd"}, {"equal_length": True}, {"max_norm": 0.5}, {"every": 3, "clip": 0.1}]


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_update_of_rows(changes: dict, scored: bool) -> None:
    """Each row as by an `Update` of its own."""
    config, lr = dataclasses.replace(SMALL, **changes), (1e-3, 2e-2, 0.1)
    g = torch.Generator().manual_seed(1)
    start = torch.randn(27, generator=g)
    gradients = [(torch.randn(27, generator=g), torch.randn(27, generator=g)) for _ in range(7)]

    def run(theta: Tensor, views, rates: tuple[float, ...], cut) -> Tensor:
        update = Update(theta, views, config, numbers(rates))
        for at, (main, score) in enumerate(gradients):
            update.main.copy_(cut(main))
            update.score.copy_(cut(score))
            update.step(at, 1 - at / 9, scored and at % config.every == 0)
        return theta

    def row_of(row: int):
        return lambda flat: torch.cat([part[row].flatten() for part in parts(flat)])

    together = run(start.clone(), parts, lr, lambda flat: flat)
    for row, rate in enumerate(lr):
        cut = row_of(row)
        alone = run(cut(start), lambda flat: [flat[:6].view(1, 2, 3), flat[6:].view(1, 1, 3)], (rate,), cut)
        torch.testing.assert_close(cut(together), alone, rtol=1e-10, atol=1e-13)
        assert (alone - cut(start)).abs().max() > 1e-4
