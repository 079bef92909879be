"""The site that `make docs` builds: its pages, links and formulas; the lines that it shows run; a phone's width."""

from __future__ import annotations

import errno
import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch

from figures.docs import __main__ as command
from figures.docs import pages
from figures.docs.docstrings import escaped, markdown
from figures.docs.mathematics import on_page_content
from figures.tools.results import ROOT, ResultsError
from theory.claims.ledger import ledger
from theory.common.commandline import run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = 390
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "figures/docs/add.md").read_text(), re.DOTALL)
TORUS, LOSS, CLAIM, EXPERIMENT, RECIPE = BLOCKS


@pytest.fixture(scope="module")
def made() -> pages.Pages:
    return pages.site()[0]


def broken(made: pages.Pages) -> list[str]:
    """The links within the site that lead to no file of it, and those whose anchor is no heading of a page."""
    found = []
    for page, text in made.items():
        if not page.endswith(".md") or isinstance(text, bytes):
            continue
        for part in pages.KEPT.split(text)[::2]:
            for _, path, anchor in pages.LINK.findall(part):
                if "://" in path:
                    continue
                target = str(PurePosixPath(page).parent / path) if path else page
                parts: list[str] = []
                for name in target.split("/"):
                    parts = parts[:-1] if name == ".." else [*parts, name]
                there = made.get("/".join(parts))
                if there is None or (anchor and isinstance(there, str) and anchor[1:] not in headings(there)):
                    found.append(f"{page}: {path}{anchor}")
    return found


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_every_link_leads_somewhere(made: pages.Pages) -> None:
    assert broken(made) == []
    assert broken({"a.md": "[x](b.md) [y](#no) $[z](c)$ [w](http://w)", "b.md": ""}) == ["a.md: #no"]
    assert broken({"a/b.md": "[x](../c.md#d-e)", "c.md": "# D e"}) == []
    assert broken({"a/b.md": "[x](c.md)", "c.md": ""}) == ["a/b.md: c.md"]


def test_a_link_to_a_file_without_a_page_names_it_and_one_to_no_file_is_refused() -> None:
    places = {"theory/levels.py": "api/theory.levels.md"}
    text = "[a](../LICENSE) [`b`](../theory/levels.py#x)\n```\n[c](no.md)\n```\n"
    assert pages.linked(text, "toy/A.md", "own/a.md", places) == (
        "a [`b`](../api/theory.levels.md#x)\n```\n[c](no.md)\n```\n"
    )
    with pytest.raises(ResultsError, match=r"toy/A\.md links to no\.md, which is not there"):
        pages.linked("[c](no.md)", "toy/A.md", "a.md", places)


def test_every_claim_figure_tutorial_and_module_has_a_page_in_the_navigation(made: pages.Pages) -> None:
    listed = re.findall(r"'([\w./-]+\.md)'", repr(pages.navigation(ledger())))
    assert sorted(listed) == sorted(name for name in made if name.endswith(".md"))
    assert len(set(listed)) == len(listed)
    for claim in ledger():
        text = made[f"claims/{claim.id}.md"]
        assert isinstance(text, str)
        assert claim.statement in text
        assert ("## Proof" in text) is claim.proven
    for module in (module for part in pages.API.values() for module in part):
        assert f"::: {module}\n" in str(made[f"api/{module}.md"])
    assert "import" in str(made["gallery/bound.md"])


def test_no_page_has_a_place_that_is_not_filled(made: pages.Pages) -> None:
    """But that on adding an experiment, which shows the form of one."""
    for name, text in made.items():
        if isinstance(text, str) and name != "add.md":
            assert not re.findall(r"\{\{[^{}]*\}\}", re.sub(r"```.*?```", "", text, flags=re.DOTALL)), name
    assert "0.903" in str(made["faq.md"]), "the share that make run shows"


def test_formulas_become_mathml() -> None:
    formula = r'<p><span class="arithmatex">\(a_1 &lt; b\)</span> <code>$x$</code></p>'
    shown = on_page_content(formula)
    assert "<msub><mi>a</mi><mn>1</mn></msub><mo>&lt;</mo><mi>b</mi>" in re.sub(r"&#x0*3[Cc];", "&lt;", shown)
    assert "<code>$x$</code>" in shown
    assert 'display="block"' in on_page_content('<div class="arithmatex">\\[\nx\n\\]</div>')


def test_docstrings_are_shown_as_they_stand() -> None:
    assert escaped("E[X] of `[*n d]`") == r"E\[X\] of `[*n d]`"
    text = "A * b.\n\n    c * d\n\n>>> f([1])[0]\n1\n\nArgs:\n    x: [n] numbers."
    assert markdown(text) == (
        "A \\* b.\n\n    c * d\n\n```python\n>>> f([1])[0]\n1\n```\n\nArgs:\n    x: \\[n\\] numbers."
    )


