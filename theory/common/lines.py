"""Text in lines of a given width: rows of a table, and paragraphs of Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

ITEM = re.compile(r"- |\d+\. ")


def row(cells: Iterable[str], widths: Iterable[int], text: str, width: int) -> str:
    """The cells in columns of those widths, and the text behind them in as many lines as it needs.

    No line is longer than the width, unless fewer than 20 characters would be left for the text.
    """
    left = " ".join(f"{cell:{size}}" for cell, size in zip(cells, widths, strict=True)) + " "
    return textwrap.fill(text, max(width, len(left) + 20), initial_indent=left, subsequent_indent=" " * len(left))


def reflowed(text: str, width: int) -> Iterator[str]:
    """The text in lines of that width: paragraphs and items of lists are filled, other lines stay lines.

    Those are headings, tables, what stands between $$ and $$, and lines that begin with a space (formulas), other than
    the second lines of an item; where one is too long it is broken between words.
    """
    paragraph: list[str] = []
    formula = False
    for line in text.splitlines():
        item = ITEM.match(paragraph[0]) if paragraph else None
        goes_on = not formula and item is not None and line.startswith(" " * len(item[0])) and bool(line.strip())
        alone = not goes_on and (formula or "$$" in line or not line.strip() or line[0] in " #|")
        if alone or ITEM.match(line):
            yield from filled(paragraph, width)
            paragraph = []
        if alone:
            yield from filled([line], width) if line.strip() else [""]
        else:
            paragraph.append(line)
        formula ^= line.count("$$") % 2 == 1
    yield from filled(paragraph, width)


def filled(lines: Sequence[str], width: int) -> list[str]:
    """The lines as one paragraph, indented like the first; of an item, like its text."""
    text = " ".join(line.strip() for line in lines)
    margin = " " * (len(lines[0]) - len(lines[0].lstrip())) if lines else ""
    hang = ITEM.match(text)
    indent = margin + " " * (len(hang[0]) if hang else 2 if margin else 0)
    return textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=indent, break_on_hyphens=False)
