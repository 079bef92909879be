"""One set of laws, over every object of the catalogue and of the combinators.

What is checked here of all of them is checked against mpmath or quadrature, family by family, in the families' own
tests; Gaussian mixtures have theirs at the end of this file.
"""

import math
import pickle
from functools import cache
from unittest.mock import Mock

import jaxtyping
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import theory.manifolds
from tests.processes import forked
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
    make,
    names,
    polyline,
    random_isometry,
    spiral,
)
from theory.manifolds import box as interval
from theory.manifolds.law import BLOCK, check_points

EPS = torch.finfo(torch.float64).eps
UNEQUAL = Gaussians([(0, 0, 1), (2, 0, 0), (-1, 1, 0)], std=(0.0, 0.5, 0.1), weights=(0.2, 0.5, 0.3))

LAWS = {name: make(name) for name in names()} | {
    "unequal": UNEQUAL,
    "S^4": make("sphere", n=4),
    "ring in R^6": make("ring", dim=6),
    "thick ring in R^3": make("ring", dim=3, thickness=0.3),
    "mixed in R^3": make("mixed", dim=3),
    "long arc": Arc(1.5, -2, 3, (0.5, -0.5)),
    "cylinder": Product(Sphere(2), Segment((0,), (1,))),
    "scaled segment": Scaled(Segment((0, 0), (1, 1)), 2.5),
    "scaled ring": Scaled(Sphere(2), 0.5),
    "moved sphere": Embedded(Sphere(3, 0.5), random_isometry(4, 3, seed=1).tolist(), (1, 0, -2, 0)),
    "weighted mixture": Mixture([Thickened(Sphere(2), 0.2), Box((1, 1), (2, 3))], (0.25, 0.75)),
}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@cache
def draw(law, n, seed=0):
    return law.sample(n, torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noised(law, alpha, nsr, n=40):
    return alpha * (draw(law, n) + nsr * normal(n, law.dim))


@cache
def size(law):
    """The largest norm among draws."""
    return float(draw(law, 1000).norm(dim=-1).max())


def is_thin(law):
    """Whether draws lie on M: no Gaussian noise was added."""
    return bool((law.distance(draw(law, 200)) < 1e-12).all())


def far_points(law):
    """Points at distances about 1e3; of a law whose support is unbounded, at about 1 from it."""
    y = 1e3 * normal(5, law.dim, seed=2)
    return y if law.project(y).norm(dim=-1).max() < 100 else draw(law, 5, seed=2) + normal(5, law.dim, seed=2)


# --- Tweedie's formula


def gradient(law, y, alpha, sigma):
    y = y.clone().requires_grad_()
    return torch.autograd.grad(law.log_density(y, alpha, sigma).sum(), y)[0]


def is_score(candidate, law, y, alpha, sigma):
    """Whether the candidate is grad log p_t(y), to 1e-10 of its typical size 1 / sigma."""
    exact = gradient(law, y, alpha, sigma)
    return bool(((candidate - exact).norm(dim=-1) <= 1e-10 * (exact.norm(dim=-1) + 1 / sigma)).all())


@every_law
@pytest.mark.parametrize("nsr", [1e-2, 0.3, 1.0, 30.0])
def test_score_is_the_gradient_of_the_log_density(law, nsr):
    alpha = 0.6
    sigma = alpha * nsr
    y = torch.cat([noised(law, alpha, nsr), 3 * normal(10, law.dim, seed=2)])
    assert is_score(law.score(y, alpha, sigma), law, y, alpha, sigma)
    refined = law.denoise(y, alpha, sigma)
    assert is_score((alpha * refined - y) / sigma**2, law, y, alpha, sigma)
    assert not is_score((refined - y) / sigma**2, law, y, alpha, sigma)  # the score without alpha


# --- The level: invariance and normalisation


@every_law
@settings(max_examples=8)  # of each law
@given(alpha=st.floats(0.01, 1), nsr=st.floats(0.02, 100), c=st.floats(0.1, 10))
def test_scaling_y_and_both_levels_changes_the_density_by_the_jacobian(law, alpha, nsr, c):
    y, sigma = noised(law, alpha, nsr, n=4), alpha * nsr
    log_p = law.log_density(y, alpha, sigma)
    scaled = law.log_density(c * y, c * alpha, c * sigma)
    # c y / (c alpha) rounds: the exponent, up to |y|^2 / 2 sigma^2, moves by as many units
    slack = 1e-12 * (1 + log_p.abs()) + 16 * EPS * (y / sigma).norm(dim=-1) * (1 + size(law) / nsr)
    assert ((scaled - (log_p - law.dim * math.log(c))).abs() <= slack).all()


# In more dimensions there are too many nodes; test_samplers compares those densities with an average over draws.
INTEGRABLE = [(name, nsr) for name, law in LAWS.items() for nsr in (0.2, 1.0) if law.dim <= (3 if nsr == 1 else 2)]


@pytest.mark.parametrize(("name", "nsr"), INTEGRABLE)
def test_density_integrates_to_one(name, nsr):
    law = LAWS[name]
    alpha, sigma = 0.6, 0.6 * nsr
    step = sigma / 1.5  # the trapezoidal rule's error on a density smoothed by sigma: exp(-2 pi^2 1.5^2) = 5e-20
    reach = alpha * size(law) + 9 * sigma
    axis = torch.arange(-reach, reach + step, step, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * law.dim)
    mass = law.log_density(nodes, alpha, sigma).exp().sum() * step**law.dim
    assert float(mass) == pytest.approx(1, abs=1e-10)


@every_law
def test_levels_broadcast_over_leading_axes(law):
    y = normal(2, 3, law.dim)
    alpha = torch.tensor([[1.0], [0.5]], dtype=torch.float64)  # [2, 1]
    sigma = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)  # [3]
    for method in (law.log_density, law.denoise, law.score):
        together = method(y, alpha, sigma)
        one_by_one = [[method(y[i, j], float(alpha[i, 0]), float(sigma[j])) for j in range(3)] for i in range(2)]
        torch.testing.assert_close(
            together, torch.stack([torch.stack(row) for row in one_by_one]), rtol=1e-11, atol=1e-11
        )
        torch.testing.assert_close(method(y[:1, :1], alpha, sigma)[1, 1], method(y[0, 0], 0.5, 1.0))  # y enlarged


