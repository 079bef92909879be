"""The games against the papers' formulas, their slopes against autograd, and what is known of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from toy.training.games import GAMES

LOGITS = [-1e4, -90.0, -13.0, -2.5, -0.3, 0.0, 0.7, 4.0, 21.0, 90.0, 1e4]  # no kink of the hinge, -1 or 1


def log_d(logit: mpmath.mpf) -> mpmath.mpf:
    """log D = -log(1 + e^-logit)."""
    return -mpmath.log1p(mpmath.exp(-logit))


def log_not_d(logit: mpmath.mpf) -> mpmath.mpf:
    """log(1 - D) = -log(1 + e^logit)."""
    return -mpmath.log1p(mpmath.exp(logit))


FORMULAS: dict[str, tuple[Callable, Callable]] = {
    "saturating": (lambda r, f: -log_d(r) - log_not_d(f), lambda r, f: log_not_d(f)),
    "non-saturating": (lambda r, f: -log_d(r) - log_not_d(f), lambda r, f: -log_d(f)),
    "hinge": (lambda r, f: -min(0, -1 + r) - min(0, -1 - f), lambda r, f: -f),
    "least-squares": (lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2, lambda r, f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r, f: -r + f, lambda r, f: -f),
    "relativistic": (lambda r, f: -log_d(r - f), lambda r, f: -log_d(f - r)),
}


def pairs(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """All pairs of LOGITS: real [n], fake [n]."""
    real, fake = torch.tensor(list(itertools.product(LOGITS, LOGITS)), dtype=dtype).unbind(1)
    return real.requires_grad_(), fake.requires_grad_()


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize("name", GAMES)
def test_values(name: str, dtype: torch.dtype, rtol: float) -> None:
    """Of the formulas as published, by mpmath, whose exponents have no bounds (e^-1e4 is 1e-4343).

    1e-9 in float64: torch's softplus(x) is x beyond 20, where the rest is 1e-10 of it."""
    real, fake = pairs(dtype)
    with mpmath.workdps(30):
        exact = [mpmath.mpf(logit.item()) for logit in torch.tensor(LOGITS, dtype=dtype)]
        wanted = [[float(loss(r, f)) for r, f in itertools.product(exact, exact)] for loss in FORMULAS[name]]
    for got, numbers in zip((GAMES[name].d_loss(real, fake), GAMES[name].g_loss(real, fake)), wanted, strict=True):
        torch.testing.assert_close(got.detach(), torch.tensor(numbers, dtype=dtype), rtol=rtol, atol=1e-38)


@pytest.mark.parametrize("name", GAMES)
def test_slopes(name: str) -> None:
    """By autograd; 1e-8: beyond 20 autograd's slope of softplus is 1 exactly, 8e-10 too much at 21."""
    game, (real, fake) = GAMES[name], pairs(torch.float64)
    by_autograd = torch.autograd.grad(game.d_loss(real, fake).sum(), (real, fake))
    for got, wanted in zip(game.d_slopes(real, fake), by_autograd, strict=True):
        torch.testing.assert_close(got.detach(), wanted, rtol=1e-8, atol=0)
    slope_in_real, slope = torch.autograd.grad(
        game.g_loss(real, fake).sum(), (real, fake), allow_unused=True, materialize_grads=True
    )
    torch.testing.assert_close(game.g_slope(real, fake).detach(), slope, rtol=1e-8, atol=0)
    assert game.uses_real == bool(slope_in_real.any())


@pytest.mark.parametrize("name", GAMES)
def test_shapes_and_types_are_the_logits(name: str) -> None:
    game, real, fake = GAMES[name], torch.randn(2, 3, 1), torch.randn(2, 3, 1)
    for out in (game.d_loss(real, fake), *game.d_slopes(real, fake), game.g_loss(real, fake), game.g_slope(real, fake)):
        assert (out.shape, out.dtype) == (fake.shape, fake.dtype)


# What is known of each.


def test_what_saturating_means() -> None:
    """The slopes -D and -(1 - D): where the discriminator is sure of a fake the first is gone and the other is not."""
    real, fake = pairs(torch.float64)
    saturating, other = (GAMES[name].g_slope(real, fake) for name in ("saturating", "non-saturating"))
    torch.testing.assert_close(saturating + other, -torch.ones_like(fake))
    near = fake.abs() < 100
    torch.testing.assert_close((other / saturating)[near], (-fake).exp()[near])
    sure = torch.tensor([-1e4])
    assert GAMES["saturating"].g_slope(sure, sure) == 0
    assert GAMES["non-saturating"].g_slope(sure, sure) == -1


@pytest.mark.parametrize("name", GAMES)
def test_which_games_are_zero_sum(name: str) -> None:
    """The generator's slope is minus the discriminator's in two of them, everywhere."""
    real, fake = pairs(torch.float64)
    zero_sum = torch.equal(GAMES[name].g_slope(real, fake), -GAMES[name].d_slopes(real, fake)[1])
    assert zero_sum == (name in ("saturating", "wasserstein"))


@pytest.mark.parametrize("name", GAMES)
def test_which_games_see_the_difference_alone(name: str) -> None:
    """Adding a constant to D changes the discriminator's loss in all but two of them."""
    real, fake = pairs(torch.float64)
    moved = GAMES[name].d_loss(real + 3, fake + 3) - GAMES[name].d_loss(real, fake)
    assert bool((moved.abs() < 1e-9).all()) == (name in ("wasserstein", "relativistic"))


def test_relativistic_is_antisymmetric() -> None:
    """The generator plays the discriminator's game with real and fake exchanged; the two slopes are opposite."""
    game, (real, fake) = GAMES["relativistic"], pairs(torch.float64)
    assert torch.equal(game.g_loss(real, fake), game.d_loss(fake, real))
    assert torch.equal(game.g_slope(real, fake), game.d_slopes(fake, real)[0])
    in_real, in_fake = game.d_slopes(real, fake)
    assert torch.equal(in_real, -in_fake)


OPTIMAL = {
    "saturating": lambda p, q: math.log(p / q),
    "non-saturating": lambda p, q: math.log(p / q),
    "hinge": lambda p, q: math.copysign(1, p - q),
    "least-squares": lambda p, q: p / (p + q),
}


@pytest.mark.parametrize("name", OPTIMAL)
@pytest.mark.parametrize(("p", "q"), [(0.2, 1.7), (3.0, 0.4)])
def test_the_optimal_discriminator(name: str, p: float, q: float) -> None:
    """p l(D | real) + q l(D | fake) falls below the known optimum and rises above it."""
    best = OPTIMAL[name](p, q)
    for logit, sign in ((best - 1e-6, -1), (best + 1e-6, 1)):
        at = torch.tensor([logit], dtype=torch.float64)
        in_real, in_fake = GAMES[name].d_slopes(at, at)
        assert torch.sign(p * in_real + q * in_fake) == sign
