"""Mixing and truncation of StyleGAN2's styles [b, k, s] of k layers.

Source: Karras, Laine, Aila 2019, "A style-based generator architecture".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Styles = Float[Tensor, "b k s"]
PATH_DECAY = 0.01
"""The average path length moves by this share of the way to each measured one (Karras et al. 2020)."""


def mix(styles: Styles, others: Styles, u: Float[Tensor, "b 2"], p: float) -> Styles:
    """With probability p a sample has the other style from one of its layers 1 .. k - 1 on; u uniform decides.

    (NVIDIA's code decides once a batch; here each sample is on its own, so that parts of a batch add up.)
    """
    k = styles.shape[1]
    first = 1 + (u[:, 1] * (k - 1)).long().clamp(max=k - 2)
    first = first.masked_fill(u[:, 0] >= p, k)
    layers = torch.arange(k, device=styles.device)
    return torch.where((layers >= first[:, None])[..., None], others, styles)


def truncated(styles: Styles, mean: Float[Tensor, " s"], psi: float) -> Styles:
    """mean + psi (style - mean): 1 changes nothing, 0 gives the mean style, and so one image."""
    return mean + psi * (styles - mean)
