"""The classifier of digits, which takes seconds to train, once for all tests of a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from images.metrics import features
from theory.common.files import write_tensors


def with_classifier(directory: Path) -> Path:
    """The directory, as a cache that has the classifier."""
    write_tensors(directory / f"digits-classifier-{features.VERSION}.pt", _trained().state_dict())
    return directory


@cache
def _trained() -> features.DigitsClassifier:
    return features.train_digits_classifier()
