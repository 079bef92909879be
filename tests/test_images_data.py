"""python -m images.data and python -m images.evaluate, as they are called."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from images import data, evaluate
from images.datasets import archive
from images.datasets.dataset import Images
from images.metrics import features
from images.metrics.features import digits
from tests.processes import Ended, python
from theory.common.commandline import run
from theory.common.files import write_tensors

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def called(main: Callable[[list[str]], int], *arguments: str | Path) -> Ended:
        capsys.readouterr()
        status = run(main, [str(argument) for argument in arguments])
        return Ended(status, *capsys.readouterr())

    return called


@pytest.fixture
def refused(call: Callable[..., Ended]) -> Callable[..., str]:
    """The one line that a command says which ends with status 2."""

    def said(main: Callable[[list[str]], int], *arguments: str | Path) -> str:
        ended = call(main, *arguments)
        assert (ended.status, ended.out) == (2, ""), ended
        assert ended.err.startswith("error: "), ended.err
        assert ended.err.count("\n") == 1, ended.err
        return ended.err

    return said


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A classifier of a few steps, where these tests alone find it."""
    cache = tmp_path_factory.mktemp("cache")
    short = features.train_digits_classifier(steps=20)
    write_tensors(cache / f"digits-classifier-{features.VERSION}.pt", short.state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "CACHE", cache)
        yield


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "digits.zip"
    assert run(data.main, ["digits", "--dest", str(path), "--split", "test"]) == 0
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    chosen = digits("train")
    assert chosen.labels is not None
    pixels = chosen.images[:200].permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "samples.npz", arr_0=pixels, arr_1=chosen.labels[:200].numpy())
    return tmp_path / "samples.npz"


# ---- images.data


