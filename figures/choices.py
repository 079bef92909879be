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
# `python -m toy.search automatic` and `band`: every arm searched all that its rule or band leaves open, and was
# compared on fresh seeds after 1000 steps. KL of each, over the mean KL of the GAN of the same game.

# %%
import numpy as np
import pandas as pd

from figures.report import searches
from figures.tools import style
from theory.critical_noise import critical_nsr
from theory.manifolds import make
from toy.search.experiments import EXPERIMENTS, GAMES

style.use()

# %% [markdown]
# ## The numbers


# %%
def measured(name: str) -> list[str]:
    return [game for game in GAMES if (searches.read(name).arms.cell == f"{game}, x1").any()]


rows = []
for name in ("automatic", "band", "second/band"):
    for cell in EXPERIMENTS[name.rpartition("/")[2]].cells():
        if cell.name in measured(name):
            for arm in cell.arms:
                ends = arm.overrides.get("low", np.nan), arm.overrides.get("high", np.nan)
                found = searches.relative_mean(name, f"{cell.name}, x1", arm.text)
                rows.append((name, cell.name, arm.text, *ends, *found))
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
for name, game in (*(("band", game) for game in measured("band")), ("second/band", "space")):
    found = shown[(shown.experiment == name) & (shown.game == game) & (shown.arm != "gan")]
    first = name == "band"
    apart = 1 + 0.08 * (list(GAMES).index(game) - 1) if first else 0.94
    ends = found["mean"] - found.low, found.high - found["mean"]
    middle, inner = apart * np.sqrt(found["from"] * found["to"]), COLOURS[game] if first else "white"
    below.errorbar(middle, found["mean"], ends, fmt=MARKS[game], ms=3, mfc=inner, lw=0.9, color=COLOURS[game])
    below.hlines(found["mean"], found["from"], found["to"], color=COLOURS[game], lw=0.5)
below.axhline(1, color=style.REAL, lw=0.7, ls="--")
for share in (1, 0.5):
    below.axvline(share * CRITICAL, color=style.REAL, lw=0.7, ls=":")
below.set(
    xscale="log", yscale="log", xlabel="nsr of the term's noise", ylabel="KL / mean of the GAN", title="bands of noise"
)

# %% [markdown]
# ## What is seen
#
# The ratio with the least KL in each game; and the bands that help, by the verdicts of the searches.

# %%
ratios = rules[rules.arm.str.contains("weight_rule ratio")]
best = ratios.loc[ratios.groupby("game", sort=False)["mean"].idxmin()]
numbers = [words[arm].removeprefix("ratio ") for arm in best.arm]


def helpful(name: str) -> str:
    """The bands whose KL helps by a search."""
    found = searches.verdicts(name)
    found = found[(found.cell == "space, x1") & (found.metric == "kl") & (found.verdict == "helps")]
    return ", ".join(searches.worded(arm).removeprefix("summed, ") for arm in found.arm) or "no band"


made = {name: searches.read(name).made["space, x1"].get("commit") for name in ("automatic", "band", "second/band")}

style.save(
    figure,
    "choices",
    f"The ratio with the least KL is {numbers[0]}, {numbers[1]} and {numbers[2]} in the three games.",
    f"""*Above:* each rule for λ with its number, the same for all games; the rest of every arm was searched. *Below:*
    the paper's term on bands of noise, each with everything else searched. KL after 1000 steps on 32 fresh
    seeds with 95 % intervals, over the mean of the game's GAN, which is dashed. Dotted: the critical noise of the
    circle and half of it. Open: a second search in R^16, on 64 seeds. There the verdict is helps at nsr
    {helpful("band")}; in the second search at {helpful("second/band")}. The highest mark is
    that of a setting one of whose seeds collapsed.""",
    shown,
    [
        f"toy/results/{name}.csv (python -m toy.search {name.rpartition('/')[2]} --times 1, commit {commit})"
        for name, commit in made.items()
    ],
)
