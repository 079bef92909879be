"""Segment and box against mpmath: density, posterior mean and two derivatives, inside, at the edges, far out, wide."""

from __future__ import annotations

import pickle

import mpmath as mp
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from theory.manifolds.box import Box, Segment

RELATIVE = 1e-12  # the requirement is 1e-10; measured: 1e-14, second derivative 5e-14

halves = st.floats(-2, 2).map(lambda e: 10.0**e)  # half the length
levels = st.floats(-3, 3).map(lambda e: 10.0**e)
distances = st.floats(-9, 3).map(lambda e: 10.0**e)
places = st.sampled_from(["from the centre", "outside an edge", "inside an edge", "an edge and steps of s"])


def place(kind: str, half: float, s: float, distance: float) -> float:
    return {
        "from the centre": distance,
        "outside an edge": half + distance,
        "inside an edge": half - min(distance, half),
        "an edge and steps of s": half + s * (distance % 20 - 10),
    }[kind]


def exact(y: float, half: float, s: float) -> tuple[mp.mpf, ...]:
    """(log density, mean, d mean / dy, its derivative) of X + s eps at y, X uniform on [-half, half], for y >= 0.

    The moments of a truncated normal law in error functions, in digits enough for what cancels.
    """
    with mp.workdps(100):
        y, half, s = mp.mpf(y), mp.mpf(half), mp.mpf(s)
        a, b, root = (-half - y) / s, (half - y) / s, mp.sqrt(2)
        mass = (mp.erfc(-b / root) - mp.erfc(-a / root)) / 2
        pa, pb = (mp.npdf(z) for z in (a, b))
        m1 = (pa - pb) / mass
        m2 = 1 + (a * pa - b * pb) / mass
        m3 = ((a * a + 2) * pa - (b * b + 2) * pb) / mass
        variance = m2 - m1**2
        return mp.log(mass / (2 * half)), y + s * m1, variance, (m3 - 3 * m1 * m2 + 2 * m1**3) / s


def along(law: Segment | Box, y: float, s: float) -> tuple[float, ...]:
    """The same four from a law on the line that is symmetric about 0."""
    u = torch.tensor([y], dtype=torch.float64, requires_grad=True)
    mean = law.denoise(u, 1.0, s)
    (slope,) = torch.autograd.grad(mean, u, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, u)
    return law.log_density(u, 1.0, s).item(), mean.item(), slope.item(), curvature.item()


def agrees(found: tuple[float, ...], wanted: tuple[mp.mpf, ...], s: float) -> bool:
    """Every number relative to itself; log density 0 and the vanishing second derivative inside, to their scales."""
    log_density, mean, variance, third = wanted
    scales = max(abs(log_density), 1), abs(mean), variance, max(abs(third), variance**1.5 / s)
    return all(abs(f - w) <= RELATIVE * scale for f, w, scale in zip(found, wanted, scales, strict=True))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(half=halves, s=levels, kind=places, distance=distances)
@example(half=1.0, s=1e-3, kind="outside an edge", distance=1e3)
@example(half=1.0, s=1e3, kind="from the centre", distance=1e-9)
@example(half=0.5, s=1e-3, kind="inside an edge", distance=0.0)
@example(half=0.5, s=0.5, kind="from the centre", distance=0.5)  # u = s, where the form of the mean changes
@example(half=0.25, s=0.5, kind="from the centre", distance=1.0)  # h = 1, where it changes too
@example(half=1e4, s=1e-3, kind="from the centre", distance=2e-10)  # u < s and h = 2
@example(half=1e-2, s=1e3, kind="from the centre", distance=1e3)  # u = s and h = 1e-5
def test_density_mean_and_derivatives(half: float, s: float, kind: str, distance: float) -> None:
    y = abs(place(kind, half, s, distance))
    assert agrees(along(Segment([-half], [half]), y, s), exact(y, half, s), s)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(half=halves, s=levels, distance=distances)
def test_control_a_longer_segment_is_rejected(half: float, s: float, distance: float) -> None:
    y = half + distance
    assert not agrees(along(Segment([-half * (1 + 1e-9)], [half * (1 + 1e-9)]), y, s), exact(y, half, s), s)


