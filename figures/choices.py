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
# # Which rule for lambda, and which noise?
#
# `python -m toy.search automatic` and `band`: every arm searched all that its rule or band leaves open, and was compared
# on 32 fresh seeds after 1000 steps. KL of each, over the mean KL of the GAN of the same game.

# %%
import numpy as np
import pandas as pd

from figures.report import searches
from figures.tools import style
from theory.common.statistics import interval
from theory.critical_noise import critical_nsr
from theory.manifolds import make
from toy.search.experiments import EXPERIMENTS, GAMES

style.use()

# %% [markdown]
# ## The numbers


# %%
def relative(name: str, game: str, arm: str) -> tuple[float, ...]:
    """Mean KL of an arm over that of the game's GAN, with its interval."""
    values = searches.runs(name, f"{game}, x1", arm, "kl")
    base = searches.mean(name, f"{game}, x1", "gan", "kl")
    return tuple(float(end) / base for end in interval(values[np.isfinite(values)]))


def measured(name: str) -> list[str]:
    return [game for game in GAMES if (searches.read(name).arms.cell == f"{game}, x1").any()]


rows = []
for name in ("automatic", "band"):
    for cell in EXPERIMENTS[name].cells():
        if cell.name in measured(name):
            for arm in cell.arms:
                ends = arm.overrides.get("low", np.nan), arm.overrides.get("high", np.nan)
                rows.append((name, cell.name, arm.text, *ends, *relative(name, cell.name, arm.text)))
columns = ["experiment", "game", "arm", "from", "to", "mean", "low", "high"]
shown = pd.DataFrame(rows, columns=columns)
CRITICAL = critical_nsr(make("ring"))

# %% [markdown]
# ## The picture

# %%
NAMES = {"saturated": "saturated game", "space": "R$^{16}$", "modes": "eight modes"}
MARKS = dict(zip(GAMES, ("o", "s", "^"), strict=True))
COLOURS = dict(zip(GAMES, (style.ADVERSARIAL, style.SCORE, style.DETACHED), strict=True))
rules = shown[shown.experiment == "automatic"]
arms = [arm for arm in dict.fromkeys(rules.arm) if arm != "gan"]
figure, (above, below) = style.panels(2, 1, 4.2)
for place, game in enumerate(measured("automatic")):
    found = rules[(rules.game == game) & (rules.arm != "gan")]
    at = np.arange(len(found)) + 0.22 * (place - 1)
    ends = found["mean"] - found.low, found.high - found["mean"]
    above.errorbar(found["mean"], at, xerr=ends, fmt=MARKS[game], ms=3, lw=0.9, color=COLOURS[game], label=NAMES[game])
words = {"summed": "λ searched"} | {arm: searches.worded(arm).removeprefix("summed, ") for arm in arms if "," in arm}
above.set_yticks(range(len(arms)), [words[arm] for arm in arms])
above.set_ylim(len(arms) - 0.5, -0.5)
above.axvline(1, color=style.REAL, lw=0.7, ls="--")
above.set(xscale="log", xlabel="KL / mean of the GAN", title="rules for λ")
above.legend(fontsize=6)
for game in measured("band"):
    found = shown[(shown.experiment == "band") & (shown.game == game) & (shown.arm != "gan")]
    middle = np.sqrt(found["from"] * found["to"])
    ends = found["mean"] - found.low, found.high - found["mean"]
    below.errorbar(middle, found["mean"], yerr=ends, fmt=MARKS[game], ms=3, lw=0.9, color=COLOURS[game])
    below.hlines(found["mean"], found["from"], found["to"], color=COLOURS[game], lw=0.9)
below.axhline(1, color=style.REAL, lw=0.7, ls="--")
for share in (1, 0.5):
    below.axvline(share * CRITICAL, color=style.REAL, lw=0.7, ls=":")
below.set(xscale="log", xlabel="nsr of the term's noise", ylabel="KL / mean of the GAN", title="bands of noise")

# %% [markdown]
# ## What is seen
#
# The best rule: that with the least largest ratio over the games. The bands that help, by the verdicts of the search.

# %%
worst = rules[rules.arm.str.contains("weight_rule")].groupby("arm")["mean"].max()
best = words[worst.idxmin()]
bands = searches.verdicts("band")
bands = bands[(bands.metric == "kl") & (bands.cell == "space, x1")].set_index("arm").verdict
helpful = [searches.worded(arm).removeprefix("summed, ") for arm in bands.index[bands == "helps"]]
told = f"{', '.join(helpful)}" if helpful else "no band"
made = {name: searches.read(name).made["space, x1"].get("commit") for name in ("automatic", "band")}

style.save(
    figure,
    "choices",
    f"Of the rules for λ, {best} is at worst {worst.min():.2g} times the GAN's KL.",
    f"""*Above:* each rule for λ with its number, the same for all games; the rest of every arm was searched. *Below:* the
    paper's term in R^16 on bands of noise, each with everything else searched. KL after 1000 steps on 32 fresh seeds with
    95 % intervals, over the mean of the game's GAN, which is dashed. Dotted: the critical noise of the circle and half of
    it. The verdict is helps at nsr {told}.""",
    shown,
    [
        f"toy/results/{name}.csv (python -m toy.search {name} --times 1, commit {commit})"
        for name, commit in made.items()
    ],
)
