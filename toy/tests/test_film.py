"""The film: what it shows is what a run computes, and it is written whole or refused in one line."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL.GifImagePlugin import GifImageFile

from theory.common.colours import ARM_COLOURS
from theory.common.files import workplace
from toy.config import Config
from toy.jobs.film import SHOWN, film, shoot
from toy.pictures.animation import SIDE, animate, check_path
from toy.training.gan import Trainer

TINY = Config(width=16, layers=1, steps=20, d_ahead=5, batch=16, samples=64, seeds=1, start=0.0)


@pytest.fixture(scope="module")
def shot():
    return shoot(TINY, 3)


def test_the_last_frame_is_where_a_run_ends(shot):
    assert shot.steps.tolist() == [0, 10, 20]
    for arm in TINY.arms:
        trainer = Trainer(TINY, arm, (0,))
        trainer.train_ahead()
        for _ in range(TINY.steps):
            trainer.step()
        assert np.array_equal(shot.samples[arm][-1], trainer.sample()[0, :SHOWN].numpy())
        distance = trainer.law.distance(trainer.sample())[0]
        assert shot.shares[arm][-1] == pytest.approx(float((distance > 0.05).float().mean()))


def test_a_gif_shows_every_frame_in_the_arms_colours(shot, tmp_path):
    path = tmp_path / "film.gif"
    animate(shot, path)
    with GifImageFile(path) as gif:
        assert gif.n_frames == 3  # the last one, held, is one frame
        for frame in range(gif.n_frames):
            gif.seek(frame)
            colours = {tuple(colour) for colour in np.asarray(gif.convert("RGB")).reshape(-1, 3).tolist()}
            for colour in (ARM_COLOURS[arm] for arm in shot.samples):
                assert min(np.abs(np.subtract(c, 255 * np.array(to_rgb(colour)))).max() for c in colours) < 2
        assert gif.width > len(TINY.arms) * SIDE * 80
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


@pytest.mark.parametrize(
    ("path", "says"),
    [("film.png", "must be a .gif or .mp4; given film.png"), ("nowhere/film.gif", "directory does not exist: nowhere")],
)
def test_a_path_that_cannot_be_written_is_refused_before_training(path, says):
    with pytest.raises(ValueError, match=says):
        film(TINY, Path(path))


def test_an_mp4_needs_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs ffmpeg"):
        check_path(tmp_path / "film.mp4")


def test_only_gans_have_a_discriminator_to_film(tmp_path):
    with pytest.raises(ValueError, match="generator must be gan; given vae"):
        film(dataclasses.replace(TINY, generator="vae", regulariser="none"), tmp_path / "film.gif")


def test_the_real_distribution_fills_the_panels(shot):
    """Wherever the generator starts; 1.8 is as in README's film."""
    assert np.abs(shot.points).max() == pytest.approx(1.8 * np.abs(shot.real).max(), rel=1e-2)


def test_readmes_film_is_small_and_whole():
    """40 frames of 837 x 478 pixels, which stay an eighth of a second, and the last one two seconds; under 1 MB."""
    path = workplace() / "figures" / "ring.gif"
    assert path.stat().st_size < 1_000_000
    with GifImageFile(path) as gif:
        assert (gif.n_frames, gif.size) == (40, (837, 478))
        stay = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            stay.append(gif.info["duration"])
    assert set(stay[:-1]) == {120}
    assert stay[-1] == 2120
