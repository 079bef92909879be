"""The picture of a run: generated samples, gradients at a sample, metrics during training.

Top: real samples, the generator's first ones, and the last ones of each arm. Middle: minus both gradients at a sample
at step 0, and their norms during training; without a discriminator the score term's, and the likelihood. Bottom:
three metrics. Every number in it is read from the run's results.
No torch here, and no pyplot: the figure is an object of its own, no setting of the process changes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter
from PIL import Image
from scipy.spatial import cKDTree

from theory.common.colours import ARM_COLOURS, ARM_LABELS
from theory.common.parts import label
from theory.common.statistics import interval
from toy.config import field_of
from toy.pictures.colours import (
    NOTE_COLOUR,
    OFF_COLOUR,
    REAL_COLOUR,
    START_COLOUR,
    STRENGTHS,
    VISIBLE,
    strengths,
)

WIDTH, HEIGHT, DPI = 10.0, 12.05, 160  # inches; shown 1000 pixels wide, 9 points are 12 pixels
NOTE, TEXT, HEAD = 8.8, 9.8, 12.5  # points
LOWEST = 1e-12  # a smaller norm counts as this in the curves: 0 has no logarithm
KINDS = {"gan": "GAN", "vae": "VAE", "flow": "flow"}
LOSSES = {  # minus the gradient of the generator's loss at a sample
    "saturating": r"$-\nabla\,\log(1-D(x))$",
    "non-saturating": r"$\nabla\,\log D(x)$",
    "hinge": r"$\nabla\,D(x)$",
    "least-squares": r"$-\nabla\,(D(x)-1)^2/2$",
    "wasserstein": r"$\nabla\,D(x)$",
    "relativistic": r"$\nabla\,\log\,\mathrm{sigmoid}(D(x)-D(x_{real}))$",
}
OWN_LOSS = r"$-\nabla\,\mathrm{loss}(D(x))$"
TERMS = {  # minus the gradient of the score term
    "full": r"$-%s\nabla\,E\,\|%s(x_t)-\epsilon\|^2$",
    "detached": r"$-2\,E\,%s(%s(x_t)-\epsilon)/\mathrm{nsr}$",
    "matching": r"$-2\,E\,%s(%s(x_t)-\epsilon_G(x_t))/\mathrm{nsr}$",
}
RULES = {
    "fixed": r"before its weight, $\lambda$ = %s",
    "annealed": r"before its weight, $\lambda$ = %s to 0",
    "ratio": r"before its weight, a ratio of %s",
    "budget": r"before its weight, for a bias of %s",
}
CURVES = {
    "off_manifold": "off the manifold (less is better)",
    "coverage": "manifold covered (more is better)",
    "sliced_w2": "sliced $W_2$ to real samples (less is better)",
}
NORMS = {"adversarial_gradient": ("discriminator", "-"), "score_gradient": ("score (%s: not used)", "--")}
LIKELIHOOD = "negative_log_likelihood"


def draw(config: dict, metrics: pd.DataFrame, summary: dict, arrays: Mapping[str, np.ndarray]) -> Figure:
    """The figure of a run, from what it leaves in its directory.

    Args:
        config: config.json.
        metrics: metrics.csv: arm, seed, step, metric, value.
        summary: summary.json, as `theory.common.statistics.summary` makes it.
        arrays: samples.npz: real [n, d]; each arm's samples [seed, n, d]; start [n, d]; plane [2, d], orthonormal
            rows; origin [d]; field_points, field_score and, of a GAN, field_adversarial [m, 2], in the plane's
            coordinates, the points a regular grid.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)
    figure.set_layout_engine("none")
    _title(figure, config, summary, arrays["real"].shape[1])
    _samples(figure, config, summary, arrays)
    if _is_gan(config):
        _fields(figure, config, arrays)
    else:
        _field_and_likelihood(figure, config, metrics, arrays)
    _norms(figure, config, metrics)
    _curves(figure, config, metrics)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG of 256 colours, a third of the usual size: the same bytes for the same figure.

    The colours that mean something are kept; median cut chooses the others.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())  # [height, width, 4]
    kept = 255 * np.array([to_rgb(c) for c in ("white", REAL_COLOUR, OFF_COLOUR, START_COLOUR, *ARM_COLOURS.values())])
    cut = Image.fromarray(pixels).convert("RGB").quantize(256 - len(kept), Image.Quantize.MEDIANCUT).getpalette() or []
    palette = np.concatenate([kept.round().astype(int), np.reshape(cut, (-1, 3))])
    codes, at = np.unique(pixels.view(np.uint32), return_inverse=True)  # the four bytes of a pixel as one number
    nearest = cKDTree(palette).query(codes.view(np.uint8).reshape(-1, 4)[:, :3])[1]
    image = Image.fromarray(np.asarray(nearest, np.uint8)[at].reshape(pixels.shape[:2]))
    image.putpalette(palette.ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def percent(value: dict) -> str:
    """{mean, low, high} as '64 % [53, 90]'; without the interval where there is none."""
    mean, low, high = (None if value[key] is None else _digits(100 * value[key]) for key in ("mean", "low", "high"))
    return f"{mean} %" if low is None else f"{mean} % [{low}, {high}]"


def off_manifold(
    samples: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"], share: float
) -> Bool[np.ndarray, " n"]:
    """Which samples to draw as off the manifold: that share of them (as measured), those farthest from a real sample.

    How many is exact; which ones differs, near the tolerance, by the spacing of the real samples.
    """
    distance = cKDTree(real).query(samples)[0]
    off = np.zeros(len(samples), dtype=bool)
    off[np.argsort(-distance, kind="stable")[: round(share * len(samples))]] = True
    return off


def _is_gan(config: dict) -> bool:
    """Whether there is a discriminator: also for a generator of the user's."""
    return config["generator"] not in ("vae", "flow")


def _label(config: dict, arm: str) -> str:
    return ARM_LABELS[arm].replace("GAN", KINDS["gan" if _is_gan(config) else config["generator"]])


def _short(config: dict, arm: str) -> str:
    return KINDS["gan" if _is_gan(config) else config["generator"]] if arm == "gan" else arm


def _title(figure: Figure, config: dict, summary: dict, dim: int) -> None:
    missed = [f"{_short(config, arm)} {percent(summary['arms'][arm]['off_manifold'])}" for arm in config["arms"]]
    head = f"After {config['steps']} steps, the share of generated samples off the manifold of the real ones:"
    _say(figure, WIDTH / 2, 0.2, head, HEAD, "center", weight="bold")
    size = HEAD - 2 if len(missed) < 4 else NOTE
    lines = [missed] if len(missed) < 5 else [missed[:3], missed[3:]]
    for number, line in enumerate(lines):
        top = 0.46 + 0.14 * (number - (len(lines) - 1) / 2)
        _say(figure, WIDTH / 2, top, ",  ".join(line), size, "center", weight="bold")
    distribution = label(config["manifold"]).replace("$", r"\$") + f" in $\\mathbb{{R}}^{{{dim}}}$"
    distribution += f", thickened by {config['thickness']:g}" if config["thickness"] else ""
    distribution += ", class-conditional" if config["conditional"] else ""
    over = f"{config['seeds']} seeds; in brackets: 95 % intervals over seeds" if config["seeds"] > 1 else "one seed"
    _say(
        figure,
        WIDTH / 2,
        0.7,
        f"{distribution}; {over}; off: farther from it than the tolerance",
        TEXT,
        "center",
        color=NOTE_COLOUR,
    )


def _samples(figure: Figure, config: dict, summary: dict, arrays: Mapping[str, np.ndarray]) -> None:
    dim = arrays["real"].shape[1]
    shadow = f" Projected from $\\mathbb{{R}}^{{{dim}}}$ to a plane." if dim > 2 else ""
    _section(
        figure, 1.1, "Generated samples", f"Coloured: on the manifold. Black: off it. Grey: real. First seed.{shadow}"
    )
    real, start = (_in_plane(arrays[name], arrays) for name in ("real", "start"))
    made = {arm: _in_plane(arrays[arm][0], arrays) for arm in config["arms"]}
    corner, side = _view([real, *made.values()])
    gap, count = 0.15, 1 + len(made)
    size = min(2.25, (WIDTH - 0.6 + gap) / count - gap)
    left = (WIDTH - count * size - (count - 1) * gap) / 2
    panels = [_axes(figure, left + i * (size + gap), 1.55, size, size) for i in range(count)]

    _map(panels[0], *_view([real, start, np.array([corner, corner + side])]), "before training", "black")
    panels[0].plot(*real.T, ".", color=REAL_COLOUR, ms=3, mew=0)
    panels[0].plot(*start.T, ".", color=START_COLOUR, ms=4, mew=0)
    panels[0].add_patch(Rectangle((corner[0], corner[1]), side, side, fill=False, ls=":", lw=1, ec=NOTE_COLOUR))
    _dots(panels[0], {"real samples": REAL_COLOUR, "generator's start": START_COLOUR})
    _below(panels[0], "dotted: the next view")

    for panel, (arm, points) in zip(panels[1:], made.items(), strict=True):
        results = summary["arms"][arm]
        off = off_manifold(arrays[arm][0], arrays["real"], results["off_manifold"]["per_seed"][0])
        _map(panel, corner, side, _short(config, arm), ARM_COLOURS[arm])
        panel.plot(*real.T, ".", color=REAL_COLOUR, ms=5, mew=0)
        panel.plot(*points[off].T, ".", color=OFF_COLOUR, ms=2, mew=0)
        panel.plot(*points[~off].T, ".", color=ARM_COLOURS[arm], ms=3, mew=0)
        caption = f"off it: {percent(results['off_manifold'])}\ncovered: {percent(results['coverage'])}"
        _below(panel, caption if count < 6 else caption.replace(" [", "\n["))
        unseen = len(points) - int(((points >= corner) & (points <= corner + side)).all(1).sum())
        if unseen:
            panel.text(
                0.98, 0.02, f"{unseen} not in view", size=NOTE, ha="right", va="bottom", transform=panel.transAxes
            )


def _fields(figure: Figure, config: dict, arrays: Mapping[str, np.ndarray]) -> None:
    fields = {"discriminator": arrays["field_adversarial"], "score term": arrays["field_score"]}
    colours = strengths(np.concatenate(list(fields.values())))
    _gradients(figure, arrays)
    leads = "Downhill, the discriminator's gradient leads to what it takes for real, the score term's to real samples"
    leads += " of the first class." if config["conditional"] else "."
    _say(figure, 0.3, 4.87, leads, TEXT, "left", color=NOTE_COLOUR)
    trained = f"trained {config['d_ahead']} steps ahead" if config["d_ahead"] else "not yet trained"
    trained = trained if config["game"] else "is never trained: there is no game"
    says = {
        "discriminator": f"{LOSSES.get(config['loss'], OWN_LOSS)}\nat step 0; $D$ {trained}",
        "score term": _score_term(config),
    }
    for i, (name, field) in enumerate(fields.items()):
        panel = _axes(figure, 0.3 + 2.8 * i, 5.3, 2.65, 2.65)
        _field(panel, field, arrays, colours)
        panel.set_title(f"gradient of the {name}", size=TEXT, weight="bold", pad=4)
        _below(panel, says[name])
    _bar(figure, 5.85, colours)


def _field_and_likelihood(
    figure: Figure, config: dict, metrics: pd.DataFrame, arrays: Mapping[str, np.ndarray]
) -> None:
    """Without a discriminator: the score term's gradient, and the likelihood in the place of the other."""
    colours = strengths(arrays["field_score"])
    _gradients(figure, arrays)
    leads = "Downhill, the score term's gradient leads to real samples; a likelihood has none at a generated sample."
    _say(figure, 0.3, 4.87, leads, TEXT, "left", color=NOTE_COLOUR)
    panel = _axes(figure, 0.3, 5.3, 2.65, 2.65)
    _field(panel, arrays["field_score"], arrays, colours)
    panel.set_title("gradient of the score term", size=TEXT, weight="bold", pad=4)
    _below(panel, _score_term(config))
    _bar(figure, 3.05, colours)
    reached = _axes(figure, 4.25, 5.3, 2.2, 2.65)
    _curve(reached, config["arms"], metrics, LIKELIHOOD)
    what = "negative log likelihood" if config["generator"] == "flow" else "negative ELBO"
    reached.set_title(what, size=TEXT, weight="bold", pad=4)
    reached.set_xlabel("step\n(of fresh real samples, nats;\nmean over seeds)", size=NOTE)


def _gradients(figure: Figure, arrays: Mapping[str, np.ndarray]) -> None:
    note = f"Arrow: downhill. Colour: norm. Dot: below $10^{{{np.log10(VISIBLE):.0f}}}$ of the largest."
    note += " Purple: the start." if arrays["real"].shape[1] == 2 else " In the same plane."
    _section(figure, 4.6, "Gradients at a sample", note)


def _score_term(config: dict) -> str:
    """The formula of what is drawn, and its weight in the loss."""
    weighting = r"\mathrm{nsr}^2\," if config["weighting"] == "x0" else ""
    model = r"\epsilon^*" if config["score"] == "analytic" else r"\epsilon_\theta"
    formula = TERMS[config["term"]] % (weighting, model)
    weights = dict.fromkeys(config[field_of(arm)]["weight"] for arm in config["arms"])
    used = " or ".join(f"{weight:.2g}" for weight in weights if weight)
    return formula + (f"\n{RULES[config['weight_rule']] % used}" if used else "")


def _bar(figure: Figure, left: float, colours: LogNorm) -> None:
    bar = _axes(figure, left, 5.3, 0.14, 2.65)
    figure.colorbar(ScalarMappable(colours, STRENGTHS), cax=bar, extend="min")
    bar.yaxis.set_major_locator(LogLocator(numticks=8))
    bar.tick_params(labelsize=NOTE)
    bar.set_title("norm", size=NOTE, pad=8, loc="left")


def _field(panel: Axes, field: Float[np.ndarray, "m 2"], arrays: Mapping[str, np.ndarray], colours: LogNorm) -> None:
    points, norm = arrays["field_points"], np.linalg.norm(field, axis=1)
    x, y = (np.unique(points[:, i].round(6)) for i in (0, 1))
    image = np.maximum(norm, colours.vmin or 0)[np.lexsort(points.round(6).T)].reshape(len(y), len(x))
    panel.pcolormesh(x, y, image, norm=colours, cmap=STRENGTHS)
    panel.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xticks=[], yticks=[], aspect="equal")
    panel.plot(*_in_plane(arrays["real"], arrays).T, ".", color="#808080", ms=2.5, mew=0)
    if arrays["real"].shape[1] == 2:  # else the start is not in the plane
        panel.plot(*_in_plane(arrays["start"], arrays).T, ".", color=START_COLOUR, ms=4, mew=0)
    visible = norm > VISIBLE * (colours.vmax or 1)
    panel.quiver(
        *points[visible].T,
        *(field[visible] / norm[visible, None]).T,
        pivot="mid",
        angles="xy",
        scale=len(x) * 1.25,
        width=0.005,
    )
    panel.plot(*points[~visible].T, ".", color=OFF_COLOUR, ms=2.5, mew=0)


