"""Laws of the laws: what holds for whatever the combinators can build, and for every pair of laws in the game.

hypothesis builds the laws, three combinators deep, and shrinks what fails to a small one, printed as the call that
makes it; numbers are tenths, so that it can be read. Bounds on rounding are in units of EPS times the size of what was
rounded; none is fitted to what comes out.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import jacobian

import theory.manifolds
from theory.claims.other_divergences import Circles
from theory.claims.saturation import adversarial_gradient, sharp_bound
from theory.divergences import (
    F_DIVERGENCES,
    Carrier,
    f_divergence,
    jensen_shannon,
    on_common_measure,
    optimal_discriminator,
    singular_mass,
    value,
)
from theory.manifolds import (
    AffineGaussian,
    Arc,
    Box,
    Checkerboard,
    Embedded,
    Gaussians,
    Mixture,
    Product,
    Scaled,
    Segment,
    Sphere,
    Thickened,
    polyline,
    random_isometry,
)

EPS = torch.finfo(torch.float64).eps

# the run-time check of annotations draws at random which numbers of a list it looks at: no harm to what is drawn here
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

# --- Random laws

tenths = st.integers(-20, 20).map(lambda k: k / 10)
lengths = st.integers(1, 20).map(lambda k: k / 10)
factors = st.sampled_from([1.0, 2.0, 0.5, 1.3])
seeds = st.integers(0, 999)
alphas = st.integers(1, 10).map(lambda k: k / 10)
noises = st.integers(-8, 8).map(lambda k: 10 ** (k / 4))  # nsr from 1e-2 to 1e2


def coordinates(dim):
    return st.tuples(*[tenths] * dim)


def weights(count):
    """None, or `count` of them, ratios of small numbers."""
    return st.none() | st.tuples(*[st.integers(1, 9)] * count).map(lambda w: tuple(part / sum(w) for part in w))


def isometries(dim, k):
    turned = seeds.map(lambda seed: random_isometry(dim, k, seed).tolist())
    return st.just([[float(i == j) for j in range(k)] for i in range(dim)]) | turned


@st.composite
def families(draw, dim, thin):
    """Laws made of no others; if `thin`, such whose draws lie on M."""
    kinds = (
        ["points", "segment", "box", "subspace"]
        + ["sphere"] * (dim > 1)
        + ["arc", "checkerboard", "polyline"] * (dim == 2)
    )
    match draw(st.sampled_from(kinds)):
        case "points":
            means = draw(st.lists(coordinates(dim), min_size=1, max_size=3))
            return Gaussians(means, 0.0 if thin else draw(st.just(0.0) | lengths), draw(weights(len(means))))
        case "segment":
            return Segment(*draw(st.lists(coordinates(dim), min_size=2, max_size=2, unique=True)))
        case "box":
            lower = draw(coordinates(dim))
            return Box(lower, [a + draw(lengths) for a in lower])
        case "subspace":  # the axes are independent: below a diagonal that is positive
            rows = range(draw(st.integers(1, dim)))
            axes = [[draw(tenths) if j < i else draw(lengths) if j == i else 0.0 for j in range(dim)] for i in rows]
            return AffineGaussian(draw(coordinates(dim)), axes)
        case "sphere":
            return Sphere(dim, draw(lengths))
        case "arc":
            start = draw(tenths)
            return Arc(draw(lengths), start, start + draw(st.integers(1, 62)) / 10, draw(coordinates(2)))
        case "checkerboard":
            return Checkerboard(draw(st.integers(2, 4)), draw(lengths))
        case "polyline":
            return polyline(draw(st.lists(coordinates(2), min_size=2, max_size=4, unique=True)), draw(st.booleans()))


@st.composite
def laws(draw, dims=(1, 2, 3), depth=3, thin=False):
    """Laws, at most `depth` combinators deep."""
    dim = draw(st.sampled_from(dims))

    def part(dim):
        return laws((dim,), depth - 1, thin)

    kinds = ["family", "scaled", "mixture", "embedded"] + ["thickened"] * (not thin) + ["product"] * (dim > 1)
    match draw(st.sampled_from(kinds if depth > 0 else kinds[:1])):
        case "family":
            return draw(families(dim, thin))
        case "scaled":
            return Scaled(draw(part(dim)), draw(factors))
        case "mixture":
            parts = draw(st.lists(part(dim), min_size=1, max_size=3))
            return Mixture(parts, draw(weights(len(parts))))
        case "embedded":
            k = draw(st.integers(1, dim))
            return Embedded(draw(part(k)), draw(isometries(dim, k)), draw(st.none() | coordinates(dim)))
        case "thickened":
            return Thickened(draw(part(dim)), draw(lengths))
        case "product":
            k = draw(st.integers(1, dim - 1))
            return Product(draw(part(k)), draw(part(dim - k)))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(law, alpha, nsr, seed, n=8):
    """alpha X + sigma eps."""
    x = law.sample(n, torch.Generator().manual_seed(seed), torch.float64)
    return alpha * (x + nsr * normal(n, law.dim, seed=seed + 1))


def near_and_far(law, alpha, nsr, seed):
    """The same, and points at the distances 1, 30 and 1e3 of the origin, before scaling."""
    way = torch.nn.functional.normalize(normal(3, law.dim, seed=seed + 2), dim=-1)
    return torch.cat([near(law, alpha, nsr, seed), alpha * torch.tensor([[1.0], [30.0], [1e3]]) * way])


@cache
def size(law):
    """The largest norm among draws, at least 1."""
    return max(1.0, float(law.sample(300, torch.Generator().manual_seed(0)).norm(dim=-1).max()))


def exponent(law, y, alpha, sigma):
    """What the log densities of the parts of a law are rounded at: the largest |y - alpha x|^2 / sigma^2, or 1."""
    return 1 + ((y.norm(dim=-1) + alpha * size(law)) / sigma) ** 2


def density_slack(law, y, alpha, sigma):
    return 1e-12 + 32 * EPS * exponent(law, y, alpha, sigma)


def mean_slack(law, y, alpha, sigma):
    """That of a change of y by some units in its last place; d x0hat / dy = Cov(X | y) / nsr^2."""
    scale = size(law) + y.norm(dim=-1) / alpha
    return (1e-11 + 64 * EPS * (1 + (alpha * size(law) / sigma) ** 2)) * scale


def differ(a, b):
    """||a - b||, [..., d] -> [...]; |a - b| where there is no last axis of coordinates."""
    return (a - b).norm(dim=-1)


def gradient(law, y, alpha, sigma):
    y = y.clone().requires_grad_()
    return torch.autograd.grad(law.log_density(y, alpha, sigma).sum(), y)[0]


# --- Every law, at every level


@given(law=laws(), alpha=alphas, nsr=st.integers(-12, 12).map(lambda k: 10 ** (k / 4)), seed=seeds)
def test_all_is_finite(law, alpha, nsr, seed):
    for dtype in (torch.float32, torch.float64):
        y = near_and_far(law, alpha, nsr, seed).to(dtype).requires_grad_()
        values = [method(y, alpha, alpha * nsr) for method in (law.log_density, law.denoise, law.score)]
        slopes = torch.autograd.grad([found.sum() for found in values], y)
        for found in (*values, *slopes, law.project(y), law.distance(y)):
            assert found.dtype == dtype
            assert found.isfinite().all()


@settings(max_examples=60)
@given(law=laws(), alpha=alphas, nsr=noises, seed=seeds)
def test_score_is_the_gradient_and_tweedie(law, alpha, nsr, seed):
    y, sigma = near_and_far(law, alpha, nsr, seed), alpha * nsr
    score, exact = law.score(y, alpha, sigma), gradient(law, y, alpha, sigma)
    refined = law.denoise(y, alpha, sigma)
    scale = exact.norm(dim=-1) + 1 / sigma
    assert (differ(score, exact) <= 1e-10 * scale).all()
    rounding = 32 * EPS * (y.norm(dim=-1) + alpha * size(law)) / sigma**2  # of the difference alpha x0hat - y
    assert (differ(score, (alpha * refined - y) / sigma**2) <= 1e-10 * scale + rounding).all()


@given(law=laws(), alpha=alphas, nsr=noises, seed=seeds)
def test_only_the_ratio_of_the_levels_matters(law, alpha, nsr, seed):
    sigma = alpha * nsr
    y = near_and_far(law, alpha, nsr, seed)
    u = y / alpha
    moved = law.log_density(u, 1.0, nsr) - law.dim * math.log(alpha)
    assert ((law.log_density(y, alpha, sigma) - moved).abs() <= density_slack(law, y, alpha, sigma)).all()
    slack = mean_slack(law, y, alpha, sigma)
    assert (differ(law.denoise(y, alpha, sigma), law.denoise(u, 1.0, nsr)) <= slack).all()
    assert (differ(law.score(y, alpha, sigma), law.score(u, 1.0, nsr) / alpha) <= alpha * slack / sigma**2).all()


@given(law=laws(), alpha=alphas, levels=st.lists(noises, min_size=2, max_size=3), seed=seeds)
def test_levels_together_are_levels_one_by_one(law, alpha, levels, seed):
    y = near(law, alpha, 1.0, seed, n=3)
    sigma = alpha * torch.tensor(levels, dtype=torch.float64)[:, None]
    for name, slack in (("log_density", density_slack), ("denoise", mean_slack)):
        method = getattr(law, name)
        for row, at in zip(method(y, alpha, sigma), sigma[:, 0].tolist(), strict=True):
            alone = torch.stack([method(point, alpha, at) for point in y])
            error = differ(row, alone) if name == "denoise" else (row - alone).abs()
            assert (error <= slack(law, y, alpha, at)).all()


def farthest(law, way):
    """sup of <x, u> over x in M, for unit vectors u: M's nearest point to t u, t -> infinity, is off by |M|^2 / 2t."""
    return (law.project(1e8 * way) * way).sum(-1) + 1e-4


