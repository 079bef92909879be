"""The pictures of an experiment: grids of samples, curves, nearest neighbours, interpolations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from images.files import replacing

Images = np.ndarray  # [n, c, h, w], pixels from -1 to 1
COLOURS = dict(zip(("none", "paper", "decoupled"), sns.color_palette("colorblind", 3), strict=True))
NAMES = {"none": "no score term", "paper": "paper's coupling", "decoupled": "decoupled"}


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def tiled(rows: np.ndarray, gap: int = 1) -> np.ndarray:
    """[rows, columns, c, h, w] -> one picture [H, W, c] in 0..1, white between the images."""
    rows = np.clip(rows * 0.5 + 0.5, 0, 1)
    n, m, c, h, w = rows.shape
    padded = np.ones((n, m, c, h + gap, w + gap), rows.dtype)
    padded[..., :h, :w] = rows
    return padded.transpose(0, 3, 1, 4, 2).reshape(n * (h + gap), m * (w + gap), c)[:-gap, :-gap]


def show(axes: plt.Axes, rows: np.ndarray, title: str) -> None:
    picture = tiled(rows)
    axes.imshow(picture if picture.shape[-1] == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def grids(rows: dict[str, np.ndarray], title: str) -> Figure:
    """Name -> [rows, columns, c, h, w], side by side."""
    wide = max(part.shape[1] / part.shape[0] for part in rows.values())
    figure, axes = plt.subplots(1, len(rows), figsize=(3.2 * len(rows) * max(1.0, wide), 3.6), squeeze=False)
    for place, (name, part) in zip(axes[0], rows.items(), strict=True):
        show(place, part, NAMES.get(name, name))
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    return figure


def curves(table: pd.DataFrame, metrics: Sequence[str], batch: int) -> Figure:
    """Each metric over real images seen: a thin line a seed, a thick one for their mean; and its last values."""
    table = table[table["metric"].isin(metrics)]
    shown = [metric for metric in metrics if metric in set(table["metric"])]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.4 * len(shown), 3.2), squeeze=False)
    for place, metric in zip(axes[0], shown, strict=True):
        rows = table[table["metric"] == metric]
        single = rows["step"].nunique() == 1
        for i, (arm, part) in enumerate(rows.groupby("arm", sort=False)):
            wide = part.pivot_table(index="step", columns="seed", values="value")
            colour = COLOURS[str(arm)]
            if single:
                place.plot([i] * wide.shape[1], wide.iloc[0], "o", color=colour, alpha=0.6)
                place.plot([i - 0.2, i + 0.2], [wide.iloc[0].mean()] * 2, color=colour, lw=2)
            else:
                x = wide.index * batch / 1000
                place.plot(x, wide, color=colour, lw=0.6, alpha=0.6)
                place.plot(x, wide.mean(axis=1), color=colour, lw=2, label=NAMES[str(arm)])
        if single:
            arms = list(rows["arm"].unique())
            place.set_xticks(range(len(arms)), arms)
        else:
            place.set_xlabel("thousand real images")
            if (rows["value"] > 0).all():
                place.set_yscale("log")
        place.set_title(metric.replace("_", " "), fontsize=9)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def neighbours(samples: dict[str, Images], train: Images, held_out: Images | None) -> Figure:
    """Samples above their nearest training images, and the distances: memorised samples would have none."""
    figure, axes = plt.subplots(1, len(samples) + 1, figsize=(3.4 * (len(samples) + 1), 3.0), squeeze=False)
    last = axes[0][-1]
    for place, (arm, x) in zip(axes[0], samples.items(), strict=False):
        distances, which = nearest(x, train)
        pairs = np.stack([x[:20], train[which[:20]]], 1).reshape(2, 10, 2, *x.shape[1:])  # [2, 10, pair, c, h, w]
        show(
            place,
            pairs.transpose(0, 2, 1, 3, 4, 5).reshape(4, 10, *x.shape[1:]),
            f"{NAMES[arm]}: rows 1, 3;\nnearest: 2, 4",
        )
        last.plot(np.sort(distances), np.linspace(0, 1, len(distances)), color=COLOURS[arm], label=NAMES[arm])
    if held_out is not None:
        distances, _ = nearest(held_out, train)
        last.plot(np.sort(distances), np.linspace(0, 1, len(distances)), color="black", ls="--", label="held-out real")
    last.set_title("distance to the nearest training image\n(root mean square a pixel), share below", fontsize=8)
    last.legend(fontsize=7)
    figure.tight_layout()
    return figure


def nearest(x: Images, train: Images) -> tuple[np.ndarray, np.ndarray]:
    """Root mean squared difference to the nearest training image, and which that is.   [n], [n]"""
    from scipy.spatial import cKDTree

    distances, which = cKDTree(train.reshape(len(train), -1)).query(x.reshape(len(x), -1))
    return distances / x[0].size ** 0.5, np.asarray(which)
