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
# P is uniform on a segment, Q on the same segment displaced by $\delta$ along its normal. Where the two are apart the
# Jensen-Shannon divergence, which is the value of the GAN's game, is constant (claim S2). The Wasserstein distance is
# linear; the MMD of a Gaussian kernel saturates (S5). The mean score matching loss $\ell$ is quadratic (P2).

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
# W1 and MMD are those of equal atoms; $\ell$ is exact. A slope is the derivative with respect to the displacement.


# %%
def measure(nsr: float, width: float, largest: float, count: int, atoms: int) -> pd.DataFrame:
    """The loss of each kind and its slope, by the displacement of Q."""
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


NSR, WIDTH, ATOMS = 0.2, 0.5, 15
data, source = results.computed("saturation", measure, nsr=NSR, width=WIDTH, largest=3.0, count=31, atoms=ATOMS)

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
axes[0].set_title("loss at displacement δ")
axes[1].set_title("its slope")
axes[1].set_xlabel("displacement δ of the generated segment from the real one")
axes[1].set_xlim(0, data.displacement.max())
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.align_ylabels()

# %%
slopes = data[data.what == "slope"].pivot(index="displacement", columns="kind", values="value")
apart = slopes[slopes.index > 0]
assert (apart["JS"] == 0).all()
assert abs(apart["MMD"].iloc[-1]) < 1e-3 * apart["MMD"].abs().max()
assert (apart["W1"] - 1).abs().max() < 1e-6
assert apart["score"].is_monotonic_increasing
style.save(
    figure,
    "saturation",
    "Away from the data the GAN's loss is flat; the score matching loss is quadratic.",
    f"""*Top:* losses of a segment that is displaced by δ from the real one, each relative to its largest value.
    *Bottom:* their slopes. The Jensen-Shannon divergence, which is the value of the GAN's game, has slope 0 at every
    displacement. The slope of the kernel distance (MMD) vanishes at a distance, that of the Wasserstein distance is
    constant, that of ℓ grows with δ. Exact, at nsr {NSR:g}; kernel width {WIDTH:g}; {ATOMS} equal atoms for MMD and
    W₁.""",
    data,
    [source],
)
