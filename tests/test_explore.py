"""The page of toy.explore: in a browser, served and exported; its numbers against theory's; its server under attack."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import math
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from tests.processes import forked
from theory.common.commandline import run
from theory.equilibrium import equilibrium, total_variation
from theory.manifolds import make
from theory.regularity import pointwise_loss
from toy.explore import choices
from toy.explore.__main__ import LARGEST, main
from toy.explore.choices import LAMS, LAWS, LOSSES, NSRS, Offer, read_key
from toy.explore.gradients import Lattice, adversarial, exact_loss, log_densities
from toy.explore.page import START, page
from toy.explore.scene import GRID, ground, packed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
PATIENCE = 60_000  # milliseconds, on a busy machine
ROWS = ("ell", "distance", "nearest", "adversarial", "score", "rest")
FIRST = START["x2"] * GRID + START["x1"]  # the node where x stands at first
SHARP = NSRS.index(0.15)


class Serving(NamedTuple):
    """A server in a process of its own."""

    port: int
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peak(self) -> float:
        """Of its memory until now, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "toy.explore", "--port", "0", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def port_of(server: subprocess.Popen[str]) -> int:
    line = server.stdout.readline()  # type: ignore[union-attr]
    if not line:
        pytest.fail(server.stderr.read())  # type: ignore[union-attr]
    return int(line.split()[0].rsplit(":", 1)[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    """It opens on the ring, whose tables take a tenth of a second; and says nothing on standard error."""
    with started("--manifold", "ring", "--thickness", "0") as process:
        try:
            yield Serving(port_of(process), process)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
    assert (process.returncode, said) == (0, "")


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """A function that opens an address, with what the page complains about and what it asks for."""
    opened = []

    def visit(address: str, width: int = 1200, offline: bool = False):
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=offline)
        shown = context.new_page()
        opened.append(context)
        shown.set_default_timeout(PATIENCE)
        shown.complaints, shown.asked = [], []
        shown.on("console", lambda message: shown.complaints.append(message.text))
        shown.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.on("request", lambda request: shown.asked.append(request.url))
        shown.goto(address)
        settled(shown)
        return shown

    yield visit
    for context in opened:
        context.close()


@pytest.fixture
def shown(server, visit):
    return visit(server.address)


def settled(page) -> None:
    """Once what is chosen is drawn."""
    until(page, "document.body.dataset.shown === location.hash")


def until(page, condition: str) -> None:
    """Waits for a condition. (Playwright's own way to wait evaluates text, which the page's policy forbids.)"""
    end = time.monotonic() + PATIENCE / 1e3
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.03)


def told(page) -> dict[str, str]:
    """The table of numbers."""
    settled(page)
    return {row: page.locator(f"#{row}").inner_text().replace("−", "-") for row in ROWS}


def state(page) -> dict[str, Any]:
    return page.evaluate("({...state})")


def numbers(text: str) -> list[float]:
    return [float(part) for part in re.findall(r"-?\d[\d.]*(?:e-?\d+)?", text)]


def pictures(page) -> list[str]:
    return page.evaluate("Object.values(panels).map((panel) => panel.canvas.toDataURL())")


@browser_needed
def test_it_loads_from_this_machine_alone_and_without_complaint(shown, server):
    assert shown.complaints == []
    assert all(url.startswith((server.address, "data:")) for url in shown.asked)
    assert state(shown) == {k: str(v) if isinstance(v, float) else v for k, v in START.items()} | {
        "law": "ring",
        "thickness": "0",
        "loss": "saturating",
    }