def test_what_is_no_site_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(command.main, ["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: --out {tmp_path} is there, and is no site: nothing is replaced\n"
    assert (tmp_path / "mine.txt").read_text() == "mine"


# What the page on adding parts shows


def executed(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_how_many_lines() -> None:
    for block in BLOCKS:
        assert len(block.splitlines()) <= 10


def test_the_exact_score_of_a_torus_in_16_dimensions() -> None:
    """It is the gradient of the exact log density, normal to the subspace too; that of another torus is not."""
    names = executed(TORUS)
    torus, y = names["torus"], names["y"].requires_grad_()
    (gradient,) = torch.autograd.grad(torus.log_density(y, 1.0, 0.2).sum(), y)
    assert names["score"].shape == (5, 16)
    torch.testing.assert_close(names["score"], gradient, rtol=1e-9, atol=1e-9)
    other = executed(TORUS.replace("radius=0.5", "radius=0.51"))["torus"].score(y, 1.0, 0.2)
    assert (other - gradient).norm() > 0.01 * gradient.norm()


def test_a_game_of_two_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = "width=8, layers=1, samples=64, batch=8, d_ahead=2, d_steps=1, latent=2, processes=1"
    assert LOSS.count("steps=20") == 1
    table = executed(LOSS.replace("steps=20", f"steps=2, {tiny}"))["table"]
    assert list(dict.fromkeys(table.arm)) == ["gan", "summed"]


def test_an_own_claim(capsys: pytest.CaptureFixture[str]) -> None:
    """It holds; with a wrong prediction it fails, and with a check that lets the near-miss pass it is a defect."""
    executed(CLAIM)
    executed(CLAIM.replace("share * (make", "1.01 * share * (make"))
    executed(CLAIM.replace("share * (make", "(make"))
    assert capsys.readouterr().out.split() == ["holds", "fails", "defect"]


def test_an_experiment_and_a_recipe() -> None:
    cells = executed(EXPERIMENT)["cells"]
    assert [(cell.name, cell.config.batch, len(cell.arms)) for cell in cells] == [
        ("32 batch", 32, 3),
        ("128 batch", 128, 3),
    ]
    assert executed(RECIPE)["mine"].every == 2


# The site


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: what mkdocs warns of would end it."""
    out = tmp_path_factory.mktemp("docs") / "site"
    assert command.build(out) == ""
    return out


def test_the_site_is_built(built: Path) -> None:
    assert len(list(built.rglob("*.html"))) > 80
    proof = (built / "claims" / "P2.html").read_text()
    assert proof.count("<math") > 50
    assert "arithmatex" in proof
    assert not re.search(r"\\[(\[]|\$", re.sub(r"<script.*?</script>|<pre.*?</pre>", "", proof, flags=re.DOTALL))
    assert "score_matching_loss" in (built / "api" / "theory.regularity.html").read_text()
    for page in built.rglob("*.html"):
        fetched = re.findall(r'(?:src|<link[^>]* href)="(https?:[^"]*)"', page.read_text())
        assert fetched == [], "nothing comes from elsewhere"


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    """The site, served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=built)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


SOME = ("index", "report", "gallery/lazy", "claims/P2", "api/theory.regularity")
WIDE = """[...document.querySelectorAll('article *')].filter(e => {
  if (e.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let p = e; p; p = p.parentElement) if (getComputedStyle(p).overflowX != 'visible') return p == document.body;
  return true }).map(e => e.outerHTML.slice(0, 80))"""
LINKS = "[...document.links].map(a => a.href)"
ANCHORS = "[...document.querySelectorAll('[id]')].map(e => e.id)"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("names", [SOME, pytest.param((), marks=pytest.mark.slow, id="all")])
def test_the_pages_in_a_browser(names: tuple[str, ...], built: Path, address: str) -> None:
    """No error, no request elsewhere, nothing wider than a phone, no link to what is not there; the search answers."""
    sync = pytest.importorskip("playwright.sync_api")
    shown = [f"{name}.html" for name in names] or sorted(str(path.relative_to(built)) for path in built.rglob("*.html"))
    ids = {
        str(path.relative_to(built)): set(re.findall(r' id="([^"]+)"', path.read_text()))
        for path in built.rglob("*.html")
    }
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": PHONE, "height": 800})
        page.set_default_timeout(120_000)  # ms: one page of formulas takes seconds, more beside other tests
        complaints: list[str] = []

        def asked(request: Any) -> None:
            if not request.url.startswith((address, "data:", "blob:")):
                complaints.append(request.url)

        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        for name in shown:
            page.goto(f"{address}/{name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, name
            assert page.evaluate(WIDE) == [], name
            for link in page.evaluate(LINKS):
                target, _, anchor = link.removeprefix(f"{address}/").partition("#")
                if target.startswith("http"):
                    continue
                assert (built / target).exists(), (name, link)
                assert not anchor or anchor in ids[target or "index.html"], (name, link)
        assert complaints == []
        page.set_viewport_size({"width": 1200, "height": 800})
        page.fill("input[name=query]", "condensation")
        page.locator(".md-search-result__link").first.wait_for()
        browser.close()


def test_a_site_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    """Else it stays, and nothing is left beside it."""
    out = tmp_path / "site"
    out.mkdir()
    (out / "old").touch()

    def full(copying: bool) -> None:
        with command.replaced(out) as partial:
            partial.mkdir()
            (partial / "half").touch()
            if copying:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "elsewhere", None, str(partial / "half"))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for copying in (False, True):
        with pytest.raises(OSError, match=re.escape(f"'{out}'")):
            full(copying)
    assert list(tmp_path.rglob("*")) == [out, out / "old"]
    with command.replaced(out) as partial:
        partial.mkdir()
        (partial / "new").touch()
        assert (out / "old").exists()
    assert list(tmp_path.rglob("*")) == [out, out / "new"]
