"""C6: the score of n samples, against that of the law."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS
from theory.finite_samples import sample_score_error
from theory.levels import Level
from theory.manifolds import Sphere
from theory.quadrature import legendre, richardson
from theory.regularity import eps_model_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CIRCLE = Sphere(2)
DENSITY = 1 / (2 * math.pi)  # of the uniform law on the circle
LOG_T = torch.arange(-30, 240, 0.4, dtype=torch.float64)  # the trapezoidal rule over log t is exact to 1e-8


def mean_square(
    n: int, kernel: Float[Tensor, "*y m"], along: Float[Tensor, "*y m"], square: Float[Tensor, "*y m"], masses: Tensor
) -> Float[Tensor, " *y"]:
    """E ||sum_i K(X_i) G(X_i) / sum_i K(X_i)||^2 over n independent X, which have m places with these masses, [m].

    Exact: 1 / S^2 is the integral of t exp(-t S) over t > 0. With S = sum_i K(X_i) the mean of each term is a product,

        integral of t [n E[K^2 |G|^2 e^(-tK)] E[e^(-tK)]^(n-1) + n (n-1) |E[K G e^(-tK)]|^2 E[e^(-tK)]^(n-2)] dt.

    Args:
        along: the component of G in the only direction in which it has a mean. square: |G|^2.
    """
    total = torch.zeros(kernel.shape[:-1], dtype=torch.float64)
    for t in LOG_T.exp().tolist():
        damped = torch.exp(-t * kernel) * masses
        log_rest = damped.sum(-1).log()
        own = (damped * kernel.square() * square).sum(-1)
        pair = (damped * kernel * along).sum(-1).square()
        total += t**2 * n * (own * ((n - 1) * log_rest).exp() + (n - 1) * pair * ((n - 2) * log_rest).exp())
        if n * float(log_rest.max()) < -700:
            break
    return float(LOG_T[1] - LOG_T[0]) * total


@lru_cache
def flat_error(k: int, near: int) -> float:
    """E ||eps_n - eps*||^2 on a flat M of dimension k, far from its edges, over its law: near = n rho nsr^k.

    With y_M the projection of x_t, eps_n - eps* is the mean of (y_M - X) / nsr, which has no direction.
    """
    n, share = 10_000 * near, 1e-4  # share = rho nsr^k
    v, weights = legendre(0.0, 9.0, 80)  # v = |X - y_M| / nsr
    masses = share * 2 * math.pi ** (k / 2) / math.gamma(k / 2) * v ** (k - 1) * weights
    masses, v = torch.cat([masses, 1 - masses.sum(0, keepdim=True)]), torch.cat([v, torch.full((1,), 99.0)])
    found = mean_square(n, torch.exp(-v.square() / 2), torch.zeros_like(v), v.square(), masses)
    return float(found) / sample_score_error(k, n, share, 1.0)


@lru_cache
def circle_error(n: int, nsr: float) -> float:
    """E ||eps_n - eps*||^2 on the unit circle, at x_t = x + nsr eps, over the law's."""
    z, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(8))
    radius = torch.hypot(1 + nsr * z[:, None], nsr * z[:4]).flatten()  # [32]; half of the second axis: it is even
    shares = (weights[:, None] * weights[:4]).flatten()
    rules = (legendre(0.0, 10 * nsr, 80), legendre(10 * nsr, math.pi, 80))
    angle, masses = (torch.cat([rule[part] for rule in rules]) for part in (0, 1))  # half of the circle
    y = torch.stack([radius, torch.zeros_like(radius)], -1)
    mean = CIRCLE.denoise(y, 1.0, nsr)[:, :1]
    along = (angle.cos() - mean) / nsr
    square = along.square() + (angle.sin() / nsr).square()
    kernel = torch.exp(-radius[:, None] * (1 - angle.cos()) / nsr**2)
    found = mean_square(n, kernel, along, square, masses / math.pi)
    return float(shares @ found / shares.sum()) / sample_score_error(1, n, DENSITY, nsr)


@lru_cache
def simulated_error(n: int, nsr: float, sets: int) -> tuple[float, float]:
    """E ||eps_n - eps*||^2 on the circle over the law's, and its standard error: over so many sets of n samples.

    Each set serves 16 places of the circle, so far apart that their errors are all but independent.
    """
    generator = torch.Generator().manual_seed(6)
    turns = torch.arange(16, dtype=torch.float64) * 2 * math.pi / 16
    x = torch.stack([turns.cos(), turns.sin()], -1)
    level = Level.variance_exploding(nsr)
    samples = CIRCLE.sample(sets * n, generator, torch.float64).reshape(sets, n, 2)
    y = x + nsr * torch.randn(sets, 16, 2, generator=generator, dtype=torch.float64)
    shares = (-torch.cdist(y, samples).square() / (2 * nsr**2)).softmax(-1)
    gap = (y - shares @ samples) / nsr - eps_model_of(CIRCLE)(y, level)
    means = gap.square().sum(-1).mean(-1) / sample_score_error(1, n, DENSITY, nsr)
    return float(means.mean()), float(means.std()) / math.sqrt(sets)


SIMULATED = ((1000, 100), (50, 1500), (3, 40_000))  # samples, and sets of them; n rho nsr = 16, 0.8 and 0.05


