"""Samples of a trained generator: which they are, truncation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from images.datasets.archive import Archive
from images.datasets.dataset import to_uint8
from images.draws import SAMPLE, draw
from images.generators.families import networks_of
from images.recipes import Recipe
from images.sample import generator_of, main, mean_style
from images.tests.test_stylegan2 import STYLES
from images.tests.test_trainer import TINY, Noise
from images.training.run import Job, save
from images.training.trainer import Trainer
from theory.common.commandline import run


def checkpoint(directory: Path, recipe: Recipe) -> Path:
    job = Job(recipe, "gan", 3, directory, directory)
    job.checkpoint.parent.mkdir()
    torch.manual_seed(0)
    trainer = Trainer(recipe, "gan", 3, networks_of, Noise(recipe=recipe))
    with torch.no_grad():
        for parameter in trainer.average.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # the average is not the generator
    save(job, trainer, [], [])
    return job.checkpoint


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("small"), TINY)


@pytest.fixture(scope="module")
def stylegan2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("stylegan2"), STYLES)


def pixels(path: Path) -> np.ndarray:
    archive = Archive(path)
    return np.stack([archive.read(i) for i in range(len(archive))])


def test_samples_are_those_of_the_averaged_generator(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.zip"
    arguments = [str(small.parent), "--out", str(out), "--count", "21", "--batch", "8", "--seed", "5"]
    assert run(main, arguments) == 0
    g, _ = generator_of(small, torch.device("cpu"))
    z, labels = draw(torch.randn, (TINY.latent,), 5, SAMPLE, 0, slice(0, 24)), torch.arange(24) % 10
    expected = torch.cat([to_uint8(g(z[i : i + 8], labels[i : i + 8])) for i in (0, 8, 16)])[:21]
    assert np.array_equal(pixels(out), expected.numpy())
    assert Archive(out).labels.tolist() == labels[:21].tolist()  # type: ignore[union-attr]
    before = out.read_bytes()
    assert run(main, [*arguments, "--overwrite"]) == 0
    assert out.read_bytes() == before
    assert run(main, [*arguments[:-1], "6", "--overwrite"]) == 0
    assert out.read_bytes() != before


def test_truncation(stylegan2: Path, tmp_path: Path) -> None:
    """At 0 all images are that of the mean style; in between they are nearer to it than at 1."""
    found = {}
    for psi in ("0", "0.5", "1"):
        out = tmp_path / f"{psi}.zip"
        assert run(main, [str(stylegan2), "--out", str(out), "--count", "20", "--truncation", psi]) == 0
        found[psi] = pixels(out).astype(float)
    g, recipe = generator_of(stylegan2, torch.device("cpu"))
    mean = mean_style(g, recipe, 0, "cpu")
    image = to_uint8(g.synthesis(mean.expand(64, len(g.layers) + 1, -1)))[0].numpy()
    assert np.array_equal(found["0"], np.broadcast_to(image, found["0"].shape))
    assert 0 < np.abs(found["0.5"] - image).mean() < np.abs(found["1"] - image).mean()


def test_bad_usage_is_one_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(small.read_bytes()[:-100])
    out = ["--out", str(tmp_path / "samples.zip")]
    (tmp_path / "there.zip").touch()
    for arguments, said in (
        ([str(tmp_path / "none"), *out], "no checkpoint"),
        ([str(damaged), *out], "truncated or damaged archive"),
        ([str(small), *out, "--truncation", "0.5"], "truncation is for stylegan2; this run's generator is small"),
        ([str(small), *out, "--truncation", "1.5"], "truncation must lie in [0, 1]; given 1.5"),
        ([str(small), *out, "--count", "0"], "count must be a whole number of at least 1; given 0"),
        ([str(small), "--out", "samples.png"], "out must be a .zip; given samples.png"),
        ([str(small), "--out", str(tmp_path / "there.zip")], "there.zip exists: --overwrite replaces it"),
        ([str(small), *out, "--device", "cuda:99"], "no device 'cuda:99' here"),
    ):
        assert run(main, arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert said in err
    assert not (tmp_path / "samples.zip").exists()
