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
# A class-conditional GAN of 8 x 8 digits without the score term, with it summed (the paper's coupling), and decoupled.
# Two games: the non-saturating one without penalties, and the relativistic one with R1 and R2. The score is a denoiser
# trained on the same digits. Each arm has the learning rate and the weight that did best on four seeds that no
# comparison uses (`images/results/*-tuning.csv`). This is a small stand-in for the paper's image experiments: nothing
# about its image results follows from it.

# %%
import zipfile
from itertools import product
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from figures.tools import results, style
from theory.common.statistics import compare, interval

style.use()

# %% [markdown]
# ## The numbers
#
# The Fréchet distance is that between Gaussians in the features of a classifier of digits; FID has other features. The
# distance of real training digits to the held-out ones is a level and no bound, for the classifier was trained on the
# training digits. Precision and recall of real digits are those of the held-out ones, a
# quarter as many as the samples. Differences are paired by seed.


# %%
class Arm(NamedTuple):
    """How an arm is drawn."""

    label: str
    colour: str
    line: str
    marker: str


ARMS = {
    name: Arm(style.LABELS[name], style.ARM_COLOURS[name], line, marker)
    for name, line, marker in (("gan", "-", "o"), ("summed", "--", "s"), ("decoupled", ":", "^"))
}
SCORED = [arm for arm in ARMS if arm != "gan"]
GAMES = {"digits-vanilla": "no penalties", "digits": "R1 + R2"}
METRICS = {
    "frechet_held_out": "distance\nto held-out",
    "frechet_distance": "distance\nto training",
    "precision": "precision",
    "recall": "recall",
}
DISTANCES = ["frechet_held_out", "frechet_distance"]
RESULTS = results.ROOT / "images" / "results"


class Game(NamedTuple):
    """A recipe's results."""

    per_seed: dict[tuple[str, str], pd.DataFrame]  # (arm, metric): a row a step, a column a seed
    tuned: pd.DataFrame  # of each arm and rate at its best weight: arm, rate, weight, mean over the seeds that chose
    real: dict[str, float]
    batch: int
    samples: dict[str, np.ndarray]
    source: str


