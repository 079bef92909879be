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
# # The loss over all noise: a divergence and a mutual information
#
# Claim P4: half the integral of $\ell$ over log SNR, averaged over x ~ Q, is KL(Q_t || P_t) + I_Q(X; X_t). The reverse
# KL divergence is least for Q = P; the mutual information of a sample and its noised version is least for a point. P is
# uniform on a segment of length 2. Q is its middle, two points of it, or 32 points evenly along it. At these noise
# levels the last is not distinguishable from P.

# %%
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from figures.tools import results, style
from theory.claims.information import divergence_and_information, integrated_loss
from theory.manifolds import Box, Gaussians

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers
#
# The two parts are integrals of densities over the space of x_t; their sum is measured apart from them, by $\ell$.

# %%
DISTRIBUTIONS = {"a point": 1, "two points": 2, "spread like P": 32}  # as many atoms, evenly on the segment
LOW, HIGH = 0.1, 3.0  # nsr


def measure(low: float, high: float, count: int) -> pd.DataFrame:
    """KL(Q_t || P_t), I_Q(X; X_t), and half the integral of ell, in nats, over the noise."""
    real, rows = Box((-1.0,), (1.0,)), []
    for name, atoms in DISTRIBUTIONS.items():
        x = (2 * torch.arange(atoms, dtype=torch.float64)[:, None] + 1) / atoms - 1
        law = Gaussians(x.tolist())
        for nsr in np.geomspace(low, high, count).tolist():
            divergence, information = divergence_and_information(real, law, nsr)
            total = integrated_loss(real, x, nsr).mean() / 2
            rows.append((name, nsr, *(float(value) for value in (divergence, information, total))))
    return pd.DataFrame(rows, columns=["distribution", "nsr", "divergence", "information", "half_integral"])


data, source = results.computed("divergence", measure, low=LOW, high=HIGH, count=16)
worst = float(abs(data.divergence + data.information - data.half_integral).max())
assert worst < 1e-6
found = {name: data[data.distribution == name].reset_index() for name in DISTRIBUTIONS}
point, spread = found["a point"], found["spread like P"]
assert (point.half_integral < spread.half_integral).all()
assert (point.divergence > spread.divergence).all()
assert (spread.divergence < 1e-4).all()
assert (abs(point.information) < 1e-9).all()

# %% [markdown]
# ## The picture
#
# Top: the two parts, stacked, and the integral of the loss. Bottom: the cost of each Q less that of the Q spread like
# P, with the information and without.

# %%
KL, INFORMATION = style.SCORE, "#E69F00"


def over_noise(panel: Axes, ticks: Sequence[float]) -> None:
    panel.set(xscale="log", xlim=(LOW, HIGH))
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())


figure = plt.figure(figsize=(style.COLUMN, 3.9))
axes = figure.subplot_mosaic([list(DISTRIBUTIONS), ["below"] * len(DISTRIBUTIONS)], height_ratios=(1, 1.1))
for name, rows in found.items():
    panel = axes[name]
    parts = rows.divergence + rows.information
    panel.fill_between(rows.nsr, 0, rows.divergence, color=KL, lw=0, alpha=0.75, label="KL(Qₜ ‖ Pₜ)")
    panel.fill_between(
        rows.nsr, rows.divergence, parts, fc="white", ec=INFORMATION, hatch="/////", lw=0.6, label="I(X; Xₜ)"
    )
    panel.plot(rows.nsr, rows.half_integral, "o", color="black", mfc="white", ms=2.6, mew=0.6, label="½ ∫ ℓ d log SNR")
    panel.set_ylim(0, 1.75)
    over_noise(panel, (0.1, 0.3, 1))
    panel.set_title(f"Q {name}" if name.startswith("spread") else f"Q on {name}")
    if panel is not axes["a point"]:
        panel.tick_params(labelleft=False)
axes["a point"].set_ylabel("nats")
axes["two points"].set_xlabel("noise-to-signal ratio nsr")
figure.legend(*axes["a point"].get_legend_handles_labels(), loc="outside upper center", ncols=3, columnspacing=1.2)

panel = axes["below"]
panel.axhline(0, color=style.REAL, lw=0.8)
for name, line in (("a point", "-"), ("two points", "--")):
    rows = found[name]
    panel.plot(rows.nsr, rows.divergence - spread.divergence, line, color=KL, label=f"KL alone, {name}")
    panel.plot(rows.nsr, rows.half_integral - spread.half_integral, line, color="black", label=f"KL + I, {name}")
panel.set(ylim=(-0.4, 0.6), xlabel="noise-to-signal ratio nsr")
over_noise(panel, (0.1, 0.2, 0.5, 1, 2))
panel.set_ylabel("cost less that of Q\nspread like P, nats")
panel.set_title("KL prefers a spread Q, KL + I a point")
panel.legend(loc="upper right")

# %%
style.save(
    figure,
    "divergence",
    "Over all noise the score matching loss is a divergence plus a mutual information.",
    f"""*Top:* KL(Qₜ ‖ Pₜ) and I(X; Xₜ) of three generated distributions Q, stacked; half the integral of ℓ over all
    larger noise (circles) equals their sum to {worst:.0e} nats. *Bottom:* cost of a concentrated Q less that of the Q
    that is spread like P. The divergence alone is smaller for the spread Q; with the information, a single point is
    cheaper at every noise. P is uniform on a segment of length 2; exact integrals.""",
    data,
    [source],
)
