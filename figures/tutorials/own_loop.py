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
# # Your own GAN with the term
#
# `ScoreRegularity` is the term for a training loop of your own, and `DecoupledAdam` an optimizer that keeps its
# gradient outside Adam's moments. The data are images of one grey each: a line in the space of 64 pixels, so that the
# distance of a sample to the manifold is the deviation over its pixels. `images/OWN_PARTS.md` has the same lines for a
# diffusers UNet.

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from images.denoisers import eps_model
from images.training.regularity import ScoreRegularity
from theory.decoupling import DecoupledAdam

torch.set_num_threads(1)
draws = torch.Generator().manual_seed(0)


def data(n: int) -> Tensor:
    """n images of one grey each, [n, 1, 8, 8]."""
    return (1.6 * torch.rand(n, 1, 1, 1, generator=draws) - 0.8).expand(n, 1, 8, 8).contiguous()


def distance(images: Tensor) -> Tensor:
    """To the manifold, a pixel.   [n, 1, 8, 8] -> [n]"""
    return images.detach().flatten(1).std(1, unbiased=False)


# %% [markdown]
# ## A diffusion model
#
# Any module F(input, time) will do. This one gets x_t / alpha and nsr, and predicts x0: `predicts="x0",
# levels="sigma"`.


# %%
class Denoiser(nn.Module):
    """x0 from x0 + nsr eps."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(65, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64))

    def forward(self, y: Tensor, nsr: Tensor) -> Tensor:
        return self.net(torch.cat([y.flatten(1), nsr[:, None].log()], 1)).view_as(y)


torch.manual_seed(0)
denoiser = Denoiser()
adam = torch.optim.Adam(denoiser.parameters(), 2e-3)
for _ in range(1500):
    x, nsr = data(64), 0.1 + 0.9 * torch.rand(64, generator=draws)
    loss = (denoiser(x + nsr[:, None, None, None] * torch.randn(x.shape, generator=draws), nsr) - x).square().mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
score = eps_model(denoiser, predicts="x0", levels="sigma", interval=(0.1, 1.0))
print(f"mean squared error of the denoiser, a pixel: {float(loss.detach()):.4f}")

# %% [markdown]
# ## Three loops
#
# They differ in the generator's step alone. The discriminator is trained ahead, as in the run of the README.

# %%
term = ScoreRegularity(score, interval=(0.2, 0.6), weight=10.0, every=2)


def train(arm: str, steps: int = 250) -> tuple[list[float], Tensor]:
    """Mean distance of the samples at every tenth step, and samples at the end."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    of_d = torch.optim.Adam(discriminator.parameters(), 2e-3, betas=(0.0, 0.99))
    make: Callable = DecoupledAdam if arm == "decoupled" else torch.optim.Adam
    optimizer = make(generator.parameters(), lr=2e-3, betas=(0.0, 0.99), **({"every": 2} if arm == "decoupled" else {}))
    z, history = torch.randn(256, 8), []
    for step in range(-50, steps):
        fake = generator(torch.randn(32, 8))
        d_loss = (softplus(discriminator(fake.detach())) + softplus(-discriminator(data(32)))).mean()
        of_d.zero_grad()
        d_loss.backward()
        of_d.step()
        if step < 0:
            continue
        loss = softplus(-discriminator(fake)).mean()
        optimizer.zero_grad()
        if arm == "decoupled":
            scores = term.gradients(fake, step, generator.parameters())
            loss.backward()
            optimizer.step(scores=scores)
        else:
            (loss + term(fake, step) if arm == "summed" else loss).backward()
            optimizer.step()
        if step % 10 == 0:
            history.append(float(distance(generator(z)).mean()))
    return history, generator(z).detach()


trained = {arm: train(arm) for arm in ("gan", "summed", "decoupled")}
for arm, (_, samples) in trained.items():
    greys = samples.mean((1, 2, 3))
    print(f"{arm:10} mean distance {float(distance(samples).mean()):.3f}, spread of greys {float(greys.std()):.2f}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(7.5, 2.3), dpi=80, layout="constrained", width_ratios=(1.6, 1, 1, 1))
for arm, (history, _) in trained.items():
    axes[0].plot(range(0, 10 * len(history), 10), history, label=arm)
axes[0].set(xlabel="generator step", ylabel="distance a pixel", ylim=(0, None))
axes[0].legend(frameon=False, fontsize=8)
for axis, (arm, (_, samples)) in zip(axes[1:], trained.items(), strict=True):
    tiles = samples[:16].view(4, 4, 8, 8).permute(0, 2, 1, 3).reshape(32, 32)
    axis.imshow(tiles, cmap="gray", vmin=-1, vmax=1)
    axis.set(title=arm, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Real images have distance 0, and a spread of 0.46. Watch both numbers: a weight that is too large brings the samples
# to the manifold and costs their spread. In your own loop, compare several seeds before you believe a difference.
