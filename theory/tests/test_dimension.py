"""intrinsic_dimension: spheres of every dimension, laws of the catalogue, learned scores, and what it refuses."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chi2

from theory.accuracy import dimension
from theory.manifolds import Embedded, Gaussians, Sphere, make, random_isometry
from theory.regularity import eps_model_of, intrinsic_dimension


def sample(law, n, seed=0):
    return law.sample(n, torch.Generator().manual_seed(seed), torch.float64)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 30, 100, 300, 1000])
def test_spheres_are_right_to_a_tenth(n):
    """The standard error is about sqrt(2 / 4096) = 0.022, the bias n^2 nsr^2 = 0.01: 0.1 is 4 errors away."""
    law = Sphere(n + 1)
    found = intrinsic_dimension(eps_model_of(law), sample(law, 2), 0.1 / max(n, 10))
    assert found.value.tolist() == pytest.approx([n, n], abs=0.1)
    assert float(found.error.max()) < 0.03


@pytest.mark.parametrize(
    ("name", "options", "k"),
    [
        ("points", {}, 0),
        ("ring", {"dim": 16}, 1),
        ("swiss-roll", {}, 2),
        ("torus", {"dim": 9}, 2),
        ("segment", {"dim": 5}, 1),
        ("box", {}, 2),
        ("subspace", {"dim": 7}, 2),
        ("8-ring", {"std": 0.2}, 2),
    ],
)
def test_laws_of_the_catalogue(name, options, k):
    law = make(name, **options)
    found = intrinsic_dimension(eps_model_of(law), sample(law, 5, seed=1), 1e-3)
    assert bool(((found.value - k).abs() <= 0.02 + 4.5 * found.error).all())
    assert float((found.value - k).abs().max()) < 0.5


def test_parts_of_several_dimensions_read_their_own():
    x = torch.tensor([[-2.0, 0.0], [0.0, 1.0], [2.0, 0.1]], dtype=torch.float64)
    found = intrinsic_dimension(eps_model_of(make("mixed")), x, 1e-2)
    assert found.value.round().tolist() == [0, 1, 2]


def test_the_standard_error_is_one():
    """z^2 over 100 generators is chi-square(100) but for O(1 / draws): two-sided at 1e-4."""
    law = Embedded(Sphere(3), random_isometry(8, 3, seed=2).tolist())
    x, total = sample(law, 1), 0.0
    for seed in range(100):
        found = intrinsic_dimension(eps_model_of(law), x, 1e-3, 400, torch.Generator().manual_seed(seed))
        total += float((found.value - 2) / found.error) ** 2
    assert chi2.ppf(5e-5, 100) < total < chi2.ppf(1 - 5e-5, 100)


def test_the_control_variate_pays():
    law = Sphere(101)
    found = intrinsic_dimension(eps_model_of(law), sample(law, 1), 1e-3)
    assert float(found.error) < 0.2 * (2 * 100 / 4096) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_dtypes_and_finiteness(dtype):
    law = make("ring", dim=4)
    x = law.sample(6, torch.Generator().manual_seed(0), dtype).reshape(2, 3, 4)
    for nsr in (1e-3, 1.0, 1e3):
        found = intrinsic_dimension(eps_model_of(law), x, nsr, 64)
        for part in found:
            assert part.shape == (2, 3)
            assert part.dtype == dtype
            assert bool(part.isfinite().all())


def test_a_score_that_is_not_exact_is_read_as_it_is():
    """eps_theta = (1 - c) eps*: on M ell_theta = k + c^2 (d - k), since eps* is the normal part of eps."""
    law, c = Sphere(2), 0.3
    exact = eps_model_of(law)
    found = intrinsic_dimension(lambda y, level: (1 - c) * exact(y, level), sample(law, 1), 1e-3, 20_000)
    assert float(found.value) == pytest.approx(1 + c**2, abs=4.5 * float(found.error) + 1e-3)


def test_what_is_refused():
    model, x = eps_model_of(Gaussians([(0.0, 0.0)])), torch.zeros(2)
    whole: dict[str, Any] = {"eps_model": model, "x": x, "nsr": 0.1}
    for change, says in (
        ({"nsr": 0.0}, "nsr must be positive"),
        ({"nsr": "small"}, "nsr must be a finite number"),
        ({"draws": 2}, "draws must be a whole number of at least 3"),
        ({"x": x[:0]}, "x must hold at least one point"),
    ):
        with pytest.raises(ValueError, match=says):
            intrinsic_dimension(**whole | change)
    with pytest.raises(TypeError, match="x must be a float32 or float64 tensor"):
        intrinsic_dimension(model, [0.0, 0.0], 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eps_model must return x's shape"):
        intrinsic_dimension(lambda y, level: y[:1], x, 0.1)


def test_the_table_is_made_without_scikit_dimension_too(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "skdim", None)  # an import of it fails
    monkeypatch.setattr(dimension, "laws", lambda: {"S^2": Sphere(3)})
    assert dimension.main(["--csv", str(tmp_path / "dimension.csv")]) == 0
    assert capsys.readouterr().err == "scikit-dimension is not installed: its columns are left out\n"
    header, row = (tmp_path / "dimension.csv").read_text().splitlines()
    assert header == 'law,dim,k,score,"score, standard error"'
    name, dim, k, score, _ = row.split(",")
    assert (name, dim, k) == ("S^2", "3", "2")
    assert float(score) == pytest.approx(2, abs=0.05)


def test_the_table_asks_each_estimator_with_all_samples(monkeypatch, tmp_path, capsys):
    class Shape:
        """Its dimension is the samples' number times 1.23456 beside their dim."""

        def fit(self, x):
            self.dimension_ = len(x) * 1.23456 + x.shape[1]
            return self

    skdim = SimpleNamespace(id=SimpleNamespace(**dict.fromkeys(dimension.ESTIMATORS, Shape)))
    monkeypatch.setitem(sys.modules, "skdim", skdim)
    monkeypatch.setattr(dimension, "laws", lambda: {"S^2": Sphere(3)})
    assert dimension.main(["--csv", str(tmp_path / "dimension.csv")]) == 0
    assert capsys.readouterr().err == ""
    header, row = (tmp_path / "dimension.csv").read_text().splitlines()
    assert header.split(",")[-6:] == list(dimension.ESTIMATORS)
    assert row.split(",")[-6:] == ["1237.56"] * 6


def test_the_laws_of_the_table_are_those_that_it_names():
    for name, law in dimension.laws().items():
        if found := re.search(r"R\^(\d+)", name):
            assert law.dim == int(found[1])
        if name.startswith("S^"):
            assert law.intrinsic_dim == law.dim - 1 == int(name[2:])


def test_the_committed_table_is_right_to_a_tenth():
    with (Path(__file__).parents[1] / "results" / "dimension.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 12
    for row in rows:
        assert abs(float(row["score"]) - float(row["k"])) < 0.1


@pytest.mark.parametrize(("dim", "draws", "calls"), [(2, 3, [3]), (2**17, 5, [2, 2, 1])])
def test_as_many_draws_as_are_asked_for(dim, draws, calls):
    """In blocks of at most 2^18 coordinates."""
    seen = []

    def model(y, level):
        seen.append(len(y))
        return y

    intrinsic_dimension(model, torch.zeros(dim), 0.1, draws)
    assert seen == calls
