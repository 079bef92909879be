"""One HTML page of a Markdown document, with everything that it shows and links to inside: no request leaves it."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from figures.tools.results import ResultsError

HERE = Path(__file__).parent
LINK = re.compile(r'(<a href=")(?!https?:|#)([^"]+)(")')
IMAGE = re.compile(r'(<img src=")([^"]+\.png)(")')


def of(markdown: str, root: Path) -> str:
    """The page.

    Args:
        markdown: the document; its pictures are PNG files, its links lead to text files, both relative to root.
        root: a directory.

    Raises:
        ResultsError: a file that the document names is not there.
    """
    body = html_of(markdown)
    linked = list(dict.fromkeys(path for _, path, _ in LINK.findall(body)))
    appendix = "\n".join(included(path, root) for path in linked)
    body = LINK.sub(lambda link: f"{link[1]}#{anchor(link[2])}{link[3]}", body)
    body = IMAGE.sub(lambda image: f"{image[1]}{inlined(image[2], root)}{image[3]}", body)
    frame = (HERE / "page.html").read_text()
    title = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    filled = {"title": html.escape(title[1] if title else ""), "body": body, "appendix": appendix}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], frame)


def html_of(markdown: str) -> str:
    """The document as HTML, each heading with a name, each table in a box that scrolls by itself."""
    from markdown_it import MarkdownIt  # of the extra figures: if it is missing, the command says so in a line

    rendered = MarkdownIt("commonmark").enable("table").render(markdown)
    rendered = re.sub(r"<h2>(.*?)</h2>", lambda h: f'<h2 id="{slug(h[1])}">{h[1]}</h2>', rendered)
    return rendered.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def included(path: str, root: Path) -> str:
    """A linked file, folded: a document rendered (its own links dropped), anything else as it is."""
    text = read(root / path, path).decode()
    if path.endswith(".md"):
        shown = re.sub(r'<a href="[^"]*">(.*?)</a>', r"\1", html_of(text), flags=re.DOTALL)
    else:
        shown = f'<pre class="wide">{html.escape(text)}</pre>'
    return f'<details id="{anchor(path)}"><summary><code>{html.escape(path)}</code></summary>{shown}</details>'


def inlined(path: str, root: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(read(root / path, path)).decode()


def read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ResultsError(f"the document names {name}, which is not there") from None


def slug(heading: str) -> str:
    """The name under which a heading is linked to, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"<[^>]*>|`", "", heading).lower()).replace(" ", "-")


def anchor(path: str) -> str:
    return re.sub(r"\W+", "-", path)
