"""What images.data says of its sources: IDX files, LSUN's databases, classes, grey images, what is odd in folders."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from images import data
from images.datasets import idx
from images.datasets.archive import Archive
from theory.common.commandline import run
from theory.common.errors import FileError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """(exit status, what was printed) of images.data with a source and options; the archive is a.zip."""

    def made(source: Path, *options: str) -> tuple[int, str]:
        status = run(data.main, [str(source), "--dest", str(tmp_path / "a.zip"), "--overwrite", *options])
        ended = capsys.readouterr()
        return status, ended.out + ended.err

    return made


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels, mode).save(path)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, np.uint8)


# ---- IDX


def packed(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """As Debian's package has it: gzipped, train and t10k."""
    for part, n in (("train", 6), ("t10k", 3)):
        for kind, array in (("images-idx3", noise(n, 28, 28)), ("labels-idx1", np.arange(n, dtype=np.uint8))):
            path = tmp_path / "fashion" / f"{part}-{kind}-ubyte.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(packed(array)))
    return tmp_path / "fashion"


def test_idx_images_lie_amid_zeros(fashion: Path, tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    images, _ = idx.read(fashion, "train")
    status, said = make(fashion)
    assert status == 0
    assert "6 images [1, 32, 32], 6 classes" in said
    assert "note: images of 28x28 lie in the middle of 32x32 pixels, the rest 0" in said
    found = Archive(tmp_path / "a.zip")
    whole = np.stack([found.read(i) for i in range(6)])
    assert np.array_equal(whole[:, :, 2:30, 2:30], images)
    assert whole.astype(int).sum() == images.astype(int).sum()
    assert found.labels is not None
    assert found.labels.tolist() == list(range(6))


@pytest.mark.parametrize(("split", "count"), [("train", 6), ("test", 3), ("all", 9)])
def test_splits_of_idx(split: str, count: int, fashion: Path) -> None:
    images, labels = idx.read(fashion, split)
    assert images.shape == (count, 1, 28, 28)
    raw = gzip.decompress((fashion / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    if split != "train":
        assert images[-3:].tobytes() == raw
        assert labels[-3:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dotted", [False, True])
def test_an_idx_file_unpacked_or_given_by_itself(
    dotted: bool, fashion: Path, make: Callable[..., tuple[int, str]]
) -> None:
    for path in list(fashion.iterdir()):
        name = path.name.removesuffix(".gz")
        (fashion / (name.replace("-idx", ".idx") if dotted else name)).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    status, said = make(fashion / ("t10k-images.idx3-ubyte" if dotted else "t10k-images-idx3-ubyte"))
    assert (status, "3 images [1, 32, 32]" in said) == (0, True), said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d[:-1], "truncated, or longer"),
        (lambda d: d + b"x", "truncated, or longer"),
        (lambda d: d[:3] + b"\1" + d[4:], "no IDX file of uint8 with 3 dimensions"),
        (lambda d: d[:2] + b"\x0d" + d[3:], "no IDX file of uint8"),
        (lambda d: d[:4] + b"\xff" * 12, "refused: 4294967295 x 4294967295 x 4294967295 bytes announced in a file of"),
        (lambda d: packed(noise(5, 28, 28)), "5 images, but 6 labels"),
        (lambda d: b"", "no IDX file"),
    ],
)
def test_idx_files_that_are_wrong(spoil: Callable[[bytes], bytes], said: str, fashion: Path) -> None:
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(spoil(gzip.decompress(path.read_bytes()))))
    with pytest.raises(FileError, match=said) as refused:
        idx.read(fashion, "train")
    assert str(refused.value).startswith(str(path))
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(FileError, match=path.name):
        idx.read(fashion, "train")
    path.unlink()
    with pytest.raises(FileError, match="no train-images-idx3-ubyte"):
        idx.read(fashion, "train")


# ---- LSUN


def test_without_the_package_a_database_says_what_it_needs(
    tmp_path: Path, make: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / "bedroom").mkdir()
    (tmp_path / "bedroom" / "data.mdb").write_bytes(bytes(100))
    if "lmdb" in sys.modules:
        pytest.skip("the package is here")
    status, said = make(tmp_path / "bedroom")
    assert status == 2
    assert "bedroom is an LMDB, as LSUN comes: pip install lmdb, which reads it, or give a folder of its images" in said


