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
# # The argument in ten minutes
#
# A GAN's discriminator becomes certain about samples that lie off the manifold of the real data. Its loss is flat
# there, and the generator gets no gradient. The paper adds a score matching loss, whose gradient does not vanish. Both
# gradients are exact here, because the distributions are.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

from figures.tools.results import ROOT
from theory.critical_noise import critical_nsr
from theory.manifolds import Sphere, make
from theory.regularity import pointwise_loss

torch.set_num_threads(1)

# %% [markdown]
# The real data lie on the unit circle, the generated ones on a smaller circle. A little noise on both, 0.05, gives
# them densities p and q. The optimal discriminator is D* = p / (p + q).

# %%
real, noise = make("ring"), 0.05
radius = torch.linspace(0.3, 0.95, 40, dtype=torch.float64)
x = torch.stack([radius, torch.zeros_like(radius)], -1).requires_grad_()


def adversarial_loss(x: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """log(1 - D*) at each x, where the generated circle has the radius of x itself.   [n, 2], [n] -> [n]"""
    logits = [
        real.log_density(place, 1.0, noise) - Sphere(2, float(r)).log_density(place, 1.0, noise)
        for place, r in zip(x, generated, strict=True)
    ]
    return torch.nn.functional.logsigmoid(-torch.stack(logits))


(adversarial,) = torch.autograd.grad(adversarial_loss(x, radius).sum(), x)
(score,) = torch.autograd.grad(pointwise_loss(real, x, 1.0, 0.2).sum(), x)
distance = 1 - radius
table = pd.DataFrame({"distance": distance, "adversarial": adversarial.norm(dim=-1), "score term": score.norm(dim=-1)})
table.iloc[::8].round(40)

# %% [markdown]
# The adversarial gradient falls like exp(-distance^2 / 2 noise^2). The score term's grows with the distance. On the
# right, minus its gradient points to the circle from everywhere, as long as the noise of the term is small.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), dpi=80, layout="constrained")
left.semilogy(table.distance, table.adversarial, label="adversarial")
left.semilogy(table.distance, table["score term"], "--", label="score term, nsr 0.2")
left.set(xlabel="distance to the circle", ylabel="length of the gradient", ylim=(1e-40, 1e4))
left.legend(frameon=False)
axis = torch.linspace(-1.5, 1.5, 14, dtype=torch.float64)
grid = torch.cartesian_prod(axis, axis).requires_grad_()
(field,) = torch.autograd.grad(-pointwise_loss(real, grid, 1.0, 0.2).sum(), grid)
right.quiver(*grid.detach().T, *torch.nn.functional.normalize(field).T, color="C1", scale=22, width=0.005)
right.add_patch(plt.Circle((0, 0), 1, fill=False))
right.set(aspect="equal", title="minus the score term's gradient")
plt.show()

# %% [markdown]
# What the term measures is known: ell = distance^2 / nsr^2 + k, up to O(nsr^2), with k = 1 the dimension of the circle
# (claim P2). It is a distance off the manifold, and a dimension on it.

# %%
points = torch.tensor([[1.0, 0.0], [1.1, 0.0], [1.5, 0.0]], dtype=torch.float64)
for nsr in (0.2, 0.1, 0.05):
    measured = pointwise_loss(real, points, 1.0, nsr)
    print(f"nsr {nsr:4}: ell - distance^2 / nsr^2 = {(measured - (points[:, 0] - 1) ** 2 / nsr**2).numpy().round(4)}")

# %% [markdown]
# The noise has a limit. Above a critical nsr the term moves every sample to the centre, the mean of the data (claim
# I2).

# %%
print(f"critical nsr of the unit circle: {critical_nsr(real):.4f}")
start = torch.tensor([[0.3, 0.0]], dtype=torch.float64, requires_grad=True)
for nsr in (0.3, 0.9):
    (gradient,) = torch.autograd.grad(pointwise_loss(real, start, 1.0, nsr).sum(), start)
    print(f"nsr {nsr}: a step from 0.3 goes {'out, to the circle' if gradient[0, 0] < 0 else 'in, to the centre'}")

# %% [markdown]
# In training the same is seen. Share of generated samples off the manifold, from the committed results of `python -m
# toy.run` (8 seeds, 95 % intervals):

# %%
trained = pd.read_csv(ROOT / "figures" / "drawn" / "training.csv")
trained[(trained.preset == "saturated") & (trained.metric == "off_manifold")][["arm", "mean", "low", "high"]]

# %% [markdown]
# Whether the term helps depends on the game. Where the discriminator has R1 it helps less, and in a game that trains
# well without a regulariser the paper's coupling hurts. The report has these conditions; the next tutorial uses the
# exact scores.
