"""Adaptive cubature of many integrals at once: boxes are split where the integrand is not resolved."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Integrand = Callable[[Int[Tensor, " m"], Float[Tensor, "m d"]], Float[Tensor, " m"]]  # (which integral, where)

START = {1: 16, 2: 6, 3: 5}  # boxes an axis at first, by dimension
MOST = {1: 2**12, 2: 2**12, 3: 2**13}  # boxes an integral at last
ROUNDS = 24
AT_ONCE = 2**19  # nodes in memory


class Boxes(NamedTuple):
    """Boxes of one size on all axes, each of one of the integrals."""

    which: Int[Tensor, " b"]
    centre: Float[Tensor, "b d"]
    half: Float[Tensor, " b"]


class Found(NamedTuple):
    """A partition on which the integrals are resolved, and their errors."""

    boxes: Boxes
    error: Float[Tensor, " n"]


def resolve(f: Integrand, n: int, dim: int, half: float, rtol: float) -> Found:
    """Partitions of [-half, half]^dim, one for each of n integrals, on which the rule's error is below rtol (1 + |I|).

    Each box has two rules, products of Gauss and Kronrod's on an axis: of 7 and 15 nodes in one and two dimensions, of
    3 and 7 in three. The error of an integral is the sum over its boxes of the difference of the two: that of the lower
    rule, far above that of the higher one, which is used, once the boxes resolve the integrand. Boxes with more than
    their share of it are split in 2^dim, until rtol is reached or an integral has MOST[dim] boxes.

    Source: Piessens et al., QUADPACK, 1983, for the pairs.
    """
    steps = START[dim]
    width = half / steps
    axis = torch.arange(steps, dtype=torch.float64) * 2 * width + width - half
    centres = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    which = torch.arange(n).repeat_interleave(len(centres))
    new = Boxes(which, centres.repeat(n, 1), torch.full((len(which),), width, dtype=torch.float64))
    kept: list[tuple[Boxes, Tensor, Tensor]] = []
    value, error = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    done_value, done_error = value.clone(), error.clone()  # of boxes that are kept
    count = torch.zeros(n, dtype=torch.float64)
    for _ in range(ROUNDS):
        values, errors = apply(f, new)
        value = done_value.index_add(0, new.which, values)
        error = done_error.index_add(0, new.which, errors)
        boxes = count + torch.bincount(new.which, minlength=n)
        allowed = rtol * (1 + value.abs())
        split = (error > allowed)[new.which] & (errors > (allowed / boxes)[new.which])
        split &= (boxes < MOST[dim])[new.which]
        stay = ~split
        kept.append((Boxes(*[part[stay] for part in new]), values[stay], errors[stay]))
        done_value = done_value.index_add(0, new.which[stay], values[stay])
        done_error = done_error.index_add(0, new.which[stay], errors[stay])
        count = count + torch.bincount(new.which[stay], minlength=n)
        if not bool(split.any()):
            break
        new = _halves(Boxes(*[part[split] for part in new]))
    else:
        values, errors = apply(f, new)
        kept.append((new, values, errors))
        error = done_error.index_add(0, new.which, errors)
    return Found(Boxes(*[torch.cat(parts) for parts in zip(*[entry[0] for entry in kept], strict=True)]), error)


def nodes_of(boxes: Boxes) -> tuple[Int[Tensor, " m"], Float[Tensor, "m d"], Float[Tensor, " m"]]:
    """(which integral, where, weight) of every node of the higher rule."""
    nodes, high, _ = _rule(boxes.centre.shape[1])
    where = boxes.centre[:, None] + boxes.half[:, None, None] * nodes
    weight = boxes.half[:, None] ** boxes.centre.shape[1] * high
    return boxes.which.repeat_interleave(len(nodes)), where.flatten(0, 1), weight.flatten()


def apply(f: Integrand, boxes: Boxes) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """(the higher rule's value, its difference to the lower one's) of each box."""
    dim = boxes.centre.shape[1]
    _, high, low = _rule(dim)
    both = torch.stack([high, low], -1)
    values = []
    for part in zip(*[column.split(max(1, AT_ONCE // len(high))) for column in boxes], strict=True):
        which, where, _ = nodes_of(Boxes(*part))
        values.append(f(which, where).reshape(-1, len(high)) @ both * part[2][:, None] ** dim)
    found = torch.cat(values)
    return found[:, 0], (found[:, 0] - found[:, 1]).abs()


def _halves(boxes: Boxes) -> Boxes:
    """The 2^d halves of each box."""
    dim = boxes.centre.shape[1]
    corners = torch.tensor(list(product((-0.5, 0.5), repeat=dim)), dtype=torch.float64)
    centre = boxes.centre[:, None] + boxes.half[:, None, None] * corners
    return Boxes(
        boxes.which.repeat_interleave(len(corners)),
        centre.flatten(0, 1),
        (boxes.half / 2).repeat_interleave(len(corners)),
    )


@lru_cache
def _rule(dim: int) -> tuple[Float[Tensor, "m d"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """(nodes, weights of the higher rule, weights of the lower) on [-1, 1]^dim: products of Gauss and Kronrod's."""
    columns = [torch.tensor(half, dtype=torch.float64) for half in PAIRS[dim]]
    nodes = torch.cat([-columns[0][1:].flip(0), columns[0]])
    kronrod, gauss = (torch.cat([half[1:].flip(0), half]) for half in columns[1:])
    high, low = (torch.cartesian_prod(*[rule] * dim).reshape(-1, dim).prod(-1) for rule in (kronrod, gauss))
    return torch.cartesian_prod(*[nodes] * dim).reshape(-1, dim), high, low


# (nodes from 0 on, Kronrod's weights, Gauss's weights); QUADPACK prints more digits than float64 holds
K7 = (
    (0.0, 0.43424374934680256, 0.77459666924148338, 0.96049126870802028),
    (0.45091653865847414, 0.40139741477596222, 0.26848808986833344, 0.10465622602646727),
    (8 / 9, 0.0, 5 / 9, 0.0),
)
K15 = (
    (
        *(0.0, 0.20778495500789847, 0.40584515137739717, 0.58608723546769113),
        *(0.74153118559939444, 0.86486442335976907, 0.94910791234275852, 0.99145537112081264),
    ),
    (
        *(0.20948214108472783, 0.20443294007529889, 0.19035057806478541, 0.16900472663926790),
        *(0.14065325971552592, 0.10479001032225018, 0.063092092629978553, 0.022935322010529225),
    ),
    (
        *(0.41795918367346939, 0.0, 0.38183005050511894, 0.0),
        *(0.27970539148927667, 0.0, 0.12948496616886969, 0.0),
    ),
)
PAIRS = {1: K15, 2: K15, 3: K7}
