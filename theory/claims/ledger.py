"""Every claim, in the order of the groups. The only module that imports them."""

from __future__ import annotations

from theory.claims import (
    condensation,
    curvature,
    finite_samples,
    game,
    information,
    lazy,
    noise,
    other_divergences,
    saturation,
    squared_distance,
    stability,
)
from theory.claims.claim import Claim

GROUPS = (
    saturation,
    other_divergences,
    squared_distance,
    information,
    game,
    condensation,
    curvature,
    stability,
    lazy,
    noise,
    finite_samples,
)


def ledger() -> tuple[Claim, ...]:
    """Every claim, in the order of the groups."""
    return tuple(claim for group in GROUPS for claim in group.CLAIMS)
