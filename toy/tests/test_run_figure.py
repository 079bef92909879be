"""The picture says what the results say, for every shape of run, in the same bytes."""

from __future__ import annotations

import dataclasses
import io
import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

from theory.common.colours import ARM_COLOURS, ARM_LABELS
from theory.common.statistics import summary
from toy.config import ARMS, LOSSES, TERMS, WEIGHT_RULES, Config
from toy.pictures import run_figure as picture
from toy.pictures.colours import DECADES, REAL_COLOUR, START_COLOUR, VISIBLE, strengths
from toy.pictures.run_figure import CURVES, DPI, LIKELIHOOD, NORMS, WIDTH, draw, off_manifold, percent, png

Run = tuple[dict, pd.DataFrame, dict, dict[str, np.ndarray]]
STEPS = (0, 50, 100)
N = 500


def ring(n: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)] + [np.zeros(n)] * (dim - 2), 1)


def a_run(arms: tuple[str, ...] = ARMS, seeds: int = 3, dim: int = 2, **options) -> Run:
    """What a run leaves: noise about the ring, and metrics drawn at random."""
    rng = np.random.default_rng(0)
    config = dataclasses.asdict(Config(arms=arms, seeds=seeds, dim=dim, steps=STEPS[-1], **options))
    adversarial = config["generator"] == "gan"
    metrics = [*CURVES, *NORMS] if adversarial else [*CURVES, "score_gradient", LIKELIHOOD]
    index = pd.MultiIndex.from_product([arms, range(seeds), STEPS, metrics])
    table = index.to_frame(index=False, name=["arm", "seed", "step", "metric"]).assign(value=rng.random(len(index)))
    grid = np.linspace(-4, 4, 9)
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    arrays = {arm: ring(seeds * N, dim, rng).reshape(seeds, N, dim) for arm in arms}
    arrays = {arm: x + 0.1 * rng.normal(size=x.shape) for arm, x in arrays.items()} | {
        "real": ring(N, dim, rng),
        "start": rng.normal(3, 0.3, (8, dim)),  # few: a rare colour
        "origin": np.zeros(dim),
        "plane": np.eye(2, dim),
        "field_points": points,
        "field_adversarial": np.exp(-5 * np.abs(points).sum(1, keepdims=True)) * points,
        "field_score": -100 * points,
    }
    if not adversarial:
        del arrays["field_adversarial"]
    return config, table, summary(table), arrays


def panels(figure: Figure, kind: type) -> list:
    return [artist for axes in figure.axes for artist in axes.collections if isinstance(artist, kind)]


@pytest.mark.parametrize(
    ("arms", "seeds", "dim"),
    [
        (ARMS, 3, 2),
        pytest.param(("summed",), 1, 2, marks=pytest.mark.slow),
        pytest.param(("gan", "summed"), 2, 32, marks=pytest.mark.slow),
    ],
)
def test_title_has_the_summary_s_numbers_and_fits(arms, seeds, dim):
    run = a_run(arms, seeds, dim)
    figure = draw(*run)
    titles = [text.get_text() for text in figure.texts]
    for arm in arms:
        value = run[2]["arms"][arm]["off_manifold"]
        name = "GAN" if arm == "gan" else arm
        wanted = f"{name} {100 * value['mean']:.0f} %"
        wanted += f" [{100 * value['low']:.0f}, {100 * value['high']:.0f}]" if seeds > 1 else ""
        assert any(wanted in title for title in titles), (wanted, titles)
        assert any(axes.get_title() == name for axes in figure.axes)
        assert ARM_LABELS[arm] in [text.get_text() for text in figure.legends[0].get_texts()]
    data = png(figure)
    assert len(data) < 300_000
    image = Image.open(io.BytesIO(data)).convert("RGB")
    assert image.width == WIDTH * DPI
    colours = {colour for _, colour in image.getcolors(2**24) or []}
    for kept in ("#FFFFFF", "#000000", START_COLOUR, REAL_COLOUR, *(ARM_COLOURS[arm] for arm in arms)):
        assert tuple(bytes.fromhex(kept[1:])) in colours, kept


