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
# # What mass off the manifold costs at least
#
# A mass m of Q lies off the manifold of P. Claim S3 bounds the value of the game from below by B(m), which depends on
# m alone. The excess is (2 - m) times a Jensen-Shannon divergence of P and the part of Q on the manifold, weighted
# 1/(2 - m): the bound is reached if and only if that part is P.
#
# Real distributions have random densities on a curve. Generated ones multiply them by random factors and put mass m on
# an atom. B(0.9 m + 0.1) is a near-miss of S3: it must fail.

# %%
from typing import Any

import pandas as pd
import torch

from figures.tools import results, style
from theory.claims.saturation import game_and_mass, mixed_carriers, random_law, sharp_bound
from theory.divergences import Carrier, Measure, jensen_shannon, on_common_measure

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers


# %%
def near_miss(m: torch.Tensor) -> torch.Tensor:
    """The bound with m replaced by 0.9 m + 0.1."""
    return sharp_bound(0.9 * m + 0.1)


def reweighted(law: Measure, size: float, generator: torch.Generator) -> Measure:
    """Its density times exp(size times standard normal numbers): 0 leaves it as it is."""
    ((carrier, density),) = law.items()
    density = density * torch.exp(size * torch.randn(len(density), generator=generator, dtype=torch.float64))
    return {carrier: density / (carrier.weight @ density)}


def measure(count: int, equal: int, seed: int) -> pd.DataFrame:
    """V(D*, Q) of random distributions, some with Q_on = P, beside the bound, the near-miss and the excess of S3."""
    generator = torch.Generator().manual_seed(seed)
    curve, atom = mixed_carriers()[1], Carrier(torch.ones(1, dtype=torch.float64))
    off: Measure = {atom: torch.ones(1, dtype=torch.float64)}
    share, exponent = torch.rand(2, count, generator=generator, dtype=torch.float64)
    shares = torch.cat([share, torch.linspace(0, 1, equal, dtype=torch.float64)]).tolist()
    sizes = torch.cat([4 * 0.02**exponent, torch.zeros(equal)]).tolist()  # from little to much, evenly in logarithm
    rows = []
    for share, size in zip(shares, sizes, strict=True):
        real = random_law([curve], generator)
        on = reweighted(real, size, generator)
        v, m = game_and_mass(share, real, on, off)
        excess = (2 - m) * jensen_shannon(*on_common_measure(real, on), share=1 / (2 - float(m)))
        rows.append((size == 0, *(float(x) for x in (m, v, sharp_bound(m), near_miss(m), excess))))
    return pd.DataFrame(rows, columns=["on_is_p", "m", "value", "bound", "near_miss", "excess"])


data, source = results.computed("bound", measure, count=400, equal=21, seed=0)
equal, cloud = data[data.on_is_p], data[~data.on_is_p]
slack = 1e-9  # of finite sums; the claim's own tolerance is 1e-12
assert (data.value >= data.bound - slack).all()
assert (equal.value <= equal.bound + slack).all()
assert (abs(data.value - data.bound - data.excess) < slack).all()
below = data.value < data.near_miss - slack
assert below[data.on_is_p & (data.m < 1)].all()

# %% [markdown]
# ## The picture
#
# Below, the value less B(m): the dashed line is then what the near-miss asks for.

# %%
figure, axes = style.panels(2, 1, 4.4, height_ratios=(1.15, 1))
m = torch.linspace(0, 1, 401, dtype=torch.float64)
near, B = near_miss(m), sharp_bound(m)
groups: dict[
    str, tuple[pd.DataFrame, dict[str, Any]]
] = {  # what lies below the near-miss has another marker too, not only another colour
    "random Q": (cloud[~below[cloud.index]], {"marker": ".", "ms": 3, "mew": 0, "color": style.REAL}),
    "random Q, below the near-miss": (
        cloud[below[cloud.index]],
        {"marker": "x", "ms": 2.6, "mew": 0.6, "color": style.ADVERSARIAL},
    ),
    "Q is P but for the mass m": (
        equal,
        {"marker": "o", "ms": 3.4, "mew": 0.8, "mfc": "white", "color": style.SCORE, "zorder": 4, "clip_on": False},
    ),
}
for panel, base, lower in ((axes[0], 0 * m, "value"), (axes[1], B, "above")):
    panel.plot(m, B - base, color=style.SCORE, label="the bound B(m)", zorder=3)
    panel.plot(m, near - base, "--", color=style.ADVERSARIAL, label="near-miss: B(0.9 m + 0.1)", zorder=3)
    for label, (rows, look) in groups.items():
        panel.plot(rows.m, rows.value - (rows.bound if lower == "above" else 0), ls="", label=label, **look)
    panel.set_xlim(0, 1)
axes[0].set(ylabel="value of the game V(D*, Q)", ylim=(-1.45, 0))
axes[0].set_title("none falls below B(m)")
axes[1].set(ylabel="V(D*, Q) − B(m)", ylim=(-0.004, 0.12), xlabel="m, the mass of Q off the manifold")
axes[1].set_title("a slightly higher bound is violated")
figure.align_ylabels()
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=2, columnspacing=1.0)

# %%
style.save(
    figure,
    "bound",
    "With mass m off the manifold, the value of the game is at least B(m).",
    f"""*Top:* value of the game against the optimal discriminator, for {len(data)} generated distributions Q; none lies
    below B(m). *Bottom:* the same less B(m). The bound is reached where Q is the real distribution P but for the mass
    m (circles). Of all, {int(below.sum())} lie below the near-miss B(0.9 m + 0.1), among them every circle with
    m < 1. Random densities on a curve, mass m on an atom; exact values.""",
    data,
    [source],
)
