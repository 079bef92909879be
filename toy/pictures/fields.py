"""The gradient fields of a run's picture: both gradients at a sample, over a grid in the plane of the distribution."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.manifolds import Law
from toy.training.gan import Trainer, Trains

GRID, REACH = 21, 1.25  # points an axis; the extent of the grid over that of the data and the start
NEAR = 1.8  # the same, over that of the data alone
REPEATS = 64  # draws of eps a point


def plane_of(law: Law) -> tuple[Float[Tensor, " d"], Float[Tensor, "2 d"]]:
    """The mean and the two orthonormal directions in which the law is widest: where the picture is drawn."""
    points = law.sample(4096, torch.Generator().manual_seed(0), dtype=torch.float64)
    if law.dim == 2:
        return torch.zeros(2), torch.eye(2)
    origin = points.mean(0)
    return origin.float(), torch.linalg.svd(points - origin, full_matrices=False)[2][:2].float()


def fields(trainer: Trains, near: bool = False) -> dict[str, np.ndarray]:
    """Minus the gradients at a sample over the grid, of the first seed, and first class where there are classes.

    Args:
        near: the grid reaches NEAR times as far as the data, wherever the generator starts.

    Returns:
        real, start [n, d]: samples of the law and of the generator now; origin [d] and plane [2, d]; field_points
        [m, 2] in the plane's coordinates; field_score and, of a GAN, field_adversarial [m, 2].
    """
    origin, plane = plane_of(trainer.law)
    draws = trainer.noise(0)
    start = trainer.generate(draws.latent[-1])[0].cpu()
    real = trainer.law.sample(2048, torch.Generator().manual_seed(0))
    of_real, of_start = (((points - origin) @ plane.T).abs().max().item() for points in (real, start))
    extent = NEAR * of_real if near else REACH * max(of_real, of_start)
    axis = torch.linspace(-extent, extent, GRID)
    grid = torch.cartesian_prod(axis, axis)
    x = (origin + grid @ plane).expand(len(trainer.seeds), -1, -1).contiguous().to(trainer.device)
    u = torch.linspace(0, 1, REPEATS).repeat(GRID**2).expand(len(trainer.seeds), -1)
    eps = torch.randn((*u.shape, trainer.law.dim), generator=torch.Generator().manual_seed(1))
    label = None if trainer.term.classes is None else 0
    score = trainer.term.gradient(x.repeat_interleave(REPEATS, 1), u.to(x), eps.to(x), label, trainer.at)
    score = score.cpu().view(len(trainer.seeds), GRID**2, REPEATS, -1).mean(2)
    arrays = {
        "real": real,
        "start": start,
        "origin": origin,
        "plane": plane,
        "field_points": grid,
        "field_score": -score[0] @ plane.T,
    }
    if isinstance(trainer, Trainer):
        arrays["field_adversarial"] = -trainer.adversarial_gradient(x, label)[0].cpu() @ plane.T
    return {name: value.numpy() for name, value in arrays.items()}
