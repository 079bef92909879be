"""Where results come from: what is stored beside every table of them."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def origin(command: str) -> dict[str, Any]:
    """{"command", "date", "commit", "versions"} of results that the command computes now.

    The commit is None where there is no repository, and ends in -dirty where files differ from it.
    """
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "commit": git.stdout.strip() or None,
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in ("torch", "numpy", "scipy")},
    }
