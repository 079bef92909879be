"""The checkpoint of a run: one file, its configuration and the states of all jobs, written by a process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from theory.common import files
from theory.common.checks import few, told
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
    try:
        there = json.loads(json.dumps(content["config"]))
    except (TypeError, ValueError):
        raise CheckpointError(f"{path} is damaged: its configuration holds more than numbers and names") from None
    if differing := differences(there, as_dict(config)):
        raise CheckpointError(f"{path} is from another configuration: {few(differing, between='; ')}")
    return content["jobs"]


def check(path: Path, key: str, state: State, trainer: State, steps: int, seeds: int) -> None:
    """Compares what is stored of a job with what its trainer would store at the start.

    Raises:
        CheckpointError: a part is missing, of another type, dtype or shape, or of a step that there is not.
    """
    for wrong in complaints(state, trainer, steps, seeds):
        raise CheckpointError(f"{path}, {key}: {wrong}; it is damaged, or of another version")


def complaints(state: State, trainer: State, steps: int, seeds: int) -> Iterator[str]:
    """What cannot be meant in a job's state."""
    if not isinstance(state, dict) or set(state) != {"records", "picture", "trainer"}:
        yield "it must hold records, picture and trainer"
        return
    records, picture = state["records"], state["picture"]
    if not isinstance(records, list) or not isinstance(picture, dict):
        yield "records must be a list, and picture tensors by name"
        return
    found = [files.unlike(state["trainer"], trainer, "trainer")]
    found += [files.unlike(record, (0, "", [0.0] * seeds), "a record") for record in records]
    found += [None if isinstance(x, Tensor) else f"{told(name)} in picture is no tensor" for name, x in picture.items()]
    if any(found):
        yield from filter(None, found)
        return
    yield from (f"step {told(at)} of {steps}" for at in steps_of(state) if not 0 <= at <= steps)


def steps_of(state: State) -> list[int]:
    """The steps that a job's state tells of."""
    return [state["trainer"]["at"], *(step for step, _, _ in state["records"])]


def lock_of(path: Path) -> Path:
    """The empty file that is locked while the checkpoint is replaced."""
    return path.with_name(f".{path.name}.lock")
