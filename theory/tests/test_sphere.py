"""The sphere's noised law against mpmath: density, posterior mean and two derivatives, near and far, small and wide."""

from __future__ import annotations

import pickle

import mpmath as mp
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from theory.manifolds.sphere import Sphere

RELATIVE = 1e-12  # the requirement is 1e-10; measured: 1e-13 (density), 2e-15 (mean), 1e-14 (its derivatives)

dims = st.integers(2, 64)
radii = st.floats(-1, 1)  # log10
levels = st.floats(-3, 3)  # log10 nsr
distances = st.one_of(st.just(0.0), st.floats(-9, 3).map(lambda e: 10.0**e))


def point(dim: int, radius: float, distance: float, inward: bool) -> Tensor:
    """A point at that distance from the sphere, or at its centre if that is nearer, in a direction along no axis."""
    direction = torch.randn(dim, generator=torch.Generator().manual_seed(dim), dtype=torch.float64)
    r = max(radius - distance, 0.0) if inward else radius + distance
    return r * direction / direction.norm()


class Exact:
    """Density, mean and the mean's derivatives at one point, in 60 digits, from the Bessel functions of mpmath."""

    def __init__(self, dim: int, radius: float, u: list[float], s: float) -> None:
        with mp.workdps(60):
            self.u, self.c, nu = mp.matrix(u), mp.mpf(radius) / mp.mpf(s) ** 2, mp.mpf(dim) / 2 - 1
            squared = mp.fsum(x * x for x in self.u)
            k = self.c * mp.sqrt(squared)
            i = [scaled(nu + j, k) for j in range(4)]
            b = [i[j + 1] / i[j] for j in range(3)]
            slope = [b[j] * (b[j + 1] - b[j]) / 2 for j in range(2)]
            curvature = (slope[0] * (b[1] - b[0]) + b[0] * (slope[1] - slope[0])) / 2
            # mean = u g(|u|^2) with g = R c B(c^2 |u|^2)
            self.g = [radius * self.c * d * self.c ** (2 * n) for n, d in enumerate((b[0], slope[0], curvature))]
            log_f = mp.log(i[0] * mp.gamma(nu + 1) * mp.mpf(2) ** nu)
            gap = mp.sqrt(squared) - mp.mpf(radius)
            self.log_density = log_f - gap**2 / (2 * mp.mpf(s) ** 2) - dim * mp.log(2 * mp.pi * mp.mpf(s) ** 2) / 2

    def mean(self) -> mp.matrix:
        return self.u * self.g[0]

    def along(self, v: mp.matrix) -> mp.matrix:
        """Jacobian of the mean times v."""
        return v * self.g[0] + self.u * (2 * self.g[1] * inner(self.u, v))

    def hessian(self, v: mp.matrix) -> mp.matrix:
        """d/du of <v, J v>, J the Jacobian of the mean."""
        uv = inner(self.u, v)
        return self.u * (2 * self.g[1] * inner(v, v) + 4 * self.g[2] * uv**2) + v * (4 * self.g[1] * uv)


def scaled(nu: mp.mpf, k: mp.mpf) -> mp.mpf:
    """kappa^-nu I_nu(kappa) exp(-kappa), by the power series where mpmath can sum it."""
    if k < 1000:
        return mp.hyp0f1(nu + 1, k * k / 4) / mp.gamma(nu + 1) / mp.mpf(2) ** nu * mp.exp(-k)
    return k**-nu * mp.besseli(nu, k) * mp.exp(-k)


def inner(a: mp.matrix, b: mp.matrix) -> mp.mpf:
    return mp.fsum(x * y for x, y in zip(a, b, strict=True))


def error(found: Tensor, wanted: mp.matrix) -> float:
    """|found - wanted| / |wanted|."""
    difference = mp.norm(mp.matrix(found.tolist()) - wanted)
    return float(difference / mp.norm(wanted)) if difference else 0.0


def agrees(law: Sphere, u: Tensor, s: float, dim: int, radius: float) -> bool:
    """Law's density and mean at u against the exact ones of Sphere(dim, radius)."""
    exact = Exact(dim, radius, u.tolist(), s)
    density = abs(law.log_density(u, 1.0, s).item() - exact.log_density) / max(1, abs(exact.log_density))
    return density < RELATIVE and error(law.denoise(u, 1.0, s), exact.mean()) < RELATIVE


@settings(derandomize=True, deadline=None, max_examples=100)
@given(dim=dims, radius=radii, level=levels, distance=distances, inward=st.booleans())
@example(dim=2, radius=0.0, level=-3.0, distance=0.0, inward=True)
@example(dim=2, radius=0.0, level=-3.0, distance=1e3, inward=False)
@example(dim=64, radius=0.0, level=3.0, distance=1.0, inward=True)  # the centre
def test_density_and_mean(dim: int, radius: float, level: float, distance: float, inward: bool) -> None:
    radius, s = 10**radius, 10**level
    assert agrees(Sphere(dim, radius), point(dim, radius, distance, inward), s, dim, radius)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(dim=dims, level=st.floats(-3, 0), distance=distances)