@settings(max_examples=60)
@given(law=laws(thin=True), nsr=noises, seed=seeds)
def test_the_posterior_mean_is_in_the_convex_hull(law, nsr, seed):
    """There is no direction in which it is beyond M."""
    y = near_and_far(law, 1.0, nsr, seed)
    way = torch.nn.functional.normalize(normal(50, law.dim, seed=seed + 3), dim=-1)
    beyond = law.denoise(y, 1.0, nsr) @ way.T - farthest(law, way)
    assert (beyond <= mean_slack(law, y, 1.0, nsr)[:, None]).all()


@given(law=laws(), nsr=noises, seed=seeds)
def test_float32_agrees_with_float64(law, nsr, seed):
    y = near(law, 1.0, nsr, seed).float()
    eps, reach = torch.finfo(torch.float32).eps, size(law)
    scale = y.double().norm(dim=-1) + reach
    moved = 16 * eps * scale  # what roundings may amount to, as a change of y
    wide, narrow = (law.denoise(x, 1.0, nsr).double() for x in (y.double(), y))
    # the derivative of x0hat is Cov(X | y) / nsr^2
    assert (differ(wide, narrow) <= moved * (1 + (reach / nsr) ** 2)).all()
    wide, narrow = (law.log_density(x, 1.0, nsr).double() for x in (y.double(), y))
    assert ((wide - narrow).abs() <= 16 * eps * (1 + wide.abs()) + moved * (scale / nsr**2)).all()


