"""Densities in two parts, and their comparison far from the support, where log densities have no digits to spare."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Anchored(NamedTuple):
    """A posterior at alpha = 1, its density in two parts: log p_t(y) = rest - ||y - anchor||^2 / (2 variance).

    At distance 1e3 and nsr 1e-3 the square is 5e11, and rounds at 1e-4; the rest is moderate. The parts are taken as
    values: derivatives are those of log_density.
    """

    log_density: Float[Tensor, "*n"]
    mean: Float[Tensor, "*n d"]
    anchor: Float[Tensor, "*n d"]
    variance: Float[Tensor, "*n"]
    rest: Float[Tensor, "*n"]


def differences(
    y: Float[Tensor, "*n d"],
    log_terms: Float[Tensor, "*n K"],
    anchor: Float[Tensor, "*n K d"],
    variance: Float[Tensor, "*n K"],
    rest: Float[Tensor, "*n K"],
) -> tuple[Tensor, Float[Tensor, "*n K"]]:
    """(r, log_terms - log_terms_r): the largest term, [...], and the differences to it, with the digits that y has.

    With a and v for anchor and variance, a term is rest_k - ||y - a_k||^2 / (2 v_k). The squares are compared by

        ||y - a_r||^2 - ||y - a_k||^2 = <(y - a_r) + (y - a_k), a_k - a_r>,

    whose error is that of a change of y and of the a_k by a few units in the last place.
    """
    with torch.no_grad():
        r = log_terms.argmax(-1)
        a, v, c = pick(anchor, r), pick(variance, r)[..., None], pick(rest, r)[..., None]
        offset = y - a
        inner = ((offset[..., None, :] + (y[..., None, :] - anchor)) * (anchor - a[..., None, :])).sum(-1)
        wider = offset.square().sum(-1)[..., None] * ((variance - v) / v)
        value = rest - c + (inner + wider) / (2 * variance)
    slope = log_terms - pick(log_terms, r)[..., None]
    return r, value + (slope - slope.detach())


def pick(values: Tensor, r: Tensor) -> Tensor:
    """values_r.   [..., K] or [..., K, d], [...] -> [...] or [..., d]"""
    if values.ndim == r.ndim + 1:
        return values.gather(-1, r[..., None]).squeeze(-1)
    return values.take_along_dim(r[..., None, None], -2).squeeze(-2)
