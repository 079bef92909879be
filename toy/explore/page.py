"""The page of `toy.explore`: sliders, three pictures and the numbers at the point, by a Bokeh server."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    FixedTicker,
    LogColorMapper,
    PointDrawTool,
)
from bokeh.models.annotations import ColorBar
from bokeh.models.widgets import Div, Slider
from bokeh.plotting import figure
from bokeh.server.server import Server
from matplotlib.colors import LinearSegmentedColormap, to_hex
from torch import Tensor

from theory.common.colours import ARM_COLOURS
from theory.manifolds import Law
from toy.explore.gradients import (
    Lattice,
    Loss,
    Rest,
    adversarial,
    cells_of,
    densities,
    exact_loss,
    is_off,
    rest_point,
    square_around,
)
from toy.pictures.colours import START_COLOUR, STRENGTHS

LEVELS, LOWEST_NSR, HIGHEST_NSR = 27, 0.05, 1.0  # the positions of the slider, evenly in log nsr
WEIGHTS, LOWEST_LAM, HIGHEST_LAM = 41, 1e-3, 10.0
START_LEVEL, START_WEIGHT = 9, 20  # nsr 0.14, lambda 0.1
ARROWS, PIXELS = 15, 49  # an axis, odd: a centre is among them
VISIBLE = 1e-6  # a smaller gradient is a dot
STRONG = 1e3  # the colours' upper end; six decades down to white
PAUSE = 15  # milliseconds that a change waits for those behind it: a drag sends many
STRENGTH_PALETTE = [to_hex(STRENGTHS(i / 255)) for i in range(256)]
RATIOS = LinearSegmentedColormap.from_list("ratios", [ARM_COLOURS["summed"], "#C8C8C8", ARM_COLOURS["gan"]])
RATIO_PALETTE = [to_hex(RATIOS(i / 255)) for i in range(256)]


def nsr_at(level: int) -> float:
    """The noise-to-signal ratio at a position of the slider."""
    return LOWEST_NSR * (HIGHEST_NSR / LOWEST_NSR) ** (level / (LEVELS - 1))


def lam_at(position: int) -> float:
    """lambda at a position of the slider."""
    return LOWEST_LAM * (HIGHEST_LAM / LOWEST_LAM) ** (position / (WEIGHTS - 1))


class Level(NamedTuple):
    """What is drawn of a noise level, at any point."""

    lattice: Lattice
    arrows: Tensor  # -grad ell [ARROWS^2, 2]
    norms: Tensor  # |grad ell| [PIXELS^2]
    ell: Tensor  # at the law's cells [n]
    lowest: Tensor  # the lowest ell off the law [1], or [0] if nothing is off it
    place: Tensor  # and where [1, 2]


class Scene:
    """A law in its square, and its noise levels: computed once, in a thread, the wanted one first."""

    def __init__(self, law: Law, name: str):
        self.law, self.name, self.square, self.cells = law, name, square_around(law), cells_of(law)
        self.spread = self.square.side / 12
        self.grid, self.pixels = self.square.grid(ARROWS), self.square.grid(PIXELS)
        self.off = self.pixels[is_off(law, self.pixels)]
        self.levels: dict[int, Level] = {}
        self.wanted = START_LEVEL
        self.listeners: set[Callable[[], None]] = set()

    def prepare(self) -> None:
        """Computes all levels in a thread, which ends early when the program does."""
        threading.Thread(target=self._prepare).start()

    def _prepare(self) -> None:
        while threading.main_thread().is_alive() and (missing := set(range(LEVELS)) - set(self.levels)):
            level = min(missing, key=lambda k: abs(k - self.wanted))
            self.levels[level] = self._compute(nsr_at(level))
            for listener in tuple(self.listeners):
                listener()

    def _compute(self, nsr: float) -> Level:
        lattice = Lattice(self.law, nsr, self.square)
        norms = torch.linalg.vector_norm(lattice.loss(self.pixels).gradient, dim=-1)
        off = lattice.loss(self.off).value
        at = off.argsort()[:1]
        arrows = -lattice.loss(self.grid).gradient
        return Level(lattice, arrows, norms, lattice.loss(self.cells.places).value, off[at], self.off[at])


def serve(law: Law, name: str, port: int) -> Server:
    """A server on 127.0.0.1 that answers with the page at /; not started. Port 0 is any free one.

    Raises:
        OSError: the port is taken or not allowed.
    """
    scene = Scene(law, name)
    pages = {"/": Application(FunctionHandler(lambda document: Page(scene).open(document)))}
    server = Server(pages, port=port, address="127.0.0.1", allow_websocket_origin=["127.0.0.1", "localhost"])
    torch.set_num_threads(1)  # the levels and the page are two threads already
    scene.prepare()
    return server


class Page:
    """One visitor's page. Its state is that of the sliders."""

    def __init__(self, scene: Scene):
        self.scene, square = scene, scene.square
        right, high = square.left + square.side, square.low + square.side
        far: dict[str, Any] = {"step": 0.01, "format": "0.00", "sizing_mode": "stretch_width"}
        x, y = square.left + 0.81 * square.side, square.low + 0.7 * square.side
        self.x1 = Slider(name="x1", title="x\u2081", start=square.left, end=right, value=round(x, 2), **far)
        self.x2 = Slider(name="x2", title="x\u2082", start=square.low, end=high, value=round(y, 2), **far)
        self.nsr = position("nsr", "noise-to-signal ratio (nsr)", START_LEVEL, LEVELS, LOWEST_NSR, HIGHEST_NSR)
        self.lam = position("lam", "weight \u03bb", START_WEIGHT, WEIGHTS, LOWEST_LAM, HIGHEST_LAM)
        self.readout = Div(name="readout", sizing_mode="stretch_width", stylesheets=[TABLE])
        self.point = ColumnDataSource({"x": [self.x1.value], "y": [self.x2.value]})
        self.line, self.circle = ColumnDataSource({"x": [], "y": []}), ColumnDataSource({"x": [], "y": []})
        self.fields = {name: Field(scene) for name in ("adversarial", "score")}
        places, self.rest = scene.cells.places.numpy(), ColumnDataSource({"x": [], "y": [], "size": []})
        self.real = ColumnDataSource({"x": places[:, 0], "y": places[:, 1], "ratio": np.zeros(len(places))})
        self.exact = ThreadPoolExecutor(1)
        self.busy = self.pending = False
        self.shown: tuple[float, ...] = ()

    def open(self, document: Document) -> None:
        """Puts the page into a visitor's document and keeps it up to date until the session ends."""
        self.document = document
        for slider in (self.x1, self.x2, self.nsr, self.lam):
            slider.on_change("value", lambda attr, old, new: self.soon())
        follow = CustomJS(
            args={"point": self.point, "x1": self.x1, "x2": self.x2}, code="point.data = {x: [x1.value], y: [x2.value]}"
        )
        for slider in (self.x1, self.x2):
            slider.js_on_change("value", follow)
        for root in (self.x1, self.x2, self.nsr, self.lam, self.readout, *self.pictures()):
            document.add_root(root)
        heading = f"Gradients at a generated sample: {self.scene.name}"
        document.title = f"{self.scene.name}: the score matching regularity"
        document.template = get_env().from_string((Path(__file__).parent / "page.html").read_text())
        document.template_variables["heading"] = heading
        self.update()

        def ready() -> None:  # called from another thread
            document.add_next_tick_callback(self.update)

        self.scene.listeners.add(ready)
        document.on_session_destroyed(lambda _: self.scene.listeners.discard(ready))

    def pictures(self) -> list[Any]:
        """The three pictures, in each of which x can be dragged."""
        norms = LogColorMapper(palette=STRENGTH_PALETTE, low=STRONG * 1e-6, high=STRONG)
        ratios = LogColorMapper(palette=RATIO_PALETTE, low=0.1, high=10)
        panels = [self.panel(name) for name in ("adversarial", "score", "rest")]
        for panel, (name, field) in zip(panels, self.fields.items(), strict=False):
            field.draw(panel, norms)
            panel.scatter("x", "y", source=self.real, size=2.5, color="#808080", line_color=None)
            if name == "adversarial":
                panel.line("x", "y", source=self.circle, color=START_COLOUR, line_dash="dashed", line_width=2)
            else:
                panel.line("x", "y", source=self.line, color="black", line_width=2)
            panel.add_layout(bar(norms, "norm"), "below")
        ratio = panels[2]
        style: dict[str, Any] = {"line_color": "#707070", "line_width": 0.3}
        ratio.scatter("x", "y", source=self.real, size=7, fill_color={"field": "ratio", "transform": ratios}, **style)
        ratio.scatter("x", "y", source=self.rest, size="size", marker="diamond", color="black")
        ratio.add_layout(bar(ratios, "q/p", [0.1, 0.3, 1, 3, 10]), "below")
        for panel in panels:
            panel.scatter("x", "y", source=self.point, size=15, color=START_COLOUR, line_color="black", line_width=1.5)
        return panels

    def panel(self, name: str) -> Any:
        """An empty picture of the square, in which drags and taps move x."""
        square = self.scene.square
        ends: dict[str, Any] = {
            "x_range": (square.left, square.left + square.side),
            "y_range": (square.low, square.low + square.side),
        }
        panel = figure(
            name=name, sizing_mode="scale_width", width=400, height=455, match_aspect=False, toolbar_location=None,
            tools=[], min_border=4, **ends,
        )  # fmt: skip
        panel.grid.visible = False
        panel.axis.ticker = BasicTicker(desired_num_ticks=4)
        hold = PointDrawTool(add=False, drag=False, renderers=[])  # does nothing, but touches then do not scroll
        panel.add_tools(hold)
        panel.toolbar.active_drag = hold
        move = CustomJS(
            args={"x1": self.x1, "x2": self.x2},
            code="""
            for (const [slider, at] of [[x1, cb_obj.x], [x2, cb_obj.y]])
                slider.value = Math.round(100 * Math.min(Math.max(at, slider.start), slider.end)) / 100
            """,
        )
        for event in ("tap", "pan"):
            panel.js_on_event(event, move)
        return panel

    def soon(self) -> None:
        """Updates once for all changes that arrive within PAUSE: a drag sends more than can be drawn."""
        if not self.pending:
            self.pending = True
            self.document.add_timeout_callback(self.update, PAUSE)

    def update(self) -> None:
        """Draws what the sliders say; a noise level that is not yet computed leaves the last one until it is."""
        self.pending = False
        scene, self.scene.wanted = self.scene, int(within(self.nsr))
        x = torch.tensor([within(self.x1), within(self.x2)], dtype=torch.float64)
        found = adversarial(scene.law, torch.cat([x[None], scene.grid, scene.pixels]), x, scene.spread)
        arrows, pixels = found.downhill[1:].split([len(scene.grid), len(scene.pixels)])
        self.fields["adversarial"].show(arrows, torch.linalg.vector_norm(pixels, dim=-1))
        turn = np.linspace(0, 2 * math.pi, 73)
        circle = [2 * scene.spread * f(turn) + centre for f, centre in ((np.cos, x[0].item()), (np.sin, x[1].item()))]
        self.circle.data = {"x": circle[0], "y": circle[1]}
        nearest = scene.law.project(x)
        self.line.data = {"x": [x[0].item(), nearest[0].item()], "y": [x[1].item(), nearest[1].item()]}
        level = scene.levels.get(scene.wanted)
        if level is None:
            self.readout.text = f"<p>Computing the field at nsr {nsr_at(scene.wanted):.2g} \u2026</p>"
            self.shown = ()
            return
        weight = within(self.lam)
        rest = rest_point(scene.cells, level.ell, level.lowest, lam_at(int(weight)))
        state = (*x.tolist(), self.scene.wanted, weight)
        if state[2:] != self.shown[2:]:  # a drag of x leaves these as they are
            self.fields["score"].show(level.arrows, level.norms)
            self.real.data = dict(self.real.data) | {"ratio": (rest.masses / scene.cells.masses).numpy()}
            place = level.place[: int(rest.off > 1e-4)].numpy()
            self.rest.data = {"x": place[:, 0], "y": place[:, 1], "size": [8 + 30 * math.sqrt(rest.off)] * len(place)}
        if state != self.shown:
            self.shown = state
            self.tell(x, level.lattice.loss(x[None]), rest, "\u2248")
            self.refine()

    def refine(self) -> None:
        """The exact loss at the point, computed aside; then again, if the point has moved since."""
        if self.busy or not self.shown:
            return
        self.busy, state = True, self.shown
        x, nsr = torch.tensor([state[:2]], dtype=torch.float64), nsr_at(int(state[2]))

        def show(loss: Loss) -> None:
            self.busy = False
            if state != self.shown:
                self.refine()
                return
            level = self.scene.levels[int(state[2])]
            rest = rest_point(self.scene.cells, level.ell, level.lowest, lam_at(int(state[3])))
            self.tell(x[0], loss, rest, "=")

        job = self.exact.submit(exact_loss, self.scene.law, x, nsr)
        job.add_done_callback(lambda done: self.document.add_next_tick_callback(lambda: show(done.result())))

    def tell(self, x: Tensor, loss: Loss, rest: Rest, sign: str) -> None:
        """The numbers, `sign` before those of the loss: = from quadrature to 1e-9, \u2248 from the lattice."""
        law, lam = self.scene.law, lam_at(int(within(self.lam)))
        at = adversarial(law, x[None], x, self.scene.spread)
        on = float(law.distance(x)) < 1e-12 and float(densities(law, x[None])[0]) == 0
        adversarial_norm = float(torch.linalg.vector_norm(at.downhill))
        score_norm = float(torch.linalg.vector_norm(loss.gradient))
        nearest = law.project(x).tolist()
        rows = {
            "ell": ("\u2113(x)", f"{sign} {number(float(loss.value))}"),
            "dist": ("dist(x, M)", f"= {number(float(law.distance(x)))}"),
            "proj": ("Proj(x)", f"= ({number(nearest[0])}, {number(nearest[1])})"),
            "adversarial": (
                "discriminator's gradient",
                "none is defined on the manifold"
                if on
                else "= 0 exactly"
                if adversarial_norm == 0
                else f"= {number(adversarial_norm)}",
            ),
            "score": (
                "score term's gradient",
                f"{sign} {number(score_norm)}, times \u03bb: {number(lam * score_norm)}",
            ),
            "rest": (
                "equilibrium",
                f"total variation to the real distribution {100 * rest.bias:.1f} %, off it {100 * rest.off:.1f} %",
            ),
        }
        cells = (f"<tr><th scope=row>{name}</th><td id={key}>{text}</td></tr>" for key, (name, text) in rows.items())
        self.readout.text = f"<table>{''.join(cells)}</table>"


