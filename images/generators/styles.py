"""What StyleGAN2 does with styles [b, k, s] of k layers: mixing, path lengths, truncation.

Source: Karras, Laine, Aila 2019, "A style-based generator architecture" (mixing, truncation); Karras et al. 2020,
"Analyzing and improving the image quality of StyleGAN", section 3.2 (path lengths).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Styles = Float[Tensor, "b k s"]
PATH_DECAY = 0.01
"""How far the average path length moves, at each step that measures it, to what was measured."""


def mix(styles: Styles, others: Styles, u: Float[Tensor, "b 2"], p: float) -> Styles:
    """With probability p a sample has the other style from one of its layers 1 .. k - 1 on; u uniform decides.

    (NVIDIA's code decides once a batch; here each sample is on its own, so that parts of a batch add up.)
    """
    k = styles.shape[1]
    first = 1 + (u[:, 1] * (k - 1)).long().clamp(max=k - 2)
    first = torch.where(u[:, 0] < p, first, k)
    layers = torch.arange(k, device=styles.device)
    return torch.where((layers >= first[:, None])[..., None], others, styles)


def path_lengths(
    images: Float[Tensor, "b c h w"], styles: Styles, noise: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """sqrt(mean over layers ||J^T y||^2) with J = d image / d style, y = noise / sqrt(h w); differentiable."""
    _, _, h, w = images.shape
    (gradient,) = torch.autograd.grad((images * noise).sum() / (h * w) ** 0.5, styles, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()


def truncated(styles: Styles, mean: Float[Tensor, " s"], psi: float) -> Styles:
    """mean + psi (style - mean): 1 changes nothing, 0 gives the mean style, and so one image."""
    return mean + psi * (styles - mean)
