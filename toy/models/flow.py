"""Normalizing flows of many seeds at once: affine couplings whose log determinant is exact.

    a, b = x's first d // 2 coordinates, the rest
    coupling:  (a, b) -> (a, b exp(r(a)) + t(a)),  |r| <= BOUND,  log |det| = sum r(a)
    x = f(z): for each coupling, couple and then roll the coordinates by d // 2, so that each is conditioned on in turn
    -log p(x) = 1/2 ||z||^2 + d/2 log 2 pi + sum over couplings of sum r,   z = f^-1(x)

A distribution on a manifold has no density, and the likelihood of a flow on it is unbounded. Real data are therefore
dequantised: x + DEQUANTISATION N(0, I). A perfect flow generates the thickened distribution.
Sources: Dinh, Sohl-Dickstein, Bengio 2017 (RealNVP), eqs. 4 to 8; Kingma, Dhariwal 2018 (Glow): starts as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from toy.models.networks import Network

LAYERS = 8  # couplings
BOUND = 1.0  # of a coupling's log scale
DEQUANTISATION = 0.02  # two and a half deviations are the tolerance of the metric off_manifold


class Flow:
    """One flow a seed; autograd differentiates `loss` and `sample` in theta.

    Attributes:
        theta: the parameters of all seeds in one flat tensor [P], a leaf that requires a gradient.
        latent: the dimension of z, which is that of x.

    Raises:
        ValueError: dim < 2, where a coupling has nothing to condition on.
    """

    def __init__(self, dim: int, hidden: Sequence[int], seeds: int):
        if dim < 2:
            raise ValueError(f"a flow of couplings needs dim of at least 2; given {dim}")
        self.latent, self.seeds, self.kept = dim, seeds, dim // 2
        self.widths = [self.kept, *hidden, 2 * (dim - self.kept)]
        self.theta = torch.zeros(LAYERS * Network(self.widths, seeds).theta.numel(), requires_grad=True)

    def networks(self, flat: Float[Tensor, " p"]) -> list[Network]:
        """The network a -> (t, r) of each coupling, as views into a flat tensor laid out as theta."""
        return [Network(self.widths, self.seeds, part) for part in flat.chunk(LAYERS)]

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """A flat tensor laid out as theta as tensors [seed, ...], which together are all of it."""
        return [view for network in self.networks(flat) for view in (*network.weights, *network.biases)]

    def to(self, device: torch.device) -> None:
        """Moves theta to a device, as a leaf again."""
        self.theta = self.theta.detach().to(device).requires_grad_()

    @torch.no_grad()
    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Hidden layers as the GAN's, from each seed's generator; the last ones zero, so that f rolls and no more."""
        for network in self.networks(self.theta):
            network.initialise(generators)
            network.weights[-1].zero_()

    def sample(self, z: Float[Tensor, "s n d"]) -> Float[Tensor, "s n d"]:
        """f(z)."""
        x = z
        for network in self.networks(self.theta):
            a, b, shift, log_scale = self._coupling(network, x)
            x = torch.cat([a, b * log_scale.exp() + shift], -1).roll(self.kept, -1)
        return x

    def inverse(self, x: Float[Tensor, "s n d"]) -> tuple[Float[Tensor, "s n d"], Float[Tensor, "s n"]]:
        """z = f^-1(x) and log |det df/dz| there."""
        log_det = x.new_zeros(x.shape[:-1])
        z = x
        for network in reversed(self.networks(self.theta)):
            a, b, shift, log_scale = self._coupling(network, z.roll(-self.kept, -1))
            z = torch.cat([a, (b - shift) * (-log_scale).exp()], -1)
            log_det = log_det + log_scale.sum(-1)
        return z, log_det

    def _coupling(self, network: Network, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a, b, t(a), r(a)."""
        a, b = x[..., : self.kept], x[..., self.kept :]
        shift, free = network(a).chunk(2, -1)
        return a, b, shift, BOUND * torch.tanh(free / BOUND)

    def log_prob(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s n"]:
        """log p(x) in nats: the density of f(z), z ~ N(0, I)."""
        z, log_det = self.inverse(x)
        return -z.square().sum(-1) / 2 - self.latent / 2 * math.log(2 * math.pi) - log_det

    def loss(self, real: Float[Tensor, "s b d"], noise: Float[Tensor, "s b d"]) -> Float[Tensor, " s"]:
        """mean_b -log p(x_b + DEQUANTISATION noise_b) in nats, noise ~ N(0, I)."""
        return -self.log_prob(real + DEQUANTISATION * noise).mean(1)
