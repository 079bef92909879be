"""Games: what the discriminator and the generator minimise, in the logits D(real) and D(fake), and the slopes.

A large logit means real. Every loss is one line, for one pair of logits, and its derivative is the next; tests compare
the losses with the papers' formulas and the derivatives with autograd. The linear output of the network is called the
logit in all games, also where no sigmoid follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor, ones_like, sigmoid
from torch.nn.functional import relu, softplus

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