@every_law
def test_many_points_are_computed_block_by_block_and_come_back_in_order(law):
    y, nsr = normal(3, 700, law.dim, seed=4), torch.tensor([[0.2], [0.5], [1.0]], dtype=torch.float64)
    assert BLOCK["cpu"] < nsr.expand(3, 700).numel()
    for method in (law.log_density, law.denoise):
        rows = [method(y[i], 1.0, float(nsr[i])) for i in range(3)]
        torch.testing.assert_close(method(y, 1.0, nsr), torch.stack(rows), rtol=1e-11, atol=1e-11)


# --- The manifold


@every_law
def test_projection_is_idempotent_and_nearest(law):
    x = torch.cat([draw(law, 20, seed=3), draw(law, 40, seed=4) + 0.5 * normal(40, law.dim), far_points(law)])
    nearest, distance = law.project(x), law.distance(x)
    torch.testing.assert_close(law.project(nearest), nearest, rtol=0, atol=1e-12)
    torch.testing.assert_close(distance, (x - nearest).norm(dim=-1), rtol=1e-12, atol=1e-12)
    on_manifold = law.project(draw(law, 2000))  # of a thickened law, draws of its core
    assert (distance[:, None] <= torch.cdist(x, on_manifold) * (1 + 1e-12) + 1e-12).all()
    assert torch.cdist(nearest, on_manifold).min(-1).values.max() < 0.5  # and M is no larger than the draws' projection


def fold(law, reach, n=20_000):
    """How many of n pairs of points a, b nearer than reach to M have ||Proj a - Proj b|| > ||a - b|| / (1 - r / reach).

    r is the larger of the two distances. None, says Federer (Curvature measures, 1959, theorem 4.8 (8)).
    """
    scale = min(reach, 1e3)
    x = draw(law, n, seed=5)
    around, between = x + scale * normal(n, law.dim, seed=6), (x + x.flip(0)) / 2  # chords' middles: where M folds
    a = torch.cat([around[::2], between[::2]])
    b = a + 0.01 * scale * normal(n, law.dim, seed=7)
    r = torch.maximum(law.distance(a), law.distance(b))
    moved, apart = (law.project(a) - law.project(b)).norm(dim=-1), (a - b).norm(dim=-1)
    return int(((r < reach) & (moved * (1 - r / reach) > apart * (1 + 1e-9))).sum())


@pytest.mark.parametrize(
    ("law", "reach"), [pytest.param(law, law.reach, id=name) for name, law in LAWS.items() if law.reach is not None]
)
def test_reach_is_the_largest_radius_of_single_nearest_points(law, reach):
    if reach > 0:
        assert fold(law, reach) == 0
    if reach < math.inf:
        assert fold(law, max(1.3 * reach, 0.1)) > 0


