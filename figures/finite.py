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
# # What does a score of N samples do?
#
# `python -m toy.search finite`: the ring in R^16, R1, with N training samples for the discriminator and for the score.
# Every arm searched both sides of the game and lambda, and was compared on fresh seeds after 1000 steps. The score is
# exact for the samples alone, learned from them, or that of the distribution, which no training set gives.

# %%
import pandas as pd

from figures.report import searches
from figures.tools import style
from theory.common.statistics import interval
from toy.laws import law_of, training_set
from toy.metrics import copies, real_samples
from toy.search.experiments import EXPERIMENTS

style.use()

# %% [markdown]
# ## The numbers

# %%
FLOOR_SEEDS = 8
tables = searches.read("finite")
rows = []
for cell in EXPERIMENTS["finite"].cells():
    n = cell.keys["training_samples"]
    for arm in cell.arms:
        for metric in ("kl", "copies"):
            found = interval(searches.runs("finite", f"{cell.name}, x1", arm.text, metric))
            rows.append((n, arm.text, metric, *(float(end) for end in found)))
    law = law_of(cell.config)
    share = copies(real_samples(law, cell.config.samples, FLOOR_SEEDS), training_set(cell.config)).double().mean()
    rows.append((n, "real", "copies", *[float(share)] * 3))
shown = pd.DataFrame(rows, columns=["samples", "arm", "metric", "mean", "low", "high"])

# %% [markdown]
# ## The picture

# %%
STYLES = {
    "gan": (style.ADVERSARIAL, "o", "GAN"),
    "summed, score analytic": (style.SCORE, "s", "+ ideal score"),
    "summed, score empirical": (style.DETACHED, "^", "+ exact score of the samples"),
    "summed, score learned": (style.REAL, "D", "+ learned score"),
}
figure, panels = style.panels(2, 1, 3.6)
for panel, (metric, title) in zip(panels, {"kl": "KL", "copies": "share of copies"}.items(), strict=True):
    for place, (name, (colour, mark, label)) in enumerate(STYLES.items()):
        part = shown[(shown.arm == name) & (shown.metric == metric)]
        ends = part["mean"] - part.low, part.high - part["mean"]
        at = part.samples * 1.06 ** (place - 1.5)
        panel.errorbar(at, part["mean"], ends, fmt=mark, ms=3, lw=0.9, color=colour, label=label, clip_on=False)
    panel.set(xscale="log", xlabel="training samples", ylabel=title)
    panel.set_xticks(sorted(set(shown.samples)), [str(n) for n in sorted(set(shown.samples))])
    panel.minorticks_off()
floor = shown[shown.arm == "real"]
panels[1].plot(floor.samples, floor["mean"], color=style.REAL, lw=0.7, ls="--")
for panel in panels:
    panel.set_ylim(bottom=0)
handles, labels = panels[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=6)

# %% [markdown]
# ## What is seen

# %%
sizes = sorted(set(shown.samples))
IDEAL, EMPIRICAL, LEARNED = (f"summed, score {score}" for score in ("analytic", "empirical", "learned"))


def sides(one: str, other: str) -> list[int]:
    """Of each size, on which side of 0 the difference of their KL lies."""
    return [searches.side("finite", f"{n} samples, x1", one, other, "kl") for n in sizes]


helped = {name: sides(name, "gan").count(-1) for name in (IDEAL, EMPIRICAL, LEARNED)}
level = sides(EMPIRICAL, IDEAL).count(0)
most = {name: shown[(shown.arm == name) & (shown.metric == "copies")]["mean"].max() for name in ("gan", EMPIRICAL)}
(commit,) = {made.get("commit") for made in tables.made.values()}

style.save(
    figure,
    "finite",
    f"The samples' own score is not distinguishable from the ideal one: {level} of {len(sizes)} sizes.",
    f"""Ring in R¹⁶ with R1 and finitely many training samples, for the discriminator and for the score. *Above:* KL
    to the distribution after 1000 steps on 32 fresh seeds, 95 % intervals, everything searched. By the paired interval,
    uncorrected, KL is less than the GAN's at {helped[IDEAL]} sizes with the ideal score, at {helped[EMPIRICAL]} with
    the exact score of the samples, at {helped[LEARNED]} with a learned one. *Below:* copies, samples less than a third
    as far from the nearest training sample as from the second; dashed: fresh real samples. At most they are
    {most["gan"]:.2f} of the GAN's and {most[EMPIRICAL]:.2f} with the exact score of the samples.""",
    shown,
    [f"toy/results/finite.csv (python -m toy.search finite, commit {commit})"],
)