def _norms(figure: Figure, config: dict, metrics: pd.DataFrame) -> None:
    panel = _axes(figure, 7.15, 5.3, 2.65, 2.65)
    drawn = NORMS if _is_gan(config) else {"score_gradient": NORMS["score_gradient"]}
    for metric, (_, line) in drawn.items():
        _curve(panel, config["arms"], metrics, metric, line, logarithmic=True)
    panel.set_yscale("log")
    panel.set_title("during training", size=TEXT, weight="bold", pad=4)
    panel.set_xlabel("step\n(norm at the median generated sample,\ngeometric mean over seeds)", size=NOTE)
    _lines(panel, {text.replace("%s", _label(config, "gan")): line for text, line in drawn.values()})


def _curves(figure: Figure, config: dict, metrics: pd.DataFrame) -> None:
    over = "Line: mean over seeds. Band: 95 % bootstrap interval of it." if config["seeds"] > 1 else "One seed."
    _section(figure, 8.8, "Training", over)
    for i, (metric, title) in enumerate(CURVES.items()):
        panel = _axes(figure, 0.6 + 3.2 * i, 9.25, 2.7, 2.0)
        _curve(panel, config["arms"], metrics, metric)
        panel.set_ylim(0, None if metric == "sliced_w2" else 1.02)
        panel.set_title(title, size=TEXT, pad=4)
        panel.set_xlabel("step", size=NOTE)
        if metric != "sliced_w2":
            panel.yaxis.set_major_formatter(PercentFormatter(1, 0))
    keys = [Line2D([], [], color=ARM_COLOURS[arm], lw=2.5, label=_label(config, arm)) for arm in config["arms"]]
    columns, size = (len(keys), TEXT) if len(keys) < 5 else (3, NOTE)
    style = {"frameon": False, "borderaxespad": 0.1, "labelspacing": 0.2}
    figure.legend(handles=keys, loc="lower center", ncols=columns, fontsize=size, **style)


