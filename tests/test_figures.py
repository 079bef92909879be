"""Figures: drawn from committed numbers, the same files twice, one line for what is wrong, legible in a column."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from figures import __main__ as command
from figures.tools import results, style
from tests.commands import contents
from tests.processes import Ended, forked
from theory.common.colours import ARM_COLOURS
from theory.common.commandline import run

ROOT = Path(__file__).parents[1]
DRAWN, COMPUTED = ROOT / "figures" / "drawn", ROOT / "figures" / "computed"


def draw(repository: Path, *names: str, out: str = "figures/drawn", options: tuple[str, ...] = ()) -> Ended:
    return forked("-m", "figures", "--only", *names, "--out", repository / out, *options, cwd=repository)


def copied(directory: Path) -> Path:
    """A copy of what figures are drawn of, and of what was drawn: it may be damaged."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pdf", "tests")
    for room in ("figures", "theory", "toy", "images"):
        shutil.copytree(ROOT / room, directory / room, ignore=unwanted)
    return directory


@pytest.fixture
def looks() -> Iterator[None]:
    """Leaves matplotlib's settings and figures as they were."""
    with mpl.rc_context():
        style.use()
        yield
    plt.close("all")


# the command

FEW = ("published", "beyond_gan")  # none of them imports torch
ALONE = ("--processes", "1")


@pytest.fixture(scope="module")
def drawn_again(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], Ended]:
    """A copy, what was in its figures/drawn, and how drawing FEW there once more ended."""
    repository = copied(tmp_path_factory.mktemp("copy"))
    before = contents(repository / "figures" / "drawn")
    return repository, before, draw(repository, *FEW, options=ALONE)


def test_drawing_what_is_committed_changes_no_file_of_it(drawn_again: tuple[Path, dict[str, bytes], Ended]) -> None:
    """Nothing is computed, and no tracked file is written: git sees nothing. Only .pdf files, which it ignores, are."""
    repository, before, ended = drawn_again
    assert ended.status == 0, ended
    assert "computing" not in ended.err
    assert sorted(line.split()[0] for line in ended.err.splitlines()) == sorted(FEW), ended.err
    after = contents(repository / "figures" / "drawn")
    assert {name: data for name, data in after.items() if not name.endswith(".pdf")} == before
    assert {f"{name}.pdf" for name in FEW} == set(after) - set(before)
    assert contents(repository / "figures" / "computed") == contents(COMPUTED)


def test_a_changed_number_changes_the_picture(drawn_again: tuple[Path, dict[str, bytes], Ended]) -> None:
    """And a change within the rounding of what is written does not: another processor makes such."""
    directory = drawn_again[0] / "figures"
    path = directory / "computed" / "beyond_gan-draws.csv"
    draws, said = pd.read_csv(path, comment="#"), path.read_text().splitlines()[0]
    for change, changed in ((1e-8, set()), (1e-2, {f"beyond_gan.{ending}" for ending in ("png", "pdf", "csv")})):
        before = contents(directory / "drawn")
        moved = draws.assign(x0=draws.x0.where(draws.index != 7, draws.x0 * (1 - change)))
        path.write_text(f"{said}\n{moved.to_csv(index=False)}")
        assert draw(drawn_again[0], "beyond_gan", options=ALONE).status == 0
        after = contents(directory / "drawn")
        assert {name for name in after if after[name] != before[name]} == changed, change


def test_damaged_and_foreign_results_are_named_and_the_others_drawn(tmp_path: Path) -> None:
    repository = copied(tmp_path)
    (repository / "toy" / "results" / "modes.csv").write_bytes(b"\x00\xff\x89PNG")
    (repository / "images" / "published.csv").write_text("name,age\nAda,36\n")
    (repository / "toy" / "results" / "healthy.csv").unlink()
    table = repository / "figures" / "computed" / "beyond_gan-draws.csv"
    table.write_text(table.read_text().replace("0.016", "0.032", 1))
    ended = draw(
        repository, "non_manifold", "published", "regularizers", "beyond_gan", "speed", out="out", options=ALONE
    )
    assert ended.status == 1, ended
    complaints = sorted(line for line in ended.err.splitlines() if line.startswith("error: "))
    wanted = (
        "error: beyond_gan: figures/computed/beyond_gan-draws.csv holds 'draws(tuned={",
        "error: non_manifold: toy/results/modes.csv is not a table of results: ",
        "error: published: images/published.csv lacks the columns dataset, resolution, ",
        "error: regularizers: toy/results/healthy.csv is missing: python -m toy.sweep healthy --out toy/results makes",
    )
    assert len(complaints) == len(wanted), ended.err
    assert all(line.startswith(start) for line, start in zip(complaints, wanted, strict=True)), complaints
    assert set(contents(repository / "out")) == {f"speed.{ending}" for ending in ("png", "pdf", "txt", "csv")}


