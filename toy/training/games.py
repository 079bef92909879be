"""Games: what the discriminator and the generator minimise, in the logits D(real) and D(fake), and the slopes.

A large logit means real. Every loss is one line, for one pair of logits, and its derivative is the next; tests compare
the losses with the papers' formulas and the derivatives with autograd. The linear output of the network is called the
logit in all games, also where no sigmoid follows. A game of the user's is two losses; its slopes are autograd's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, ones_like, sigmoid
from torch.nn.functional import relu, softplus

from theory.common.errors import FileError
from theory.common.parts import is_own, load, part_of, tried

Logits: TypeAlias = Float[Tensor, "*n"]


class Game(NamedTuple):
    """Two losses of a pair of logits, elementwise: (real [...], fake [...]) -> [...]."""

    d_loss: Callable[[Logits, Logits], Logits]
    """The discriminator's loss."""
    d_slopes: Callable[[Logits, Logits], tuple[Logits, Logits]]
    """(d d_loss / d real, d d_loss / d fake)."""
    g_loss: Callable[[Logits, Logits], Logits]
    """The generator's loss."""
    g_slope: Callable[[Logits, Logits], Logits]
    """d g_loss / d fake."""
    uses_real: bool = False
    """Whether the generator's loss depends on D(real); where not, any tensor of fake's shape may stand for real."""


GAMES: dict[str, Game] = {
    # D = sigmoid(logit):  -log D(real) - log(1 - D(fake));  log(1 - D(fake))
    # Goodfellow et al. 2014, eq. 1. The generator's slope -D(fake) vanishes where D(fake) does.
    "saturating": Game(
        d_loss=lambda real, fake: softplus(-real) + softplus(fake),
        d_slopes=lambda real, fake: (-sigmoid(-real), sigmoid(fake)),
        g_loss=lambda real, fake: -softplus(fake),
        g_slope=lambda real, fake: -sigmoid(fake),
    ),
    # D = sigmoid(logit):  -log D(real) - log(1 - D(fake));  -log D(fake)
    # Goodfellow et al. 2014, section 3.
    "non-saturating": Game(
        d_loss=lambda real, fake: softplus(-real) + softplus(fake),
        d_slopes=lambda real, fake: (-sigmoid(-real), sigmoid(fake)),
        g_loss=lambda real, fake: softplus(-fake),
        g_slope=lambda real, fake: -sigmoid(-fake),
    ),
    # max(0, 1 - D(real)) + max(0, 1 + D(fake));  -D(fake)
    # Lim, Ye 2017; Miyato et al. 2018, eqs. 16 and 17.
    "hinge": Game(
        d_loss=lambda real, fake: relu(1 - real) + relu(1 + fake),
        d_slopes=lambda real, fake: (-(real < 1).to(real.dtype), (fake > -1).to(fake.dtype)),
        g_loss=lambda real, fake: -fake,
        g_slope=lambda real, fake: -ones_like(fake),
    ),
    # (D(real) - 1)^2 / 2 + D(fake)^2 / 2;  (D(fake) - 1)^2 / 2
    # Mao et al. 2017, eqs. 2 and 9.
    "least-squares": Game(
        d_loss=lambda real, fake: (real - 1).square() / 2 + fake.square() / 2,
        d_slopes=lambda real, fake: (real - 1, fake),
        g_loss=lambda real, fake: (fake - 1).square() / 2,
        g_slope=lambda real, fake: fake - 1,
    ),
    # -D(real) + D(fake);  -D(fake)
    # Arjovsky, Chintala, Bottou 2017, eqs. 2 and 3: for Lipschitz D, which a gradient penalty enforces.
    "wasserstein": Game(
        d_loss=lambda real, fake: fake - real,
        d_slopes=lambda real, fake: (-ones_like(real), ones_like(fake)),
        g_loss=lambda real, fake: -fake,
        g_slope=lambda real, fake: -ones_like(fake),
    ),
    # -log sigmoid(D(real) - D(fake));  -log sigmoid(D(fake) - D(real))
    # Jolicoeur-Martineau 2018 (RSGAN); Huang et al. 2024 (R3GAN), section 2: real and fake are paired.
    "relativistic": Game(
        d_loss=lambda real, fake: softplus(fake - real),
        d_slopes=lambda real, fake: (-sigmoid(fake - real), sigmoid(fake - real)),
        g_loss=lambda real, fake: softplus(real - fake),
        g_slope=lambda real, fake: -sigmoid(real - fake),
        uses_real=True,
    ),
}


def game_of(loss: str) -> Game:
    """The game of that name, or that of FILE.py:NAME.

    NAME is a pair (d_loss, g_loss), or an object with these attributes and, if it likes, d_slopes, g_slope and
    uses_real (True if it does not say). A loss is a function of (real, fake), logits [seed, batch, 1], with values of
    that shape; it may mix the samples of a batch, and not the seeds. Slopes that are not given are autograd's.

    Raises:
        FileError: it is none of these, or a value is not finite or has another shape.
    """
    if not is_own(loss):
        return GAMES[loss]
    name, given = str(part_of(loss)), load(loss)
    pair = given if isinstance(given, tuple) else (getattr(given, "d_loss", None), getattr(given, "g_loss", None))
    if len(pair) != 2 or not all(map(callable, pair)):
        raise FileError(f"{name} must be a pair of functions (d_loss, g_loss), or an object that has both")
    d_loss, g_loss = pair
    game = Game(
        d_loss,
        getattr(given, "d_slopes", lambda real, fake: slopes(d_loss, real, fake)),
        g_loss,
        getattr(given, "g_slope", lambda real, fake: slopes(g_loss, real, fake)[1]),
        getattr(given, "uses_real", True),
    )
    tried(name, "is no game", check, game, name)
    return game


def slopes(loss: Callable[[Logits, Logits], Logits], real: Logits, fake: Logits) -> tuple[Logits, Logits]:
    """(d loss / d real, d loss / d fake), by autograd; 0 where the loss does not depend on one."""
    with torch.enable_grad():
        at = real.detach().requires_grad_(), fake.detach().requires_grad_()
        of_real, of_fake = torch.autograd.grad(loss(*at).sum(), at, allow_unused=True, materialize_grads=True)
    return of_real, of_fake


def check(game: Game, name: str) -> None:
    """FileError where a loss or a slope of the user's has another shape, is not finite, or mixes seeds."""
    real, fake = torch.randn(2, 2, 3, 1, generator=torch.Generator().manual_seed(0)).unbind()
    parts = {
        "d_loss": game.d_loss,
        "g_loss": game.g_loss,
        "d_slopes": lambda real, fake: torch.cat(game.d_slopes(real, fake), -1),
        "g_slope": game.g_slope,
    }
    for part, function in parts.items():
        value, one = function(real, fake), function(real[:1], fake[:1])
        wanted = [2, 3, 2 if part == "d_slopes" else 1]
        given = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if given != wanted:
            raise FileError(f"{name}: {part} must return a value for each pair of logits, {wanted}; given {given}")
        if not value.isfinite().all():
            raise FileError(f"{name}: {part} is NaN or infinite at ordinary logits")
        if not torch.allclose(value[:1], one):
            raise FileError(f"{name}: {part} mixes the seeds, which are the first axis of the logits")
