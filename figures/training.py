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
# # Training with and without the score term
#
# The data lie on a circle, the discriminator is strong, and the generator starts off the manifold. There the
# discriminator's gradient vanishes (claim S2) and the score term's does not (P3). Samples are of the first seed; curves
# have 95 % intervals over 8 seeds. Last, a game in R^16 with R1, both sides of which every arm has searched
# (`python -m toy.search core lazy`): the preset healthy has the score term at every step, lazy at every eighth.

# %%
import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from figures.tools import results, style
from theory.common.statistics import compare, interval
from toy.config import PRESETS
from toy.jobs.film import shoot

style.use()

# %% [markdown]
# ## The numbers


# %%
COMPARED = ("gan", "summed", "decoupled")


def shots(frames: int, kept: int) -> pd.DataFrame:
    """Samples of the first seed of two arms, trained once more by itself, at evenly spaced steps; and real ones."""
    config = dataclasses.replace(PRESETS["saturated"], arms=("gan", "summed"), seeds=1)
    film = shoot(config, frames)
    clouds = [("real", 0, film.real[:kept])]
    for arm, samples in film.samples.items():
        clouds += [(arm, int(step), cloud[:kept]) for step, cloud in zip(film.steps, samples, strict=True)]
    return pd.DataFrame(
        [(arm, step, float(x), float(y)) for arm, step, cloud in clouds for x, y in cloud],
        columns=["arm", "step", "x", "y"],
    )


samples, whence_samples = results.computed("training", shots, digits=6, frames=4, kept=100)

# %% [markdown]
# The last values of each preset, and those of the default one over time. Norms are averaged as logarithms.

# %%
FINAL = ("off_manifold", "mean_distance", "coverage", "total_variation", "kl")
SHARES = ("off_manifold", "coverage", "total_variation")
NORMS = ("adversarial_gradient", "score_gradient")
LOWEST = 1e-12  # a norm below counts as this
SHOWN = ("saturated", "healthy", "lazy")


def runs(presets: list[str], arms: list[str]) -> pd.DataFrame:
    """What is drawn of `python -m toy.run --preset PRESET --arms ARMS`, per seed."""
    parts = []
    for preset in presets:
        with tempfile.TemporaryDirectory() as directory:
            results.training(Path(directory) / "run", "--preset", preset, "--arms", *arms)
            table = pd.read_csv(Path(directory) / "run" / "metrics.csv")
        last = table[(table.step == table.step.max()) & table.metric.isin(FINAL)]
        path = table[table.metric.isin(SHARES + NORMS)] if preset == "saturated" else table[:0]
        parts.append(pd.concat([path, last]).drop_duplicates().assign(preset=preset))
    return pd.concat(parts)[["preset", "arm", "seed", "step", "metric", "value"]]


def over_seeds(rows: pd.DataFrame, metric: str) -> Iterable[Any]:
    """Mean, low, high."""
    values = rows.sort_values("seed").value.to_numpy(np.float64)
    if metric not in NORMS:
        return interval(values)
    return (10**end for end in interval(np.log10(np.maximum(values, LOWEST))))


everything, whence = results.computed("training", runs, digits=6, presets=list(SHOWN), arms=list(COMPARED))
rows = []
for preset in SHOWN:
    table = everything[everything.preset == preset]
    last = table[(table.step == table.step.max()) & table.metric.isin(FINAL)]
    for (arm, metric), part in last.groupby(["arm", "metric"], sort=False):
        rows.append((preset, arm, metric, part.step.iloc[0], *over_seeds(part, metric)))
    if preset == "saturated":
        path = table[table.metric.isin(SHARES + NORMS)]
        for (arm, metric, step), part in path.groupby(["arm", "metric", "step"], sort=False):
            rows.append(("saturated, over time", arm, metric, step, *over_seeds(part, metric)))
numbers = pd.DataFrame(rows, columns=["preset", "arm", "metric", "step", "mean", "low", "high"])
final = numbers[numbers.preset.isin(PRESETS)].set_index(["preset", "arm", "metric"])
curves = numbers[numbers.preset == "saturated, over time"]

# %% [markdown]
# ## The picture
#
# Black: farther than the tolerance from the circle. Dotted: the square of the other panels.

