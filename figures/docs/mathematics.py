"""A hook of MkDocs: formulas become MathML when the site is built, so that a page needs no script for them."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(?:span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</(?:span|div)>)', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page's HTML with MathML in the place of what the extension arithmatex has marked as a formula."""
    return FORMULA.sub(converted, content)


def converted(formula: re.Match[str]) -> str:
    before, kind, text, after = formula.groups()
    return before + convert(html.unescape(text), display="block" if kind == "[" else "inline") + after
