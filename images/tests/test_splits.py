"""Images of the recipes that a classifier judges: where they come from, what becomes of them, how they are judged."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from images.compare import __main__ as command
from images.datasets import splits as module
from images.datasets.dataset import Images, to_uint8
from images.datasets.splits import STACKED, Splits, halved, has_splits, splits, stacked
from images.denoisers.precondition import EDMScore
from images.denoisers.small import Denoiser
from images.generators.families import networks_of
from images.metrics import classifier as classifiers
from images.metrics.classified import Classified, ell
from images.metrics.classifier import classifier
from images.metrics.distances import density_coverage
from images.recipes import RECIPES, Recipe
from images.training.inputs import real_images
from tests.idx import write_idx
from theory.common.commandline import run
from theory.common.errors import UsageError

NARROW = ("fashion", "fashion-biggan", "cifar10-small", "stacked-mnist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("bars"), 400, 0)


# Where images come from


def test_fashion_lies_amid_zeros(folder: Path) -> None:
    found = splits("fashion", folder)
    assert (found.train.shape, len(found.train), len(found.test), found.note) == ((1, 32, 32), 400, 400, "")
    image = found.train.images[torch.tensor([0])][0, 0].clone()
    raw = np.frombuffer((folder / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(-1, 28, 28)
    np.testing.assert_array_equal(image[2:30, 2:30], raw[0])
    image[2:30, 2:30] = 0
    assert image.sum() == 0
    assert not torch.equal(found.train.images[:], found.test.images[:])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "FASHION", tmp_path / "none")
    with pytest.raises(UsageError, match=r"apt-get install dataset-fashion-mnist, or give --data, a folder of Fashion"):
        splits("fashion", None)


@pytest.mark.parametrize("source", ["cifar10-small", "stacked-mnist"])
def test_images_of_the_user_are_asked_for(source: str) -> None:
    with pytest.raises(UsageError, match=f"recipe {source} needs --data: "):
        splits(source, None)


def test_an_archive_has_one_split() -> None:
    assert not has_splits("fashion", Path("runs/fashion.zip"))
    assert has_splits("fashion", None)
    assert not has_splits("digits", None)


def test_three_digits_are_stacked() -> None:
    """The label is the number that the three channels write, and all 1000 numbers can come."""
    pixels = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 1, 4, 4)
    digits = Images(pixels.clone(), torch.arange(10))
    found = stacked(digits, "train")
    assert found.images[:].shape == (STACKED["train"], 3, 4, 4)
    assert found.labels is not None
    first, second, third = found.images[:][:, :, 0, 0].long().T
    assert torch.equal(100 * first + 10 * second + third, found.labels)
    assert len(found.labels.unique()) == 1000
    assert not torch.equal(stacked(digits, "test").labels, found.labels[: STACKED["test"]])  # type: ignore[arg-type]


def test_halving_is_the_mean_of_four() -> None:
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=draws)
    found = halved(pixels, None).images[:]
    wanted = torch.nn.functional.avg_pool2d(pixels.double(), 2)
    assert (found.double() - wanted).abs().max() <= 0.5
    constant = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert (halved(constant, None).images[:] == 255).all()


@pytest.mark.parametrize(("ending", "note"), [("jpg", "JPEG re-coding"), ("png", "")])
def test_a_folder_of_cifar_says_that_its_jpegs_are_no_cifar(ending: str, note: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name, value in (("cat", 40), ("dog", 200)):
            (tmp_path / split / name).mkdir(parents=True)
            image = PIL.Image.fromarray(np.full((32, 32, 3), value, np.uint8))
            image.save(tmp_path / split / name / f"0.{ending}")
    found = splits("cifar10-small", tmp_path)
    assert found.note == note
    assert found.train.shape == (3, 16, 16)
    assert found.train.labels is not None
    assert found.train.labels.tolist() == [0, 1]


# Recipes


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_fit_their_recipe(name: str) -> None:
    """Stages halve in width, the discriminator's as the generator's: fewer than half of the parameters of one width."""
    recipe = RECIPES[name]
    pair: Any = networks_of(recipe)
    g, d = pair
    z = torch.randn(32, recipe.latent)
    labels = torch.arange(32) % 10 if recipe.classes else None
    x = g(z, labels)
    assert x.shape == (32, recipe.channels, recipe.resolution, recipe.resolution)
    assert d(x, labels).shape == (32,)
    widths = [g.config.widths, d.config.d_widths[::-1] if recipe.generator == "biggan" else d.config.widths]
    assert all(before == 2 * after for found in widths for before, after in pairwise(found))
    assert widths[0][0] == recipe.width
    wide, _ = networks_of(dataclasses.replace(recipe, narrow=False))
    count = [sum(p.numel() for p in network.parameters()) for network in (g, wide)]
    assert 2 * count[0] < count[1]


def test_narrow_is_for_those_that_have_it() -> None:
    with pytest.raises(ValueError, match="narrow is for r3gan and biggan; given generator 'small'"):
        Recipe(narrow=True)


# The classifier and the metrics


@pytest.fixture(scope="module")
def known(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> classifiers.Known:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "BATCH", 20)
        return classifier("fashion", splits("fashion", folder), tmp_path_factory.mktemp("cache"))


def test_a_classifier_learns_is_kept_and_read_back(folder: Path, known: classifiers.Known) -> None:
    """Of ten classes that a bar's place tells; a damaged file is not used."""
    found = splits("fashion", folder)
    assert known.accuracy > 0.95
    assert known.accuracy == classifiers.accuracy_of(known.network, found.test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "BATCH", 20)
        patch.setattr(classifiers, "train", lambda *_: pytest.fail("it was trained again"))
        again = classifier("fashion", found, known.path.parent)
        assert again.accuracy == known.accuracy
        pixels = found.test.images[:20]
        assert torch.equal(again.network(pixels), known.network(pixels))
        known.path.write_bytes(known.path.read_bytes()[:-100])
        patch.setattr(classifiers, "EPOCHS", 4)
        trained: list[object] = []
        patch.setattr(classifiers, "train", lambda *_: trained.append(1))
        classifier("fashion", found, known.path.parent)
        assert trained == [1]


