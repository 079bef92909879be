"""Score models eps_theta(x_t, level): exact, of finite samples, learned, with an error of known size, the user's own.

`score_error` measures the error of a model near the data and off them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.errors import FileError
from theory.common.parts import is_own, load, part_of, tried
from theory.common.seeds import usual_state
from theory.levels import Interval, Level
from theory.manifolds import Law
from theory.manifolds.law import at_unit_alpha
from theory.regularity import EpsModel, eps_model_of
from toy.config import Config
from toy.device import on
from toy.training.denoiser import cached_denoiser
from toy.training.draws import CPU

WAVES = 64  # of the random field
LENGTH = 0.5  # its correlation length, in units of x: half the radius of the ring
FIELD_SEED = 0  # one field for every seed of a run, as there would be one pretrained model
DRAWS = 4096


def eps_model(config: Config, law: Law, device: torch.device = CPU) -> EpsModel:
    """The score model that `config.score` names, (x_t [..., d], level) -> eps [..., d], differentiable once.

    - analytic: eps*(x_t), exact.
    - learned: a `Denoiser` trained for score_steps steps on samples of the law, from the cache if it is there.
    - empirical: eps* of the law that is given, which is then that of the training samples: the minimiser of the
      denoising loss on them.
    - perturbed: eps*(x_t) + score_error f(x_t / alpha), f the `RandomField` of FIELD_SEED, scaled so that
      E||f||^2 = d over x ~ P and nsr uniform on the interval: the error there is score_error^2 d (claim P6).
    - FILE.py:NAME: `own_model`.

    Raises:
        OSError: the cache of learned ones cannot be read or written. FileError: as `own_model`.
    """
    interval = Interval(config.low, config.anneal * config.high)
    if is_own(config.score):
        return own_model(config.score, law, interval, config.term)
    own = own_file(config.manifold)
    makers: dict[str, Callable[[], EpsModel]] = {
        **dict.fromkeys(("analytic", "empirical"), lambda: eps_model_of(on(law, device))),
        "learned": lambda: cached_denoiser(law, config.score_steps, interval, part=own).to(device),
        "perturbed": lambda: perturbed(law, interval, config.score_error, device),
    }
    return makers[config.score]()


def own_file(manifold: str) -> str:
    """What a law's repr may leave out: the user's file that it is from, with its digest; empty for laws of ours."""
    return manifold if is_own(manifold) else ""


def own_model(score: str, law: Law, interval: Interval, term: str) -> EpsModel:
    """The callable that FILE.py:NAME means, (x_t [..., d], level) -> eps [..., d] in x_t's type; level.alpha and
    level.sigma are tensors [...] that broadcast against x_t's leading axes. A class is called once, without arguments.

    Raises:
        FileError: it is no callable or raises; at noised samples of the law its values are not finite, or have another
            shape or type; under the term full they are not differentiable in x_t.
    """
    name, given = str(part_of(score)), load(score)
    model = tried(name, "is no score", given) if isinstance(given, type) else given
    if not callable(model):
        raise FileError(f"{name} must be a function (x_t, level); given {type(given).__name__}")
    flat, levels = noised(law, interval, torch.Generator().manual_seed(0), n=6)
    x_t, level = flat.view(2, 3, -1).requires_grad_(), Level.variance_exploding(torch.as_tensor(levels.nsr).view(2, 3))
    eps = tried(name, "is no score", model, x_t, level)
    found = f"{eps.dtype} {list(eps.shape)}" if isinstance(eps, Tensor) else type(eps).__name__
    if found != f"{x_t.dtype} {list(x_t.shape)}":
        raise FileError(f"{name} must return eps as x_t is, {x_t.dtype} {list(x_t.shape)}; given {found}")
    if not eps.isfinite().all():
        raise FileError(f"{name} returns NaN or infinity at noised samples")
    if term == "full" and not eps.requires_grad:
        raise FileError(f"{name} is not differentiable in x_t, as the term full needs it; --term detached does not")
    return model


class RandomField:
    """f(y) = sqrt(2/m) sum_k a_k cos(<w_k, y> + b_k), a smooth random vector field on R^d.   [..., d] -> [..., d]

    With a_k ~ N(0, I_d), w_k ~ N(0, I / length^2), b_k uniform, the components are independent, stationary, of mean 0
    and covariance E f_j(y) f_j(y') = exp(-||y - y'||^2 / (2 length^2)): of variance 1. Source: Rahimi, Recht 2007.
    """

    def __init__(self, dim: int, generator: torch.Generator, length: float = LENGTH, waves: int = WAVES):
        self.frequencies = torch.randn(dim, waves, generator=generator) / length
        self.phases = 2 * math.pi * torch.rand(waves, generator=generator)
        self.amplitudes = torch.randn(waves, dim, generator=generator) * math.sqrt(2 / waves)
        self.known: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = {}  # the same by dtype and device

    def __call__(self, y: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        key = y.dtype, y.device
        if key not in self.known:
            with torch.inference_mode(False):  # what is kept must serve autograd, too
                self.known[key] = tuple(part.to(y) for part in (self.frequencies, self.phases, self.amplitudes))
        frequencies, phases, amplitudes = self.known[key]
        return torch.cos(y @ frequencies + phases) @ amplitudes


@usual_state()
def perturbed(law: Law, interval: Interval, error: float, device: torch.device = CPU) -> EpsModel:
    """eps*(x_t) + error f(x_t / alpha), E||f||^2 = d over noised samples of the law."""
    exact = eps_model_of(on(law, device))
    generator = torch.Generator().manual_seed(FIELD_SEED)
    field = RandomField(law.dim, generator)
    x_t, _ = noised(law, interval, generator)
    scale = error / float(field(x_t).square().mean().sqrt())

    def model(x_t: Float[Tensor, "*n d"], level: Level) -> Float[Tensor, "*n d"]:
        y, _, _ = at_unit_alpha(law.dim, x_t, level.alpha, level.sigma)
        return exact(x_t, level) + scale * field(y)

    return model


def noised(
    law: Law, interval: Interval, generator: torch.Generator, away: float = 0.0, n: int = DRAWS
) -> tuple[Float[Tensor, "n d"], Level]:
    """x_t = x + away v + nsr eps and its level: x ~ P, v uniform on the unit sphere, nsr uniform on the interval."""
    x = law.sample(n, generator)
    direction = torch.randn(n, law.dim, generator=generator)
    nsr = interval.sample(n, generator)
    eps = torch.randn(n, law.dim, generator=generator)
    x_t = x + away * direction / direction.norm(dim=-1, keepdim=True) + nsr[:, None] * eps
    return x_t, Level.variance_exploding(nsr)


@torch.no_grad()
def score_error(
    model: EpsModel, law: Law, interval: Interval, away: float = 0.0, n: int = DRAWS, seed: int = 0
) -> float:
    """E||eps_theta - eps*||^2 / E||eps*||^2, which is 0 for the exact score and 1 for a model that is 0.

    The mean is over `noised` samples of the law that were moved by `away` (in units of x) in a random direction: 0 is
    where a score model is trained; a generator that starts off the manifold evaluates it elsewhere.
    """
    x_t, level = noised(law, interval, torch.Generator().manual_seed(seed), away, n)
    exact = eps_model_of(law)(x_t, level)
    return float((model(x_t, level) - exact).square().sum() / exact.square().sum())
