"""A generator of the user's against ours: the same network has the same gradients; what does not fit is one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from theory.common.errors import FileError
from theory.common.parts import given
from theory.common.seeds import generator
from toy.config import Config
from toy.models.networks import SLOPE, Network
from toy.models.own_generator import OwnGenerator
from toy.training.gan import Trainer

SMALL: dict[str, Any] = {"width": 4, "layers": 1, "batch": 8, "seeds": 3, "steps": 8, "d_ahead": 2, "samples": 16}


class Perceptron(nn.Sequential):
    """Ours, as a user would write it."""

    def __init__(self, latent: int, dim: int):
        super().__init__(nn.Linear(latent, 5), nn.LeakyReLU(SLOPE), nn.Linear(5, dim))


class Fixed(nn.Module):
    """A module with a frozen parameter and a buffer, drawn anew for each seed, and with branches that vmap refuses."""

    def __init__(self, latent: int, dim: int, looks: bool = True):
        super().__init__()
        self.map, self.looks = nn.Linear(latent, dim), looks
        self.frozen = nn.Parameter(torch.randn(dim), requires_grad=False)
        self.register_buffer("moved", torch.randn(dim))

    def forward(self, z: Tensor) -> Tensor:
        if self.looks and bool((z > 100).any()):
            return z
        return self.map(z) * self.frozen + self.moved


def made(function: Any, latent: int = 2, dim: int = 3, seeds: int = 2) -> OwnGenerator:
    found = OwnGenerator(given("generator", function), latent, dim, seeds)
    found.initialise([generator(seed, 0) for seed in range(seeds)])
    return found


def trained(arm: str, steps: int, seeds: tuple[int, ...] = (0, 1, 2), function: Any = Perceptron) -> Trainer:
    config = Config(**SMALL, generator=given("generator", function))
    trainer = Trainer(config, arm, seeds)
    trainer.train_ahead()
    for _ in range(steps):
        trainer.step()
    return trainer


def test_the_gradient_is_that_of_our_network() -> None:
    """The same parameters in both: the same samples, and J^T v by autograd and by hand."""
    own, ours = made(Perceptron), Network([2, 5, 3], 2)
    for layer in (0, 1):
        ours.weights[layer].copy_(own.weights[2 * layer].mT)
        ours.biases[layer].copy_(own.weights[2 * layer + 1][:, None])
    z, v = torch.randn(2, 2, 7, 3, generator=generator(0, 1)).unbind()
    z = z[..., :2].contiguous()
    flat, wanted = torch.zeros_like(own.theta), torch.zeros_like(ours.theta)
    hidden, known = own.forward(z), ours.forward(z)
    torch.testing.assert_close(hidden[-1], known[-1])
    assert not hidden[-1].requires_grad
    for _ in range(2):  # a decoupled arm asks twice
        own.parameter_gradient(hidden, v, own.views(flat))
    ours.parameter_gradient(known, v, ours.views(wanted))
    for layer in (0, 1):
        torch.testing.assert_close(own.views(flat)[0][2 * layer].mT, ours.views(wanted)[0][layer])
        torch.testing.assert_close(own.views(flat)[0][2 * layer + 1][:, None], ours.views(wanted)[1][layer])


def test_one_after_another_where_vmap_cannot() -> None:
    """A branch on values: the seeds run in turn, with the same result; buffers are each seed's own, and not trained."""
    looped, at_once = made(Fixed), made(lambda latent, dim: Fixed(latent, dim, looks=False))
    assert (looped.at_once, at_once.at_once) == (False, True)
    z = torch.randn(2, 7, 2, generator=generator(0, 1))
    torch.testing.assert_close(looped(z), at_once(z))
    assert list(looped.shapes) == ["map.weight", "map.bias"]
    assert set(looped.constants) == {"frozen", "moved"}
    assert not torch.equal(*looped.constants["moved"])


