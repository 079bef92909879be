"""Every metric on pairs of laws whose distance is known in closed form, with near misses that must be told apart.

Statistical checks are seeded; a z-score bound of 4.4 rejects a true statement once in 1e5.
"""

import math

import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist, pdist
from torch import Tensor

from theory.manifolds import Gaussians, Sphere, make, names
from toy import metrics
from toy.metrics import FINAL, METRICS, Cells, Reference, evaluate, floor

SEEDS, N = range(4), 2048
CIRCLE = Sphere(2)
RING8 = Gaussians([(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)], std=0.1)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(CIRCLE, SEEDS, N)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(law=CIRCLE, seeds: int = len(SEEDS), n: int = N) -> Tensor:
    return torch.stack([law.sample(n, seeded(seed)) for seed in range(seeds)])


def z_score(values: Tensor, expected: float) -> float:
    return abs(values.mean().item() - expected) / (values.std().item() / math.sqrt(len(values)))


# Cells


def test_cells_of_equal_laws_are_computed_once() -> None:
    """A sweep makes its law anew for every job; the control is another law."""
    known = metrics.cells_of(make("ring", dim=3), 8)
    hits = metrics.cells_of.cache_info().hits
    assert metrics.cells_of(make("ring", dim=3), 8) is known
    assert metrics.cells_of.cache_info().hits == hits + 1
    assert metrics.cells_of(make("ring", dim=3, thickness=0.1), 8) is not known


def test_cells_of_a_circle_are_equal_arcs(reference):
    angle = torch.atan2(reference.cells.centres[:, 1], reference.cells.centres[:, 0]).sort().values
    gaps = torch.cat([angle.diff(), angle[:1] + 2 * math.pi - angle[-1:]]) * 64 / (2 * math.pi)
    assert len(gaps) == 64
    # 1024 points a cell guide Lloyd's iteration, a density noise of 3 % a cell; 6 % is the largest of 64 seen
    assert (gaps - 1).abs().max() < 0.1
    assert (64 * reference.cells.masses - 1).abs().max() < 0.1
    assert reference.cells.masses.sum() == pytest.approx(1, abs=1e-6)
    assert (CIRCLE.distance(reference.cells.centres) < 1e-6).all()


@pytest.mark.parametrize("name", ["segment", "box", "sphere"])
def test_cells_of_a_uniform_law_are_nearly_even(name):
    # 25 % off the even mass is the most seen; farthest-point selection alone is off by 50 to 90 % on segment and box
    assert (64 * Cells.of(make(name)).masses - 1).abs().max() < 0.4


def test_masses_are_those_of_a_new_sample(reference):
    counts = torch.bincount(reference.cells.index(CIRCLE.sample(2**17, seeded(99))), minlength=64)

    def p_value(masses: Tensor) -> float:  # two multinomials, 2^17 and 2^18 draws
        chi2 = ((counts / 2**17 - masses) ** 2 / masses).sum() / (2**-17 + 2**-18)
        return stats.chi2.sf(chi2.item(), 63)

    masses = reference.cells.masses
    assert p_value(masses) > 1e-5  # a true statement is rejected once in 1e5
    assert p_value(masses * (1 + 0.04 * (-1) ** torch.arange(64))) < 1e-5  # control: wrong by 4 %


@pytest.mark.parametrize("std", [0.0, 0.1])
def test_a_mixture_has_a_cell_for_each_mean(std):
    weights = [0.5, 0.3, 0.15, 0.05]
    law = Gaussians([(0.0, 0.0, 1.0), (2.0, 0.0, 1.0), (0.0, 3.0, 1.0), (4.0, 4.0, 1.0)], std, weights)
    cells = Cells.of(law)
    assert cells.centres.shape == (4, 3)
    order = cells.masses.argsort(descending=True)
    assert torch.allclose(cells.centres[order], torch.tensor(law.means), atol=1e-6)
    # 2^18 draws: a standard error of at most .001; 4.4 of them
    assert torch.allclose(cells.masses[order], torch.tensor(weights), atol=4.4e-3)


def test_cells_are_the_same_at_every_call(reference):
    again = Cells.of(CIRCLE)
    assert torch.equal(again.centres, reference.cells.centres)
    assert torch.equal(again.masses, reference.cells.masses)


def test_points_that_rounding_alone_tells_apart_are_one_centre():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1e-6], [-1e-6, 0.0]])
    assert len(metrics._spread_out(points, 64)) == 2
    assert len(metrics._spread_out(1000 * points, 64)) == 4


