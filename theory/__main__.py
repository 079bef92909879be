"""python -m theory: check every claim and print the ledger.

Exit status: 0 if every claim holds and every control is rejected, 1 if not, 2 on bad usage.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theory.common.checks import choose
from theory.common.commandline import complain, parse
from theory.common.errors import UsageError

if TYPE_CHECKING:  # torch stays out until there is something to compute, so that --help answers at once
    from theory.claims.claim import Claim, Verdict


@dataclasses.dataclass(frozen=True)
class Options:
    """Check the claims of the theory, each with its controls, and print the ledger."""

    only: tuple[str, ...] = ()
    """Check these claims only, by id: P2."""
    json: Path | None = None
    """Write the ledger with every number that was compared to this file."""
    explain: str | None = None
    """Check this claim and print its statement, assumptions, source, tolerance and numbers."""
    proof: bool = False
    """With --explain: print the claim's proof, too."""
    plot: Path | None = None
    """With --explain: draw the claim's picture to this file (png, pdf or svg)."""


def main(arguments: list[str] | None = None) -> int:
    try:
        return run(parse(Options, arguments, prog="python -m theory"))
    except UsageError as error:
        return complain(error, 2)
    except OSError as error:
        return complain(f"cannot write {error.filename}: {error.strerror}", 1)


def run(options: Options) -> int:
    """The ledger, or the explanation of one claim.

    Raises:
        UsageError: an unknown claim, a file in no directory, --plot without --explain or of no such format.
    """
    for name, path in (("--json", options.json), ("--plot", options.plot)):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{name}: {path.parent} is not a directory")
    if options.plot is not None and options.explain is None:
        raise UsageError("--plot draws the picture of one claim: name it by --explain")
    if options.plot is not None and options.plot.suffix not in FORMATS:
        raise UsageError(f"--plot must end in {', '.join(FORMATS)}; given {options.plot}")

    import torch

    from theory.claims.ledger import ledger

    torch.set_num_threads(1)
    claims = {claim.id: claim for claim in ledger()}
    wanted = (options.explain,) if options.explain is not None else options.only or tuple(claims)
    for name in wanted:
        known(name, tuple(claims))
    if options.plot is not None and options.explain is not None:
        from theory.claims.drawing import draw

        draw(claims[options.explain], options.plot)

    verdicts = judge_all([claims[name] for name in wanted], quiet=options.explain is not None)
    if options.explain is not None:
        print(explanation(verdicts[0]))
        if options.proof:
            print("\n" + proof_of(verdicts[0].claim))
    if options.json is not None:
        write_json(verdicts, options.json)
    return 0 if all(verdict.outcome == "holds" for verdict in verdicts) else 1


PROOFS = Path(__file__).parent / "claims" / "proofs"


def proof_of(claim: Claim) -> str:
    """The text of its proof, or that there is none."""
    path = PROOFS / f"{claim.id}.md"
    return path.read_text().strip() if path.exists() else f"{claim.id} is checked, not proven."


FORMATS = (".png", ".pdf", ".svg")


def known(name: str, names: tuple[str, ...]) -> None:
    """UsageError unless it is one of the claims' names."""
    try:
        choose(name, names, "claim")
    except ValueError as error:
        raise UsageError(str(error)) from None


def judge_all(claims: list[Claim], quiet: bool) -> list[Verdict]:
    """The verdicts, printed unless quiet: as a table on a terminal, as plain lines through a pipe."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track
    from rich.table import Table

    from theory.claims.claim import judge

    console = Console()
    if not console.is_terminal:
        verdicts = []
        for claim in claims:
            verdicts.append(judge(claim))
            if not quiet:
                print(line(verdicts[-1]), flush=True)
        return verdicts
    verdicts = [judge(claim) for claim in track(claims, "Checking the claims", console=console, transient=True)]
    if not quiet:
        table = Table(*COLUMNS)
        for verdict in verdicts:
            table.add_row(*map(escape, row(verdict)), style=None if verdict.outcome == "holds" else "bold red")
        console.print(table)
    return verdicts


COLUMNS = ("claim", "statement", "worst\nerror", "toler-\nance", "controls\nrejected", "verdict", "s")


def row(verdict: Verdict) -> tuple[str, ...]:
    """The ledger's entry, in the order of COLUMNS."""
    return (
        verdict.claim.id,
        verdict.claim.title,
        f"{verdict.worst_error:.1e}",
        f"{verdict.claim.tolerance:.0e}",
        f"{verdict.rejected}/{len(verdict.controls)}",
        verdict.outcome,
        f"{verdict.seconds:.1f}",
    )


def line(verdict: Verdict) -> str:
    """The ledger's entry in one plain line."""
    name, title, error, tolerance, rejected, outcome, seconds = row(verdict)
    return f"{name}  {outcome:6}  worst {error} of {tolerance}  controls rejected {rejected}  {seconds} s  {title}"


def explanation(verdict: Verdict) -> str:
    """All there is to know of a claim: statement, assumptions, source, tolerance, numbers, controls."""
    claim = verdict.claim
    lines = [f"{claim.id}  {claim.title}", "", claim.statement, ""]
    lines += ["Assumptions"] + [f"  - {assumption}" for assumption in claim.assumptions]
    lines += [f"Source: {claim.source}. The statement is this project's own.", ""]
    lines += [f"Tolerance {claim.tolerance:.0e}: {claim.why}", "", "Compared"]
    for found in verdict.comparisons:
        lines.append(f"  {found.error:8.1e}  {found.measured:.12g} for {found.predicted:.12g}  {found.what}")
    lines += ["", "Controls, to be rejected by the same check"]
    for judged in verdict.controls:
        outcome = "rejected" if judged.rejected else "PASSES"
        lines.append(f"  {judged.worst_error:8.1e}  {outcome}  {judged.control.title}")
    return "\n".join([*lines, "", f"Verdict: {claim.id} {verdict.outcome}, worst error {verdict.worst_error:.1e}."])


def write_json(verdicts: list[Verdict], path: Path) -> None:
    """The ledger as a list of objects, whole or not at all; numbers that are not finite become null."""
    entries = [
        {
            "id": verdict.claim.id,
            "title": verdict.claim.title,
            "statement": verdict.claim.statement,
            "assumptions": list(verdict.claim.assumptions),
            "source": dataclasses.asdict(verdict.claim.source),
            "tolerance": verdict.claim.tolerance,
            "why": verdict.claim.why,
            "verdict": verdict.outcome,
            "worst_error": finite(verdict.worst_error),
            "seconds": verdict.seconds,
            "comparisons": [
                {key: finite(value) for key, value in dataclasses.asdict(found).items()}
                for found in verdict.comparisons
            ],
            "controls": [
                {"title": c.control.title, "worst_error": finite(c.worst_error), "rejected": c.rejected}
                for c in verdict.controls
            ],
        }
        for verdict in verdicts
    ]
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(entries, indent=2, allow_nan=False) + "\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
