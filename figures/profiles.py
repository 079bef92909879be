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
# # How good are the runs of an arm, over all games?
#
# Performance profiles (Agarwal et al. 2021) of `python -m toy.search core`: the share of runs whose KL is at most a
# multiple of the mean KL of their game's GAN. Higher is better; left of 1 are runs better than the mean GAN.

# %%
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter, ScalarFormatter

from figures.report import searches
from figures.tools import style
from theory.common.comparing import interquartile_mean, profile
from toy.search.experiments import GAMES

style.use()

# %% [markdown]
# ## The numbers

# %%
ARMS = ("gan", "summed", "own-step", "two-adams", "decoupled", "bounded")
THRESHOLDS = np.geomspace(0.05, 5, 61)
PANELS = {
    "all tuned, 1000 steps": "{}, x1",
    "all tuned, 3000 steps": "{}, x3",
    "D given, 1000 steps": "{}, D given, x1",
}
rows, middles = [], dict[tuple[str, str], tuple[float, float, float]]()
for title, cell in PANELS.items():
    for arm in ARMS:
        ratios = searches.relative("core", [cell.format(game) for game in GAMES], arm)
        found = profile(ratios, THRESHOLDS.tolist())
        rows += [(title, arm, *numbers) for numbers in zip(*found, strict=True)]
        middles[title, arm] = interquartile_mean(np.log(ratios))
shown = pd.DataFrame(rows, columns=["panel", "arm", "threshold", "share", "low", "high"])

# %% [markdown]
# ## The picture

# %%
figure, axes = style.panels(len(PANELS), 1, 1.7 * len(PANELS), sharex=True)
for axis, title in zip(axes, PANELS, strict=True):
    for arm in ARMS:
        line = shown[(shown.panel == title) & (shown.arm == arm)]
        axis.plot(line.threshold, line.share, color=style.ARM_COLOURS[arm], label=style.LABELS[arm])
        axis.fill_between(line.threshold, line.low, line.high, color=style.ARM_COLOURS[arm], alpha=0.15, lw=0)
    axis.axvline(1, color=style.REAL, lw=0.7, ls="--")
    axis.set(xscale="log", title=title, ylabel="share of runs", ylim=(0, 1))
    axis.set_xticks([0.1, 0.3, 1, 3])
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
axes[-1].set_xlabel("KL / mean of the GAN")
axes[0].legend(fontsize=6, loc="lower right")

# %% [markdown]
# ## What is seen

# %%
tuned = list(PANELS)[:2]
clear = [  # at both lengths its interval ends below where the GAN's begins
    arm for arm in ARMS[1:] if all(middles[title, arm][2] < middles[title, "gan"][1] for title in tuned)
]
said = "; ".join(
    f"{style.LABELS[arm]} {np.exp(middles[title, arm][0]):.2f}" for title in tuned[1:] for arm in ("gan", *clear)
)
made = searches.read("core").made["space, x3"].get("commit")
names = " and ".join(style.LABELS[arm] for arm in clear) or "No arm"

style.save(
    figure,
    "profiles",
    f"Over three games {names} have the lower KL, at both lengths.",
    f"""The share of runs with KL at most a multiple of the mean KL of their game's GAN. Bands: 95 % intervals of a
    bootstrap within games. Dashed: the GAN's mean. Three games, 32 fresh seeds each, settings as in `searches`.
    *Below:* the discriminator's learning rate and γ are those of the game. Interquartile means after 3000
    steps: {said}.""",
    shown,
    [f"toy/results/core.csv (python -m toy.search core --times 1 3, commit {made})"],
)
