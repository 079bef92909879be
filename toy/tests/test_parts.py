"""Own parts: the same numbers as ours where they are the same, and one line where they do not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from theory.common import parts
from theory.common.errors import FileError
from theory.levels import Interval, Level
from theory.manifolds import Law, Points, make
from theory.regularity import eps_model_of
from toy.config import Arm, Config, as_dict
from toy.laws import law_of
from toy.training.classes import Classes
from toy.training.denoiser import ingredients
from toy.training.draws import Noise
from toy.training.games import GAMES, game_of
from toy.training.gan import Trainer
from toy.training.penalties import penalty_of
from toy.training.score_models import eps_model, own_file

SMALL = Config(
    seeds=2, width=8, layers=2, batch=12, steps=50, d_ahead=3, samples=32, decoupled=Arm(2e-3, 1e-3), gan=Arm(2e-3)
)
GOOD = """
import math
from types import SimpleNamespace

import torch
from torch.nn.functional import softplus

from theory.manifolds import Mixture, Sphere, make
from theory.regularity import eps_model_of

RING = make("ring")
exact = eps_model_of(RING)
pair = (lambda real, fake: softplus(-real) + softplus(fake), lambda real, fake: softplus(-fake))


class Told:
    uses_real = False
    d_loss, g_loss = map(staticmethod, pair)

    @staticmethod
    def g_slope(real, fake):
        return -torch.sigmoid(-fake)


def r1(d, real, fake):
    (g,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    return g.square().sum(-1) / 2


def r2(d, real, fake):
    (g,) = torch.autograd.grad(d(fake).sum(), fake, create_graph=True)
    return g.square().sum(-1) / 2


def ring():
    return make("ring")


def moons():
    return make("two-moons")


class Plain:  # no Law: what it lacks is derived
    def sample(self, n, generator):
        return RING.sample(n, generator)

    def log_density(self, y, alpha, sigma):
        return RING.log_density(y, alpha, sigma)

    def project(self, x):
        return RING.project(x)


class Denoises(Plain):
    def denoise(self, y, alpha, sigma):
        return RING.denoise(y, alpha, sigma)


class Scores(Plain):
    def score(self, y, alpha, sigma):
        return RING.score(y, alpha, sigma)

    def distance(self, x):
        return (x.norm(dim=-1) - 1).abs()
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the user's files, which is the current one. Numbers are in float64."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(GOOD)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    drawn = Noise._real
    monkeypatch.setattr(Noise, "_real", lambda self, g: drawn(self, g).double())
    yield tmp_path
    torch.set_default_dtype(torch.float32)


def after(config: Config, arm: str = "decoupled", steps: int = 5) -> list[torch.Tensor]:
    """The parameters of both networks after some steps."""
    trainer = Trainer(config, arm, (0, 1))
    trainer.train_ahead()
    for _ in range(steps):
        trainer.step()
    return [trainer.g.theta, trainer.discriminator.network.parameters]


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a pair": ({"loss": "own.py:pair"}, {"loss": "non-saturating"}),
    "an object with one slope": ({"loss": "own.py:Told"}, {"loss": "non-saturating"}),
    "r1": ({"regulariser": "own.py:r1"}, {"regulariser": "r1"}),
    "r2": ({"regulariser": "own.py:r2", "gamma": 0.3}, {"regulariser": "r2", "gamma": 0.3}),
    "conditional r1": (
        {"regulariser": "own.py:r1", "manifold": "8-ring", "conditional": True},
        {"regulariser": "r1", "manifold": "8-ring", "conditional": True},
    ),
    "a lazy r1": (
        {"regulariser": "own.py:r1", "regulariser_every": 2, "regulariser_step": "corrected"},
        {"regulariser": "r1", "regulariser_every": 2, "regulariser_step": "corrected"},
    ),
    "a score": ({"score": "own.py:exact"}, {"score": "analytic"}),
    "a law": ({"manifold": "own.py:ring", "dim": 3, "thickness": 0.1}, {"dim": 3, "thickness": 0.1}),
    "a law without denoise and score": ({"manifold": "own.py:Plain"}, {}),
    "a law without score": ({"manifold": "own.py:Denoises", "dim": 3}, {"dim": 3}),
    "a law without denoise": ({"manifold": "own.py:Scores"}, {}),
}