def test_cells_are_at_most_count():
    assert len(Cells.of(RING8, count=3).masses) == 3
    with pytest.raises(ValueError, match="count must be at least 1; given 0"):
        Cells.of(RING8, count=0)


# Distance to the manifold


@pytest.mark.parametrize(
    ("radius", "off"), [(1.0, 0.0), (0.9502, 0.0), (1.0498, 0.0), (0.9498, 1.0), (1.0502, 1.0), (9.0, 1.0)]
)
def test_a_circle_of_another_radius(reference, radius, off):
    values = evaluate(CIRCLE, radius * fresh(), reference)
    assert torch.allclose(values["mean_distance"], torch.tensor(abs(radius - 1)), atol=1e-6)
    assert (values["off_manifold"] == off).all()


def test_the_noise_of_the_law_itself_is_not_off_the_manifold():
    reference = Reference.of(RING8, SEEDS, N)
    # the distance to the mean is 0.1 chi_2; its 99 % quantile from 2^14 draws has a standard error of .0016
    exact = 0.1 * math.sqrt(stats.chi2.ppf(0.99, 2))
    assert reference.threshold == pytest.approx(0.05 + exact, abs=4.4 * 0.0016)
    beyond = math.exp(-(reference.threshold**2) / 0.02)  # P(0.1 chi_2 > threshold), about .002
    real = evaluate(RING8, fresh(RING8), reference)["off_manifold"].mean()
    assert abs(real - beyond) < 4.4 * math.sqrt(beyond / (N * len(SEEDS)))
    # near miss: noise half as large again
    wider = Gaussians(RING8.means, std=0.15)
    assert evaluate(RING8, fresh(wider), reference)["off_manifold"].min() > 0.01


def test_shares_off_at_three_tolerances():
    """At distances 0.01, 0.03, 0.07 and 0.2, a quarter each."""
    reference = Reference.of(CIRCLE, [0], 8)
    x = torch.tensor([1.01, 1.03, 1.07, 1.2]).repeat(2)[None, :, None] * torch.tensor([0.6, 0.8])
    values = evaluate(CIRCLE, x, reference)
    assert [values[f"off_manifold{t}"].item() for t in ("_0.02", "", "_0.1")] == [0.75, 0.5, 0.25]


def test_tolerances_come_on_top_of_the_noise_of_the_law_itself():
    reference = Reference.of(RING8, SEEDS, N)
    assert reference.spread == pytest.approx(reference.threshold - 0.05)
    real = evaluate(RING8, fresh(RING8), reference)
    # 0.1 chi_2 above its 99 % quantile + 0.02, with 2^14 draws' standard error of .0016
    beyond = [math.exp(-((0.1 * math.sqrt(stats.chi2.ppf(0.99, 2)) + t) ** 2) / 0.02) for t in (0.013, 0.02, 0.027)]
    share = real["off_manifold_0.02"].mean().item()
    error = 4.4 * math.sqrt(beyond[0] / (N * len(SEEDS)))
    assert beyond[2] - error < share < beyond[0] + error


def test_quantiles_of_the_distance():
    x = (1 + torch.arange(1, 101).flip(0) / 100)[None, :, None] * torch.tensor([0.6, 0.8])
    values = evaluate(CIRCLE, x, Reference.of(CIRCLE, [0], 100))
    found = [values[f"distance_{name}"].item() for name in ("median", "p90", "p99")]
    assert found == pytest.approx([0.5, 0.9, 0.99], abs=1e-6)  # the 50th, 90th and 99th of 0.01, 0.02, ... 1
    assert metrics.quantile(torch.tensor([[1.0, 2.0, 3.0]]), 0.5).item() == 2


# Cells hit, and how often


def test_coverage_of_uniform_samples():
    n = 150
    index = torch.randint(64, (4000, n), generator=seeded(0))
    found = metrics.coverage(index, torch.ones_like(index, dtype=torch.bool), 64)
    assert z_score(found, 1 - (1 - 1 / 64) ** n) < 4.4
    assert z_score(found, 1 - (1 - 1 / 64) ** (n - 3)) > 4.4  # control: three samples fewer