def _curve(
    panel: Axes, arms: Sequence[str], metrics: pd.DataFrame, metric: str, line: str = "-", logarithmic: bool = False
) -> None:
    for arm in arms:
        rows = metrics[(metrics["arm"] == arm) & (metrics["metric"] == metric)]
        values = rows.pivot(index="step", columns="seed", values="value")
        x = values.to_numpy(np.float64)  # [step, seed]
        middle = interval(np.log10(np.maximum(x, LOWEST)) if logarithmic else x)
        mean, low, high = (10**y if logarithmic else y for y in middle)
        panel.plot(values.index, mean, line, color=ARM_COLOURS[arm], lw=1.6, clip_on=False)
        panel.fill_between(values.index, low, high, color=ARM_COLOURS[arm], alpha=0.18, lw=0)
    panel.margins(x=0)
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panel.tick_params(labelsize=NOTE)
    panel.spines[["top", "right"]].set_visible(False)


def _in_plane(x: Float[np.ndarray, "n d"], arrays: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n 2"]:
    return (x - arrays["origin"]) @ arrays["plane"].T


def _view(clouds: Sequence[Float[np.ndarray, "n 2"]]) -> tuple[Float[np.ndarray, " 2"], float]:
    """(corner, side) of a square that holds all but the outermost 1 % of each cloud."""
    ends = np.array([np.quantile(cloud, [0.005, 0.995], axis=0) for cloud in clouds])  # [cloud, 2, 2]
    low, high = ends[:, 0].min(0), ends[:, 1].max(0)
    side = 1.15 * float((high - low).max()) or 1.0
    return (low + high - side) / 2, side


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the figure's upper left corner."""
    return figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))


