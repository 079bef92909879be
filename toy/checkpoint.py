"""One file with the states of all jobs of a run, which processes update one at a time."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from toy import files
from toy.files import CheckpointError

State = dict[str, Any]  # tensors, numbers, strings, and lists and dicts of them


def save(path: Path, key: str, state: State) -> None:
    """Puts one job's state into the file, beside those of the other jobs.

    Raises:
        OSError: the file cannot be written; it is then as it was. CheckpointError: as `load`.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        states = load(path) if path.exists() else {}
        buffer = io.BytesIO()
        torch.save({**states, key: state}, buffer)
        files.write(path, buffer.getvalue())


def load(path: Path) -> dict[str, State]:
    """The states by job. Nothing in the file is executed.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or no checkpoint.
    """
    try:
        states = torch.load(path, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is truncated, damaged or no checkpoint: {reason[:120]}") from None
    if not isinstance(states, dict):
        raise CheckpointError(f"{path} is no checkpoint of this program: it holds a {type(states).__name__}")
    return states