def test_coverage_counts_only_samples_on_the_manifold(reference):
    x = fresh()
    assert (evaluate(CIRCLE, x, reference)["coverage"] == 1).all()  # 2048 samples miss a cell of 64 with 1e-12
    assert (evaluate(CIRCLE, 1.2 * x, reference)["coverage"] == 0).all()
    # samples right of the vertical axis lie on the manifold, the others off it
    half = torch.where(x[..., :1] > 0, x, 1.2 * x)
    assert evaluate(CIRCLE, half, reference)["coverage"].sub(0.5).abs().max() <= 1.5 / 64  # cut cells count as hit


def test_total_variation_of_a_real_sample_is_the_floor(reference):
    masses = reference.cells.masses
    found = metrics.total_variation(reference.cells.index(fresh(seeds=64)), masses)
    floor = (masses * (1 - masses) / (2 * math.pi * N)).sqrt().sum().item()
    # the masses come from 2^18 draws, which adds their own noise: sqrt(1 + 2048 / 2^18) = 1.004
    assert z_score(found, 1.004 * floor) < 4.4
    assert z_score(found, 1.1 * floor) > 4.4


@pytest.mark.parametrize("radius", [1.0, 5.0])
def test_total_variation_of_half_a_circle_is_one_half(reference, radius):
    x = fresh()
    half = radius * torch.cat([x[..., :1].abs(), x[..., 1:]], -1)
    found = evaluate(CIRCLE, half, reference)["total_variation"]
    # half the mass is where no sample is; the two cells that the cut divides are worth at most 1/64
    assert (found - 0.5).abs().max() < 0.02
    third = torch.where(x[..., 1:] > 0, x.abs(), x)  # near miss: the upper left quarter folded to the right
    assert (evaluate(CIRCLE, third, reference)["total_variation"] - 0.25).abs().max() < 0.06


def test_samples_off_the_manifold_count_where_they_project_to():
    box = make("box")
    reference, x = Reference.of(box, SEEDS, N), 3 * torch.randn(len(SEEDS), N, 2, generator=seeded(5))
    there = evaluate(box, box.project(x), reference)
    assert torch.equal(evaluate(box, x, reference)["total_variation"], there["total_variation"])


def test_total_variation_by_hand():
    index = torch.tensor([[0, 0, 1, 2], [3, 3, 3, 3]])
    found = metrics.total_variation(index, torch.tensor([0.25, 0.25, 0.25, 0.25]))
    assert found.tolist() == [0.25, 0.75]


# Given on the manifold


def given(index: Tensor, on_manifold: Tensor | None = None, cells: int = 64) -> dict[str, Tensor]:
    everywhere = torch.ones_like(index, dtype=torch.bool)
    return metrics.given_on_manifold(
        index, everywhere if on_manifold is None else on_manifold, torch.ones(cells) / cells
    )


@pytest.mark.parametrize("name", ["coverage_on", "total_variation_on"])
def test_real_samples_have_0_whatever_their_share_on_the_manifold(name):
    """The floor is exact: a mean of 4000 seeds, at all shares; without it they would be far off."""
    index = torch.randint(64, (4000, 1024), generator=seeded(0))
    uniform = torch.rand(index.shape, generator=seeded(1))
    for share in (1.0, 0.5, 0.3):
        found = given(index, uniform < share)[name]
        assert found.isfinite().sum() > 3500
        assert z_score(found[found.isfinite()], 0) < 4.4
    wrong = (1 - 1 / 64) ** 244 - (1 - 1 / 64) ** 256  # near miss: the floor of coverage with 12 samples fewer
    assert z_score(given(index)[name], wrong) > 4.4


def test_the_floor_of_total_variation_of_uneven_cells():
    """De Moivre's formula, against the mean of multinomial draws."""
    masses = torch.tensor([0.6, 0.3, 0.09, 0.01])
    index = torch.multinomial(masses, 4000 * 512, True, generator=seeded(0)).view(4000, 512)
    found = metrics.given_on_manifold(index, torch.ones_like(index, dtype=torch.bool), masses)
    assert z_score(found["total_variation_on"], 0) < 4.4
    assert z_score(found["total_variation_on"], 0.005) > 4.4