def as_theory_has_it(chosen: dict[str, Any]) -> dict[str, list[float]]:
    """The numbers of the table by other routes: quadrature at x, and `theory.equilibrium` on a lattice's values."""
    name, thickness = chosen["law"], float(chosen["thickness"])
    nsr, lam, loss = float(chosen["nsr"]), float(chosen["lambda"]), chosen["loss"]
    law, square, cells, off = ground(name, thickness)
    x = square.grid(GRID)[chosen["x2"] * GRID + chosen["x1"]]
    ell, slope = exact_loss(law, x[None], nsr)
    lattice = Lattice(law, nsr, square, 300)
    least = lattice.loss(square.grid(GRID)[off]).value.sort().values[:1]
    p = torch.cat([cells.masses, torch.zeros_like(least)])
    q = equilibrium(p, torch.cat([lattice.loss(cells.places).value, least]), lam, loss)
    return {
        "ell": [float(ell)],
        "distance": [float(law.distance(x))],
        "nearest": law.project(x).tolist(),
        "adversarial": [float(torch.linalg.vector_norm(adversarial(law, x[None], x, square.side / 12, loss).downhill))],
        "score": [float(torch.linalg.vector_norm(slope)), lam * float(torch.linalg.vector_norm(slope))],
        "rest": [100 * float(total_variation(p, q)), 100 * float(q[len(cells.masses) :].sum())],
    }


@browser_needed
@pytest.mark.parametrize(
    "chosen",
    [
        "#law=ring&thickness=0.2&nsr=0.3&lambda=1&x1=30&x2=26",
        "#law=8-ring&thickness=0.1&loss=non-saturating&nsr=0.5&lambda=3&x1=20&x2=33",
        pytest.param(
            "#law=weighted&thickness=0.2&nsr=0.4&lambda=0.3&x1=33&x2=30&loss=non-saturating", marks=pytest.mark.slow
        ),
    ],
)
def test_what_is_told_is_what_theory_says(visit, server, chosen):
    page = visit(server.address + chosen)
    found, wanted = told(page), as_theory_has_it(state(page))
    for row, values in wanted.items():
        given = numbers(found[row])[: len(values)]
        assert given == pytest.approx(values, rel=6e-3, abs=0.06 if row == "rest" else 2e-3), row


@browser_needed
def test_off_a_curve_the_discriminators_gradient_is_zero_and_the_other_loss_has_none(shown):
    assert told(shown)["adversarial"] == "= 0 exactly"
    shown.get_by_label("generator's loss").select_option("non-saturating")
    assert told(shown)["adversarial"] == "none: the loss is infinite where p = 0"


@browser_needed
@pytest.mark.parametrize(
    "picture", ["adversarial", *(pytest.param(name, marks=pytest.mark.slow) for name in ("score", "rest"))]
)
def test_the_point_is_dragged(shown, picture):
    before = told(shown)
    box = shown.locator(f"#panel-{picture}").bounding_box()
    shown.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
    shown.mouse.down()
    shown.mouse.move(box["x"] + 0.54 * box["width"], box["y"] + 0.2 * box["height"], steps=8)
    shown.mouse.up()
    after, chosen = told(shown), state(shown)
    assert after["ell"] != before["ell"]
    x = ground("ring", 0.0).square.grid(GRID)[chosen["x2"] * GRID + chosen["x1"]]
    nearest = make("ring").project(x).tolist()
    assert numbers(after["nearest"]) == pytest.approx(nearest, rel=5e-3)
    assert abs(float(x[0])) < 0.1  # the middle of the picture
    assert shown.locator("#x1-value").inner_text().replace("−", "-") == f"{float(x[0]):.2f}".rstrip("0").rstrip(".")


@browser_needed
def test_the_keyboard_reaches_and_moves_everything(shown):
    reached, before = [], state(shown)
    shown.locator("body").click(position={"x": 2, "y": 2})
    for _ in range(10):
        shown.keyboard.press("Tab")
        here = shown.evaluate("document.activeElement.id")
        reached.append(here)
        if here not in ("play", "again"):
            shown.keyboard.press("ArrowDown" if here in ("law", "thickness", "loss", "by") else "ArrowRight")
    assert reached == ["law", "thickness", "loss", "by", "nsr", "lambda", "x1", "x2", "play", "again"]
    settled(shown)
    after = state(shown)
    assert all(after[name] != before[name] for name in before)
    assert (after["x1"], after["x2"]) == (before["x1"] + 1, before["x2"] + 1)


