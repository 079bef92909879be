"""What a claim is, and how it is judged.

A claim is a statement with a checker: a function that yields comparisons of a measured number with the one that the
statement predicts. A claim holds if every comparison is within its tolerance. Its controls are near-misses of the
statement, given to the *same* checker as changed arguments; a checker that lets one pass could not have failed, so
the claim is then a defect, whatever its own numbers are.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers: TypeAlias = Float[Tensor, "..."] | float


@dataclass(frozen=True)
class Comparison:
    """Measured numbers, the predicted ones, and their largest difference in the unit of the claim's tolerance."""

    what: str
    measured: float  # of the worst element, as the next two
    predicted: float
    error: float
    elements: int
    mean_measured: float
    mean_predicted: float
    mean_unit: float = 1.0  # of the scale: an error of 1 is a difference of so much


Checker: TypeAlias = Callable[..., Iterable[Comparison]]
MARGIN = 10.0  # of a control's error over the tolerance; less is an exception with a reason


@dataclass(frozen=True)
class Control:
    """A near-miss of the statement: the checker with some arguments changed.

    Attributes:
        near: why its error may be less than MARGIN times the tolerance; empty for the others, which must miss by that.
    """

    title: str
    changes: Mapping[str, Any]
    near: str = ""


@dataclass(frozen=True)
class Source:
    """Where a statement comes from.

    Attributes:
        kind: "paper" (the paper claims it), "in print" (somebody else's), or "ours" (looked for and not found in
            print). The wording is this project's in each case: the texts of the paper's theorems were not at hand.
        reference: the number of the paper's claim, the publication, or what the statement rests on.
    """

    kind: Literal["paper", "in print", "ours"]
    reference: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reference}" if self.reference else self.kind


@dataclass(frozen=True)
class Claim:
    """A statement that can fail.

    Attributes:
        id: its name in the ledger, "P2".
        title: what it says, in a line.
        statement: what it says, in full.
        assumptions: under which it is claimed.
        source: the paper, a publication, or "ours".
        tolerance: the largest error of a comparison that still counts as agreement.
        why: the reason for that tolerance.
        check: yields the comparisons; its defaults are the statement, its arguments are what controls change.
        controls: near-misses, at least one.
        proven: whether theory/claims/proofs/ has a proof; False is printed as "checked, not proven".
        picture: draws on a pair of axes what the claim compares; loads matplotlib itself if it needs more than them.

    Raises:
        ValueError: no control, or a tolerance outside (0, inf).
    """

    id: str
    title: str
    statement: str
    assumptions: tuple[str, ...]
    source: Source
    tolerance: float
    why: str
    check: Checker
    controls: tuple[Control, ...]
    proven: bool = True
    picture: Callable[[Axes], None] | None = None

    def __post_init__(self) -> None:
        if not self.controls:
            raise ValueError(f"claim {self.id} needs at least one control: a check that nothing fails shows nothing")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"the tolerance of claim {self.id} must lie in (0, inf); given {self.tolerance}")


@dataclass(frozen=True)
class ControlVerdict:
    """What the checker said of a near-miss. NaN is no rejection: the checker could not tell."""

    control: Control
    comparisons: tuple[Comparison, ...]
    rejected: bool

    @property
    def worst_error(self) -> float:
        return worst_error(self.comparisons)


@dataclass(frozen=True)
class Verdict:
    """The numbers of a claim and of its controls, and how long they took, in seconds."""

    claim: Claim
    comparisons: tuple[Comparison, ...]
    controls: tuple[ControlVerdict, ...]
    seconds: float

    @property
    def worst_error(self) -> float:
        return worst_error(self.comparisons)

    @property
    def rejected(self) -> int:
        """How many controls were rejected, as all must be."""
        return sum(control.rejected for control in self.controls)

    @property
    def outcome(self) -> Literal["holds", "fails", "defect"]:
        """defect: a control passed. fails: a comparison is off by more than the tolerance, or is NaN."""
        if self.rejected < len(self.controls):
            return "defect"
        return "holds" if self.worst_error <= self.claim.tolerance else "fails"


def judge(claim: Claim) -> Verdict:
    """Run the checker on the statement and on every control."""
    start = time.perf_counter()
    comparisons = tuple(claim.check())
    controls = tuple(judge_control(claim, control) for control in claim.controls)
    return Verdict(claim, comparisons, controls, time.perf_counter() - start)


def judge_control(claim: Claim, control: Control) -> ControlVerdict:
    """Run the checker on one near-miss of the statement."""
    comparisons = tuple(claim.check(**control.changes))
    return ControlVerdict(control, comparisons, worst_error(comparisons) > claim.tolerance)


def worst_error(comparisons: Iterable[Comparison]) -> float:
    """The largest error; NaN if one is NaN or nothing was compared."""
    errors = [comparison.error for comparison in comparisons]
    return math.nan if not errors or any(map(math.isnan, errors)) else max(errors)


def compare(what: str, measured: Numbers, predicted: Numbers, scale: Numbers = 1.0) -> Comparison:
    """|measured - predicted| / scale, of the worst of the elements (NaN is the worst).

    Raises:
        ValueError: scale is not positive.
    """
    left, right, unit = together(measured, predicted, scale)
    if not (unit > 0).all():
        raise ValueError(f"scale must be positive; given {float(unit.min())} to compare {what!r}")
    return replace(worst_of(what, left, right, (left - right).abs() / unit), mean_unit=float(unit.mean()))


def compare_exactly(what: str, measured: Numbers, predicted: Numbers) -> Comparison:
    """As `compare`, where any difference is too large: the error is 0 or inf."""
    found = compare(what, measured, predicted)
    return found if found.error == 0 else replace(found, error=math.inf)


def compare_at_least(what: str, measured: Numbers, bound: Numbers) -> Comparison:
    """How far measured falls short of the bound, of the worst of the elements."""
    left, right = together(measured, bound)
    return worst_of(what, left, right, (right - left).clamp(min=0))


def together(*values: Numbers) -> tuple[Tensor, ...]:
    """In float64, without gradients and of one shape."""
    return torch.broadcast_tensors(*(torch.as_tensor(value, dtype=torch.float64).detach() for value in values))


def worst_of(what: str, measured: Tensor, predicted: Tensor, errors: Tensor) -> Comparison:
    worst = int(errors.nan_to_num(nan=math.inf, posinf=sys.float_info.max).argmax())
    left, right, error = (float(part.flatten()[worst]) for part in (measured, predicted, errors))
    return Comparison(what, left, right, error, errors.numel(), float(measured.mean()), float(predicted.mean()))
