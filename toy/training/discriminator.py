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
from toy.training.draws import Extra
from toy.training.games import GAMES
from toy.training.penalties import PENALTIES
from toy.training.update import moments, set_moments

Check = Callable[[Float[Tensor, " s"]], None]  # raises where a value is not finite


class Discriminator:
    """D: R^dim -> R, one a seed. A class-conditional one is told the label after the sample."""

    def __init__(self, config: Config, dim: int, labels: int, seeds: int, lr: float, check: Check):
        self.config, self.dim, self.lr, self.check = config, dim, lr, check
        self.game = GAMES[config.loss]
        widths = [dim + labels, *[config.width] * config.layers, 1]
        self.network = (SpectralNetwork if config.regulariser == "spectral" else Network)(widths, seeds)

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        self.network.initialise(generators)
        config = self.config
        self.adam = torch.optim.Adam([self.network.parameters], self.lr, (config.beta1, config.beta2), fused=True)
        self.network.parameters.grad = self.grad = torch.zeros_like(self.network.parameters)
        self.parts = self.network.views(self.grad)

    def step(self, real: Float[Tensor, "s b i"], fake: Float[Tensor, "s b i"], extra: Extra, decay: float) -> None:
        """One Adam step on mean_b d_loss(D(real), D(fake)) + the regulariser's penalty, at lr decay."""
        batch, network = real.shape[1], self.network
        rows = self.noised(torch.cat([real, fake], 1), extra.noise, decay)
        hidden = network.forward(rows)
        logits = hidden[-1][:, :batch], hidden[-1][:, batch:]
        self.check(self.game.d_loss(*logits).sum((1, 2)))
        slopes = torch.cat(self.game.d_slopes(*logits), 1) / batch
        network.parameter_gradient(hidden, network.deltas(hidden, slopes), self.parts)
        if penalty := PENALTIES.get(self.config.regulariser):
            self.grad += penalty(network, hidden, self.config.gamma, extra.u, self.dim)
        if isinstance(network, SpectralNetwork):
            network.pull_back(self.parts)
        self.adam.param_groups[0]["lr"] = self.lr * decay
        self.adam.step()
        if isinstance(network, SpectralNetwork):
            network.normalise()

    def gradient(
        self, x: Float[Tensor, "s b i"], real: Float[Tensor, "s b i"], noise: Tensor | None, decay: float
    ) -> Float[Tensor, "s b d"]:
        """d g_loss(D(real), D(x)) / dx of each sample; the real batch matters to a relativistic game alone."""
        network = self.network
        hidden = network.forward(self.noised(x, noise, decay))
        on_real = network(self.noised(real, noise, decay)) if self.game.uses_real else hidden[-1]
        self.check(self.game.g_loss(on_real, hidden[-1]).sum((1, 2)))
        slope = self.game.g_slope(on_real, hidden[-1])
        return network.input_gradient(network.deltas(hidden, slope))[..., : self.dim]

    def noised(self, rows: Float[Tensor, "s n i"], noise: Tensor | None, decay: float) -> Float[Tensor, "s n i"]:
        """Under instance noise, rows + gamma decay noise: it fades with the learning rate (Sonderby et al. 2017)."""
        if noise is None or self.config.regulariser != "instance-noise":
            return rows
        noise = noise[:, : rows.shape[1]]
        if rows.shape[2] > self.dim:  # labels are not noised
            noise = torch.nn.functional.pad(noise, (0, rows.shape[2] - self.dim))
        return torch.add(rows, noise, alpha=self.config.gamma * decay)

    def state(self) -> dict[str, Any]:
        extra = self.network.state() if isinstance(self.network, SpectralNetwork) else {}
        return {"parameters": self.network.parameters.clone(), "adam": moments(self.adam), **extra}

    def load(self, state: dict[str, Any]) -> None:
        self.network.parameters.copy_(state["parameters"])
        set_moments(self.adam, state["adam"])
        if isinstance(self.network, SpectralNetwork):
            self.network.load(state)
