"""Own parts of a run: how they are written, which file and which object are meant, and one line where they fail."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from theory.common import parts
from theory.common.errors import FileError
from theory.common.parts import Part, choose_or_own, digest_of, is_own, label, load, part_of, read, tried

LAWS = "import sys\n\nheart = [1, 2]\n_hidden = 3\nran = sys.__dict__.setdefault('own_runs', [])\nran.append(1)\n"
DIGEST = hashlib.sha256(LAWS.encode()).hexdigest()[:16]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.__dict__, "own_runs", [])
    parts.module_of.cache_clear()
    (tmp_path / "laws.py").write_text(LAWS)
    (tmp_path / "points.csv").write_text("0,1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("points.csv", Part("points.csv", "csv", None, None)),
        ("a.b/Points.NPY", Part("a.b/Points.NPY", "npy", None, None)),
        ("laws.py:heart", Part("laws.py", "py", "heart", None)),
        ("laws.py:", Part("laws.py", "py", "", None)),
        (f"laws.py:heart@{DIGEST}", Part("laws.py", "py", "heart", DIGEST)),
        (f"points.csv@{DIGEST}", Part("points.csv", "csv", None, DIGEST)),
        ("ring", None),
        ("laws.pyc", None),
        ("laws.py:heart@0123", None),
        (".py", None),
    ],
)
def test_how_a_part_is_written(value: str, wanted: Part | None) -> None:
    assert part_of(value) == wanted
    assert is_own(value) == (wanted is not None)


def test_a_title_names_file_and_object() -> None:
    assert label(f"/a/b/laws.py:heart@{DIGEST}") == "laws.py:heart"
    assert label("/a/b/points.csv") == "points.csv"
    assert label("8-ring") == "8-ring"


def test_a_choice_or_a_part_with_its_digest() -> None:
    assert choose_or_own("law", "Ring", ["ring"]) == "ring"
    assert choose_or_own("law", "laws.py:heart", ["ring"]) == f"laws.py:heart@{DIGEST}"
    assert choose_or_own("law", f"laws.py:heart@{DIGEST}", ["ring"]) == f"laws.py:heart@{DIGEST}"
    table = digest_of(Path("points.csv").read_bytes())
    assert choose_or_own("law", "points.csv", ["ring"], ("csv", "py")) == f"points.csv@{table}"


@pytest.mark.parametrize(
    ("value", "kinds", "says"),
    [
        ("rign", ("csv", "py"), "unknown law 'rign'.*did you mean 'ring'.*; or your own: FILE.csv or FILE.py:NAME$"),
        (3, ("py",), "law must be one of ring, box; given 3; or your own: FILE.py:NAME$"),
        ("points.csv", ("py",), "law must be FILE.py:NAME, or one of ring, box; given points.csv"),
        ("points.csv:x", ("csv",), "law must be FILE.csv, or one of ring, box; given points.csv:x"),
        ("laws.py", ("py",), "law must name an object of the file: laws.py:NAME; given laws.py$"),
        ("laws.py:", ("py",), "law must name an object of the file: laws.py:NAME; given laws.py:$"),
        ("laws.py:1st", ("py",), "law must name an object of the file: laws.py:NAME; given laws.py:1st$"),
    ],
)
def test_what_is_neither_is_refused(value: object, kinds: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        choose_or_own("law", value, ["ring", "box"], kinds)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named_with_the_directory(here: Path) -> None:
    gone = Part("gone.py", "py", "x", None)
    with pytest.raises(FileError, match=re.escape(f"gone.py: No such file or directory (in {here})")):
        read(gone)
    with pytest.raises(FileError, match=r"gone.py: No such file or directory$"):
        read(gone._replace(path=str(here / "gone.py")))


def test_a_file_that_has_changed_is_told(here: Path) -> None:
    part = part_of(f"laws.py:heart@{DIGEST}")
    assert part is not None
    assert read(part) == LAWS.encode()
    (here / "laws.py").write_text("heart = 4\n")
    with pytest.raises(FileError, match=f"laws.py has changed since the run began: .*that of the run with {DIGEST}"):
        load(str(part) + f"@{DIGEST}")


def test_each_content_of_a_file_is_run_once(here: Path) -> None:
    heart = load("laws.py:heart")
    assert heart == [1, 2]
    assert load("laws.py:heart") is heart
    assert load("laws.py:ran") == [1]
    (here / "laws.py").write_text(LAWS.replace("[1, 2]", "[3]"))
    assert load("laws.py:heart") == [3]
    assert load("laws.py:ran") == [1, 1]
    assert sys.modules[f"own_{DIGEST}"].heart is heart  # where pickle looks for it
    assert sys.modules[f"own_{DIGEST}"].__file__ == "laws.py"  # where the file looks for its neighbours


def test_an_object_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(FileError, match=r"laws.py has no haert; did you mean 'heart'"):
        load("laws.py:haert")
    with pytest.raises(FileError, match=r"laws.py has no _hiden$"):
        load("laws.py:_hiden")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def f():\n    return 1 / 0\n\n\nf()\n", "laws.py cannot be run: ZeroDivisionError, line 2: division by zero"),
        ("x = 1\ny = (\n", "laws.py cannot be run: SyntaxError, line 2: '(' was never closed"),
        ("import math\nmath.sqrt(-1)\n", "laws.py cannot be run: ValueError, line 2: "),
        ("raise SystemExit(3)\n", "laws.py cannot be run: SystemExit, line 1: 3"),
        ("raise ValueError('a\\n b' + 'c' * 200)\n", f"laws.py cannot be run: ValueError, line 1: a b{'c' * 157}$"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_in_one_line(here: Path, text: str, says: str) -> None:
    (here / "laws.py").write_text(text)
    with pytest.raises(FileError, match="^" + says.replace("(", "\\(")):
        load("laws.py:heart")


def test_what_a_function_of_the_user_raises() -> None:
    part = part_of("laws.py:heart")
    assert part is not None
    assert tried(part, "fails", lambda a, b: a + b, 1, 2) == 3

    def fail() -> None:
        raise ValueError("why")

    with pytest.raises(FileError, match=r"^laws.py:heart fails: ValueError: why$"):  # not in the user's file: no line
        tried(part, "fails", fail)
    with pytest.raises(FileError, match=r"^laws.py:heart fails: ValueError: why$"):
        tried("laws.py:heart", "fails", fail)
    ours = FileError("ours")

    def fail_ours() -> None:
        raise ours

    with pytest.raises(FileError, match=r"^ours$") as caught:
        tried(part, "fails", fail_ours)
    assert caught.value is ours
