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
# # Published FIDs, and an empty column
#
# FIDs that public summaries give for the paper and its peers; one pair is the paper's. Our own column is empty:
# training at this size needs a GPU and was not run. FIDs of different papers differ in references and details; none was
# measured here.

# %%
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.tools import results, style

style.use()

# %% [markdown]
# ## The numbers

# %%
PATH = results.ROOT / "images" / "published.csv"
table = results.table(PATH, ["dataset", "resolution", "method", "fid", "note", "recipe", "source"])
table["fid"] = pd.to_numeric(table.fid, errors="coerce")
table["method"] = table.method.str.replace(r"( \+ score), .*", r"\1", regex=True)  # summed or decoupled
data = table[table.fid > 0]
if data.empty:
    raise results.ResultsError(f"{results.named(PATH)} holds no FID above 0: is it a result of this repository?")
datasets = list(dict.fromkeys(zip(data.dataset, data.resolution, strict=True)))
shown = table[[pair in datasets for pair in zip(table.dataset, table.resolution, strict=True)]]
methods = list(shown.groupby("method").fid.min().sort_values(kind="stable", na_position="last").index)
built = set(shown[shown.recipe.notna()].method)
unknown = table[~table.index.isin(shown.index)]

# %% [markdown]
# ## The picture
#
# A row a method, a column a data set, and ours. Methods with a recipe of images/ are built here, and were not run.

# %%
NOT_RUN, NOT_BUILT = "not run", "–"
figure, axes = style.panels(
    1, len(datasets) + 1, 1.05 + 0.17 * len(methods), sharey=True, width_ratios=[*[1.0] * len(datasets), 0.55]
)


def column(panel: Axes, part: pd.DataFrame) -> None:
    """The FIDs of one data set, each beside its dot."""
    for row in part.itertuples():
        own = "SMaRt" in str(row.method)
        y, colour = -methods.index(row.method), style.SCORE if own else style.NOTE
        panel.plot(row.fid, y, "D" if own else "o", ms=3, color=colour)
        value = f"{row.fid:.2f}" + ("*" if isinstance(row.note, str) and "10,000" in row.note else "")
        panel.annotate(value, (row.fid, y), (4, 0), textcoords="offset points", va="center", color=colour)
    panel.set_xscale("log")
    panel.set_xlim(0.7 * data.fid.min(), 3.6 * data.fid.max())
    panel.xaxis.set_major_locator(FixedLocator([1, 3, 10]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


for panel, (dataset, resolution) in zip(axes, datasets, strict=False):
    column(panel, data[(data.dataset == dataset) & (data.resolution == resolution)])
    panel.set_title(f"{dataset}\n{resolution} × {resolution}")
    panel.set_xlabel("FID")
for place, method in enumerate(methods):
    said = NOT_RUN if method in built else NOT_BUILT
    axes[-1].text(0.5, -place, said, transform=axes[-1].get_yaxis_transform(), ha="center", va="center", style="italic")
axes[-1].set_title("ours\n")
axes[-1].spines["bottom"].set_visible(False)
axes[-1].set_xticks([])
for panel in axes:
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    for place in range(len(methods)):
        panel.axhline(-place - 0.5, color="0.93", lw=0.5, zorder=0)
axes[0].set_ylim(-len(methods) + 0.4, 0.6)
axes[0].set_yticks([-place for place in range(len(methods))], methods)
for text in axes[0].get_yticklabels():
    if "SMaRt" in text.get_text() or "+ score" in text.get_text():
        text.set(color=style.SCORE, fontweight="bold")

figure.supxlabel("not run: needs a GPU;   –: not built here;   *: of 10,000 images", fontsize=6.3, color=style.NOTE)

# %%
gains, peers = [], []
for (dataset, resolution), part in data.groupby(["dataset", "resolution"], sort=False):
    found = part.set_index("method").fid
    for method in found.index[found.index.str.endswith(" + SMaRt")]:
        plain = method.removesuffix(" + SMaRt")
        gains.append(f"{found[method]:g} on {dataset} {resolution}, against {found[plain]:g} for {plain} without it")
        peers.append(found.min())
assert gains, "the caption compares a method with itself and SMaRt"
missing = dict.fromkeys(f"{row.dataset} {row.resolution}" for row in unknown.itertuples())
style.save(
    figure,
    "published",
    "Published FIDs put SMaRt ahead of its baseline; our own column is empty.",
    f"""*Columns:* FIDs by public summaries. SMaRt has {" and ".join(gains)}; the lowest FID of the peers there is
    {min(peers):g}. For {" and ".join(missing)} no number is known to us. *Ours:* training at this size needs a GPU and
    was not run. FIDs of different papers differ in references and details.""",
    table[["dataset", "resolution", "method", "fid", "note", "source"]].assign(
        ours=table.recipe.notna().map({True: NOT_RUN, False: "not built here"})
    ),
    [f"{results.named(PATH)}, as published, not measured here"],
)
