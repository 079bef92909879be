"""The theory's numbers as they were when last recorded: `python -m theory.claims.snapshot` writes theory/results/.

    ledger.csv    a row a comparison: claim, control (empty for the statement itself), what, elements, measured,
                  predicted, error (these three of the worst element), mean_measured, mean_predicted, mean_unit (of all)
    arguments.csv a row an argument of a check: claim, control (empty for the defaults), argument, value
    claims.csv    a row a claim: claim, title, source, reference, proven, tolerance, controls, worst_error, rejected,
                  verdict
    accuracy.csv  the table of `theory.accuracy`: law, method, bits, quantity, nan, below3, below8, digits, worst
    others.csv    the table of `theory.accuracy --others`
    ledger.json   command, date, commit, versions and processor of these numbers

The figures and the report read these files. The tests compare the present code with them: what is checked (names,
arguments, numbers of comparisons and of elements) must be the same, and numbers must agree as far as two processors
can (`differences`). measured and predicted are for the reader alone: where all errors are rounding, another processor
finds another element the worst.

Exit status: 0, 1 if a claim does not hold (nothing is written) or a file cannot be written, 2 on bad usage.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from theory.accuracy import __main__ as accuracy
from theory.accuracy.methods import CASES
from theory.accuracy.others import table
from theory.claims.claim import Claim, Comparison, Verdict, judge
from theory.claims.ledger import ledger
from theory.common import files
from theory.common.commandline import parse, run
from theory.common.errors import Failure, UsageError
from theory.common.provenance import commit, origin
from theory.common.seeds import one_thread

RESULTS = Path(__file__).parents[1] / "results"


@dataclasses.dataclass(frozen=True)
class Options:
    """Judge every claim, count the digits, and write all numbers to a directory."""

    out: Path | None = None
    """The directory; theory/results/ of this repository if none is given."""


@one_thread()
def main(arguments: list[str]) -> int:
    out = parse(Options, arguments, "python -m theory.claims.snapshot").out
    if out is None and commit() is None:
        raise UsageError("this code is in no repository: name a directory by --out")
    directory = RESULTS if out is None else out
    if not directory.parent.is_dir():
        raise UsageError(f"--out: {directory.parent} is not a directory")
    verdicts = [judge(claim) for claim in ledger()]
    broken = [verdict.claim.id for verdict in verdicts if verdict.outcome != "holds"]
    if broken:
        raise Failure(f"nothing is recorded, for these claims do not hold: {', '.join(broken)}")
    write(verdicts, accuracy.summary(accuracy.measured(CASES)), table(), directory)
    return 0


def write(verdicts: Sequence[Verdict], digits: pd.DataFrame, others: pd.DataFrame, directory: Path) -> None:
    """The files."""
    made = origin("python -m theory.claims.snapshot")  # before they change the tree that it describes
    directory.mkdir(exist_ok=True)
    rows = [
        {"claim": verdict.claim.id, "control": control, **dataclasses.asdict(found)}
        for verdict in verdicts
        for control, comparisons in (
            ("", verdict.comparisons),
            *((judged.control.title, judged.comparisons) for judged in verdict.controls),
        )
        for found in comparisons
    ]
    values = [
        {"claim": verdict.claim.id, "control": control, "argument": name, "value": value}
        for verdict in verdicts
        for control, changes in (("", defaults(verdict.claim)), *((c.title, c.changes) for c in verdict.claim.controls))
        for name, value in written(changes).items()
    ]
    files.write(directory / "ledger.csv", pd.DataFrame(rows).to_csv(index=False))
    files.write_table(directory / "arguments.csv", pd.DataFrame(values))
    files.write_table(directory / "claims.csv", pd.DataFrame(map(summary, verdicts)))
    files.write_table(directory / "accuracy.csv", digits.reset_index())
    files.write_table(directory / "others.csv", others, digits=6)
    files.write_json(directory / "ledger.json", made)


def defaults(claim: Claim) -> dict[str, Any]:
    """The arguments of its check that are the statement."""
    return {name: parameter.default for name, parameter in inspect.signature(claim.check).parameters.items()}


def written(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as text: functions by name, other numbers than whole ones to ten digits."""
    texts = {name: re.sub(r"<function (\S+) at 0x\w+>", r"\1", repr(value)) for name, value in values.items()}
    number = re.compile(r"\d+\.\d+(e[-+]\d+)?")
    return {name: number.sub(lambda found: f"{float(found[0]):.10g}", text) for name, text in texts.items()}


def summary(verdict: Verdict) -> dict[str, str | float]:
    """The claim's row in claims.csv."""
    return {
        **described(verdict.claim),
        "worst_error": verdict.worst_error,
        "rejected": verdict.rejected,
        "verdict": verdict.outcome,
    }


def described(claim: Claim) -> dict[str, str | float]:
    """What of its row in claims.csv needs no computation."""
    return {
        "claim": claim.id,
        "title": claim.title,
        "source": claim.source.kind,
        "reference": claim.source.reference,
        "proven": claim.proven,
        "tolerance": claim.tolerance,
        "controls": len(claim.controls),
    }


def read(directory: Path = RESULTS) -> dict[tuple[str, str], list[Comparison]]:
    """The comparisons recorded, by claim and control's title."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for row in rows_of(directory / "ledger.csv"):
        comparisons = found.setdefault((row.pop("claim"), row.pop("control")), [])
        what, elements, numbers = row.pop("what"), int(row.pop("elements")), {k: float(v) for k, v in row.items()}
        comparisons.append(Comparison(what, elements=elements, **numbers))
    return found


def read_arguments(directory: Path = RESULTS) -> dict[tuple[str, str], dict[str, str]]:
    """The arguments recorded, as `written`, by claim and control's title."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows_of(directory / "arguments.csv"):
        found.setdefault((row["claim"], row["control"]), {})[row["argument"]] = row["value"]
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table's rows; every digit of a number is kept."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def differences(found: Iterable[Comparison], recorded: Iterable[Comparison], tolerance: float) -> list[str]:
    """Where the numbers are not those recorded, a line each; names and elements must be the same.

    The margin is twice the claim's tolerance, in the unit of the comparison, or of the number's size where that is
    more: by the claim's `why` each machine has the number to one tolerance, so that two differ by two at most.
    """
    now, then = list(found), list(recorded)
    lines = [f"{len(now)} comparisons, {len(then)} recorded"] if len(now) != len(then) else []
    for new, old in zip(now, then, strict=False):
        if (new.what, new.elements) != (old.what, old.elements):
            lines.append(f"{new.what} of {new.elements} elements; recorded: {old.what} of {old.elements}")
        for name, unit in (("mean_measured", old.mean_unit), ("mean_predicted", old.mean_unit), ("error", 1.0)):
            value, wanted = getattr(new, name), getattr(old, name)
            if not same(value, wanted, 2 * tolerance * max(unit, abs(wanted))):
                lines.append(f"{new.what}: {name} {value!r}; recorded: {wanted!r}")
    return lines


def same(value: float, wanted: float, margin: float) -> bool:
    """Whether both are NaN, the same infinity, or no further apart than the margin."""
    if not (math.isfinite(value) and math.isfinite(wanted)):
        return value == wanted or (math.isnan(value) and math.isnan(wanted))
    return abs(value - wanted) <= margin


if __name__ == "__main__":
    sys.exit(run(main))
