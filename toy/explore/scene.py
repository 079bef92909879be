"""The tables that the page of `toy.explore` draws: of a distribution, and of it at a noise level. Served or exported.

A table is JSON: numbers, and arrays as {"f4" | "f2" | "u1": base64 of little-endian floats or bytes}. The numbers that
are shown, to three digits, stand in it: a served page and an exported one read the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import json
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from theory.manifolds import Law, make
from toy.explore.choices import LAMS, LOSSES, NSRS, read_key
from toy.explore.gradients import Cells, Square, cells_of, is_off, log_densities, rest_point, settled, square_around

GRID = 45  # x and the fields stand at the centres of GRID x GRID cells
SAMPLES = 400  # of the real distribution
RATIOS = 10.0  # q/p of the equilibrium is told from 1 / RATIOS to RATIOS, in 256 steps, evenly in its logarithm
ON = 1e-9  # nearer to a point or curve, x lies on it


class Ground(NamedTuple):
    """A law, the part of the plane that is drawn, and its samples."""

    law: Law
    square: Square
    cells: Cells
    off: Tensor  # which points of the grid lie off the law [GRID^2], bool

    @property
    def spread(self) -> float:
        """w, of the generated law N(x, w^2 I)."""
        return self.square.side / 12


@lru_cache(maxsize=8)
def ground(name: str, thickness: float) -> Ground:
    """Of a law of the catalogue."""
    law = make(name, thickness=thickness)
    square = square_around(law)
    return Ground(law, square, cells_of(law, SAMPLES), is_off(law, square.grid(GRID)))


def scene(name: str, thickness: float) -> dict[str, Any]:
    """What does not depend on the noise: samples; log p, its gradient, distance and nearest point over the grid."""
    found = ground(name, thickness)
    points = found.square.grid(GRID)
    log_p, slope = log_densities(found.law, points)
    distance = found.law.distance(points)
    return {
        **found.square._asdict(),
        "spread": found.spread,
        "thickness": thickness,
        "grid": GRID,
        "places": array(found.cells.places),
        "log_p": array(log_p),
        "slope": array(slope),
        "distance": array(torch.where(distance < ON, 0, distance)),
        "nearest": array(found.law.project(points)),
    }


def level(name: str, thickness: float, nsr: float) -> dict[str, Any]:
    """ell and its gradient over the grid, and the equilibrium for each loss and weight."""
    found = ground(name, thickness)
    lattice, over = settled(found.law, nsr, found.square, GRID)
    ell = lattice.loss(found.cells.places).value
    lowest = torch.where(found.off, over.value, torch.inf).argmin().item()
    place = int(lowest) if bool(found.off.any()) else None
    candidates = over.value[[] if place is None else [place]]
    rests = [[rest_point(found.cells, ell, candidates, lam, loss) for lam in LAMS] for loss in LOSSES]
    ratios = torch.stack([torch.stack([rest.masses / found.cells.masses for rest in row]) for row in rests])
    return {
        "nsr": nsr,
        "ell": array(over.value, "f2"),
        "gradient": array(over.gradient, "f2"),
        "ratios": array(steps(ratios), "u1"),  # [loss, weight, samples]
        "bias": [[rest.bias for rest in row] for row in rests],
        "off": [[rest.off for rest in row] for row in rests],
        "lowest": place,
    }


def steps(ratios: Tensor) -> Tensor:
    """0 .. 255 for ratios of 1 / RATIOS and less .. RATIOS and more."""
    return ((ratios.log() / np.log(RATIOS)).clamp(-1, 1) * 127.5 + 127.5).round()


def array(values: Tensor, kind: str = "f4") -> dict[str, str]:
    """The values row by row."""
    data = values.numpy().astype(np.dtype(kind).newbyteorder("<")).tobytes()
    return {kind: base64.b64encode(data).decode()}


def packed(key: str) -> bytes:
    """The table that a key names, as JSON under gzip.

    Raises:
        ValueError: the key names none.
    """
    law, thickness, position = read_key(key)
    torch.set_num_threads(1)  # of this thread
    table = scene(law, thickness) if position is None else level(law, thickness, NSRS[position])
    return gzip.compress(json.dumps(table, separators=(",", ":")).encode(), mtime=0)
