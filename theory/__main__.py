"""python -m theory: check every claim and print the ledger.

Exit status: 0 if every claim holds and every control is rejected, 1 if not, 2 on bad usage.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.common import files
from theory.common.checks import choose
from theory.common.commandline import parse, run, usage
from theory.common.errors import UsageError
from theory.common.lines import reflowed, row

if TYPE_CHECKING:  # torch stays out until there is something to compute, so that --help answers at once
    from theory.claims.claim import Claim, Verdict


@dataclasses.dataclass(frozen=True)
class Options:
    """Check the claims of the theory, each with its controls, and print the ledger."""

    only: tuple[str, ...] = ()
    """Check these claims only, by id: P2 E3b."""
    json: Path | None = None
    """Write the ledger with every number that was compared to this file."""
    explain: tuple[str, ...] | None = None
    """Check these claims, and print statement, assumptions, source, tolerance and numbers; without an id, list all."""
    proof: bool = False
    """With --explain: print the proof as well."""
    plot: Path | None = None
    """With --explain and one id: draw the claim's picture to this file (png, pdf or svg)."""


PROG = "smart-theory" if Path(sys.argv[0]).name == "smart-theory" else "python -m theory"
FORMATS = (".png", ".pdf", ".svg")
PROOFS = Path(__file__).parent / "claims" / "proofs"


def main(arguments: list[str]) -> int:
    if arguments and not arguments[0].startswith("-"):
        raise UsageError(f"{arguments[0]}: claims are named by --only {arguments[0]} or --explain {arguments[0]}")
    options = parse(Options, arguments, PROG)
    demand_meaning(options)

    import torch

    from theory.claims.ledger import ledger

    torch.set_num_threads(1)
    claims = {claim.id: claim for claim in ledger()}
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    with usage():
        wanted = [claims[choose(name, claims, "claim")] for name in options.explain or options.only or claims]
    if options.explain == ():
        print("\n".join(listed(wanted, width)))
        return 0
    if options.plot is not None:
        from theory.claims.drawing import draw

        with usage():
            draw(wanted[0], options.plot)
    verdicts = explain(wanted, options.proof, width) if options.explain else judge_all(wanted, width)
    if options.json is not None:
        files.write_json(options.json, [entry(verdict) for verdict in verdicts])
    return 0 if all(verdict.outcome == "holds" for verdict in verdicts) else 1


def demand_meaning(options: Options) -> None:
    """UsageError for a file in no directory, and for --plot and --proof where there is nothing to draw or print."""
    for name, path in (("--json", options.json), ("--plot", options.plot)):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{name}: {path.parent} is not a directory")
    if options.explain is not None and options.only:
        raise UsageError("--explain and --only name claims for different purposes: give one of them")
    if options.plot is not None and len(options.explain or ()) != 1:
        raise UsageError("--plot draws the picture of one claim: name it by --explain")
    if options.plot is not None and options.plot.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot must end in {', '.join(FORMATS)}; given {options.plot}")
    if options.proof and not options.explain:
        raise UsageError("--proof prints the proof of a claim: name it by --explain")
    if options.json is not None and options.explain == ():
        raise UsageError("--json writes what was checked: --explain without an id checks nothing")


# The table

COLUMNS = {"claim": 5, "source": 8, "error": 7, "toler.": 6, "rej.": 4, "verdict": 7}  # and widths; then the title


def judge_all(claims: Sequence[Claim], width: int) -> list[Verdict]:
    """The verdicts, printed as a table, a claim as soon as it is judged; what does not hold is red on a terminal."""
    from rich.console import Console

    from theory.claims.claim import judge

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(row(COLUMNS, COLUMNS.values(), "title", width), style="bold")
    verdicts = []
    for claim in claims:
        verdicts.append(verdict := judge(claim))
        console.print(table_row(verdict, width), style=None if verdict.outcome == "holds" else "bold red")
    console.print("\n".join(tally(verdicts, width)))
    return verdicts


def table_row(verdict: Verdict, width: int) -> str:
    """The ledger's entry: in the order of COLUMNS, then the title, in lines of that width."""
    claim = verdict.claim
    cells = (
        claim.id,
        claim.source.kind,
        f"{verdict.worst_error:.1e}",
        f"{claim.tolerance:.2g}",
        f"{verdict.rejected}/{len(verdict.controls)}",
        verdict.outcome,
    )
    return row(cells, COLUMNS.values(), claim.title + ("" if claim.proven else " (checked, not proven)"), width)