def test_half_a_ring(reference):
    """A total variation of 1/2 less its floor and more its noise on the half that is there; half of the cells."""
    x = fresh()
    half = torch.cat([x[..., :1].abs(), x[..., 1:]], -1)
    found = evaluate(CIRCLE, half, reference, final=True)
    m, cells = metrics.CONDITIONED, 64
    real = cells * stats.binom.pmf(m // cells + 1, m, 1 / cells) * (m // cells + 1) * (1 - 1 / cells) / m
    # of a cell that is there, N_c ~ Bin(m, 2 / 64): E|N_c / m - 1 / 64|, 32 of them, and 1/2 of the other half
    there = sum(abs(k / m - 1 / cells) * stats.binom.pmf(k, m, 2 / cells) for k in range(m + 1))
    assert found["total_variation_on"].mean().item() == pytest.approx((32 * there + 0.5) / 2 - real, abs=0.02)
    # half of the cells, of which 256 samples leave out 32 (1 - 1/32)^256 = .01, to a cut cell more
    missed = (1 - 1 / cells) ** m
    assert (found["coverage_on"] - (0.5 - (1 - missed))).abs().max() <= 1.6 / 64
    off = torch.where(torch.arange(N)[:, None] % 2 == 0, half, 1.5 * half)  # every other sample is off the manifold
    again = evaluate(CIRCLE, off, reference, final=True)
    assert again["total_variation_on"].mean().item() == pytest.approx((32 * there + 0.5) / 2 - real, abs=0.02)
    assert (again["off_manifold"] == 0.5).all()


def test_too_few_samples_on_the_manifold_have_no_value():
    index = torch.arange(1024).remainder(64)[None].repeat(2, 1)
    on_manifold = torch.zeros(2, 1024, dtype=torch.bool)
    on_manifold[0, -256:], on_manifold[1, -255:] = True, True
    for value in given(index, on_manifold).values():
        assert value.isnan().tolist() == [False, True]
    # of 256 in turn, four in each cell; the floor stands by itself
    floors = given(index, on_manifold)
    assert floors["coverage_on"][0].item() == pytest.approx((1 - 1 / 64) ** 256, abs=1e-6)
    assert floors["total_variation_on"][0].item() < -0.1


def test_the_first_on_manifold_samples_count():
    """By hand: m = 2 of 8; the off-manifold ones between do not count."""
    index, on = torch.tensor([[0, 1, 0, 1, 1, 1, 1, 1]]), torch.tensor([[True, False, True] + [True] * 5])
    found = given(index, on, cells=2)
    # both in cell 0: coverage 1/2 less 3/4, total variation 1/2 less 1/4
    assert found["coverage_on"].item() == pytest.approx(-0.25)
    assert found["total_variation_on"].item() == pytest.approx(0.25)


# The floor


def test_the_floor_is_that_of_real_samples():
    found = floor(CIRCLE, 1024, 8)
    assert list(found) == list(METRICS)
    assert found is floor(Sphere(2), 1024, 8)
    assert found["off_manifold"].max() == 0
    masses = torch.ones(64) / 64
    exact = (masses * (1 - masses) / (2 * math.pi * 1024)).sqrt().sum().item()
    assert z_score(found["total_variation"], exact) < 4.4
    for name in ("coverage_on", "total_variation_on", "energy_distance"):
        assert z_score(found[name], 0) < 5.4  # Student's, 7 degrees of freedom: once in 1e3
    assert len(set(found["kl"].tolist())) == 8


def test_kl_is_the_mean_of_the_six_divergences(reference):
    values = evaluate(CIRCLE, 1.1 * fresh(), reference, final=True)
    six = [values[f"kl_{way}_{nsr}"] for way in ("model_real", "real_model") for nsr in ("0.05", "0.2", "0.8")]
    assert torch.allclose(values["kl"], torch.stack(six).mean(0), rtol=1e-5)


# Distances between samples


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 100])
def test_sliced_w2_of_a_shift(dim):
    x = torch.randn(2, 256, dim, generator=seeded(dim))
    delta = torch.randn(dim, generator=seeded(dim + 1))
    y = x.flip(1) + delta  # in another order
    found = metrics.sliced_w2(x, y, metrics.directions(dim))
    exact = (delta.norm() / math.sqrt(dim)).item()
    assert torch.allclose(found, torch.full((2,), exact), rtol=1e-5)
    assert (metrics.sliced_w2(x, y + 0.001 * delta, metrics.directions(dim)) / exact > 1.0005).all()


def test_directions_are_orthonormal_bases():
    for dim in (2, 3, 64):
        theta = metrics.directions(dim)
        assert len(theta) >= metrics.DIRECTIONS
        assert torch.allclose(theta.mT @ theta, torch.eye(dim) * len(theta) / dim, atol=1e-4)
        assert torch.allclose(theta.norm(dim=-1), torch.ones(len(theta)))