# %%
TOLERANCE = 0.05  # of the metrics
ARMS = {"gan": (":", "o"), "summed": ("-", "s"), "decoupled": ("--", "^")}
real = samples[samples.arm == "real"]
start = samples[(samples.arm == "gan") & (samples.step == 0)]
later = samples[(samples.arm != "real") & (samples.step > 0)]
side = later[["x", "y"]].abs().quantile(0.98).max() * 1.05
figure = style.panels(1, 1, 5.2)[0]
figure.clear()
grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.55))
above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
cells = above.subplots(2, 4)
steps = sorted(later.step.unique())


def cloud(panel: Axes, points: pd.DataFrame, colour: str, reach: float) -> None:
    """Samples over real ones; those off the circle in black."""
    off = (np.hypot(points.x, points.y) - 1).abs() > TOLERANCE
    panel.plot(real.x, real.y, ".", color=style.REAL, ms=1.5, mew=0)
    panel.plot(points.x[off], points.y[off], ".", color="black", ms=2.5, mew=0)
    panel.plot(points.x[~off], points.y[~off], ".", color=colour, ms=3, mew=0)
    panel.set(xticks=[], yticks=[], xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    panel.spines[:].set(visible=True, color=style.REAL, lw=0.4)
    if unseen := int((points[["x", "y"]].abs() > reach).any(axis=1).sum()):
        panel.text(0.96, 0.04, f"{unseen} outside", size=6, ha="right", transform=panel.transAxes)


cloud(cells[0, 0], real.iloc[:0], "black", side)
cells[0, 0].set_title("real")
far = max(side, start[["x", "y"]].abs().max().max() * 1.05)
cloud(cells[1, 0], start, "black", far)
cells[1, 0].add_patch(Rectangle((-side, -side), 2 * side, 2 * side, fill=False, ls=":", lw=0.6))
cells[1, 0].set_title("start")
for row, arm in enumerate(("gan", "summed")):
    for panel, step in zip(cells[row, 1:], steps, strict=True):
        cloud(panel, later[(later.arm == arm) & (later.step == step)], style.ARM_COLOURS[arm], side)
        panel.set_title(f"step {step}", color=style.ARM_COLOURS[arm])
    cells[row, 1].set_ylabel(style.LABELS[arm], color=style.ARM_COLOURS[arm], fontweight="bold")

# %%
panels = below.subplots(2, 3)
titles = ("fewer off", "coverage late", "density late")
labels = ("share off manifold", "coverage", "total variation")
for panel, metric, title, label in zip(panels[0], SHARES, titles, labels, strict=True):
    for arm, (line, _) in ARMS.items():
        part = curves[(curves.arm == arm) & (curves.metric == metric)]
        panel.plot(part.step, part["mean"], line, color=style.ARM_COLOURS[arm], clip_on=False)
        panel.fill_between(part.step, part.low, part.high, color=style.ARM_COLOURS[arm], alpha=0.2, lw=0)
    panel.set(
        xlabel="step", ylabel=label, ylim=(0, 1), xlim=(0, curves.step.max()), yticks=[0, 0.5, 1], xticks=[0, 1000]
    )
    panel.set_title(title, loc="right")  # it ends where the panel ends, on the page

norms = panels[1, 0]
for arm in ("gan", "summed"):
    for metric, width in zip(NORMS, (1.3, 0.6), strict=True):
        part = curves[(curves.arm == arm) & (curves.metric == metric)]
        norms.plot(part.step, part["mean"], ARMS[arm][0], color=style.ARM_COLOURS[arm], lw=width)
        norms.fill_between(part.step, part.low, part.high, color=style.ARM_COLOURS[arm], alpha=0.2, lw=0)
norms.set(yscale="log", xlabel="step", ylabel="gradient norm", xlim=(0, curves.step.max()))
norms.set_ylim(LOWEST, 1e5)
norms.text(1450, 1e3, "score", ha="right", size=6)
norms.text(1450, 1e-3, "adversarial", ha="right", size=6)
norms.set_xticks([0, 1000])
norms.set_yticks([1e-12, 1e-6, 1])
norms.set_title("GAN: vanishes", loc="right")

for panel, metric, title, label in zip(
    panels[1, 1:],
    ("off_manifold", "kl"),
    ("R1, tuned", "summed: less KL"),
    ("share off manifold", "KL"),
    strict=True,
):
    for place, preset in enumerate(("healthy", "lazy")):
        for shift, (arm, (_, marker)) in zip((-0.2, 0, 0.2), ARMS.items(), strict=True):
            row = final.loc[preset, arm, metric]
            spread = [[row["mean"] - row.low], [row.high - row["mean"]]]
            panel.errorbar([place + shift], [row["mean"]], yerr=spread, fmt=marker, color=style.ARM_COLOURS[arm])
    panel.set(xlim=(-0.5, 1.5), ylabel=label)
    panel.set_ylim(bottom=0)
    panel.set_xticks([0, 1], ["healthy", "lazy"])
    panel.set_title(title, loc="right")
handles = [
    Line2D([], [], color=style.ARM_COLOURS[arm], ls=line, marker=marker, label=style.LABELS[arm])
    for arm, (line, marker) in ARMS.items()
]
below.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.4, columnspacing=1)

