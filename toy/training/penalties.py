"""Gradient penalties of the discriminator, differentiated by hand.

With g_b the gradient of the logit at the b-th sample, a penalty is the mean of a function of ||g_b||, and for theta

    d penalty / d theta = sum_b d/dtheta <v_b, grad_x logit(x_b)>,   v_b = d penalty / d g_b  held fixed.

Between its kinks the network is linear in x, so that <v, grad_x logit> is the output of its tangent pass along v:
u_0 = v, u_l = lrelu'(a_l) (u_{l-1} W_l). The gradient is u_{l-1}^T delta_l in W_l, with the deltas of the logit
itself; biases do not enter. Tests compare with autograd's double backward, which a penalty of the user's takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from theory.common.errors import FileError
from theory.common.parts import is_own, load, part_of, tried
from toy.models.networks import Network, outer, through_relu_

Hidden: TypeAlias = list[Float[Tensor, "s b _"]]
Gamma: TypeAlias = float | Float[Tensor, "s 1 1"]


def zero_centred(d: Network, hidden: Hidden, gamma: Gamma, event: int | None = None) -> Float[Tensor, " p"]:
    """The gradient in theta of gamma/2 mean_b ||g_b||^2 over the rows of hidden = d.forward(x), as theta laid out.

    g_b is the gradient in the first `event` coordinates of x, all of them by default.
    Source: Mescheder, Geiger, Nowozin 2018, eq. 9 (R1: x real) and eq. 10 (R2: x fake).
    """
    deltas, g = logit_gradient(d, hidden, event)
    return along(d, hidden, deltas, g * (gamma / g.shape[1]))


def one_centred(d: Network, hidden: Hidden, gamma: Gamma, event: int | None = None) -> Float[Tensor, " p"]:
    """The gradient in theta of gamma mean_b (||g_b|| - 1)^2, as `zero_centred`; where g_b = 0 it takes none.

    Source: Gulrajani et al. 2017, eq. 3, at x = u real + (1 - u) fake.
    """
    deltas, g = logit_gradient(d, hidden, event)
    return along(d, hidden, deltas, (g - normalize(g, dim=-1)) * (2 * gamma / g.shape[1]))


def logit_gradient(d: Network, hidden: Hidden, event: int | None) -> tuple[list[Tensor], Float[Tensor, "s b i"]]:
    """The deltas of the logit itself, and its gradient in x, zero beyond the first `event` coordinates."""
    deltas = list(d.deltas(hidden, torch.ones_like(hidden[-1])))[::-1]
    g = outer(deltas[0], d.weights[0])
    if event is not None:
        g[..., event:] = 0
    return deltas, g


def along(d: Network, hidden: Hidden, deltas: list[Tensor], v: Float[Tensor, "s b i"]) -> Float[Tensor, " p"]:
    """d/dtheta sum_b <v_b, grad_x logit(x_b)>, v held fixed: one tangent pass."""
    gradient = torch.zeros_like(d.theta)
    weights, _ = d.views(gradient)
    for layer, (delta, out) in enumerate(zip(deltas, weights, strict=True)):
        torch.bmm(v.mT, delta, out=out)
        if layer < len(weights) - 1:
            v = through_relu_(torch.bmm(v, d.weights[layer]), hidden[layer + 1])
    return gradient


def real(hidden: Hidden) -> Hidden:
    """The first half of the rows."""
    return [h[:, : h.shape[1] // 2] for h in hidden]


def fake(hidden: Hidden) -> Hidden:
    """The second half of the rows."""
    return [h[:, h.shape[1] // 2 :] for h in hidden]


def between(d: Network, hidden: Hidden, u: Float[Tensor, "s b 1"]) -> Hidden:
    """d.forward(u real + (1 - u) fake)."""
    return d.forward(torch.lerp(fake(hidden)[0], real(hidden)[0], u))


# (d, hidden, gamma, u, event) -> the gradient in d.theta, from hidden = d.forward([real, fake]), as many rows of each.
# event: how many leading coordinates of d's input are the sample (a label may follow), None for all of them.
# u [s b 1]: uniform in [0, 1]; the others take None as well.
Penalty: TypeAlias = Callable[..., Float[Tensor, " p"]]

PENALTIES: dict[str, Penalty] = {
    # gamma/2 E ||grad D(real)||^2
    "r1": lambda d, hidden, gamma, u, event: zero_centred(d, real(hidden), gamma, event),
    # gamma/2 E ||grad D(fake)||^2
    "r2": lambda d, hidden, gamma, u, event: zero_centred(d, fake(hidden), gamma, event),
    # gamma/2 (E ||grad D(real)||^2 + E ||grad D(fake)||^2): two means over half of the rows each, twice that over all
    "r1-r2": lambda d, hidden, gamma, u, event: zero_centred(d, hidden, 2 * gamma, event),
    # gamma E (||grad D(u real + (1 - u) fake)|| - 1)^2
    "gradient-penalty": lambda d, hidden, gamma, u, event: one_centred(d, between(d, hidden, u), gamma, event),
}


def penalty_of(regulariser: str) -> Penalty | None:
    """The penalty of that name, or that of FILE.py:NAME; None where the regulariser is no penalty.

    NAME is a function (d, real, fake) -> [seed, batch], a value a sample. d maps samples [seed, batch, dim] to logits
    [seed, batch, 1]; the i-th sample of d's argument has the label of the i-th real and fake one. real and fake require
    gradients, so that R1 is

        def r1(d, real, fake):
            (g,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
            return g.square().sum(-1) / 2

    gamma times the mean over the batch is what the discriminator minimises beside its loss.

    Raises:
        FileError: it is no function, it raises, or its values have another shape or are not finite.
    """
    if not is_own(regulariser):
        return PENALTIES.get(regulariser)
    name, given = str(part_of(regulariser)), load(regulariser)
    if not callable(given):
        raise FileError(f"{name} must be a function (d, real, fake); given {type(given).__name__}")

    def penalty(d: Network, hidden: Hidden, gamma: Gamma, u: None, event: int | None) -> Float[Tensor, " p"]:
        return by_autograd(given, name, d, hidden, gamma, event)

    tried(name, "is no penalty", check, penalty, name)
    return penalty


def by_autograd(
    given: Callable[..., Tensor], name: str, d: Network, hidden: Hidden, gamma: Gamma, event: int | None
) -> Float[Tensor, " p"]:
    """The gradient in theta of gamma mean_b given(d, real, fake)_b, as theta laid out; see `penalty_of`."""
    with torch.enable_grad():
        theta = d.theta.detach().requires_grad_()
        network = Network(d.widths, d.seeds, theta)
        rows, fakes = real(hidden)[0], fake(hidden)[0]
        labels = rows[..., event:] if event is not None else rows[..., :0]

        def logit(x: Float[Tensor, "s b d"]) -> Float[Tensor, "s b 1"]:
            return network(torch.cat([x, labels], -1))

        samples = [part[..., :event].detach().requires_grad_() for part in (rows, fakes)]
        values = given(logit, *samples)
        shape = list(rows.shape[:2])
        if not isinstance(values, Tensor) or list(values.shape) != shape:
            found = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise FileError(f"{name} must return a value a sample, {shape}; given {found}")
        if not values.requires_grad:
            raise FileError(f"{name} does not depend on the discriminator: does torch.autograd.grad have create_graph?")
        total = (torch.as_tensor(gamma).flatten() * values.mean(1)).sum()
        return torch.autograd.grad(total, theta)[0]


def check(penalty: Penalty, name: str) -> None:
    """FileError where a penalty of the user's does not have a finite gradient, of a small discriminator."""
    network, generator = Network((3, 4, 1), 2), torch.Generator().manual_seed(0)
    network.initialise([generator, generator])
    hidden = network.forward(torch.randn(2, 10, 3, generator=generator))
    if not penalty(network, hidden, 1.0, None, 2).isfinite().all():
        raise FileError(f"{name} has a gradient that is NaN or infinite, at ordinary samples")