@every_law
def test_small_noise_refines_to_the_manifold_and_large_noise_to_the_mean(law):
    x = torch.cat([draw(law, 20, seed=3) + 0.3 * normal(20, law.dim), far_points(law)])
    if is_thin(law):
        nsr = 1e-3
        assert ((law.denoise(x, 1.0, nsr) - law.project(x)).norm(dim=-1) < 2 * nsr).all()
    nsr, sample = 1e3, draw(law, 20_000)
    error = (law.denoise(x[:20], 1.0, nsr) - sample.mean(0)).abs()
    # |x0hat - E X| <= Var(X) |y - E X| / nsr^2 nearly; and a sample mean is 6 standard errors out once in 5e8
    assert (error < 1e-4 + 6 * sample.std(0) / math.sqrt(len(sample))).all()


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_field_is_finite_and_dtype_is_kept(law, dtype):
    distance = torch.tensor([0, 1e-3, 1, 30, 1e3], dtype=dtype)
    direction = torch.nn.functional.normalize(normal(6, 1, law.dim).to(dtype), dim=-1)
    y = (direction * distance[:, None])[:, :, None].requires_grad_()  # [6, 5, 1, d]
    nsr = torch.logspace(-3, 3, 13, dtype=dtype)
    y = y.expand(6, 5, 13, law.dim)
    values = [method(y, 1.0, nsr) for method in (law.log_density, law.denoise, law.score)]
    gradients = torch.autograd.grad([v.sum() for v in values[:2]], y)
    for value in (*values, *gradients, law.project(y), law.distance(y)):
        assert value.dtype == dtype
        assert value.isfinite().all()


@every_law
@pytest.mark.parametrize("nsr", [0.1, 1.0, 10.0])
def test_float32_agrees_with_float64(law, nsr):
    y = noised(law, 1.0, nsr).float()
    eps, reach = torch.finfo(torch.float32).eps, size(law)
    scale = y.double().norm(dim=-1) + reach
    moved = 16 * eps * scale  # what roundings may amount to, as a change of y
    wide, narrow = (law.denoise(x, 1.0, nsr).double() for x in (y.double(), y))
    # the derivative of x0hat is Cov(X | y) / nsr^2
    assert ((wide - narrow).norm(dim=-1) <= moved * (1 + (reach / nsr) ** 2)).all()
    wide, narrow = (law.log_density(x, 1.0, nsr).double() for x in (y.double(), y))
    assert ((wide - narrow).abs() <= 16 * eps * (1 + wide.abs()) + moved * (scale / nsr**2)).all()


@every_law
@pytest.mark.parametrize("nsr", [0.2, pytest.param(2.0, marks=pytest.mark.slow)])
def test_differentiates_twice(law, nsr):
    y = torch.cat([noised(law, 0.8, nsr, n=2), torch.zeros(1, law.dim, dtype=torch.float64)]).requires_grad_()

    def both(y):
        return torch.cat([law.log_density(y, 0.8, 0.8 * nsr)[..., None], law.denoise(y, 0.8, 0.8 * nsr)], -1)

    assert gradcheck(both, y, fast_mode=True)
    assert gradgradcheck(both, y, fast_mode=True)


# --- Noise far below a thickness: the score keeps its digits through the combinators

THICK = Thickened(Box((0, 0), (1, 2)), 0.3)
AROUND_THICK = {
    "thickened": THICK,
    "scaled": Scaled(THICK, 2.5),
    "embedded": Embedded(THICK, random_isometry(2, 2, seed=5).tolist(), (1, 0)),
    "product": Product(THICK, Gaussians([(0.5,)], 0.2)),
    "mixture": Mixture([THICK, Gaussians([(3, 3)], 0.5)], (0.3, 0.7)),
    "all of them": Scaled(
        Mixture([Product(Thickened(Sphere(2), 0.4), Gaussians([(0,)], 0.3)), make("box", dim=3, thickness=0.2)]), 0.5
    ),
}


@pytest.mark.parametrize("law", AROUND_THICK.values(), ids=AROUND_THICK.keys())
def test_score_keeps_its_digits_where_the_noise_is_far_below_the_thickness(law):
    y, nsr = 2 * normal(30, law.dim), 1e-6
    exact = gradient(law, y, 1.0, nsr)

    def agrees(candidate):
        return bool(((candidate - exact).norm(dim=-1) <= 1e-11 * (1 + exact.norm(dim=-1))).all())

    assert agrees(law.score(y, 1.0, nsr))
    assert not agrees((law.denoise(y, 1.0, nsr) - y) / nsr**2)  # Tweedie's formula: 1e-16 / 1e-12


@pytest.mark.parametrize(("name", "quadratures"), [("box", 1), ("mixed", 1), ("segment", 1)])
def test_posterior_runs_the_quadrature_once(name, quadratures, monkeypatch):
    spy = Mock(wraps=interval.moments)
    monkeypatch.setattr(interval, "moments", spy)
    make(name, dim=3, thickness=0.1).denoise(normal(5, 3), 1.0, 0.3)
    assert spy.call_count == quadratures


