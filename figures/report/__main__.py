"""python -m figures.report: paper_repro.md and toy/FINDINGS.md from their templates and the results, and one HTML page.

The template, paper_repro.md.in, is prose with places between double braces:

    {{claim P2: COLUMN}}            of theory/results/claims.csv: verdict, worst_error, tolerance, rejected ...
    {{ledger I2: WHAT: COLUMN}}     of theory/results/ledger.csv: measured or predicted; WHAT is the row's own text
    {{drawn NAME: A=X, B=Y: COLUMN}}    of figures/drawn/NAME.csv: of the one row with these values; for the COLUMN
                                    `interval` the mean [low, high]
    {{nsr SCHEDULE FROM TO}}        the noise-to-signal ratios of two indices: ddpm-linear, ddpm-cosine, karras
    {{figure NAME}}                 the picture and its caption
    {{sources}}                     a row a figure: where its numbers are from, and the commands
    {{verdict WORDS if CONDITION; CONDITION}}   WORDS, provided that the results meet every condition: `P2 holds` or
                                    `EXPERIMENT: CELL: ARM: METRIC: helps`
    {{summary}}                     a row a section: its heading and the rest of its line "Verdict: ..."
    {{claims}}                      all claims of the ledger
    anything else                   as in toy/FINDINGS.md, see sweeps.py: {{EXPERIMENT: CELL: ARM: METRIC}} ...

A place that the results do not fill, or a verdict that they do not bear out, is an error: the document cannot drift.

Exit status: 0 done, 2 bad usage, or the template and the results do not fit.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from figures.__main__ import NAMES
from figures.report import page
from figures.report import sweeps as findings
from figures.tools import results
from theory.common import files
from theory.common.checks import choose
from theory.common.commandline import parse, run
from theory.common.errors import UsageError
from theory.levels import index_interval
from toy.sweep.collect import collect

TEMPLATE = Path(__file__).parent / "paper_repro.md.in"
DOCUMENT, DRAWN = files.workplace() / "paper_repro.md", files.workplace() / "figures" / "drawn"
SUMMARY = "<!-- summary -->"  # its place, until the rest is there
VERDICTS = ("reproduced", "reproduced under conditions", "not reproduced", "not testable here")


@dataclass(frozen=True)
class Options:
    """Write paper_repro.md and toy/FINDINGS.md from the results, and an HTML page with the figures."""

    collect: Path | None = None
    """Take over the results of sweeps (python -m toy.sweep --out DIR) from this directory first."""
    html: Path = Path("out/paper_repro.html")
    """The page."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures.report")
    if options.collect is not None:
        collect(options.collect)
    files.write(findings.FINDINGS, findings.render(findings.TEMPLATE.read_text()))
    text = render(TEMPLATE.read_text())
    files.write(DOCUMENT, text)
    options.html.parent.mkdir(parents=True, exist_ok=True)
    files.write(options.html, page.of(text, files.workplace()))
    print(f"{results.named(findings.FINDINGS)}, {results.named(DOCUMENT)}, {options.html}")
    return 0


def render(template: str) -> str:
    """The template with its places filled.

    Raises:
        UsageError: a place names what the results do not have, or a verdict what they do not bear out.
        ResultsError: a results file is missing or damaged.
    """
    text = re.sub(r"\{\{(.*?)\}\}", lambda place: filled(" ".join(place[1].split())), template, flags=re.DOTALL)
    return text.replace(SUMMARY, summary(text))


def filled(place: str) -> str:
    kind, _, rest = place.partition(" ")
    if place == "summary":
        return SUMMARY
    if place == "claims":
        return claims()
    if kind == "nsr":
        schedule, first, last = rest.split()
        found = index_interval(schedule, int(first), int(last))
        return f"{findings.number(found.low)} to {findings.number(found.high)}"
    if kind == "claim":
        claim, column = split(rest, 2, place)
        return findings.number(cell(ledger("claims", ("claim", column)), {"claim": claim}, column, place))
    if kind == "ledger":
        claim, what, column = split(rest, 3, place)
        table = ledger("ledger", ("claim", "control", "what", column))
        statement = table[table.control.isna()]
        return findings.number(cell(statement, {"claim": claim, "what": what}, column, place))
    if kind == "drawn":
        return drawn(place, *split(rest, 3, place))
    if kind == "figure":
        return figure(choose_or_say(rest, NAMES, "figure"))
    if place == "sources":
        return sources()
    if kind == "verdict":
        return verdict(rest)
    return findings.filled(place)


def split(text: str, count: int, place: str) -> list[str]:
    """Parts between colons; the middle one may hold colons itself.

    Raises:
        UsageError: there are fewer.
    """
    first, *middle = [part.strip() for part in text.split(": ")]
    if len(middle) < count - 1:
        raise UsageError(f"the place {place!r} needs {count} parts between colons")
    return [first, ": ".join(middle[:-1]), middle[-1]] if count == 3 else [first, ": ".join(middle)]


