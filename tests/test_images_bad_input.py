"""What is wrong with an option or a file of images' commands is said in one line, and the exit status is 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from images import data, evaluate, publish, sample, scores, table, train, tune
from images.denoisers import published
from images.denoisers.precondition import EDMScore
from images.denoisers.song import SongConfig, SongUNet
from tests.trained import with_classifier
from theory.common.commandline import run
from theory.common.errors import CheckpointError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score models of other resolutions, channels and classes; an archive of digits."""
    path = tmp_path_factory.mktemp("made")
    for name, side, channels, classes in (("wide", 16, 1, 10), ("rgb", 8, 3, 10), ("five", 8, 1, 5)):
        shape = SongConfig(side, channels, channels, 8, (1,), blocks=1, attention=(), classes=classes)
        published.save(EDMScore(SongUNet(shape)), path / f"{name}.pt")
    assert run(data.main, ["digits", "--dest", str(path / "digits.zip"), "--split", "test"]) == 0
    return path


TRAIN = {
    "--recipe biggan": "unknown recipe 'biggan': choose from digits",
    "--recipe imagenet-aurora": "did you mean 'imagenet64-aurora'?",
    "--generator auror": "stylegan2, biggan, aurora; did you mean 'aurora'?",
    "--classes 9": "has 10 classes, the recipe 9",
    "--classes 12": "has 10 classes, the recipe 12",
    "--score {made}/wide.pt": "is a score model with resolution 16, the recipe has 8",
    "--score {made}/rgb.pt": "is a score model with channels 3, the recipe has 1",
    "--score {made}/five.pt": "is a score model with classes 5, the recipe has 10",
    "--score {made}/none.pt": "--score: {made}/none.pt does not exist",
    "--score {made}/digits.zip": "digits.zip",
    "--data {made}/none.zip": "--data: {made}/none.zip does not exist",
    "--recipe cifar10 --data {made}/digits.zip": "holds 1-channel images of 8 pixels a side, the recipe has 3 channels",
    "--recipe imagenet64 --score {made}/wide.pt": "recipe imagenet64 needs --data",
    "--device cuda": "no device 'cuda' here",
    "--device cuda:99": "no device 'cuda:99' here",
    "--device tpu": "device must be cpu or cuda (cuda:1 for the second one); given 'tpu'",
    "--device gpu": "device must be cpu or cuda (cuda:1 for the second one); given 'gpu'",
    "--device meta": "device must be cpu or cuda (cuda:1 for the second one); given 'meta'",
    "--retry -1": "retry must be a whole number of at least 0; given -1",
    "--couplings paper": "unknown coupling 'paper': choose from gan, summed, own-step",
    "--couplings none": "unknown coupling 'none'",
    "--couplings gan GAN": "couplings must hold none twice",
    "--generator r3gann": "did you mean 'r3gan'",
    "--width 0": "width must be a whole number of at least 1; given 0",
    "--clip inf": "clip must be a finite number; given inf",
    "--target 0.6 --augment 0 0.5": "augment is a schedule, target adapts: give one",
    "--mixing 0.9": "mixing and path_weight are for stylegan2",
    "--recipe lsun-bedroom --micro 4": "micro must be a multiple of group, 8 images",
    "--recipe cifar10-biggan --micro 25": "micro must be a multiple of group, 50 images over which BigGAN's",
}


@pytest.mark.parametrize("arguments", TRAIN)
def test_train(arguments: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "cuda" in arguments.split() and torch.cuda.is_available():
        pytest.skip("CUDA is here")
    given = [part.format(made=made) for part in arguments.split()]
    out = ["--out", str(tmp_path / "run"), "--cache", str(tmp_path), "--processes", "1"]
    assert run(train.main, [*given, *out]) == 2
    one_line(capsys.readouterr().err, TRAIN[arguments].format(made=made))
    assert not (tmp_path / "run").exists()


def test_out_of_memory_in_the_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--couplings", "gan", "--width", "1000000000", "--processes", "1", "--out"]
    assert run(train.main, [*given, str(tmp_path / "run"), "--cache", str(with_classifier(tmp_path))]) == 1
    one_line(capsys.readouterr().err, "cpu ran out of memory in the networks: lower --width")
    assert not (tmp_path / "run").exists()


def test_out_of_memory_in_a_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CUDA says so, in the middle of the penalties."""

    def fails(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("images.training.losses.torch.autograd.grad", fails)
    small = "--couplings gan --seeds 1 --width 4 --latent 4 --batch 8 --images 80 --processes 1 --micro 4"
    where = ["--out", str(tmp_path / "run"), "--cache", str(with_classifier(tmp_path))]
    assert run(train.main, [*small.split(), *where]) == 1
    said = "ran out of memory in the penalties of the discriminator, 4 images at once: lower --micro"
    one_line(capsys.readouterr().err, said)


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (evaluate, "{same}", "no Inception file: give --inception"),
        (
            evaluate,
            "{same} --inception {made}/no.pt",
            "inception: {made}/no.pt does not exist",
        ),
        (evaluate, "{same} --inception {made}/wide.pt", "wide.pt"),
        (
            evaluate,
            "{made}/no.zip --reference {made}/digits.zip --features digits",
            "samples: {made}/no.zip does not exist",
        ),
        (evaluate, "{made}/no.zip", "samples: {made}/no.zip does not exist"),
        (evaluate, "{made}/digits.zip", "no reference: give --reference"),
        (evaluate, "{same} --features digits --device cuda:99", "no device"),
        (scores, "{made}/no.pt", "file: {made}/no.pt does not exist"),
        (scores, "{made}/digits.zip", "digits.zip"),
        (scores, "{made}/wide.pt --device cuda:99", "no device 'cuda:99' here"),
        (sample, "{made}/no --out {made}/s.zip", "no checkpoint"),
        (sample, "{made}/wide.pt --out {made}/s.zip", "is no checkpoint of this version of images.train"),
        (publish, "{made}/no", "no finished run: {made}/no/config.json does not exist"),
        (tune, "--recipe photos", "unknown recipe 'photos': choose from digits, digits-vanilla"),
        (table, "--result x", "did you mean --results"),
    ],
)
def test_other_commands(
    command: object, arguments: str, said: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = f"{made}/digits.zip --reference {made}/digits.zip"
    assert run(command.main, arguments.format(same=same, made=made).split()) == 2  # type: ignore[attr-defined]
    one_line(capsys.readouterr().err, said.format(made=made))


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (
            CheckpointError("c.pt is from another configuration"),
            "c.pt is from another configuration; delete it, or give another --out",
            2,
        ),
        (KeyboardInterrupt(), "interrupted; the same command goes on from there", 1),
    ],
)
def test_a_search_that_cannot_go_on(
    error: BaseException, said: str, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(tune, "tune", fails)
    assert run(tune.main, ["--recipe", "digits"]) == status
    one_line(capsys.readouterr().err, said)


def one_line(err: str, said: str) -> None:
    complaint = err.splitlines()[-1]
    assert err.count("error: ") == 1
    assert complaint.startswith("error: ")
    assert said in complaint
