"""Less memory or less time, and the same step: activation checkpointing, torch.compile, and the options."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from images import train
from images.bench.peers import randomise
from images.draws import OF_D, OF_PATHS, OF_SCORE
from images.generators.families import augment_of, networks_of
from images.plan.costs import costs
from images.recipes import PRECISIONS, RECIPES, Recipe
from images.tests.test_cuda_rules import Images, score_of, tiny
from images.tests.test_plan import R3GAN
from images.training import speed
from images.training.experiment import Experiment
from images.training.inputs import Same
from images.training.run import trainer_of
from images.training.speed import BLOCKS, SLOW, Speed
from images.training.trainer import Totals, Trainer
from theory.common.errors import UsageError

CHECKPOINTS = Speed(checkpoints=True)


def trainer(recipe: Recipe, how: Speed) -> Trainer:
    torch.manual_seed(0)
    score = score_of(recipe)
    randomise(score)
    return Trainer(
        recipe, "own-step", 0, networks_of, Images(recipe), score, augment=augment_of(recipe), speed=how
    )  # fmt: skip


def gradients(ours: Trainer) -> list[Tensor]:
    """Of D's game and penalties, of G's game, the score term and path lengths."""
    totals = Totals()
    found = ours.d_gradient(totals, OF_D, game=True, penalised=ours.recipe.penalty != "none")
    found += ours.g_gradient(totals) + ours.score_gradient(totals, OF_SCORE)
    return found + (ours.path_gradient(totals, OF_PATHS) if ours.recipe.path_weight else [])


@pytest.mark.parametrize("name", ["cifar10", "lsun-bedroom", "cifar10-biggan"])
def test_checkpointing_leaves_gradients_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(tiny(RECIPES[name]), batch=2)
    recipe = dataclasses.replace(recipe, resolution=16) if name == "lsun-bedroom" else recipe
    expected = gradients(trainer(recipe, SLOW))
    calls: list[Any] = []
    original = speed.checkpoint

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(given[0])
        return original(*given, **named)

    monkeypatch.setattr(speed, "checkpoint", counted)
    ours = trainer(recipe, CHECKPOINTS)
    found = gradients(ours)
    held = [network for network in (ours.g, ours.d, ours.score) if isinstance(network, nn.Module)]
    assert len(calls) >= sum(isinstance(module, BLOCKS) for network in held for module in network.modules()) > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(b.abs().max()))
    before = {name: value.clone() for name, value in ours.average.state_dict().items()}
    ours.step()  # what is averaged computes by its own parameters, not by G's
    z, labels = torch.randn(2, recipe.latent), torch.zeros(2, dtype=torch.long) if recipe.classes else None
    x = ours.sample(z, labels)
    ours.average.load_state_dict(before)
    assert not torch.equal(ours.sample(z, labels), x)


def test_checkpointing_takes_less_memory() -> None:
    """In the plan's measure."""
    recipe = dataclasses.replace(R3GAN, resolution=8, augment=(0.0, 0.0), penalty="r1")
    whole, again = (costs(recipe, "own-step", 16, speed=how) for how in (SLOW, CHECKPOINTS))
    assert again.g_scored.peak < 0.8 * whole.g_scored.peak
    assert again.d.peak < whole.d.peak
    assert 1 < again.g_scored.flops / whole.g_scored.flops < 1.5  # which is what it costs


def test_what_is_differentiated_twice_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code path with a compiler that leaves functions as they are: inductor takes minutes on a CPU."""
    compiled: list[str] = []
    stance: list[str] = ["default"]

    def compile(function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            compiled.append(f"{type(function.__self__).__name__} {stance[-1]}")
            return function(*given, **named)

        return call

    class Stance:
        def __init__(self, name: str):
            self.name = name

        def __enter__(self) -> None:
            stance.append(self.name)

        def __exit__(self, *_: Any) -> None:
            stance.pop()

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.compiler, "set_stance", Stance)
    recipe = dataclasses.replace(tiny(RECIPES["digits"]), penalty_every=2)
    expected = trainer(recipe, SLOW)
    ours = trainer(recipe, Speed(compiled=True))
    ours.d_step()
    assert "SmallDiscriminator default" not in compiled
    assert "SmallDiscriminator force_eager" in compiled
    ours.g_step()
    assert {"SmallGenerator default", "SmallDiscriminator default", "EDMScore default"} <= set(compiled)
    expected.d_step()
    expected.g_step()
    pairs = zip(ours.g.parameters(), expected.g.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert ours.g.state_dict().keys() == expected.g.state_dict().keys()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_score_model_alone_has_a_precision_of_its_own(precision: str) -> None:
    """Where the trainer's autocast is at work, as on CUDA."""
    seen: dict[str, bool] = {}

    class Low(Trainer):
        def autocast(self) -> Any:
            return torch.autocast("cpu", dtype=torch.bfloat16)

    def eps_model(x_t: Tensor, level: Any) -> Tensor:
        seen["score"] = torch.is_autocast_enabled("cpu")
        return x_t

    def hook(module: nn.Module, given: Any) -> None:
        seen[type(module).__name__] = torch.is_autocast_enabled("cpu")

    recipe = dataclasses.replace(tiny(RECIPES["digits"]), score_precision=precision)
    ours = Low(recipe, "own-step", 0, networks_of, Images(recipe), Same(eps_model))
    for network in (ours.g, ours.d):
        network.register_forward_pre_hook(hook)
    ours.step()
    assert seen == {"SmallGenerator": True, "SmallDiscriminator": True, "score": precision == "bfloat16"}
    assert all(recipe.score_precision == "float32" for recipe in RECIPES.values())


def test_options_reach_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def begin(self: Experiment, *_: Any) -> None:
        seen.append((trainer_of(self.jobs()[0]).speed, torch.backends.cudnn.benchmark))
        raise ValueError("seen")

    monkeypatch.setattr(Experiment, "begin", begin)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    for given in ([], ["--checkpoint-activations"], ["--compile", "--cudnn-benchmark"]):
        call = partial(train.main, ["--out", str(tmp_path), *given])
        with pytest.raises(UsageError, match="seen"):
            call()
    assert seen == [(SLOW, False), (CHECKPOINTS, False), (Speed(compiled=True), True)]
