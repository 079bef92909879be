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
# # What is left for the score term once the discriminator is regularised?
#
# Above: the game that saturates most (sweep `regularizers`, 16 seeds, every arm at its best learning rate and weight),
# each control of the discriminator alone, with the paper's coupling, and with the recipe (decoupled, the push on a
# sample bounded). Below: six games in R^16, three controls (sweep `healthy`), whether the term helps beside the control
# that the plain GAN has too. A verdict is paired over seeds and corrected for the number of all comparisons.

# %%
import pandas as pd
from matplotlib.lines import Line2D

from figures.tools import results, style
from theory.common.statistics import interval
from toy.sweep.experiments import GAMMA

style.use()

# %% [markdown]
# ## The numbers

# %%
CONTROLS = {
    "none": "none",
    "r1": "R1",
    "r2": "R2",
    "r1-r2": "R1 and R2",
    "gradient-penalty": f"grad. penalty, {GAMMA['gradient-penalty']:g}",
    "instance-noise": f"instance noise, {GAMMA['instance-noise']:g}",
    "spectral": "spectral norm.",
}
ARMS = {"gan": ("GAN", "o"), "smart": ("with score, paper", "s"), "recipe": ("with score, recipe", "D")}
METRICS = {"off_manifold": "share off the manifold", "coverage": "share covered"}

runs, whence = results.sweep("regularizers")
rows = []
for (label, metric), part in runs[runs.metric.isin(METRICS)].groupby(["arm", "metric"], sort=False):
    arm, _, control = label.partition(", ")
    rows.append(("regularizers", control or "none", arm, metric, *interval(part.sort_values("seed").value.to_numpy())))
alone = pd.DataFrame(rows, columns=["experiment", "control", "arm", "metric", "mean", "low", "high"])

judged, source = results.verdicts("healthy")
games = judged[judged.metric.isin(("off_manifold", "coverage", "total_variation"))]
games = games[["cell", "arm", "metric", "mean", "baseline_mean", "difference", "low", "high", "verdict"]]
games.insert(0, "experiment", "healthy")
games[["game", "control"]] = games.cell.str.split(", ", expand=True).to_numpy()

# %% [markdown]
# ## The picture

# %%
figure = style.panels(1, 1, 4.7)[0]
figure.clear()
grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))
upper = [figure.add_subplot(grid[0, 0])]
upper.append(figure.add_subplot(grid[0, 1], sharey=upper[0]))
titles = ("fewer are off it", "more of it is covered")
for panel, metric, title in zip(upper, METRICS, titles, strict=True):
    for shift, (arm, (_, marker)) in zip((-0.24, 0, 0.24), ARMS.items(), strict=True):
        found = alone[(alone.arm == arm) & (alone.metric == metric)].set_index("control").loc[list(CONTROLS)]
        height = [place + shift for place in range(len(found))]
        errors = [found["mean"] - found.low, found.high - found["mean"]]
        panel.errorbar(
            found["mean"], height, xerr=errors, fmt=marker, ms=2.8, lw=0.9, color=style.ARM_COLOURS[arm], clip_on=False
        )
    for place in range(1, len(CONTROLS)):
        panel.axhline(place - 0.5, color=style.REAL, lw=0.3)
    panel.set(xlim=(0, 1), xlabel=METRICS[metric])
    panel.set_title(title)
    panel.tick_params(axis="y", length=0)
upper[0].set_yticks(range(len(CONTROLS)), list(CONTROLS.values()))
upper[0].set_ylim(len(CONTROLS) - 0.5, -0.5)
upper[0].set_ylabel("control, where the game saturates")
upper[1].tick_params(labelleft=False)
handles = [
    Line2D([], [], marker=marker, ls="", color=style.ARM_COLOURS[arm], label=label)
    for arm, (label, marker) in ARMS.items()
]
figure.legend(handles=handles, loc="outside upper center", ncols=3, handletextpad=0.1, columnspacing=0.9)

