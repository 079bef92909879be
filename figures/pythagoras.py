# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A squared distance and a dimension
#
# Claim P2: as the noise-to-signal ratio nsr goes to 0, $\ell(x) = \mathrm{SNR}\,\mathrm{dist}(x, M)^2 + k + O(nsr^2)$.
# SNR is 1/nsr^2, and k the dimension of the manifold M at the projection of x. Beyond an edge (P2b) k is replaced by
# 2k - f, with f the dimension of the face that x projects into: each direction in which M ends counts twice.

# %%
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from figures.tools import results, style
from theory.claims.squared_distance import FACES, OFF, ON, Case, Face
from theory.manifolds import Sphere
from theory.regularity import pointwise_loss

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers
#
# The distributions and points are those of the claims' checks. Each is measured over nsr, the circle over the distance.

# %%
MIXED = "a point, a circle and a square: the "  # one distribution
POINTS = {  # what is drawn of OFF and ON: its label and marker
    "between eight points": ("off 8 points", "o"),
    MIXED + "point": ("on a point", "."),
    "circle, outside and inside": ("off a circle", "s"),
    MIXED + "circle": ("on a circle", "."),
    "sphere, outside and inside": ("off a sphere", "^"),
    MIXED + "square": ("in a square", "."),
}
EDGES = {
    "beside a segment's end, in a right angle: still on it": ("beside a segment", "D"),
    "beyond a segment's end": ("a segment's end", ">"),
    "beyond a square's edge": ("a square's edge", "v"),
    "beyond a square's corner": ("a square's corner", "P"),
}
DISTANCES = (0.02, 0.1, 0.3)  # the nsr at which the loss is measured over the distance


def measure(low: float, high: float, count: int, distances: int) -> pd.DataFrame:
    """ell and what is left of it, ell - SNR dist^2, over nsr; and the same over the distance to the unit circle."""
    levels = torch.logspace(np.log10(low), np.log10(high), count, dtype=torch.float64)
    cases: list[tuple[str, Case | Face, int, torch.Tensor]] = [
        ("dimension", case, case.k, case.distance()[:1]) for case in OFF + ON if case.name in POINTS
    ]
    for face in FACES:
        if face.name in EDGES:
            x = torch.tensor(face.x[:1], dtype=torch.float64)
            cases.append(("edge", face, 2 * face.k - face.f, (x - face.law.project(x)).norm(dim=-1)))
    parts = []
    for what, case, limit, distance in cases:
        x = torch.tensor(case.x[:1], dtype=torch.float64)
        ell = pointwise_loss(case.law, x.expand(count, -1), 1.0, levels)
        parts.append(
            pd.DataFrame(
                {
                    "what": what,
                    "where": case.name,
                    "limit": limit,
                    "distance": float(distance),
                    "nsr": levels,
                    "ell": ell,
                }
            )
        )
    away = torch.logspace(-2, 0.5, distances, dtype=torch.float64)
    for nsr in DISTANCES:
        ell = pointwise_loss(Sphere(2), torch.stack([1 + away, 0 * away], -1), 1.0, nsr)
        parts.append(
            pd.DataFrame({"what": "distance", "where": "circle", "limit": 1, "distance": away, "nsr": nsr, "ell": ell})
        )
    return pd.concat(parts).assign(rest=lambda rows: rows.ell - (rows.distance / rows.nsr) ** 2)


data, source = results.computed("pythagoras", measure, low=0.01, high=0.3, count=12, distances=21)

# %% [markdown]
# The order of convergence is the slope of log |ell - SNR dist^2 - k| against log nsr over the three smallest nsr.


# %%
def order(rows: pd.DataFrame) -> float:
    few = rows.nsmallest(3, "nsr")
    return float(np.polyfit(np.log(few.nsr), np.log(abs(few.rest - few.limit)), 1)[0])


CURVED: dict[
    str, tuple[str, Literal["upper left", "lower right"]]
] = {  # the cases whose remainder is a power of nsr, and the corner of their legend; elsewhere it vanishes faster
    "beyond a square's corner": ("square's corner", "upper left"),
    "beyond a segment's end": ("segment's end", "upper left"),
    "sphere, outside and inside": ("off a sphere", "lower right"),
    MIXED + "circle": ("on a circle", "lower right"),
    "circle, outside and inside": ("off a circle", "lower right"),
}
by_place = dict(iter(data[data.what != "distance"].groupby("where")))
orders = {name: order(by_place[name]) for name in CURVED}
least = data[data.nsr == data.nsr.min()]
assert (abs(least.rest - least.limit) < 0.01).all()
assert all(abs(found - 2) < 0.1 for found in orders.values()), orders

