"""Archives, their sources, the sampler: what comes back is what went in, and hostile files are refused by name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from images.datasets import archive, cifar10, dataset, sources
from images.datasets.dataset import Images, batch_flips, batch_indices, to_float, to_uint8
from images.datasets.sources import How
from theory.common.errors import FileError

RANDOM = np.random.default_rng(0)


def pixels(n: int, *shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (n, *shape), np.uint8)


def png(image: np.ndarray, mode: str | None = None) -> bytes:
    """[h, w] or [h, w, c] as Pillow writes it, with compression."""
    buffer = io.BytesIO()
    made = PIL.Image.fromarray(image)
    (made.convert(mode) if mode else made).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = png(pixels(1, 8, 8)[0])


def as_list(labels: torch.Tensor | None) -> list[int]:
    assert labels is not None
    return labels.tolist()


def make(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


# ---- archives: what goes in comes out


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read(path: Path, channels: int) -> None:
    images, labels = pixels(5, channels, 8, 8), [3, 0, 1, 1, 2]
    assert archive.write(path, zip(images, labels, strict=True)) == 5
    found = Images.open(path)
    assert torch.equal(found.images[:], torch.from_numpy(images))
    assert as_list(found.labels) == labels
    assert (found.shape, len(found), found.classes) == ((channels, 8, 8), 5, 4)


def test_the_layout_is_that_of_stylegan_and_edm(path: Path) -> None:
    archive.write(path, zip(pixels(1002, 1, 8, 8), [0] * 1002, strict=True))
    with zipfile.ZipFile(path) as made:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in made.infolist())
        assert {entry.date_time for entry in made.infolist()} == {
            (1980, 1, 1, 0, 0, 0)
        }  # else bytes would depend on it
        labels = json.loads(made.read("dataset.json"))["labels"]
        assert labels[0] == ["00000/img00000000.png", 0]
        assert labels[1001] == ["00001/img00001001.png", 0]
        assert {name for name, _ in labels} | {"dataset.json"} == set(made.namelist())


def test_images_without_labels_have_null_in_dataset_json(path: Path) -> None:
    archive.write(path, ((image, None) for image in pixels(2, 3, 8, 8)))
    assert json.loads(zipfile.ZipFile(path).read("dataset.json")) == {"labels": None}
    assert Images.open(path).labels is None


def test_images_too_many_for_memory_are_read_from_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(4, 3, 8, 8)
    archive.write(path, zip(images, range(4), strict=True))
    monkeypatch.setattr(dataset, "RESIDENT", 0)
    found = Images.open(path)
    assert not isinstance(found.images, torch.Tensor)
    batch, labels = found.batch(torch.tensor([2, 0]))
    assert torch.equal(batch, torch.from_numpy(images[[2, 0]]))
    assert as_list(labels) == [2, 0]


def test_every_grey_level_survives_the_way_through_floats() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert (to_float(levels)[[0, 255]].tolist(), to_uint8(torch.tensor([-3.0, 3.0])).tolist()) == ([-1, 1], [0, 255])


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([(pixels(1, 1, 8, 8)[0], 0), (pixels(1, 1, 4, 4)[0], 0)], "image 1 is"),
        ([(pixels(1, 1, 6, 6)[0], 0)], "power of two"),
        ([(pixels(1, 2, 8, 8)[0], 0)], "1 or 3"),
        ([(pixels(1, 1, 8, 8)[0], 0), (pixels(1, 1, 8, 8)[0], None)], "1 of 2 images have no label"),
        ([(pixels(1, 1, 8, 8)[0], -1)], "label of image 0"),
        ([], "no images"),
    ],
)
def test_what_fits_no_archive_is_not_written(path: Path, items: list, said: str) -> None:
    path.write_bytes(b"before")
    with pytest.raises(FileError, match=said):
        archive.write(path, items)
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


# ---- archives of others


def huge_png() -> bytes:
    """50,000 x 50,000 pixels announced."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = GOOD[8 + 25 :]
    return GOOD[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data


DEEP = b'{"labels": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../x.png": GOOD}, r"'../x.png' leads out"),
        ({"a/../../x.png": GOOD}, "leads out"),
        ({"/etc/x.png": GOOD}, "leads out"),
        ({"..\\x.png": GOOD}, "leads out"),
        ({"C:x.png": GOOD}, "leads out"),
        ({"a.png": GOOD, "run.py": b""}, r"'run.py' is no part of a dataset"),
        ({"dataset.json": b"{}"}, "no PNG"),
        ({"a.png": b"<svg/>"}, r"'a.png' is not a readable PNG \(not recognised\)"),
        ({"a.png": GOOD[:-30]}, r"'a.png' is not a readable PNG"),
        ({"a.png": huge_png()}, r"'a.png'"),
        ({"a.png": GOOD, "b.png": png(pixels(1, 16, 16)[0])}, r"'b.png' is \[1, 16, 16\]"),
        ({"a.png": GOOD, "b.png": png(pixels(1, 8, 8, 3)[0])}, r"'b.png' is \[3, 8, 8\]"),
        ({"a.png": png(pixels(1, 8, 8, 4)[0])}, r"'a.png' is of kind RGBA"),
        ({"a.png": png(pixels(1, 8, 4)[0])}, "power of two"),
        ({"a.png": GOOD, "dataset.json": b"[1]"}, "dataset.json is malformed"),
        ({"a.png": GOOD, "dataset.json": b"\xff"}, "dataset.json is malformed"),
        ({"a.png": GOOD, "dataset.json": DEEP}, "dataset.json is malformed"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": [["a.png", [0, 1]]]}'}, r"label of 'a.png'"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": [["a.png", true]]}'}, r"label of 'a.png'"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": [["a.png", -1]]}'}, r"label of 'a.png'"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": []}'}, r"no label for 'a.png'"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": [["a.png", 0], ["a.png", 1]]}'}, r"lists 'a.png' twice"),
        ({"a.png": GOOD, "dataset.json": b'{"labels": [["a.png", 0], ["b.png", 0]]}'}, r"no image, 'b.png'"),
    ],
)
def test_an_archive_that_is_none_is_refused_by_the_name_of_what_is_wrong(path: Path, members: dict, said: str) -> None:
    with pytest.raises(FileError, match=said) as refusal:
        Images.open(make(path, members))
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_links_are_refused(path: Path) -> None:
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(FileError, match=r"'a.png' is a symbolic link"):
        Images.open(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_given_twice_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.png", GOOD)
        made.writestr("a.png", GOOD)
    with pytest.raises(FileError, match="two members"):
        Images.open(path)


@pytest.mark.parametrize("name", ["a.png", "dataset.json"])
def test_bombs_are_refused_unread(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path, {"b.png": GOOD, name: bytes(2 << 20)}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(FileError, match=rf"'{name}' unpacks from \d+ to 2097152 bytes"):
        Images.open(path)


def test_bombs_of_many_small_members_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL_ARCHIVE", 1 << 20)
    make(path, {f"{i}.png": bytes(1 << 19) for i in range(5)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match=r"bytes unpack to 2621440"):
        Images.open(path)
    monkeypatch.setattr(archive, "MEMBERS", 4)
    with pytest.raises(FileError, match="5 members"):
        Images.open(path)


def test_names_are_shown_without_control_characters(path: Path) -> None:
    with pytest.raises(FileError) as refusal:
        Images.open(make(path, {"\x1b[2J" + "x" * 500 + ".py": b""}))
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < len(str(path)) + 200


def test_no_damage_gets_through(path: Path) -> None:
    """Bytes changed or cut off anywhere: the archive is refused, or nothing of the images or labels has changed."""
    archive.write(path, zip(pixels(2, 1, 8, 8), [0, 1], strict=True))
    good, before = path.read_bytes(), Images.open(path)
    refused = 0
    for _ in range(400):
        data = bytearray(good)
        if RANDOM.random() < 0.3:
            del data[RANDOM.integers(len(data)) :]
        else:
            data[RANDOM.integers(len(data))] ^= 1 << RANDOM.integers(8)
        path.write_bytes(data)
        try:
            found = Images.open(path)
        except FileError:
            refused += 1
            continue
        assert torch.equal(found.images[:], before.images[:])
        assert found.labels is None or found.labels.tolist() == [0, 1]
    assert refused > 300


# ---- the sampler


def test_every_epoch_shows_each_image_once_in_an_order_of_its_own() -> None:
    seen = torch.cat([batch_indices(7, step, 4, 10) for step in range(5)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert not torch.equal(batch_indices(7, 0, 4, 1000), batch_indices(8, 0, 4, 1000))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_ranks_together_see_the_batch_of_one(world: int) -> None:
    for step in (0, 2, 31):  # within an epoch, across two, far on
        parts = [batch_indices(3, step, 8, 20, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat(parts), batch_indices(3, step, 8, 20))
        flips = [batch_flips(3, step, 8, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat(flips), batch_flips(3, step, 8))


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert torch.bincount(batch_indices(0, 1, 9, 3)).tolist() == [3, 3, 3]


def test_the_order_is_the_same_under_every_numpy() -> None:
    """Philox's raw numbers are fixed by its definition; a change here would break every resumed run."""
    assert batch_indices(0, 0, 8, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_flips_are_fair_and_independent_of_the_order() -> None:
    """20,000 fair coins: the mean is within 4 standard errors (0.5 +- 0.0142) but for 1 seed in 16,000."""
    flips = torch.cat([batch_flips(0, step, 500) for step in range(40)])
    assert abs(flips.double().mean().item() - 0.5) < 0.0142
    assert len({tuple(batch_flips(0, step, 64).tolist()) for step in range(40)}) == 40


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"batch": 6, "world": 4}, "multiple of the number of ranks; given 6 and 4"),
        ({"rank": 2, "world": 2}, r"rank must lie in 0\.\.1; given 2"),
        ({"step": -1}, "given 0 and -1"),
        ({"n": 0}, "n must be at least 1"),
    ],
)
def test_impossible_parts_are_refused(numbers: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        batch_indices(**{"seed": 0, "step": 0, "batch": 4, "n": 10, **numbers})


# ---- digits and photographs


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    train, test, everything = (list(sources.digits(split).items) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (1438, 359, 1797)
    for image, label, (made, its_label) in zip(data.images, data.target, everything, strict=True):
        assert np.array_equal(np.round(made[0] * (16 / 255)), image)
        assert label == its_label
    assert test[0][0].tobytes() == everything[4][0].tobytes()
    assert not {image.tobytes() for image, _ in train} & {image.tobytes() for image, _ in test}


def test_photos_are_crops_of_the_two_photographs() -> None:
    from sklearn.datasets import load_sample_image

    crops = list(sources.photos().items)
    assert len(crops) == sources.photos().count == 2 * 25 * 39
    assert [label for _, label in crops] == [0] * 975 + [1] * 975
    flower = load_sample_image("flower.jpg")
    assert np.array_equal(crops[975 + 39 + 1][0], flower[16:48, 16:48].transpose(2, 0, 1))


# ---- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, label in (("b.png", "dog"), ("a.jpg", "dog"), ("c.PNG", "cat")):
        path = tmp_path / "folder" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels(1, 40, 48, 3)[0]).save(path, "JPEG" if name.endswith("jpg") else "PNG")
    return tmp_path / "folder"


def test_a_folders_classes_are_its_sub_folders(folder: Path) -> None:
    found = list(sources.folder(folder, How(16)).items)
    assert [label for _, label in found] == [0, 1, 1]
    assert [image.shape for image, _ in found] == [(3, 16, 16)] * 3
    again = list(sources.folder(folder, How(16, workers=3)).items)
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(found, again, strict=True))


def test_the_crop_is_the_middle_and_is_cut_before_it_is_resized(tmp_path: Path) -> None:
    """Red at both sides of a blue square: Lanczos' filter, 6 pixels wide here, would draw red in from beyond it."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :16, 0] = image[:, 48:, 0] = 255
    image[:, 16:48, 2] = 255
    PIL.Image.fromarray(image).save(tmp_path / "a.png")
    [(found, label)] = sources.folder(tmp_path, How(16)).items
    assert label is None
    assert np.array_equal(found, np.broadcast_to(np.array([0, 0, 255], np.uint8)[:, None, None], (3, 16, 16)))


def test_the_filter_is_lanczos(tmp_path: Path) -> None:
    """A step edge at even pixels, halved: the kernel sinc(x) sinc(x/3), |x| < 3, sampled at (i + 1/2) / 2."""
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[:, 8:] = 200
    PIL.Image.fromarray(edge).save(tmp_path / "a.png")
    [(found, _)] = sources.folder(tmp_path, How(8)).items
    x = (np.arange(-6, 6) + 0.5) / 2
    weights = np.sinc(x) * np.sinc(x / 3)
    weights /= weights.sum()
    # Output 4 is centred at 9 (in pixels' edges): input pixels 3..14, of which 8..14 are bright.
    expected = 200 * weights[5:].sum()
    assert abs(int(found[0, 4, 4]) - min(255, expected)) <= 1
    assert found[0, 4, 5] > 200  # beyond the edge it rings; box and linear filters do not


def test_notes_say_what_was_left_out_and_enlarged(folder: Path) -> None:
    (folder / "cat" / "list.txt").write_text("")
    source = sources.folder(folder, How(64))
    list(source.items)
    assert source.notes == [
        f"1 files that are no images by their names were left out ({folder}/cat/list.txt ...)",
        f"3 images were smaller than 64x64 and were enlarged ({folder}/cat/c.PNG ...)",
    ]


def stray(folder: Path) -> None:
    (folder / "a.png").write_bytes(GOOD)


def link(folder: Path) -> None:
    (folder / "cat" / "l.png").symlink_to("/etc/passwd")


def linked_folder(folder: Path) -> None:
    (folder / "zebra").symlink_to("/etc")


def text(folder: Path) -> None:
    (folder / "cat" / "d.png").write_text("no image")


def truncated(folder: Path) -> None:
    data = (folder / "dog" / "a.jpg").read_bytes()
    (folder / "dog" / "a.jpg").write_bytes(data[: len(data) // 2])


def sixteen_bits(folder: Path) -> None:
    PIL.Image.fromarray(np.zeros((40, 40), np.uint16)).save(folder / "cat" / "d.png")


def enormous(folder: Path) -> None:
    (folder / "cat" / "d.png").write_bytes(huge_png())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (stray, r"a\.png: no class"),
        (link, r"l\.png: refused: a symbolic link"),
        (linked_folder, r"zebra: refused: a symbolic link"),
        (text, r"d\.png: not a readable image \(not recognised\)"),
        (truncated, r"a\.jpg: not a readable image"),
        (sixteen_bits, r"d\.png: of kind I;16"),
        (enormous, r"d\.png"),
    ],
)
def test_a_bad_file_in_a_folder_is_named(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    with pytest.raises(FileError, match=said):
        list(sources.folder(folder, How(16, workers=2)).items)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no images in it"):
        sources.folder(tmp_path, How(16))


# ---- CIFAR10


def string(data: bytes) -> bytes:
    """A str of Python 2."""
    return b"T" + struct.pack("<i", len(data)) + data


def python2(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it."""
    shape = b"K" + bytes([len(images)]) + b"M" + struct.pack("<H", 3072) + b"\x86"
    dtype = b"cnumpy\ndtype\nq\x01U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array += b"(K\x01" + shape + dtype + b"\x89" + string(images.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}q\x00(" + string(b"data") + array + string(b"labels") + listed + b"u."


def tar(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            made.addfile(info, io.BytesIO(data))
    return path


IMAGES, LABELS = pixels(12, 3, 32, 32), [int(label) for label in RANDOM.integers(0, 10, 12)]
PARTS = {name: slice(2 * i, 2 * i + 2) for i, name in enumerate(cifar10.BATCHES["all"])}
BINARY = {
    f"cifar-10-batches-bin/{name}.bin": b"".join(
        bytes([label]) + image.tobytes() for label, image in zip(LABELS[part], IMAGES[part], strict=True)
    )
    for name, part in PARTS.items()
}
PYTHON = {f"cifar-10-batches-py/{name}": python2(IMAGES[part], LABELS[part]) for name, part in PARTS.items()}


def test_our_pickle_of_python_2_is_one() -> None:
    found = pickle.loads(PYTHON["cifar-10-batches-py/data_batch_1"], encoding="latin1")
    assert np.array_equal(found["data"].reshape(2, 3, 32, 32), IMAGES[:2])
    assert found["labels"] == LABELS[:2]


@pytest.mark.parametrize(
    "files", [BINARY, PYTHON, {**dict(reversed(PYTHON.items())), "cifar-10-batches-py/readme.html": b"x"}]
)
def test_both_versions_of_cifar10_give_its_images(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tar(tmp_path / "c.tar.gz", files)
    for split, part in (("train", slice(10)), ("test", slice(10, 12)), ("all", slice(12))):
        images, labels = cifar10.read(path, split)
        assert np.array_equal(images, IMAGES[part])
        assert labels.tolist() == LABELS[part]


def test_a_batch_that_python_3_pickled_is_read_too(tmp_path: Path) -> None:
    for protocol in (2, 4):
        batch = pickle.dumps({"data": IMAGES[:2].reshape(2, -1), "labels": LABELS[:2]}, protocol)
        path = tar(tmp_path / "c.tar.gz", {"test_batch": batch})
        assert np.array_equal(cifar10.read(path, "test")[0], IMAGES[:2])


class Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pickle.dumps(Bomb()), r"test_batch: refused: the file names '(posix|nt)\.system'"),
        (b"cos\nsystem\n(S'true'\ntR.", r"test_batch: refused: the file names 'os\.system'"),
        (pickle.dumps({"data": Bomb(), "labels": []}, 2), r"refused: the file names '(posix|nt)\.system'"),
        (pickle.dumps({"data": np.array([Bomb()], object), "labels": [1]}), "refused"),
        (PYTHON["cifar-10-batches-py/test_batch"][:-100], "test_batch: truncated"),
        (pickle.dumps([1]), "a dictionary with data and labels is wanted"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [1, 2]}, 2), "no array of uint8"),
        (pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [1, 2]}, 2), r"shape \(2, 9\)"),
        (python2(IMAGES[:2], [1, 2, 3]), r"pixels \[2, 3072\] and 3 labels"),
        (python2(IMAGES[:2], [1, 11]), "label of image 1 is 11"),
        (python2(IMAGES[:2], [1, 2]).replace(b"K\x02M\x00\x0c", b"K\x03M\x00\x0c"), "truncated: an array"),
        (b"(" * 1000, "test_batch: truncated"),
    ],
)  # fmt: skip
def test_hostile_pickles_in_cifar10_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        cifar10.read(tar(tmp_path / "c.tar.gz", {"test_batch": data}), "test")


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"../test_batch.bin": b""}, tarfile.REGTYPE, r"'../test_batch.bin' leads out"),
        ({"/test_batch.bin": b""}, tarfile.REGTYPE, "leads out"),
        ({"test_batch.bin": b""}, tarfile.SYMTYPE, "a link or a device"),
        ({"test_batch.bin": b""}, tarfile.LNKTYPE, "a link or a device"),
        ({"test_batch.bin": b""}, tarfile.CHRTYPE, "a link or a device"),
        ({"a/test_batch": b"x", "b/test_batch": b"x"}, tarfile.REGTYPE, "two files are called test_batch"),
        ({"train.bin": b""}, tarfile.REGTYPE, "not CIFAR10: no test_batch"),
        ({"test_batch.bin": bytes(3000)}, tarfile.REGTYPE, r"test_batch\.bin: 3000 bytes are no whole number"),
        ({"test_batch.bin": b"\x0a" + bytes(3072)}, tarfile.REGTYPE, r"test_batch\.bin: the label of image 0 is 10"),
        ({f"{i}": b"" for i in range(101)}, tarfile.REGTYPE, "more than 100 members"),
    ],
)
def test_hostile_tars_are_refused(tmp_path: Path, files: dict, kind: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        cifar10.read(tar(tmp_path / "c.tar.gz", files, kind), "test")


def test_a_gzip_bomb_is_refused_before_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "UNPACKED", 1 << 20)
    path = tar(tmp_path / "c.tar.gz", {"other": bytes(4 << 20), **BINARY})
    with pytest.raises(FileError, match="refused: it unpacks to more than 1 MiB"):
        cifar10.read(path, "test")


def test_a_truncated_archive_of_cifar10_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "c.tar.gz", BINARY)
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:5], b"\x1f\x8b" + bytes(50), gzip.compress(b"no tar" * 200)):
        path.write_bytes(broken)
        with pytest.raises(FileError, match=str(path)):
            cifar10.read(path, "test")