@given(law=laws(), nsr=st.integers(-2, 8).map(lambda k: 10 ** (k / 4)), seed=seeds)
def test_the_slope_of_the_posterior_mean_is_its_covariance(law, nsr, seed):
    """nsr^2 d x0hat / dy = Cov(X | y): symmetric, positive, and by two derivatives of log p_t as well."""
    for y in near(law, 1.0, nsr, seed, n=2):
        slope = jacobian(lambda y: law.denoise(y, 1.0, nsr), y)
        hessian = torch.autograd.functional.hessian(lambda y: law.log_density(y, 1.0, nsr), y)
        slack = 1e-8 * (1 + (size(law) / nsr) ** 2)
        assert (slope - slope.T).abs().max() <= slack
        assert torch.linalg.eigvalsh((slope + slope.T) / 2).min() >= -slack
        assert (slope - torch.eye(law.dim) - nsr**2 * hessian).abs().max() <= slack


@settings(max_examples=10)
@given(law=laws(), nsr=st.sampled_from([1.0, 0.3, 3.0]), seed=seeds)
def test_it_differentiates_twice(law, nsr, seed):
    y = near(law, 0.8, nsr, seed, n=2).requires_grad_()
    for method in (law.log_density, law.denoise):
        assert gradcheck(lambda y, method=method: method(y, 0.8, 0.8 * nsr), y, fast_mode=True)
        assert gradgradcheck(lambda y, method=method: method(y, 0.8, 0.8 * nsr), y, fast_mode=True)


