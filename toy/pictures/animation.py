"""A film of training: samples and discriminator's gradient of each arm, beside the score term's gradient.

Above: samples (grey: real ones); below: minus the discriminator's gradient now. Right: minus the score term's, which
training does not change where the score is exact. The real distribution fills the panels; what part of the samples lies
outside is said. No torch here, as in `run_figure`; `toy.jobs.film` trains.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from theory.common import files
from theory.common.colours import ARM_COLOURS, ARM_LABELS
from toy.pictures.colours import NOTE_COLOUR, OFF_COLOUR, REAL_COLOUR, STRENGTHS, VISIBLE, strengths
from toy.pictures.run_figure import off_manifold

RATE, HOLD = 8, 16  # frames a second; frames that the last one stays
SIDE, GAP, TOP, DPI = 2.6, 0.12, 0.75, 72  # inches: of a picture, between them, above them
COLOURS = 128  # of a .gif


class Film(NamedTuple):
    """What is drawn, in the plane of the distribution. `shares` are the measured off-manifold shares of all samples."""

    steps: Int[np.ndarray, " frame"]
    samples: Mapping[str, Float[np.ndarray, "frame n 2"]]  # by arm
    shares: Mapping[str, Float[np.ndarray, " frame"]]
    real: Float[np.ndarray, "m 2"]
    points: Float[np.ndarray, "p 2"]  # a regular grid, over which
    adversarial: Mapping[str, Float[np.ndarray, "frame p 2"]]  # minus the discriminator's gradient, by arm
    score: Float[np.ndarray, "p 2"]  # minus the score term's


def check_path(path: Path) -> None:
    """Raises:
    ValueError: no file that can be written, .gif, or .mp4 where ffmpeg is found.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"the film must be a .gif or .mp4; given {path}")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(f"an .mp4 needs ffmpeg, which is not installed: write a .gif in the place of {path}")
    if not path.parent.is_dir():
        raise ValueError(f"the film's directory does not exist: {path.parent}")


def animate(film: Film, path: Path) -> None:
    """Writes the film to a .gif or .mp4, whole or not at all.

    Raises:
        ValueError: as `check_path`. OSError: it cannot be written.
    """
    check_path(path)
    figure, update = _draw(film)
    frames = [*range(len(film.steps)), *[len(film.steps) - 1] * HOLD]
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / path.name
        writer = FFMpegWriter(fps=RATE) if path.suffix == ".mp4" else Gif(fps=RATE)
        with writer.saving(figure, str(made), DPI):
            for frame in frames:
                update(frame)
                writer.grab_frame()
        files.write(path, made.read_bytes())


class Gif(PillowWriter):
    """Pillow's frames in one palette, so that the arms' colours are the same in all."""

    _frames: list[Image.Image]

    def finish(self) -> None:
        palette = palette_of(self._frames[len(self._frames) // 4])
        frames = [f.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for f in self._frames]
        duration = round(1000 / self.fps)  # optimize: what a frame shares with the one before is not stored again
        frames[0].save(self.outfile, save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=True)


def palette_of(frame: Image.Image) -> Image.Image:
    """An image of one pixel with the palette: the colours that mean something, and the frame's others by median cut."""
    kept = [*("white", "black", REAL_COLOUR, NOTE_COLOUR, *ARM_COLOURS.values()), *STRENGTHS(np.linspace(0, 1, 48))]
    cut = frame.convert("RGB").quantize(COLOURS - len(kept), Image.Quantize.MEDIANCUT).getpalette() or []
    image = Image.new("P", (1, 1))
    image.putpalette([round(255 * part) for colour in kept for part in to_rgb(colour)] + cut)
    return image


def _draw(film: Film) -> tuple[Figure, Callable[[int], None]]:
    """The figure, and what makes it show a frame."""
    arms = list(film.samples)
    width, height = (len(arms) + 1) * (SIDE + GAP) + 0.75, TOP + 2 * SIDE + 0.7
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)

    def place(column: float, row: float, wide: float = SIDE) -> Axes:
        low = height - TOP - SIDE - row * (SIDE + 0.55)
        return figure.add_axes(((GAP + column * (SIDE + GAP)) / width, low / height, wide / width, SIDE / height))

    head = figure.text(0.5, 1 - 0.2 / height, "", ha="center", va="center", size=14, weight="bold")
    colours = strengths(np.concatenate([film.score, *(part for field in film.adversarial.values() for part in field)]))
    parts = [_samples(place(column, 0), film, arm) for column, arm in enumerate(arms)]
    for column, arm in enumerate(arms):
        title = "discriminator's gradient"
        parts.append(_gradient(place(column, 1), film, film.adversarial[arm], colours, title))
    fixed = _gradient(place(len(arms), 0.5), film, film.score[None], colours, "score term's gradient")
    bar = place(len(arms) + 1, 0.5, 0.12)
    figure.colorbar(ScalarMappable(colours, STRENGTHS), cax=bar, extend="min")
    bar.yaxis.set_major_locator(LogLocator(numticks=6))
    bar.tick_params(labelsize=8)
    fixed(0)

    def update(frame: int) -> None:
        head.set_text(f"step {film.steps[frame]} of {film.steps[-1]}")
        for part in parts:
            part(frame)

    return figure, update


def _panel(panel: Axes, film: Film, title: str, colour: str) -> None:
    (left, low), (right, high) = film.points.min(0), film.points.max(0)
    panel.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[], aspect="equal")
    panel.set_title(title, size=10, weight="bold", color=colour, pad=4)


