"""The divergences of noised laws against closed forms and quadrature, with near misses that must be told apart.

The estimates are means over draws: a z-score bound of 4.4 rejects a true statement once in 1e5.
"""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from theory.manifolds import Gaussians, Law, Sphere, make
from toy import noised
from toy.metrics import floor
from toy.noised import LEVELS, NAMES, divergences, kl_model_real, log_mixture

SEEDS, N = 16, 256
CIRCLE = Sphere(2)


@pytest.fixture(autouse=True, scope="module")
def few_draws():
    """So many seeds at 1024 draws would take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noised, "DRAWS", N)
        yield


def found(law: Law, x: Tensor) -> dict[str, Tensor]:
    """The divergences of samples that are the same for all seeds, [n, d]."""
    return divergences(law, x.expand(SEEDS, -1, -1), range(SEEDS))


def z_score(values: Tensor, expected: float) -> float:
    return abs(values.mean().item() - expected) / (values.std().item() / math.sqrt(len(values)))


def gaussian_kl(m: float, v: float, n: float, w: float) -> float:
    """KL(N(m, v) || N(n, w))."""
    return (v / w + (m - n) ** 2 / w - 1 + math.log(w / v)) / 2


def integral(f: Callable[[float], float], low: float, high: float, *breaks: float) -> float:
    return quad(f, low, high, points=breaks, limit=500, epsabs=1e-10)[0]


def both(law: Law, x: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """(level, KL(Q_t || P_t), KL(P_t || Q_t)) a level."""
    values = found(law, x)
    return [(f"{s:g}", values[f"kl_model_real_{s:g}"], values[f"kl_real_model_{s:g}"]) for s in LEVELS]


# One Gaussian against another: n samples in one place are N(m, nsr^2) when noised, for every n


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.5, 0.3), (0.5, 1.0)])
def test_one_place_against_a_gaussian(mean: float, std: float) -> None:
    """Direction and normalisation, at every level; exchanged directions are the near miss."""
    law = Gaussians([(0.0,)], std=std)
    for nsr, (_, model, real) in zip(LEVELS, both(law, torch.full((N, 1), mean)), strict=True):
        v, w = nsr**2, std**2 + nsr**2
        assert z_score(model, gaussian_kl(mean, v, 0, w)) < 4.4
        assert z_score(real, gaussian_kl(0, w, mean, v)) < 4.4
        if nsr < 0.5:
            assert z_score(model, gaussian_kl(0, w, mean, v)) > 4.4
            assert z_score(real, gaussian_kl(mean, v, 0, w)) > 4.4


@pytest.mark.parametrize("dim", [1, 2, 16])
def test_the_mixture_is_normalised(dim: int) -> None:
    """One place: a normal density; without d/2 log(2 pi nsr^2) it would be off by that."""
    x, y = torch.full((3, dim), 0.7).double(), torch.randn(5, dim).double()
    for nsr in LEVELS:
        exact = torch.distributions.Normal(x[0], nsr).log_prob(y).sum(-1)
        assert torch.allclose(log_mixture(y, x, nsr), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (7, 2), (300, 3), (1500, 16)])
def test_the_mixture_against_its_formula(n: int, dim: int) -> None:
    """Through several blocks, and the last of them partly filled."""
    generator = torch.Generator().manual_seed(n)
    x, y = (torch.randn(k, dim, generator=generator, dtype=torch.float64) for k in (n, 2 * noised.BLOCK + 3))
    for nsr in LEVELS:
        component = torch.distributions.Normal(x, nsr).log_prob(y[:, None]).sum(-1)
        assert torch.allclose(log_mixture(y, x, nsr), component.logsumexp(-1) - math.log(n), rtol=1e-9, atol=1e-6)


# Several places


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_two_points_of_other_weights(share: float) -> None:
    """Real: half the mass at 0, half at 1. KL(Q_t || P_t) tends to log 2 for one point; both by quadrature."""
    law = Gaussians([(0.0,), (1.0,)])
    x = torch.zeros(N, 1)
    x[: int(share * N)] = 1

    def density(y: float, weight: float, nsr: float) -> float:
        bells = [math.exp(-((y - m) ** 2) / (2 * nsr**2)) for m in (0, 1)]
        return ((1 - weight) * bells[0] + weight * bells[1]) / (nsr * math.sqrt(2 * math.pi))

    def kl(a: float, b: float, nsr: float) -> float:
        def integrand(y: float) -> float:
            p, q = density(y, a, nsr), density(y, b, nsr)
            return p * math.log(p / q)

        return integral(integrand, -8 * nsr, 1 + 8 * nsr, 0.0, 0.5, 1.0)

    for nsr, (_, model, real) in zip(LEVELS, both(law, x), strict=True):
        if share == 0.5:  # equal laws, draw for draw
            assert model.abs().max() < 1e-5
            assert real.abs().max() < 1e-5
            continue
        assert z_score(real, kl(0.5, share, nsr)) < 4.4
        assert model.mean().item() == pytest.approx(kl(share, 0.5, nsr), abs=4.4 * deviation(model) + 1e-6)
    if share == 0.0:
        small = both(law, x)[0][1]
        assert small.mean().item() == pytest.approx(math.log(2), abs=1e-6)


def deviation(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values))


def test_draws_are_stratified() -> None:
    """One draw of each Gaussian: where they are far apart, log q_t has no variance but that of the noise's length."""
    x = 100 * torch.arange(N).double()[:, None]
    eps = torch.randn(N, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law = Gaussians([(float(v),) for v in x[:, 0]])
    assert kl_model_real(law, x, eps, 0.05).abs() < 1e-6  # any other choice of y would leave weights out


@pytest.mark.parametrize("dim", [2, 16])
def test_a_shifted_ring(dim: int) -> None:
    """Q: N points evenly on the circle shifted by 0.5; noised at 0.2 and more they are the shifted ring to 1e-6.

    Integrals in the plane, in coordinates about the ring that is drawn from; in R^16 the noise of the other axes is
    the same for both and adds nothing.
    """
    law = make("ring", dim=dim)
    angle = torch.arange(N).double() * (2 * math.pi / N)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    shift = torch.tensor([0.5, 0.0]).double()
    x = torch.zeros(N, dim).double()
    basis = plane(law)
    x[:] = (circle + shift) @ basis
    for nsr, (_, model, real) in list(zip(LEVELS, both(law, x), strict=True))[1:]:
        assert z_score(model, ring_kl(nsr, -shift)) < 4.4
        assert z_score(real, ring_kl(nsr, shift)) < 4.4
        assert z_score(model, ring_kl(nsr, 1.2 * shift)) > 4.4  # near miss: shifted by 0.6


def plane(law: Law) -> Tensor:
    """Orthonormal rows of the plane that the ring lies in."""
    sample = law.sample(64, torch.Generator().manual_seed(0), torch.float64)
    return torch.linalg.svd(sample, full_matrices=False).Vh[:2]


def ring_kl(nsr: float, shift: Tensor) -> float:
    """E_{y ~ P_t} log p_t(y) - log p_t(y - shift), P_t the noised circle, on a polar grid."""
    radius, angle = torch.linspace(0, 1 + 8 * nsr, 401).double(), torch.arange(64).double() * (2 * math.pi / 64)
    y = radius[1:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    log_p, log_q = CIRCLE.log_density(y, 1.0, nsr), CIRCLE.log_density(y - shift, 1.0, nsr)
    area = radius[1:, None] * (radius[1] - radius[0]) * (2 * math.pi / 64)
    return ((log_p.exp() * area) * (log_p - log_q)).sum().item()


# Equal laws, and samples that are far away


@pytest.mark.parametrize("name", ["ring", "8-ring"])
def test_another_real_sample_has_the_floor(name: str) -> None:
    law = make(name)
    known, generator = floor(law, N, SEEDS), torch.Generator().manual_seed(5)
    x = torch.stack([law.sample(N, generator) for _ in range(SEEDS)])
    values = divergences(law, x, range(1000, 1000 + SEEDS))
    for metric in NAMES:
        noise = math.hypot(deviation(values[metric]), deviation(known[metric]))
        assert abs(values[metric].mean() - known[metric].mean()) < 4.4 * noise
    near = "kl_real_model_0.05"  # near miss: samples 0.03 outside
    assert divergences(law, 1.03 * x, range(1000, 1000 + SEEDS))[near].mean() > 1.1 * known[near].mean()


@pytest.mark.parametrize("distance", [1e6, 1e15])
def test_samples_far_away_have_large_finite_values(distance: float) -> None:
    """Noise and the ring are nothing beside it: distance^2 / (2 nsr^2)."""
    x = torch.tensor([[distance, 0.0]]).expand(N, 2).float()
    for nsr, (_, model, real) in zip(LEVELS, both(CIRCLE, x), strict=True):
        exact = torch.tensor(x[0, 0].item() ** 2 / (2 * nsr**2)).double()
        assert torch.allclose(model, exact, rtol=1e-4)
        assert torch.allclose(real, exact, rtol=1e-4)
        assert (model.float().isfinite() & real.float().isfinite()).all()


def test_one_sample_far_away_leaves_the_others_their_value() -> None:
    """KL(P_t || Q_t) of N - 1 good samples and one at 1e6: the mixture loses one part in N of its mass."""
    x = CIRCLE.sample(N, torch.Generator().manual_seed(0))
    away = x.clone()
    away[-1, 0] = 1e6
    for (_, model, real), (_, far, there) in zip(both(CIRCLE, x[:-1]), both(CIRCLE, away), strict=True):
        assert there.isfinite().all()
        assert far.mean() > 1e8
        assert real.isfinite().all()
        assert model.isfinite().all()
    few, all_but_one = (divergences(CIRCLE, v[None, : N - 1], [0]) for v in (x, away))
    assert all(torch.equal(few[name], all_but_one[name]) for name in NAMES)


def test_collapse_is_seen_by_one_direction_more_than_by_the_other() -> None:
    """Half of the ring: KL(P_t || Q_t) counts what is missing; KL(Q_t || P_t) tends to log 2."""
    x = CIRCLE.sample(N, torch.Generator().manual_seed(0))
    x[:, 0] = x[:, 0].abs()
    _, model, real = both(CIRCLE, x)[0]
    assert abs(model.mean() - math.log(2)) < 0.1
    assert real.mean() > 5


def test_draws_are_those_of_the_seed() -> None:
    """The values of a seed do not hang on the seeds beside it."""
    x = torch.stack([CIRCLE.sample(N, torch.Generator().manual_seed(s)) for s in (0, 0, 1)])
    several = divergences(CIRCLE, x, [3, 4, 3])
    alone = divergences(CIRCLE, x[2:], [3])
    for name in NAMES:
        assert several[name][2] == alone[name][0]
        assert several[name][0] != several[name][1]