@browser_needed
def test_everything_has_a_name(shown):
    for element in shown.locator("select, input").all():
        assert element.evaluate("e => [e.labels.length, e.labels[0].htmlFor === e.id]") == [1, True]
    for element in shown.locator("button, canvas, form").all():
        assert element.evaluate("e => e.ariaLabel || e.textContent").strip()
    assert shown.locator("html").get_attribute("lang") == "en"
    slider = shown.locator("#nsr")
    assert slider.get_attribute("aria-valuetext") == state(shown)["nsr"]  # not its position


@browser_needed
def test_it_fits_a_phone(visit, server):
    page = visit(server.address, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("adversarial", "score", "rest"):
        assert page.locator(f"#panel-{name}").bounding_box()["width"] > 300
    text = "[...document.querySelectorAll('p, label, td, th, button, select')]"
    sizes = page.evaluate(f"{text}.map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(sizes) >= 12
    for element in page.locator("select, button").all():
        assert element.bounding_box()["height"] >= 24


@browser_needed
def test_choices_survive_a_reload_and_nonsense_in_the_address_does_not(shown, server):
    shown.get_by_label("generator's loss").select_option("non-saturating")
    shown.locator("#nsr").focus()
    shown.keyboard.press("ArrowRight")
    settled(shown)
    before = state(shown), told(shown)
    shown.reload()
    assert (told(shown), state(shown)) == before[::-1]
    shown.evaluate("location.hash = '#law=<b>&nsr=NaN&lambda=-1&x1=1e9&x2=99999999&thickness=0'")
    until(shown, "state.nsr === '0.15'")
    settled(shown)
    assert state(shown) == {
        **{"law": "ring", "thickness": "0", "loss": "saturating", "by": "both", "nsr": "0.15", "lambda": "0.3"},
        **{"x1": START["x1"], "x2": GRID - 1},
    }
    assert shown.complaints == []


def clouds(page, steps: int, by: str) -> np.ndarray:
    """The cloud at first and after some steps.   [2, samples, 2]"""
    page.evaluate(f"() => {{ clear(); state.by = '{by}'; advance(); }}")
    first = page.evaluate("cloud")
    page.evaluate(f"() => {{ for (let k = 0; k < {steps}; k++) advance(); draw(); }}")
    return np.array([first, page.evaluate("cloud")])


@browser_needed
def test_the_score_term_moves_the_cloud_to_the_ring_and_the_discriminator_does_not(shown):
    distance = make("ring").distance
    first, last = torch.from_numpy(clouds(shown, 60, "score"))
    # the field is interpolated between nodes 0.06 apart
    assert float(distance(last).mean()) < 0.03 < 0.1 < float(distance(first).mean())
    first, last = clouds(shown, 60, "discriminator")  # claim S2
    assert np.array_equal(first, last)


@browser_needed
@pytest.mark.slow
def test_against_a_thick_distribution_the_discriminator_spreads_the_cloud(visit, server):
    page = visit(server.address + "#law=ring&thickness=0.2&x1=28&x2=30")
    _, last = torch.from_numpy(clouds(page, 600, "discriminator"))
    angles = torch.atan2(last[:, 1], last[:, 0])
    assert float(make("ring").distance(last).mean()) < 0.25
    assert len(torch.histc(angles, 8, -math.pi, math.pi).nonzero()) >= 6


@browser_needed
def test_play_plays_and_pauses_and_starts_again(shown):
    shown.get_by_role("button", name="Play").click()
    until(shown, "step > 2")
    shown.get_by_role("button", name="Pause").click()
    step, again = shown.evaluate("step"), shown.evaluate("new Promise(done => setTimeout(() => done(step), 200))")
    assert step == again > 2
    shown.get_by_role("button", name="Start again").click()
    assert shown.evaluate("[step, cloud]") == [0, None]
    assert shown.complaints == []


# ---- the exported page


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two distributions."""
    path = tmp_path_factory.mktemp("export") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choices, "EXPORTED", (("ring", "points"), (0.0,)))
        assert run(main, ["--manifold", "ring", "--thickness", "0", "--export", str(path)]) == 0
    return path


@browser_needed
def test_an_exported_page_shows_what_a_served_one_shows(visit, server, exported):
    """The numbers, the pictures to the pixel, and where the cloud goes; without a server and a network."""
    for chosen in (
        "",
        "#law=points&nsr=0.4&lambda=10&x1=12&x2=22&loss=non-saturating",
        "#law=ring&nsr=1&lambda=1&x1=22&x2=22",
    ):
        pages = visit(f"{exported.as_uri()}{chosen}", offline=True), visit(server.address + chosen)
        assert pages[0].asked == [exported.as_uri()]
        seen = [(told(page), state(page), pictures(page), clouds(page, 20, "both").tolist()) for page in pages]
        assert seen[0] == seen[1]
        assert pages[0].complaints == pages[1].complaints == []
        for name in ("adversarial", "score", "rest"):
            assert len(set(pictures(pages[0]))) == 3, name


@browser_needed
def test_an_exported_page_answers_to_its_controls(visit, exported):
    page = visit(exported.as_uri(), width=390, offline=True)
    assert page.locator("#law option").all_inner_texts() == ["ring", "points"]
    before = told(page)
    page.get_by_label("distribution", exact=True).select_option("points")
    page.locator("#nsr").focus()
    page.keyboard.press("ArrowRight")
    assert told(page) != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.complaints == []


def test_an_exported_page_names_no_other_place(exported):
    """No address of a network, but a policy by which the browser refuses them."""
    html = exported.read_text()
    assert re.findall(r"https?:|//[a-z]+\.|@import|url\(", html) == []
    assert "default-src 'none'" in html
    assert "connect-src 'none'" in html


def test_the_tables_of_an_exported_page_are_those_of_the_server(server, exported):
    data = json.loads(re.search(r'id="data">(.*?)</script>', exported.read_text())[1])  # type: ignore[index]
    assert sorted(data) == sorted(Offer("ring", 0.0, laws=("ring", "points"), thicknesses=(0.0,)).tables())
    for key in ("ring/0", "ring/0/3", "points/0/8"):
        status, head, body = ran(asked(server.port, f"/data/{key}", "Accept-Encoding: gzip"))
        assert (status, "content-encoding: gzip" in head) == (200, True)
        held = gzip.decompress(base64.b64decode(data[key]))
        assert gzip.decompress(body) == held
        status, head, body = ran(asked(server.port, f"/data/{key}"))
        assert (status, "content-encoding" in head) == (200, False)
        assert body == held


@pytest.mark.slow
def test_the_whole_page_is_small_enough(tmp_path, capsys):
    """About two minutes."""
    assert run(main, ["--export", str(tmp_path / "page.html")]) == 0
    assert 1_000_000 < (tmp_path / "page.html").stat().st_size < LARGEST
    print(capsys.readouterr().out)


# ---- the tables


def table(key: str) -> dict[str, Any]:
    """Its arrays decoded."""
    found = json.loads(gzip.decompress(packed(key)))
    for name, value in found.items():
        if isinstance(value, dict):
            [(kind, data)] = value.items()
            found[name] = np.frombuffer(base64.b64decode(data), np.dtype(kind).newbyteorder("<"))
    return found


def test_at_first_all_three_pictures_have_something_to_show():
    first = Offer()
    assert (first.law, first.thickness) == ("mixed", 0.1)
    law, square, cells, _ = ground("mixed", 0.1)
    points = square.grid(GRID)
    over = adversarial(law, points, points[FIRST], square.side / 12).downhill
    live = torch.linalg.vector_norm(over, dim=-1) > 1e-3
    assert 0.1 < float(live.double().mean()) < 0.9  # the ring alone, without thickness, has 0
    found = table(f"mixed/0.1/{SHARP}")
    assert (np.hypot(*found["gradient"].astype(float).reshape(-1, 2).T) > 1e-3).mean() > 0.9
    row = found["ratios"].reshape(len(LOSSES), len(LAMS), len(cells.masses))[0, LAMS.index(START["lambda"])]
    assert np.ptp(row.astype(int)) > 40  # of 256 colours


@pytest.mark.parametrize(("law", "thickness", "level"), [("ring", 0.0, 0), ("box", 0.0, 2), ("points", 0.2, 1)])
def test_the_tables_are_theorys_to_three_digits(law, thickness, level):
    """Also at the lowest noise, where a lattice of 192 nodes has two."""
    found, x = table(f"{law}/{thickness:g}/{level}"), ground(law, thickness).square.grid(GRID)
    some = torch.arange(7, GRID**2, 251)
    at = x[some].requires_grad_()
    ell = pointwise_loss(make(law, thickness=thickness), at, 1.0, NSRS[level])
    slope = torch.autograd.grad(ell.sum(), at)[0]
    assert found["ell"].astype(float)[some] == pytest.approx(ell.detach().numpy(), rel=1e-3)
    error = np.linalg.norm(found["gradient"].astype(float).reshape(-1, 2)[some] - slope.numpy(), axis=1)
    assert (error <= 1e-3 * (1 + np.linalg.norm(slope, axis=1))).all()


@pytest.mark.parametrize("law", LAWS)
def test_every_law_lies_in_the_plane_and_has_a_ground(law):
    found = table(f"{law}/0")
    density, _ = log_densities(make(law), ground(law, 0.0).square.grid(GRID))
    assert make(law).dim == 2
    assert np.array_equal(np.isneginf(found["log_p"]), np.isneginf(density.numpy()))
    assert np.isfinite(found["distance"]).all()
    assert np.isfinite(found["nearest"]).all()


def test_every_key_of_an_offer_names_what_it_says():
    keys = Offer().tables()
    assert len(set(keys)) == len(keys)
    assert read_key("ring/0.05") == ("ring", 0.05, None)
    assert read_key("8-ring/0.1/8") == ("8-ring", 0.1, 8)
    for wrong in ("", "ring", "ring/", "ring/nan", "ring/-1", "sphere/0", "ring/0/9", "ring/0/01", "ring/0/1/2"):
        with pytest.raises(ValueError, match=r"."):
            read_key(wrong)


def test_json_within_the_page_does_not_end_its_script():
    assert page(Offer("ring", 0.0), {"ring/0": b""}).count("</script>") == 3


# ---- the server


def ran(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result; in a thread, because Playwright's loop may be running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def asked(
    port: int, path: str, *more: str, host: str | None = None, method: str = "GET"
) -> tuple[int, str, bytes]:
    """The status, the head in lower case, and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    named = f"Host: {host or f'127.0.0.1:{port}'}"
    lines = [f"{method} {path} HTTP/1.1", named, "Connection: close", *more]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE / 1e3)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body


@pytest.mark.parametrize("path", ["/", "/data/ring/0", "/elsewhere"])
@pytest.mark.parametrize(
    ("host", "origin", "says"),
    [
        ("evil.example", None, "403: Host must be one of 127.0.0.1, localhost\n"),
        ("evil.example:{port}", None, "403: Host must be one of 127.0.0.1, localhost\n"),
        ("127.0.0.1.evil.example:{port}", None, "403: Host must be one of 127.0.0.1, localhost\n"),
        ("0.0.0.0:{port}", None, "403: Host must be one of 127.0.0.1, localhost\n"),
        (None, "http://evil.example", "403: Origin must be this page's own\n"),
        (None, "null", "403: Origin must be this page's own\n"),
        (None, "http://127.0.0.1:1", "403: Origin must be this page's own\n"),
    ],
)
def test_who_asks_from_elsewhere_is_refused_in_one_line(server, path, host, origin, says):
    """By another name for this machine (DNS rebinding), or for a page of another site."""
    more = [] if origin is None else [f"Origin: {origin}"]
    named = host if host is None else host.format(port=server.port)
    status, head, body = ran(asked(server.port, path, *more, host=named))
    assert (status, body.decode()) == (403, says)
    assert "access-control-allow-origin" not in head


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost"])
def test_who_asks_from_here_is_answered(server, host):
    named = host.format(port=server.port)
    status, head, body = ran(asked(server.port, "/", f"Origin: http://{named}", host=named))
    assert status == 200
    assert body.startswith(b"<!DOCTYPE html>")
    assert "cross-origin-resource-policy: same-origin" in head


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no", 404),
        ("GET", "/data/sphere/0", 404),
        ("GET", "/data/ring/0.07", 404),
        ("GET", "/data/ring/0/NaN", 404),
        ("GET", "/data/../../etc/passwd", 404),
        ("GET", "/data/" + 5000 * "x", 404),
        ("POST", "/", 405),
        ("DELETE", "/data/ring/0", 405),
        ("PATCH", "/no", 405),
    ],
)
def test_what_there_is_not_is_one_line(server, method, path, status):
    found, _, body = ran(asked(server.port, path, method=method))
    assert found == status
    assert body.count(b"\n") == 1
    assert b"Traceback" not in body