@pytest.mark.parametrize("what", SAME)
def test_the_same_numbers_as_ours(what: str) -> None:
    mine, ours = (after(dataclasses.replace(SMALL, **changes)) for changes in SAME[what])
    for found, wanted in zip(mine, ours, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)
    other = {"loss": "hinge", "regulariser": "none", "manifold": "square", "score": "perturbed"}
    other = {name: value for name, value in other.items() if name in SAME[what][0]}
    if "conditional" in SAME[what][0]:
        other["manifold"] = "8-ring"
    changed = after(dataclasses.replace(SMALL, **{**SAME[what][1], **other}))
    assert max((a - b).abs().max() for a, b in zip(changed, mine, strict=True)) > 1e-4


def test_strengths_of_rows() -> None:
    """Each row has its own gamma."""
    settings = [Arm(2e-3, 1e-3, gamma=gamma) for gamma in (0.1, 3.0)]
    steps = {}
    for regulariser in ("own.py:r1", "r1"):
        trainer = Trainer(dataclasses.replace(SMALL, regulariser=regulariser), "decoupled", (0, 0), settings)
        trainer.step()
        steps[regulariser] = trainer.discriminator.network.theta
    torch.testing.assert_close(steps["own.py:r1"], steps["r1"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["ring", "Plain", "Denoises", "Scores"])
def test_a_law(name: str) -> None:
    """Samples are equal, formulas agree, and metrics keep what they computed of an equal law."""
    law, ring = law_of(Config(manifold=f"own.py:{name}")), make("ring")
    assert law == law_of(Config(manifold=f"own.py:{name}"))
    assert hash(law) == hash(law_of(Config(manifold=f"own.py:{name}")))
    x, wanted = (of.sample(50, torch.Generator().manual_seed(3)) for of in (law, ring))
    assert torch.equal(x, wanted)
    y = torch.randn(4, 5, 2)
    nsr = torch.rand(5) + 0.1
    for method in ("log_density", "denoise", "score"):
        torch.testing.assert_close(getattr(law, method)(y, 0.8, nsr), getattr(ring, method)(y, 0.8, nsr))
    for method in ("project", "distance"):
        torch.testing.assert_close(getattr(law, method)(y), getattr(ring, method)(y))


def test_points() -> None:
    Path("points.csv").write_text("x,y\n0,1\n2,3\n0.5,0.25\n")
    law = law_of(Config(manifold="points.csv"))
    assert law == Points([(0.0, 1.0), (2.0, 3.0), (0.5, 0.25)])
    assert law_of(Config(manifold="points.csv", thickness=0.1)) != law
    assert law_of(Config(manifold="points.csv", dim=3)).dim == 3


def test_parts_of_a_mixture_are_classes() -> None:
    assert len(Classes(law_of(Config(manifold="own.py:moons")))) == 2
    with pytest.raises(ValueError, match=r"^conditional needs a mixture"):
        Classes(law_of(Config(manifold="own.py:Plain")))


def test_a_game_that_does_not_say_whether_it_uses_real_logits_gets_them() -> None:
    assert game_of("own.py:pair").uses_real
    assert not game_of("own.py:Told").uses_real
    assert game_of("hinge") is GAMES["hinge"]


def test_names_stay_names() -> None:
    assert penalty_of("none") is penalty_of("spectral") is None
    assert Config(manifold="RING").manifold == "ring"
    assert not parts.is_own("8-ring")
    assert parts.label("8-ring") == "8-ring"
    assert parts.label(Config(manifold="own.py:ring").manifold) == "own.py:ring"


def test_a_configuration_holds_the_content(own: Path) -> None:
    """As it was given, with the digest behind it, through any number of copies; another content is another one."""
    digest = hashlib.sha256(GOOD.encode()).hexdigest()[:16]
    config = Config(manifold=f"{own}/own.py:ring", loss="own.py:pair")
    assert (config.manifold, config.loss) == (f"{own}/own.py:ring@{digest}", f"own.py:pair@{digest}")
    assert dataclasses.replace(config, steps=3).loss == config.loss
    assert as_dict(config)["loss"] == config.loss
    game_of(config.loss)
    (own / "own.py").write_text(GOOD + "# changed\n")
    says = "^own.py has changed since the run began: its SHA-256 begins with [0-9a-f]{16}, that of the run with "
    says += f"{digest}$"
    with pytest.raises(FileError, match=says):
        Config(loss=config.loss)
    with pytest.raises(FileError, match=says):  # in a process that the configuration was sent to
        game_of(config.loss)
    assert Config(loss="own.py:pair") != config


def test_a_changed_file_is_run_again(own: Path) -> None:
    first = game_of(Config(loss="own.py:pair").loss)
    (own / "own.py").write_text(GOOD.replace("lambda real, fake: softplus(-fake))", "lambda real, fake: -fake)"))
    second = game_of(Config(loss="own.py:pair").loss)
    logits = torch.tensor([[[0.3]]])
    assert not torch.equal(first.g_loss(logits, logits), second.g_loss(logits, logits))


def test_a_learned_score_is_of_the_content(own: Path) -> None:
    """Also where the law's repr does not show what decides it."""
    config = Config(manifold="own.py:ring")
    assert own_file(config.manifold) == config.manifold
    assert own_file("ring") == ""
    plain = law_of(Config(manifold="own.py:Plain"))
    assert Config(manifold="own.py:Plain").manifold in ingredients(plain, 3, Interval(0.1, 0.2), 0)["law"]


def test_an_own_score_is_asked_as_the_exact_one() -> None:
    x_t, nsr = torch.randn(2, 3, 2), torch.rand(2, 3) + 0.1
    level = Level.variance_exploding(nsr)
    config = Config(score="own.py:exact")
    found = eps_model(config, make("ring"))(x_t, level)
    assert torch.equal(found, eps_model_of(make("ring"))(x_t, level))


LAW = """
import torch
from types import SimpleNamespace
def sample(n, generator):
    return torch.randn(n, 2, generator=generator)
def log_density(y, alpha, sigma):
    v = alpha**2 + sigma**2
    return -y.square().sum(-1) / (2 * v) - torch.log(2 * torch.pi * v)
def project(x):
    return x
law = SimpleNamespace(sample=sample, log_density=log_density, project=project)
"""
TORCH = "import torch\n"
WRONG = {  # what the file holds -> (option, name, content, what is said)
    "no object": ("loss", "lss", "loss = 3", "x.py has no lss; did you mean 'loss'?"),
    "no code": ("loss", "a", "a = (", "x.py cannot be run: SyntaxError, line 1: "),
    "raises": ("loss", "a", "\na = 1 / 0", "x.py cannot be run: ZeroDivisionError, line 2: division by zero"),
    "leaves": ("loss", "a", "raise SystemExit(3)", "x.py cannot be run: SystemExit, line 1: 3"),
    "lacks a module": ("loss", "a", "import nothing_of_this_name", "x.py cannot be run: ModuleNotFoundError, line 1: "),
    "one loss": ("loss", "a", "a = (abs,)", "x.py:a must be a pair of functions (d_loss, g_loss), or an object that"),
    "a number": ("loss", "a", "a = 3", "x.py:a must be a pair of functions (d_loss, g_loss), or an object that has"),
    "a mean": (
        "loss",
        "a",
        "a = (lambda r, f: (f - r).mean(), lambda r, f: -f)",
        "x.py:a: d_loss must return a value for each pair of logits, [2, 3, 1]; given []",
    ),
    "not elementwise": (
        "loss",
        "a",
        "a = (lambda r, f: f - r.mean(), lambda r, f: -f)",
        "x.py:a: d_loss mixes the seeds, which are the first axis of the logits",
    ),
    "no numbers": (
        "loss",
        "a",
        "a = (lambda r, f: f - r, lambda r, f: (f - 100).log())",
        "x.py:a: g_loss is NaN or infinite at ordinary logits",
    ),
    "constant": ("loss", "a", "a = (lambda r, f: f - r, lambda r, f: f.detach())", "x.py:a is no game: RuntimeError"),
    "slopes": (
        "loss",
        "a",
        "class a:\n    d_loss = g_loss = g_slope = lambda r, f: f\n    d_slopes = lambda r, f: (f.mean(), f)",
        "x.py:a is no game: ",
    ),
    "no penalty": ("regulariser", "a", "a = 3", "x.py:a must be a function (d, real, fake); given int"),
    "a mean penalty": (
        "regulariser",
        "a",
        "def a(d, real, fake):\n    return d(real).square().mean()",
        "x.py:a must return a value a sample, [2, 5]; given []",
    ),
    "no graph": (
        "regulariser",
        "a",
        TORCH + "def a(d, real, fake):\n    return torch.autograd.grad(d(real).sum(), real)[0].norm(dim=-1)",
        "x.py:a does not depend on the discriminator: does torch.autograd.grad have create_graph?",
    ),
    "without D": (
        "regulariser",
        "a",
        "def a(d, real, fake):\n    return real.sum(-1)",
        "x.py:a is no penalty: Runtime",
    ),
    "infinite penalty": (
        "regulariser",
        "a",
        "def a(d, real, fake):\n    return (d(real)[..., 0] - 1000).sqrt()",
        "x.py:a has a gradient that is NaN or infinite, at ordinary samples",
    ),
    "wrong arguments": ("regulariser", "a", "def a(d):\n    return d", "x.py:a is no penalty: TypeError: a() takes 1"),
    "no score": ("score", "a", "a = 3", "x.py:a must be a function (x_t, level); given int"),
    "another shape": (
        "score",
        "a",
        "def a(x_t, level):\n    return x_t.sum(-1)",
        "x.py:a must return eps as x_t is, torch.float32 [2, 3, 2]; given torch.float32 [2, 3]",
    ),
    "another type": ("score", "a", "def a(x_t, level):\n    return x_t.double()", "x.py:a must return eps as x_t is, "),
    "no array": ("score", "a", "def a(x_t, level):\n    return 0.0", "x.py:a must return eps as x_t is, torch.float32"),
    "broadcast": (
        "score",
        "a",
        "def a(x_t, level):\n    return x_t * level.sigma",
        "x.py:a is no score: RuntimeError, line 2: The size of tensor a (2) must match the size of tensor b (3)",
    ),
    "nan score": ("score", "a", "def a(x_t, level):\n    return x_t / 0", "x.py:a returns NaN or infinity at noised"),
    "not differentiable": (
        "score",
        "a",
        "def a(x_t, level):\n    return x_t.detach()",
        "x.py:a is not differentiable in x_t, as the term full needs it; --term detached does not",
    ),
    "no law": ("manifold", "a", "a = 3", "x.py:a is no law, nor does it return one: it has no method sample"),
    "an abstract law": (
        "manifold",
        "a",
        "from theory.manifolds import Law\nclass a(Law):\n    pass",
        "x.py:a returns no law: TypeError: Can't instantiate abstract class a",
    ),
    "no sample": ("manifold", "a", "def a():\n    return 3", "x.py:a lacks sample, which does not follow from what it"),
    "no density": ("manifold", "law", LAW + "del law.log_density", "x.py:law lacks log_density, which does not follow"),
    "no projection": ("manifold", "law", LAW + "del law.project", "x.py:law lacks project, which does not follow from"),
    "samples that are not finite": (
        "manifold",
        "law",
        LAW + "law.sample = lambda n, generator: sample(n, generator).log()",
        "x.py:law: sample returns NaN or infinite points",
    ),
    "another generator": (
        "manifold",
        "law",
        LAW + "law.sample = lambda n, generator: torch.randn(n, 2)",
        "x.py:law: sample must draw from the generator that it is given",
    ),
    "flat samples": (
        "manifold",
        "law",
        LAW + "law.sample = lambda n, generator: sample(n, generator)[:, 0]",
        "x.py:law: sample(n, generator) must return points [n, d]; given torch.float32 [2]",
    ),
    "one coordinate": (
        "manifold",
        "law",
        LAW + "law.sample = lambda n, generator: sample(n, generator)[:, :1]",
        "x.py:law lies in R^1: the toy needs points of two coordinates or more",
    ),
    "another dimension": (
        "manifold",
        "law",
        LAW + "law.dim = 3",
        "x.py:law: sample must return a tensor [64, 3]; given",
    ),
    "a wrong score": (
        "manifold",
        "law",
        LAW + "law.score = lambda y, alpha, sigma: -2 * y",
        "x.py:law: score is not the gradient of log_density; they differ by ",
    ),
    "a wrong mean": (
        "manifold",
        "law",
        LAW
        + "law.denoise = lambda y, alpha, sigma: 2 * y\n"
        + "law.score = lambda y, alpha, sigma: -y / (1 + sigma**2)[..., None]",
        "x.py:law: score is not (denoise - y) / sigma^2, which Tweedie's formula says it is; they differ by ",
    ),
    "a scalar density": (
        "manifold",
        "law",
        LAW + "law.log_density = lambda y, alpha, sigma: log_density(y, alpha, sigma).sum()",
        "x.py:law: log_density must return a tensor [2, 32]; given torch.float32 []",
    ),
    "no gradient": (
        "manifold",
        "law",
        LAW + "law.log_density = lambda y, alpha, sigma: log_density(y.detach(), alpha, sigma)",
        "x.py:law is no law: RuntimeError",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit(what: str) -> None:
    torch.set_default_dtype(torch.float32)
    option, name, content, says = WRONG[what]
    Path("x.py").write_text(content)
    given: dict[str, Any] = {option: f"x.py:{name}"}
    with pytest.raises(FileError, match=f"^{re.escape(says)}[^\n]*$"):
        use(Config(**given))


def use(config: Config) -> Law:
    law = law_of(config)
    game_of(config.loss)
    penalty_of(config.regulariser)
    eps_model(config, law)
    return law


UNWRITTEN = [
    ({"loss": "own.py"}, "loss must name an object of the file: own.py:NAME; given own.py"),
    ({"loss": "own.py:3"}, "loss must name an object of the file: own.py:NAME; given own.py:3"),
    ({"loss": "points.csv"}, "loss must be FILE.py:NAME, or one of saturating, "),
    ({"manifold": "points.csv:a"}, "manifold must be FILE.csv or FILE.npy or FILE.py:NAME, or one of points, "),
    ({"manifold": "rign"}, "unknown manifold 'rign': choose from points, "),
    ({"term": "own.py:pair"}, "unknown term 'own.py:pair': choose from full, "),
    ({"loss": "none.py:a"}, "none.py: No such file or directory (in /"),
    (
        {"manifold": "own.py:ring", "weight_rule": "budget"},
        "weight_rule budget needs a manifold of the list; given own",
    ),
    (
        {"loss": "own.py:pair", "weight_rule": "budget"},
        "weight_rule budget needs loss saturating or non-saturating; giv",
    ),
    (
        {"score": "own.py:exact", "conditional": True},
        "conditional needs the score of each class; given score own.py:exact, one for all",
    ),
]


@pytest.mark.parametrize(("changes", "says"), UNWRITTEN, ids=[str(changes) for changes, _ in UNWRITTEN])
def test_what_cannot_be_meant(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}[^\n]*$"):
        Config(**changes)


def test_options_that_own_parts_use() -> None:
    """A penalty of the user's has a strength, and can be lazy."""
    assert {"gamma", "regulariser_every"} <= set(Config().without_effect())
    assert not {"gamma", "regulariser_every"} & set(Config(regulariser="own.py:r1").without_effect())