def check_samples(law: Callable[[int, int, float, float], float] = sample_score_error) -> Iterator[Comparison]:
    """Ratios to the law are measured; the argument is what stands in its place."""

    def factor(k: int) -> float:
        return law(k, 1000, 0.1, 0.5) / sample_score_error(k, 1000, 0.1, 0.5)

    for k in (1, 2, 3):
        ratios = torch.tensor([flat_error(k, near) for near in (200, 400, 800)], dtype=torch.float64)
        what = f"flat M, k = {k}: E||eps_n - eps*||^2 over the law's, as n rho nsr^k -> inf"
        yield compare(what, richardson(ratios, 1), factor(k))
        if k < 3:  # in space the term of first order is as small as that of second
            orders = torch.log2((ratios[:-1] - 1) / (ratios[1:] - 1))
            yield compare(f"flat M, k = {k}: order of its distance in 1 / (n rho nsr^k)", richardson(orders, 1), 1.0)
    many = torch.tensor([circle_error(10**7, nsr) for nsr in (0.1, 0.05)], dtype=torch.float64)
    yield compare("a circle, 1e7 samples: the same, as nsr -> 0", richardson(many, 2), factor(1))
    for n, sets in SIMULATED:
        value, error = simulated_error(n, 0.1, sets)
        what = f"a circle, nsr 0.1: simulation of {sets} sets of {n} samples, in units of 1000 standard errors"
        yield compare(what, value, circle_error(n, 0.1) * factor(1), 1000 * error)
    yield compare_at_least(
        "a circle, 50 samples (n rho nsr = 0.8): the law holds no more, the ratio is above 2",
        circle_error(50, 0.1),
        2.0,
    )


def show_samples(axes: Axes) -> None:
    """The error against the number of samples within a noise."""
    near, nsr = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0), 0.1
    counts = [round(a / (DENSITY * nsr)) for a in near]
    laws = [sample_score_error(1, n, DENSITY, nsr) for n in counts]
    exact = [circle_error(n, nsr) * law for n, law in zip(counts, laws, strict=True)]
    found = [simulated_error(n, nsr, 40) for n in counts]
    values = [part[0] * law for part, law in zip(found, laws, strict=True)]
    errors = [2 * part[1] * law for part, law in zip(found, laws, strict=True)]
    axes.errorbar(near, values, errors, fmt="o", color=COLOURS[0], label="a circle, simulated")
    axes.plot(near, exact, color=COLOURS[0], label="a circle, exact")
    axes.plot(near, laws, "--", color=COLOURS[0], label="the law, k = 1")
    flat = (1, 2, 4, 8, 16)
    laws = [sample_score_error(2, a, 1.0, 1.0) for a in flat]
    axes.plot(
        flat, [flat_error(2, a) * law for a, law in zip(flat, laws, strict=True)], color=COLOURS[1], label="a plane"
    )
    axes.plot(flat, laws, "--", color=COLOURS[1], label="the law, k = 2")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=r"$n\rho\,\mathrm{nsr}^k$",
        ylabel=r"$E\|\epsilon_n - \epsilon^*\|^2$",
        title="The score of n samples",
    )


C6 = Claim(
    id="C6",
    title="The score of n samples errs by k / (2 n rho (2 sqrt(pi) nsr)^k): it bounds an interval from below",
    statement=(
        "Let eps_n be the exact eps model of n independent samples of P. At x_t = x + nsr eps, x on M,\n"
        "    E ||eps_n - eps*||^2 = k / (2 n rho (2 sqrt(pi) nsr)^k) (1 + O(1 / n rho nsr^k) + O(nsr^2)).\n"
        "A model that fits n samples perfectly has this error, whatever its size: it grows without bound as nsr -> 0,\n"
        "until n rho nsr^k is about 1 and the score is that of single samples. `optimal_interval` takes its lower end\n"
        "from this, and its upper end from I2, C4 and I3."
    ),
    assumptions=(
        "n rho nsr^k >> 1, nsr small against the reach of M and the scale on which rho varies, x far from edges.",
        "The mean over n samples is an exact single integral, on a line, a plane, in space and on a circle.",
        "A simulation on the circle checks that integral: 100 sets of 1000 samples and 1500 sets of 50.",
    ),
    source=Source("ours", "the variance of a kernel density's gradient (Wand, Jones 1995) on a manifold"),
    tolerance=5e-3,
    why=(
        "The limits are extrapolated from n rho nsr^k of 400 and 800, and from nsr 0.1 and 0.05: 2e-4 is left. The "
        "simulation may be off by 5 standard errors: a true statement fails with probability below 2e-6 over seeds."
    ),
    check=check_samples,
    controls=(
        Control("without the 1/2", {"law": lambda *at: 2 * sample_score_error(*at)}),
        Control(
            "sqrt(2 pi) in the place of 2 sqrt(pi)", {"law": lambda k, *at: 2 ** (k / 2) * sample_score_error(k, *at)}
        ),
        Control("without the k", {"law": lambda k, *at: sample_score_error(k, *at) / k}),
    ),
    picture=show_samples,
)

CLAIMS: tuple[Claim, ...] = (C6,)
