"""What a process does: runs a figure's script and tells in one line what went wrong."""

from __future__ import annotations

import runpy
import time
import traceback
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from figures.tools import results, style
from theory.common.errors import UsageError


def draw(name: str, out: Path) -> tuple[str, str, float]:
    """Runs the script of a figure: its name, what went wrong or nothing, and the seconds it took."""
    begun = time.monotonic()
    style.OUT = out
    plt.switch_backend("Agg")
    try:
        with matplotlib.rc_context():
            runpy.run_path(str(style.HERE.parent / f"{name}.py"), run_name=f"figures.{name}")
    except (results.ResultsError, UsageError) as error:
        return name, str(error), 0.0
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__}: {error} (in {Path(where.filename).name}, line {where.lineno}; "
        return name, f"{message}python figures/{name}.py tells more)", 0.0
    finally:
        plt.close("all")
    return name, "", time.monotonic() - begun
