"""Feature networks and the files of their moments: what they are called, and what is refused."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from images.metrics import features, references
from images.metrics.distances import frechet, moments
from images.metrics.features import (
    DigitsClassifier,
    Inception,
    digits,
    digits_classifier,
    extract,
    train_digits_classifier,
)
from images.metrics.references import read_reference, read_samples, save_reference
from tests.trained import with_classifier
from theory.common.errors import FileError


def as_list(labels: Tensor | None) -> list[int]:
    assert labels is not None
    return labels.tolist()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> DigitsClassifier:
    return digits_classifier(with_classifier(tmp_path_factory.mktemp("cache")))


# ---- digits


def test_the_classifier_knows_digits_that_it_never_saw(classifier: DigitsClassifier) -> None:
    data = digits("test")
    right = (classifier.classify(data.images[:]) == torch.tensor(as_list(data.labels))).double().mean()
    assert right > 0.96  # 0.986 here; other processors round otherwise


def test_its_distance_tells_digits_from_worse_ones(classifier: DigitsClassifier) -> None:
    """Held-out digits are nearer to the training ones than noisy ones are, than those of one class, than noise."""
    real, held = digits("train").images[:], digits("test")
    assert held.labels is not None
    draws = torch.Generator().manual_seed(0)
    noisy = (held.images[:].float() + 40 * torch.randn(held.images.shape, generator=draws)).clamp(0, 255).byte()
    noise = torch.randint(0, 256, held.images.shape, generator=draws, dtype=torch.uint8)
    target = moments(extract(classifier, real))
    right, noised, alone, none = (
        frechet(moments(extract(classifier, images)), target)
        for images in (held.images[:], noisy, held.images[held.labels == 3], noise)
    )
    assert right < noised < min(alone, none)
    assert noised > 1.5 * right


def test_training_gives_the_same_bits_and_leaves_torchs_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    a, b = (train_digits_classifier(steps=5).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(torch.get_rng_state(), before)
    other = train_digits_classifier(steps=5, seed=1).state_dict()
    assert not torch.equal(a["head.weight"], other["head.weight"])


def test_it_is_trained_once_and_again_when_its_file_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def train() -> DigitsClassifier:
        trained.append(DigitsClassifier())
        return trained[-1]

    monkeypatch.setattr(features, "train_digits_classifier", train)
    x = digits("test").images[:5]
    first = digits_classifier(tmp_path)(x)
    assert torch.equal(digits_classifier(tmp_path)(x), first)
    assert len(trained) == 1
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    digits_classifier(tmp_path)
    assert len(trained) == 2


def test_other_images_than_digits_are_refused(classifier: DigitsClassifier) -> None:
    with pytest.raises(ValueError, match=r"images must be \[1, 8, 8\]; given \[3, 32, 32\]"):
        extract(classifier, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def test_features_do_not_depend_on_the_batch(classifier: DigitsClassifier) -> None:
    x = digits("test").images[:10]
    assert torch.allclose(extract(classifier, x, batch=3), extract(classifier, x), atol=1e-5)


# ---- the Inception


class Means(nn.Module):
    """Stands in for the Inception: the means of the colours."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        if not return_features:
            return x
        return x.float().mean(dim=[2, 3])


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def saved(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():  # that TorchScript is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), path)
    return path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return saved(Means(), tmp_path / "inception.pt")


def test_only_the_inception_of_2015_gives_a_fid(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"is not inception-2015-12-05\.pt: its SHA-256 is"):
        Inception(script)
    other = Inception(script, trusted=True)
    assert (other.frechet, other.kernel) == (
        "Frechet distance in features of inception.pt", "kernel distance in features of inception.pt",
    )  # fmt: skip
    monkeypatch.setattr(features, "INCEPTION_SHA256", hashlib.sha256(script.read_bytes()).hexdigest())
    standard = Inception(script)
    assert (standard.frechet, standard.kernel, standard.name) == ("FID", "KID", "inception-2015-12-05")
    assert not {"FID", "KID"} & {DigitsClassifier.frechet, DigitsClassifier.kernel}


def test_grey_images_are_shown_to_it_in_three_equal_colours(script: Path) -> None:
    x = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    assert extract(Inception(script, trusted=True), x).tolist() == [[1.5] * 3, [5.5] * 3]


def test_files_that_are_no_inception_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file; wanted: inception-2015"):
        Inception(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("text")
    torch.save({"a": torch.zeros(2)}, tmp_path / "state.pt")
    for name in ("text.pt", "state.pt"):
        with pytest.raises(FileError, match="is no TorchScript") as refusal:
            Inception(tmp_path / name, trusted=True)
        assert "\n" not in str(refusal.value)
    plain = Inception(saved(Plain(), tmp_path / "plain.pt"), trusted=True)
    with pytest.raises(FileError, match="does not take images") as refusal:
        extract(plain, torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert "\n" not in str(refusal.value)


# ---- files of moments


MU, SIGMA = np.arange(3.0), np.eye(3)


def test_the_three_kinds_of_reference_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, mu=MU, sigma=SIGMA)
    assert read_reference(path).kind == "EDM"
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    np.savez(path, mu=MU.astype(np.float32), sigma=SIGMA, mu_s=MU, sigma_s=SIGMA, arr_0=images)
    adm = read_reference(path)
    assert (adm.kind, adm.resolution, adm.features) == ("ADM", 8, None)
    assert adm.images is not None
    assert torch.equal(adm.images, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    save_reference(path, adm.moments, "digits", 17, 8)
    ours = read_reference(path)
    assert (ours.kind, ours.features, ours.count, ours.resolution) == ("ours", "digits", 17, 8)
    assert ours.moments.mean.tolist() == MU.tolist()
    assert ours.moments.covariance.tolist() == SIGMA.tolist()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mean": MU}, r"has 'mean'; wanted: .*mu, sigma \(EDM\)"),
        ({"mu": MU, "sigma": np.eye(4)}, r"mu \[3\] and sigma \[4, 4\]"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "not finite, or not symmetric"),
        ({"mu": MU, "sigma": np.triu(np.ones((3, 3)))}, "not finite, or not symmetric"),
        ({"mu": np.array([None] * 3), "sigma": SIGMA}, "mu"),
        ({"mu": np.array(["a"] * 3), "sigma": SIGMA}, "mu holds <U1"),
        (
            {"mu": MU, "sigma": SIGMA, "mu_s": MU, "sigma_s": SIGMA, "arr_0": MU},
            r"arr_0 is float64|arr_0 holds float64",
        ),
    ],
)
def test_a_reference_that_is_none_is_refused(tmp_path: Path, arrays: dict, said: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(FileError, match=said):
        read_reference(path)


def test_an_array_that_announces_more_than_it_has_is_not_made(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (900000, 900000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("mu.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        made.writestr("sigma.npy", b"")
    with pytest.raises(FileError, match=r"mu announces \(900000, 900000\), more than it holds"):
        read_reference(tmp_path / "a.npz")


def test_large_arrays_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", mu=MU, sigma=np.zeros((500, 500)))
    monkeypatch.setattr(references, "LARGEST", 1 << 20)
    with pytest.raises(FileError, match=r"refused: 'sigma.npy' unpacks from \d+ to 2000128 bytes"):
        read_reference(tmp_path / "a.npz")


def test_samples_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    images = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).to(torch.uint8)
    arr_0 = images.permute(0, 2, 3, 1).numpy()
    np.savez(path, arr_0=arr_0, arr_1=np.array([4, 2]))
    found = read_samples(path)
    assert torch.equal(found.images[:], images)
    assert as_list(found.labels) == [4, 2]
    np.savez(path, arr_0=arr_0)
    assert read_samples(path).labels is None
    for arrays, said in (
        ({"arr_0": np.zeros((2, 8, 8, 3))}, "arr_0 holds float64"),
        ({"arr_0": np.zeros((2, 8, 6, 3), np.uint8)}, "power of two"),
        ({"arr_0": np.zeros((2, 8, 8, 3), np.uint8), "arr_1": np.zeros(3, int)}, r"arr_1 is \[3\]"),
        ({"x": MU}, "has 'x'; wanted: arr_0"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(FileError, match=said):
            read_samples(path)


def test_a_damaged_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mu=MU, sigma=SIGMA)
    good = (tmp_path / "a.npz").read_bytes()
    draws = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        data = bytearray(good)
        data[draws.integers(len(data))] ^= 1 << draws.integers(8)
        (tmp_path / "a.npz").write_bytes(data)
        try:
            found = read_reference(tmp_path / "a.npz")
        except FileError:
            refused += 1
        else:
            assert found.moments.mean.tolist() == MU.tolist()
            assert found.moments.covariance.tolist() == SIGMA.tolist()
    assert refused > 50
