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
# # Speed
#
# What the parts cost, each as a ratio of interleaved runs in one process, with the bound that we want it to keep. The
# results say on which machine they were measured, and whether it was busy.

# %%
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from figures.tools import results, style

style.use()

# %% [markdown]
# ## The numbers
#
# - Denoising 1e5 points by the exact distribution, against a plain mixture of 25 components: at most 20 times its time.
# - The share of a training step that the matrix products of its networks would take alone: at least 0.45 at width 64
#   and 0.60 at width 128. Every game, and the regularisers without a second backward pass.
# - The time of a step with each other regulariser, with the score term, with another generator, against a plain step.
# - Our U-Nets against those of diffusers that compute the same, time and peak memory: at most 1.
# - What the lazy score term adds to a mean training step on digits: at most 15 %.

# %%
LARGEST = {"denoise": 20.0, "unets": 1.0, "lazy": 0.15}
LEAST = {"share, width 64": 0.45, "share, width 128": 0.60}
rows: list[tuple[str, str, float, float | None, float | None]] = []
sources: list[str] = []
busy: list[str] = []


def bench(room: str) -> dict:
    """What `python -m ROOM.bench` found."""
    path = results.ROOT / room / "results" / "bench.json"
    facts = results.record(path)
    if not isinstance(facts.get("found"), dict):
        raise results.ResultsError(f"{results.named(path)} holds no benchmark: is it a result of this repository?")
    how = ", on a busy machine" if facts.get("busy") else ""
    busy.extend([room] if how else [])
    sources.append(f"{results.named(path)} ({facts.get('command')}, commit {facts.get('commit')}{how})")
    return facts["found"]


def spread(panel: str, found: dict[str, dict[str, float]]) -> None:
    """Adds medians and ranges."""
    rows.extend((panel, name, one["median"], one["low"], one["high"]) for name, one in found.items())


try:
    laws = bench("theory")["denoise_over_plain_mixture"]
    rows += [("denoise", name, ratio, None, None) for name, ratio in laws.items()]
    toy = bench("toy")
    spread("share, width 64", toy["share_width_64"])
    spread("share, width 128", toy["share_width_128"])
    spread("cost", toy["cost_width_64"])
    images = bench("images")
    rows += [
        (f"unets, {what}", f"{network}, {use}", ratio, None, None)
        for network, uses in images["over_diffusers"].items()
        for use, ratios in uses.items()
        for what, ratio in ratios.items()
    ]
    rows += [("lazy", name, share, None, None) for name, share in images["lazy_term"].items()]
except (KeyError, TypeError, AttributeError) as error:
    raise results.ResultsError(f"a bench.json lacks {error}: is it a result of this repository?") from None
data = pd.DataFrame(rows, columns=["panel", "what", "value", "low", "high"])

# %% [markdown]
# ## The picture

# %%
OWN = {  # how the benchmarks' names are said
    "SongUNet": "Song U-Net",
    "ADM": "ADM U-Net",
    "score": "score",
    "train": "train",
    "paper": "summed",
    "none": "no regulariser",
    "gradient-penalty": "gradient penalty",
    "instance-noise": "instance noise",
    "spectral": "spectral norm",
    "wasserstein": "Wasserstein",
    "term full": "term",
    "term full, every 8th step": "term, every 8th",
    "term full, decoupled": "term, decoupled",
    "r1": "R1",
    "r2": "R2",
    "r1-r2": "R1 and R2",
    "generator vae": "VAE",
    "generator flow": "flow",
}


def said(name: str) -> str:
    """A benchmark's name in words."""
    return OWN.get(name) or ", ".join(OWN.get(part, part) for part in name.split(", "))


def dots(panel: Axes, part: pd.DataFrame, mark: str, colour: str, inside: str | None = None) -> None:
    """A line a row, the first on top, with its range where there is one."""
    y = [-list(dict.fromkeys(part.what)).index(name) for name in part.what]
    panel.hlines(y, part.low.fillna(part.value), part.high.fillna(part.value), color=colour, lw=1.0)
    panel.plot(part.value, y, mark, ms=3, color=colour, mfc=inside or colour, mew=0.8)
    panel.set_yticks(y, [said(name) for name in part.what])
    panel.set_ylim(min(y) - 0.7, 0.7)
    panel.tick_params(axis="y", length=0, labelsize=6)


def kept(values: pd.Series, bound: float, least: bool = False) -> str:
    """How many keep the bound."""
    broken = int((values < bound).sum() if least else (values > bound).sum())
    side = "above" if least != bool(broken) else "below"
    return f"{f'{broken} of {len(values)}' if broken else 'all'} {side} {bound:g}"


