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
# # Does the term help, after every arm is tuned?
#
# Games of `python -m toy.search core`. Every arm searched both learning rates, gamma of R1 and lambda, as many trials
# each. Left: the expected best of n trials on the tuning seeds (Dodge et al. 2019). Right: the chosen setting of each
# arm on 32 fresh seeds, after 1000 steps and, where it is measured, after 3000; and the floor of real samples.

# %%
import numpy as np
import pandas as pd

from figures.report import searches
from figures.tools import style
from theory.common.statistics import interval

style.use()

# %% [markdown]
# ## The numbers

# %%
ARMS = ("gan", "summed", "own-step", "two-adams", "decoupled", "bounded")
tables = searches.read("core")
TITLES = {game: title for game, title in searches.TITLES.items() if (tables.arms.cell == f"{game}, x1").any()}
rows, curves = [], []
for game in TITLES:
    cell = f"{game}, x1"
    for arm in ARMS:
        for times in (1, 3):
            there = (tables.values.cell == f"{game}, x{times}") & (tables.values.arm == arm)
            if there.any():
                found = tables.values[there].sort_values("seed")
                rows.append((game, times, arm, *map(float, interval(found.kl.to_numpy(np.float64)))))
        curves += [(game, arm, n, value) for n, value in enumerate(searches.curve("core", cell, arm), 1)]
shown = pd.DataFrame(rows, columns=["game", "times", "arm", "mean", "low", "high"])
best = pd.DataFrame(curves, columns=["game", "arm", "trials", "kl"])

# %% [markdown]
# ## The picture
#
# From FROM trials on: a single trial is often far off.

# %%
FROM = 8
figure, axes = style.panels(len(TITLES), 2, 1.9 * len(TITLES))
for row, (game, title) in enumerate(TITLES.items()):
    left, right = axes[2 * row], axes[2 * row + 1]
    for place, arm in enumerate(ARMS):
        line = best[(best.game == game) & (best.arm == arm) & (best.trials >= FROM)]
        left.plot(line.trials, line.kl, color=style.ARM_COLOURS[arm], label=style.LABELS[arm])
        colour = style.ARM_COLOURS[arm]
        for found in shown[(shown.game == game) & (shown.arm == arm)].to_dict("records"):
            errors = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]]
            longer = found["times"] == 3
            at, marker, inner = (place + 0.3, "s", "white") if longer else (place, "o", colour)
            right.errorbar(found["mean"], at, xerr=errors, fmt=marker, ms=3, mfc=inner, lw=0.9, color=colour)
    right.axvline(searches.floor_of(game), color=style.REAL, lw=0.7, ls="--")
    left.set(yscale="log", xlabel="trials", ylabel="KL, expected best")
    right.set(xlabel="KL on fresh seeds", xscale="log")
    right.set_yticks(range(len(ARMS)), [style.LABELS[arm] for arm in ARMS])
    right.set_ylim(len(ARMS) - 0.5, -0.5)
    left.set_title(title)
    right.set_title("open: 3000 steps" if (shown.times[shown.game == game] == 3).any() else "dashed: floor")
axes[0].legend(fontsize=6)

# %% [markdown]
# ## What is seen

# %%
judged = searches.verdicts("core")
kl = judged[(judged.metric == "kl") & judged.cell.isin([f"{game}, x1" for game in TITLES])]
tally = kl.verdict.value_counts()
assert len(kl) == len(TITLES) * (len(ARMS) - 1)
short = tables.arms[tables.arms.cell.isin(kl.cell)]
longer = judged[(judged.metric == "kl") & judged.cell.isin([f"{game}, x3" for game in TITLES])]
helps = int((longer.verdict == "helps").sum())

style.save(
    figure,
    "searches",
    f"After all tuning the term lowers KL in {tally.get('helps', 0)} of {len(kl)} comparisons.",
    f"""*Left:* the expected best of n trials, on the seeds of the search. *Right:* the chosen setting of each arm on 32
    fresh seeds, with 95 % intervals. {len(TITLES)} games, 1000 steps. Every arm searched the learning rates of both
    networks, γ of R1 and, with the term, λ. It had {short.trials.min()} to {short.trials.max()} trials on 8
    seeds, as many as the others of its game; one of the best six was chosen on 24 other seeds. KL: the mean of both
    divergences of the noised distributions at nsr 0.05, 0.2 and 0.8. Of the other comparisons
    {tally.get("hurts", 0)} hurts, {tally.get("equal", 0)} are equal and {tally.get("unknown", 0)} unknown. Dashed: the
    floor of real samples. Open squares: 3000 steps, where the search went on from the best settings; there {helps} of
    {len(longer)} comparisons help.""",
    pd.concat([shown, best], ignore_index=True),
    [f"toy/results/core.csv (python -m toy.search core --times 1 3, commit {tables.made['space, x1'].get('commit')})"],
)
