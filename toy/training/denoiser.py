"""A score model learned from samples: a small denoiser, trained once for a distribution and kept in a file.

Preconditioning (Karras et al. 2022, table 1), at alpha = 1, with s = sigma_data and n = nsr:

    x0hat(y) = c_skip y + c_out F(c_in y, c_noise)
    c_skip = s^2 / (n^2 + s^2),  c_out = n s c_in,  c_in = 1 / sqrt(n^2 + s^2),  c_noise = log(n) / 4

The target of the network F is (x0 - c_skip y) / c_out, of variance 1 at every level; their loss weighting
(n^2 + s^2) / (n s)^2 of ||x0hat - x0||^2 is that of a plain squared error of F. eps = (y - x0hat) / n.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from jaxtyping import Float
from torch import Tensor, nn

from theory.common import files
from theory.common.errors import FileError
from theory.common.seeds import usual_state
from theory.levels import Interval, Level
from theory.manifolds import Law
from theory.manifolds.law import at_unit_alpha

CACHE = Path("runs/cache")
VERSION = 1  # of what is trained and how it is stored: raise it when either changes
WIDTH, LAYERS, BATCH, LR = 128, 3, 256, 5e-3
WIDER = 1.5  # trained on noise levels from low / WIDER to high WIDER
DRAWS = 2**14  # samples of the law that give sigma_data


class Preconditioning(NamedTuple):
    """The formulas above. y [..., d], nsr [...], F's input [..., d+1], F's output and eps [..., d]."""

    sigma_data: float
    """s: the root mean square of a coordinate of a sample."""

    def inputs(self, y: Tensor, nsr: Tensor) -> Tensor:
        """[c_in y, c_noise]."""
        return torch.cat([self._c_in(nsr) * y, nsr.log()[..., None] / 4], -1)

    def eps(self, f: Tensor, y: Tensor, nsr: Tensor) -> Tensor:
        """(y - x0hat) / n = c_in (n c_in y - s F), written so that nothing cancels at small n."""
        c_in = self._c_in(nsr)
        return c_in * (nsr[..., None] * c_in * y - self.sigma_data * f)

    def target(self, eps: Tensor, y: Tensor, nsr: Tensor) -> Tensor:
        """(x0 - c_skip y) / c_out for y = x0 + n eps: the F for which `eps` gives this eps."""
        c_in = self._c_in(nsr)
        return (nsr[..., None] * c_in * y - eps / c_in) / self.sigma_data

    def _c_in(self, nsr: Tensor) -> Tensor:
        return (nsr.square() + self.sigma_data**2).rsqrt()[..., None]


class Denoiser(nn.Module):
    """An eps model (x_t [..., d], level) -> eps [..., d], differentiable in x_t; its parameters are frozen."""

    def __init__(self, dim: int, sigma_data: float, width: int = WIDTH, layers: int = LAYERS):
        super().__init__()
        self.dim, self.precondition = dim, Preconditioning(sigma_data)
        widths = [dim + 1, *[width] * layers]
        hidden = [part for i, o in pairwise(widths) for part in (nn.Linear(i, o), nn.SiLU())]
        self.network = nn.Sequential(*hidden, nn.Linear(width, dim))
        self.requires_grad_(False)

    def initialise(self, generator: torch.Generator) -> None:
        """He initialisation, biases 0, and a last layer of 0: the untrained x0hat is c_skip y."""
        linears = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        for layer in linears:
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(linears[-1].weight)

    def forward(self, x_t: Float[Tensor, "*#n d"], level: Level) -> Float[Tensor, "*n d"]:
        """eps_theta(x_t); a function of x_t / alpha and nsr.

        Raises:
            TypeError, ValueError: as `Law.denoise`; x_t is to be of float32.
        """
        y, _, nsr = at_unit_alpha(self.dim, x_t, level.alpha, level.sigma)
        return self.precondition.eps(self.network(self.precondition.inputs(y, nsr)), y, nsr)


@usual_state()
def train_denoiser(law: Law, steps: int, interval: Interval, seed: int) -> Denoiser:
    """Denoising score matching: E ||F - target||^2 over fresh samples x0 ~ P and nsr log-uniform on the interval,
    widened by WIDER at both ends. Adam, its rate decayed to 0 along a cosine. One thread: the numbers do not depend on
    the number of cores."""
    generator = torch.Generator().manual_seed(seed)
    wide = Interval(interval.low / WIDER, interval.high * WIDER)
    denoiser = Denoiser(law.dim, sigma_data_of(law, generator))
    denoiser.initialise(generator)
    denoiser.requires_grad_(True)
    adam = torch.optim.Adam(denoiser.parameters(), LR, fused=True)
    for step in range(steps):
        adam.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / steps))
        nsr = wide.sample(BATCH, generator, "log-uniform")
        eps = torch.randn(BATCH, law.dim, generator=generator)
        y = law.sample(BATCH, generator) + nsr[:, None] * eps
        output = denoiser.network(denoiser.precondition.inputs(y, nsr))
        loss = (output - denoiser.precondition.target(eps, y, nsr)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return denoiser.requires_grad_(False)


def sigma_data_of(law: Law, generator: torch.Generator) -> float:
    """The root mean square of a coordinate of a sample."""
    return float(law.sample(DRAWS, generator).square().mean().sqrt())


def cached_denoiser(
    law: Law, steps: int, interval: Interval, seed: int = 0, directory: Path = CACHE, part: str = ""
) -> Denoiser:
    """The denoiser of `train_denoiser`, from its file in `directory`; trained and written if there is none.

    The file is named by a hash of every number that decides it. Processes that need the same one wait for the first,
    which trains it. A damaged file is trained again, with a warning.

    Args:
        part: what decides the law beside its repr: a file of the user's and its content's digest.

    Raises:
        OSError: the file cannot be read or written.
    """
    made_of = ingredients(law, steps, interval, seed) | ({"part": part} if part else {})
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]
    path = directory / f"denoiser-{name}.pt"
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / f".{path.name}.lock"):
        if path.exists():
            try:
                return load(path, law.dim)
            except DamagedError as error:
                warnings.warn(f"{error}; it is trained again", stacklevel=2)
        denoiser = train_denoiser(law, steps, interval, seed)
        save(path, denoiser)
    return denoiser


def ingredients(law: Law, steps: int, interval: Interval, seed: int) -> dict[str, Any]:
    """Everything that decides a denoiser. A law's repr shows all of its numbers."""
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "law": repr(law),
        "steps": steps,
        "interval": [interval.low, interval.high, WIDER],
        "seed": seed,
        "network": [WIDTH, LAYERS],
        "training": [BATCH, LR, DRAWS],
    }


class DamagedError(FileError):
    """A file that holds no denoiser; the message names it and says why."""


def save(path: Path, denoiser: Denoiser) -> None:
    """Writes sigma_data and the parameters, whole or not at all."""
    files.write_tensors(path, {"sigma_data": denoiser.precondition.sigma_data, "parameters": denoiser.state_dict()})


def load(path: Path, dim: int) -> Denoiser:
    """The denoiser in the file. Nothing in the file is executed.

    Raises:
        DamagedError: the file is truncated, damaged or no denoiser of that dimension. OSError: it cannot be read.
    """
    content = files.read_tensors(path, "denoiser", DamagedError)
    try:
        denoiser = Denoiser(dim, content["sigma_data"])
        denoiser.load_state_dict(content["parameters"])
    except (KeyError, TypeError, IndexError, AttributeError, RuntimeError):
        raise DamagedError(f"{path} is no denoiser of dimension {dim}") from None
    return denoiser