def dress(panel: Axes, title: str, quantity: str) -> None:
    """Titles and labels end where the panel ends: there is room on its left."""
    panel.set_title(title, loc="right")
    panel.set_xlabel(quantity, loc="right")


def logarithmic(panel: Axes, ticks: tuple[float, ...]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(list(ticks)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


parts = dict(tuple(data.groupby("panel", sort=False)))
panels = (
    {"denoise": len(laws), "unets": 4, "lazy": len(parts["lazy"])},
    {"share": len(toy["share_width_64"]), "cost": len(parts["cost"])},
)
figure = plt.figure(figsize=(style.COLUMN, 5.3))
grid = figure.add_gridspec(1, 2)
axes: dict[str, Axes] = {}
for column, sizes in enumerate(panels):
    half = figure.add_subfigure(grid[column])
    drawn = half.subplots(len(sizes), 1, height_ratios=[size + 1 for size in sizes.values()])
    axes |= dict(zip(sizes, drawn, strict=True))

dots(axes["denoise"], parts["denoise"], "o", style.SCORE)
logarithmic(axes["denoise"], (0.1, 1, 10))
dress(
    axes["denoise"],
    f"exact: {kept(parts['denoise'].value, LARGEST['denoise'])}",
    "denoising, of a mixture's time",
)
dots(axes["unets"], parts["unets, time"], "o", style.SCORE)
dots(axes["unets"], parts["unets, memory"], "D", style.ADVERSARIAL, "white")
unets = pd.concat([parts["unets, time"], parts["unets, memory"]])
dress(axes["unets"], f"U-Nets: {kept(unets.value, LARGEST['unets'])}", "● time, ◇ memory: ratio")
dots(axes["lazy"], parts["lazy"], "o", style.SCORE)
axes["lazy"].set_xlim(0, max(0.2, 1.1 * parts["lazy"].value.max()))
axes["lazy"].xaxis.set_major_formatter(PercentFormatter(1, 0))
dress(axes["lazy"], f"lazy: {kept(100 * parts['lazy'].value, 100 * LARGEST['lazy'])} %", "added to a step's time")
for panel, bound in LARGEST.items():
    axes[panel].axvline(bound, color=style.NOTE, lw=0.8, ls="--", zorder=0)
shares = {64: ("o", style.SCORE), 128: ("D", style.DETACHED)}
for width, (mark, colour) in shares.items():
    dots(axes["share"], parts[f"share, width {width}"], mark, colour)
    axes["share"].axvline(LEAST[f"share, width {width}"], color=colour, lw=0.8, ls="--", zorder=0)
below = sum((parts[panel].value < bound).sum() for panel, bound in LEAST.items())
count = sum(len(parts[panel]) for panel in LEAST)
dress(
    axes["share"],
    f"matmuls: {f'{below} of {count} below' if below else 'all above'}",
    "share of a step, width ● 64 ◆ 128",
)
dots(axes["cost"], parts["cost"], "o", style.SCORE)
axes["cost"].axvline(1, color=style.NOTE, lw=0.7, zorder=0)
dress(axes["cost"], "time of a step with", "relative to a plain step")

note = "measured on a busy machine" if len(busy) == 3 else f"busy when measured: {', '.join(busy)}" if busy else ""
if note:
    figure.supxlabel(note, fontsize=6.3, color=style.NOTE)  # below all panels

# %%
times = parts["cost"].set_index("what").value
low, high = ({name: getattr(part.value, which)() for name, part in parts.items()} for which in ("min", "max"))
style.save(
    figure,
    "speed",
    f"""The score term makes a toy step {times["term full"]:.2g} times as long,
    {times["term full, every 8th step"]:.2g} times if lazy.""",
    f"""*Top left:* time to denoise by an exact distribution, relative to a mixture of 25 components:
    {low["denoise"]:.2g} to {high["denoise"]:.2g}, at most {LARGEST["denoise"]:g} is wanted. *Middle left:* our U-Nets
    take {low["unets, time"]:.2f} to {high["unets, time"]:.2f} of the time of those of diffusers. *Bottom left:* on
    images the lazy term adds {100 * low["lazy"]:.0f} to {100 * high["lazy"]:.0f} % to a step, at most
    {100 * LARGEST["lazy"]:.0f} % is wanted. *Top right:* share of a step that the networks' own matrix products take:
    at least {low["share, width 64"]:.2f} at width 64 and {low["share, width 128"]:.2f} at width 128, wanted are
    {" and ".join(f"{bound:.2f}" for bound in LEAST.values())}. *Bottom right:* time of a step, relative to a plain
    one. Ratios of interleaved runs in one process{", on a busy machine" if note else ""}.""",
    data,
    sources,
)