def test_the_same_source_gives_the_same_bytes(call: Callable[..., Ended], real: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    ended = call(data.main, "digits", "--dest", again, "--split", "test")
    assert ended == (0, f"{again}: 359 images [1, 8, 8], 10 classes\n", "")
    assert again.read_bytes() == real.read_bytes()


def test_a_folder_becomes_an_archive_and_an_archive_a_smaller_one(call: Callable[..., Ended], tmp_path: Path) -> None:
    import PIL.Image

    for i, label in enumerate("ab"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        image = np.full((20, 30, 3), 100 * i + 50, np.uint8)
        PIL.Image.fromarray(image).save(tmp_path / "folder" / label / "x.png")
    ended = call(data.main, tmp_path / "folder", "--dest", tmp_path / "a.zip", "--size", "16")
    told = f"{tmp_path}/a.zip: 2 images [3, 16, 16], 2 classes\nclasses (in dataset.json): 0 = 'a', 1 = 'b'\n"
    assert ended == (0, told, "")
    assert call(data.main, tmp_path / "a.zip", "--dest", tmp_path / "b.zip", "--size", "8").status == 0
    found = Images.open(tmp_path / "b.zip")
    assert found.shape == (3, 8, 8)
    assert found.images[:].flatten(1).unique(dim=1).flatten().tolist() == [50, 150]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]


def test_bad_sources_are_refused_in_one_line(refused: Callable[..., str], real: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    (tmp_path / "text").write_text("text")
    (tmp_path / "zip").write_bytes(b"PK" + bytes(50))
    (tmp_path / "tar").write_bytes(b"\x1f\x8b" + bytes(50))
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        (["digit", "--dest", out], "source must be digits, photos, or a file or folder that exists; given digit"),
        ([tmp_path / "text", "--dest", out], "text is no folder, no zip archive, no .tar.gz of CIFAR10"),
        ([tmp_path / "zip", "--dest", out], "zip: truncated or damaged (File is not a zip file)"),
        ([tmp_path / "tar", "--dest", out], "tar: truncated or damaged ("),
        ([tmp_path / "empty", "--dest", out], "empty: no images in it"),
        (["digits", "--dest", out, "--size", "16"], "--size is for folders, LSUN and archives"),
        (["photos", "--dest", out, "--split", "test"], "--split is for digits, CIFAR10 and IDX files"),
        (["digits", "--dest", real], "exists: --overwrite replaces it"),
        (["digits", "--dest", tmp_path / "out.tar"], "dest must be a .zip"),
        ([real, "--dest", out, "--size", "12"], "size must be a power of two"),
        (["digits"], "--dest"),
        (["digits", "--dest", out, "--sise", "8"], "--sise"),
    ):
        assert said in refused(data.main, *arguments)
    assert not out.exists()


def test_a_file_that_cannot_be_written_ends_with_1(call: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = call(data.main, "digits", "--dest", tmp_path / "file" / "a.zip")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("module", ["images.data", "images.evaluate"])
def test_help_does_not_wait_for_torch(module: str) -> None:
    code = f"import sys, {module} as m\ntry: m.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    ended = python("-c", code)
    assert ended.status == 0, ended.err
    assert "--help" in ended.out


# ---- images.evaluate


def test_digits_are_compared_in_features_that_are_never_called_fid(
    call: Callable[..., Ended], real: Path, samples: Path
) -> None:
    ended = call(evaluate.main, samples, "--reference", real, "--features", "digits", "--json")
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert list(report["values"]) == [
        "Frechet distance (digits classifier)", "kernel distance (digits classifier)",
        "kernel distance (digits classifier) standard deviation", "precision", "recall", "memorised", "label accuracy",
    ]  # fmt: skip
    assert not {"FID", "KID"} & set(report["values"])
    assert report["samples"]["count"] == 200
    assert report["notes"] == ["Frechet distance (digits classifier) is no FID, and is comparable with itself only"]
    plain = call(evaluate.main, samples, "--reference", real, "--features", "digits")
    assert "is no FID" in plain.out
    assert f"{report['values']['precision']:.5g}" in plain.out


def test_copies_of_the_reference_are_found(call: Callable[..., Ended], real: Path) -> None:
    report = json.loads(call(evaluate.main, real, "--reference", real, "--features", "digits", "--json").out)
    values = report["values"]
    assert values["memorised"] == values["precision"] == values["recall"] == 1
    assert values["Frechet distance (digits classifier)"] == pytest.approx(0, abs=1e-8)


def test_a_saved_reference_gives_the_same_distance(
    call: Callable[..., Ended], real: Path, samples: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "moments.npz"
    once = call(
        evaluate.main, samples, "--reference", real, "--features", "digits", "--json", "--save-reference", saved
    )
    again = call(evaluate.main, samples, "--reference", saved, "--features", "digits", "--json")
    name = "Frechet distance (digits classifier)"
    first, second = json.loads(once.out), json.loads(again.out)
    assert second["values"][name] == first["values"][name]
    assert second["reference"] == {"file": str(saved), "kind": "ours moments", "count": 359}


class Means(nn.Module):
    """Stands in for the Inception."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        return x.float().mean(dim=[2, 3])


def test_with_the_inception_it_is_a_fid_and_says_against_what(
    call: Callable[..., Ended], samples: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "inception.pt"
    with warnings.catch_warnings():  # that TorchScript is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Means()), script)
    monkeypatch.setattr(features, "INCEPTION_SHA256", hashlib.sha256(script.read_bytes()).hexdigest())
    report = json.loads(call(evaluate.main, samples, "--reference", real, "--inception", script, "--json").out)
    assert list(report["values"])[:2] == ["FID", "KID"]
    assert report["notes"] == ["FID of 200 samples comes out larger than that of 50000, which is what is published"]
    np.savez(tmp_path / "edm.npz", mu=np.zeros(3), sigma=np.eye(3))
    report = json.loads(
        call(evaluate.main, samples, "--reference", tmp_path / "edm.npz", "--inception", script, "--json").out
    )
    assert list(report["values"]) == ["FID"]
    assert report["reference"]["kind"] == "EDM moments"
    assert "values against ADM's are not comparable" in report["notes"][1]


def test_bad_comparisons_are_refused_in_one_line(
    refused: Callable[..., str], samples: Path, real: Path, tmp_path: Path
) -> None:
    photos, classes, edm = (tmp_path / name for name in ("photos.zip", "classes.zip", "edm.npz"))
    zeros = np.zeros((3, 16, 16), np.uint8)
    archive.write(photos, [(zeros, 0)] * 5)
    archive.write(classes, [(zeros[:1, :8, :8], label) for label in (0, 11, 3, 4)])
    np.savez(edm, mu=np.zeros(2048), sigma=np.eye(2048))
    digits = ("--features", "digits")
    for arguments, said in (
        ([samples, "--reference", real], "no Inception file: give --inception inception-2015-12-05.pt"),
        ([samples, "--reference", real], "--features digits needs no file, and its distances are no FID"),
        ([samples, "--reference", real, "--inception", tmp_path / "absent.pt"], "absent.pt does not exist"),
        ([samples, "--reference", real, "--inception", real], "is not inception-2015-12-05.pt"),
        ([samples, "--reference", real, "--inception", real, *digits], "not both"),
        ([tmp_path / "absent.zip", "--reference", real, *digits], "absent.zip does not exist"),
        ([samples, "--reference", tmp_path / "absent.zip", *digits], "absent.zip does not exist"),
        ([samples, "--reference", tmp_path, *digits], "reference must be a .zip or an .npz"),
        ([photos, "--reference", real, *digits], "samples are [3, 16, 16]"),
        ([photos, "--reference", photos, *digits], "images must be [1, 8, 8]; given [3, 16, 16]"),
        ([classes, "--reference", real, *digits], "samples have 12 classes"),
        ([samples, "--reference", edm, *digits], "holds moments of inception-2015-12-05; these features are digits"),
        ([samples, "--reference", samples, *digits], "wanted: "),
    ):
        assert said in refused(evaluate.main, *arguments)
    if not torch.cuda.is_available():
        assert "no device 'cuda' here" in refused(
            evaluate.main, samples, "--reference", real, *digits, "--device", "cuda"
        )