# %% [markdown]
# ## What is seen
#
# The words better, worse and not distinguishable rest on the paired 95 % interval of the difference to the GAN.


# %%
def side_of_zero(preset: str, metric: str, arm: str) -> int:
    """-1, 0 or 1: the interval of the arm's difference to the GAN lies below 0, holds it, lies above."""
    last = everything[(everything.preset == preset) & (everything.metric == metric)]
    last = last[last.step == last.step.max()].pivot(index="seed", columns="arm", values="value")
    found = compare(last[arm].to_numpy(), last["gan"].to_numpy())
    return int(found["low"] > 0) - int(found["high"] < 0)


OFF, TV = final["mean"].xs("off_manifold", level="metric"), final["mean"].xs("total_variation", level="metric")
END = curves[curves.step == curves.step.max()].set_index(["arm", "metric"])["mean"]
KL = final["mean"].xs("kl", level="metric")
assert (
    side_of_zero("saturated", "off_manifold", "summed") == side_of_zero("saturated", "off_manifold", "decoupled") == -1
)
assert side_of_zero("saturated", "total_variation", "summed") == 0
assert side_of_zero("healthy", "kl", "summed") == side_of_zero("lazy", "off_manifold", "summed") == -1
assert side_of_zero("healthy", "kl", "decoupled") == side_of_zero("lazy", "kl", "decoupled") == 0
covered = curves[curves.metric == "coverage"].pivot(index="step", columns="arm", values="mean")
behind = covered.index[covered["summed"] < covered["gan"]].max()
assert END["gan", "adversarial_gradient"] < 1e-9
assert END["gan", "score_gradient"] > 1

data = pd.concat([numbers, samples.assign(preset="saturated, samples")], ignore_index=True)
style.save(
    figure,
    "training",
    "Against a strong discriminator samples stay off the circle; the score term returns them.",
    f"""*Rows 1-2:* samples of the first seed; black: farther than {TOLERANCE:g} from the circle. *Row 3:* share off
    the manifold, coverage, total variation. At the end {OFF["saturated", "gan"]:.2f} of the GAN's samples are off,
    summed (the paper's coupling) {OFF["saturated", "summed"]:.3f}, decoupled {OFF["saturated", "decoupled"]:.3f}.
    Until step {behind} summed covers less than the GAN; its final total variation ({TV["saturated", "summed"]:.2f}) is
    not distinguishable from the GAN's ({TV["saturated", "gan"]:.2f}). *Row 4, left:* at the GAN's samples the
    discriminator's gradient vanishes, the score term's does not. *Row 4, right:* with R1 in R¹⁶, everything tuned, the
    term at every step lowers KL summed ({KL["healthy", "summed"]:.3f}, GAN {KL["healthy", "gan"]:.3f}) and not
    decoupled ({KL["healthy", "decoupled"]:.3f}). At every eighth step (lazy) summed has KL {KL["lazy", "summed"]:.3f}
    and {OFF["lazy", "summed"]:.3f} off (GAN {OFF["lazy", "gan"]:.3f}). 8 seeds, 95 % intervals.""",
    data,
    [whence_samples, whence],
)
