"""How every figure looks and is saved: one style sheet, one colour for an arm, checked to be legible in one column.

A figure NAME leaves four files in OUT. NAME.csv holds the numbers that are drawn, tidy. NAME.txt holds the caption: a
line with the finding, a line with the panels and conditions, then a line for each source. NAME.png and NAME.pdf are the
picture. They carry a digest of all that decides it (see `digest`) and are drawn again only if the digest changed:
other processors and font libraries draw other pixels of the same numbers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from theory.common import files
from theory.common.checks import suggestion
from theory.common.colours import ARM_COLOURS, COUPLINGS
from theory.common.errors import UsageError

HERE = Path(__file__).parent
SCRIPTS = HERE.parent
# where `save` writes; the runner may change it
OUT = Path(os.environ.get("FIGURES_OUT", files.workplace() / "figures" / "drawn"))
SHEET: Path | None = None  # a style sheet over ours, and which pictures are drawn; the runner may change both
KINDS: Sequence[str] = ("png", "pdf")

COLUMN = 3.35  # inches: the width of every figure, one column of a paper
SMALLEST = 6.0  # points: no text of a figure is smaller
POINT = 1 / 72  # inches; what leaves the page by less is told, and no error: font libraries differ by that much

FINDING, SENTENCE, CAPTION = 15, 35, 150  # words, at most
DIGITS = 5  # significant digits of the numbers in NAME.csv

ADVERSARIAL, SCORE, DETACHED = ARM_COLOURS["gan"], ARM_COLOURS["summed"], ARM_COLOURS["decoupled"]
REAL, NOTE = "#8C8C8C", "#444444"
LABELS: Mapping[str, str] = {name: name for name in COUPLINGS} | {"gan": "GAN"}  # short: a column is narrow


def use(sheet: Path | None = None) -> None:
    """Switches matplotlib to the style, and to a sheet over it, or SHEET.

    Raises:
        UsageError: it is no style sheet, or a font of the style is not installed.
    """
    sheet = sheet or SHEET
    plt.style.use("default")
    plt.style.use(HERE / "smart.mplstyle")
    if sheet is not None:
        try:
            given = [
                line.split(":")[0].strip() for line in sheet.read_text().splitlines() if line.split("#")[0].strip()
            ]
            for name in given:  # of what it does not know matplotlib only warns
                if name not in matplotlib.rcParams:
                    raise ValueError(f"it has no setting {name!r}{suggestion(name, matplotlib.rcParams)}")
            matplotlib.rc_params_from_file(sheet, fail_on_error=True, use_default_template=False)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
            raise UsageError(f"{sheet} is no style sheet of matplotlib: {reason}") from None
        plt.style.use(sheet)
    for family in matplotlib.rcParams["font.family"]:
        try:
            font_manager.findfont(family, fallback_to_default=False)
        except ValueError:
            raise UsageError(f"the figures need the font {family!r}, which is not installed") from None


def panels(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, list[plt.Axes]]:
    """A figure one column wide and `height` inches high, and its axes row by row."""
    figure, axes = plt.subplots(rows, columns, figsize=(COLUMN, height), squeeze=False, **options)  # type: ignore[call-overload]
    return figure, list(axes.flat)


def save(
    figure: Figure,
    name: str,
    finding: str,
    caption: str,
    data: pd.DataFrame,
    sources: Sequence[str],
    also: Sequence[Path] = (),
) -> None:
    """Writes the files of a figure, a picture for each of KINDS. Files that would say the same stay as they are.

    Args:
        figure: COLUMN inches wide.
        name: that of the script, less .py.
        finding: one sentence, what is seen.
        caption: a sentence a panel, then the conditions; Markdown.
        data: the numbers that are drawn, tidy: a row a number.
        sources: where they are from: a results file and the command that makes it.
        also: files with what is drawn and not in data.

    Raises:
        ValueError: the caption is too long, or the figure is not legible in one column (not checked under SHEET).
    """
    text = caption_of(name, finding, caption) + "".join(f"From {source}.\n" for source in sources)
    numbers = data.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")
    before = {end: path.read_text() if (path := OUT / f"{name}.{end}").exists() else None for end in ("csv", "txt")}
    if before["csv"] is not None and same_numbers(before["csv"], numbers):
        numbers = before["csv"]
    mark = digest(name, numbers, text, also)
    stale = [kind for kind in KINDS if not is_marked(OUT / f"{name}.{kind}", mark)]
    if stale:
        for _ in range(2):  # panels of equal aspect move once more
            FigureCanvasAgg(figure).draw()
        figure.set_layout_engine("none")  # made once: a file's bits do not depend on which were drawn before it
        if SHEET is None:
            legible(figure, name)
    OUT.mkdir(parents=True, exist_ok=True)
    for end, content in (("csv", numbers), ("txt", text)):
        if before[end] != content:
            files.write(OUT / f"{name}.{end}", content)
    for kind in stale:
        files.write(OUT / f"{name}.{kind}", rendered(figure, kind, mark))


def caption_of(name: str, finding: str, caption: str) -> str:
    """The two lines of a caption.

    Raises:
        ValueError: names the sentence that is too long, or says that the caption is.
    """
    finding, caption = " ".join(finding.split()), " ".join(caption.split())
    for limit, said in ((FINDING, [finding]), (SENTENCE, sentences(caption))):
        for sentence in said:
            if len(words(sentence)) > limit:
                raise ValueError(f"{name}: {len(words(sentence))} words, at most {limit}: {sentence}")
    if not finding.endswith(".") or len(sentences(finding)) != 1 or not caption.endswith("."):
        raise ValueError(f"{name}: the finding must be one sentence, the caption end with a full stop: {finding}")
    if len(words(f"{finding} {caption}")) > CAPTION:
        raise ValueError(f"{name}: the caption has {len(words(f'{finding} {caption}'))} words, at most {CAPTION}")
    return f"{finding}\n{caption}\n"


def sentences(text: str) -> list[str]:
    """Its sentences: what ends with a full stop before a space or the end."""
    return [part for part in re.split(r"(?<=\.)[*]*\s+", text) if part]


def words(text: str) -> list[str]:
    """What stands between spaces and holds a letter or a digit."""
    return [word for word in text.split() if re.search(r"\w", word)]


def same_numbers(one: str, other: str) -> bool:
    """Whether two CSVs say the same but for the rounding of their last digit, which differs between processors."""
    tables = [[line.split(",") for line in text.splitlines()] for text in (one, other)]
    if [len(row) for row in tables[0]] != [len(row) for row in tables[1]]:
        return False
    pairs = [(a, b) for rows in zip(*tables, strict=True) for a, b in zip(*rows, strict=True) if a != b]
    try:
        first, second = np.array(pairs, float).reshape(-1, 2).T
    except ValueError:  # a word
        return False
    unit = 10.0 ** (np.floor(np.log10(np.maximum(np.maximum(abs(first), abs(second)), 1e-300))) + 1 - DIGITS)
    return bool((abs(first - second) <= 1.001 * unit + 1e-14).all())


def digest(name: str, numbers: str, text: str, also: Sequence[Path] = ()) -> str:
    """A hash of what decides a picture: script (less comments, imports), style, colours, numbers, text, and also."""
    script = (SCRIPTS / f"{name}.py").read_text().splitlines()
    kept = [line for line in script if line and not line.lstrip().startswith(("#", "from ", "import "))]
    found = hashlib.sha256("\n".join(kept).encode())
    found.update(json.dumps([ARM_COLOURS, numbers, text]).encode())
    for path in (HERE / "smart.mplstyle", *([] if SHEET is None else [SHEET]), *also):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return f"drawn from {found.hexdigest()[:32]}"


def is_marked(path: Path, mark: str) -> bool:
    """Whether a picture is there and carries the digest."""
    return path.exists() and mark.encode() in path.read_bytes()


def rendered(figure: Figure, kind: str, mark: str) -> bytes:
    """The bytes of the file, which hold the mark, no date and no version."""
    nothing = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer"), "svg": ("Date", "Creator")}[kind]
    said = {"png": "Comment", "pdf": "Keywords", "svg": "Keywords"}[kind]
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "smart"}):  # names of its parts: the same in every run
        figure.savefig(file, format=kind, metadata={said: mark} | dict.fromkeys(nothing))
    return file.getvalue()


def legible(figure: Figure, name: str) -> None:
    """Checks width, size of text, and that nothing leaves the page.

    What leaves the page by less than a point is told on standard error.

    Raises:
        ValueError: names what is not.
    """
    width, height = figure.get_size_inches()
    if abs(width - COLUMN) > 1e-6:
        raise ValueError(f"{name} must be {COLUMN} inches wide; it is {width:.2f}")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text().strip() and float(text.get_fontsize()) < SMALLEST:
            raise ValueError(
                f"{name} has text of {text.get_fontsize():g} points, below {SMALLEST:g}: {text.get_text()!r}"
            )
    drawn = figure.get_tightbbox(canvas.get_renderer())
    beyond = -min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1)
    said = (
        f"{name} leaves its page of {width:.2f} x {height:.2f} inches by {beyond / POINT:.2g} points: it is drawn from "
        f"({drawn.x0:.2f}, {drawn.y0:.2f}) to ({drawn.x1:.2f}, {drawn.y1:.2f})"
    )
    if beyond >= POINT:
        raise ValueError(said)
    if beyond > 0.1 * POINT:
        print(f"warning: {said}", file=sys.stderr)