@settings(max_examples=60)
@given(law=laws(), nsr=st.sampled_from([1.0, 0.3, 0.1, 3.0]), seed=seeds)
def test_the_density_is_that_of_the_draws(law, nsr, seed):
    """E exp(-|y - X|^2 / 2 nsr^2) over draws of X, which Hoeffding's inequality bounds.

    The mean of 20000 numbers in [0, 1] is off by more than 0.025 with probability below 3e-11.
    """
    y = near(law, 1.0, nsr, seed, n=3)
    draws = law.sample(20_000, torch.Generator().manual_seed(seed + 5), torch.float64)
    mean = torch.exp(-torch.cdist(y, draws).square() / (2 * nsr**2)).mean(-1)
    log_density = law.log_density(y, 1.0, nsr) + law.dim / 2 * math.log(2 * math.pi * nsr**2)
    assert (log_density.exp() - mean).abs().max() < 0.025


# --- The manifold


@given(law=laws(), seed=seeds)
def test_projection_is_idempotent_and_nearest(law, seed):
    x = near_and_far(law, 1.0, 1.0, seed)
    nearest, distance = law.project(x), law.distance(x)
    slack = 1e-12 * (size(law) + x.norm(dim=-1))
    assert (differ(law.project(nearest), nearest) <= slack).all()
    assert ((distance - differ(x, nearest)).abs() <= slack).all()
    on_manifold = law.project(law.sample(500, torch.Generator().manual_seed(seed + 6), torch.float64))
    assert (distance <= torch.cdist(x, on_manifold).min(-1).values + slack).all()


@given(law=laws(thin=True), seed=seeds)
def test_draws_lie_on_the_manifold(law, seed):
    x = law.sample(100, torch.Generator().manual_seed(seed), torch.float64)
    assert (law.distance(x) <= 1e-13 * size(law) * (1 + law.dim)).all()


# --- What the combinators mean: the law of the variable that they define, at any alpha and sigma


@given(law=laws(), factor=factors, alpha=alphas, nsr=noises, seed=seeds)
def test_scaled(law, factor, alpha, nsr, seed):
    """alpha c X + sigma eps = c (alpha X + (sigma / c) eps)."""
    is_scaled(Scaled(law, factor), law, factor, alpha, nsr, seed)


def is_scaled(scaled, law, factor, alpha, nsr, seed):
    y, sigma = near_and_far(scaled, alpha, nsr, seed), alpha * nsr
    log_density = law.log_density(y / factor, alpha, sigma / factor) - law.dim * math.log(factor)
    assert ((scaled.log_density(y, alpha, sigma) - log_density).abs() <= density_slack(scaled, y, alpha, sigma)).all()
    mean = factor * law.denoise(y / factor, alpha, sigma / factor)
    assert (differ(scaled.denoise(y, alpha, sigma), mean) <= mean_slack(scaled, y, alpha, sigma)).all()


@given(law=laws((2,), 2), turn=isometries(4, 2), offset=coordinates(4), alpha=alphas, nsr=noises, seed=seeds)
def test_embedded(law, turn, offset, alpha, nsr, seed):
    """alpha (B X + b) + sigma eps has the part B^T (y - alpha b) along the subspace, and noise alone across."""
    embedded = Embedded(law, turn, offset)
    y, sigma = near_and_far(embedded, alpha, nsr, seed), alpha * nsr
    basis, offset = torch.tensor(turn, dtype=torch.float64), torch.tensor(offset, dtype=torch.float64)
    z = (y - alpha * offset) @ basis
    across = y - alpha * offset - z @ basis.T
    noise = -(across / sigma).square().sum(-1) / 2 - 2 / 2 * math.log(2 * math.pi * sigma**2)
    error = embedded.log_density(y, alpha, sigma) - law.log_density(z, alpha, sigma) - noise
    assert (error.abs() <= density_slack(embedded, y, alpha, sigma)).all()
    mean = law.denoise(z, alpha, sigma) @ basis.T + offset
    assert (differ(embedded.denoise(y, alpha, sigma), mean) <= mean_slack(embedded, y, alpha, sigma)).all()


