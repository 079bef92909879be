"""Multilayer perceptrons of many seeds at once, with the backward pass written out.

The seed is a batch axis: weights are [seed, in, out], samples [seed, batch, features], and one batched product is over
all seeds. The backward pass is written out because autograd's overhead exceeds the cost of the products in networks
this small; tests compare every formula with autograd.

For h_0 = x, a_l = h_{l-1} W_l + b_l, h_l = lrelu(a_l) and a linear last layer, with delta_l = dL/da_l:

    dL/dW_l = h_{l-1}^T delta_l,   dL/db_l = sum over the batch of delta_l,   dL/dh_{l-1} = delta_l W_l^T
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Parts: TypeAlias = tuple[list[Tensor], list[Tensor]]  # weights and biases, a tensor a layer
SLOPE = 0.2  # of the leaky ReLU where its argument is negative
leaky_relu_ = torch.nn.functional.leaky_relu_
leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input


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

    def like(self, theta: Float[Tensor, " p"]) -> Network:
        """Networks of this shape with other parameters."""
        return Network(self.widths, self.seeds, theta)

    def to(self, device: torch.device) -> None:
        """Moves the parameters to a device; who holds views of them makes them anew."""
        self.theta = self.theta.to(device)
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
            hidden.append(a if layer == len(self.weights) - 1 else leaky_relu_(a, SLOPE))
        return hidden

    def __call__(self, x: Float[Tensor, "s b i"]) -> Float[Tensor, "s b o"]:
        return self.forward(x)[-1]

    def deltas(self, hidden: list[Tensor], grad: Float[Tensor, "s b o"]) -> Iterator[Tensor]:
        """delta_L, ..., delta_1 in turn, delta_l = dL/da_l, from dL/d output: who keeps none has one in the cache."""
        delta = grad
        yield delta
        for layer in range(len(self.weights) - 1, 0, -1):
            delta = through_relu_(outer(delta, self.weights[layer]), hidden[layer])
            yield delta

    def input_gradient(self, hidden: list[Tensor], grad: Float[Tensor, "s b o"]) -> Float[Tensor, "s b i"]:
        """dL/dx = delta_1 W_1^T, from dL/d output."""
        for delta in self.deltas(hidden, grad):  # noqa: B007 - the last one
            pass
        return outer(delta, self.weights[0])

    def parameter_gradient(self, hidden: list[Tensor], grad: Float[Tensor, "s b o"], out: Parts) -> None:
        """Writes dL/dtheta, from dL/d output, into `out`, views of a tensor laid out as theta."""
        for delta, h, w, b in zip(self.deltas(hidden, grad), hidden[-2::-1], out[0][::-1], out[1][::-1], strict=True):
            if is_narrow(w):
                w.copy_(torch.bmm(delta.mT, h).mT)
            else:
                torch.bmm(h.mT, delta, out=w)
            torch.sum(delta, 1, keepdim=True, out=b)


def through_relu_(back: Float[Tensor, "s b o"], h: Float[Tensor, "s b o"]) -> Float[Tensor, "s b o"]:
    """dL/da in the place of dL/dh, where h = lrelu(a)."""
    return leaky_relu_backward(back, h, SLOPE, True, grad_input=back)


def is_narrow(weight: Float[Tensor, "s i o"]) -> bool:
    """Whether a product is faster written transposed: batched products with one or two columns take a slow path."""
    return weight.shape[-1] <= 2


def affine(h: Float[Tensor, "s b i"], weight: Float[Tensor, "s i o"], bias: Float[Tensor, "s 1 o"]) -> Tensor:
    """h W + b.   -> [s, b, o]"""
    if is_narrow(weight):
        return torch.baddbmm(bias.mT, weight.mT.contiguous(), h.mT).mT
    return torch.baddbmm(bias, h, weight)


def outer(delta: Float[Tensor, "s b o"], weight: Float[Tensor, "s i o"]) -> Float[Tensor, "s b i"]:
    """delta W^T; a plain product where there is one output, which is faster."""
    return delta * weight.mT if weight.shape[-1] == 1 else torch.bmm(delta, weight.mT)
