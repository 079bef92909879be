"""What commands say when they end early."""

import pytest

from theory.common.commandline import complain, reason


def test_a_complaint_is_one_line_of_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(ValueError("no such\n  law:  rign"), 2) == 2
    assert capsys.readouterr() == ("", "error: no such law: rign\n")


def test_the_reason_names_the_file_if_there_is_one() -> None:
    assert reason(OSError(28, "No space left on device", "a.csv")) == "a.csv: No space left on device"
    assert reason(OSError("port taken")) == "port taken"
