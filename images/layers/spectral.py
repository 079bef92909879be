"""Spectral normalisation: weights over their largest singular value, which power iterations follow.

torch.nn.utils.parametrizations.spectral_norm takes an iteration at every use of a weight in training mode. A step here
is made of any number of parts of a batch, which must see one weight: `power_iteration` is called between steps.

Source: Miyato, Kataoka, Koyama, Yoshida 2018, "Spectral normalization for generative adversarial networks".
"""

from __future__ import annotations

from itertools import chain
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

EPS = 1e-8
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear, nn.Embedding)


class Spectral(nn.Module):
    """W -> W / sigma with sigma = u^T W v, differentiable in W; W [o, ...] counts as a matrix [o, i].

    u [o] and v [i] are unit vectors that do not depend on W in the gradient. In float32, whatever autocast says.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Float[Tensor, "o ..."]):
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0, eps=EPS))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0, eps=EPS))

    def forward(self, weight: Float[Tensor, "o ..."]) -> Float[Tensor, "o ..."]:
        with torch.autocast(weight.device.type, enabled=False):
            return weight / torch.dot(self.u, weight.flatten(1) @ self.v)

    @torch.no_grad()
    def iterate(self, weight: Float[Tensor, "o ..."]) -> None:
        """v <- W^T u / |W^T u|, u <- W v / |W v|: towards the singular vectors of the largest singular value."""
        matrix = weight.flatten(1)
        self.v.copy_(F.normalize(matrix.mT @ self.u, dim=0, eps=EPS))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=EPS))


def spectral(layer: Layer) -> Layer:
    """The layer, whose weight is normalised from now on; after one power iteration."""
    found = Spectral(layer.weight)
    found.iterate(layer.weight)
    parametrize.register_parametrization(layer, "weight", found, unsafe=True)  # unchecked: autocast has no meta device
    return layer


def power_iteration(*networks: nn.Module) -> None:
    """One iteration for every normalised weight of the networks."""
    for module in chain.from_iterable(network.modules() for network in networks):
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], Spectral):
            module[0].iterate(module.original)