def test_stacked_digits_are_classified_by_digit() -> None:
    network = classifiers.Classifier("stacked-mnist", (3, 32, 32), 10, apart=True).eval()
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network.classify(pixels)
        digits = network.head(network.body(network.single(pixels).float() / 127.5 - 1)).argmax(1).view(6, 3)
    assert torch.equal(found, digits @ torch.tensor([100, 10, 1]))
    assert network(pixels).shape == (6, 3 * classifiers.FEATURES)


def test_density_and_coverage_by_hand() -> None:
    """Four real points on a line at 0, 1, 2, 10 with k = 1 have radii 1, 1, 1, 8; the ball of 10 reaches to 2."""
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    found = density_coverage(real, torch.tensor([[0.4], [5.0]]), k=1)
    assert found.density == pytest.approx((2 + 1) / 2)  # 0.4 in the balls of 0 and 1, 5 in that of 10
    assert found.coverage == pytest.approx(3 / 4)
    assert density_coverage(real, torch.full((3, 1), 50.0), k=1) == (0, 0)


def test_training_images_are_near_and_noise_is_off_the_manifold(folder: Path, known: classifiers.Known) -> None:
    """With a score that draws everything to mid grey, what is far from grey is moved far."""

    class Grey:
        def of(self, labels: object = None) -> object:
            return lambda x_t, level: x_t / torch.as_tensor(level.sigma)[:, None, None, None]

    recipe = RECIPES["fashion"]
    judge = Classified(recipe, splits("fashion", folder), known, Grey())  # type: ignore[arg-type]

    assert judge.real["off_manifold"] == pytest.approx(0.01, abs=0.02)
    assert judge.real["class_accuracy"] > 0.95
    assert judge.real["modes"] == 10
    n, draws = 400, torch.Generator().manual_seed(0)
    bright = judge(torch.ones(n, 1, 32, 32), torch.arange(n) % 10, last=True)
    assert bright["off_manifold"] == 1
    assert bright["frechet_test"] > 10 * judge.real["frechet_test"]
    assert bright["modes"] == 1
    assert bright["coverage"] < 0.2 < judge.real["coverage"]
    noise = torch.rand(n, 1, 32, 32, generator=draws) - 0.5
    assert judge(noise, None, last=False)["off_manifold"] == 0
    copied = judge(judge.train[:n].float() / 127.5 - 1, None, last=True)
    assert copied["nearest_training"] < 1e-3 < bright["nearest_training"]


def test_ell_is_the_distance_of_p2() -> None:
    """Of a score that draws to one image, a manifold of dimension 0: ell = distance^2 / nsr^2, whatever the noise."""
    centre = torch.full((1, 8, 8), 0.3)

    class Point:
        def of(self, labels: object = None) -> object:
            return lambda x_t, level: (x_t - centre) / torch.as_tensor(level.sigma)[:, None, None, None]

    x = centre + 0.05 * torch.arange(3.0)[:, None, None, None]
    found = ell(Point(), x, None, 0.1)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.tensor([0.0, 64 * 0.25, 64 * 1.0]), rtol=1e-4, atol=1e-4)


def test_the_score_model_is_named_by_its_images(folder: Path, tmp_path: Path) -> None:
    """Another set of images has another file; its noise goes beyond the recipe's interval."""
    recipe = RECIPES["fashion"]
    other = write_idx(tmp_path / "other", 40, 1)
    names = {Denoiser.of(recipe, f"fashion-{splits('fashion', path).digest}").file for path in (folder, other)}
    assert len(names) == 2
    what = Denoiser.of(recipe)
    assert what.low < recipe.low < recipe.high < what.high
    assert EDMScore(what.network()).network.config.classes == 10


def test_the_recipe_reads_the_folder(folder: Path) -> None:
    data = real_images(RECIPES["fashion"], folder, Path("nowhere"))
    x, labels = data.take(torch.tensor([3]))
    assert torch.equal(to_uint8(x), splits("fashion", folder).train.images[torch.tensor([3])])
    assert labels is not None
    assert labels.tolist() == [3]
    assert isinstance(data.splits, Splits)  # type: ignore[attr-defined]


def test_the_command_prints_the_accuracy(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "BATCH", 20)
    assert run(command.main, ["fashion", "--classifier", "--data", str(folder), "--cache", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "400 training images of [1, 32, 32]" in out
    assert float(out.split("test images: ")[1].split()[0]) > 0.95
