"""The bias of a trained generator against the one that claims E2 and E3 predict, on a mixture.

The equilibrium of the regularised game is known in closed form. On a mixture it gives the share of each part, which is
counted in the samples. `ell` is averaged over draws of eps that are the same for all points.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from theory.common.seeds import usual_state
from theory.equilibrium import equilibrium, total_variation
from theory.levels import Interval, Level
from theory.manifolds import make
from theory.regularity import eps_model_of, score_matching_loss
from toy.config import Config
from toy.training.classes import Classes

POINTS, DRAWS = 64, 1024  # of the real distribution; of eps and the noise level


def shares(config: Config, samples: Float[Tensor, "s n d"]) -> dict[str, list[float]]:
    """Of each seed, total variations over the parts of the mixture, and share_1, share_2, ... of the samples.

        bias                the samples' shares from the weights of the mixture
        predicted_bias      the equilibrium's shares from the weights
        prediction_error    the samples' shares from the equilibrium's

    Raises:
        ValueError: the law is no mixture; a loss whose equilibrium is not known.
    """
    classes = Classes(make(config.manifold, dim=config.dim, thickness=config.thickness))
    own = torch.as_tensor(samples).double()
    nearest = torch.stack([law.distance(own) for law in classes.laws]).argmin(0)  # [s, n]
    found = torch.stack([(nearest == c).double().mean(1) for c in range(len(classes))], 1)  # [s, C]
    weight = max(config.arm(name).weight for name in config.arms)
    if config.loss not in ("saturating", "non-saturating"):
        raise ValueError(f"the equilibrium is known for saturating and non-saturating; given loss {config.loss}")
    p, ell = points_of(config.manifold, config.dim, config.thickness, config.low, config.high)
    wanted = equilibrium(p, ell, weight, config.loss).view(len(classes), POINTS).sum(1)  # type: ignore[arg-type]
    real = classes.weights.double()
    seeds = range(len(found))
    return {
        "bias": [total_variation(found[s], real).item() for s in seeds],
        "predicted_bias": [total_variation(wanted, real).item() for _ in seeds],
        "prediction_error": [total_variation(found[s], wanted).item() for s in seeds],
        **{f"share_{c + 1}": found[:, c].tolist() for c in range(len(classes))},
    }


@lru_cache  # all lambdas ask for the same
@usual_state()
def points_of(
    manifold: str, dim: int | None, thickness: float, low: float, high: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Masses of points drawn from each part of a mixture, POINTS a part in turn, and ell there, nsr uniform on
    [low, high].   [n], [n]"""
    law = make(manifold, dim=dim, thickness=thickness)
    classes, g = Classes(law), torch.Generator().manual_seed(0)
    x = torch.cat([part.sample(POINTS, g, torch.float64) for part in classes.laws])
    model, total = eps_model_of(law), torch.zeros(len(x), dtype=torch.float64)
    for _ in range(DRAWS // 64):
        nsr = Interval(low, high).nsr(torch.rand(64, 1, generator=g, dtype=torch.float64))
        eps = torch.randn(64, 1, law.dim, generator=g, dtype=torch.float64).expand(-1, len(x), -1)
        level = Level.variance_exploding(nsr.expand(-1, len(x)))
        total += score_matching_loss(x.expand(64, -1, -1), model, level, eps).sum(0)
    return classes.weights.double().repeat_interleave(POINTS) / POINTS, total / DRAWS