class Field:
    """Minus a gradient in a picture: norms as colours, directions as arrows, dots where it vanishes."""

    def __init__(self, scene: Scene):
        self.square, self.grid = scene.square, scene.grid.numpy()
        self.image, self.shafts = ColumnDataSource({"z": []}), ColumnDataSource({"x": [], "y": [], "u": [], "v": []})
        self.heads, self.dots = ColumnDataSource({"x": [], "y": [], "angle": []}), ColumnDataSource({"x": [], "y": []})

    def draw(self, panel: Any, colours: LogColorMapper) -> None:
        square = self.square
        place: dict[str, Any] = {"x": square.left, "y": square.low, "dw": square.side, "dh": square.side}
        panel.image("z", source=self.image, color_mapper=colours, **place)
        panel.segment("x", "y", "u", "v", source=self.shafts, color="black", line_width=1.2)
        panel.scatter("x", "y", source=self.heads, marker="triangle", size=6, angle="angle", color="black")
        panel.scatter("x", "y", source=self.dots, size=2.5, color="black")

    def show(self, downhill: Tensor, norms: Tensor) -> None:
        """Draws the arrows downhill [ARROWS^2, 2] and the norms [PIXELS^2]."""
        norm = torch.linalg.vector_norm(downhill, dim=-1)
        visible = (norm > VISIBLE).numpy()
        at, direction = (
            self.grid[visible],
            (downhill / norm[:, None]).numpy()[visible] * self.square.side / ARROWS * 0.36,
        )
        (x, y), (u, v) = (at - direction).T, (at + direction).T
        self.image.data = {"z": [norms.numpy().reshape(PIXELS, PIXELS)]}
        self.shafts.data = {"x": x, "y": y, "u": u, "v": v}
        self.heads.data = {"x": u, "y": v, "angle": np.arctan2(direction[:, 1], direction[:, 0]) - math.pi / 2}
        self.dots.data = {"x": self.grid[~visible, 0], "y": self.grid[~visible, 1]}


