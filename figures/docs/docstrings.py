"""An extension of griffe: docstrings are plain text, in which * and [ mean a product and a shape, and not Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")


class Plain(griffe.Extension):
    """Gives mkdocstrings each docstring as Markdown that shows what stands there."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """A docstring as Markdown: indented blocks and examples as code, signs in sentences and sections as they are.

    >>> print(markdown("E[X] of *n rows:\\n\\n    E[X] * 2"))
    E\\\\[X\\\\] of \\\\*n rows:
    <BLANKLINE>
        E[X] * 2
    """
    lines, code, section = [], False, False
    for line in text.splitlines():
        example = line.startswith(">>> ") or (code and bool(line))
        if example != code:
            lines.append("```" + "python" * example)
            code = example
        section = section or bool(SECTION.match(line))
        block = code or (line.startswith("    ") and not section)
        lines.append(line if block else escaped(line))
    return "\n".join([*lines, "```"] if code else lines)


def escaped(line: str) -> str:
    """A line whose signs of emphasis and of links mean nothing, but between backticks."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*\[\]<])", r"\\\1", part) for part in parts)
