"""What is wrong with how a command ended on a full disk, and whether two directories hold the same."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

PASSING = {"seconds", "cost", "cpu_seconds", "core_seconds", "sha256", "trained_now", "date", "command", "commit"}
"""Keys of times, of what the hash of a time is in, and of where the results come from."""


def wrong(status: int, err: str, disk: Path) -> str:
    """Empty, if it ended with status 1 and one line that names the disk's path, and left no partial file."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    left = [str(path.relative_to(disk)) for path in disk.rglob(".*")]
    if "Traceback" in err:
        return f"a traceback: {err.splitlines()[-1]}"
    if status != 1 or len(lines) != 1:
        return f"status {status}, {len(lines)} lines of errors: {err[-300:]}"
    if "No space left on device" not in lines[0] or str(disk) not in lines[0]:
        return f"no disk and path in: {lines[0]}"
    return f"left: {', '.join(left)}" if left else ""


def contents(directory: Path) -> dict[str, Any]:
    """What every file below a directory says, without times."""
    return {str(path.relative_to(directory)): content(path) for path in sorted(directory.rglob("*")) if path.is_file()}


def content(path: Path) -> Any:
    if path.suffix == ".json":
        return lasting(json.loads(path.read_text()))
    if path.suffix == ".npz":
        stored = np.load(path)
        return {name: (str(stored[name].dtype), stored[name].shape, stored[name].tobytes()) for name in stored.files}
    if path.suffix in (".zip", ".pt"):
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return path.read_bytes()


def lasting(value: Any) -> Any:
    """Without PASSING."""
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if key not in PASSING}
    return [lasting(part) for part in value] if isinstance(value, list) else value
