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
# # The gradients at a generated sample, off the manifold
#
# Rows: a circle, without thickness; two moons, thickened by N(0, 0.1^2 I); a point, a circle and a full square. Left:
# minus the gradient of log(1 - D*), with the exact optimal discriminator D* = p/(p+q) against a broad Gaussian Q. Off
# points and curves it is exactly 0 (claim S2), off thick ones exponentially small (S6). Middle: the same of a trained
# discriminator against a generator that starts far off; no claim says where it points. Right: minus the gradient of the
# score term, exact, at nsr 0.1 (P3).

# %%
from itertools import product

import numpy as np
import pandas as pd
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from figures.tools import results, style
from theory.manifolds import Law
from toy.config import Config
from toy.explore.gradients import Lattice, Square, adversarial
from toy.pictures.colours import START_COLOUR, STRENGTHS
from toy.training.gan import Trainer

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers

# %%
LAWS = {"ring": 0.0, "two-moons": 0.1, "mixed": 0.0}  # name and thickness
WEAKEST, STRONGEST = 1e-6, 1e3  # ends of the colour scale
NSR = 0.1
SPREAD = 1.0  # of the Gaussian Q against which the optimal discriminator is


def square_with(law: Law, start: torch.Tensor) -> Square:
    """The smallest square that holds the real samples and the generator's first ones, and a margin."""
    x = torch.cat([law.sample(2048, torch.Generator().manual_seed(0), torch.float64), start.double()])
    low, high = x.amin(0), x.amax(0)
    side = 1.15 * float((high - low).max())
    left, bottom = ((low + high - side) / 2).tolist()
    return Square(left, bottom, side)


def measure(nsr: float, cells: int, dots: int) -> pd.DataFrame:
    """Minus the three gradients at the centres of cells of a square, real samples, and the generator's first ones."""
    torch.set_num_threads(1)
    parts = []
    for name, thickness in LAWS.items():
        trainer = Trainer(Config(manifold=name, thickness=thickness), "gan", (0,))
        law, generator = trainer.law, torch.Generator().manual_seed(0)
        start = trainer.generate(trainer.noise(0).latent[-1])[0, :dots].detach()
        real = law.sample(2 * dots, generator, torch.float64)
        square = square_with(law, start)
        trainer.train_ahead()
        x = square.grid(cells)
        term = Lattice(law, nsr, square)
        gradients = {
            "optimal": (x, adversarial(law, x, real.mean(0), SPREAD).downhill),
            "trained": (x, -trainer.adversarial_gradient(x.float()[None])[0]),
            "score": (x, -term.loss(x).gradient),
            "real": (real, torch.full_like(real, float("nan"))),
            "start": (start, -trainer.adversarial_gradient(start[None])[0]),
            "start, score": (start, -term.loss(start.double()).gradient),
        }
        for kind, (place, gradient) in gradients.items():
            columns = torch.cat([place.double(), gradient.double()], -1).numpy().T
            parts.append(pd.DataFrame({"law": name, "kind": kind, **dict(zip("xyuv", columns, strict=True))}))
    return pd.concat(parts)


data, source = results.computed("fields", measure, digits=6, nsr=NSR, cells=11, dots=100)
data["strength"] = np.hypot(data.u, data.v)
strength = {key: rows.strength for key, rows in data.groupby(["law", "kind"])}
assert (strength["ring", "optimal"] == 0).all()
assert all(strength[name, "optimal"].median() < WEAKEST < strength[name, "score"].min() for name in LAWS)
starts = [(strength[name, "start"].median(), strength[name, "start, score"].median()) for name in LAWS]
assert all(trained < score / 1000 for trained, score in starts), starts
largest, least = max(trained for trained, _ in starts), min(score for _, score in starts)
assert largest < 1e-4

# %% [markdown]
# ## The picture

# %%
ROWS = {"ring": "a circle", "two-moons": "thick moons", "mixed": "point, circle,\nfull square"}
COLUMNS = {
    "optimal": "optimal D*:\n0 far off",
    "trained": "trained D:\n≈ 0 at its fakes",
    "score": "score term:\nnowhere 0",
}
colours = LogNorm(WEAKEST, STRONGEST)
figure, axes = style.panels(len(ROWS), len(COLUMNS), 4.15)
for panel, (name, kind) in zip(axes, product(ROWS, COLUMNS), strict=True):
    rows = data[(data.law == name) & (data.kind == kind)]
    x, y = np.unique(rows.x.round(6)), np.unique(rows.y.round(6))
    strength = rows.strength.to_numpy().reshape(len(y), len(x))
    panel.pcolormesh(x, y, np.maximum(strength, WEAKEST), norm=colours, cmap=STRENGTHS, rasterized=True)
    for dots, colour in (("real", style.NOTE), ("start", START_COLOUR)):
        if dots == "real" or kind == "trained":
            places = data[(data.law == name) & (data.kind == dots)]
            panel.plot(places.x, places.y, ".", color=colour, ms=1.6, mew=0)
    moved = rows[rows.strength > WEAKEST]
    panel.quiver(
        moved.x,
        moved.y,
        moved.u / moved.strength,
        moved.v / moved.strength,
        pivot="mid",
        angles="xy",
        scale=len(x) * 1.25,
        width=0.0075,
        antialiased=False,  # smooth edges would take many more bytes
    )
    still = rows[rows.strength <= WEAKEST]
    panel.plot(still.x, still.y, ".", color="black", ms=1.6, mew=0)
    panel.set(aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set(visible=True, linewidth=0.4, color=style.REAL)
    if name == "ring":
        panel.set_title(COLUMNS[kind])
    if kind == "optimal":
        panel.set_ylabel(ROWS[name])
bar = figure.colorbar(ScalarMappable(colours, STRENGTHS), ax=axes, location="bottom", aspect=40, extend="min", pad=0.02)
bar.set_label(
    "norm of the gradient; arrow: downhill; dot: below the scale\n"
    "grey: real samples; purple: where the generator starts"
)

# %%
style.save(
    figure,
    "fields",
    "Off the manifold the discriminator's gradient vanishes; the score term's does not.",
    f"""*Left:* gradient of the optimal discriminator against a broad Gaussian. Off the circle it is exactly 0; it is
    visible only next to thick moons and in a full square. *Middle:* gradient of a trained discriminator. At the
    samples that it was trained against its median norm is at most {largest:.0e}. *Right:* gradient of the score term,
    exact, at nsr {NSR:g}. At the same samples its median norm is at least {least:.0f}. Rows: a circle; two moons,
    thickened by noise of width {LAWS["two-moons"]:g}; a point, a circle and a full square. One seed.""",
    data.drop(columns="strength"),
    [source],
)
