"""The page of toy.explore in a browser: it loads, answers to pointer and keyboard, and shows theory's numbers."""

import math
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from bokeh.document import Document

from tests.commands import python
from theory.common.commandline import run
from theory.manifolds import make
from theory.regularity import pointwise_loss
from toy.explore.__main__ import main
from toy.explore.page import LEVELS, START_LEVEL, Page, Scene, lam_at, nsr_at, within

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
PATIENCE = 60_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def address():
    """A server of its own, on a free port."""
    command = [sys.executable, "-m", "toy.explore", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()
            server.communicate()  # to the end: what it says at last needs a reader


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(address, browser):
    """The page, with what it has to complain about in `page.complaints` and what it asked for in `page.asked`."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    settled(page)
    yield page
    page.close()


def settled(page) -> str:
    """The exact loss, once it is there."""
    page.locator("#ell", has_text="=").wait_for()
    return page.locator("#ell").inner_text()


def changed(page, row: str, before: str) -> None:
    page.wait_for_function(f"{SHADOW}; return of('{row}') !== {before!r}".join(["(() => {", "})()"]))


SHADOW = """
const of = (id) => { const all = [document]; for (const root of all) { const hit = root.getElementById(id);
  if (hit) return hit.innerText; for (const e of root.querySelectorAll('*')) if (e.shadowRoot) all.push(e.shadowRoot) }
}"""


def sliders(page) -> list[float]:
    """x1, x2, and the positions of nsr and lambda."""
    shown = [float(value.inner_text().replace("−", "-")) for value in page.locator(".bk-slider-value").all()]
    positions = [float(handle.get_attribute("aria-valuenow")) for handle in page.locator(".noUi-handle").all()]
    return [*shown[:2], *positions[2:]]  # positions are rounded to one digit


def loss_at(x1: float, x2: float, level: float) -> str:
    """ell as the page must show it."""
    x = torch.tensor([[x1, x2]], dtype=torch.float64)
    return f"= {float(pointwise_loss(make('ring'), x, 1.0, nsr_at(int(level)))):.4g}"


@browser_needed
def test_it_loads_from_this_machine_alone_and_without_complaint(page, address):
    assert page.complaints == []
    assert all(url.startswith((address, "data:")) for url in page.asked)
    assert settled(page) == loss_at(*sliders(page)[:3])
    assert page.locator("#adversarial").inner_text() == "= 0 exactly"


@browser_needed
@pytest.mark.parametrize("picture", [0, 1, 2])
def test_the_point_is_dragged(page, picture):
    before = settled(page)
    box = page.locator(".bk-events").nth(picture).bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"], steps=8)
    page.mouse.up()
    changed(page, "ell", before)
    x1, x2, level, _ = sliders(page)
    assert (x1, x2) != (1.05, 0.68)
    page.locator("#ell", has_text=loss_at(x1, x2, level)).wait_for()
    nearest = make("ring").project(torch.tensor([x1, x2], dtype=torch.float64)).tolist()
    shown = [float(part.replace("−", "-")) for part in re.findall(r"[−\d.e]+", page.locator("#proj").inner_text())]
    assert shown == pytest.approx(nearest, rel=1e-3, abs=1e-3)


@pytest.fixture
def visitor():
    """A page without a browser, at a noise level that is computed."""
    scene = Scene(make("ring"), "ring")
    scene.levels[START_LEVEL] = scene._compute(nsr_at(START_LEVEL))
    visitor = Page(scene)
    visitor.open(Document())
    yield visitor
    visitor.exact.shutdown(cancel_futures=True)


def test_a_drag_sends_only_what_it_changes(visitor):
    """Not the score term's field and the equilibrium: they follow from nsr and lambda."""
    sources = [visitor.fields["adversarial"].image, visitor.fields["score"].image, visitor.real, visitor.rest]

    def sent() -> list[bool]:
        before = [source.data for source in sources]
        visitor.update()
        return [source.data is not old for source, old in zip(sources, before, strict=True)]

    visitor.x1.value += 0.3
    assert sent() == [True, False, False, False]
    visitor.lam.value += 1
    assert sent() == [True, True, True, True]


def test_back_from_a_level_that_is_not_computed(visitor):
    """The numbers are there again."""
    visitor.nsr.value = START_LEVEL + 1
    visitor.update()
    assert visitor.readout.text.startswith("<p>Computing the field at nsr ")
    visitor.busy = False
    visitor.refine()  # as when the exact loss of what was shown before arrives
    assert not visitor.busy
    visitor.nsr.value = START_LEVEL
    visitor.update()
    assert visitor.readout.text.startswith("<table>")


@pytest.mark.parametrize("sent", [math.nan, math.inf, -math.inf, 1e300, -5])
def test_what_a_program_sends_is_brought_into_the_range(visitor, sent):
    """Bokeh's protocol carries NaN and infinity, and checks no range."""
    for slider in (visitor.x1, visitor.x2, visitor.nsr, visitor.lam):
        slider.value = sent
    visitor.scene.levels = dict.fromkeys(range(LEVELS), visitor.scene.levels[START_LEVEL])
    visitor.update()
    assert visitor.readout.text.startswith("<table>")
    assert "nan" not in visitor.readout.text
    for slider in (visitor.x1, visitor.x2, visitor.nsr, visitor.lam):
        assert slider.start <= within(slider) <= slider.end
    assert np.isfinite(visitor.circle.data["x"]).all()


@browser_needed
def test_the_keyboard_reaches_and_moves_every_slider(page):
    before = sliders(page)
    page.locator("body").click(position={"x": 2, "y": 2})
    for position in range(4):
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(SHADOW + "; of('ell')")
        moved = sliders(page)
        assert [a != b for a, b in zip(before, moved, strict=True)] == [i <= position for i in range(4)]
    x1, x2, level, weight = moved
    page.locator("#ell", has_text=loss_at(x1, x2, level)).wait_for()
    norm = float(page.locator("#score").inner_text().split()[1].rstrip(","))
    weighted = re.escape(f"{lam_at(int(weight)) * norm:.3g}"[:4])
    page.locator("#score", has_text=re.compile(f"times λ: {weighted}$")).wait_for()


@browser_needed
def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function("document.documentElement.scrollWidth <= 360")


def test_it_listens_on_this_machine_only(address):
    port = int(address.rsplit(":", 1)[1])
    with open("/proc/net/tcp") as table, open("/proc/net/tcp6") as table6:
        rows = [line.split() for line in [*table, *table6]]
    listening = [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    assert listening == ["0100007F"]  # 127.0.0.1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--manifold", "sphere"], "sphere lies in R^3, the page shows the plane: choose from points, 8-ring"),
        (["--manifold", "rings"], "unknown manifold 'rings'"),
        (["--thickness", "-1"], "thickness must be at least 0 and finite; given -1"),
        (["--port", "70000"], "port must lie in 0 .. 65535; given 70000"),
    ],
)
def test_it_refuses_in_one_line(arguments, says, capsys):
    assert run(main, arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_port_in_use_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = python("-m", "toy.explore", "--port", str(taken.getsockname()[1]))
    assert ended.status == 1
    assert ended.err.startswith("error: port ")
    assert ended.err.count("\n") == 1
