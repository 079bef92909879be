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
# # Where the score term helps, and where it hurts
#
# Trained generators on data that fill the space or are points (NC1), on disconnected supports (P4), and on a ring in
# spaces of growing dimension. The game is the healthy one: non-saturating, its discriminator regularised by R1. An arm
# is compared with the plain GAN of its cell, paired over 16 seeds, each at its own tuned setting.

# %%
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.tools import results, style
from theory.common.statistics import ratio

style.use()

# %% [markdown]
# ## The numbers
#
# An effect is the ratio of the means over seeds, with its paired 95 % interval. The verdicts are those of the sweeps:
# *undecided* where the difference's interval holds 0, or where Wilcoxon's p, corrected over the sweep's whole table, is
# at least .05. The mixture of dimensions is from the sweep over $\lambda$, at its smallest weight; the two point masses
# are in two sweeps, with the same runs, and are judged here by the table of the first.

# %%
GROUPS: dict[str, dict[tuple[str, str, str], str]] = {
    "no manifold": {
        ("non-manifold", "box", ""): "full square",
        ("non-manifold", "checkerboard", ""): "checkerboard",
        ("non-manifold", "ring thickened", ""): "thickened ring",
        ("non-manifold", "points", ""): "two points",
        ("lambda", "non-saturating", ", 0.01"): "mixed dimensions",
    },
    "separate parts": {
        ("modes", "8-ring", ""): "8 modes",
        ("modes", "8-ring, conditional", ""): "8 modes, class told",
        ("modes", "weighted", ""): "4 unequal modes",
        ("modes", "two-moons", ""): "two moons",
        ("modes", "grid", ""): "25 modes",
    },
    "ring in a space": {("dimension", f"R^{dim}", ""): f"R$^{{{dim}}}$" for dim in (2, 4, 8, 16, 32, 64)},
}
ARMS = {"smart": "paper's coupling", "recipe": "recipe: decoupled, bounded push"}
METRICS = {"mean_distance": "distance to the data", "total_variation": "total variation"}

names = sorted({sweep for cells in GROUPS.values() for sweep, _, _ in cells})
tables = {name: results.sweep(name) for name in names}
judged = {name: results.verdicts(name)[0] for name in names}


def per_seed(sweep: str, cell: str, arm: str, metric: str) -> pd.Series:
    """The values of an arm, by seed."""
    table = tables[sweep][0]
    return table[(table.cell == cell) & (table.arm == arm) & (table.metric == metric)].set_index("seed").value


rows = []
for group, cells in GROUPS.items():
    for (sweep, cell, ending), label in cells.items():
        for arm in ARMS:
            for metric in METRICS:
                own, plain = (per_seed(sweep, cell, name, metric).sort_index() for name in (arm + ending, "gan"))
                found = judged[sweep].set_index(["cell", "arm", "metric"]).loc[(cell, arm + ending, metric)]
                effect = ratio(own.to_numpy(float), plain.to_numpy(float))
                rows.append((group, label, sweep, cell, arm, metric, *effect, found.verdict, found.p_holm))
data = pd.DataFrame(
    rows, columns=["group", "label", "sweep", "cell", "arm", "metric", "ratio", "low", "high", "verdict", "p_holm"]
)

# %% [markdown]
# ## The picture

# %%
MARKS = {"smart": ("o", 0.17), "recipe": ("D", -0.17)}
LIMITS = {"mean_distance": (0.006, 3.0), "total_variation": (0.5, 13.0)}
TICKS = {"mean_distance": (0.01, 0.1, 1), "total_variation": (0.5, 1, 2, 4, 8)}
TITLES = {"mean_distance": "mostly nearer", "total_variation": "density never better"}

places: dict[tuple[str, str], float] = {}
headers: dict[str, float] = {}
below = 0.0
for group, cells in GROUPS.items():
    headers[group] = below
    for place, label in enumerate(cells.values(), 1):
        places[group, label] = below - place
    below -= len(cells) + 1.25