def load(name: str) -> Game:
    table = results.table(RESULTS / f"{name}.csv", ["arm", "seed", "step", "metric", "value"])
    tried = results.table(RESULTS / f"{name}-tuning.csv", ["arm", "rate", "weight", "seed", "metric", "value"])
    facts = results.record(RESULTS / f"{name}.json")
    try:
        with np.load(RESULTS / f"{name}-samples.npz") as stored:
            samples = {key: stored[key] for key in ["real", *ARMS, *(f"interpolation-{arm}" for arm in ARMS)]}
        per_seed = {
            (arm, metric): table[(table.arm == arm) & (table.metric == metric)].pivot(
                index="step", columns="seed", values="value"
            )
            for arm, metric in product(ARMS, METRICS)
        }
        means = tried.groupby(["arm", "rate", "weight"], sort=False)["value"].mean().reset_index(name="mean")
        tuned = means.loc[means.groupby(["arm", "rate"], sort=False)["mean"].idxmin()]
        source = (
            f"images/results/{name}.csv and {name}-samples.npz ({facts['command']}, commit {facts['commit']}) and "
            f"{name}-tuning.csv (python -m images.tune --recipe {name})"
        )
        return Game(per_seed, tuned, facts["real"], facts["recipe"]["batch"], samples, source)
    except (KeyError, TypeError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise results.ResultsError(f"images/results/{name}.json or {name}-samples.npz is damaged: {error!r}") from None


games = {name: load(name) for name in GAMES}
seeds = games["digits"].per_seed["gan", "recall"].shape[1]


# %% [markdown]
# An arm is distinguishable from the plain one if the 95 % interval of the paired difference does not hold 0. A run that
# ends ten times as far from held-out digits as real training digits are has collapsed.


# %%
def outcome(low: float, high: float) -> str:
    """less, more or undecided."""
    return "undecided" if low <= 0 <= high else "less" if high < 0 else "more"


rows: list[dict[str, Any]] = []
for name, game in games.items():
    for metric, arm in product(METRICS, ARMS):
        values = game.per_seed[arm, metric]
        key = {"game": name, "arm": arm, "metric": metric}
        rows.append(key | interval(values.iloc[-1].to_numpy())._asdict())
        if arm != "gan":
            found = compare(values.iloc[-1].to_numpy(), game.per_seed["gan", metric].iloc[-1].to_numpy())
            low, high = found["low"], found["high"]
            told = {"mean": found["difference"], "low": low, "high": high, "outcome": outcome(float(low), float(high))}
            rows.append(key | {"arm": f"{arm} - gan"} | told)
    rows += [
        {"game": name, "arm": "real", "metric": metric, "mean": game.real[metric]}
        for metric in METRICS
        if metric in game.real
    ]
    for arm in ARMS:
        wide = game.per_seed[arm, "frechet_held_out"]
        curve = wide.reset_index().melt("step", var_name="seed", value_name="value")
        rows += curve.assign(game=name, arm=arm, metric="frechet_held_out of a seed").to_dict("records")
    rows += game.tuned.assign(game=name, metric="frechet_distance in tuning, at the best weight").to_dict("records")
data = pd.DataFrame(rows)[
    ["game", "arm", "metric", "rate", "weight", "seed", "step", "value", "mean", "low", "high", "outcome"]
]
ended = data[data.step.isna() & data.rate.isna()].set_index(["game", "arm", "metric"])


def outcomes(game: str, *metrics: str) -> set[str]:
    """What the score term changed in a game, over both couplings."""
    return {str(ended.outcome[game, f"{arm} - gan", metric]) for arm, metric in product(SCORED, metrics)}


level = games["digits"].real["frechet_held_out"]
last = {(name, arm): game.per_seed[arm, "frechet_held_out"].iloc[-1] for name, game in games.items() for arm in ARMS}
fell = {place: values > 10 * level for place, values in last.items()}  # by seed
collapsed = {place: int(which.sum()) for place, which in fell.items()}
collapses = [{"game": name, "arm": arm, "metric": "collapsed", "mean": n} for (name, arm), n in collapsed.items()]
data = pd.concat([data, pd.DataFrame(collapses)], ignore_index=True)
assert all(game.real["frechet_held_out"] == level for game in games.values())
assert all(outcomes(name, *METRICS) == {"undecided"} for name in GAMES)
assert all(ended.high["digits", arm, "frechet_held_out"] < level for arm in ARMS)
assert {place for place, count in collapsed.items() if count} == {("digits-vanilla", "decoupled")}
lost = collapsed["digits-vanilla", "decoupled"]
tuned = games["digits-vanilla"].tuned.set_index(["arm", "rate"])["mean"]
assert all(tuned[arm, 1.0] < tuned["gan", 1.0] for arm in SCORED)
assert tuned["gan", 2.0] < min(tuned[arm, 1.0] for arm in SCORED)

# %% [markdown]
# ## The picture
#
# Of the first seed of the game without penalties: the first samples of each class, and every second frame of the latent
# interpolations of three classes. Nothing is selected, and the arms have the same latents.

# %%
ROWS, FRAMES = 3, 6
plain = games["digits-vanilla"]


def tiled(images: np.ndarray) -> np.ndarray:
    """[rows, columns, 1, h, w] as one picture in dark ink, white between the images."""
    n, m, _, h, w = images.shape
    padded = np.full((n, m, h + 1, w + 1), 255, np.uint8)
    padded[..., :h, :w] = 255 - images[:, :, 0]
    return padded.swapaxes(1, 2).reshape(n * (h + 1), m * (w + 1))[:-1, :-1]


def show(panel: Axes, images: np.ndarray) -> None:
    panel.imshow(tiled(images), cmap="gray", vmin=0, vmax=255)
    panel.axis("off")


def logarithmic(panel: Axes, ticks: list[int]) -> None:
    panel.set_yscale("log")
    panel.set_yticks(ticks)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


figure = plt.figure(figsize=(style.COLUMN, 6.0))
top, middle, low, bottom = figure.subfigures(4, 1, height_ratios=[2.04, 1.56, 1.5, 1.4])  # type: ignore[misc]
panels = top.subplots(4, 2, width_ratios=[10, FRAMES], gridspec_kw={"wspace": 0.12})
for (left, right), arm in zip(panels, ["real", *ARMS], strict=True):
    left.set_anchor("E")
    right.set_anchor("W")
    show(left, plain.samples[arm][:, :ROWS].swapaxes(0, 1))
    label, colour = (ARMS[arm].label, ARMS[arm].colour) if arm in ARMS else ("real digits", style.NOTE)
    left.text(-0.03, 0.5, label.replace(" ", "\n"), color=colour, ha="right", va="center", transform=left.transAxes)
    frames = plain.samples[f"interpolation-{arm if arm in ARMS else 'gan'}"][::ROWS, ::2][:ROWS, :FRAMES]
    show(right, frames if arm in ARMS else np.zeros_like(frames))  # an empty place beside the real digits
    if arm in ARMS and fell["digits-vanilla", arm].iloc[0]:
        left.text(0.5, 0.5, "this run collapsed", ha="center", va="center", transform=left.transAxes)
panels[0, 1].text(0.5, 0, "from latent\nto latent", ha="center", fontweight="bold", transform=panels[0, 1].transAxes)
panels[0, 0].set_title("samples of the game without penalties", pad=3)

curves = middle.subplots(1, 2, sharey=True)
for panel, (name, game) in zip(curves, games.items(), strict=True):
    for arm, look in ARMS.items():
        wide = game.per_seed[arm, "frechet_held_out"]
        seen = wide.index * game.batch / 1000
        kept = wide.loc[:, ~fell[name, arm]]
        panel.fill_between(seen, kept.min(axis=1), kept.max(axis=1), color=look.colour, alpha=0.15, lw=0)
        panel.plot(seen, wide.median(axis=1), look.line, marker=look.marker, color=look.colour, label=look.label)
    panel.axhline(level, color=style.NOTE, lw=0.7, zorder=1)
    panel.set_title(GAMES[name])
    panel.set_xlabel("thousand real images seen")
    logarithmic(panel, [10, 20, 30, 50])
    panel.set_ylim(9, 60)
curves[0].set_ylabel("Fréchet distance in digits\nfeatures, to held-out digits")
curves[0].text(0.03, level * 0.97, "real training digits", va="top", transform=curves[0].get_yaxis_transform())
curves[1].legend(loc="upper right")
gone = f"{lost} decoupled run of {seeds} ↑"
curves[0].text(0.97, 0.97, gone, color=ARMS["decoupled"].colour, ha="right", va="top", transform=curves[0].transAxes)

for panel, (name, game) in zip(low.subplots(1, 2, sharey=True), games.items(), strict=True):
    for arm, look in ARMS.items():
        found = game.tuned[game.tuned.arm == arm].set_index("rate")["mean"]
        panel.plot(found.index, found, look.line, marker=look.marker, color=look.colour)
        panel.plot(found.idxmin(), found.min(), look.marker, color=look.colour, ms=6, mfc="none")
    panel.set_title(f"{GAMES[name]}: tuning")
    panel.set_xlabel("learning rate, of the recipe's")
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    logarithmic(panel, [5, 7, 10, 14])
    panel.set_ylim(5, 16)
low.axes[0].set_ylabel("distance to training\nat the best weight")

bottom.suptitle(
    "difference by the score term, at each arm's best rate:\nnone is decided; arrow: towards a collapsed run",
    fontsize=7,
    fontweight="bold",
)
forest = bottom.subplots(1, len(METRICS), sharey=True)
places = {place: -index - 0.5 * (index > 1) for index, place in enumerate(product(GAMES, SCORED))}
for panel, (metric, title) in zip(forest, METRICS.items(), strict=True):
    for (name, arm), y in places.items():
        row, look = ended.loc[name, f"{arm} - gan", metric], ARMS[arm]
        panel.plot([row.low, row.high], [y, y], color=look.colour)
        face = "white" if row.outcome == "undecided" else look.colour
        panel.plot(row["mean"], y, look.marker, color=look.colour, mfc=face)
        if collapsed[name, arm]:
            end, way = (1, ">") if metric in DISTANCES else (0, "<")
            panel.plot(end, y, way, color=look.colour, clip_on=False, transform=panel.get_yaxis_transform())
    panel.axvline(0, color=style.NOTE, lw=0.7, zorder=1)
    panel.set_title(title, fontweight="normal", fontsize=6.5)
    panel.set_xlabel("← nearer" if metric in DISTANCES else "more →")
    panel.set_xlim(*((-3, 3) if metric in DISTANCES else (-0.13, 0.13)))
    panel.xaxis.set_major_locator(MaxNLocator(2))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    panel.set_ylim(min(places.values()) - 0.6, 0.6)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
forest[0].set_yticks([np.mean([places[name, arm] for arm in SCORED]) for name in GAMES], GAMES.values())


# %%
def ends(game: str, metric: str, digits: int) -> str:
    """The means of the arms after the last step, over runs that have not collapsed."""
    kept = (games[game].per_seed[arm, metric].iloc[-1][~fell[game, arm]] for arm in ARMS)
    return ", ".join(f"{values.mean():.{digits}f}" for values in kept)


style.save(
    figure,
    "digits",
    "On small digits, with every arm tuned, the score term has no distinguishable effect.",
    f"""Digits of 8 by 8 pixels. *Top:* samples and latent interpolations of the first seed, game without penalties;
    nothing is selected. *Second row:* Fréchet distance to held-out digits, in features of a digits classifier (not
    FID); line: median, band: range over seeds. Real training digits have {level:.1f}. The GAN, summed (the paper's
    coupling) and decoupled end at {ends("digits-vanilla", "frechet_held_out", 1)} without penalties (recall
    {ends("digits-vanilla", "recall", 2)}), and at {ends("digits", "frechet_held_out", 1)} with R1 and R2 (recall
    {ends("digits", "recall", 2)}). Without penalties {lost} of {seeds} decoupled runs collapsed and is left out.
    *Third row:* tuning. Without penalties the term helps at the recipe's learning rate; the plain GAN catches up at
    twice that rate. *Bottom:* paired differences to the GAN; all intervals contain 0. {seeds} seeds, 95 %
    intervals.""",
    data,
    [game.source for game in games.values()],
    also=[RESULTS / f"{name}-samples.npz" for name in GAMES],
)