def choose_or_say(value: str, choices: Sequence[str], what: str) -> str:
    try:
        return choose(value, choices, what)
    except ValueError as error:
        raise UsageError(str(error)) from None


def ledger(name: str, columns: Sequence[str]) -> pd.DataFrame:
    return results.table(results.ROOT / "theory" / "results" / f"{name}.csv", columns)


def cell(table: pd.DataFrame, values: dict[str, str], column: str, place: str) -> float | str:
    """The value in the one row that has these values; numbers are written as 0.1 or 100.

    Raises:
        UsageError: there is no such row, or more than one.
    """
    rows = table
    for name, value in values.items():
        rows = rows[rows[name].map(lambda found: f"{found:g}" if isinstance(found, float) else str(found)) == value]
    if len(rows) != 1:
        raise UsageError(f"the place {place!r} fits {len(rows)} rows of the results; it must fit one")
    value = rows.iloc[0][column]
    return value if isinstance(value, str) else float(value)


def drawn(place: str, name: str, where: str, wanted: str) -> str:
    values = dict(part.split("=", 1) for part in where.split(", "))
    columns = ("mean", "low", "high") if wanted == "interval" else (wanted,)
    table = results.table(DRAWN / f"{choose_or_say(name, NAMES, 'figure')}.csv", (*values, *columns))
    shown = [findings.number(cell(table, values, column, place)) for column in columns]
    return shown[0] if len(shown) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def figure(name: str) -> str:
    """The picture and its caption."""
    finding, caption, *_ = said_of(name)
    return f"![Figure {name}](figures/drawn/{name}.png)\n\n**{finding}** {caption}"


def sources() -> str:
    """A row a figure: its script, and the lines of NAME.txt that say where its numbers are from."""
    lines = ["| figure | numbers from |", "|---|---|"]
    for name in NAMES:
        again = f" (make figures ONLY={name} FRESH=1)"  # the text says it once, for all
        whence = "<br>".join(line[5:].removesuffix(".").removesuffix(again) for line in said_of(name)[2:])
        lines.append(f"| [`{name}`](figures/{name}.py) | {whence} |")
    return "\n".join(lines)


def said_of(name: str) -> list[str]:
    """The lines of a figure's NAME.txt: the finding, the caption, and a line a source.

    Raises:
        ResultsError: it is missing or damaged.
    """
    path = DRAWN / f"{name}.txt"
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    if len(lines) < 3 or not all(line.startswith("From ") for line in lines[2:]):
        raise results.ResultsError(f"{results.named(path)} is missing or damaged: make figures ONLY={name}")
    return lines


def verdict(text: str) -> str:
    """The words, if every condition is met.

    Raises:
        UsageError: one is not, or the words are none of VERDICTS.
    """
    words, _, conditions = text.partition(" if ")
    choose_or_say(words, VERDICTS, "verdict")
    for condition in filter(None, (part.strip() for part in conditions.split(";"))):
        if condition.endswith(" holds"):
            found, wanted = filled(f"claim {condition.removesuffix(' holds')}: verdict"), "holds"
        else:
            place, _, wanted = condition.rpartition(": ")
            found = findings.filled(f"{place}: verdict")
        if found != wanted:
            raise UsageError(f"the verdict {words!r} rests on {condition!r}, but the results say: {found}")
    return f"**{words}**"


def summary(text: str) -> str:
    """A row for each section that has a verdict, a line "Verdict: **reproduced**: why."."""
    lines = ["| the paper says | verdict |", "|---|---|"]
    for section in text.split("\n## ")[1:]:
        title = section.splitlines()[0]
        found = re.search(r"^Verdict: (.*)\.$", section, re.MULTILINE)
        if found:
            lines.append(f"| [{title}](#{page.slug(title)}) | {found[1]} |")
    return "\n".join(lines)


def claims() -> str:
    """All claims of the ledger, each with its proof, whose it is and what was measured; three columns, for a phone."""
    lines = ["| claim | says | error, of tolerance; near-misses |", "|---|---|---|"]
    columns = ("claim", "title", "source", "proven", "worst_error", "tolerance", "rejected", "controls", "verdict")
    for row in ledger("claims", columns).itertuples():
        title = str(row.title).replace("|", "\\|")
        errors = f"{row.worst_error:.2g} of {row.tolerance:.2g}; {row.rejected} of {row.controls}"
        said = row.verdict if row.proven else f"{row.verdict} (checked, not proven)"
        proof = f"[**{row.claim}**](theory/claims/proofs/{row.claim}.md)"
        lines.append(f"| {proof} {said} | {title} ({row.source}) | {errors} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