@every_law
def test_posterior_is_density_and_mean(law):
    y, nsr = normal(20, law.dim), torch.linspace(0.1, 3, 20, dtype=torch.float64)
    log_p, refined = law._posterior(y, nsr)
    torch.testing.assert_close(log_p, law._log_density(y, nsr), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(refined, law._denoise(y, nsr), rtol=1e-14, atol=1e-14)


# --- What makes a law


@every_law
def test_repr_and_pickle_make_the_law_again(law):
    y = normal(5, law.dim)
    for twin in (eval(repr(law), vars(theory.manifolds)), pickle.loads(pickle.dumps(law))):
        assert repr(twin) == repr(law)
        assert torch.equal(twin.denoise(y, 0.7, 0.2), law.denoise(y, 0.7, 0.2))


@every_law
def test_bad_arguments_are_named(law):
    y = normal(3, law.dim)
    for method in (law.log_density, law.denoise, law.score):
        for alpha, sigma, name in [
            (0.0, 1.0, "alpha"),
            (1.0, -1.0, "sigma"),
            (1.0, math.inf, "sigma"),
            (math.nan, 1.0, "alpha"),
        ]:
            with pytest.raises(ValueError, match=name):
                method(y, alpha, sigma)
        with pytest.raises(ValueError, match=f"last axis.*{law.dim + 1}"):
            method(normal(3, law.dim + 1), 1.0, 1.0)
        with pytest.raises(ValueError, match="broadcast"):
            method(y, torch.ones(2, dtype=torch.float64), 1.0)
        with pytest.raises(ValueError, match=rf"y must hold at least one point; given shape \(0, {law.dim}\)"):
            method(y[:0], 1.0, 1.0)
        with pytest.raises(ValueError, match=r"sigma must hold at least one level; given shape \(0,\)"):
            method(y, 1.0, torch.ones(0, dtype=torch.float64))
        for dtype in (torch.float16, torch.bfloat16):
            with pytest.raises(TypeError, match=f"y must be a float32 or float64 tensor.*{dtype}"):
                method(y.to(dtype), 1.0, 1.0)
        with pytest.raises(TypeError):
            method(y.long(), 1.0, 1.0)
    for method in (law.project, law.distance):
        with pytest.raises(ValueError, match="last axis"):
            method(normal(3, law.dim + 1))
        with pytest.raises(ValueError, match=rf"x must hold at least one point; given shape \(2, 0, {law.dim}\)"):
            method(y.new_zeros(2, 0, law.dim))
        with pytest.raises(TypeError, match=r"x must be a float32 or float64 tensor.*torch.float16"):
            method(y.half())
        with pytest.raises(TypeError):
            method(y.long())


def test_an_integer_tensor_is_named():
    """Here the check itself: the shapes that tests alone check at run time would speak first."""
    with pytest.raises(TypeError, match=r"x must be a float32 or float64 tensor \[..., 2\]; given torch.int64"):
        check_points(torch.zeros(3, 2, dtype=torch.int64), 2, "x")


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: Gaussians([(0, 0), (1,)]), ValueError, "means"),
        (lambda: Gaussians([]), ValueError, "means"),
        (lambda: Gaussians([(0, math.nan)]), ValueError, "means"),
        (lambda: Gaussians([(0,), (1,)], std=-0.1), ValueError, "std"),
        (lambda: Gaussians([(0,), (1,)], std=(0.1, 0.1, 0.1)), ValueError, "std"),
        (lambda: Gaussians([(0,), (1,)], weights=(0.5, 0.6)), ValueError, "weights"),
        (lambda: Gaussians([(0,), (1,)], weights=(1.5, -0.5)), ValueError, "weights"),
        (lambda: Gaussians([(0,), (1,)], weights=(1.0,)), ValueError, "weights"),
        (lambda: Mixture([]), ValueError, "laws"),
        (lambda: Mixture([Sphere(2), Sphere(3)]), ValueError, "laws"),
        (lambda: Mixture([Sphere(2), Sphere(2)], (0.5, 0.4)), ValueError, "weights"),
        (lambda: Mixture([Sphere(2)], None, -1.0), ValueError, "reach"),
        (lambda: Product(), ValueError, "laws"),
        (lambda: Embedded(Sphere(2), [(1, 0), (0, 1), (0, 0.1)]), ValueError, "isometry must have orthonormal columns"),
        (lambda: Embedded(Sphere(2), [(1, 0, 0), (0, 1, 0)]), ValueError, "isometry must have 2 columns"),
        (lambda: Embedded(Sphere(2), np.eye(2).tolist(), (1, 2, 3)), ValueError, "offset"),
        (lambda: Thickened(Sphere(2), 0.0), ValueError, "tau"),
        (lambda: Scaled(Sphere(2), -1.0), ValueError, "factor"),
        (lambda: random_isometry(2, 3, seed=0), ValueError, "k must"),
        (lambda: Arc(0.0), ValueError, "radius"),
        (lambda: Arc(1.0, 0, 6.3), ValueError, "stop - start"),
        (lambda: Arc(1.0, 1, 0), ValueError, "stop - start"),
        (lambda: Arc(1.0, 1, 1), ValueError, "stop - start"),
        (lambda: Arc(1.0, -math.inf, 0), ValueError, "start"),
        (lambda: Arc(1.0, 0, 1, (0, 0, 0)), ValueError, "centre must be a point of the plane"),
        (lambda: spiral(0), ValueError, "halves"),
        (lambda: spiral(2, -1.0), ValueError, "radius"),
        (lambda: polyline([(0, 0)]), ValueError, "vertices must be at least two"),
        (lambda: polyline([(0, 0), (0, 0), (1, 1)]), ValueError, "two different points"),
        (lambda: polyline([(0, 0), (0,)]), ValueError, "vertices"),
        (lambda: Checkerboard(1), ValueError, "cells"),
        (lambda: Checkerboard(True), ValueError, "cells"),
        (lambda: Checkerboard(2, 0.0), ValueError, "half"),
        (lambda: AffineGaussian((0, 0), [(1, 0), (2, 0)]), ValueError, "axes must be linearly independent"),
        (lambda: AffineGaussian((0, 0), [(1, 0), (1, 1e-13)]), ValueError, "axes must be linearly independent"),
        (lambda: AffineGaussian((0, 0), [(0, 0)]), ValueError, "axes must be linearly independent"),
        (lambda: AffineGaussian((0, 0), [(1, 0), (0, 1), (1, 1)]), ValueError, "axes must be linearly independent"),
        (lambda: AffineGaussian((0,), [(1, 0)]), ValueError, "mean must have 2"),
        (lambda: AffineGaussian((0, math.nan), [(1, 0)]), ValueError, "mean"),
        (lambda: make("star", points=1), ValueError, "points"),
        (lambda: make("concentric", radii=(1, 1)), ValueError, "radii must differ"),
        (lambda: make("concentric", radii=()), ValueError, "laws"),
        (lambda: make("two-moons", radius=1), TypeError, "options of two-moons are none; given 'radius'"),
        (lambda: make("rign"), ValueError, "unknown law 'rign': choose from points, .*, mixed; did you mean 'ring'"),
        (
            lambda: make("ring", raduis=2.0),
            TypeError,
            "options of ring are radius; given 'raduis'; did you mean 'radius'",
        ),
        (lambda: make("ring", dim=1), ValueError, "dim must be at least 2"),
        (lambda: make("ring", thickness=-0.1), ValueError, "thickness"),
    ],
)
def test_bad_construction_is_named(build, error, says):
    with pytest.raises(error, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_values_of_the_wrong_type_are_named():
    """In a process of its own: here the shapes that tests alone check at run time would speak first."""
    script = """
import numpy as np, torch
from theory.manifolds import *
builds = {
    "radius": lambda: make("ring", radius="1"), "dim": lambda: make("ring", dim="3"),
    "dim ": lambda: make("ring", dim=2.5),
    "thickness": lambda: make("ring", thickness="thin"), "points": lambda: make("star", points=2.5),
    "closed": lambda: make("polyline", closed=1), "dim  ": lambda: Sphere("3"), "dim   ": lambda: Sphere(True),
    "std": lambda: Gaussians([(0,)], std="wide"), "weights": lambda: Gaussians([(0,)], weights="even"),
    "radius ": lambda: Arc("1"), "start": lambda: Segment("a", "b"), "tau": lambda: Thickened(Sphere(2), "a"),
    "factor": lambda: Scaled(Sphere(2), None), "halves": lambda: spiral("2"), "laws": lambda: Mixture(Sphere(2)),
    "cells": lambda: Checkerboard(4.0), "law": lambda: make(3),
}
for name, build in builds.items():
    try:
        print("accepted", name, build())
    except (TypeError, ValueError) as error:
        text = str(error)
        print("named" if text.startswith(name.strip() + " must") and "given" in text else "badly", text)
assert Sphere(np.int64(3)) == Sphere(3) and type(Sphere(np.int64(3)).dim) is int
assert make("Ring", dim=np.int32(4)) == make("ring", dim=4) and make("8-RING") == make("8-ring")
assert Gaussians([(float(i),) for i in range(10)], weights=torch.full((10,), 0.1)).weights == (0.1,) * 10
assert Gaussians([(float(i),) for i in range(10)], weights=list(np.full(10, 0.1, np.float32))).weights == (0.1,) * 10
"""
    done = forked("-c", script)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 18
    assert [line for line in lines if not line.startswith("named ")] == []


@every_law
def test_the_distance_has_a_finite_hessian_on_m(law):
    """It is 0 where x is its own nearest point, by what `Law` says; beside M it is that of the norm."""
    x = law.project(draw(law, 5, seed=9))
    for point in torch.cat([x, x + 0.1 * normal(5, law.dim)]):
        assert torch.autograd.functional.hessian(law.distance, point).isfinite().all()
    on = x[(x == law.project(x)).all(-1)]
    for point in on:
        assert torch.autograd.functional.jacobian(law.distance, point).norm() < 1 + 1e-12


@every_law
@pytest.mark.parametrize(("dtype", "edge"), [(torch.float32, 1e18), (torch.float64, 1e75)])
def test_finite_values_reach_to_the_edge(law, dtype, edge):
    """|y| / alpha, nsr and |y| / sigma up to the edge that `Law` states, and nsr down to its inverse."""
    y = torch.nn.functional.normalize(normal(1, law.dim), dim=-1)[0].to(dtype)
    for alpha, sigma in ((1.0, 2 / edge), (1.0, edge / 2), (2 / edge, 1.0)):
        for value in (law.log_density(y, alpha, sigma), law.denoise(y, alpha, sigma)):
            assert value.isfinite().all(), (alpha, sigma)


def test_beyond_the_edge_values_are_not_finite():
    ring, y = make("ring"), torch.ones(2)
    assert not ring.log_density(y, 1e-30, 1e-30).isfinite()  # |y| / sigma is 1e30: its square is no float32
    assert ring.log_density(y.double(), 1e-30, 1e-30).isfinite()


@pytest.mark.parametrize("name", names())
def test_make_embeds_by_one_isometry_and_thickens_in_the_whole_space(name):
    plain, embedded, thick = make(name), make(name, dim=7), make(name, dim=7, thickness=0.5)
    assert plain.dim < embedded.dim == thick.dim == thick.intrinsic_dim == 7
    assert embedded.intrinsic_dim == plain.intrinsic_dim
    basis = random_isometry(7, plain.dim, seed=0)
    torch.testing.assert_close(draw(embedded, 5), draw(plain, 5) @ basis.T, rtol=1e-12, atol=1e-12)
    added = (
        thick.sample(4000, torch.Generator().manual_seed(0)) - embedded.sample(4000, torch.Generator().manual_seed(0))
    ).std(0)
    assert ((added - 0.5).abs() < 0.5 * 6 / math.sqrt(2 * 4000)).all()  # 6 standard errors: once in 5e8


# --- Combinators and parameters against other ways to write the same law

TAU = 2 * math.pi
LINE = AffineGaussian((0,), [(0.5,)])
ROTATION = random_isometry(2, 2, seed=5)
ARC = [(math.cos(t), math.sin(t)) for t in (0.1, 1.3, 4.0)]
TURNED = [tuple(p) for p in (torch.tensor(ARC, dtype=torch.float64) @ ROTATION.T).tolist()]
SAME = {
    "thickened points are Gaussians": (Thickened(Gaussians(ARC), 0.3), Gaussians(ARC, 0.3)),
    "thickening adds variances": (Thickened(Gaussians(ARC, 0.3), 0.4), Gaussians(ARC, 0.5)),
    "thickening twice": (Thickened(Thickened(Sphere(2), 0.3), 0.4), Thickened(Sphere(2), 0.5)),
    "segments make a box": (Product(Segment((0,), (1,)), Segment((-2,), (3,))), Box((0, -2), (1, 3))),
    "a mixture of points": (
        Mixture([Gaussians([p]) for p in ARC], (0.2, 0.3, 0.5)),
        Gaussians(ARC, 0, (0.2, 0.3, 0.5)),
    ),
    "a mixture of unlike Gaussians": (
        Mixture([Gaussians([p], s) for p, s in zip(ARC, (0, 0.2, 1), strict=True)]),
        Gaussians(ARC, (0, 0.2, 1)),
    ),
    "two halves of a segment": (
        Mixture([Segment((0, 0), (1, 1)), Segment((1, 1), (4, 4))], (0.25, 0.75)),
        Segment((0, 0), (4, 4)),
    ),
    "turned points": (Embedded(Gaussians(ARC, 0.1), ROTATION.tolist()), Gaussians(TURNED, 0.1)),
    "turned segment": (Embedded(Segment(*ARC[:2]), ROTATION.tolist()), Segment(*TURNED[:2])),
    "a turned circle is a circle": (Embedded(Sphere(2), ROTATION.tolist()), Sphere(2)),
    "moved box": (Embedded(Box((0, 0), (1, 2)), [(1, 0), (0, 1)], (3, -1)), Box((3, -1), (4, 1))),
    "a flat segment in the plane": (
        Embedded(Segment((-1,), (2,)), [(0.6,), (0.8,)], (1, 0)),
        Segment((0.4, -0.8), (2.2, 1.6)),
    ),
    "scaled circle": (Scaled(Sphere(2), 3.0), Sphere(2, 3.0)),
    "scaled Gaussians": (Scaled(Gaussians([(1, 0), (0, 2)], 0.1), 3.0), Gaussians([(3, 0), (0, 6)], 0.3)),
    "scaled box": (Scaled(Box((0, 1), (1, 3)), 0.5), Box((0, 0.5), (0.5, 1.5))),
    "two arcs make a circle": (
        Mixture([Arc(2.0, 0.4, 2.9, (1, -1)), Arc(2.0, 2.9, 0.4 + 2 * math.pi, (1, -1))], (2.5 / TAU, 1 - 2.5 / TAU)),
        Embedded(Sphere(2, 2.0), [(1, 0), (0, 1)], (1, -1)),
    ),
    "a cut arc": (Mixture([Arc(1.0, 0, 1), Arc(1.0, 1, 4)], (0.25, 0.75)), Arc(1.0, 0, 4)),
    "a turned arc": (
        Embedded(Arc(1.0, 0, 2), [(0, -1), (1, 0)], (1, 2)),
        Arc(1.0, math.pi / 2, math.pi / 2 + 2, (1, 2)),
    ),
    "scaled arc": (Scaled(Arc(1.0, 0, 2, (1, 2)), 3.0), Arc(3.0, 0, 2, (3, 6))),
    "scaled spiral": (Scaled(spiral(3, 1.0), 2.0), spiral(3, 2.0)),
    "a straight polyline": (polyline([(0, 0), (1, 1), (4, 4)]), Segment((0, 0), (4, 4))),
    "a polyline is open": (
        polyline([(0, 0), (1, 0), (1, 3)]),
        Mixture([Segment((0, 0), (1, 0)), Segment((1, 0), (1, 3))], (0.25, 0.75)),
    ),
    "a polygon is four segments": (
        polyline([(0, 0), (3, 0), (3, 1), (0, 1)], closed=True),
        Mixture(
            [Segment((0, 0), (0, 1)), Segment((0, 0), (3, 0)), Segment((3, 0), (3, 1)), Segment((3, 1), (0, 1))],
            (0.125, 0.375, 0.125, 0.375),
        ),
    ),
    "a board of boxes": (
        Checkerboard(3, 1.5),
        Mixture(
            [Box((a, b), (a + 1, b + 1)) for a, b in [(-1.5, -1.5), (-1.5, 0.5), (-0.5, -0.5), (0.5, -1.5), (0.5, 0.5)]]
        ),
    ),
    "a line of Gaussians": (
        AffineGaussian((1, 2), [(0.3, 0.4)]),
        Embedded(LINE, [(0.6,), (0.8,)], (1, 2)),
    ),
    "Gaussian axes": (
        AffineGaussian((1, 2), [(0.3, 0), (0, 0.7)]),
        AffineGaussian((1, 2), [(0.3 * 0.6, 0.7 * 0.8), (-0.3 * 0.8, 0.7 * 0.6)]),
    ),
    "points in a product": (Product(Gaussians([(1,)]), Gaussians([(0,), (2,)])), Gaussians([(1, 0), (1, 2)])),
    "unit grid": (make("grid", std=0.1), Product(*[Gaussians([(float(k),) for k in range(-2, 3)], 0.1)] * 2)),
}


@pytest.mark.parametrize(("law", "twin"), SAME.values(), ids=SAME.keys())
@settings(max_examples=8)
@given(nsr=st.floats(1e-2, 1e3), distance=st.floats(0, 1e3), angle=st.floats(0, 6.3))
def test_two_ways_to_write_a_law_agree(law, twin, nsr, distance, angle):
    y = 0.7 * (distance * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64) + normal(3, 2))
    sigma = 0.7 * nsr
    torch.testing.assert_close(law.log_density(y, 0.7, sigma), twin.log_density(y, 0.7, sigma), rtol=1e-10, atol=1e-10)
    scale = size(twin)
    # a component's log density rounds at |y / sigma|^2 / 2, which moves the shares of the parts
    slack = 1e-10 * scale + 4 * EPS * scale * ((y / sigma).norm(dim=-1) + scale / nsr) ** 2
    assert ((law.denoise(y, 0.7, sigma) - twin.denoise(y, 0.7, sigma)).norm(dim=-1) <= slack).all()
    torch.testing.assert_close(law.distance(y), twin.distance(y), rtol=1e-12, atol=1e-12)
    assert law.intrinsic_dim == twin.intrinsic_dim