def _samples(panel: Axes, film: Film, arm: str) -> Callable[[int], None]:
    """An arm's samples: coloured on the manifold, black off it."""
    _panel(panel, film, ARM_LABELS[arm], ARM_COLOURS[arm])
    panel.plot(*film.real.T, ".", color=REAL_COLOUR, ms=4, mew=0)
    on, off = (panel.plot([], [], ".", color=c, ms=4, mew=0)[0] for c in (ARM_COLOURS[arm], OFF_COLOUR))
    low, high = film.points.min(0), film.points.max(0)
    middle, reach = (low + high) / 2, (high - low) / 2
    note = panel.text(0.5, -0.03, "", size=10, ha="center", va="top", color=NOTE_COLOUR, transform=panel.transAxes)

    def update(frame: int) -> None:
        x, share = film.samples[arm][frame], float(film.shares[arm][frame])
        black = off_manifold(x, film.real, share)
        on.set_data(*x[~black].T)
        off.set_data(*x[black].T)
        outside = float((np.abs(x - middle) > reach).any(1).mean())
        hidden = f", {100 * outside:.0f} % outside" if outside >= 0.005 else ""
        note.set_text(f"off the manifold: {100 * share:.0f} %{hidden}")

    return update


def _gradient(
    panel: Axes, film: Film, field: Float[np.ndarray, "frame p 2"], colours: LogNorm, title: str
) -> Callable[[int], None]:
    """A field: colour is the norm, an arrow at every other point of an axis the direction, where the norm is not below
    VISIBLE of the largest."""
    _panel(panel, film, title, "black")
    x, y = (np.unique(film.points[:, i].round(6)) for i in (0, 1))
    order = np.lexsort(film.points.round(6).T)
    mesh = panel.pcolormesh(x, y, np.ones((len(y), len(x))), norm=colours, cmap=STRENGTHS)
    panel.plot(*film.real.T, ".", color="#808080", ms=2, mew=0)
    placed = film.points.round(6)
    some = np.isin(placed[:, 0], x[::2]) & np.isin(placed[:, 1], y[::2])
    unit = np.ones(some.sum())
    arrows = panel.quiver(
        *film.points[some].T, unit, unit, pivot="mid", angles="xy", scale=len(x) * 0.75, width=0.008, headwidth=4
    )

    def update(frame: int) -> None:
        norm = np.linalg.norm(field[frame], axis=1)
        mesh.set_array(np.maximum(norm, colours.vmin or 0)[order].reshape(len(y), len(x)))
        weak = norm <= VISIBLE * (colours.vmax or 1)
        direction = field[frame] / np.where(weak, 1, norm)[:, None]
        arrows.set_UVC(*np.ma.masked_array(direction, np.stack([weak, weak], 1))[some].T)

    return update