def _say(figure: Figure, left: float, top: float, text: str, size: float, ha: str, **style: Any) -> None:
    figure.text(left / WIDTH, 1 - top / HEIGHT, text, size=size, ha=ha, va="center", **style)


def _section(figure: Figure, top: float, title: str, note: str) -> None:
    _say(figure, 0.3, top, title, HEAD - 1, "left", weight="bold")
    _say(figure, 2.6, top, note, TEXT, "left", color=NOTE_COLOUR)


def _map(panel: Axes, corner: Float[np.ndarray, " 2"], side: float, title: str, colour: str) -> None:
    panel.set(xlim=(corner[0], corner[0] + side), ylim=(corner[1], corner[1] + side), xticks=[], yticks=[])
    panel.set_title(title, size=TEXT, weight="bold", color=colour, pad=4)


def _below(panel: Axes, text: str) -> None:
    panel.text(0.5, -0.03, text, size=TEXT, ha="center", va="top", linespacing=1.4, transform=panel.transAxes)


def _dots(panel: Axes, keys: dict[str, str]) -> None:
    handles = [Line2D([], [], ls="", marker="o", ms=4, color=colour, label=label) for label, colour in keys.items()]
    panel.legend(handles=handles, fontsize=NOTE, loc="best", handletextpad=0.1, borderpad=0.3)


def _lines(panel: Axes, keys: dict[str, str]) -> None:
    handles = [Line2D([], [], color="black", ls=line, label=label) for label, line in keys.items()]
    panel.legend(handles=handles, fontsize=NOTE, loc="best", borderpad=0.3)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"
