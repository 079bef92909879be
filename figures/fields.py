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
# # What pulls at a generated sample, off the manifold
#
# Rows: a circle, with no thickness; two moons, thickened by N(0, 0.1^2 I); a point, a circle and a full square. Left:
# the pull -grad log(1 - D*) of the exact optimal discriminator D* = p/(p+q) against a broad Gaussian Q. Off points and
# curves it is exactly 0 (claim S2), off thick ones exponentially small (S6). Middle: the same of a discriminator that
# was trained, against a generator that starts far off: nothing guarantees where it points. Right: the pull
# $-\nabla\ell$ of the score term, exact, at nsr 0.1 (P3).

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
from toy.explore.pulls import Lattice, Square, adversarial
from toy.pictures.run_figure import START_COLOUR, STRENGTHS
from toy.training.gan import Trainer

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers

# %%
LAWS = {"ring": 0.0, "two-moons": 0.1, "mixed": 0.0}  # name and thickness
WEAKEST, STRONGEST = 1e-6, 1e3  # that the picture tells apart
SPREAD = 1.0  # of the Gaussian Q against which the optimal discriminator is


def square_with(law: Law, start: torch.Tensor) -> Square:
    """The smallest square that holds the law and where the generator starts, and some room."""
    x = torch.cat([law.sample(2048, torch.Generator().manual_seed(0), torch.float64), start.double()])
    low, high = x.amin(0), x.amax(0)
    side = 1.15 * float((high - low).max())
    left, bottom = ((low + high - side) / 2).tolist()
    return Square(left, bottom, side)


def measure(nsr: float, cells: int, dots: int) -> pd.DataFrame:
    """The three pulls at the centres of cells of a square, and dots of the real law and of the generator's start."""
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
        pulls = {
            "optimal": (x, adversarial(law, x, real.mean(0), SPREAD).pull),
            "trained": (x, -trainer.adversarial_gradient(x.float()[None])[0]),
            "score": (x, -term.loss(x).gradient),
            "real": (real, torch.full_like(real, float("nan"))),
            "start": (start, -trainer.adversarial_gradient(start[None])[0]),
            "start, score": (start, -term.loss(start.double()).gradient),
        }
        for kind, (place, pull) in pulls.items():
            columns = torch.cat([place.double(), pull.double()], -1).numpy().T
            parts.append(pd.DataFrame({"law": name, "kind": kind, **dict(zip("xyuv", columns, strict=True))}))
    return pd.concat(parts)


data, source = results.computed(measure, ("theory", "toy"), nsr=0.1, cells=11, dots=100)
data["strength"] = np.hypot(data.u, data.v)
strength = {key: rows.strength for key, rows in data.groupby(["law", "kind"])}
assert (strength["ring", "optimal"] == 0).all()
assert all(strength[name, "optimal"].median() < WEAKEST < strength[name, "score"].min() for name in LAWS)
starts = [(strength[name, "start"].median(), strength[name, "start, score"].median()) for name in LAWS]
assert all(trained < pull / 1000 for trained, pull in starts), starts
loudest, faintest = max(trained for trained, _ in starts), min(pull for _, pull in starts)
assert loudest < 1e-4

# %% [markdown]
# ## The picture

# %%
ROWS = {"ring": "a circle", "two-moons": "thick moons", "mixed": "point, circle,\nfull square"}
COLUMNS = {
    "optimal": "optimal D*:\nblind far off",
    "trained": "trained D: blind\nat its fakes",
    "score": "score term:\npulls everywhere",
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
    pulls = rows[rows.strength > WEAKEST]
    panel.quiver(
        pulls.x,
        pulls.y,
        pulls.u / pulls.strength,
        pulls.v / pulls.strength,
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
    "strength of the pull; arrow: its direction; dot: below the scale\n"
    "grey: real samples; pink: where the generator starts"
)

# %%
style.save(
    figure,
    "fields",
    f"""The optimal discriminator pulls nowhere off a circle and only next to thick moons and in a full square, and a
    trained one hardly at the very samples that it was trained against, in the median by {loudest:.0e} at most, while
    the score term pulls wherever a sample is, at these by {faintest:.0f} or more.""",
    data.drop(columns="strength"),
    [source],
)
