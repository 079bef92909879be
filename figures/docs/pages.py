"""The pages of the site, each from the one place where its text stands: no copy is kept in git."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from figures.__main__ import NAMES
from figures.notebooks import TUTORIALS
from figures.report import __main__ as report
from figures.tools.results import ROOT, ResultsError
from theory.claims.claim import Claim
from theory.claims.ledger import ledger

HERE = Path(__file__).parent
API = {  # a part of the navigation -> modules
    "Distributions and the loss": (
        "theory.manifolds",
        "theory.manifolds.law",
        "theory.manifolds.catalogue",
        "theory.manifolds.combinators",
        "theory.manifolds.points",
        "theory.levels",
        "theory.regularity",
    ),
    "Games": ("theory.equilibrium", "theory.critical_noise", "theory.decoupling", "theory.divergences"),
    "Claims": ("theory.claims.claim",),
    "Toy": ("toy.api", "toy.config"),
    "Images": ("images.denoisers", "images.denoisers.own", "images.training.regularity", "images.recipes"),
}
DOCUMENTS = {  # a file of the repository -> its page
    "README.md": "index.md",
    "paper_repro.md": "report.md",
    "toy/FINDINGS.md": "findings.md",
    "toy/README.md": "toy.md",
    "toy/OWN_PARTS.md": "own_toy.md",
    "images/OWN_PARTS.md": "own_images.md",
    "images/README.md": "images.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PICTURES = ("ring.png", "ring.gif")  # of README
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)#\s]*)(#[^)\s]*)?\)")
KEPT = re.compile(r"(^```.*?^```[ ]*$|\$\$.+?\$\$|\$[^$]+\$)", re.DOTALL | re.MULTILINE)  # fences and formulas

Pages = dict[str, str | bytes]


def site() -> tuple[Pages, list[Any]]:
    """The files of the site by their path, and the navigation.

    Raises:
        ResultsError: a source is missing or damaged. UsageError: a page names a result that there is not.
    """
    claims = ledger()
    places = placed(claims)
    pages: Pages = {"style.css": (HERE / "style.css").read_text()}
    pages |= {name: (ROOT / "figures" / name).read_bytes() for name in PICTURES}
    for source, page in DOCUMENTS.items():
        pages[page] = linked((ROOT / source).read_text(), source, page, places)
    for name in ("faq", "add"):
        text = report.render((HERE / f"{name}.md").read_text()) if name == "faq" else (HERE / f"{name}.md").read_text()
        pages[f"{name}.md"] = linked(text, f"figures/docs/{name}.md", f"{name}.md", places)
    for name in TUTORIALS:
        pages |= tutorial(name)
    for name in NAMES:
        pages |= figure(name)
    pages["gallery/index.md"] = gallery()
    for claim in claims:
        pages[f"claims/{claim.id}.md"] = claim_page(claim, places)
    table = linked(report.claims(), "paper_repro.md", "claims/index.md", places)
    pages["claims/index.md"] = f"# Claims\n\n{CLAIMS}\n\n{table}\n"
    modules = [module for part in API.values() for module in part]
    for module in modules:
        pages[f"api/{module}.md"] = f"::: {module}\n{members(module)}"
    pages["api/index.md"] = "# API\n\n" + "\n".join(
        f"- [`{module}`]({module}.md): {summary(ROOT / source_of(module))}" for module in modules
    )
    return pages, navigation(claims)


CLAIMS = (
    "`python -m theory` makes this table again, and `python -m theory --explain P2 --proof` prints one claim. A claim "
    "holds if every error is within its tolerance, and if the same check rejects all of its near-misses. In brackets: "
    "*paper*, a claim of the paper; *in print*, known from elsewhere; *ours*, looked for and not found in print."
)


def navigation(claims: tuple[Claim, ...]) -> list[Any]:
    """What mkdocs takes as nav."""
    return [
        {"Start": "index.md"},
        {"Tutorials": [f"tutorials/{name}.md" for name in TUTORIALS]},
        {"Questions": "faq.md"},
        {"How to add": "add.md"},
        {"Own parts": [{"Toy": "own_toy.md"}, {"Images": "own_images.md"}]},
        {"Runs and clusters": [{"Toy": "toy.md"}, {"Images": "images.md"}]},
        {"Report": [{"The paper's claims": "report.md"}, {"All sweeps": "findings.md"}]},
        {"Gallery": ["gallery/index.md", *(f"gallery/{name}.md" for name in NAMES)]},
        {"Claims": ["claims/index.md", *(f"claims/{claim.id}.md" for claim in claims)]},
        {
            "API": [
                "api/index.md",
                *({part: [{name: f"api/{name}.md"} for name in modules]} for part, modules in API.items()),
            ]
        },
        {"Contributing": "contributing.md"},
        {"Changes": "changelog.md"},
    ]


def placed(claims: tuple[Claim, ...]) -> dict[str, str]:
    """The page, or the file of the site, for each file of the repository that has one."""
    places = dict(DOCUMENTS) | {"theory/claims": "claims/index.md"} | {f"figures/{name}": name for name in PICTURES}
    places |= {f"figures/docs/{name}.md": f"{name}.md" for name in ("faq", "add")}
    places |= {f"figures/{name}.py": f"gallery/{name}.md" for name in NAMES}
    places |= {f"figures/drawn/{name}.png": f"gallery/{name}.png" for name in NAMES}
    places |= {f"figures/tutorials/{name}.ipynb": f"tutorials/{name}.md" for name in TUTORIALS}
    places |= {f"theory/claims/proofs/{claim.id}.md": f"claims/{claim.id}.md" for claim in claims}
    return places | {source_of(module): f"api/{module}.md" for part in API.values() for module in part}


def source_of(module: str) -> str:
    """theory/regularity.py for theory.regularity; of a package its __init__."""
    path = module.replace(".", "/")
    return f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__init__.py"


def linked(text: str, source: str, page: str, places: dict[str, str]) -> str:
    """The text with its links to files of the repository made links of the site; what has no page is named only.

    Args:
        text: Markdown; fences and formulas stay as they are.
        source: the file of the repository, to which its links are relative.
        page: where the text will stand.
        places: file of the repository -> page.

    Raises:
        ResultsError: a link leads to no file.
    """

    def replaced(link: re.Match[str]) -> str:
        shown, path, anchor = link[1], link[2], link[3] or ""
        if not path or "://" in path:
            return link[0]
        target = os.path.normpath(PurePosixPath(source).parent / path)
        if not (ROOT / target).exists():
            raise ResultsError(f"{source} links to {path}, which is not there")
        if target not in places:
            return shown[1:-1]
        return f"{shown}({os.path.relpath(places[target], PurePosixPath(page).parent)}{anchor})"

    return "".join(LINK.sub(replaced, part) if place % 2 == 0 else part for place, part in enumerate(KEPT.split(text)))


def figure(name: str) -> Pages:
    """Its picture, and the page with the caption, where the numbers are from, and the script."""
    finding, caption, *sources = report.said_of(name)
    script = (ROOT / "figures" / f"{name}.py").read_text().split("# ---\n", 2)[2].strip()
    title = re.search(r"^# # (.+)$", script, re.MULTILINE)
    page = f"# {title[1] if title else name}\n\n![Figure {name}]({name}.png)\n\n**{finding}** {caption}\n\n"
    page += "\n".join(f"- {source}" for source in sources)
    page += f"\n- Drawn by `make figures ONLY={name}`, which runs `figures/{name}.py`:\n\n```python\n{script}\n```\n"
    picture = (ROOT / "figures" / "drawn" / f"{name}.png").read_bytes()
    return {f"gallery/{name}.md": page, f"gallery/{name}.png": picture}


def gallery() -> str:
    """All figures, each with its finding."""
    shown = (f"[![Figure {name}]({name}.png)]({name}.md)\n\n**{report.said_of(name)[0]}**" for name in NAMES)
    return (
        "# Gallery\n\nEvery figure is a script, drawn from committed results by `make figures`. A click leads to its "
        "caption and script.\n\n" + "\n\n".join(shown) + "\n"
    )


def tutorial(name: str) -> Pages:
    """The page of a tutorial's executed notebook, and its pictures.

    Raises:
        ResultsError: it was not executed.
    """
    import nbformat
    from nbconvert import MarkdownExporter

    path = ROOT / "figures" / "tutorials" / f"{name}.ipynb"
    if not path.exists():
        raise ResultsError(f"{path.relative_to(ROOT)} is missing: make notebooks ONLY={name}")
    notebook = nbformat.read(path, as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(notebook, {"output_files_dir": name})
    text += f"\n\n---\n\nThis page is `figures/tutorials/{name}.py`, executed by `make notebooks ONLY={name}`.\n"
    return {f"tutorials/{name}.md": text, **{f"tutorials/{key}": value for key, value in resources["outputs"].items()}}


def claim_page(claim: Claim, places: dict[str, str]) -> str:
    """Statement, assumptions, check and near-misses of a claim, what the ledger says of it, and its proof."""
    columns = ("claim", "verdict", "worst_error", "rejected", "controls")
    table = report.ledger("claims", columns).set_index("claim")
    if claim.id not in table.index:
        raise ResultsError(f"theory/results/claims.csv lacks {claim.id}: python -m theory.claims.snapshot")
    row: Any = table.loc[claim.id]
    lines = [
        f"# {claim.id}. {claim.title}",
        f"**{row.verdict}**: worst error {row.worst_error:.2g}, tolerance {claim.tolerance:.2g}; {row.rejected} of "
        f"{row.controls} near-misses rejected. Source: {claim.source}. `python -m theory --explain {claim.id}`",
        "## Statement",
        f"```text\n{claim.statement}\n```",
        "Assumptions:",
        "\n".join(f"- {plain(assumption)}" for assumption in claim.assumptions),
        f"Tolerance: {plain(claim.why)}",
        "The same check must reject:",
        "\n".join(f"- {plain(control.title)}" for control in claim.controls),
        "## Proof" if claim.proven else "Checked, not proven.",
    ]
    if claim.proven:
        path = f"theory/claims/proofs/{claim.id}.md"
        proof = (ROOT / path).read_text().split("\n", 1)[1]
        proof = re.sub(r"^##", "###", proof, flags=re.MULTILINE)
        lines.append(linked(proof, path, f"claims/{claim.id}.md", places))
    return "\n\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Text without the meaning that Markdown would give to its signs."""
    return re.sub(r"([*_<$`\[\]\\])", r"\\\1", text)


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    said = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    return plain(re.split(r"(?<=[.:])\s", said + " ")[0])


def members(module: str) -> str:
    """The options of mkdocstrings for a package that collects names of its modules: those names, in its order."""
    path = ROOT / source_of(module)
    names = public(ast.parse(path.read_text())) if path.name == "__init__.py" else []
    return "    options:\n      members:\n" + "".join(f"        - {name}\n" for name in names) if names else ""


def public(tree: ast.Module) -> Iterator[str] | list[str]:
    """The names of __all__."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def write(pages: Pages, directory: Path) -> None:
    """Writes them below a directory."""
    for name, content in pages.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save: Callable[[Any], Any] = path.write_text if isinstance(content, str) else path.write_bytes
        save(content)
