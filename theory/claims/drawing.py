"""What the pictures of the claims share. matplotlib is loaded by `draw` and by nothing else here."""

from __future__ import annotations

import io
from pathlib import Path

from theory.claims.claim import Claim
from theory.common import files

# seaborn's palette "colorblind"
COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)))  # beside the colour, for print


def draw(claim: Claim, path: Path) -> None:
    """The picture of the claim in a file, whose suffix says in which format.

    Raises:
        ValueError: the claim has no picture, or no such format. OSError: the file cannot be written; it is as it was.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if claim.picture is None:
        raise ValueError(f"claim {claim.id} has no picture")
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        claim.picture(axes)
        axes.legend(frameon=False, fontsize=7)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=150)
    files.write(path, buffer.getvalue())