@pytest.mark.parametrize(("half", "s", "y"), [(0.5, 100.0, 0.3), (0.5, 1e-3, 40.0)])
def test_control_the_textbook_formula_loses_its_digits(half: float, s: float, y: float) -> None:
    """y + s (phi(a) - phi(b)) / (Phi(b) - Phi(a)) in float64: wide noise cancels, far out it is 0 / 0."""
    t = torch.tensor([-half, half], dtype=torch.float64)
    a, b = (t - y) / s
    density = torch.exp(-torch.stack([a, b]).square() / 2) / (2 * torch.pi) ** 0.5
    naive = (y + s * (density[0] - density[1]) / (torch.special.ndtr(b) - torch.special.ndtr(a))).item()
    assert not abs(naive / exact(y, half, s)[1] - 1) < 1e-10  # the requirement; NaN too
    assert agrees(along(Box([-half], [half]), y, s), exact(y, half, s), s)


def test_symmetry_and_the_slope_at_the_centre() -> None:
    """The mean is odd, exactly; at 0 its slope is Var[X | u] / s^2, not the 0 that |u| would give."""
    law, y = Segment([-1.0], [1.0]), torch.logspace(-6, 3, 40, dtype=torch.float64)[:, None]
    for s in (1e-3, 0.5, 1e3):
        assert torch.equal(law.denoise(-y, 1.0, s), -law.denoise(y, 1.0, s))
        assert torch.equal(law.log_density(-y, 1.0, s), law.log_density(y, 1.0, s))
        found, wanted = along(law, 0.0, s), exact(0.0, 1.0, s)
        assert found[1] == 0
        assert found[2] == pytest.approx(float(wanted[2]), rel=RELATIVE)
        assert abs(found[3]) < 1e-14 / s


def test_segment_is_the_line_times_a_gaussian_and_box_a_product() -> None:
    """Along (3, 4) / 5 from (1, 2): coordinates by hand; numbers from the one-dimensional reference."""
    start, end, s = (1.0, 2.0), (4.0, 6.0), 0.7
    u = torch.tensor([2.0, 7.0], dtype=torch.float64)  # (-0.5, 3) from the midpoint: 2.1 along, 2.2 across
    log_density, mean, _, _ = exact(2.1, 2.5, s)
    law = Segment(start, end)
    wanted = log_density - mp.mpf(2.2) ** 2 / (2 * s * s) - mp.log(2 * mp.pi * s * s) / 2
    assert law.log_density(u, 1.0, s).item() == pytest.approx(float(wanted), rel=1e-13)
    mean = float(mean)
    assert law.denoise(u, 1.0, s).tolist() == pytest.approx([2.5 + 0.6 * mean, 4 + 0.8 * mean], rel=1e-13)
    box = Box(start, end)  # centre (2.5, 4), half sides (1.5, 2)
    first, second = exact(0.5, 1.5, s), exact(3.0, 2.0, s)
    assert box.log_density(u, 1.0, s).item() == pytest.approx(float(first[0] + second[0]), rel=1e-13)
    assert box.denoise(u, 1.0, s).tolist() == pytest.approx([2.5 - float(first[1]), 4 + float(second[1])], rel=1e-13)


@pytest.mark.parametrize("law", [Segment((-1.0, 0.0), (1.0, 2.0)), Box((-1.0, 0.0), (1.0, 2.0))])
def test_float32(law: Segment | Box) -> None:
    """Every level against every distance: as float64 to its rounding, conditioning included; finite to 1e30."""
    s = torch.logspace(-3, 3, 13)[:, None]
    y = torch.cat([torch.zeros(1), torch.logspace(-6, 3, 19)])
    u = torch.stack([y, 1 + y / 3], -1).expand(13, 20, 2).clone().requires_grad_()
    mean = law.denoise(u, 1.0, s)
    assert (mean - law.denoise(u.double(), 1.0, s.double())).abs().max() < 2e-6
    density, wide = law.log_density(u, 1.0, s), law.log_density(u.double(), 1.0, s.double())
    # a rounding of u, |u| 6e-8, moves the log density by |score| |u| 6e-8
    slack = 1 + wide.abs() + (law.score(u.double(), 1.0, s.double()).norm(dim=-1) * (1 + u.norm(dim=-1)))
    assert ((density - wide).abs() <= 1e-6 * slack).all()
    far = torch.logspace(4, 30, 14)[:, None].expand(13, 14, 2).clone().requires_grad_()
    for points in (u, far):
        (slope,) = torch.autograd.grad(law.denoise(points, 1.0, s).square().sum(), points, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), points)
        assert slope.isfinite().all()
        assert curvature.isfinite().all()
    assert (law.project(far) - law.denoise(far, 1.0, s)).abs()[0].max() < 1e-6  # at the smallest level