def test_control_another_sphere_is_rejected(dim: int, level: float, distance: float) -> None:
    """One dimension more (nu + 1/2, the point padded by 0 is the exact law's); a radius wrong by 1e-9."""
    u, s = point(dim, 1.0, distance, False), 10**level
    padded = torch.cat([u, torch.zeros(1, dtype=u.dtype)])
    exact = Exact(dim, 1.0, u.tolist(), s)
    assert error(Sphere(dim + 1).denoise(padded, 1.0, s)[:dim], exact.mean()) > 1e-13
    assert not agrees(Sphere(dim, 1 + 1e-9), u, s, dim, 1.0)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(dim=st.integers(2, 6), level=levels, distance=distances, inward=st.booleans(), seed=st.integers(0, 99))
@example(dim=2, level=-3.0, distance=1e-3, inward=False, seed=0)
@example(dim=2, level=-3.0, distance=1.0, inward=True, seed=0)  # u = 0
def test_derivatives(dim: int, level: float, distance: float, inward: bool, seed: int) -> None:
    """Autograd's J v and d<v, J v>/du at a random v, relative to the norms of J and of its derivative.

    Not relative to J v itself: along the normal J is smaller by 1 / (2 kappa), and a vector cannot carry both parts
    to all digits.
    """
    u, s = point(dim, 1.0, distance, inward).requires_grad_(), 10**level
    v = torch.randn(dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    exact = Exact(dim, 1.0, u.tolist(), s)
    law = Sphere(dim)
    (first,) = torch.autograd.grad(law.denoise(u, 1.0, s) @ v, u, create_graph=True)
    (second,) = torch.autograd.grad(first @ v, u)
    v_exact, length = mp.matrix(v.tolist()), v.norm().item()
    gap = mp.norm(mp.matrix(first.tolist()) - exact.along(v_exact))
    assert gap <= RELATIVE * abs(exact.g[0]) * length  # g[0] is J's tangential eigenvalue, the larger one
    gap = mp.norm(mp.matrix(second.tolist()) - exact.hessian(v_exact))
    assert gap <= RELATIVE * abs(exact.g[1]) * mp.norm(exact.u) * length**2


@settings(derandomize=True, deadline=None, max_examples=30)
@given(dim=dims, level=levels, distance=distances, inward=st.booleans())
def test_gradient_of_the_density_is_the_score(dim: int, level: float, distance: float, inward: bool) -> None:
    u, s, law = point(dim, 1.0, distance, inward).requires_grad_(), 10**level, Sphere(dim)
    (slope,) = torch.autograd.grad(law.log_density(u, 1.0, s), u)
    scale = (u.detach().norm() + 1) / s**2  # what cancels on the sphere in (mean - u) / s^2
    assert (slope - law.score(u.detach(), 1.0, s)).norm() < 1e-14 * scale


@pytest.mark.parametrize(("dim", "r", "s"), [(2, 1.3, 0.3), (2, 0.2, 2.0), (3, 1.0, 0.1), (7, 0.5, 0.4)])
def test_formula_against_quadrature_over_the_polar_angle(dim: int, r: float, s: float) -> None:
    """No Bessel function: p(u) = E exp(-|X - u|^2 / 2 s^2) / (2 pi s^2)^{d/2} with X = (cos a, sin a ...)."""

    def integral(f) -> mp.mpf:
        density = lambda a: mp.exp(-(r * r + 1 - 2 * r * mp.cos(a)) / (2 * s * s)) * mp.sin(a) ** (dim - 2)  # noqa: E731
        return mp.quad(lambda a: f(a) * density(a), mp.linspace(0, mp.pi, 9))

    total = integral(lambda a: 1)
    area = mp.beta(mp.mpf(dim - 1) / 2, 0.5)
    u = torch.zeros(dim, dtype=torch.float64)
    u[1] = r
    law = Sphere(dim)
    wanted = mp.log(total / area) - dim * mp.log(2 * mp.pi * s * s) / 2
    assert law.log_density(u, 1.0, s).item() == pytest.approx(float(wanted), rel=1e-12)
    assert law.denoise(u, 1.0, s)[1].item() == pytest.approx(float(integral(mp.cos) / total), rel=1e-13)


def test_centre() -> None:
    """At u = 0 the mean is 0, its Jacobian (R / s)^2 I / d, and every second derivative 0: finite, not 0/0."""
    u = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    law = Sphere(3, 2.0)
    jacobian = torch.autograd.functional.jacobian(lambda u: law.denoise(u, 1.0, 0.5), u)
    assert torch.allclose(jacobian, torch.eye(3, dtype=torch.float64) * 16 / 3, rtol=1e-14, atol=0)
    hessian = torch.autograd.functional.hessian(lambda u: law.denoise(u, 1.0, 0.5).sum(), u)
    assert torch.equal(hessian, torch.zeros_like(hessian))
    hessian = torch.autograd.functional.hessian(lambda u: law.log_density(u, 1.0, 0.5), u)
    assert torch.allclose(hessian, torch.eye(3, dtype=torch.float64) * (16 / 3 - 1) * 4, rtol=1e-14, atol=0)
    assert law.distance(torch.zeros(3)).item() == 2
    assert law.distance(law.project(torch.zeros(3))).item() == 0


def test_control_the_textbook_formula_overflows() -> None:
    """u / r * I_1 / I_0 is NaN at nsr 0.03 on the unit circle, where kappa = 1111."""
    u = torch.tensor([1.0, 0.0], dtype=torch.float64)
    kappa = u.norm() / 0.03**2
    assert (torch.special.modified_bessel_i1(kappa) / torch.special.modified_bessel_i0(kappa)).isnan()
    assert Sphere(2).denoise(u, 1.0, 0.03)[0].item() == pytest.approx(1 - 0.03**2 / 2, rel=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 64])
