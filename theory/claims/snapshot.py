"""The theory's numbers as they were when last recorded: `python -m theory.claims.snapshot` writes theory/results/.

    ledger.csv    a row a comparison: claim, control (empty for the statement itself), what, elements, measured,
                  predicted, error (these three of the worst element), mean_measured, mean_predicted (of all)
    arguments.csv a row an argument of a check: claim, control (empty for the defaults), argument, value
    claims.csv    a row a claim: claim, title, source, worst_error, tolerance, controls, rejected, verdict
    accuracy.csv  the table of `theory.accuracy`: law, method, bits, quantity, nan, below3, below8, digits, worst
    ledger.json   the command, date, commit, versions and vector unit of the processor that the numbers come from

The tests hold the present code to every row of the ledger and to the digits, since a claim stays true where it is
checked at another place: what is checked then changes on purpose, by a new record, or not at all. The measured and
predicted numbers of the worst element are for the reader alone: where all errors are rounding, another processor finds
another element the worst.

Exit status: 0, 1 if a claim does not hold (nothing is written) or a file cannot be written, 2 on bad usage.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import json
import math
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from theory.accuracy import __main__ as accuracy
from theory.accuracy.methods import CASES
from theory.claims.claim import Claim, Comparison, Verdict, judge
from theory.claims.ledger import ledger
from theory.common.commandline import complain, parse
from theory.common.errors import UsageError

RESULTS = Path(__file__).parents[1] / "results"
# Between the vector units of one processor the means differ by at most 2e-9 of themselves, where a float32 in the place
# of a float64 would make 6e-8; the errors, being differences, by at most 6e-9.
RELATIVE = 3e-8
ABSOLUTE = {"mean_measured": 1e-9, "mean_predicted": 1e-9, "error": 1e-7}


@dataclasses.dataclass(frozen=True)
class Options:
    """Judge every claim, count the digits, and write all numbers to theory/results/."""


def main(arguments: list[str] | None = None, directory: Path = RESULTS) -> int:
    try:
        parse(Options, arguments, prog="python -m theory.claims.snapshot")
        torch.set_num_threads(1)
        verdicts = [judge(claim) for claim in ledger()]
        broken = [verdict.claim.id for verdict in verdicts if verdict.outcome != "holds"]
        if broken:
            return complain(f"nothing is recorded, for these claims do not hold: {', '.join(broken)}", 1)
        write(verdicts, accuracy.summary(accuracy.measured(CASES)), directory)
    except UsageError as error:
        return complain(error, 2)
    except OSError as error:
        return complain(f"cannot write {error.filename}: {error.strerror}", 1)
    return 0


def write(verdicts: Sequence[Verdict], digits: pd.DataFrame, directory: Path) -> None:
    """The files."""
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
    pd.DataFrame(rows).to_csv(directory / "ledger.csv", index=False, na_rep="nan")
    values = [
        {"claim": verdict.claim.id, "control": control, "argument": name, "value": value}
        for verdict in verdicts
        for control, changes in (("", defaults(verdict.claim)), *((c.title, c.changes) for c in verdict.claim.controls))
        for name, value in written(changes).items()
    ]
    pd.DataFrame(values).to_csv(directory / "arguments.csv", index=False)
    pd.DataFrame(map(summary, verdicts)).to_csv(directory / "claims.csv", index=False)
    digits.to_csv(directory / "accuracy.csv")
    (directory / "ledger.json").write_text(json.dumps(origin(), indent=2) + "\n")


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
        "source": str(claim.source),
        "tolerance": claim.tolerance,
        "controls": len(claim.controls),
    }


def origin() -> dict[str, str]:
    """Where the numbers come from; the commit is marked + if a module of the theory differs from it."""
    here = Path(__file__).parent
    commit = git(here, "rev-parse", "HEAD")
    changed = git(here, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return {
        "command": "python -m theory.claims.snapshot",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit + ("+" if changed else ""),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "vector unit": torch.backends.cpu.get_cpu_capability(),
    }


def git(directory: Path, *arguments: str) -> str:
    """What git prints; empty where there is no repository."""
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout.strip()


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
    """Where the numbers are not those recorded, a line each.

    Elements and names must be the same; means and errors may differ by RELATIVE of their size, and by ABSOLUTE or the
    claim's tolerance, whichever is less: of numbers that are rounding errors nothing else is the same elsewhere.
    """
    now, then = list(found), list(recorded)
    lines = [f"{len(now)} comparisons, {len(then)} recorded"] if len(now) != len(then) else []
    for new, old in zip(now, then, strict=False):
        if (new.what, new.elements) != (old.what, old.elements):
            lines.append(f"{new.what} of {new.elements} elements; recorded: {old.what} of {old.elements}")
        for name, slack in ABSOLUTE.items():
            value, wanted = getattr(new, name), getattr(old, name)
            if not same(value, wanted, min(slack, tolerance)):
                lines.append(f"{new.what}: {name} {value!r}; recorded: {wanted!r}")
    return lines


def same(value: float, wanted: float, slack: float) -> bool:
    """Whether both are NaN, the same infinity, or as near as RELATIVE and the slack allow."""
    if not (math.isfinite(value) and math.isfinite(wanted)):
        return value == wanted or (math.isnan(value) and math.isnan(wanted))
    return abs(value - wanted) <= RELATIVE * abs(wanted) + slack


if __name__ == "__main__":
    sys.exit(main())