# --- Gaussian mixtures against mpmath

MP_MIXTURE = Gaussians(
    [(0.3, -1.2, 0.8), (1.7, 0.4, -0.6), (-0.9, 2.1, 0.2), (0.35, -1.1, 0.9)],
    (0.0, 0.4, 0.02, 0.4),
    (0.1, 0.2, 0.3, 0.4),
)
MP_POINTS = Gaussians(MP_MIXTURE.means, 0.0, (0.1, 0.2, 0.3, 0.4))


def by_mpmath(law, y, s):
    """(log p, x0hat, sum_k r_k |m_k - x0hat| |g_k - score|) in 60 digits; the last, plus 1, bounds x0hat's slope."""
    with mpmath.workdps(60):
        mp, s = mpmath.mpf, mpmath.mpf(s)
        stds = [law.std] * len(law.means) if isinstance(law.std, float) else law.std
        terms = []
        for mu, std, weight in zip(law.means, stds, law._weights.tolist(), strict=True):
            v = s**2 + mp(std) ** 2
            offset = [mp(a) - mp(b) for a, b in zip(y, mu, strict=True)]
            log_term = (
                mpmath.log(mp(weight))
                - law.dim * mpmath.log(2 * mpmath.pi * v) / 2
                - sum(o**2 for o in offset) / (2 * v)
            )
            refined = [(mp(std) ** 2 * mp(a) + s**2 * mp(b)) / v for a, b in zip(y, mu, strict=True)]
            terms.append((log_term, refined, [-o / v for o in offset]))
        top = max(term for term, _, _ in terms)
        shares = [mpmath.exp(term - top) for term, _, _ in terms]
        total = sum(shares)
        shares = [share / total for share in shares]

        def mean(rows):
            return [sum(r * row[j] for r, row in zip(shares, rows, strict=True)) for j in range(law.dim)]

        refined, score = mean([m for _, m, _ in terms]), mean([g for _, _, g in terms])
        spread = sum(
            r
            * mpmath.norm([a - b for a, b in zip(m, refined, strict=True)])
            * mpmath.norm([a - b for a, b in zip(g, score, strict=True)])
            for r, (_, m, g) in zip(shares, terms, strict=True)
        )
        return float(top + mpmath.log(total)), np.array([float(m) for m in refined]), float(spread)