def test_longest_text_fits():
    """All arms at 100 % with intervals of no width, in many dimensions: nothing is cut off at the sides."""
    config, table, _, arrays = a_run(dim=32)
    config |= {"thickness": 0.05, "steps": 100_000}
    table["value"] = 1.0
    figure = draw(config, table, summary(table), arrays)
    figure.draw_without_rendering()
    boxes = [part.get_window_extent() for part in (*figure.texts, *figure.legends)]
    assert len(boxes) >= 3
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= WIDTH * DPI
    captions = [max(axes.texts, key=lambda text: len(text.get_text())).get_window_extent() for axes in figure.axes[1:7]]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(captions))


@pytest.mark.parametrize(("generator", "kind"), [("vae", "VAE"), ("flow", "flow")])
def test_without_a_discriminator(generator, kind):
    """Nothing speaks of one: one field, the likelihood in the place of the other, the arms by their own names."""
    run = a_run(("gan", "summed"), 2, generator=generator)
    figure = draw(*run)
    (field,) = panels(figure, Quiver)
    assert len(field.get_offsets()) > 0
    likelihood = "negative ELBO" if generator == "vae" else "negative log likelihood"
    (panel,) = [axes for axes in figure.axes if axes.get_title() == likelihood]
    for arm, line in zip(("gan", "summed"), panel.lines, strict=True):
        assert np.asarray(line.get_ydata())[-1] == pytest.approx(run[2]["arms"][arm][LIKELIHOOD]["mean"])
    said = [text.get_text() for text in figure.findobj(Text)]
    assert not [text for text in said if "discriminator" in text or "GAN" in text or "D(x)" in text]
    assert f"{kind} + score, summed" in said


def test_every_formula_can_be_set():
    """Those of all games, terms, weightings and rules."""
    assert set(picture.LOSSES) == set(LOSSES)
    config, formulas = dataclasses.asdict(Config()), list(picture.LOSSES.values())
    for term in TERMS:
        for rule in WEIGHT_RULES:
            for weighting, score in (("eps", "analytic"), ("x0", "learned")):
                chosen = {"term": term, "weight_rule": rule, "weighting": weighting, "score": score}
                formulas.append(picture._score_term(config | chosen))
    parser = MathTextParser("path")
    for text in formulas:
        assert "%" not in text
        for line in text.split("\n"):
            parser.parse(line)


def test_same_bytes_twice():
    run = a_run(("summed",), seeds=1)
    assert png(draw(*run)) == png(draw(*run))


def test_it_does_not_depend_on_the_settings_of_the_process():
    """A layout that is switched on for all figures would find no grid here, and warn: an error."""
    with mpl.rc_context({"figure.constrained_layout.use": True}):
        draw(*a_run()).draw_without_rendering()


def test_curves_end_at_the_summary_s_values():
    config, table, found, arrays = a_run(seeds=8)
    figure = draw(config, table, found, arrays)
    for metric, title in CURVES.items():
        (panel,) = [axes for axes in figure.axes if axes.get_title() == title]
        for arm, line, band in zip(ARMS, panel.lines, panel.collections, strict=True):
            value = found["arms"][arm][metric]
            vertices = np.asarray(band.get_paths()[0].vertices)
            ends = vertices[vertices[:, 0] == STEPS[-1], 1]
            assert line.get_color() == ARM_COLOURS[arm]
            assert np.asarray(line.get_xydata())[-1] == pytest.approx([STEPS[-1], value["mean"]])
            assert [ends.min(), ends.max()] == pytest.approx([value["low"], value["high"]])


def test_norms_are_geometric_means():
    config, table, found, arrays = a_run(("gan",), seeds=2)
    for seed, value in ((0, 1e-8), (1, 1e-2)):
        table.loc[(table["metric"] == "adversarial_gradient") & (table["seed"] == seed), "value"] = value
    (panel,) = [axes for axes in draw(config, table, found, arrays).axes if axes.get_yscale() == "log" and axes.lines]
    assert panel.lines[0].get_ydata() == pytest.approx([1e-5] * len(STEPS))


