"""The discriminator of a stack of seeds: its game, its regulariser (penalty, normalisation or noise), its Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toy.config import Config
from toy.models.networks import Network
from toy.models.spectral import SpectralNetwork
from toy.training.adam import Adam, take
from toy.training.draws import CPU, Extra
from toy.training.games import game_of
from toy.training.penalties import penalty_of

Check = Callable[[Float[Tensor, " s"]], None]  # raises where a value is not finite


class Discriminator:
    """D: R^dim -> R, one a row. A class-conditional one is told the label after the sample; under diffusion it is told
    the level of the noise after that.

    Args:
        lr, gamma: its learning rate and the strength of its regulariser, a number a row.
    """

    def __init__(
        self,
        config: Config,
        dim: int,
        labels: int,
        lr: Float[Tensor, " row"],
        gamma: Float[Tensor, " row"],
        check: Check,
        device: torch.device = CPU,
    ):
        self.config, self.dim, self.lr, self.check, self.device = config, dim, lr, check, device
        self.gamma = gamma.to(device, torch.get_default_dtype())[:, None, None]
        self.game = game_of(config.loss)
        self.penalty = penalty_of(config.regulariser)
        self.told = config.regulariser == "diffusion"
        widths = [dim + labels + self.told, *[config.width] * config.layers, 1]
        self.network = (SpectralNetwork if config.regulariser == "spectral" else Network)(widths, len(lr))

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        self.network.initialise(generators)
        self.network.to(self.device)
        config = self.config
        lr, betas = self.lr, (config.beta1, config.beta2)
        if config.regulariser_step == "corrected" and self.penalty:
            c = config.regulariser_every / (config.regulariser_every + 1)
            lr, betas = lr * c, (betas[0] ** c, betas[1] ** c)
        self.adam = Adam(self.network.parameters, self.views, lr, betas)
        self.count = 0  # of steps
        self.parts = self.network.views(self.adam.grad)

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """What is laid out as the parameters, as views [row, ...]."""
        weights, biases = self.network.views(flat)
        return weights + biases

    def step(self, real: Float[Tensor, "s b i"], fake: Float[Tensor, "s b i"], extra: Extra, decay: float) -> None:
        """One Adam step on mean_b d_loss(D(real), D(fake)), at lr decay; at every k-th with k times the regulariser's
        penalty, in it or in one more Adam step on the same samples after it (Karras et al. 2020, lazy regularisation).
        """
        batch, network = real.shape[1], self.network
        rows = self.noised(torch.cat([real, fake], 1), extra, decay)
        hidden = network.forward(rows)
        logits = hidden[-1][:, :batch], hidden[-1][:, batch:]
        self.check(hidden[-1].sum((1, 2)))
        slopes = torch.cat(self.game.d_slopes(*logits), 1).div_(batch)
        network.parameter_gradient(hidden, slopes, self.parts)
        every = self.config.regulariser_every
        penalty = self.penalty if self.count % every == 0 else None
        summed = self.config.regulariser_step == "summed"
        self.count += 1
        if penalty and summed:
            self.adam.grad += penalty(network, hidden, self.gamma * every, extra.u, self.dim)
        if isinstance(network, SpectralNetwork):
            network.pull_back(self.parts)
        self.adam.step(decay)
        if penalty and not summed:
            self.adam.grad.copy_(penalty(network, network.forward(rows), self.gamma * every, extra.u, self.dim))
            self.adam.step(decay)
        if isinstance(network, SpectralNetwork):
            network.normalise()

    def gradient(
        self, x: Float[Tensor, "s b i"], real: Float[Tensor, "s b i"], extra: Extra, decay: float
    ) -> Float[Tensor, "s b d"]:
        """d g_loss(D(real), D(x)) / dx of each sample; the real batch matters to a relativistic game alone."""
        network = self.network
        hidden = network.forward(self.noised(x, extra, decay))
        on_real = network(self.noised(real, extra, decay)) if self.game.uses_real else hidden[-1]
        self.check(hidden[-1].sum((1, 2)))
        slope = self.game.g_slope(on_real, hidden[-1])
        return network.input_gradient(hidden, slope)[..., : self.dim]

    def noised(self, rows: Float[Tensor, "s n i"], extra: Extra, decay: float) -> Float[Tensor, "s n j"]:
        """Under instance noise, rows + gamma decay noise: it fades with the learning rate (Sonderby et al. 2017). Under
        diffusion, (rows + s noise, s) with s = gamma u (Wang et al. 2023, Diffusion-GAN, with a fixed range of s).

        Args:
            extra: the numbers of as many rows, or more; without any, what the network has for rows without noise.
        """
        if extra.noise is None or self.config.regulariser not in ("instance-noise", "diffusion"):
            return torch.nn.functional.pad(rows, (0, 1)) if self.told else rows
        noise = extra.noise[:, : rows.shape[1]]
        if rows.shape[2] > self.dim:  # labels are not noised
            noise = torch.nn.functional.pad(noise, (0, rows.shape[2] - self.dim))
        if extra.u is None:
            return torch.addcmul(rows, noise, self.gamma, value=decay)
        level = self.gamma * extra.u[:, : rows.shape[1]]
        return torch.cat([torch.addcmul(rows, noise, level), level], -1)

    def take_from(self, other: Discriminator, rows: Sequence[int]) -> None:
        """The state of these rows of another one."""
        take(self.network.parameters, self.views, other.network.parameters, other.views, rows)
        self.adam.take_from(other.adam, rows)
        self.count = other.count
        if isinstance(self.network, SpectralNetwork) and isinstance(other.network, SpectralNetwork):
            self.network.take_from(other.network, rows)

    def state(self) -> dict[str, Any]:
        extra = self.network.state() if isinstance(self.network, SpectralNetwork) else {}
        return {"parameters": self.network.parameters.clone(), "adam": self.adam.state(), "count": self.count, **extra}

    def load(self, state: dict[str, Any]) -> None:
        self.network.parameters.copy_(state["parameters"])
        self.adam.load(state["adam"])
        self.count = state["count"]
        if isinstance(self.network, SpectralNetwork):
            self.network.load(state)