@pytest.mark.parametrize("arm", ["summed", "own-step", "decoupled"])
def test_resumed_bit_for_bit(arm: str) -> None:
    whole, begun = trained(arm, 4), trained(arm, 2)
    config = begun.config
    again = Trainer(config, arm, begun.seeds)
    again.load(begun.state())
    again.step()
    again.step()
    assert torch.equal(again.g.theta, whole.g.theta)
    assert torch.equal(again.sample(), whole.sample())
    assert not torch.equal(begun.g.theta, whole.g.theta)


def test_a_row_goes_on_as_it_would() -> None:
    """And does not depend on the seeds beside it; its buffers are its own."""
    for function in (Perceptron, Fixed):
        beside, alone = trained("decoupled", 2, function=function), trained("decoupled", 3, (1,), function)
        taken = beside.take([1])
        taken.step()
        torch.testing.assert_close(taken.sample(), alone.sample())
        assert not torch.allclose(beside.sample()[1], beside.sample()[0])


class Wrong(nn.Module):
    """Something that does not fit."""

    def __init__(self, what: str, latent: int, dim: int):
        super().__init__()
        self.what = what
        self.map = nn.Linear(latent, dim + (what == "shape"), dtype=torch.float64 if what == "double" else None)
        if what == "none":
            self.map.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        x = self.map(z)
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "detached": lambda x: x.detach(),
            "nan": lambda x: x * math.nan,
            "half": lambda x: x.half(),
            "random": lambda x: x + torch.rand(1),
            "raises": lambda x: x @ torch.ones(7),
        }
        return changes.get(self.what, lambda x: x)(x)


def wrong(what: str) -> Callable[[int, int], nn.Module]:
    def network(latent: int, dim: int) -> nn.Module:
        return Wrong(what, latent, dim)

    return network


def growing(latent: int, dim: int) -> nn.Module:
    width = int(torch.randint(2, 1000, ()))
    return nn.Sequential(nn.Linear(latent, width), nn.Linear(width, dim))


def normalised(latent: int, dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(latent, dim), nn.BatchNorm1d(dim))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (wrong("shape"), r"must return x \[4, 3\] of z \[4, 2\], torch.float32; given \[4, 4\], torch.float32$"),
        (wrong("half"), r"given \[4, 3\], torch.float16$"),
        (wrong("double"), r"its map.weight must be torch.float32; given torch.float64$"),
        (wrong("none"), "has no parameters to train$"),
        (wrong("detached"), "is not differentiable in its parameters$"),
        (wrong("nan"), "returns NaN or infinity at its start$"),
        (wrong("random"), "must be a function of z alone: it draws random numbers, or changes its buffers as it runs$"),
        (wrong("raises"), "does not run: RuntimeError: .*$"),
        (normalised, "must be a function of z alone"),
        (growing, "must make modules of the same shapes for all seeds$"),
        (lambda latent, dim: 3, "must return a torch.nn.Module; given int$"),
        (lambda latent: nn.Linear(latent, 3), "makes no generator: TypeError: .*$"),
        (nn.Linear(2, 3), r"must be a class or function \(latent, dim\) of a module; given Linear$"),
    ],
)
def test_refused(function: Any, says: str) -> None:
    with pytest.raises(FileError, match=says) as error:
        made(function)
    assert "\n" not in str(error.value)


def test_dropout_is_refused_and_not_in_evaluation() -> None:
    def dropping(latent: int, dim: int) -> nn.Module:
        return nn.Sequential(nn.Linear(latent, dim), nn.Dropout())

    with pytest.raises(FileError, match="must be a function of z alone"):
        made(dropping)
    made(lambda latent, dim: dropping(latent, dim).eval())


def test_torch_s_own_random_numbers_stay() -> None:
    """Neither read nor moved: what the user draws beside is not disturbed."""
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first = made(Perceptron)
    assert torch.equal(torch.rand(1), wanted)
    assert torch.equal(made(Perceptron).theta, first.theta)
