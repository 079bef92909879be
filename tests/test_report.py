"""The report says what the results say, and its page works in a browser: links, pictures, a phone's width."""

import re
import shutil

import pandas as pd
import pytest

from figures.report import __main__ as report
from figures.report import page
from figures.report.__main__ import DOCUMENT, TEMPLATE, render
from figures.tools import results, style
from theory.common.errors import UsageError

ARMS = ("gan", "summed", "decoupled")
METRICS = ("off_manifold", "mean_distance", "coverage", "total_variation", "kl")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def rendered():
    return render(TEMPLATE.read_text())


def test_the_document_says_what_the_results_say(rendered):
    assert DOCUMENT.read_text() == rendered, "make report writes paper_repro.md again"


def test_every_number_in_the_template_is_filled_in():
    """A number that is typed by hand could drift: but for sizes, names, thresholds and dates none may stand there."""
    text = re.sub(r"\{\{.*?\}\}|`[^`]*`|https?://\S+", "", TEMPLATE.read_text(), flags=re.DOTALL)
    typed = set(re.findall(r"(?<![\w.])\d*\.\d+(?![\w.])", text))
    bands = {"0.005", "0.55", "0.75", "1.5"}
    assert typed <= {"0.003", "0.01", "0.03", "0.05", "0.1", "0.3"} | bands, (
        "thresholds and grid points may be typed; results may not"
    )


def test_the_prose_is_plain(rendered):
    """Sentences of at most 35 words, in the one vocabulary, numbers as 0.85, tables of at most three columns."""
    template = re.sub(r"\{\{.*?\}\}", "NUMBER", TEMPLATE.read_text(), flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n|\n- |\n\|", template):
        for sentence in style.sentences(" ".join(paragraph.split()).removeprefix("Verdict: ")):
            assert len(style.words(sentence)) <= style.SENTENCE, sentence
    words = r"\b(smart|pull\w*|laws?|controls?|nobody|wants|knows)\b"
    bare = re.sub(r"`[^`]*`|\(http\S*\)|SMaRt", "", template)
    assert not re.findall(words, bare)
    body = rendered.split("## The ledger")[0]
    assert not re.findall(r"(?<![\w.)])-?\.\d", re.sub(r"`[^`]*`", "", body)), (
        "a number without a digit before its point"
    )
    assert max(line.replace("\\|", "").count("|") for line in rendered.splitlines() if line.startswith("|")) <= 4


def test_the_readme_says_what_the_runs_say():
    """Each number of its table, and of its first picture, is that of the training figure, rounded as it is written."""
    drawn = pd.read_csv(results.ROOT / "figures" / "drawn" / "training.csv")
    readme = (results.ROOT / "README.md").read_text()
    ended = drawn[(drawn.preset == "saturated") & (drawn.metric == "off_manifold")].set_index("arm")["mean"]
    shown = re.findall(r"([\d.]+) %", readme.split("*`make run`")[1].split("\n\n")[0])
    assert [float(n) for n in shown] == [round(100 * ended[arm], 1 if arm != "gan" else 0) for arm in ARMS]
    table = readme.split("## What is true, in numbers")[1]
    preset, checked = "saturated", 0
    for row in re.findall(rf"^\|(.*?)\| ({'|'.join(ARMS)}) \| (.*) \|$", table, re.MULTILINE):
        preset = (re.findall(r"--preset (\w+)", row[0]) or [preset])[0]
        for metric, said in zip(METRICS, row[2].split(" | "), strict=True):
            found = drawn[(drawn.preset == preset) & (drawn.arm == row[1]) & (drawn.metric == metric)].iloc[0]
            numbers = re.findall(r"[\d.]+", said)
            for number, column in zip(numbers, ("mean", "low", "high"), strict=False):
                unit = 10.0 ** -len(number.partition(".")[2])
                assert abs(float(number) - found[column]) <= 0.5001 * unit, (preset, row[1], metric, number)
                checked += 1
    assert checked > 90


def test_the_headings_of_the_reproducibility_challenge_are_there_in_order(rendered):
    wanted = [
        "Scope",
        "Methodology",
        "Results",
        "What was easy",
        "What was difficult",
        "Communication with the authors",
    ]
    headings = re.findall(r"^## (.*)$", rendered, re.MULTILINE)
    assert [heading for heading in headings if heading in wanted] == wanted
    for heading in wanted:
        assert len(rendered.split(f"\n## {heading}\n")[1].split("\n## ")[0].split()) > 10, heading


def test_a_verdict_needs_its_conditions():
    assert report.verdict("reproduced if P2 holds") == "**reproduced**"
    with pytest.raises(UsageError, match=r"rests on .*summed, every 8: coverage: helps.*but the results say: hurts"):
        report.verdict("reproduced if P2 holds; frequency: Adam: summed, every 8: coverage: helps")
    with pytest.raises(UsageError, match="unknown verdict 'proved'"):
        report.verdict("proved if P2 holds")


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("claim P99: verdict", "fits 0 rows"),
        ("claim P2: colour", "lacks the column colour"),
        ("ledger P2: ell: measured", "fits 0 rows"),
        ("figure nothing", "unknown figure 'nothing'"),
        ("frequency: Adam: summed, every 9: coverage", "has 0 rows"),
        ("drawn training: preset=default: mean", "fits"),
    ],
)
def test_a_place_that_the_results_do_not_fill_is_an_error(place, complaint):
    with pytest.raises((UsageError, results.ResultsError), match=complaint):
        report.filled(place)