def test_a_database_is_read_in_the_order_of_its_keys(
    tmp_path: Path, make: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the package: pairs of keys and encoded images."""
    images = {bytes([65 + i]): np.full((20, 30, 3), 40 * i, np.uint8) for i in range(3)}
    encoded = {}
    for key, pixels in images.items():
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, "PNG")
        encoded[key] = buffer.getvalue()

    class Transaction(dict[bytes, bytes]):
        def cursor(self) -> list[tuple[bytes, bytes]]:
            return list(self.items())

    def opened(path: str, **options: object) -> types.SimpleNamespace:
        assert options["readonly"]
        return types.SimpleNamespace(begin=lambda buffers: Transaction(encoded))

    monkeypatch.setitem(sys.modules, "lmdb", types.SimpleNamespace(open=opened))
    (tmp_path / "bedroom").mkdir()
    (tmp_path / "bedroom" / "data.mdb").touch()
    assert make(tmp_path / "bedroom", "--size", "8")[0] == 0
    found = Archive(tmp_path / "a.zip")
    assert found.labels is None
    assert [int(found.read(i).max()) for i in range(3)] == [0, 40, 80]
    encoded[b"A"] = b"no image"
    status, said = make(tmp_path / "bedroom", "--size", "8")
    assert (status, "data.mdb" not in said and "'A': not a readable image" in said) == (2, True), said
    status, said = make(tmp_path / "bedroom", "--size", "8", "--skip-bad")
    assert (status, "skipped: " in said, "2 images" in said) == (0, True, True), said


# ---- classes


def test_numbered_folders_keep_their_numbers(tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    for i in range(12):
        save(tmp_path / "f" / str(i) / "x.png", np.full((8, 8, 3), i, np.uint8))
    status, said = make(tmp_path / "f", "--size", "8")
    assert status == 0
    assert "classes (in dataset.json): 0 = '0', 1 = '1', 2 = '2'," in said
    found = Archive(tmp_path / "a.zip")
    assert found.labels is not None
    assert [int(found.read(i)[0, 0, 0]) for i in range(12)] == [found.labels[i] for i in range(12)]
    with zipfile.ZipFile(tmp_path / "a.zip") as made:
        assert json.loads(made.read("dataset.json"))["classes"] == [str(i) for i in range(12)]
    small = tmp_path / "b.zip"
    assert run(data.main, [str(tmp_path / "a.zip"), "--dest", str(small)]) == 0
    assert Archive(small).classes == found.classes


def test_what_is_odd_in_a_folder_is_said(tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    hidden = np.dstack([noise(8, 8, 3), np.zeros((8, 8, 1), np.uint8)])
    save(tmp_path / "f" / "cat" / "a.png", hidden, "RGBA")
    save(tmp_path / "f" / "dog" / "b.png", noise(8, 8, 3))
    (tmp_path / "f" / "dog" / "c.png").write_bytes((tmp_path / "f" / "dog" / "b.png").read_bytes())
    (tmp_path / "f" / "bird").mkdir()
    status, said = make(tmp_path / "f", "--size", "8")
    assert status == 0
    assert "note: the folder 'bird' has no image, and is no class\n" in said
    assert (
        f"note: 1 images have transparent pixels, whose hidden colours are now seen ({tmp_path}/f/cat/a.png ...)"
        in said
    )
    assert f"note: 1 images are there twice ({tmp_path}/f/dog/c.png = {tmp_path}/f/dog/b.png ...)" in said
    assert "0 = 'cat', 1 = 'dog'" in said


def test_labels_that_only_names_hold_are_said_to_be_unread(
    tmp_path: Path, make: Callable[..., tuple[int, str]]
) -> None:
    for i in range(6):
        save(tmp_path / "f" / f"{'cat' if i % 2 else 'dog'}_{i}.png", noise(8, 8, 3))
    assert "note: no labels: names such as 'cat_1.png' seem to hold classes (cat, dog, ...)" in make(tmp_path / "f")[1]
    for i in range(6):
        (tmp_path / "f" / f"{'cat' if i % 2 else 'dog'}_{i}.png").rename(tmp_path / "f" / f"img{i}.png")
    assert "seem to hold" not in make(tmp_path / "f")[1]


# ---- grey, and bad images


def test_grey_stays_grey_where_one_channel_is_asked_for(tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    pixels = noise(8, 8)
    save(tmp_path / "f" / "a.png", pixels)
    status, said = make(tmp_path / "f", "--size", "8")
    assert (status, "note: all images are grey, and were made RGB: --channels 1 keeps them grey" in said) == (0, True)
    status, said = make(tmp_path / "f", "--size", "8", "--channels", "1")
    assert (status, "1 images [1, 8, 8]" in said, "keeps them" in said) == (0, True, False)
    assert np.array_equal(Archive(tmp_path / "a.zip").read(0)[0], pixels)
    make(tmp_path / "a.zip", "--dest", str(tmp_path / "b.zip"), "--channels", "3")
    assert np.array_equal(Archive(tmp_path / "b.zip").read(0), np.stack([pixels] * 3))


def test_colours_that_are_lost_are_counted(tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    save(tmp_path / "f" / "a.png", noise(8, 8, 3))
    save(tmp_path / "f" / "b.png", noise(8, 8))
    said = make(tmp_path / "f", "--size", "8", "--channels", "1")[1]
    assert f"note: 1 images were in colour, and were made grey ({tmp_path}/f/a.png ...)" in said


def test_bad_images_are_skipped_and_listed(tmp_path: Path, make: Callable[..., tuple[int, str]]) -> None:
    for name in "abc":
        save(tmp_path / "f" / f"{name}.png", noise(8, 8, 3))
    (tmp_path / "f" / "b.png").write_bytes(b"no image")
    good = (tmp_path / "f" / "c.png").read_bytes()
    (tmp_path / "f" / "d.png").write_bytes(good[: len(good) // 2])
    assert make(tmp_path / "f", "--size", "8")[0] == 2
    status, said = make(tmp_path / "f", "--size", "8", "--skip-bad")
    assert status == 0
    assert "2 images [3, 8, 8]" in said
    assert f"skipped: {tmp_path}/f/b.png: not a readable image (not recognised)\n" in said
    assert f"skipped: {tmp_path}/f/d.png: not a readable image" in said
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as made:
        made.writestr("a.png", good)
        made.writestr("b.png", b"no image")
    status, said = make(tmp_path / "z.zip", "--skip-bad")
    assert (status, "1 images" in said, f"skipped: {tmp_path}/z.zip: 'b.png' is not" in said) == (0, True, True), said


@pytest.mark.parametrize("option", [("--channels", "1"), ("--skip-bad",), ("--size", "8")])
def test_options_that_a_source_has_no_use_for(option: tuple[str, ...], make: Callable[..., tuple[int, str]]) -> None:
    status, said = make(Path("digits"), *option)
    assert (status, f"{option[0]} is for folders, LSUN and archives; digits stays as it is" in said) == (2, True), said
