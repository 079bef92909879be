"""A run's state on disk, written whole or not at all; the one before it is kept as well."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from images.recipes import FREE, differences
from theory.common.checks import few
from theory.common.errors import CheckpointError
from theory.common.files import read_tensors, write_tensors
from theory.common.terminal import console

KIND = "smart-verified images"
FORMAT = f"{KIND} 3"


PARTS = {"format": "", "recipe": {}, "coupling": "", "seed": 0, "trainer": {}, "records": [], "retries": []}
"""What a checkpoint holds, and of which type each part is."""


def wrong_in(content: dict[str, Any]) -> str | None:
    """The part of a checkpoint that cannot be meant; None: all can. The trainer looks at its own."""
    if set(content) != set(PARTS):
        return f"it lacks or adds {few(sorted(map(str, set(content) ^ set(PARTS))))}"
    if wrong := [name for name, part in PARTS.items() if type(content[name]) is not type(part)]:
        return f"{wrong[0]} is a {type(content[wrong[0]]).__name__}"
    try:
        json.dumps(content["recipe"])
    except (TypeError, ValueError):
        return "the recipe holds more than numbers and names"
    for record in content["records"]:
        if not isinstance(record, list) or [type(part) for part in record] not in ([int, str, float], [int, str, int]):
            return "a record is no [step, metric, value]"
    if any(not isinstance(retry, list) or [type(part) for part in retry] != [int, int] for retry in content["retries"]):
        return "a retry is no [step, step]"
    return None


def previous(path: Path) -> Path:
    return path.with_suffix(".previous.pt")


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes the checkpoint; the last one becomes `previous(path)`.

    Raises:
        OSError: it cannot be written; the last one is then still there.
    """
    if path.exists():
        link = path.with_name(f".{previous(path).name}.{os.getpid()}.partial")
        try:
            os.link(path, link)  # so that both names are there at every moment
            os.replace(link, previous(path))
        finally:
            link.unlink(missing_ok=True)  # still there where both were one file already, as after a kill in between
    write_tensors(path, {"format": FORMAT} | content)


def load(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint of this recipe; of the one before it where the file is damaged, which is said. Runs
    nothing in it.

    Raises:
        CheckpointError: both are damaged, or it is that of another recipe, resolution or number of classes.
        OSError: it cannot be read.
    """
    try:
        content = read(path)
    except CheckpointError as error:
        if not previous(path).exists():
            raise
        try:
            content = read(previous(path))
        except CheckpointError:
            raise error from None
        console(stderr=True).print(f"{error}; the one before it is used again", soft_wrap=True)
    here = {name: value for name, value in recipe.items() if name not in FREE}
    there = {name: value for name, value in content["recipe"].items() if name not in FREE}
    if differing := differences(there, here):
        raise CheckpointError(f"{path} is from another configuration: {few(differing, between='; ')}")
    return content


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        CheckpointError: the file is truncated, damaged, or no checkpoint of training. OSError: it cannot be read.
    """
    content = read_tensors(path, "checkpoint", CheckpointError)
    written = content.get("format") if isinstance(content, dict) else None
    if written == FORMAT:
        if (wrong := wrong_in(content)) is not None:
            raise CheckpointError(f"{path}: {wrong}; it is damaged, or of another version")
        return content
    if str(written).startswith(KIND):
        raise CheckpointError(f"{path} was written by another version of images.train: train anew, with --overwrite")
    raise CheckpointError(f"{path} is no checkpoint of images.train")