@given(law=laws(), tau=lengths, alpha=alphas, nsr=noises, seed=seeds)
def test_thickened(law, tau, alpha, nsr, seed):
    """alpha (X + tau eps') + sigma eps = alpha X + s eps'', s^2 = sigma^2 + alpha^2 tau^2; its mean by Tweedie."""
    thick = Thickened(law, tau)
    y, sigma = near_and_far(thick, alpha, nsr, seed), alpha * nsr
    wide = math.hypot(sigma, alpha * tau)
    error = thick.log_density(y, alpha, sigma) - law.log_density(y, alpha, wide)
    assert (error.abs() <= density_slack(law, y, alpha, wide)).all()
    mean = (y + sigma**2 * law.score(y, alpha, wide)) / alpha
    assert (differ(thick.denoise(y, alpha, sigma), mean) <= mean_slack(thick, y, alpha, wide)).all()


@given(left=laws((1,), 2), right=laws((2,), 2), alpha=alphas, nsr=noises, seed=seeds)
def test_product(left, right, alpha, nsr, seed):
    product, sigma = Product(left, right), alpha * nsr
    y = near_and_far(product, alpha, nsr, seed)
    a, b = y[:, :1], y[:, 1:]
    error = (
        product.log_density(y, alpha, sigma) - left.log_density(a, alpha, sigma) - right.log_density(b, alpha, sigma)
    )
    assert (error.abs() <= density_slack(product, y, alpha, sigma)).all()
    mean = torch.cat([left.denoise(a, alpha, sigma), right.denoise(b, alpha, sigma)], -1)
    assert (differ(product.denoise(y, alpha, sigma), mean) <= mean_slack(product, y, alpha, sigma)).all()


@given(parts=st.lists(laws((2,), 2), min_size=2, max_size=2), tenth=st.integers(1, 9), nsr=noises, seed=seeds)
def test_mixture(parts, tenth, nsr, seed):
    weights = torch.tensor([tenth / 10, 1 - tenth / 10], dtype=torch.float64)
    mixture = Mixture(parts, weights.tolist())
    y = near_and_far(mixture, 1.0, nsr, seed)
    terms = torch.stack([law.log_density(y, 1.0, nsr) for law in parts], -1) + weights.log()
    error = mixture.log_density(y, 1.0, nsr) - terms.logsumexp(-1)
    assert (error.abs() <= density_slack(mixture, y, 1.0, nsr)).all()
    shares = terms.softmax(-1)
    mean = sum(shares[:, k : k + 1] * law.denoise(y, 1.0, nsr) for k, law in enumerate(parts))
    # shares by log densities are off by as much as those round, unlike the shares of Mixture itself
    slack = mean_slack(mixture, y, 1.0, nsr) + density_slack(mixture, y, 1.0, nsr) * size(mixture)
    assert (differ(mixture.denoise(y, 1.0, nsr), mean) <= slack).all()


# --- A counterexample can be read


PUBLIC = {name: getattr(theory.manifolds, name) for name in theory.manifolds.__all__} | {"inf": math.inf}


@settings(max_examples=100)
@given(law=laws(), seed=seeds)
def test_repr_is_the_call_that_makes_the_law(law, seed):
    twin = eval(repr(law), PUBLIC)
    y = near(law, 1.0, 0.3, seed)
    assert repr(twin) == repr(law)
    assert torch.equal(twin.log_density(y, 1.0, 0.3), law.log_density(y, 1.0, 0.3))


def test_a_float_of_numpy_is_printed_plainly():
    number = np.float64(2.5)
    for law in (Scaled(Sphere(2), number), Thickened(Sphere(2), number), Sphere(2, number), Gaussians([(number,)])):
        assert repr(eval(repr(law), PUBLIC)) == repr(law)


class Forgetful(Scaled):
    """A wrong law: the Jacobian of the scaling is left out of its density."""

    def _log_density(self, y, nsr):
        return self.law._log_density(y / self.factor, nsr / self.factor)


