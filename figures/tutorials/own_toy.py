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
# # Your own points, loss and score in the toy
#
# `toy.api.compare` trains arms on manifolds over seeds and returns a table with intervals and verdicts. In the place
# of a name can stand an object of yours. This run is small, so that it ends in a minute: what it finds holds for it
# alone.

# %%
import tempfile

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from theory.levels import Level
from theory.manifolds import Points
from toy.api import compare

torch.set_num_threads(1)

# %% [markdown]
# ## Points
#
# 40 points on a figure of eight, each with a little Gaussian noise. From a file it is `Points.read("points.csv",
# std=0.05)`.

# %%
angle = torch.linspace(0, 2 * torch.pi, 41)[:-1]
eight = Points(torch.stack([torch.sin(angle), torch.sin(2 * angle) / 2], -1).tolist(), std=0.05)

# %% [markdown]
# ## Loss and score
#
# A loss is two functions of the logits D(real) and D(fake): what the discriminator and what the generator minimises.
# This is the relativistic game. A score is any callable (x_t, level) -> eps. This one is what a diffusion model would
# learn that has seen only the outline: the exact score of the same points with more noise on them.

# %%
blurred = Points(torch.stack([torch.sin(angle), torch.sin(2 * angle) / 2], -1).tolist(), std=0.15)
loss = (lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake))


def own_score(x_t: Tensor, level: Level) -> Tensor:
    """eps of a blurred model.   [..., 2] -> [..., 2]"""
    return -level.sigma[..., None] * blurred.score(x_t, level.alpha, level.sigma)


# %% [markdown]
# ## Compare
#
# The arms see the same data, latents and noise. `cache` keeps finished work; the default is runs/compare-cache.

# %%
small = {"seeds": 6, "steps": 200, "width": 32, "batch": 64, "samples": 512, "d_ahead": 100, "d_steps": 1}
small |= {"regulariser": "r1", "gamma": 0.1}
tables = {}
with tempfile.TemporaryDirectory() as cache:
    for name, options in {"exact score": {}, "own score": {"score": own_score}}.items():
        tables[name] = compare(
            ["gan", "summed", "decoupled"], {"eight": eight}, metrics=("kl", "w2"), loss=loss, cache=cache, processes=2,
            **small, **options,
        )  # fmt: skip
tables["own score"][["arm", "metric", "mean", "low", "high", "difference", "p_holm", "verdict"]].round(3)

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), dpi=80, layout="constrained")
for axis, metric in zip(axes, ("kl", "w2"), strict=True):
    for place, (name, table) in enumerate(tables.items()):
        part = table[table.metric == metric]
        x = torch.arange(len(part)) + 0.2 * place - 0.1
        axis.errorbar(x, part["mean"], (part["mean"] - part.low, part.high - part["mean"]), fmt="os"[place], label=name)
    axis.set(title=metric, xticks=range(len(part)), xticklabels=part.arm, ylim=(0, None), xlim=(-0.5, 2.5))
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# *unknown* means that so few seeds cannot tell the arms apart. The same parts work on the command line, from files:
# `python -m toy.run --manifold points.csv --thickness 0.05 --loss own.py:loss --score own.py:score`. See
# `toy/OWN_PARTS.md`.