# %% [markdown]
# ## The picture

# %%
COLOURS = ["#000000", style.SCORE, style.ADVERSARIAL, style.DETACHED, "#CC79A7"]  # by the limit
figure, axes = style.panels(2, 2, 4.2)


def look(name: str) -> dict[str, Any]:
    """The line of a place; its colour stands for the limit."""
    marker = (POINTS | EDGES)[name][1]
    colour = COLOURS[by_place[name].limit.iloc[0]]
    face = colour if marker == "." else "white"
    return {"color": colour, "marker": marker, "mfc": face, "ms": 3, "mew": 0.6, "lw": 0.8}


def limits(panel: Axes, places: Mapping[str, tuple[str, str]], top: float) -> None:
    """The remainder by nsr, and its limits."""
    for name, (label, _) in places.items():
        rows = by_place[name]
        panel.axhline(rows.limit.iloc[0], color=style.REAL, lw=0.5, zorder=0)
        panel.plot(rows.nsr, rows.rest, label=label, **look(name))
    panel.set(
        xscale="log", xlabel="noise-to-signal ratio nsr", ylabel="ℓ − SNR dist²", ylim=(-0.3, top), yticks=range(5)
    )


panel = axes[0]
for nsr, marker in zip(DISTANCES, "os^", strict=True):
    rows = data[(data.what == "distance") & (data.nsr == nsr)]
    square = (rows.distance / nsr) ** 2
    panel.loglog(rows.distance, square, ":", color=style.REAL, lw=1)
    panel.loglog(rows.distance, square + 1, "-", color=style.SCORE, lw=0.8)
    panel.loglog(rows.distance, rows.ell, marker, color=style.SCORE, ms=2.8, mew=0.6, mfc="white", label=f"nsr {nsr:g}")
panel.plot([], [], "-", color=style.SCORE, lw=0.8, label="SNR dist² + 1")
panel.plot([], [], ":", color=style.REAL, lw=1, label="SNR dist²")
panel.set(xlabel="distance to a circle", ylabel="ℓ", ylim=(3e-4, 3e7))
panel.set_title("far off: SNR dist²")
panel.legend(loc="upper left", handlelength=1, handletextpad=0.4, borderaxespad=0, labelspacing=0.3)

limits(axes[1], POINTS, 4.6)
axes[1].set_title("remainder: the dimension")
axes[1].legend(
    loc="upper left", ncols=2, columnspacing=0.4, handlelength=1, handletextpad=0.3, borderaxespad=0, labelspacing=0.3
)

panel = axes[2]
lines: dict[Literal["upper left", "lower right"], list[Line2D]] = {}
for name, (label, corner) in CURVED.items():
    rows = by_place[name]
    said = f"{label}: {orders[name]:.2f}"
    lines.setdefault(corner, []).extend(panel.loglog(rows.nsr, abs(rows.rest - rows.limit), label=said, **look(name)))
for corner, handles in lines.items():
    key = panel.legend(handles=handles, loc=corner, handlelength=1, handletextpad=0.3, borderaxespad=0)
    key.remove()  # axes have one legend; this keeps both
    panel.add_artist(key)
panel.set(xlabel="noise-to-signal ratio nsr", ylabel="|ℓ − SNR dist² − limit|", ylim=(1e-7, 100))
panel.set_title("limit reached at order 2")

limits(axes[3], EDGES, 4.6)
for name, (label, _) in EDGES.items():
    axes[3].text(0.01, by_place[name].limit.iloc[0] + 0.15, label, size=6.5)
axes[3].set_title("beyond an edge: 2k − f")

# %%
style.save(
    figure,
    "pythagoras",
    "The score matching loss is the squared distance in units of noise, plus the dimension.",
    f"""*Top left:* ℓ beside a circle, at three noise levels: SNR dist² + 1, with SNR = 1/nsr². *Top right:* the
    remainder ℓ − SNR dist² tends to the dimension as the noise falls: 0 for points, 1 for curves, 2 for surfaces.
    *Bottom left:* where the manifold is curved or ends, the limit is reached at order 2 (fitted:
    {min(orders.values()):.2f} to {max(orders.values()):.2f}). *Bottom right:* beyond an edge the limit is 2k − f, with
    k the dimension of the manifold and f that of the face. Exact ℓ.""",
    data,
    [source],
)
