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
# # Exact scores of manifolds in your own work
#
# `theory.manifolds` has distributions whose noised density, posterior mean and score are exact. Here a sampler is
# compared with the truth, and a dimension is read from a score.

# %%
from itertools import pairwise

import matplotlib.pyplot as plt
import pandas as pd
import torch

from theory.manifolds import Embedded, Law, Product, Sphere, make, random_isometry
from theory.regularity import eps_model_of, intrinsic_dimension

torch.set_num_threads(1)

# %% [markdown]
# A torus in R^16: two circles of radius 1 and 0.5, in a random subspace of four dimensions.

# %%
flat = Product(Sphere(2, radius=1.0), Sphere(2, radius=0.5))
torus = Embedded(flat, random_isometry(16, 4, seed=0))
generator = torch.Generator().manual_seed(0)
x = torus.sample(2000, generator, torch.float64)
print(torus.dim, torus.intrinsic_dim, float(torus.distance(x).max()))

# %% [markdown]
# ## Sampling by the probability flow
#
# For y = x + sigma eps the flow is dy / dsigma = -sigma score(y, sigma). It starts at sigma = 5 and ends at sigma =
# 0.02. With the exact score the step size is the only error. The truth at the end is known as well: x + 0.02 eps.


# %%
def flow(law: Law, y: torch.Tensor, steps: int, order: int, high: float = 5.0, low: float = 0.02) -> torch.Tensor:
    """The end of the flow from y, by Euler's (order 1) or Heun's rule (2), sigma falling in equal ratios.   [n, d]"""
    levels = torch.logspace(torch.log10(torch.tensor(high)), torch.log10(torch.tensor(low)), steps + 1).double()
    for now, then in pairwise(levels):
        slope = -now * law.score(y, 1.0, now)
        moved = y + (then - now) * slope
        if order == 2:
            moved = y + (then - now) * (slope - then * law.score(moved, 1.0, then)) / 2
        y = moved
    return y


def noised(law: Law, n: int, sigma: float) -> torch.Tensor:
    """n samples of the law with noise, [n, d]."""
    x = law.sample(n, generator, torch.float64)
    return x + sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)


start, truth = noised(torus, 400, 5.0), noised(torus, 400, 0.02)
reference = flow(torus, start, 512, 2)
rows = []
for order, rule in ((1, "Euler"), (2, "Heun")):
    for evaluations in (16, 32, 64, 128, 256):
        end = flow(torus, start, evaluations // order, order)
        error = float((end - reference).square().sum(-1).mean().sqrt())
        rows.append((rule, evaluations, error, float(torus.distance(end).mean())))
errors = pd.DataFrame(rows, columns=["rule", "evaluations", "error", "distance"])
print(f"mean distance to the torus: of the truth {float(torus.distance(truth).mean()):.4f}, of the flows")
errors.pivot(index="evaluations", columns="rule", values="distance").round(4)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), dpi=80, layout="constrained")
moons = make("two-moons")
begin = noised(moons, 500, 5.0)
end = flow(moons, begin, 64, 2)
left.scatter(*end.T, s=4, label="end of the flow")
left.scatter(*moons.sample(500, generator).T, s=2, color="k", label="the data")
left.set(aspect="equal", title="two moons, 64 steps of Heun")
left.legend(frameon=False, loc="upper right", fontsize=8)
for rule, part in errors.groupby("rule"):
    right.loglog(part.evaluations, part.error, "o-", label=rule)
right.set(xlabel="evaluations of the score", title="torus in R^16: error at the end", xticks=[16, 32, 64, 128, 256])
right.xaxis.set_major_formatter("{x:.0f}")
right.minorticks_off()
right.legend(frameon=False)
plt.show()

# %% [markdown]
# ## A dimension from a score
#
# On the manifold the score matching loss reads its dimension (claim P2). `intrinsic_dimension` takes any score model
# (x_t, level) -> eps, a learned one too. The noise must be well below the radius of curvature.

# %%
for name, law in {
    "torus in R^16": torus,
    "5-sphere in R^8": make("sphere", n=5, dim=8),
    "spiral": make("spiral"),
}.items():
    on = law.sample(4, generator, torch.float64)
    for nsr in (0.02, 0.3):
        found = intrinsic_dimension(eps_model_of(law), on, nsr)
        print(f"{name:16} nsr {nsr:4}: {found.value.numpy().round(2)} +- {float(found.error.mean()):.2f}")

# %% [markdown]
# At nsr 0.3 the answer is biased: the curvature is seen. A score model with an error reads another dimension, and the
# difference says how good it is on the manifold.


# %%
def worse(y: torch.Tensor, level) -> torch.Tensor:
    """The exact eps, 10 % too long."""
    return 1.1 * eps_model_of(torus)(y, level)


print(intrinsic_dimension(worse, x[:4], 0.02).value.numpy().round(2))
