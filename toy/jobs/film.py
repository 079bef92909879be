"""The film of a run: trains one seed of each arm and draws it as it moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from toy.config import Config
from toy.jobs.worker import prepare_process
from toy.metrics import Reference, off_manifold
from toy.pictures.animation import Film, animate, check_path
from toy.pictures.fields import fields
from toy.training.gan import Trainer

SHOWN = 500  # samples in a frame


def film(config: Config, path: Path, frames: int = 40) -> None:
    """Trains the first seed of each arm as a run does, and writes the film of it to a .gif or .mp4.

    Args:
        config: of the run; its generator must be a GAN.
        path: of the film.
        frames: how many different ones, evenly spaced in steps, the first and the last step among them.

    Raises:
        ValueError: another generator, a path as in `toy.pictures.animation.check_path`. Diverged: a loss is not finite.
        OSError: the film cannot be written.
    """
    check_path(path)
    if not config.adversarial:
        raise ValueError(f"a film shows a discriminator's gradient: generator must be gan; given {config.generator}")
    animate(shoot(config, frames), path)


def shoot(config: Config, frames: int) -> Film:
    """What the film shows, of the first seed."""
    prepare_process()
    steps = np.unique(np.linspace(0, config.steps, frames).round().astype(int))
    samples, shares, adversarial, found = {}, {}, {}, {}
    for arm in config.arms:
        trainer = Trainer(config, arm, (config.first_seed,))
        reference = Reference.of(trainer.law, trainer.seeds, n=config.samples)
        trainer.train_ahead()
        found = fields(trainer, near=True)
        shots = []
        for step in steps:
            while trainer.at < step:
                trainer.step()
            shots.append(_shot(trainer, reference, found))
        samples[arm], shares[arm], adversarial[arm] = (np.stack(part) for part in zip(*shots, strict=True))
    real = (found["real"][:SHOWN] - found["origin"]) @ found["plane"].T
    return Film(steps, samples, shares, real, found["field_points"], adversarial, found["field_score"])


def _shot(trainer: Trainer, reference: Reference, found: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Samples in the plane, the share of all that is off the manifold, minus the adversarial gradient over the grid."""
    samples, origin, plane = trainer.sample(), found["origin"], found["plane"]
    grid = torch.from_numpy(origin + found["field_points"] @ plane)[None].to(trainer.device)
    field = -trainer.adversarial_gradient(grid, None if trainer.classes is None else 0)[0].cpu().numpy()
    share = off_manifold(trainer.law.distance(samples), reference.threshold).numpy()[0]
    return (samples[0, :SHOWN].numpy() - origin) @ plane.T, share, field @ plane.T
