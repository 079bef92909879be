"""The colours of toy's pictures beside those of the arms (`theory.common.colours`), and one scale of strengths."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, LogNorm

START_COLOUR = "#8A2BE2"
REAL_COLOUR = "#B5B5B5"
OFF_COLOUR = "#000000"
NOTE_COLOUR = "#444444"
STRENGTHS = LinearSegmentedColormap.from_list("strengths", ["#FFFFFF", "#FFF3C4", "#FBD55F", "#E0A526"])

DECADES = 10  # of norms that the colours tell apart, below the largest
VISIBLE = 1e-6  # of the largest norm; below it a dot, because an arrow would show a gradient where there is none


def strengths(field: Float[np.ndarray, "m 2"]) -> LogNorm:
    """The scale of norms: up to the largest, rounded up to a power of 10, and DECADES down from there."""
    largest = np.linalg.norm(field, axis=1).max()
    top = 10 ** np.ceil(np.log10(largest)) if largest > 0 else 1.0
    return LogNorm(top * 10.0**-DECADES, top)
