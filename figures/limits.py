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
# # A speed-up or a better limit? And in wider networks?
#
# `python -m toy.search core` at one, three and ten times 1000 steps, networks of width 32; `python -m toy.search width`
# at 1000 steps, wider ones, in two independent searches. Every arm searched both sides of the game and lambda at that
# length and width. What is not measured yet is left out.

# %%
import pandas as pd

from figures.report import searches
from figures.tools import style
from theory.common.statistics import interval
from toy.search.experiments import EXPERIMENTS, GAMES

style.use()

# %% [markdown]
# ## The numbers
#
# Each arm's KL, and on which side of 0 its difference to the GAN's lies.

# %%
ARMS = ("gan", "summed", "own-step", "decoupled")
STEPS = GAMES["space"].steps
WIDTHS = sorted({cell.config.width for cell in EXPERIMENTS["width"].cells()})
WIDER = ("width", "second/width")
PLACES = [
    *(("core", f"{game}, x{times}", game, times * STEPS, 32) for game in GAMES for times in EXPERIMENTS["core"].times),
    *((name, f"{game}, width {width}, x1", game, STEPS, width) for game in GAMES for width in WIDTHS for name in WIDER),
]
rows = []
for experiment, cell, game, steps, width in PLACES:
    values = searches.read(experiment).values
    for arm in ARMS:
        if ((values.cell == cell) & (values.arm == arm)).any():
            found = (float(end) for end in interval(searches.runs(experiment, cell, arm, "kl")))
            sign = 0 if arm == "gan" else searches.side(experiment, cell, arm, "gan", "kl")
            rows.append((experiment, game, steps, width, arm, *found, sign))
shown = pd.DataFrame(rows, columns=["search", "game", "steps", "width", "arm", "mean", "low", "high", "side"])

# %% [markdown]
# ## The picture

# %%
MARKS = dict(zip(ARMS, "osv^", strict=True))
PANELS = [(game, "steps") for game in GAMES]
PANELS += [(game, "width") for game in GAMES if ((shown.game == game) & (shown.width > 32)).any()]
figure, axes = style.panels(-(-len(PANELS) // 2), 2, 2.1 * -(-len(PANELS) // 2))
for panel, (game, along) in zip(axes, PANELS, strict=False):
    of_game = shown[(shown.game == game) & ~shown.search.str.startswith("second")]
    again = shown[(shown.game == game) & (shown.search == "second/width")]
    part = of_game[of_game.width == 32] if along == "steps" else of_game[of_game.steps == STEPS]
    for place, arm in enumerate(ARMS):
        line = part[part.arm == arm].sort_values(along)
        at = line[along] * 1.05 ** (place - 1.5)
        ends = line["mean"] - line.low, line.high - line["mean"]
        colour, mark, label = style.ARM_COLOURS[arm], MARKS[arm], style.LABELS[arm]
        panel.errorbar(at, line["mean"], ends, ms=3, lw=0.9, color=colour, marker=mark, label=label)
        for second in again[again.arm == arm].to_dict("records") if along == "width" else ():
            both = [[second["mean"] - second["low"]], [second["high"] - second["mean"]]]
            right = second["width"] * 1.25 * 1.05 ** (place - 1.5)
            panel.errorbar(right, second["mean"], both, fmt=mark, ms=3, lw=0.9, color=colour, mfc="white")
    panel.axhline(searches.floor_of(game), color=style.REAL, lw=0.7, ls="--")
    panel.set(xscale="log", yscale="log", xlabel=along, ylabel="KL", title=searches.TITLES[game])
    ticks = sorted(set(part[along]))
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
for panel in axes[len(PANELS) :]:
    panel.set_axis_off()
axes[0].legend(fontsize=6)

# %% [markdown]
# ## What is seen


# %%
def count(arm: str, part: pd.DataFrame) -> str:
    """In how many of these places the arm's KL is less than the GAN's, by the paired interval."""
    there = part[part.arm == arm]
    return f"{int((there.side == -1).sum())} of {len(there)}"


longer, wider = shown[shown.steps > STEPS], shown[shown.width > 32]
commits = {name: next(iter(searches.read(name).made.values())).get("commit") for name in ("core", *WIDER)}
style.save(
    figure,
    "limits",
    f"Own-step lowers KL in {count('own-step', longer)} longer games, in {count('own-step', wider)} wider ones.",
    f"""KL on 32 fresh seeds, 64 in the second search, 95 % intervals. Every arm searched both learning rates, γ of R1
    and, with the term, λ.
    Along steps: networks of width 32, the schedule as long as the run. Along width: {STEPS} steps. Dashed: the floor of
    real samples. By the paired interval, uncorrected, KL is less than the GAN's in longer runs: summed in
    {count("summed", longer)}, own-step in {count("own-step", longer)}, decoupled in {count("decoupled", longer)}. In
    wider networks, in two searches (open: the second): summed in {count("summed", wider)}, own-step in
    {count("own-step", wider)}, decoupled in {count("decoupled", wider)}.""",
    shown,
    [
        f"toy/results/core.csv (python -m toy.search core, commit {commits['core']})",
        f"toy/results/width.csv (python -m toy.search width, commit {commits['width']})",
        f"toy/results/second/width.csv (--search 1 --seeds 64, commit {commits['second/width']})",
    ],
)
