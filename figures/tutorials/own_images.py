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
# # Images: your own folder, your own denoiser
#
# Four commands lead from a folder of pictures and a diffusion model to samples and their distance to the data:
# `images.data`, `images.train`, `images.sample`, `images.evaluate`. Here the pictures are small discs, the denoiser is
# a small network, and training is far too short to be good: it shows the way, in a minute.

# %%
import io
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

place = Path(tempfile.mkdtemp())


def command(line: str) -> None:
    """Runs python -m LINE in the directory, and prints what it says."""
    done = subprocess.run([sys.executable, "-m", *shlex.split(line)], cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout)


# %% [markdown]
# ## A folder
#
# 300 discs of one colour each, on grey.

# %%
(place / "pngs").mkdir()
random = np.random.default_rng(0)
rows, columns = np.mgrid[:16, :16]
for number in range(300):
    y, x, size = random.uniform((5, 5, 3), (11, 11, 5))
    inside = 1 / (1 + np.exp(2 * (np.hypot(rows - y, columns - x) - size)))[..., None]
    picture = 128 + inside * (random.integers(0, 256, 3) - 128)
    Image.fromarray(picture.astype(np.uint8)).save(place / "pngs" / f"{number}.png")
command("images.data pngs --dest own.zip --size 16")

# %% [markdown]
# ## A denoiser
#
# `denoiser.py` must hold an object that is called with (x_t, level) and returns eps. `eps_model` makes one of any
# network. This one is trained here and loaded there; a diffusers UNet is one line (`images/OWN_PARTS.md`).

# %%
(place / "network.py").write_text('''
import torch
from torch import nn

class Net(nn.Module):
    """x0 from x0 + nsr eps."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(4, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, 24, 3, padding=2, dilation=2),
            nn.SiLU(), nn.Conv2d(24, 24, 3, padding=4, dilation=4), nn.SiLU(), nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, y, nsr):
        level = nsr.log()[:, None, None, None].expand(len(y), 1, *y.shape[2:])
        return self.net(torch.cat([y, level], 1))
''')
(place / "fit.py").write_text("""
import numpy as np, torch
from pathlib import Path
from PIL import Image
from network import Net

x = torch.stack([torch.from_numpy(np.array(Image.open(p))) for p in sorted(Path("pngs").iterdir())])
x = x.permute(0, 3, 1, 2) / 127.5 - 1
torch.manual_seed(0)
net = Net()
adam = torch.optim.Adam(net.parameters(), 3e-3)
for step in range(300):
    batch, nsr = x[torch.randint(len(x), (32,))], torch.empty(32).uniform_(0.1, 0.8)
    loss = (net(batch + nsr[:, None, None, None] * torch.randn_like(batch), nsr) - batch).square().mean()
    adam.zero_grad(); loss.backward(); adam.step()
torch.save(net.state_dict(), "net.pt")
print(f"mean squared error a pixel: {loss:.4f}")
""")
(place / "denoiser.py").write_text("""
import sys, torch
sys.path.insert(0, ".")
from network import Net
from images.denoisers import eps_model

net = Net()
net.load_state_dict(torch.load("net.pt"))
score = eps_model(net, predicts="x0", levels="sigma", interval=(0.1, 0.8))
""")
command("fit")

# %% [markdown]
# ## Train
#
# Any recipe will do as a set of defaults. Two arms, one seed, a small generator.

# %%
command(
    "images.train --recipe photos --resolution 16 --classes 0 --data own.zip --score denoiser.py:score --out run"
    " --couplings gan decoupled --low 0.15 --high 0.6 --images 1920 --batch 32 --width 8 --latent 16 --seeds 1"
    " --processes 1 --cache cache"
)

# %% [markdown]
# ## Sample and evaluate
#
# The distance is between images averaged to 8 x 8 pixels, and is no FID. Nothing here is a verdict on
# the term: it is one seed of a very short run.

# %%
command("images.sample run/decoupled-0 --out samples.zip --count 200")
command("images.evaluate samples.zip --reference own.zip --features pixels")

# %%
table = pd.read_csv(place / "run" / "metrics.csv")
table = table[table.metric == "frechet_pixels"]


def tiles(name: str) -> np.ndarray:
    """The first 32 images of an archive, in four rows."""
    with zipfile.ZipFile(place / name) as archive:
        files = [file for file in archive.namelist() if file.endswith(".png")][:32]
        images = np.array([np.array(Image.open(io.BytesIO(archive.read(file)))) for file in files])
    return images.reshape(4, 8, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(64, 128, 3)


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(8, 2.2), dpi=72, layout="constrained")
for arm, part in table.groupby("arm"):
    left.plot(part.step, part.value, "o-", label=arm)
left.set(xlabel="step", ylabel="Frechet distance (pixels)")
left.legend(frameon=False, fontsize=8)
for axis, name in ((middle, "own.zip"), (right, "samples.zip")):
    axis.imshow(tiles(name))
    axis.set(title=name, xticks=[], yticks=[])
plt.show()
shutil.rmtree(place)