# %% [markdown]
# A row a game, a column a control; three marks a cell: off the manifold, coverage, total variation.

# %%
MARKS = {"helps": ("+", style.SCORE), "hurts": ("−", style.ADVERSARIAL), "undecided": ("·", style.REAL)}
GAMES = {
    "saturating": "saturating",
    "non-saturating": "non-saturating",
    "hinge": "hinge",
    "least-squares": "least squares",
    "relativistic": "relativistic",
    "wasserstein": "Wasserstein",
}
COLUMNS = ("none", "r1", "spectral")
shown = games.assign(column=games.control.replace("gradient-penalty", "none"))
lower = [figure.add_subplot(grid[1, 0])]
lower.append(figure.add_subplot(grid[1, 1], sharey=lower[0]))
for panel, arm, title in zip(lower, ("smart", "recipe"), ("paper: can hurt", "recipe: with R1"), strict=True):
    verdict = shown[shown.arm == arm].set_index(["game", "column", "metric"]).verdict
    for row, game in enumerate(GAMES):
        for column, control in enumerate(COLUMNS):
            for place, metric in enumerate(("off_manifold", "coverage", "total_variation")):
                mark, colour = MARKS[verdict[game, control, metric]]
                panel.text(
                    column + 0.3 * (place - 1), row, mark, color=colour, ha="center", va="center", weight="bold", size=8
                )
    for edge in (0.5, 1.5):
        panel.axvline(edge, color=style.REAL, lw=0.3)
    panel.set_xticks(range(3), ["none*", "R1", "spectral"])
    panel.set(xlim=(-0.5, 2.5), xlabel="control")
    panel.set_title(title, color=style.ARM_COLOURS[arm])
    panel.tick_params(length=0)
lower[0].set_yticks(range(len(GAMES)), list(GAMES.values()))
lower[0].set_ylim(len(GAMES) - 0.5, -0.5)
lower[0].set_ylabel("game, healthier")
lower[1].tick_params(labelleft=False)
key = """marks: off the manifold, coverage, total variation
+ helps   − hurts   · undecided     * Wasserstein: gradient penalty"""
figure.supxlabel(key, size=6.5)

# %% [markdown]
# ## What is seen

# %%
OFF = alone[alone.metric == "off_manifold"].set_index(["control", "arm"])["mean"]
COVERED = alone[alone.metric == "coverage"].set_index(["control", "arm"])["mean"]
controls = [control for control in CONTROLS if control != "none"]
enough = [control for control in controls if OFF[control, "gan"] < OFF["none", "smart"] / 2]
least = min(COVERED[control, "gan"] for control in enough)
assert OFF["none", "recipe"] < min(OFF[control, "gan"] for control in controls)
assert COVERED["none", "recipe"] < least

tally = games[games.metric == "off_manifold"].groupby(["arm", "verdict"]).size()
worse = games[games.verdict == "hurts"].groupby("arm").cell.nunique()
with_r1 = games[(games.metric == "off_manifold") & (games.control == "r1")]
assert (with_r1.verdict == "helps").all()

style.save(
    figure,
    "regularizers",
    f"""Where the game saturates, {len(enough)} of {len(controls)} controls of the discriminator alone more than halve
    the share off the manifold that the paper's score term leaves without one, and cover at least {least:.2f} of it,
    where the recipe without one leaves the fewest off but covers {COVERED["none", "recipe"]:.2f}, and in healthier
    games the term brings samples back beside R1 in all {len(GAMES)}, while over all {len(games.cell.unique())} cells
    the paper's coupling helps with that in {tally["smart", "helps"]} and makes something worse in
    {worse.get("smart", 0)}, and the recipe helps in {tally["recipe", "helps"]} and makes something worse in
    {worse.get("recipe", 0)}.""",
    pd.concat([alone, games.drop(columns="cell")], ignore_index=True),
    [whence, source],
)
