"""The pictures of an experiment: grids of samples, curves, nearest neighbours, interpolations."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from theory.common.colours import ARM_COLOURS, ARM_LABELS
from theory.common.files import replacing

Images = np.ndarray  # [n, c, h, w], pixels from -1 to 1


def save(figure: Figure, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def tiled(rows: np.ndarray, gap: int = 1) -> np.ndarray:
    """One picture of many images, white between them, in 0..1.   [rows, columns, c, h, w] -> [H, W, c]"""
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
    """A figure of name -> [rows, columns, c, h, w]: side by side, or one below the other if they are wide."""
    wide = max(part.shape[1] / part.shape[0] for part in rows.values())
    below = wide > 2
    size = (8.0, (8.0 / wide + 0.4) * len(rows) + 0.4) if below else (3.2 * len(rows) * max(1.0, wide), 3.6)
    shape = (len(rows), 1) if below else (1, len(rows))
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="tight")
    for place, (name, part) in zip(axes.flat, rows.items(), strict=True):
        show(place, part, ARM_LABELS.get(name, name))
    figure.suptitle(title, fontsize=10)
    return figure


PANELS = {
    "frechet_distance": "Frechet distance to training digits\n(digits classifier)",
    "frechet_held_out": "Frechet distance to held-out digits\n(digits classifier)",
    "frechet_pixels": "Frechet distance to training images\n(coarse pixels)",
    "precision": "precision",
    "recall": "recall",
    "class_accuracy": "share in the requested class",
    "score_loss": "score term: mean of (eps_theta - eps)^2",
    "d_loss": "loss of D",
    "g_loss": "loss of G",
}


def curves(table: pd.DataFrame, real: dict[str, float], batch: int) -> Figure:
    """A figure of each metric over real images seen: thin lines seeds, thick their mean, dashed for real images."""
    shown = [metric for metric in PANELS if metric in set(table["metric"])]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, places = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.6 * rows + 0.4), squeeze=False)
    figure.set_layout_engine("none")
    for place in places.flat[len(shown) :]:
        place.axis("off")
    lines = {}
    for place, metric in zip(places.flat, shown, strict=False):
        for arm, part in table[table["metric"] == metric].groupby("arm", sort=False):
            wide = part.pivot_table(index="step", columns="seed", values="value")
            x, colour = wide.index * batch / 1000, ARM_COLOURS[str(arm)]
            place.plot(x, wide, color=colour, lw=0.6, alpha=0.5)
            (lines[ARM_LABELS[str(arm)]],) = place.plot(x, wide.mean(axis=1), color=colour, lw=2)
        if metric in real:
            lines["real digits"] = place.axhline(real[metric], color="black", ls="--", lw=1)
        if metric.startswith("frechet"):
            place.set_yscale("log")
            place.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
            place.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
            place.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        place.set_title(PANELS[metric], fontsize=9)
        place.tick_params(labelsize=8)
    for place in places[-1]:
        place.set_xlabel("thousand real images", fontsize=8)
    figure.legend(lines.values(), lines.keys(), loc="lower center", ncols=len(lines), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    return figure


PAIRS = 16


def neighbours(samples: dict[str, Images], train: Images, held_out: Images | None) -> Figure:
    """A figure of samples above their nearest training images, and of the distances, which are 0 for copies."""
    figure = plt.figure(figsize=(10.5, 1.2 * len(samples) + 0.9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))  # type: ignore[misc]
    last = right.subplots()
    for place, (arm, x) in zip(np.ravel(left.subplots(len(samples), 1)), samples.items(), strict=True):
        distances, which = nearest(x, train)
        show(place, np.stack([x[:PAIRS], train[which[:PAIRS]]]), f"{ARM_LABELS[arm]}: samples above, nearest below")
        last.plot(np.sort(distances), np.linspace(0, 1, len(distances)), color=ARM_COLOURS[arm], label=ARM_LABELS[arm])
    if held_out is not None:
        distances, _ = nearest(held_out, train)
        last.plot(np.sort(distances), np.linspace(0, 1, len(distances)), color="black", ls="--", label="held-out real")
    last.set_xlabel("distance to the nearest training image\n(root mean square a pixel, of a range of 2)", fontsize=8)
    last.set_ylabel("share of images nearer", fontsize=8)
    last.set_xlim(left=0)
    last.tick_params(labelsize=8)
    last.legend(fontsize=8, loc="lower right", frameon=False)
    return figure


def nearest(x: Images, train: Images) -> tuple[np.ndarray, np.ndarray]:
    """Root mean squared difference to the nearest training image, and its index.   [n], [n]"""
    from scipy.spatial import cKDTree

    distances, which = cKDTree(train.reshape(len(train), -1)).query(x.reshape(len(x), -1))
    return distances / x[0].size ** 0.5, np.asarray(which)