def test_float32_at_an_edge() -> None:
    """Numbers that float32 holds exactly: no rounding of the input excuses the output."""
    law, s = Box([-11.0], [11.0]), 2.0**-9
    u = (11 + torch.arange(-40, 41) * 2.0**-12)[:, None]
    narrow, wide = law.log_density(u, 1.0, s), law.log_density(u.double(), 1.0, s)
    assert ((narrow - wide).abs() < 1e-6 * wide.abs().clamp(min=1)).all()


@pytest.mark.parametrize("law", [Segment((-1.0, 0.0), (1.0, 2.0)), Box((-1.0, 0.0), (1.0, 2.0))])
def test_gradgradcheck(law: Segment | Box) -> None:
    """Two derivatives in the point and in the level."""
    u = torch.tensor([[0.3, 0.9], [1.4, 3.1], [-6.0, 0.1]], dtype=torch.float64, requires_grad=True)
    s = torch.tensor([0.4, 0.8, 2.5], dtype=torch.float64, requires_grad=True)
    for f in (law.denoise, law.log_density):
        assert torch.autograd.gradcheck(lambda u, s, f=f: f(u, 1.0, s), (u, s))
        assert torch.autograd.gradgradcheck(lambda u, s, f=f: f(u, 1.0, s), (u, s))


def test_projection() -> None:
    segment, box = Segment((0.0, 0.0), (0.0, 2.0)), Box((0.0, 0.0), (1.0, 2.0))
    x = torch.tensor([[3.0, 1.0], [3.0, 6.0], [0.5, -4.0]], dtype=torch.float64)
    assert segment.project(x).tolist() == [[0, 1], [0, 2], [0, 0]]
    assert segment.distance(x).tolist() == [3, 5, pytest.approx(4.0311288741)]
    assert box.project(x).tolist() == [[1, 1], [1, 2], [0.5, 0]]
    assert box.distance(x).tolist() == [2, pytest.approx(20**0.5), 4]


def test_samples() -> None:
    """Uniform along the segment and in each side of the box; Kolmogorov and Smirnov at 1e-4 in each of three."""

    def p(x: Tensor, upper: float) -> float:
        return float(stats.kstest(x.numpy(), stats.uniform(0, upper).cdf).pvalue)

    x = Segment((0.0, 0.0), (3.0, 4.0)).sample(20_000, torch.Generator().manual_seed(0), torch.float64)
    assert torch.allclose(x[:, 0] * 4, x[:, 1] * 3)
    assert p(x[:, 0], 3) > 1e-4 > p(x[:, 0], 3.1)
    x = Box((0.0, 0.0), (1.0, 2.0)).sample(20_000, torch.Generator().manual_seed(1), torch.float64)
    assert min(p(x[:, 0], 1), p(x[:, 1], 2)) > 1e-4


def test_one_line_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="start and end must be two different points"):
        Segment((0.0, 1.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="start and end must be two different points"):
        Segment((0.0, 1.0), (0.0,))
    with pytest.raises(ValueError, match="end must hold at least one finite number"):
        Segment((0.0, 1.0), (0.0, float("inf")))
    with pytest.raises(ValueError, match="lower must lie below upper in every coordinate"):
        Box((0.0, 1.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="lower must hold at least one finite number"):
        Box((), ())


def test_repr_and_pickle_make_it_again() -> None:
    for law, text in [
        (Segment([0, 1], [2, 3]), "Segment(start=(0.0, 1.0), end=(2.0, 3.0))"),
        (Box([0, 1], [2, 3]), "Box(lower=(0.0, 1.0), upper=(2.0, 3.0))"),
    ]:
        assert repr(law) == repr(pickle.loads(pickle.dumps(law))) == repr(eval(text)) == text
        assert law.dim == 2