@pytest.mark.parametrize(
    ("options", "wanted"),
    {
        ("--only", "saturatoin"): "error: unknown figure 'saturatoin': choose from fields, saturation, ",
        ("--only", "saturation", "digts"): "error: unknown figure 'digts': choose from ",
        ("--processes", "0"): "error: --processes must be a whole number of at least 1; given 0\n",
        ("--onyl", "digits"): "error: Unrecognized options: --onyl",
    }.items(),
)
def test_bad_usage_is_one_line(
    options: tuple[str, ...], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command.main, [*options, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(wanted)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_names_ignore_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(command, "draw_all", lambda names, _: asked.append(names) or {})
    assert run(command.main, ["--only", "Saturation", "--out", str(tmp_path)]) == 0
    assert asked == [["saturation"]]


@pytest.mark.usefixtures("looks")
def test_a_missing_font_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = (style.HERE / "smart.mplstyle").read_text().replace("DejaVu Sans", "No Such Font")
    (tmp_path / "smart.mplstyle").write_text(sheet)
    monkeypatch.setattr(style, "HERE", tmp_path)
    assert run(command.main, ["--only", "digits", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "error: the figures need the font 'No Such Font', which is not installed\n"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (KeyboardInterrupt, "interrupted; what was drawn is kept"),
        (BrokenProcessPool, "a process was killed (out of memory?); what was drawn is kept"),
    ],
)
def test_what_ends_it_early_is_one_line(
    end: type[BaseException],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ended(*_: object) -> None:
        raise end

    monkeypatch.setattr(command, "draw_all", ended)
    assert run(command.main, ["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def test_one_figure_in_a_style_of_ones_own_as_pdf_and_svg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of README, with a sheet of two lines; the same bytes twice; figures/drawn stays as it is."""
    before = contents(DRAWN)
    readme = (ROOT / "README.md").read_text()
    (line,) = re.findall(r"^python -m figures --only (.*?) *(?:#.*)?$", readme, re.MULTILINE)
    assert line == "beyond_gan --style paper.mplstyle --format pdf svg"
    monkeypatch.chdir(tmp_path)
    sheets = {"paper": "font.family: serif\nlines.linewidth: 3\n", "other": "font.family: serif\nlines.linewidth: 2\n"}
    made = {}
    for name, place in (("paper", "one"), ("paper", "two"), ("other", "three")):
        Path("paper.mplstyle").write_text(sheets[name])
        assert run(command.main, ["--only", *line.split(), "--out", place]) == 0, capsys.readouterr().err
        made[place] = contents(tmp_path / place)
    assert set(made["one"]) == {f"beyond_gan.{ending}" for ending in ("pdf", "svg", "txt", "csv")}
    assert made["one"] == made["two"]
    assert made["one"]["beyond_gan.svg"] != made["three"]["beyond_gan.svg"]
    assert b"DejaVu Serif" in made["one"]["beyond_gan.svg"] or b"DejaVuSerif" in made["one"]["beyond_gan.pdf"]
    assert b"DejaVuSans-Bold" not in made["one"]["beyond_gan.pdf"]
    assert made["one"]["beyond_gan.pdf"].startswith(b"%PDF")
    assert contents(DRAWN) == before


def test_what_is_no_style_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mplstyle").write_text("lines.linewidth: thick\n")
    (tmp_path / "odd.mplstyle").write_text("lines.linewdith: 2\n")
    for name, says in (
        ("none", "No such file or directory"),
        ("bad", "thick"),
        ("odd", "no setting 'lines.linewdith'; did you mean 'lines.linewidth'?"),
    ):
        path = tmp_path / f"{name}.mplstyle"
        assert run(command.main, ["--only", "beyond_gan", "--style", str(path), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {path} is no style sheet of matplotlib: ")
        assert says in said
        assert said.count("\n") == 1
    assert run(command.main, ["--only", "beyond_gan", "--format", "gif", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_style_of_ones_own_is_not_written_over_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(command, "draw_all", lambda _, options: asked.append(options.out) or {})
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    for options in ([], ["--format", "pdf"], ["--format", "png", "pdf"]):
        assert run(command.main, ["--only", "published", *options]) == 0
    assert asked == [style.OUT, ROOT / "out" / "figures", style.OUT]


# what is committed


@pytest.mark.parametrize("name", command.NAMES)
def test_every_script_gives_what_is_committed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its numbers to rounding, its caption, and the picture's digest, from committed tables alone; nothing is drawn."""
    saved = []

    def save(figure: object, to: str, finding: str, caption: str, data: pd.DataFrame, sources, also=()) -> None:
        text = style.caption_of(to, finding, caption) + "".join(f"From {source}.\n" for source in sources)
        numbers, kept = data.to_csv(index=False, float_format="%.5g", lineterminator="\n"), DRAWN / f"{to}.csv"
        assert text == (DRAWN / f"{to}.txt").read_text(), f"make figures ONLY={name}"
        assert style.same_numbers(kept.read_text(), numbers), f"make figures ONLY={name}"
        assert style.is_marked(DRAWN / f"{to}.png", style.digest(to, kept.read_text(), text, also)), "make figures"
        saved.append(to)

    monkeypatch.setattr(style, "save", save)
    with mpl.rc_context():
        runpy.run_path(str(style.SCRIPTS / f"{name}.py"), run_name=f"figures.{name}")
    plt.close("all")
    assert saved == [name]
    assert capsys.readouterr().err == "", "nothing is computed"


def test_every_figure_is_committed_and_small() -> None:
    sizes = []
    for name in command.NAMES:
        sizes.append((DRAWN / f"{name}.png").stat().st_size)
        assert sizes[-1] < 300_000, name
        assert len(pd.read_csv(DRAWN / f"{name}.csv")), name
    pictures = [path.stat().st_size for path in ROOT.glob("*/*.png")]
    assert sum(sizes) + sum(pictures) < 5_000_000
    tables = [path.stat().st_size for path in COMPUTED.iterdir()]
    assert max(tables) < 110_000
    assert sum(tables) < 700_000


@pytest.mark.parametrize("name", command.NAMES)
def test_captions_are_plain(name: str) -> None:
    """Short, in the one vocabulary, numbers as 0.85; the finding, the panels and conditions, the sources."""
    finding, caption, *sources = (DRAWN / f"{name}.txt").read_text().splitlines()
    assert style.caption_of(name, finding, caption) == f"{finding}\n{caption}\n"
    assert sources
    assert all(source.startswith("From ") and source.endswith(".") for source in sources)
    words = r"\b(smart|push\w*|pull\w*|laws?|controls?|nobody|wants|knows|told)\b"
    assert not re.findall(words, f"{finding} {caption}".replace("SMaRt", ""), re.IGNORECASE)
    assert not re.findall(r"(?<![\w.])\.\d", finding + caption), "a number without a digit before the point"
    assert "recipe" not in finding + caption or name == "digits", "a recipe is a configuration of images/"


def test_colours_are_those_of_the_rooms() -> None:
    """No script has a table of arms' colours of its own."""
    taken = {colour for arm, colour in ARM_COLOURS.items() if arm in ("gan", "summed", "decoupled")}
    for path in style.SCRIPTS.glob("*.py"):
        assert not taken & set(re.findall(r"#[0-9A-Fa-f]{6}", path.read_text())), path


# numbers

QUICK = ("bound-measure", "equilibrium-predict")


@pytest.mark.parametrize("which", QUICK)
def test_committed_numbers_are_those_of_the_function(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of functions that are exact and quick, in float64: to 1e-5 of the largest, for rounding and quadrature."""
    name, _, function = which.partition("-")
    taken: dict[str, pd.DataFrame] = {}

    class Done(Exception):
        pass

    def computed(figure: str, make, digits: int = 12, **config):
        if make.__name__ != function:
            raise AssertionError(make.__name__)
        taken["made"] = make(**config)
        raise Done

    monkeypatch.setattr(results, "computed", computed)
    with mpl.rc_context(), pytest.raises(Done):
        runpy.run_path(str(style.SCRIPTS / f"{name}.py"), run_name=f"figures.{name}")
    kept = pd.read_csv(COMPUTED / f"{which}.csv", comment="#")
    made = taken["made"].reset_index(drop=True)
    assert list(made.columns) == list(kept.columns)
    assert len(made) == len(kept)
    for column in kept:
        if kept[column].dtype == float:
            scale = kept[column].abs().max()
            np.testing.assert_allclose(made[column].to_numpy(float), kept[column], rtol=1e-5, atol=1e-5 * scale)
        else:
            assert made[column].astype(str).tolist() == kept[column].astype(str).tolist()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "figures").mkdir()
    return tmp_path


def counted(calls: list[int]):
    """A function of a figure, which notes its calls."""

    def measure(count: int) -> pd.DataFrame:
        calls.append(count)
        return pd.DataFrame({"x": [i / 3 for i in range(count)]})

    return measure


def test_what_is_committed_is_read(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    first, source = results.computed("some", counted(calls), count=3)
    said = capsys.readouterr().err
    assert said.startswith("some: computing measure(count=3)\nsome: computed in ")
    path = repository / "figures" / "computed" / "some-measure.csv"
    assert path.read_text().splitlines()[:2] == ["# measure(count=3)", "x"]
    assert source == "figures/computed/some-measure.csv (make figures ONLY=some FRESH=1)"
    again, _ = results.computed("some", counted(calls), count=3)
    assert calls == [3]
    assert again.equals(first)
    path.write_text("# measure(count=3)\nx\n8.0\n")
    assert results.computed("some", counted(calls), count=3)[0].x.tolist() == [8.0]
    assert calls == [3]
    assert capsys.readouterr().err == ""


def test_fresh_computes_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    results.computed("some", counted(calls), count=3)
    monkeypatch.setattr(results, "FRESH", True)
    results.computed("some", counted(calls), count=2)
    assert calls == [3, 2]
    assert len(results.table(repository / "figures" / "computed" / "some-measure.csv", [])) == 2


def test_a_training_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        results.ResultsError, match=r"^python -m toy.run --stpes 1 .* ended with status 2: error: Unrec"
    ):
        results.training(tmp_path / "run", "--stpes", "1")


def test_numbers_of_other_arguments_are_refused(repository: Path) -> None:
    calls: list[int] = []
    results.computed("some", counted(calls), count=3)
    with pytest.raises(results.ResultsError, match=r"holds 'measure\(count=3\)', not 'measure\(count=2\)': make fig"):
        results.computed("some", counted(calls), count=2)
    assert calls == [3]


# style


def drawing(size: float = 7, width: float = style.COLUMN) -> tuple[plt.Figure, plt.Axes]:
    figure, (axes,) = style.panels(1, 1, 2.0)
    figure.set_size_inches(width, 2.0)
    axes.set_title("what is seen", fontsize=size)
    return figure, axes


@pytest.mark.usefixtures("looks")
def test_a_legible_figure_passes() -> None:
    style.legible(drawing(size=style.SMALLEST)[0], "good")


@pytest.mark.usefixtures("looks")
def test_small_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^small has text of 5.9 points, below 6: 'what is seen'$"):
        style.legible(drawing(size=5.9)[0], "small")


@pytest.mark.usefixtures("looks")
def test_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^wide must be 3.35 inches wide; it is 3.45$"):
        style.legible(drawing(width=3.45)[0], "wide")


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("place", [(-0.05, 0.5), (0.95, 0.5), (0.5, -0.05), (0.5, 0.99)])
def test_text_off_the_page_is_refused(place: tuple[float, float]) -> None:
    figure, _ = drawing()
    figure.text(*place, "beyond")
    with pytest.raises(ValueError, match=r"^off leaves its page of 3.35 x 2.00 inches by [\d.]+ points: it is drawn "):
        style.legible(figure, "off")


@pytest.mark.usefixtures("looks")
def test_less_than_a_point_off_the_page_is_told_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Font libraries differ by that much."""
    for beyond, said in ((0.05, ""), (0.5, "warning: near leaves its page of 3.35 x 2.00 inches by 0.5 points")):
        figure, axes = drawing()
        axes.remove()
        line = plt.Line2D([0, 1 + beyond * style.POINT / style.COLUMN], [0.5, 0.5], lw=0, transform=figure.transFigure)
        figure.add_artist(line)
        style.legible(figure, "near")
        assert capsys.readouterr().err.startswith(said)
    line.set_xdata([0, 1 + 1.01 * style.POINT / style.COLUMN])
    with pytest.raises(ValueError, match=r"leaves its page .* by 1 points"):
        style.legible(figure, "near")


@pytest.mark.usefixtures("looks")
def test_a_picture_is_drawn_again_only_if_what_decides_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save draws other bytes, as another processor or font library does."""
    script, also, count = tmp_path / "some.py", tmp_path / "samples", iter(range(100))
    monkeypatch.setattr(style, "SCRIPTS", tmp_path)
    monkeypatch.setattr(style, "OUT", tmp_path / "out")
    monkeypatch.setattr(style, "rendered", lambda figure, kind, mark: f"{kind}, {next(count)}, {mark}".encode())
    script.write_text("import os\n# a comment\nx = 1\n")
    also.write_text("samples")
    figure = drawing()[0]

    def drawn(value: float = 0.123456, finding: str = "It falls.") -> bytes:
        style.save(figure, "some", finding, "It falls.", pd.DataFrame({"x": [value]}), ["a file"], [also])
        return (tmp_path / "out" / "some.png").read_bytes()

    first = drawn()
    assert drawn() == first
    assert drawn(value=0.12347) == first, "the last digit that is written"
    script.write_text("import sys\n# another comment\n\nx = 1\n")
    assert drawn() == first
    assert drawn(value=0.1236) != first
    for change in (
        lambda: drawn(finding="It rises."),
        lambda: script.write_text("x = 2\n"),
        lambda: also.write_text("other samples"),
        lambda: monkeypatch.setattr(style, "ARM_COLOURS", {}),
        lambda: (tmp_path / "out" / "some.png").unlink(),
    ):
        before = drawn()
        assert drawn() == before
        change()
        assert drawn() != before
        assert drawn() == drawn()


@pytest.mark.usefixtures("looks")
def test_a_file_s_bits_do_not_depend_on_those_drawn_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when one of them did not fit on the disk, and the command runs again."""
    monkeypatch.setattr(style, "SCRIPTS", tmp_path)
    (tmp_path / "some.py").write_text("")
    found = []
    for name in ("both", "one"):
        monkeypatch.setattr(style, "OUT", tmp_path / name)
        figure, axes = style.panels(2, 2, 1.7)
        for panel in axes:
            panel.set_aspect("equal")  # a layout that moves each time it is made
            panel.set(title="a panel of a long name", xlabel="x", xlim=(0, 3))
            panel.set_yticks([0, 1, 2], ["one", "a second one", "3"])
        monkeypatch.setattr(style, "KINDS", ("png", "pdf") if name == "both" else ("pdf",))
        style.save(figure, "some", "It falls.", "It falls.", pd.DataFrame({"x": [1]}), ["a file"])
        found.append((tmp_path / name / "some.pdf").read_bytes())
    assert found[0] == found[1]


LONG = " ".join(["word"] * 36)


@pytest.mark.parametrize(
    ("finding", "caption", "said"),
    [
        (" ".join(["word"] * 16) + ".", "It rises.", r"^some: 16 words, at most 15: word "),
        ("It falls. It rises.", "It rises.", r"^some: the finding must be one sentence"),
        ("It falls", "It rises.", r"^some: the finding must be one sentence"),
        ("It falls.", f"*Top:* it rises at 0.5. {LONG}.", r"^some: 36 words, at most 35: word "),
        ("It falls.", " ".join(["It rises up here."] * 40), r"^some: the caption has 162 words, at most 150$"),
    ],
)
@pytest.mark.usefixtures("looks")
def test_a_long_caption_is_refused(
    finding: str, caption: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "OUT", tmp_path)
    with pytest.raises(ValueError, match=said):
        style.save(drawing()[0], "some", finding, caption, pd.DataFrame({"x": [1]}), ["a file"])
    assert not list(tmp_path.iterdir())


def test_a_caption_of_several_sentences_passes() -> None:
    words = " ".join(["word"] * 34)
    assert style.caption_of("some", "It  falls.", f"*Top:* {words}.\n*Bottom:* it rises by 0.5.").count("\n") == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a,b\nx,0.12345\n", "a,b\nx,0.12346\n", True),
        ("a,b\nx,0.12345\n", "a,b\nx,0.12347\n", False),
        ("a,b\nx,9.9999\n", "a,b\nx,10\n", True),
        ("a,b\nx,1e-17\n", "a,b\nx,0\n", True),
        ("a,b\nx,1\n", "a,b\ny,1\n", False),
        ("a,b\nx,1\n", "a,b\nx,\n", False),
        ("a,b\nx,1\n", "a,b\nx,1\nx,1\n", False),
        ("a,b\nx,1\n", "a,c\nx,1\n", False),
    ],
)
def test_numbers_are_the_same_to_rounding(one: str, other: str, same: bool) -> None:
    assert style.same_numbers(one, other) is same