@pytest.mark.parametrize("law", [MP_MIXTURE, MP_POINTS], ids=["unequal std", "points"])
@settings(max_examples=150)
@given(
    nsr=st.floats(-3, 3).map(lambda t: 10**t),
    distance=st.just(0.0) | st.floats(-6, 3).map(lambda t: 10**t),
    direction=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    pair=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_gaussians_agree_with_mpmath(law, nsr, distance, direction, pair):
    """To 1e-10, or to what a change of y by 8 units in its last place does, where that is more."""
    start = np.zeros(3)
    if pair is not None:  # from the middle between two means (or from one) along their plane of equal distance
        a, b = (np.array(law.means[k]) for k in pair)
        start, axis = (a + b) / 2, (a - b) / (np.linalg.norm(a - b) or 1)
        direction = np.array(direction) - axis * (axis @ direction)
    y = start + distance * np.array(direction) / (np.linalg.norm(direction) or 1)
    log_p, refined, spread = by_mpmath(law, y.tolist(), nsr)
    u = torch.from_numpy(y)
    moved = 8 * EPS * (np.linalg.norm(y) + size(law))
    assert float(law.log_density(u, 1.0, nsr)) == pytest.approx(log_p, rel=1e-10, abs=1e-10)
    error = np.linalg.norm(law.denoise(u, 1.0, nsr).numpy() - refined)
    assert error <= 1e-10 * np.linalg.norm(refined) + moved * (1 + spread)


def test_far_out_between_points_only_differences_of_distances_decide():
    """At distance 1e3, nsr 0.05, both points are likely; log densities of 2e8 round at 3e-8 and must not decide."""
    law, nsr = Gaussians([(0.3, -1.2, 0.8), (1.7, 0.4, -0.6)]), 0.05
    a, b = (np.array(mean) for mean in law.means)
    axis = (a - b) / np.linalg.norm(a - b)
    directions = normal(20, 3).numpy() - np.outer(normal(20, 3).numpy() @ axis, axis)  # along their plane of symmetry
    y = torch.from_numpy((a + b) / 2 + 1e3 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    _, refined, spread = zip(*[by_mpmath(law, point, nsr) for point in y.tolist()], strict=True)

    def agrees(candidate):
        error = np.linalg.norm(candidate.numpy() - np.stack(refined), axis=1)
        return (error <= 8 * EPS * (np.linalg.norm(y, axis=1) + size(law)) * (1 + np.array(spread))).all()

    means = torch.tensor(law.means, dtype=torch.float64)
    plain = (-(y[:, None] - means).square().sum(-1) / (2 * nsr**2)).softmax(-1) @ means
    assert agrees(law.denoise(y, 1.0, nsr))
    assert not agrees(plain)


# --- Laws are values


@pytest.mark.parametrize("name", names())
def test_equal_laws_are_one_key(name):
    first, second = make(name), make(name)
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)


def test_different_laws_differ():
    """Every number of a law counts, also those that only a private tensor was made of."""
    count = len(LAWS)
    assert len(set(LAWS.values())) == count
    wide = {
        "dim": make("ring", dim=6),
        "dim, 5": make("ring", dim=5),
        "thickness": make("ring", thickness=0.1),
        "another isometry": Embedded(Sphere(2), random_isometry(6, 2, seed=5).tolist()),
        "offset": Embedded(Sphere(2), random_isometry(6, 2, seed=5).tolist(), (1, 0, 0, 0, 0, 0)),
        "weights": make("weighted", weights=(0.1, 0.2, 0.3, 0.4)),
        "means": make("points", means=((-1, 0), (1, 0.5))),
        "std": make("8-ring", std=0.03),
        "mean": make("subspace", mean=(1, 0, 0)),
        "axes": make("subspace", axes=((1, 0, 0), (0, 0.6, 0.2))),
    }
    others = [*(make(name) for name in names()), *wide.values()]
    assert len(set(others)) == len(others)


def test_annotated_shapes_are_checked_here():
    with pytest.raises(jaxtyping.TypeCheckError):
        Sphere(2).distance([[0.0, 1.0]])  # type: ignore[arg-type]