def test_what_fails_shrinks_to_a_call_that_can_be_read_and_run():
    @settings(database=None, phases=[Phase.generate, Phase.shrink])
    @given(law=st.builds(Forgetful, laws(depth=1), factors), alpha=alphas, nsr=noises, seed=seeds)
    def test(law, alpha, nsr, seed):
        is_scaled(law, law.law, law.factor, alpha, nsr, seed)

    with pytest.raises(AssertionError) as failed:
        test()
    message = failed.value.__notes__[0]
    call = message[message.index("test(") :]
    found = eval(call, PUBLIC | {"Forgetful": Forgetful, "test": dict})  # the arguments by name
    law = found.pop("law")
    assert repr(law.law) in message
    assert not isinstance(law.law, (Embedded, Mixture, Product, Scaled, Thickened))
    with pytest.raises(AssertionError):
        is_scaled(law, law.law, law.factor, **found)


# --- The game: pairs of laws with atoms, on a curve and in a region, and mass of one where the other has none

CELLS = [
    Carrier(torch.ones(3).double()),
    Carrier(torch.tensor([0.2, 1.0, 0.5]).double()),
    Carrier(torch.full((4,), 0.25).double()),
]
MU = torch.cat([carrier.weight for carrier in CELLS])
LOG2 = math.log(2)


@st.composite
def densities(draw):
    """A density on the three atoms, the three arcs and the four squares, from ten small masses: [10]."""
    masses = draw(st.lists(st.integers(0, 5), min_size=10, max_size=10).filter(any))
    return torch.tensor(masses, dtype=torch.float64) / sum(masses) / MU


def as_measure(density):
    """The density, carrier by carrier."""
    parts = density.split([len(carrier.weight) for carrier in CELLS])
    return dict(zip(CELLS, parts, strict=True))


def game(p, q):
    return value(optimal_discriminator(p, q), p, q, MU)


@given(p=densities(), q=densities())
def test_s1_the_value_is_a_divergence(p, q):
    left = on_common_measure(as_measure(p), as_measure(q))
    assert all(torch.equal(*pair) for pair in zip(left, (p, q, MU), strict=True))
    assert float(game(p, q)) == pytest.approx(2 * float(jensen_shannon(p, q, MU)) - 2 * LOG2, abs=1e-13)
    other = optimal_discriminator(p, (p + q) / 2)  # no discriminator is better than D*
    assert float(value(other, p, q, MU)) <= float(game(p, q)) + 1e-13


@given(p=densities(), q=densities(), r=densities())
def test_s2_and_s4_what_is_off_the_support_can_go_anywhere_off_it(p, q, r):
    """The mass of Q off P is laid out as that of another law R; of V and of every D_f nothing changes."""
    off = p == 0
    assume(bool((q[off] > 0).any()) and bool((r[off] > 0).any()))
    m = singular_mass(p, q, MU)
    moved = torch.where(off, m * r / (MU[off] @ r[off]), q)
    assert float(game(p, moved)) == pytest.approx(float(game(p, q)), abs=1e-13)
    for name, f in F_DIVERGENCES.items():
        on_part = f_divergence(f, p[~off], q[~off], MU[~off])
        for law in (q, moved):
            assert float(f_divergence(f, p, law, MU)) == pytest.approx(float(on_part) + float(m) * f.at_zero), name


@given(off=st.floats(1e-11, 2), turn=tenths)
def test_s2_no_gradient_off_the_support(off, turn):
    """Off the circle it is exactly 0, as near to it as 1e-11, outside and inside; on it, it is not."""
    way = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    for radius in (1 + off, 1 - off / 2, 1 + 1e-11, 1 - 1e-11):
        assert adversarial_gradient(radius * way).tolist() == [0, 0]
    assert adversarial_gradient(way).norm() > 1e-3


@given(p=densities(), q=densities())
def test_s3_the_least_that_mass_off_the_support_costs(p, q):
    """V = B(m) + (2 - m) JSD_s(P, Q_on): at least B(m), which Q_on = P attains and nothing else."""
    m = singular_mass(p, q, MU)
    v, bound = float(game(p, q)), float(sharp_bound(m))
    assert v >= bound - 1e-13
    if m > 1 - 1e-12:
        assert v == pytest.approx(0, abs=1e-13)
        return
    on = torch.where(p > 0, q, 0) / (1 - m)
    excess = (2 - m) * jensen_shannon(p, on, MU, share=1 / (2 - float(m)))
    assert v == pytest.approx(bound + float(excess), abs=1e-13)
    assert (v > bound + 1e-10) == bool((on - p).abs().max() > 1e-9)
    off = torch.where(p == 0, q, 0)
    assert float(game(p, (1 - m) * p + off)) == pytest.approx(bound, abs=1e-13)


