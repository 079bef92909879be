"""What hears of evaluations: the files that it writes; runs that call it are in tests/test_logs.py."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from theory.common import logs
from theory.common.errors import FileError
from theory.common.logs import HEADER, Own, Table, TensorBoard, close, log_of

RECORDS = [(0, "off_manifold", [0.5, 1.0]), (10, "off_manifold", [0.25, 0.1 + 0.2])]
OWN = """
def keep(arm, seeds, records):
    with open("heard.txt", "a") as file:
        print(arm, seeds, records, file=file)

def broken(arm, seeds, records):
    raise KeyError(arm)

number = 3
"""


def test_rows_come_with_their_digits(tmp_path: Path) -> None:
    table = Table(tmp_path / "metrics.csv")
    table.begin()
    table("gan", (0, 1), RECORDS[:1])
    table("summed", (4, 5), RECORDS[1:])
    found = pd.read_csv(table.path)
    assert [tuple(row) for row in found.itertuples(index=False)] == [
        ("gan", 0, 0, "off_manifold", 0.5),
        ("gan", 1, 0, "off_manifold", 1.0),
        ("summed", 4, 10, "off_manifold", 0.25),
        ("summed", 5, 10, "off_manifold", 0.1 + 0.2),
    ]


def test_a_table_that_is_there_is_kept_but_for_a_row_that_was_cut(tmp_path: Path) -> None:
    """As after a kill while a row was written: what comes again is not written again, the rest is."""
    path = tmp_path / "metrics.csv"
    Table(path).begin()
    Table(path)("gan", (0, 1), RECORDS)
    whole = path.read_text()
    path.write_text(whole[:-3])
    again = Table(path)
    again.begin()
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:-1])
    again("gan", (0, 1), RECORDS)
    again("gan", (0, 1), [(20, "w2", [1.0, 2.0])])
    assert (
        path.read_text()
        == whole.rstrip("\n").rsplit("\n", 1)[0]
        + "\n"
        + whole.splitlines()[-1]
        + "\ngan,0,20,w2,1.0\ngan,1,20,w2,2.0\n"
    )


def test_a_file_that_is_no_table_is_replaced_and_a_whole_one_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("another,header\n1,2\n")
    Table(path).begin()
    assert path.read_text() == HEADER + "\n" == "arm,seed,step,metric,value\n"
    monkeypatch.setattr(logs, "write", lambda *_: pytest.fail("nothing is to be done"))
    Table(path).begin()


def test_each_arm_and_seed_goes_on_after_its_own_last_step(tmp_path: Path) -> None:
    """The steps of others, in any order, and step 0 among them."""
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "\ngan,0,10,w2,1.0\ngan,0,0,w2,2.0\ngan,1,0,w2,3.0\n")
    Table(path)(
        "gan", (0, 1, 2), [(0, "w2", [9.0, 9.0, 5.0]), (10, "w2", [9.0, 6.0, 7.0]), (20, "w2", [8.0, 8.0, 8.0])]
    )
    assert path.read_text().splitlines()[4:] == [
        "gan,2,0,w2,5.0",
        "gan,1,10,w2,6.0",
        "gan,2,10,w2,7.0",
        "gan,0,20,w2,8.0",
        "gan,1,20,w2,8.0",
        "gan,2,20,w2,8.0",
    ]


def test_a_table_reads_its_file_once(tmp_path: Path) -> None:
    """What it wrote itself it does not look for again: a run writes each evaluation once."""
    table = Table(tmp_path / "metrics.csv")
    table.begin()
    for _ in range(2):
        table("gan", (0,), [(0, "w2", [1.0])])
    assert table.path.read_text().splitlines() == [HEADER, *["gan,0,0,w2,1.0"] * 2]


def test_as_many_values_as_seeds_are_wanted(tmp_path: Path) -> None:
    table = Table(tmp_path / "metrics.csv")
    table.begin()
    with pytest.raises(ValueError, match="shorter"):
        table("gan", (0, 1), [(0, "w2", [1.0])])


def test_two_tables_of_a_file_are_equal_whatever_they_know(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "\ngan,0,10,w2,1.0\n")
    known = Table(path)
    known("gan", (0,), [])
    assert known == Table(path)
    assert known.there != Table(path).there


def test_tensorboard_s_event_files_are_not_those_of_before(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "old").write_text("")
    assert log_of("tensorboard", tmp_path) == TensorBoard(tmp_path / "tensorboard")
    assert not (tmp_path / "tensorboard").exists()


def scalars(directory: Path) -> dict[tuple[str, str, int], float]:
    """Run, metric and step of all event files, and the value."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return {
        (path.parent.name, value.tag, event.step): value.tensor.float_val[0]
        for path in directory.glob("*/*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }


def test_tensorboard_has_a_run_for_each_arm_and_seed(tmp_path: Path) -> None:
    log = TensorBoard(tmp_path)
    log("gan", (0, 3), RECORDS[:1])
    first = scalars(tmp_path)  # before it is closed
    log("gan", (0, 3), [(10, "off_manifold", [0.125, 0.0625])])
    assert len(log.writers) == 2
    log.close()
    assert log.writers == {}
    assert first == {("gan-0", "off_manifold", 0): 0.5, ("gan-3", "off_manifold", 0): 1.0}
    assert scalars(tmp_path) == first | {
        ("gan-0", "off_manifold", 10): 0.125,
        ("gan-3", "off_manifold", 10): 0.0625,
    }
    assert all(len(list(run.iterdir())) == 1 for run in tmp_path.iterdir())  # a second call adds to the first one's


def test_tensorboards_of_a_directory_are_equal_whatever_they_wrote(tmp_path: Path) -> None:
    log = TensorBoard(tmp_path)
    log("gan", (0,), [])
    assert log == TensorBoard(tmp_path)
    log.close()


def test_an_own_log_is_called_and_one_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    log = log_of("own.py:keep", tmp_path)
    assert log == Own("own.py:keep")
    log("gan", (0, 1), RECORDS[:1])
    assert Path("heard.txt").read_text() == f"gan (0, 1) {RECORDS[:1]}\n"
    with pytest.raises(FileError, match=r"^own.py:broken fails as a log: KeyError, line 7: 'gan'"):
        log_of("own.py:broken", tmp_path)("gan", (0,), RECORDS[:1])


def test_an_own_log_must_be_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN + "\nlong = 'x' * 1000\n")
    with pytest.raises(FileError, match=r"^own.py:number must be callable as log\(arm, seeds, records\); given 3$"):
        log_of("own.py:number", tmp_path)
    with pytest.raises(FileError, match=rf"given '{'x' * 79}$"):
        log_of("own.py:long", tmp_path)


def test_logs_are_closed_if_they_can_be() -> None:
    closed: list[object] = []

    class Closes:
        def __call__(self, arm: str, seeds: object, records: object) -> None: ...

        def close(self) -> None:
            closed.append(self)

    log = Closes()
    close([log, lambda *_: None, log])
    assert closed == [log, log]


def test_a_table_with_values_that_are_none_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pandas writes NaN, at the end of a run; a word in the place of a value is damage."""
    path = tmp_path / "metrics.csv"
    path.write_text(f"{HEADER}\ngan,0,0,gradient_cosine,\n")
    with monkeypatch.context() as patch:
        patch.setattr(logs, "write", lambda *_: pytest.fail("nothing is to be done"))
        Table(path).begin()
    path.write_text(f"{HEADER}\ngan,0,0,gradient_cosine,none\n")
    Table(path).begin()
    assert path.read_text() == f"{HEADER}\n"