def test_what_is_filled_in_changes_with_the_results(monkeypatch, tmp_path):
    shutil.copytree(results.ROOT / "theory" / "results", tmp_path / "theory" / "results")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    before = report.filled("claim P2: verdict")
    path = tmp_path / "theory" / "results" / "claims.csv"
    path.write_text(path.read_text().replace(",holds", ",fails"))
    assert (before, report.filled("claim P2: verdict")) == ("holds", "fails")
    with pytest.raises(UsageError, match=r"rests on 'P2 holds', but the results say: fails"):
        report.verdict("reproduced if P2 holds")


def test_the_page_holds_all_that_it_names(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    (tmp_path / "b.py").write_text("x = '<b>'\n")
    made = page.of("# T\n\n![see](a.png) [b](b.py)\n", tmp_path)
    assert 'src="data:image/png;base64,' in made
    assert '<a href="#b-py">' in made
    assert '<details id="b-py">' in made
    assert "&lt;b&gt;" in made
    with pytest.raises(results.ResultsError, match=r"names c\.png, which is not there"):
        page.of("![see](c.png)", tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_in_a_browser(rendered, tmp_path):
    sync = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "report.html"
    path.write_text(page.of(rendered, results.ROOT))
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        phone = browser.new_page(viewport={"width": 360, "height": 740})
        complaints, asked = [], []
        phone.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        phone.on("pageerror", lambda error: complaints.append(str(error)))
        phone.on("request", lambda request: asked.append(request.url))
        phone.goto(path.as_uri())
        pictures = phone.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.width])")
        assert len(pictures) == len(re.findall(r"^!\[", rendered, re.MULTILINE))
        assert all(complete and natural > 0 and 250 < shown <= 360 for complete, natural, shown in pictures)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360, "it must not scroll sideways"
        wide = "[...document.querySelectorAll('main .wide')].filter(d => d.scrollWidth > d.clientWidth)"
        assert phone.evaluate(f"{wide}.map(d => d.innerText)") == [], "no table leaves the screen"
        assert phone.evaluate("parseFloat(getComputedStyle(document.querySelector('p')).fontSize)") >= 15
        assert (
            phone.evaluate(
                "[...document.links].filter(a => !document.getElementById(a.hash.slice(1))).map(a => a.href)"
            )
            == []
        )
        link = phone.locator("a[href='#figures-saturation-py']").first
        link.click()
        phone.wait_for_function("document.getElementById('figures-saturation-py').open")
        assert complaints == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        browser.close()
