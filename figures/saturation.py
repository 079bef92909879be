# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Losses and gradients against displacement
#
# P is uniform on a segment, Q the same segment moved away by $\delta$ along its normal. As soon as they are apart the
# Jensen-Shannon divergence, which is the value of the GAN's game, is flat (claim S2). The Wasserstein distance is
# linear and a Gaussian kernel's MMD saturates (S5). The mean score matching loss $\ell$ is quadratic (P2).

# %%
import math

import pandas as pd
import torch

from figures.tools import results, style
from theory.divergences import gaussian_mmd_squared, wasserstein
from theory.manifolds import Segment
from theory.regularity import pointwise_loss

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers
#
# Both laws are represented by equal atoms for W1 and MMD; $\ell$ is exact. A slope is the derivative in
# the displacement.


# %%
def measure(nsr: float, width: float, largest: float, count: int, atoms: int) -> pd.DataFrame:
    """Each kind's loss, and its slope, against the displacement of Q."""
    law = Segment((-1.0, 0.0), (1.0, 0.0))
    line = torch.linspace(-1, 1, atoms, dtype=torch.float64)
    real = torch.stack([line, torch.zeros_like(line)], -1)
    losses = {
        "JS": lambda made, delta: torch.where(delta > 0, math.log(2), 0 * delta),  # no common mass but at 0
        "W1": lambda made, delta: wasserstein(real, made),
        "MMD": lambda made, delta: gaussian_mmd_squared(real, made, width),
        "score": lambda made, delta: pointwise_loss(law, made, 1.0, nsr).mean(),
    }
    rows = []
    distances = torch.linspace(0, largest, count, dtype=torch.float64)
    for distance in torch.cat([distances[:1], distances[1:2] / 1000, distances[1:]]):
        for kind, loss in losses.items():
            delta = distance.clone().requires_grad_()
            value = loss(real + delta * real.new_tensor([0.0, 1.0]), delta)
            (slope,) = torch.autograd.grad(value, delta)
            rows += [(kind, "loss", distance.item(), value.item()), (kind, "slope", distance.item(), slope.item())]
    return pd.DataFrame(rows, columns=["kind", "what", "displacement", "value"])


data, source = results.computed(measure, nsr=0.2, width=0.5, largest=3.0, count=31, atoms=15)

# %% [markdown]
# ## The picture
#
# Each loss is shown relative to its value at the largest displacement, each slope relative to its own largest.

# %%
NAMES = {
    "JS": ("Jensen–Shannon", style.ADVERSARIAL, "-"),
    "MMD": ("MMD², Gaussian kernel", style.ADVERSARIAL, ":"),
    "W1": ("Wasserstein W₁", style.REAL, "--"),
    "score": ("score matching ℓ", style.SCORE, "-"),
}
figure, axes = style.panels(2, 1, 3.8, sharex=True)
for panel, what in zip(axes, ("loss", "slope"), strict=True):
    for kind, (label, colour, line) in NAMES.items():
        rows = data[(data.kind == kind) & (data.what == what)]
        size = rows.value.abs().max() or 1.0
        panel.plot(rows.displacement, rows.value / size, line, color=colour, label=label, clip_on=False, zorder=3)
    panel.set_ylabel(f"{what}, relative to its largest")
    panel.set_ylim(-0.02, 1.05)
axes[0].set_title("the loss of a law that lies δ away")
axes[1].set_title("what pulls it back")
axes[1].set_xlabel("displacement δ of the generated law from the real one")
axes[1].set_xlim(0, data.displacement.max())
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.align_ylabels()

# %%
style.save(
    figure,
    "saturation",
    """Moved off the real segment, a generated law meets a Jensen-Shannon divergence that is flat and pulls nowhere, a
    kernel distance that soon is, a Wasserstein distance whose pull is constant, and a score matching loss that is
    quadratic and pulls the harder the farther the law is.""",
    data,
    [source],
)