def within(slider: Slider) -> float:
    """The slider's value in its range, whatever a visitor's program sent: the middle for what is no number."""
    value = slider.value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return (slider.start + slider.end) / 2
    return min(max(value, slider.start), slider.end)


def position(name: str, title: str, value: int, count: int, low: float, high: float) -> Slider:
    """A slider whose positions 0 .. count - 1 stand for numbers evenly spaced in the logarithm."""
    says = CustomJSTickFormatter(code=f"return Number(({low} * ({high / low}) ** (tick / {count - 1})).toPrecision(2))")
    return Slider(
        name=name, title=title, start=0, end=count - 1, step=1, value=value, format=says, sizing_mode="stretch_width"
    )


def bar(colours: LogColorMapper, title: str, ticks: Sequence[float] | None = None) -> ColorBar:
    """The scale of colours under a picture."""
    more: dict[str, Any] = (
        {} if ticks is None else {"ticker": FixedTicker(ticks=ticks), "formatter": BasicTickFormatter()}
    )
    return ColorBar(color_mapper=colours, title=title, height=10, margin=0, padding=6, title_standoff=4, **more)


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}".replace("-", "\u2212")


TABLE = """
table { border-collapse: collapse; font-size: 15px; font-variant-numeric: tabular-nums; }
th { font-weight: normal; color: #444; text-align: left; padding: 1px 14px 1px 0; white-space: nowrap;
  vertical-align: top; }
td { padding: 1px 0; }
"""