@pytest.mark.parametrize("order", [slice(None), np.random.default_rng(1).permutation(81)], ids=["rows", "any"])
def test_field_is_where_and_as_it_is(order):
    """Colours are the norms at their points; arrows are the directions, of one length, where there is a gradient."""
    run = a_run()
    arrays = run[3]
    for name in ("field_points", "field_adversarial", "field_score"):
        arrays[name] = arrays[name][order]
    points = arrays["field_points"]
    figure = draw(*run)
    fields = [arrays["field_adversarial"], arrays["field_score"]]
    top = 10 ** np.ceil(np.log10(np.linalg.norm(fields[1], axis=1).max()))
    meshes = [mesh for mesh in panels(figure, QuadMesh) if mesh.get_array().size == len(points)]
    for field, mesh, arrows in zip(fields, meshes, panels(figure, Quiver), strict=True):
        norm = np.linalg.norm(field, axis=1)
        column, row = np.rint(points + 4).astype(int).T  # the grid's step is 1
        assert np.asarray(mesh.get_array()).reshape(9, 9)[row, column] == pytest.approx(
            np.maximum(norm, top * 10.0**-DECADES)
        )
        visible = norm > VISIBLE * top
        assert arrows.get_offsets() == pytest.approx(points[visible])
        assert np.stack([arrows.U, arrows.V], 1) * norm[visible, None] == pytest.approx(field[visible])
    assert len(panels(figure, Quiver)[0].get_offsets()) < len(points)  # some do vanish


def test_no_gradient_at_all():
    """A field of zeros has no arrows, and gives no warning (warnings are errors here)."""
    config, table, found, arrays = a_run(("summed",), seeds=2)
    table.loc[table["metric"].isin(NORMS), "value"] = 0.0
    arrays |= {name: np.zeros_like(arrays[name]) for name in ("field_adversarial", "field_score")}
    figure = draw(config, table, found, arrays)
    figure.draw_without_rendering()
    assert all(len(arrows.get_offsets()) == 0 for arrows in panels(figure, Quiver))


def test_one_scale_for_strong_and_weak():
    """A weak field does not fill the scale: its colour is not that of one that vanishes."""
    scale = strengths(np.array([[0.0, 900.0], [0.5, 0.0], [0.0, 0.0]]))
    assert [scale.vmin, scale.vmax] == pytest.approx([1e3 / 10**DECADES, 1e3])


def test_off_manifold_samples_are_those_that_are():
    rng = np.random.default_rng(2)
    real, samples = ring(2048, 2, rng), ring(N, 2, rng) + 0.1 * rng.normal(size=(N, 2))
    off = np.abs(np.linalg.norm(samples, axis=1) - 1) > 0.05  # the distance to the unit circle
    found = off_manifold(samples, real, off.mean())
    assert found.sum() == off.sum()
    # they can differ only where the spacing of real samples, here below .02, matters: sqrt(.05^2 + .01^2) - .05 = .001
    assert np.abs(np.linalg.norm(samples[found != off], axis=1) - 1) == pytest.approx(0.05, abs=2e-3)
    assert not off_manifold(samples, real, 0.0).any()
    assert off_manifold(samples, real, 1.0).all()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.6912, 0.6, 0.78), "69 % [60, 78]"),
        ((0.0123, 0.004, 0.0995), "1.2 % [0.4, 10]"),
        ((0.0, 0.0, 0.0), "0 % [0, 0]"),
        ((1.0, 1.0, 1.0), "100 % [100, 100]"),
        ((0.5, None, None), "50 %"),
    ],
)
def test_percent(values, text):
    assert percent(dict(zip(("mean", "low", "high"), values, strict=True))) == text


def test_needs_neither_torch_nor_pyplot():
    code = "import sys, toy.pictures.run_figure; print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
