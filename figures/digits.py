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
# # Images: handwritten digits
#
# A class-conditional GAN of 8 x 8 digits without the score term, with the paper's coupling and decoupled; the score is
# a denoiser trained on the same digits. This is a small stand-in for the paper's image experiments: nothing about its
# image results follows from it.

# %%
import zipfile
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from figures import results, style
from toy.statistics import compare, interval

style.use()

# %% [markdown]
# ## The numbers
#
# The Fréchet distance is that between Gaussians in the features of a classifier of digits: it is no FID, which has
# features of its own. It is drawn to the held-out digits where the results have it, with the floor that real training
# digits reach, else to the training digits. Bands and intervals are over seeds, 95 %, differences paired.


# %%
class Arm(NamedTuple):
    """How an arm is drawn."""

    label: str
    colour: str
    line: str


ARMS = {
    "none": Arm("no score term", "gan", "-"),
    "paper": Arm("paper's coupling", "smart", "--"),
    "decoupled": Arm("decoupled", "decoupled", ":"),
}
RESULTS = results.ROOT / "images" / "results"

table = results.table(RESULTS / "digits.csv", ["arm", "seed", "step", "metric", "value"])
facts = results.record(RESULTS / "digits.json")
arms = [arm for arm in ARMS if arm in set(table.arm)]
try:
    batch, floors = facts["recipe"]["batch"], facts["real"]
    with np.load(RESULTS / "digits-samples.npz") as stored:
        grids = {name: stored[name] for name in ["real", *arms, *(f"interpolation-{arm}" for arm in arms)]}
except (KeyError, TypeError, OSError, ValueError, zipfile.BadZipFile) as error:
    raise results.ResultsError(f"images/results/digits.json or digits-samples.npz is damaged: {error!r}") from None

held_out = "frechet_held_out" in set(table.metric)
metric, whose = ("frechet_held_out", "held-out") if held_out else ("frechet_distance", "training")
floor = floors.get(metric)
against = f", real training digits at {floor:.3g}" if floor is not None else ""
wide = table[table.metric == metric].pivot_table(index=["arm", "step"], columns="seed", values="value")
seeds = wide.shape[1]
curves = pd.DataFrame(interval(wide.to_numpy())._asdict(), index=wide.index)
last = wide.xs(wide.index.levels[1].max(), level="step")
differences = pd.DataFrame.from_dict(
    {arm: compare(last.loc[arm].to_numpy(), last.loc["none"].to_numpy()) for arm in arms if arm != "none"},
    orient="index",
)

# %% [markdown]
# An arm is told from the plain one where the interval of the paired difference does not hold 0.


# %%
def outcome(row: pd.Series) -> str:
    """nearer, farther or undecided."""
    return "undecided" if row.low <= 0 <= row.high else "nearer" if row.difference < 0 else "farther"


differences["outcome"] = differences.apply(outcome, axis=1)
decided = differences[differences.outcome != "undecided"]
said = ", ".join(f"{row.outcome} with {ARMS[str(arm)].label}" for arm, row in decided.iterrows())
title = said or "no difference between the arms is seen"

# %% [markdown]
# ## The picture
#
# The first samples of each class, and every second frame of the first latent interpolations; nothing is selected.

# %%
ROWS, PATHS = 3, 3


def show(panel: Axes, rows: np.ndarray, name: str) -> None:
    """[rows, columns, 1, h, w] as one picture in dark ink, white between the images."""
    n, m, _, h, w = rows.shape
    padded = np.full((n, m, h + 1, w + 1), 255, np.uint8)
    padded[..., :h, :w] = 255 - rows[:, :, 0]
    panel.imshow(padded.swapaxes(1, 2).reshape(n * (h + 1), m * (w + 1))[:-1, :-1], cmap="gray", vmin=0, vmax=255)
    panel.set_title(name, pad=2, fontweight="normal")
    panel.axis("off")


figure = plt.figure(figsize=(style.COLUMN, 4.5))
grid = figure.add_gridspec(3, 1, height_ratios=[1.35, 0.85, 2.2])
top, middle, bottom = (figure.add_subfigure(grid[row]) for row in range(3))
top.suptitle("samples, a column a class", fontsize=7, fontweight="bold")
for panel, arm in zip(top.subplots(2, 2).flat, ["real", *arms], strict=False):
    show(panel, grids[arm][:, :ROWS].swapaxes(0, 1), ARMS[arm].label if arm in ARMS else "real digits")
middle.suptitle("from latent to latent, a class a row", fontsize=7, fontweight="bold")
for panel, arm in zip(middle.subplots(1, len(arms)), arms, strict=True):
    show(panel, grids[f"interpolation-{arm}"][::3, ::2][:PATHS], ARMS[arm].label)

bottom.suptitle(title, fontsize=7, fontweight="bold")
curve, forest = bottom.subplots(1, 2, width_ratios=[1.75, 1])
for arm in arms:
    rows, colour = curves.loc[arm], style.ARM_COLOURS[ARMS[arm].colour]
    seen = rows.index * batch / 1000
    curve.fill_between(seen, rows.low, rows.high, color=colour, alpha=0.2, lw=0)
    curve.plot(seen, rows["mean"], ARMS[arm].line, color=colour, label=ARMS[arm].label)
if floor is not None:
    curve.axhline(floor, color=style.NOTE, lw=0.8)
    curve.text(seen.max(), floor, "real training digits", ha="right", va="bottom", fontsize=6.3, color=style.NOTE)
curve.set_yscale("log")
curve.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
curve.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
curve.yaxis.set_minor_locator(NullLocator())
curve.set_xlabel("thousand real images seen")
curve.set_ylabel(f"Fréchet distance in digits features,\nto the {whose} digits")
curve.legend(loc="upper right")
over = {"ha": "center", "bbox": {"color": "white", "pad": 0}}
for place, (arm, row) in enumerate(differences.iterrows()):
    colour = style.ARM_COLOURS[ARMS[str(arm)].colour]
    forest.plot([row.low, row.high], [-place, -place], color=colour)
    forest.plot(row.difference, -place, "o", color=colour, mfc="white" if row.outcome == "undecided" else colour)
    forest.text(0.5, -place + 0.12, ARMS[str(arm)].label, transform=forest.get_yaxis_transform(), **over)
forest.axvline(0, color=style.NOTE, lw=0.7, zorder=1)
forest.set_ylim(0.5 - len(differences), 0.5)
forest.set_yticks([])
forest.spines["left"].set_visible(False)
forest.set_xlabel("difference at the end\nto no score term")

# %%
ends = {arm: curves.loc[arm].iloc[-1]["mean"] for arm in arms}
ended = differences.rename(columns={"difference": "mean"}).rename_axis("arm").reset_index()
told = f"the end is {said}, compared with none" if said else "no arm can be told from that without the term"
style.save(
    figure,
    "digits",
    f"""With the score term in the training of generators of 8 by 8 digits, {told}: over {seeds} seeds the Fréchet
    distance to the {whose} digits in features of a digits classifier, which is no FID, ends at
    {", ".join(f"{ends[arm]:.3g} ({ARMS[arm].label})" for arm in arms)}{against}.""",
    pd.concat(
        [
            curves.reset_index().assign(what=metric),
            differences.rename(columns={"difference": "mean"})
            .rename_axis("arm")
            .reset_index()
            .assign(what="difference"),
        ]
    ),
    [f"images/results/digits.csv and digits-samples.npz ({facts.get('command')}, commit {facts.get('commit')})"],
)