# --- S8: circles, whatever they are, after a random rigid motion of one of them


@st.composite
def circles(draw, dim):
    """One circle in R^dim, in a plane of two of the axes or in a random one."""
    turn = torch.tensor(draw(isometries(dim, 2)), dtype=torch.float64)
    centre = torch.tensor([draw(coordinates(dim))], dtype=torch.float64)
    return Circles(centre, torch.tensor([draw(lengths)], dtype=torch.float64), turn[None, :, 0], turn[None, :, 1])


def copies(circle, n):
    return Circles(*[part.expand(n, *part.shape[1:]) for part in vars(circle).values()])


def moved(circle, n, seed):
    """n copies of a circle, each turned at random and shifted by a point of [-1, 1]^d."""
    circle, dim = copies(circle, n), circle.c.shape[-1]
    turn = torch.stack([random_isometry(dim, dim, 1000 * seed + k) for k in range(n)])
    shift = 2 * torch.rand(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
    c, u, v = (torch.einsum("nij,nj->ni", turn, part) for part in (circle.c, circle.u, circle.v))
    return Circles(c + shift, circle.r, u, v)


def points_at(circle, angle):
    """[n], [n, m] -> [n, m, d]"""
    turn = torch.cos(angle)[..., None] * circle.u[:, None] + torch.sin(angle)[..., None] * circle.v[:, None]
    return circle.c[:, None] + circle.r[:, None, None] * turn


def crossings(first, second):
    """Where `first` meets the plane of `second` in R^3, or `second` itself in R^2: at two points or none.

    Either way a cos t + b sin t = c for the points of `first`.   -> whether they are real [n], the points [n, 2, d]
    """
    gap, u, v = second.c - first.c, first.r[:, None] * first.u, first.r[:, None] * first.v
    if gap.shape[-1] == 3:
        normal = torch.linalg.cross(second.u, second.v)
        a, b, c = ((normal * part).sum(-1) for part in (u, v, gap))
    else:
        a, b = ((gap * part).sum(-1) for part in (u, v))
        c = (gap.square().sum(-1) + first.r.square() - second.r.square()) / 2
    half = torch.acos((c / torch.hypot(a, b)).clamp(-1, 1))
    return c.abs() < torch.hypot(a, b), points_at(first, torch.atan2(b, a)[:, None] + torch.stack([half, -half], -1))


def beside(circle, points):
    """How far points in the plane of the circle are from it; below 0 inside.   [n, m, d] -> [n, m]"""
    return (points - circle.c[:, None]).norm(dim=-1) - circle.r[:, None]


@given(first=circles(3), second=circles(3), seed=seeds)
def test_s8_in_space_circles_do_not_meet(first, second, seed):
    """25 examples of 32 pairs; a pair comes within 1e-9 with probability below 4e-8: all in all 3e-5 at most."""
    first, second = copies(first, 32), moved(second, 32, seed)
    real, points = crossings(first, second)
    assert (beside(second, points)[real].abs() > 1e-9).all()
    # and those that do meet are seen to: the same circles, shifted until they share a point
    shift = points_at(first, torch.zeros(32, 1).double())[:, 0] - points_at(second, torch.ones(32, 1).double())[:, 0]
    touching = Circles(second.c + shift, second.r, second.u, second.v)
    real, points = crossings(first, touching)
    assert (beside(touching, points).abs().amin(-1)[real] < 1e-6).all()
    assert real.sum() > 16


@given(first=circles(2), second=circles(2), seed=seeds)
def test_s8_in_the_plane_circles_meet_in_finitely_many_points(first, second, seed):
    first, second = copies(first, 32), moved(second, 32, seed)
    real, points = crossings(first, second)
    assert (beside(second, points)[real].abs() < 1e-6).all()
    inside = beside(second, points_at(first, torch.linspace(0, 2 * math.pi, 721).double()[None, :-1])) < 0
    changes = (inside != inside.roll(1, -1)).sum(-1)
    assert (changes == 2 * real).all()
