"""The generator's own score, trained along with it: the score that distribution matching subtracts.

Score distillation moves samples by eps_real(x_t) - eps. Its potential contains the mutual information I_Q(X; X_t) of
claim P4, which penalises diversity, and modes collapse. With the score of the generated distribution in the place of
eps,

    E grad = 2 (alpha / sigma) (eps_real(x_t) - eps_own(x_t)),

it is the gradient of a reverse KL divergence of the noised distributions, which is 0 where they agree (claim P5).
eps_own is learned by denoising score matching on the samples of the generator now. Sources: Wang et al. 2023
(variational score distillation), Yin et al. 2024 (distribution matching distillation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.seeds import generator
from toy.config import Config
from toy.models.networks import Network
from toy.training.adam import Adam, numbers, take
from toy.training.denoiser import Preconditioning
from toy.training.draws import CPU, INIT

LR = 5e-3  # constant: the generated distribution changes until the end
SIGMA_DATA = 1.0  # the order of the catalogue's; that of the generated distribution changes


class OwnScore:
    """One small score model a seed, as wide as the other networks, in EDM preconditioning."""

    def __init__(self, dim: int, seeds: Sequence[int], config: Config, device: torch.device = CPU):
        self.precondition = Preconditioning(SIGMA_DATA)
        self.network = Network([dim + 1, *[config.width] * config.layers, dim], len(seeds))
        self.network.initialise([generator(seed, INIT, 1) for seed in seeds])
        self.network.to(device)
        lr = numbers([LR] * len(seeds))
        self.adam = Adam(self.network.theta, self.views, lr, (config.beta1, config.beta2))
        self.gradient = self.network.views(self.adam.grad)

    def views(self, flat: Float[Tensor, " p"]) -> list[Tensor]:
        """What is laid out as the parameters, as views [seed, ...]."""
        weights, biases = self.network.views(flat)
        return weights + biases

    def train_step(
        self, fake: Float[Tensor, "s b d"], nsr: Float[Tensor, "s b"], eps: Float[Tensor, "s b d"]
    ) -> Float[Tensor, " s"]:
        """One Adam step on mean_b ||F - target||^2, EDM's weighting of denoising score matching; the loss, before it.

        With F the network's output, dL/dF = 2 (F - target) / B.
        """
        x_t = fake + nsr[..., None] * eps
        hidden = self.network.forward(self.precondition.inputs(x_t, nsr))
        residual = hidden[-1] - self.precondition.target(eps, x_t, nsr)
        self.network.parameter_gradient(hidden, residual * (2 / residual.shape[1]), self.gradient)
        self.adam.step(1.0)
        return residual.square().sum(-1).mean(1)

    def eps(self, x_t: Float[Tensor, "s b d"], nsr: Float[Tensor, "s b"]) -> Float[Tensor, "s b d"]:
        """eps_own(x_t) at alpha = 1: -nsr times the score of the generated law, noised; no gradient runs through."""
        return self.precondition.eps(self.network(self.precondition.inputs(x_t, nsr)), x_t, nsr)

    def take_from(self, other: OwnScore, rows: Sequence[int]) -> None:
        """The state of these rows of another one."""
        take(self.network.theta, self.views, other.network.theta, other.views, rows)
        self.adam.take_from(other.adam, rows)

    def state(self) -> dict[str, Any]:
        """Everything that decides the steps to come."""
        return {"theta": self.network.theta.clone(), "adam": self.adam.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.network.theta.copy_(state["theta"])
        self.adam.load(state["adam"])
