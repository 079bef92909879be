"""How every figure looks and is saved: one style sheet, one colour for an arm, checked to be legible in one column.

A figure NAME leaves, in OUT: NAME.png, NAME.pdf, NAME.txt (its caption: one sentence that says what is seen, then where
the numbers are from) and NAME.csv (the numbers that are drawn, tidy). The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from theory.common import files
from theory.common.errors import UsageError
from toy.pictures.run_figure import ARM_COLOURS as OF_A_RUN

HERE = Path(__file__).parent
OUT = Path(os.environ.get("FIGURES_OUT", HERE.parent / "drawn"))  # where `save` writes; the runner may change it

COLUMN = 3.35  # inches: the width of every figure, one column of a paper
SMALLEST = 6.0  # points: no text of a figure is smaller

# Okabe and Ito, "Color universal design", 2008; an arm has the same colour in every figure
ARM_COLOURS: Mapping[str, str] = {**OF_A_RUN, "decoupled": OF_A_RUN["smart-decoupled"], "recipe": "#CC79A7"}
ADVERSARIAL, SCORE, DETACHED = "#D55E00", "#0072B2", "#009E73"
REAL, NOTE = "#8C8C8C", "#444444"


def use() -> None:
    """Switches matplotlib to the style.

    Raises:
        UsageError: a font of the style is not installed.
    """
    plt.style.use("default")
    plt.style.use(HERE / "smart.mplstyle")
    for family in matplotlib.rcParams["font.family"]:
        try:
            font_manager.findfont(family, fallback_to_default=False)
        except ValueError:
            raise UsageError(f"the figures need the font {family!r}, which is not installed") from None


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, list[plt.Axes]]:
    """A figure one column wide and `height` inches high, and its axes row by row."""
    figure, axes = plt.subplots(rows, columns, figsize=(COLUMN, height), squeeze=False, **options)  # type: ignore[call-overload]
    return figure, list(axes.flat)


def save(figure: Figure, name: str, caption: str, data: pd.DataFrame, sources: Sequence[str]) -> None:
    """Writes the four files of a figure.

    Args:
        figure: COLUMN inches wide.
        name: that of the script, less .py.
        caption: one sentence that says what is seen.
        data: the numbers that are drawn, tidy: a row a number.
        sources: where they are from: a results file, or the command that computes them.

    Raises:
        ValueError: the figure is not legible in one column, or the caption is not one sentence.
    """
    caption = " ".join(caption.split())
    if not caption.endswith(".") or ". " in caption:
        raise ValueError(f"the caption of {name} must be one sentence; given: {caption}")
    legible(figure, name)
    OUT.mkdir(parents=True, exist_ok=True)
    files.write(OUT / f"{name}.png", rendered(figure, "png"))
    files.write(OUT / f"{name}.pdf", rendered(figure, "pdf"))
    files.write(OUT / f"{name}.csv", data.to_csv(index=False, float_format="%.5g", lineterminator="\n").encode())
    files.write(OUT / f"{name}.txt", f"{caption}\nFrom {'; '.join(sources)}.\n".encode())


def rendered(figure: Figure, kind: str) -> bytes:
    """The file's bytes, which hold no date and no version."""
    nothing = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}[kind]
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata=dict.fromkeys(nothing))
    return file.getvalue()


def legible(figure: Figure, name: str) -> None:
    """Checks width, size of text, and that nothing leaves the page.

    Raises:
        ValueError: names what is not.
    """
    width, height = figure.get_size_inches()
    if abs(width - COLUMN) > 1e-6:
        raise ValueError(f"{name} must be {COLUMN} inches wide; it is {width:.2f}")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # the layout is made when it is drawn
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text().strip() and float(text.get_fontsize()) < SMALLEST:
            raise ValueError(
                f"{name} has text of {text.get_fontsize():g} points, below {SMALLEST:g}: {text.get_text()!r}"
            )
    drawn, slack = figure.get_tightbbox(canvas.get_renderer()), 0.01
    if min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) < -slack:
        raise ValueError(
            f"{name} leaves its page of {width:.2f} x {height:.2f} inches: it is drawn from "
            f"({drawn.x0:.2f}, {drawn.y0:.2f}) to ({drawn.x1:.2f}, {drawn.y1:.2f})"
        )
