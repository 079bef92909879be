"""Spectral normalisation: a network whose weight matrices have largest singular value 1 (Miyato et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from toy.models.networks import Network, Parts

WARM_UP = 15  # power iterations at the start, as in torch.nn.utils.parametrizations.spectral_norm


class SpectralNetwork(Network):
    """A Network whose weights are W / sigma(W), with raw W and its largest singular value sigma; biases are raw.

    sigma is estimated by power iteration, of which each `normalise` does one: the vectors of the last one are close to
    those of the next, because an optimiser's step is small. For a W of shape [in, out]

        v <- W u / ||W u||,   u <- W^T v / ||W^T v||,   sigma = v^T W u = ||W^T v||.

    u and v are kept as rows, [seed, 1, out] and [seed, 1, in]: a batched product of rows is several times faster than
    one of columns.

    Attributes:
        raw: the tensor that the optimiser steps, laid out as theta [P]; `normalise` computes theta from it.
    Source: Miyato, Kataoka, Koyama, Yoshida 2018, algorithm 1.
    """

    def __init__(self, widths: Sequence[int], seeds: int, theta: Tensor | None = None):
        super().__init__(widths, seeds, theta)
        self.raw = self.theta.clone()
        # a start without random numbers; it must not be orthogonal to the leading vector
        self.u = [w.new_ones(seeds, 1, w.shape[2]) for w in self.weights]
        self.v = [w.new_zeros(seeds, 1, w.shape[1]) for w in self.weights]
        self.sigma = [w.new_ones(seeds, 1, 1) for w in self.weights]

    @property
    def parameters(self) -> Float[Tensor, " p"]:
        return self.raw

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.raw = self.raw.to(device)
        for name in ("u", "v", "sigma"):
            setattr(self, name, [part.to(device) for part in getattr(self, name)])

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        super().initialise(generators)
        for _ in range(WARM_UP):
            self.normalise()

    def normalise(self) -> None:
        """One power iteration, then theta <- raw with every W / sigma(W): once after every step of raw."""
        self.theta.copy_(self.raw)
        for layer, w in enumerate(self.weights):
            left = torch.bmm(self.u[layer], w.mT)
            self.v[layer] = left / vector_norm(left, dim=2, keepdim=True)
            right = torch.bmm(self.v[layer], w)
            self.sigma[layer] = vector_norm(right, dim=2, keepdim=True)
            self.u[layer] = right / self.sigma[layer]
            w.div_(self.sigma[layer])

    def pull_back(self, gradient: Parts) -> None:
        """Turns dL/dtheta, given as `views`, into dL/draw in place, through sigma = v^T W u with u and v held fixed:

            dL/dW = (G - <G, W / sigma> v u^T) / sigma,   G = dL/d(W / sigma).

        Source: Miyato et al. 2018, eq. 12.
        """
        for layer, g in enumerate(gradient[0]):
            inner = (g * self.weights[layer]).sum((1, 2), keepdim=True)
            g.addcmul_(inner * self.v[layer].mT, self.u[layer], value=-1).div_(self.sigma[layer])

    def take_from(self, other: SpectralNetwork, rows: Sequence[int]) -> None:
        """u, v and sigma of these rows of another one, and theta by the parameters, which are there already."""
        for name in ("u", "v", "sigma"):
            setattr(self, name, [value[list(rows)] for value in getattr(other, name)])
        self.theta.copy_(self.raw)
        for w, sigma in zip(self.weights, self.sigma, strict=True):
            w.div_(sigma)

    def state(self) -> dict[str, Any]:
        """Copies of everything that the next step depends on."""
        vectors = {name: [part.clone() for part in getattr(self, name)] for name in ("u", "v", "sigma")}
        return {"raw": self.raw.clone(), "theta": self.theta.clone(), **vectors}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()` bit for bit."""
        self.raw.copy_(state["raw"])
        self.theta.copy_(state["theta"])
        for name in ("u", "v", "sigma"):
            setattr(self, name, [part.to(self.raw.device, copy=True) for part in state[name]])