def test_float32_is_float64_rounded(dim: int) -> None:
    """Every level against every distance, in one call; double backward is finite."""
    law = Sphere(dim)
    s = torch.logspace(-3, 3, 25)[:, None]
    r = torch.cat([torch.zeros(1), torch.logspace(-30, 30, 21)])
    direction = torch.nn.functional.normalize(torch.ones(dim), dim=0)
    u = (r[:, None] * direction).expand(25, 22, dim).clone().requires_grad_()
    mean = law.denoise(u, 1.0, s)
    assert torch.allclose(mean, law.denoise(u.double(), 1.0, s.double()).float(), rtol=1e-7, atol=0)
    near = r < 1e10  # the square of more is past float32's range, and so is the density
    density = law.log_density(u[:, near], 1.0, s)
    assert torch.allclose(density, law.log_density(u[:, near].double(), 1.0, s.double()).float(), rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(mean.square().sum(), u, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), u)
    assert slope.isfinite().all()
    assert curvature.isfinite().all()


def test_gradgradcheck() -> None:
    """Two derivatives in the point and in the level."""
    law = Sphere(3, 1.5)
    u = torch.tensor([[0.3, -0.2, 0.9], [1e-3, 0.0, 0.0], [2.0, 1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    s = torch.tensor([0.2, 0.7, 1.5], dtype=torch.float64, requires_grad=True)
    for f in (law.denoise, law.log_density):
        assert torch.autograd.gradcheck(lambda u, s, f=f: f(u, 1.0, s), (u, s))
        assert torch.autograd.gradgradcheck(lambda u, s, f=f: f(u, 1.0, s), (u, s))


def test_projection_is_nearest_at_any_scale() -> None:
    law = Sphere(3, 2.0)
    x = torch.tensor([[3e38, 0.0, 3e38], [1e-40, 2e-40, 0.0], [0.0, -5.0, 0.0]])
    assert torch.allclose(law.project(x).norm(dim=-1), torch.tensor(2.0))
    assert torch.allclose(torch.nn.functional.cosine_similarity(law.project(x)[2:], x[2:]), torch.tensor(1.0))
    assert law.distance(x)[2].item() == 3


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_samples(dim: int) -> None:
    """(x_1 / R + 1) / 2 is Beta((d-1)/2, (d-1)/2); Kolmogorov and Smirnov at 1e-4 in each of three, seeded."""
    x = Sphere(dim, 3.0).sample(20_000, torch.Generator().manual_seed(0), torch.float64)
    assert torch.allclose(x.norm(dim=-1), torch.tensor(3.0, dtype=torch.float64))
    half = (dim - 1) / 2
    assert stats.kstest((x[:, 0].numpy() / 3 + 1) / 2, stats.beta(half, half).cdf).pvalue > 1e-4
    wrong = stats.beta(half + 0.5, half + 0.5)  # one dimension more
    assert stats.kstest((x[:, 0].numpy() / 3 + 1) / 2, wrong.cdf).pvalue < 1e-4


def test_one_line_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="dim must be a whole number of at least 2; given 1"):
        Sphere(1)
    with pytest.raises(ValueError, match="dim must be a whole number of at least 2; given True"):
        Sphere(True)
    with pytest.raises(ValueError, match="radius must be positive and finite; given -1"):
        Sphere(2, -1)


def test_repr_and_pickle_make_it_again() -> None:
    law = Sphere(4, 2)
    assert repr(law) == "Sphere(dim=4, radius=2.0)"
    assert repr(pickle.loads(pickle.dumps(law))) == repr(eval(repr(law))) == repr(law)
    assert (law.dim, law.intrinsic_dim) == (4, 3)
