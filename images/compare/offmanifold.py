"""What the score term reads on images: ell against the noise for real, perturbed and generated images, and the
discriminator's gradient where ell is large.

    ell(x) = distance(x)^2 / nsr^2 + dimension                                     (claim P2, for small nsr)

so that a line through ell over 1 / nsr^2 reads a squared distance and a dimension off; `ell` is the denoiser's, which
is not exact: real images have the level that everything is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor, nn

from images.interfaces import Scores
from images.metrics.classified import NEAR, ell
from theory.common.seeds import generator

LEVELS = (0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.22, 0.32, 0.47, 0.7, 1.0)
"""nsr, within the noise that the denoiser was trained on."""
SMALL = (0.045, 0.15)
"""The levels of the line."""
SHIFTS = (0.02, 0.05, 0.1)
"""Root mean squares a pixel of the perturbations of real images."""
PERTURB = 41  # stream
GROUPS = 10  # of images, by ell

Sets = Mapping[str, tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"] | None]]


def perturbed(x: Float[Tensor, "n c h w"]) -> dict[str, Float[Tensor, "n c h w"]]:
    """Real images with white noise of each of SHIFTS: almost all of it leaves a manifold of far lower dimension, so
    that its distance is about shift x sqrt(pixels - dimension)."""
    noise = torch.randn(x.shape, generator=generator(0, PERTURB))
    return {f"real + {shift}": x + shift * noise for shift in SHIFTS}


def against_noise(score: Scores, sets: Sets, draws: int = 2) -> pd.DataFrame:
    """ell of every set at every level: set, nsr, mean, low and high (the 5 % and 95 % quantiles over images)."""
    rows = []
    for name, (x, labels) in sets.items():
        for nsr in LEVELS:
            found = torch.stack([ell(score, x, labels, nsr, draw) for draw in range(draws)]).mean(0).double()
            low, high = found.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
            rows.append({"set": name, "nsr": nsr, "mean": found.mean().item(), "low": low, "high": high})
    return pd.DataFrame(rows)


def read_off(table: pd.DataFrame) -> pd.DataFrame:
    """A row a set: the distance and the dimension of the line through ell over 1 / nsr^2 at the levels of SMALL.

    By least squares weighted by 1 / ell^2. A slope below 0 reads as distance 0.
    """
    rows = []
    for name, part in table[table.nsr.between(*SMALL)].groupby("set", sort=False):
        x, y = part.nsr.to_numpy() ** -2.0, part["mean"].to_numpy()
        slope, dimension = np.polyfit(x, y, 1, w=1 / y)
        rows.append({"set": name, "distance": max(0.0, slope) ** 0.5, "dimension": dimension})
    return pd.DataFrame(rows)


def gradients(
    d: nn.Module, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None
) -> dict[str, Float[Tensor, " n"]]:
    """Norms of the gradient, in the image, of both generator losses: saturating log(1 - D) and non-saturating -log D.

    The second is the first times (1 - D) / D; D = sigmoid of the logit.
    """
    found: dict[str, list[Tensor]] = {"saturating": [], "non-saturating": []}
    for first in range(0, len(x), 250):
        part = x[first : first + 250].clone().requires_grad_()
        logits = d(part, None if labels is None else labels[first : first + 250])
        (slope,) = torch.autograd.grad(logits.sum(), part)
        length = slope.flatten(1).norm(dim=1)
        found["saturating"].append((length * torch.sigmoid(logits)).detach())
        found["non-saturating"].append((length * torch.sigmoid(-logits)).detach())
    return {name: torch.cat(parts) for name, parts in found.items()}


def push(
    score: Scores, d: nn.Module, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"] | None
) -> list[dict[str, Any]]:
    """Medians in GROUPS of images by ell at NEAR, ascending: group, ell, both gradients of D; and their rank
    correlations with ell over all images (`rank saturating`, ...), the same in each row."""
    losses = ell(score, x, labels, NEAR)
    lengths = gradients(d, x, labels)
    ranks = {f"rank {name}": float(stats.spearmanr(losses, length).statistic) for name, length in lengths.items()}
    rows = []
    for number, which in enumerate(losses.argsort().tensor_split(GROUPS)):
        row = {name: length[which].median().item() for name, length in lengths.items()}
        rows.append({"group": number, "ell": losses[which].median().item(), **row, **ranks})
    return rows


def measured(
    score: Scores,
    real: tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"] | None],
    generated: Mapping[str, tuple[nn.Module, nn.Module, int]],
    classes: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(ell against nsr, what P2 reads off, D's gradients by ell) of real, perturbed and generated images.

    Args:
        generated: name -> G, D and the dimension of the latents; as many images as there are real ones.
    """
    x, labels = real
    sets: dict[str, Any] = {"real": real} | {name: (shifted, labels) for name, shifted in perturbed(x).items()}
    rows = []
    for name, (g, d, latent) in generated.items():
        wanted = torch.arange(len(x)) % classes if classes else None
        z = torch.randn(len(x), latent, generator=generator(0, PERTURB, 1))
        with torch.no_grad():
            made = torch.cat(
                [g(z[i : i + 250], None if wanted is None else wanted[i : i + 250]) for i in range(0, len(x), 250)]
            ).clamp(-1, 1)
        sets[name] = made, wanted
        rows += [{"set": name, **row} for row in push(score, d, made, wanted)]
        rows += [{"set": f"real, D of {name}", **row} for row in push(score, d, x, labels)]
    table = against_noise(score, sets)
    return table, read_off(table), pd.DataFrame(rows)


def names_of(runs: Sequence[Any]) -> list[str]:
    """A name for each directory of a run: its last three parts, ".../saturated-x1/gan/seed-0/gan-0" -> saturated-x1 gan
    seed-0."""
    return [" ".join(run.resolve().parts[-4:-1]) for run in runs]