@pytest.mark.parametrize("radius", [0.5, 1.3])
def test_wasserstein_between_circles(radius):
    # x -> radius x is the optimal map (the gradient of a convex function), in the plane and along every direction
    x = fresh(n=512)
    y = radius * x.flip(1)
    exact = abs(radius - 1)
    assert torch.allclose(metrics.w2(x, y), torch.tensor(exact), rtol=1e-4)
    assert torch.allclose(metrics.sliced_w2(x, y, metrics.directions(2)), torch.tensor(exact / 2**0.5), rtol=1e-4)


def test_w2_moves_mass_between_points():
    # weights (1/2, 1/2) against (1/4, 3/4) on points at distance 2: a quarter moves, W2^2 = 4 / 4
    x = torch.tensor([0.0, 0.0, 2.0, 2.0]).reshape(1, 4, 1)
    y = torch.tensor([2.0, 2.0, 0.0, 2.0]).reshape(1, 4, 1)
    assert metrics.w2(x, y).item() == pytest.approx(1.0, rel=1e-6)


def test_wasserstein_between_independent_gaussian_samples():
    # N(0, I) and N((2, 0), I): W2 = 2, sliced 2 / sqrt(2). The estimates' own errors come out at about 1 % and 3 %
    # (the noise of two means, and the finite-sample floor, which enters squared)
    x = torch.randn(8, 512, 2, generator=seeded(1))
    y = torch.randn(8, 512, 2, generator=seeded(2)) + torch.tensor([2.0, 0.0])
    assert metrics.w2(x, y).mean().item() == pytest.approx(2, rel=0.05)
    assert metrics.sliced_w2(x, y, metrics.directions(2)).mean().item() == pytest.approx(2**0.5, rel=0.05)


def test_energy_distance_of_point_masses():
    x, y = torch.zeros(1, 40, 3), torch.zeros(1, 50, 3)
    y[..., 0] = 2.5
    assert metrics.energy_distance(x, y).item() == pytest.approx(5, rel=1e-6)
    assert metrics.energy_distance(x, x).item() == 0


def test_energy_distance_by_hand():
    # X in {0, 1}, Y in {0, 3}: 2 (0 + 3 + 1 + 2) / 4 - 1 - 3
    x, y = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0], [3.0]]])
    assert metrics.energy_distance(x, y).item() == pytest.approx(-1, rel=1e-6)


def test_energy_distance_against_scipy():
    x, y = torch.randn(2, 1000, 3, generator=seeded(6)), torch.randn(2, 700, 3, generator=seeded(7)) + 1
    exact = [2 * cdist(a, b).mean() - pdist(a).mean() - pdist(b).mean() for a, b in zip(x, y, strict=True)]
    assert metrics.energy_distance(x, y).tolist() == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_energy_distance_of_gaussians_is_unbiased(shift):
    # E|N(m, 2)| = 2 / sqrt(pi) exp(-m^2 / 4) + m erf(m / 2)
    n = 64
    x = torch.randn(2000, n, 1, generator=seeded(3))
    y = torch.randn(2000, n, 1, generator=seeded(4)) + shift
    within = 2 / math.sqrt(math.pi)
    between = within * math.exp(-(shift**2) / 4) + shift * math.erf(shift / 2)
    found = metrics.energy_distance(x, y)
    assert z_score(found, 2 * between - 2 * within) < 4.4
    # control: the V-statistic, which averages the zeros i = j too, is larger by 2 within / n
    assert z_score(found + 2 * within / n, 2 * between - 2 * within) > 4.4


def test_energy_distance_far_from_the_origin():
    x, y = fresh(n=256), 1.5 * fresh(n=256)
    near, far = metrics.energy_distance(x, y), metrics.energy_distance(x + 1000, y + 1000)
    assert torch.allclose(near, far, atol=1e-3)  # float32 keeps 6e-5 of a coordinate of 1000
    assert torch.allclose(near.double(), metrics.energy_distance(x.double(), y.double()), atol=1e-5)


# The whole table


def test_evaluate_gives_the_table_in_its_order(reference):
    x = fresh()
    assert list(evaluate(CIRCLE, x, reference, final=True)) == list(METRICS)
    assert list(evaluate(CIRCLE, x, reference)) == [name for name in METRICS if name not in FINAL]
    values = evaluate(CIRCLE, x + torch.tensor([30.0, 0.0]), reference, final=True)
    # seen from 30 away two circles are two points, but for a part of 1 / 30
    assert torch.allclose(values["w2"], torch.tensor(30.0), rtol=0.01)
    assert torch.allclose(values["sliced_w2"], torch.tensor(30 / 2**0.5), rtol=0.01)
    assert torch.allclose(values["energy_distance"], torch.tensor(60.0), rtol=0.1)
    assert all(value.shape == (len(SEEDS),) and value.dtype == torch.float32 for value in values.values())


