"""Files appear whole or not at all; damaged ones are refused and named."""

from __future__ import annotations

import errno
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from theory.common import files
from theory.common.errors import CheckpointError, FileError
from theory.common.files import (
    read_json,
    read_table,
    read_tensors,
    replacing,
    unlike,
    workplace,
    write,
    write_json,
    write_table,
    write_tensors,
)

# Writing


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"old"  # until the block ends
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError(28, "No space left on device")])
def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def half() -> None:
        with replacing(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(type(error)):
        half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "open", lambda _, mode: open("/dev/full", mode), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match="No space left on device") as found:
        write(path, b"new")
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_named_by_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as found:
        write(tmp_path / "a.bin", b"new")
    assert found.value.filename == str(tmp_path / "a.bin")


def test_a_read_only_target_is_named_by_the_file() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    with pytest.raises((FileNotFoundError, PermissionError)) as found:  # /proc takes no new files, not even from root
        write("/proc/a.bin", b"new")
    assert found.value.filename == "/proc/a.bin"


@pytest.mark.parametrize(
    ("name", "error"),
    [("nowhere/a.bin", FileNotFoundError), ("file/a.bin", NotADirectoryError), ("directory", IsADirectoryError)],
)
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str, error: type[OSError]) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error) as found:
        write(tmp_path / name, b"new")
    assert found.value.filename == str(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_without_a_number_keeps_its_text(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^cannot identify image$"), replacing(tmp_path / "a.png"):
        raise OSError("cannot identify image")


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as found, replacing(tmp_path / "a.png"):
        (tmp_path / "other").read_bytes()
    assert found.value.filename == str(tmp_path / "other")


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(pipe, "text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_texts_tables_and_json(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, "Fréchet\n")
    assert path.read_bytes() == "Fréchet\n".encode()
    write_json(path, {"a": [1, None]})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    assert path.read_text().endswith("}\n")
    table = pd.DataFrame({"arm": ["gan"], "value": [1 / 3]})
    write_table(path, table)
    assert path.read_text() == f"arm,value\ngan,{1 / 3!r}\n"
    write_table(path, table, digits=3)
    assert path.read_text() == "arm,value\ngan,0.333\n"


# Reading

CONTENT: dict[str, Any] = {"weights": torch.arange(600.0), "step": 3, "name": "ring", "nested": [{"x": torch.ones(2)}]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.pt"
    write_tensors(path, CONTENT)
    return path


def test_tensors_are_read(saved: Path) -> None:
    found = read_tensors(saved, "checkpoint")
    assert torch.equal(found.pop("weights"), CONTENT["weights"])
    assert torch.equal(found["nested"][0].pop("x"), torch.ones(2))
    assert found == {"step": 3, "name": "ring", "nested": [{}]}


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="is truncated, damaged or no checkpoint: ") as found:
        read_tensors(saved, "checkpoint", CheckpointError)
    assert str(found.value).startswith(f"{saved} is truncated")
    assert "\n" not in str(found.value)


def test_a_flipped_bit_of_a_tensor_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    at = data.index(CONTENT["weights"][500:504].numpy().tobytes())
    data[at] ^= 1
    saved.write_bytes(data)
    assert not torch.equal(torch.load(saved)["content"]["weights"], CONTENT["weights"])  # torch alone does not see it
    with pytest.raises(FileError, match=r"check sum of .*data"):
        read_tensors(saved, "checkpoint")


def test_flipped_bits_anywhere_are_refused_or_harmless(saved: Path) -> None:
    data = saved.read_bytes()
    refused = 0
    for at in range(0, len(data), 41):
        saved.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        try:
            found = read_tensors(saved, "checkpoint")
        except FileError:
            refused += 1
        else:  # a bit between the entries of the archive, which nothing reads
            assert found["weights"].equal(CONTENT["weights"])
            assert found["step"] == 3
    assert refused > len(data) / 41 / 2


class Touch:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path, touched = tmp_path / "a.pt", tmp_path / "touched"
    torch.save({"x": Touch(touched)}, path)
    with pytest.raises(FileError, match=r"a\.pt is truncated, damaged or no checkpoint"):
        read_tensors(path, "checkpoint")
    assert not touched.exists()
    torch.load(path, weights_only=False)  # the near-miss: what the file would have done
    assert touched.exists()


def test_another_archive_is_refused_and_a_missing_file_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(FileError, match="no denoiser"):
        read_tensors(tmp_path / "a.zip", "denoiser")
    with pytest.raises(FileNotFoundError) as found:
        read_tensors(tmp_path / "nowhere.pt", "denoiser")
    assert found.value.filename == str(tmp_path / "nowhere.pt")


def test_a_lack_of_memory_is_no_damage(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        read_tensors(saved, "checkpoint")


# Where


def test_results_of_a_checkout_lie_in_it_and_those_of_a_package_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (workplace() / "theory" / "common" / "files.py").samefile(files.__file__)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages" / "theory" / "common" / "files.py"))
    assert workplace() == tmp_path


@pytest.mark.parametrize("kind", ["packed", "twice"])
def test_a_file_that_unpacks_to_more_than_its_size_is_refused(tmp_path: Path, kind: str) -> None:
    """Before anything is unpacked: 64 MB of zeros in 64 kB, and one record that the directory names 1000 times."""
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == "packed" else zipfile.ZIP_STORED) as archive:
        archive.writestr("bomb/data/0", bytes(2**26 if kind == "packed" else 2**16))
        if kind == "twice":
            (record,) = archive.filelist
            archive.filelist.extend([record] * 999)
    assert path.stat().st_size < 2**18
    with pytest.raises(FileError, match=r"bomb.pt is truncated, damaged or no checkpoint: its records hold more"):
        read_tensors(path, "checkpoint")


def test_a_changed_content_is_refused(saved: Path) -> None:
    """Each change of a value, a type, a shape or a name; written as torch writes it, so that its own sums are right."""
    import copy

    changes: list[tuple[str, Any]] = [
        ("step", 4), ("step", 3.0), ("step", True), ("name", "rings"), ("weights", CONTENT["weights"].double()),
        ("weights", CONTENT["weights"].view(20, 30)), ("weights", -CONTENT["weights"]),
        ("nested", ({"x": torch.ones(2)},)),
        ("nested", [{"y": torch.ones(2)}]), ("nested", [{"x": torch.tensor([1.0, float("nan")])}]), ("more", None),
    ]  # fmt: skip
    whole = torch.load(saved, weights_only=True)
    for name, value in changes:
        changed = copy.deepcopy(whole)
        changed["content"][name] = value
        torch.save(changed, saved)
        with pytest.raises(FileError, match="the checksum differs"):
            read_tensors(saved, "checkpoint")
    torch.save(whole, saved)
    read_tensors(saved, "checkpoint")


def test_what_others_wrote_is_refused(saved: Path) -> None:
    for content in (CONTENT, torch.zeros(3), {"sha256": "0"}, {"sha256": 1, "content": {}}):
        torch.save(content, saved)
        with pytest.raises(FileError, match=r"is truncated, damaged or no checkpoint: (it was written by|its content)"):
            read_tensors(saved, "checkpoint")


def test_what_no_reader_would_accept_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a file of tensors holds no set"):
        write_tensors(tmp_path / "a.pt", {"x": {1, 2}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", [torch.ones(()), torch.zeros(0, 3), torch.ones(2, 3, dtype=torch.bfloat16).T, torch.tensor([True]), {}]
)
def test_every_shape_and_type_comes_back(value: Any, tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.pt", {"x": value})
    found = read_tensors(tmp_path / "a.pt", "checkpoint")["x"]
    assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "1e999 is no number of JSON"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_bad_json_is_one_line(text: str | bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FileError, match=says) as found:
        read_json(path, "configuration")
    assert str(found.value).startswith(str(path))
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 300


def test_json_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, None, 2.5], "b": {"a": 1}})
    assert read_json(tmp_path / "a.json", "table") == {"a": [1, None, 2.5], "b": {"a": 1}}


def test_the_largest_json_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    monkeypatch.setattr(files, "LARGEST_JSON", 8)
    assert files.read_json(path, "record") == {"a": 1}
    monkeypatch.setattr(files, "LARGEST_JSON", 7)
    with pytest.raises(FileError, match="is no record: it is larger than"):
        files.read_json(path, "record")


def test_json_of_numbers_that_are_none_where_they_are_meant(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [NaN, 1e999, 0.5]}')
    (first, second, third) = read_json(tmp_path / "a.json", "table", finite=False)["a"]
    assert first != first
    assert (second, third) == (float("inf"), 0.5)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"x": torch.zeros(2), "at": 9, "more": [(1, "b")]}, None),
        ({"x": torch.zeros(3), "at": 0, "more": [(0, "a")]}, "x is float32 [3], not float32 [2]"),
        ({"x": torch.zeros(2).double(), "at": 0, "more": [(0, "a")]}, "x is float64 [2], not float32 [2]"),
        ({"x": None, "at": 0, "more": [(0, "a")]}, "x is of type NoneType, not Tensor"),
        ({"x": torch.zeros(2), "at": True, "more": [(0, "a")]}, "at is of type bool, not int"),
        ({"x": torch.zeros(2), "at": 0, "more": []}, "more has 0 parts, not 1"),
        ({"x": torch.zeros(2), "at": 0, "more": [[0, "a"]]}, "more[0] is of type list, not tuple"),
        ({"x": torch.zeros(2), "at": 0, "more": [(0.5, "a")]}, "more[0][0] is of type float, not int"),
        ({"x": torch.zeros(2), "at": 0}, "it lacks or adds 'more'"),
        ({"x": torch.zeros(2), "at": 0, "more": [(0, "a")], "y" * 99: 1}, f"it lacks or adds '{'y' * 40}'"),
        ([], "it is of type list, not dict"),
    ],
)
def test_a_value_is_compared_with_a_pattern(found: Any, says: str | None) -> None:
    assert unlike(found, {"x": torch.ones(2), "at": 0, "more": [(0, "a")]}) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("arm,value\ngan,1\n,2\n", "column arm has a gap in row 2"),
        ("arm,value\ngan,x\n", "column 'value' holds more than numbers"),
        ("arm,value\ngan,True\n", "column 'value' holds more than numbers"),
        ("arm,value\ngan,1", "its last row is not whole"),
        ("arm,value\ngan,1,2\n", "rows are longer than the line of names"),
        ("arm,value\ngan,1\ngan,1,2\n", "Expected 2 fields in line 3"),
        ("arm\ngan\n", "lacks the column value"),
        ("", "its last row is not whole"),
        ("\n", "No columns to parse"),
        (b"arm,value\n\xff,1\n", "can't decode"),
    ],
)
def test_a_damaged_table_is_one_line(text: str | bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FileError, match=says) as found:
        read_table(path, ["arm"], ["value"])
    assert str(found.value).startswith(f"{path} is damaged or no such table: ")
    assert "\n" not in str(found.value)


def test_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# made\narm,seed,value\ngan,0,inf\ngan,1,\n")
    found = read_table(tmp_path / "a.csv", ["arm"], None, comment="#")
    assert found.seed.tolist() == [0, 1]
    assert found.value.isna().tolist() == [False, True]
    with pytest.raises(FileError, match="'arm' holds more than numbers"):
        read_table(tmp_path / "a.csv", (), None, comment="#")
