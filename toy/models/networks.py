"""Multilayer perceptrons of many seeds at once, with the backward pass written out.

The seed is a batch axis: weights are [seed, in, out], samples [seed, batch, features], and one batched product is over
all seeds. The backward pass is written out because autograd's overhead exceeds the cost of the products in networks
this small; tests compare every formula with autograd.

For h_0 = x, a_l = h_{l-1} W_l + b_l, h_l = lrelu(a_l) and a linear last layer, with delta_l = dL/da_l:

    dL/dW_l = h_{l-1}^T delta_l,   dL/db_l = sum over the batch of delta_l,   dL/dh_{l-1} = delta_l W_l^T
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Parts: TypeAlias = tuple[list[Tensor], list[Tensor]]  # weights and biases, a tensor a layer
SLOPE = 0.2  # of the leaky ReLU where its argument is negative
leaky_relu = torch.ops.aten.leaky_relu_
leaky_relu_backward = torch.ops.aten.leaky_relu_backward


class Network:
    """Leaky-ReLU perceptrons R^{widths[0]} -> R^{widths[-1]}, one a seed, linear in the last layer.

    Attributes:
        theta: all parameters in one flat tensor [P], so that an optimiser step is one kernel.
        weights, biases: views into theta, [seed, in, out] and [seed, 1, out] a layer.
    """

    def __init__(self, widths: Sequence[int], seeds: int, theta: Tensor | None = None):
        self.widths, self.seeds = tuple(widths), seeds
        count = seeds * sum((i + 1) * o for i, o in pairwise(self.widths))
        self.theta = torch.zeros(count) if theta is None else theta
        self.weights, self.biases = self.views(self.theta)

    @property
    def parameters(self) -> Float[Tensor, " p"]:
        """The tensor that an optimiser steps."""
        return self.theta

    def views(self, flat: Float[Tensor, " p"]) -> Parts:
        """The weights and the biases of every layer as views into a flat tensor laid out as theta."""
        weights, biases, at = [], [], 0
        for i, o in pairwise(self.widths):
            weights.append(flat[at : at + self.seeds * i * o].view(self.seeds, i, o))
            at += self.seeds * i * o
            biases.append(flat[at : at + self.seeds * o].view(self.seeds, 1, o))
            at += self.seeds * o
        return weights, biases

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """He initialisation for the leaky ReLU (gain 1 in the last layer), biases zero; one generator a seed."""
        weights, _ = self.views(self.parameters)
        for layer, weight in enumerate(weights):
            gain = 1.0 if layer == len(weights) - 1 else math.sqrt(2 / (1 + SLOPE**2))
            for w, generator in zip(weight, generators, strict=True):
                w.normal_(std=gain / math.sqrt(w.shape[0]), generator=generator)

    def forward(self, x: Float[Tensor, "s b i"]) -> list[Tensor]:
        """[h_0 = x, h_1, ..., h_L = output]: what `backward` needs, each [seed, batch, width]."""
        hidden = [x]
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            a = affine(hidden[-1], w, b)
            hidden.append(a if layer == len(self.weights) - 1 else leaky_relu(a, SLOPE))
        return hidden

    def __call__(self, x: Float[Tensor, "s b i"]) -> Float[Tensor, "s b o"]:
        return self.forward(x)[-1]

    def deltas(self, hidden: list[Tensor], grad: Float[Tensor, "s b o"]) -> list[Tensor]:
        """[delta_1, ..., delta_L], delta_l = dL/da_l, from dL/d output."""
        deltas = [grad]
        for layer in range(len(self.weights) - 1, 0, -1):
            back = outer(deltas[0], self.weights[layer])
            deltas.insert(0, leaky_relu_backward(back, hidden[layer], SLOPE, True))
        return deltas

    def input_gradient(self, deltas: list[Tensor]) -> Float[Tensor, "s b i"]:
        """dL/dx = delta_1 W_1^T."""
        return outer(deltas[0], self.weights[0])

    def parameter_gradient(self, hidden: list[Tensor], deltas: list[Tensor], out: Parts) -> None:
        """Writes dL/dtheta into `out`, views of a tensor laid out as theta: allocation costs 3 % of a step."""
        weights, biases = out
        ones = hidden[0].new_ones(1, 1, hidden[0].shape[1]).expand(self.seeds, -1, -1)
        for h, delta, w, b in zip(hidden, deltas, weights, biases, strict=False):
            if is_narrow(w):
                w.copy_(torch.bmm(delta.mT, h).mT)
            else:
                torch.bmm(h.mT, delta, out=w)
            torch.bmm(ones, delta, out=b)


def is_narrow(weight: Float[Tensor, "s i o"]) -> bool:
    """Whether a product is faster written transposed: batched products with one or two columns take a slow path."""
    return weight.shape[-1] <= 2


def affine(h: Float[Tensor, "s b i"], weight: Float[Tensor, "s i o"], bias: Float[Tensor, "s 1 o"]) -> Tensor:
    """h W + b.   -> [s, b, o]"""
    return torch.baddbmm(bias.mT, weight.mT, h.mT).mT if is_narrow(weight) else torch.baddbmm(bias, h, weight)


def outer(delta: Float[Tensor, "s b o"], weight: Float[Tensor, "s i o"]) -> Float[Tensor, "s b i"]:
    """delta W^T; a plain product where there is one output, which is faster."""
    return delta * weight.mT if weight.shape[-1] == 1 else torch.bmm(delta, weight.mT)
