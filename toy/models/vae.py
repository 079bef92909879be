"""Variational autoencoders of many seeds at once: the decoder's mean g(z) is the generator.

    p(z) = N(0, I),  p(x|z) = N(g(z), s^2 I),  q(z|x) = N(mu(x), diag exp(v(x)))
    -ELBO(x) = -E_q log p(x|z) + KL(q(z|x) || p(z)),
    KL = 1/2 sum_j (mu_j^2 + exp(v_j) - 1 - v_j)

with one draw of z = mu + exp(v/2) noise a sample. s is learned, one number a seed (sigma-VAE), in the place of a weight
beta of the KL. A distribution on a manifold has no density, and s would go to 0 where reconstruction is perfect; it is
kept smoothly above exp(-6).
Sources: Kingma, Welling 2014, eq. 10; Rybkin, Daniilidis, Levine 2021, eq. 5 (s) and its released code (the bound).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from toy.models.networks import Network

LEAST_LOG_S = -6.0
START_LOG_S = math.log(0.1)  # from 1 the posterior collapses to the prior: the decoder's noise is as large as the data


class VAE:
    """One VAE a seed; autograd differentiates `loss` and `sample` in theta.

    Attributes:
        theta: the parameters of all seeds in one flat tensor [P], a leaf that requires a gradient.
        latent: the dimension of z.
    """

    def __init__(self, dim: int, latent: int, hidden: Sequence[int], seeds: int):
        self.latent, self.seeds = latent, seeds
        self.encoder_widths, self.decoder_widths = [dim, *hidden, 2 * latent], [latent, *reversed(hidden), dim]
        sizes = [Network(widths, seeds).theta.numel() for widths in (self.encoder_widths, self.decoder_widths)]
        self.sizes = [*sizes, seeds]
        self.theta = torch.zeros(sum(self.sizes), requires_grad=True)

    def parts(self, flat: Float[Tensor, " p"]) -> tuple[Network, Network, Float[Tensor, " s"]]:
        """Encoder, decoder and the free parameter of s, as views into a flat tensor laid out as theta."""
        encoder, decoder, free = flat.split(self.sizes)
        return (
            Network(self.encoder_widths, self.seeds, encoder),
            Network(self.decoder_widths, self.seeds, decoder),
            free,
        )

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """A flat tensor laid out as theta as tensors [seed, ...], which together are all of it."""
        encoder, decoder, free = self.parts(flat)
        return [*encoder.weights, *encoder.biases, *decoder.weights, *decoder.biases, free[:, None]]

    def to(self, device: torch.device) -> None:
        """Moves theta to a device, as a leaf again."""
        self.theta = self.theta.detach().to(device).requires_grad_()

    @torch.no_grad()
    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """As the GAN's networks, from each seed's generator; s starts at 0.1."""
        encoder, decoder, free = self.parts(self.theta)
        encoder.initialise(generators)
        decoder.initialise(generators)
        free.fill_(LEAST_LOG_S + math.log(math.expm1(START_LOG_S - LEAST_LOG_S)))

    @property
    def log_s(self) -> Float[Tensor, " s"]:
        """log s = -6 + softplus(free + 6)."""
        return LEAST_LOG_S + softplus(self.parts(self.theta)[2] - LEAST_LOG_S)

    def loss(self, real: Float[Tensor, "s b d"], noise: Float[Tensor, "s b k"]) -> Float[Tensor, " s"]:
        """mean_b -ELBO(x_b) in nats, with the posterior's `noise` ~ N(0, I)."""
        encoder, decoder, _ = self.parts(self.theta)
        mu, v = encoder(real).chunk(2, -1)  # [s b k]
        residual = real - decoder(mu + (v / 2).exp() * noise)  # [s b d]
        log_s = self.log_s[:, None]
        squares = residual.square().sum(-1) * (-2 * log_s).exp()
        reconstruction = squares / 2 + real.shape[-1] * (log_s + math.log(2 * math.pi) / 2)
        kl = (mu.square() + v.exp() - 1 - v).sum(-1) / 2
        return (reconstruction + kl).mean(1)

    def sample(self, z: Float[Tensor, "s n k"]) -> Float[Tensor, "s n d"]:
        """g(z), without the decoder's noise: the score term acts on a generator's output (eq. 10 of SMaRt)."""
        return self.parts(self.theta)[1](z)