def test_noise_ends_its_own_connection_only(server):
    """Not HTTP, an endless head, too long a body, a visitor who leaves. Standard error stays empty: `server` looks."""

    async def attack() -> int:
        for noise in (
            b"\x00\xff\x16\x03\x01" * 100,
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
            b"GET /data/ring/0/5 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(noise)
            await asyncio.sleep(0.01)
            writer.close()
        return (await asked(server.port, "/"))[0]

    assert ran(attack()) == 200


async def flood(port: int, messages: int, seconds: float, reads: bool) -> int:
    """Sends messages at an even rate over one connection. How many were answered, if it reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    message = f"GET /data/ring/0/{SHARP} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode()

    async def listen() -> int:
        for _ in range(messages):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))  # type: ignore[index]
        return messages

    listening = asyncio.ensure_future(listen()) if reads else None
    bursts = int(seconds / 0.05)
    for _ in range(bursts):
        writer.write(messages // bursts * message)
        await asyncio.sleep(seconds / bursts)
    answered = 0 if listening is None else await asyncio.wait_for(listening, PATIENCE / 1e3)
    writer.close()
    return answered


async def while_others(port: int, attack: Any) -> tuple[Any, int]:
    """What the attack returns, and how often another visitor was answered meanwhile."""
    attacking, visits = asyncio.ensure_future(attack), 0
    while not attacking.done():
        assert (await asked(port, "/"))[0] == 200
        visits += 1
        await asyncio.sleep(0.1)
    return await attacking, visits


@pytest.mark.parametrize("reads", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_thousand_messages_a_second_from_one_visitor(server, reads):
    """Each is answered, others are too, and memory stays: also where the visitor reads none of the answers."""
    ran(asked(server.port, f"/data/ring/0/{SHARP}"))
    before = server.peak()
    answered, visits = ran(while_others(server.port, flood(server.port, 2000, 2.0, reads)))
    assert answered == (2000 if reads else 0)
    assert visits >= 3
    assert server.peak() - before < 20  # MB; 2000 answers have 20
    print(f"messages 2000 in 2 s, answered {answered}, others answered {visits}, peak {server.peak():.0f} MB")


def test_more_visitors_than_it_takes_are_told_so(server):
    async def crowd() -> tuple[int, int]:
        opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(600)]
        waiting = [reader for reader, _ in opened]
        ended = await asyncio.gather(
            *(asyncio.wait_for(reader.read(), 1.0) for reader in waiting), return_exceptions=True
        )
        refused = [answer for answer in ended if isinstance(answer, bytes)]
        assert all(answer.startswith(b"HTTP/1.1 503") and answer.endswith(b"too many visitors\n") for answer in refused)
        for _, writer in opened:
            writer.close()
        await asyncio.sleep(0.2)
        return len(refused), (await asked(server.port, "/"))[0]

    refused, status = ran(crowd())
    assert 80 <= refused <= 100  # 512 are taken
    assert status == 200


@pytest.mark.slow
def test_two_hundred_visitors_at_once(server):
    """Each loads the page and every table of a distribution, and asks from elsewhere too.

    One visitor comes before: what computing the tables takes is of no visitor.
    """

    async def visitor(number: int) -> tuple[int, int]:
        found = [(await asked(server.port, "/"))[0]]
        for key in Offer("ring", 0.0, laws=("ring",), thicknesses=(0.0,)).tables():
            found.append((await asked(server.port, f"/data/{key}", "Accept-Encoding: gzip"))[0])
        found.append((await asked(server.port, "/", host="evil.example"))[0])
        return found.count(200), found.count(403)

    async def crowd() -> list[tuple[int, int]]:
        return await asyncio.gather(*(visitor(number) for number in range(200)))

    ran(visitor(0))
    before = server.peak()
    counts = np.array(ran(crowd()))
    assert (counts == counts[0]).all()
    assert counts[0, 1] == 1
    assert server.peak() - before < 50  # MB; 2000 answers have 20
    said = f"visitors 200, messages {counts.sum()}, refused {counts[:, 1].sum()}"
    print(f"{said}, peak RSS {before:.0f} -> {server.peak():.0f} MB")


def test_it_listens_on_this_machine_only(server):
    with open("/proc/net/tcp") as table, open("/proc/net/tcp6") as table6:
        rows = [line.split() for line in [*table, *table6]]
    listening = [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{server.port:04X}")]
    assert listening == ["0100007F"]  # 127.0.0.1


# ---- the command


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_without_a_traceback(number, status):
    with started("--manifold", "points") as process:
        port = port_of(process)
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert said == ("" if status == 0 else "error: ended by SIGTERM\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--manifold", "sphere"], "sphere does not lie in the plane, which the page shows: choose from mixed, points"),
        (["--manifold", "rings"], "unknown manifold 'rings'"),
        (["--thickness", "-1"], "thickness must be at least 0 and finite; given -1"),
        (["--thickness", "nan"], "thickness must be a finite number; given nan"),
        (["--loss", "hinge"], "unknown loss 'hinge': choose from saturating, non-saturating"),
        (["--port", "70000"], "port must lie in 0 .. 65535; given 70000"),
        (["--export", "page.txt"], "export must be an .html; given page.txt"),
        (["--export", "nowhere/page.html"], "the directory of export does not exist: nowhere"),
    ],
)
def test_it_refuses_in_one_line(arguments, says, capsys):
    assert run(main, arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_thickness_of_ones_own_is_offered():
    assert Offer("ring", 0.07).thicknesses == (0.0, 0.05, 0.07, 0.1, 0.2)
    assert "star/0.07/3" in Offer("ring", 0.07).tables()
    assert Offer("star", 0.07).exported().laws == ("mixed", "ring", "two-moons", "8-ring", "box", "star")


def test_a_port_in_use_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = forked("-m", "toy.explore", "--port", str(taken.getsockname()[1]))
    assert ended.status == 1
    assert ended.err.startswith("error: port ")
    assert ended.err.count("\n") == 1