tallies = {metric: part.verdict.value_counts() for metric, part in data.groupby("metric")}
assert tallies["mean_distance"].helps > len(data) / 4, "a title says that most distances shrink"
assert "helps" not in tallies["total_variation"], "a title says that no density is better"


def draw(panel: Axes, metric: str) -> None:
    """The effects on one metric, a line a cell."""
    panel.axvline(1, color=style.NOTE, lw=0.7, zorder=1)
    for row in data[data.metric == metric].itertuples():
        mark, shift = MARKS[row.arm]
        y, colour = places[row.group, row.label] + shift, style.ARM_COLOURS[row.arm]
        inside = "white" if row.verdict == "undecided" else colour
        panel.plot([row.low, row.high], [y, y], color=colour, lw=1.0, zorder=2, solid_capstyle="butt")
        panel.plot(row.ratio, y, mark, ms=3.2, color=colour, mfc=inside, mew=0.8, zorder=3)
    panel.set_xscale("log")
    panel.set_xlim(LIMITS[metric])
    panel.xaxis.set_major_locator(FixedLocator(list(TICKS[metric])))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel(f"{METRICS[metric]}\nrelative to the GAN's")
    panel.set_title(TITLES[metric], pad=20)
    said = ", ".join(f"{verdict} {tallies[metric].get(verdict, 0)}" for verdict in ("helps", "hurts"))
    said += f",\nundecided {tallies[metric].undecided}"
    panel.text(0.5, 1.005, said, transform=panel.transAxes, ha="center", va="bottom", fontsize=6.3, color=style.NOTE)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    for y in places.values():
        panel.axhline(y - 0.5, color="0.93", lw=0.5, zorder=0)


figure, axes = style.panels(1, 2, 4.8, sharey=True)
for panel, metric in zip(axes, METRICS, strict=True):
    draw(panel, metric)
axes[0].set_yticks([*places.values(), *headers.values()], [*(label for _, label in places), *headers])
for text in axes[0].get_yticklabels()[len(places) :]:
    text.set_fontweight("bold")
axes[0].set_ylim(below + 0.6, 0.6)
handles = [
    Line2D([], [], marker=MARKS[arm][0], ms=3.2, lw=1.0, color=style.ARM_COLOURS[arm], label=ARMS[arm]) for arm in ARMS
]
handles += [
    Line2D([], [], marker="o", ms=3.2, lw=0, color=style.NOTE, mfc=inside, label=label)
    for label, inside in (("decided", style.NOTE), ("undecided", "white"))
]
figure.legend(handles=handles, loc="outside lower center", ncols=2, columnspacing=1.0)

# %% [markdown]
# What the caption says in words is asserted of the numbers.

# %%
nearer, truer = (data[data.metric == metric] for metric in METRICS)
assert (nearer[nearer.sweep == "dimension"].verdict == "helps").all()
away = {arm: set(nearer[(nearer.arm == arm) & (nearer.verdict == "hurts")].label) for arm in ARMS}
assert away["recipe"] == {"mixed dimensions"}
assert away["smart"] == {"mixed dimensions", "two points", "8 modes", "4 unequal modes"}
best = nearer.loc[nearer.ratio.idxmin()]
assert (best.label, best.arm) == ("full square", "smart")
worse = truer[truer.verdict == "hurts"].arm.value_counts()

style.save(
    figure,
    "non_manifold",
    f"""Against the plain GAN the score term brings samples nearer to the data in {tallies["mean_distance"].helps} of
    {len(nearer)} comparisons, in spaces of every dimension and by a factor of {1 / best.ratio:.0f} where the data fill
    a square, but it never improves the total variation and worsens it in {worse.sum()} (the paper's coupling in
    {worse.smart}, the recipe in {worse.recipe}), and on points, on eight and on four modes and on mixed
    dimensions the paper's coupling also drives samples away, the recipe on mixed dimensions alone.""",
    data,
    [tables[name][1] for name in names],
)
