"""The checkpoint of a run: one file, its configuration and the states of all jobs, written by a process at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock

from theory.common import files
from theory.common.errors import CheckpointError
from toy.config import Config, as_dict, differences

State = dict[str, Any]  # tensors, numbers, strings, and lists, tuples and dicts of them


def save(path: Path, config: Config, key: str, state: State) -> None:
    """Puts one job's state into the file, beside those of the other jobs.

    Raises:
        OSError: the file cannot be written; it is then as it was. CheckpointError: as `load`.
    """
    with FileLock(lock_of(path)):
        jobs = load(path, config) if path.exists() else {}
        files.write_tensors(path, {"config": as_dict(config), "jobs": {**jobs, key: state}})


def load(path: Path, config: Config) -> dict[str, State]:
    """The states by job. Nothing in the file is executed.

    Raises:
        CheckpointError: the file is truncated, damaged, no checkpoint, or that of another configuration.
        OSError: it cannot be read.
    """
    content = files.read_tensors(path, "checkpoint", CheckpointError)
    parts = content if isinstance(content, dict) else {}
    if set(parts) != {"config", "jobs"} or not all(isinstance(part, dict) for part in parts.values()):
        raise CheckpointError(f"{path} is no checkpoint of a run of toy.run")
    if differing := differences(content["config"], as_dict(config)):
        raise CheckpointError(f"{path} is from another configuration: {'; '.join(differing)}")
    return content["jobs"]


def lock_of(path: Path) -> Path:
    """The empty file that is locked while the checkpoint is replaced."""
    return path.with_name(f".{path.name}.lock")
