"""Gradient penalties of the discriminator, differentiated by hand (tests compare with autograd's double backward)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from toy.networks import SLOPE, Network, leaky_relu_backward


def r1_gradient(
    discriminator: Network, hidden: list[Float[Tensor, "s b _"]], gamma: float
) -> tuple[Float[Tensor, " p"], Float[Tensor, "s b"]]:
    """The gradient in theta of R1 = gamma/2 mean_b ||g_b||^2, g_b = grad_x logit(x_b), and ||g_b||^2 itself.

    `hidden` is `discriminator.forward(real)`. Between its kinks the network is linear in x, so that

        dR1/dtheta = gamma/B sum_b d/dtheta <g_b, grad_x logit>  with the first g_b held fixed,

    and <v, grad_x logit> is the output of the network's tangent pass along v: u_0 = v, u_l = lrelu'(a_l) (u_{l-1} W_l).
    Its gradient is dR1/dW_l = u_{l-1}^T delta_l with the deltas of the logit itself; biases do not enter.
    Source: Mescheder, Geiger, Nowozin 2018, eq. 9.
    """
    deltas = discriminator.deltas(hidden, torch.ones_like(hidden[-1]))
    g = discriminator.input_gradient(deltas)
    tangent = g * (gamma / g.shape[1])
    gradient = torch.zeros_like(discriminator.theta)
    weights, _ = discriminator.views(gradient)
    for layer, (delta, out) in enumerate(zip(deltas, weights, strict=True)):
        torch.bmm(tangent.mT, delta, out=out)
        if layer < len(weights) - 1:
            pushed = torch.bmm(tangent, discriminator.weights[layer])
            tangent = leaky_relu_backward(pushed, hidden[layer + 1], SLOPE, True)
    return gradient, g.square().sum(-1)