def tally(verdicts: Sequence[Verdict], width: int) -> Iterator[str]:
    """What the columns mean, and the sums."""
    yield ""
    yield from textwrap.wrap(
        "error: the worst of the claim's comparisons, in the unit of its tolerance (toler.). rej.: near-misses of the "
        "claim that the same check rejected, as it must.",
        width,
    )
    holding = sum(verdict.outcome == "holds" for verdict in verdicts)
    controls = sum(len(verdict.controls) for verdict in verdicts)
    rejected = sum(verdict.rejected for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    yield from textwrap.wrap(
        f"{holding} of {len(verdicts)} claims hold, {rejected} of {controls} controls rejected, {seconds:.0f} s.", width
    )


def listed(claims: Sequence[Claim], width: int) -> Iterator[str]:
    """Every claim's id, source and title, without checking any."""
    for claim in claims:
        left = f"{claim.id:5} {claim.source.kind:8} "
        title = claim.title + ("" if claim.proven else " (checked, not proven)")
        yield textwrap.fill(title, width, initial_indent=left, subsequent_indent=" " * len(left))
    yield ""
    yield f"{PROG} --explain ID [--proof] [--plot FILE] explains one."


# One claim


def explain(claims: Sequence[Claim], proof: bool, width: int) -> list[Verdict]:
    """The verdicts, each printed with all there is to know of the claim."""
    from theory.claims.claim import judge

    verdicts = []
    for claim in claims:
        verdicts.append(judge(claim))
        print("\n".join(explanation(verdicts[-1], width)))
        if proof:
            print("\n".join(["", *reflowed(proof_of(claim), width)]))
    return verdicts


def explanation(verdict: Verdict, width: int) -> Iterator[str]:
    """Statement, assumptions, source, tolerance, numbers and controls of a claim, in lines of that width."""
    claim = verdict.claim
    yield from textwrap.wrap(f"{claim.id}  {claim.title}", width, subsequent_indent=" " * (len(claim.id) + 2))
    yield from ["", *reflowed(claim.statement, width), "", "Assumptions"]
    for assumption in claim.assumptions:
        yield from textwrap.wrap(assumption, width, initial_indent="  - ", subsequent_indent="    ")
    yield from ["", *textwrap.wrap(f"Source: {claim.source}. The wording is this project's own.", width)]
    told = f"theory/claims/proofs/{claim.id}.md" if claim.proven else "checked, not proven"
    yield from textwrap.wrap(f"Proof: {told}", width)
    yield from textwrap.wrap(f"Tolerance {claim.tolerance:.2g}: {claim.why}", width)
    yield from ["", "Compared (error; measured for predicted)"]
    for found in verdict.comparisons:
        text = f"{found.measured:.12g} for {found.predicted:.12g}  {found.what}"
        yield from textwrap.wrap(text, width, initial_indent=f"  {found.error:7.1e}  ", subsequent_indent=" " * 11)
    yield from ["", "Controls, to be rejected by the same check"]
    for judged in verdict.controls:
        times = f"{judged.worst_error / claim.tolerance:.2g} times the tolerance"
        why = f" ({times}, near by design: {judged.control.near})" if judged.control.near else ""
        text = f"{'rejected' if judged.rejected else 'PASSES  '}  {judged.control.title}{why}"
        yield from textwrap.wrap(
            text, width, initial_indent=f"  {judged.worst_error:7.1e}  ", subsequent_indent=" " * 21
        )
    yield ""
    yield f"Verdict: {claim.id} {verdict.outcome}, worst error {verdict.worst_error:.1e}."


def proof_of(claim: Claim) -> str:
    """The text of its proof, or that there is none."""
    path = PROOFS / f"{claim.id}.md"
    return path.read_text().strip() if path.exists() else f"{claim.id} is checked, not proven."


def entry(verdict: Verdict) -> dict[str, Any]:
    """The ledger's entry as JSON has it; numbers that are not finite become null."""
    claim = verdict.claim
    return {
        "id": claim.id,
        "title": claim.title,
        "statement": claim.statement,
        "assumptions": list(claim.assumptions),
        "source": dataclasses.asdict(claim.source),
        "proven": claim.proven,
        "tolerance": claim.tolerance,
        "why": claim.why,
        "verdict": verdict.outcome,
        "worst_error": finite(verdict.worst_error),
        "seconds": verdict.seconds,
        "comparisons": [
            {key: finite(value) for key, value in dataclasses.asdict(found).items()} for found in verdict.comparisons
        ],
        "controls": [
            {"title": judged.control.title, "worst_error": finite(judged.worst_error), "rejected": judged.rejected}
            for judged in verdict.controls
        ],
    }


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def script() -> int:  # the console script smart-theory
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
