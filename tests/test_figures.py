"""Figures: the same bytes for the same results, one line for what is wrong, legible, never of stale numbers."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from figures import __main__ as command
from figures.tools import results, style
from tests.commands import Ended, contents, python

ROOT = Path(__file__).parents[1]


def draw(repository: Path, *names: str) -> Ended:
    return python("-m", "figures", "--only", *names, "--out", repository / "out", cwd=repository)


def copied(directory: Path) -> Path:
    """A copy of what figures are drawn of: its results may be damaged."""
    unwanted = shutil.ignore_patterns("__pycache__", "drawn", "test_*")
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


def test_damaged_and_foreign_results_are_named_and_the_others_drawn_the_same(tmp_path: Path) -> None:
    """None of these figures imports torch; each command draws the digits once."""
    sound, damaged = copied(tmp_path / "sound"), copied(tmp_path / "damaged")
    assert draw(sound, "digits").status == 0
    found = contents(sound / "out")
    assert set(found) == {f"digits.{ending}" for ending in ("png", "pdf", "txt", "csv")}

    (damaged / "toy" / "results" / "modes.csv").write_bytes(b"\x00\xff\x89PNG")
    (damaged / "images" / "published.csv").write_text("name,age\nAda,36\n")
    ended = draw(damaged, "non_manifold", "published", "digits")
    assert ended.status == 1, ended
    first, second = sorted(line for line in ended.err.splitlines() if not line.startswith("digits "))
    assert first.startswith("error: non_manifold: toy/results/modes.csv is not a table of results: ")
    assert second.startswith("error: published: images/published.csv lacks the columns dataset, resolution, ")
    assert contents(damaged / "out") == found


@pytest.mark.parametrize(
    ("options", "wanted"),
    {
        ("--only", "saturatoin"): "error: unknown figure 'saturatoin': choose from fields, saturation, ",
        ("--only", "saturation", "digts"): "error: unknown figure 'digts': choose from ",
        ("--processes", "0"): "error: --processes must be at least 1; given 0\n",
        ("--onyl", "digits"): "error: Unrecognized options: --onyl",
    }.items(),
)
def test_bad_usage_is_one_line(
    options: tuple[str, ...], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*options, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(wanted)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("looks")
def test_a_missing_font_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = (style.HERE / "smart.mplstyle").read_text().replace("DejaVu Sans", "No Such Font")
    (tmp_path / "smart.mplstyle").write_text(sheet)
    monkeypatch.setattr(style, "HERE", tmp_path)
    assert command.main(["--only", "digits", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "error: the figures need the font 'No Such Font', which is not installed\n"


# what is committed


def test_every_figure_is_committed_and_small() -> None:
    sizes = []
    for name in command.NAMES:
        assert (style.HERE / f"{name}.py").is_file(), name
        picture, numbers = (style.HERE / "drawn" / f"{name}.{ending}" for ending in ("png", "csv"))
        sizes.append(picture.stat().st_size)
        assert sizes[-1] < 300_000, name
        assert len(pd.read_csv(numbers)), name
        caption, source = (style.HERE / "drawn" / f"{name}.txt").read_text().splitlines()
        assert caption.endswith("."), name
        assert ". " not in caption, name
        assert source.startswith("From "), name
    pictures = [path.stat().st_size for path in ROOT.glob("*/*.png")]
    assert sum(sizes) + sum(pictures) < 5_000_000


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (KeyboardInterrupt, "interrupted; what was"),
        (BrokenProcessPool, "a process was killed (out of memory?); what was"),
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
    assert command.main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {said} computed is kept\n"


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
    with pytest.raises(ValueError, match=r"^off leaves its page of 3.35 x 2.00 inches: it is drawn from "):
        style.legible(figure, "off")


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("caption", ["It falls. It rises.", "It falls"])
def test_a_caption_is_one_sentence(caption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "OUT", tmp_path)
    with pytest.raises(ValueError, match=r"^the caption of some must be one sentence; given: It falls"):
        style.save(drawing()[0], "some", caption, pd.DataFrame({"x": [1]}), ["a file"])
    assert not list(tmp_path.iterdir())


# what is computed once

SCRIPT = """
import pandas as pd
FACTORS = (2.0, 3.0)
UNUSED = 1
def inner(x):
    return [FACTORS[0] * x for _ in range(2)]
def helper(x):
    return inner(x)[0] + FACTORS[1]
def make(count):
    return pd.DataFrame({"x": [helper(i) for i in range(count)]})
def other():
    return 5
"""


class Computed:
    """Runs the script, changed so, and asks for what its `make` gives."""

    def __init__(self, directory: Path):
        self.directory, self.runs = directory, 0

    def __call__(self, old: str = "", new: str = "", count: int = 3, rooms: tuple[str, ...] = ()) -> list[float]:
        self.runs += 1
        path = self.directory / f"script{self.runs}.py"
        path.write_text(SCRIPT.replace(old, new))
        make = runpy.run_path(str(path), run_name="figures.script")["make"]
        return results.computed(make, rooms=rooms, count=count)[0]["x"].tolist()

    def kept(self) -> list[Path]:
        return list(results.CACHE.iterdir())


@pytest.fixture
def computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computed:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "CACHE", tmp_path / "cache")
    return Computed(tmp_path)


def test_nothing_is_computed_twice(computed: Computed) -> None:
    assert computed() == [3.0, 5.0, 7.0]
    (kept,) = computed.kept()
    kept.write_text("x\n8.0\n")
    assert computed() == [8.0]  # in another file, as another run would
    assert computed("UNUSED = 1", "UNUSED = 2") == [8.0]
    assert computed("return 5", "return 6") == [8.0]
    assert computed.kept() == [kept]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("range(count)", "range(count, 0, -1)", [9.0, 7.0, 5.0]),
        ("(2.0, 3.0)", "(2.0, 4.0)", [4.0, 6.0, 8.0]),
        ("[0] + FACTORS", "[1] - FACTORS", [-3.0, -1.0, 1.0]),
        ("[0] * x", "[1] * x", [3.0, 6.0, 9.0]),
    ],
    ids=["itself", "constant", "helper", "helper's helper, in a comprehension"],
)
def test_a_change_is_computed_again(old: str, new: str, wanted: list[float], computed: Computed) -> None:
    computed()
    assert computed(old, new) == wanted
    assert len(computed.kept()) == 2


def test_another_argument_is_computed_again(computed: Computed) -> None:
    assert computed(count=3) == [3.0, 5.0, 7.0]
    assert computed(count=2) == [3.0, 5.0]


def test_a_change_of_a_room_is_computed_again(computed: Computed) -> None:
    room = computed.directory / "theory"
    room.mkdir()
    for name, kept in (("laws.py", 1), ("test_laws.py", 1), ("levels.py", 2)):
        (room / name).write_text("")
        results.sources.cache_clear()
        computed(rooms=("theory",))
        assert len(computed.kept()) == kept, name
    results.sources.cache_clear()
