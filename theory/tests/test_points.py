"""Points from a file: the same law as Gaussians of these means; what is no table of numbers is refused in one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from theory.common.errors import FileError
from theory.manifolds import Gaussians, Points
from theory.manifolds import law as law_module
from theory.manifolds import points as module

TABLE = [[0.0, 1.0], [-1.5, 2.0], [3.0, 0.25]]
TEXTS = [
    "0,1\n-1.5,2\n3,0.25\n",
    "x,y\n0,1\n-1.5,2\n3,0.25",
    "# made by hand\n0, 1\n\n-1.5, 2e0\r\n3, .25\n",
    "\ufeff0,1\n-1.5,2\n3,0.25\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_csv(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert Points.read(tmp_path / "a.csv", std=0.1) == Points(TABLE, 0.1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_npy(dtype: str, tmp_path: Path) -> None:
    table = np.round(TABLE) if dtype == "i8" else np.array(TABLE)
    np.save(tmp_path / "a.npy", table.astype(dtype))
    assert Points.read(tmp_path / "a.npy") == Points(table.tolist())


def array(value: object, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **options)  # type: ignore[arg-type]
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("a.npy", array(np.zeros((2, 2))))
    return file.getvalue()


WRONG = {
    "empty": ("a.csv", b"", "a.csv holds no points"),
    "names only": ("a.csv", b"x,y\n", "a.csv holds no points"),
    "ragged": ("a.csv", b"0,1\n\n2\n", "a.csv, line 3: 1 columns, and line 1 has 2"),
    "nan": ("a.csv", b"0,1\nnan,2\n", "a.csv, line 2: 'nan' is no finite number"),
    "infinite": ("a.csv", b"0,1\n2,1e999\n", "a.csv, line 2: '1e999' is no finite number"),
    "hole": ("a.csv", b"0,1\n,2\n", "a.csv, line 2: '' is no finite number"),
    "words": ("a.csv", b"0,1\n0,b\n", "a.csv, line 2: 'b' is no finite number"),
    "binary": ("a.csv", b"\xff\xfe\x00\x01", "a.csv is no text of numbers between commas"),
    "many": ("a.csv", b"0,1\n" * 6, "a.csv holds 6 points, and at most 5 can be used: take a random part of them"),
    "many in an array": ("a.npy", array(np.zeros((6, 2))), "a.npy holds 6 points, and at most 5 "),
    "many of many coordinates": ("a.npy", array(np.zeros((5, 7))), "a.npy holds 5 points, and at most 4 "),
    "no array": ("a.npy", b"0,1\n", "a.npy is no .npy file of numbers: "),
    "empty array": ("a.npy", array(np.zeros((0, 2))), "a.npy holds no points"),
    "one axis": ("a.npy", array(np.zeros(3)), r"a.npy must hold real numbers \[points, coordinates\]; given float64 "),
    "complex": ("a.npy", array(np.zeros((2, 2), complex)), "a.npy must hold real numbers .* given complex128"),
    "objects": ("a.npy", array(np.array([[{}]]), allow_pickle=True), "a.npy is no .npy file of numbers: "),
    "nan in an array": ("a.npy", array(np.array([[0, 1], [2, np.nan]])), "a.npy: row 1, column 1 is nan"),
    "cut": ("a.npy", array(np.zeros((4, 2)))[:-8], "a.npy is no .npy file of numbers: "),
    "archive": ("a.npy", archive(), "a.npy must hold real numbers .* given an archive"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_table(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "MOST", 5)
    monkeypatch.setattr(module, "PAIRS", 4 * 4 * 7)
    name, content, says = WRONG[what]
    Path(name).write_bytes(content)
    with pytest.raises(FileError, match=f"^{says}[^\n]*$"):
        Points.read(name)


@pytest.mark.parametrize("name", ["a.csv", "a.npy"])
def test_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"No such file or directory$"):
        Points.read(tmp_path / name)


def test_the_law_is_that_of_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where points are projected in blocks; equal points, thickened or not, are equal laws."""
    monkeypatch.setitem(law_module.BLOCK, "cpu", 1)
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(20, 3, generator=generator, dtype=torch.float64).tolist()
    found, wanted = Points(table, 0.2), Gaussians(table, 0.2)
    x = torch.randn(4, 9, 3, generator=generator, dtype=torch.float64)
    assert torch.equal(found.project(x), wanted.project(x))
    assert torch.equal(found.denoise(x, 1.0, 0.3), wanted.denoise(x, 1.0, 0.3))
    assert found == Points(table, 0.2) != Points(table, 0.3)
    assert hash(found) == hash(Points(table, 0.2))
