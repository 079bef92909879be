"""Runs the script of one figure in this process, and says in one line what went wrong."""

from __future__ import annotations

import runpy
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from figures.tools import results, style
from theory.common.errors import Failure


def draw(name: str, out: Path, fresh: bool, sheet: Path | None, kinds: Sequence[str]) -> tuple[str, str, float]:
    """The name of the figure, what went wrong with it ("" if nothing), and the seconds it took.

    Args:
        fresh: compute what is committed in figures/computed again.
        sheet: a style sheet over ours.
        kinds: of the pictures: png, pdf, svg.
    """
    begun = time.monotonic()
    before = style.OUT, results.FRESH, style.SHEET, style.KINDS
    style.OUT, results.FRESH, style.SHEET, style.KINDS = out, fresh, sheet, kinds
    plt.switch_backend("Agg")
    try:
        with matplotlib.rc_context():
            runpy.run_path(str(style.SCRIPTS / f"{name}.py"), run_name=f"figures.{name}")
    except Failure as error:
        return name, str(error), 0.0
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__}: {error} (in {Path(where.filename).name}, line {where.lineno}; "
        return name, f"{message}python figures/{name}.py tells more)", 0.0
    finally:
        plt.close("all")
        style.OUT, results.FRESH, style.SHEET, style.KINDS = before  # where this is no process of its own
    return name, "", time.monotonic() - begun