def test_a_bad_sample_is_worse_in_the_direction_the_table_names(reference):
    real = fresh()
    bad = real.clone()
    bad[:, :1500] = torch.tensor([1.3, 0.2])  # most samples in one place off the manifold
    bad[:, 1500:, 0] = real[:, 1500:, 0].abs()  # and the rest on half of it
    good, worse = evaluate(CIRCLE, real, reference, True), evaluate(CIRCLE, bad, reference, True)
    for name, metric in METRICS.items():
        sign = {"lower": 1, "higher": -1}[metric.better]
        assert (sign * worse[name] > sign * good[name]).all(), name


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(pytest.param(name, {}, marks=() if i % 3 == 0 else pytest.mark.slow) for i, name in enumerate(names())),
        ("ring", {"dim": 64}),
        ("ring", {"thickness": 0.05}),
    ],
)
def test_a_real_sample_of_every_law_scores_its_floor(name, options):
    law = make(name, **options)
    reference = Reference.of(law, SEEDS, N)
    values, masses = evaluate(law, fresh(law), reference), reference.cells.masses
    assert (values["off_manifold"] <= 0.01).all()
    if reference.threshold < 0.05 + 1e-6:  # an exact manifold
        assert (values["off_manifold"] == 0).all()
        assert (values["mean_distance"] < 1e-5).all()
    # every cell is hit, but for the sum over cells of the chance to miss it
    assert (values["coverage"] == 1).all() or (1 - masses).pow(N).sum() > 1e-5
    # One sample moves the total variation by 1 / n: McDiarmid bounds its excess by sqrt(log(1e5) / 2n), at 1e-5
    floor = (masses * (1 - masses) / (2 * math.pi * N)).sqrt().sum()
    assert (values["total_variation"] < 1.01 * floor + math.sqrt(math.log(1e5) / (2 * N))).all()


def test_seeds_do_not_mix(reference):
    x = fresh()
    x[0] *= 2
    one = Reference.of(CIRCLE, [SEEDS[2]], N)
    assert torch.equal(one.sample[0], reference.sample[2])
    assert not torch.equal(reference.sample[0], reference.sample[1])
    alone, together = evaluate(CIRCLE, x[2:3], one, True), evaluate(CIRCLE, x, reference, True)
    for name in METRICS:
        assert alone[name][0].item() == pytest.approx(together[name][2].item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("place", [0.5, 1e6])
def test_a_collapsed_generator_gets_finite_values(reference, place):
    """But for what is given on the manifold, where it has no sample."""
    for name, value in evaluate(CIRCLE, torch.full((4, N, 2), place), reference, True).items():
        assert (value.isnan() if name in ("coverage_on", "total_variation_on") else value.isfinite()).all(), name


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_not_finite(reference, value):
    x = fresh()
    x[1, 5, 0] = value
    with pytest.raises(ValueError, match=r"samples must be finite; given NaN or inf in \[0, 1, 0, 0\] samples"):
        evaluate(CIRCLE, x, reference)


@pytest.mark.parametrize("shape", [(4, 0, 2), (3, N, 2), (4, N, 3)])
def test_samples_of_another_shape(reference, shape):
    with pytest.raises(ValueError, match=r"samples must have the reference's shape \[seed, n, d\] = \(4, 2048, 2\)"):
        evaluate(CIRCLE, torch.zeros(shape), reference)


@pytest.mark.parametrize("wrong", [{"seeds": []}, {"seeds": [0], "n": 1}, {"seeds": [0], "tolerance": -0.1}])
def test_a_reference_without_sense(wrong):
    with pytest.raises(ValueError, match="seeds, n >= 2, tolerance >= 0 are wanted"):
        Reference.of(CIRCLE, **wrong)


def test_the_cells_do_not_depend_on_the_default_dtype() -> None:
    """They are kept for a whole process: of another dtype they would change the digits of runs after it."""
    law, usual = make("ring"), torch.get_default_dtype()
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            found.append(Cells.of(law, 16))
        finally:
            torch.set_default_dtype(usual)
    assert found[0].masses.dtype == found[1].masses.dtype == torch.float32
    assert torch.equal(found[0].masses, found[1].masses)
    assert torch.equal(found[0].centres, found[1].centres)
