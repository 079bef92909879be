"""Exit statuses, and what counts as a lack of memory."""

from __future__ import annotations

import pytest
import torch

from theory.common.errors import (
    CheckpointError,
    Diverged,
    Failure,
    FileError,
    Lost,
    OutOfMemory,
    Stopped,
    UsageError,
    out_of_memory,
)


def test_what_a_user_gave_ends_with_2_and_anything_else_with_1() -> None:
    assert {error.status for error in (UsageError, FileError, CheckpointError)} == {2}
    assert {error.status for error in (Failure, Diverged, Stopped, Lost, OutOfMemory)} == {1}


def test_a_bad_file_is_a_wrong_value_for_those_who_call_us() -> None:
    with pytest.raises(ValueError, match="no archive"):
        raise CheckpointError("no archive")
    assert not issubclass(Diverged, ValueError)


def test_a_lack_of_memory_on_this_machine_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(found.value)
    with pytest.raises(RuntimeError) as found:  # the near-miss
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not out_of_memory(found.value)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (OSError(28, "No space left on device"), False),
    ],
    ids=repr,
)
def test_what_is_a_lack_of_memory(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) is is_one
