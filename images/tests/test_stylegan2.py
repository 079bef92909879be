"""Training StyleGAN2: adaptive augmentation, groups of images, style mixing, path lengths, truncation."""

from __future__ import annotations

import dataclasses
import io
import math
from itertools import count

import pytest
import torch
from torch import nn

from images.generators import stylegan2
from images.generators.augment import ADAPT_EVERY, make_augment
from images.generators.families import augment_of, networks_of
from images.generators.styles import mix, truncated
from images.recipes import Recipe
from images.tests.test_trainer import TINY, Noise, parameters, score_model
from images.training.losses import path_lengths
from images.training.parallel import World
from images.training.trainer import Trainer

STYLES = dataclasses.replace(
    TINY, generator="stylegan2", width=8, latent=6, loss="non-saturating", penalty="r1", group=4, every=4, mixing=0.9,
    path_weight=2.0, path_every=2,
)  # fmt: skip
ADAPTIVE = dataclasses.replace(STYLES, target=0.6)


@pytest.fixture(autouse=True)
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images stay in float64, as in the trainer's own tests."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    original = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, *a: original(self, *a).double())


def doubled(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    g, d = networks_of(recipe)
    with torch.no_grad():
        for parameter in [*g.parameters(), *d.parameters()]:
            parameter.add_(0.1 * torch.randn_like(parameter))  # zeros hide what they multiply
    return g.double(), d.double()


def trainer(recipe: Recipe, coupling: str = "decoupled", world: World | None = None) -> Trainer:
    augment = augment_of(recipe)
    return Trainer(recipe, coupling, 3, doubled, Noise(recipe=recipe), score_model(), "cpu", world, augment)


# Groups of images


@pytest.mark.parametrize(("coupling", "lazy_steps"), [("decoupled", "summed"), ("own-step", "corrected")])
def test_parts_of_whole_groups_add_up(coupling: str, lazy_steps: str) -> None:
    """Penalties, mixing, path lengths and adaptive augmentation included."""
    recipe = dataclasses.replace(ADAPTIVE, lazy_steps=lazy_steps)
    whole, parts = trainer(recipe, coupling), trainer(dataclasses.replace(recipe, micro=4), coupling)
    for each in (whole, parts):
        each.p = 0.5
        for _ in range(5):
            each.step()
    for a, b in ((whole.g, parts.g), (whole.d, parts.d)):
        torch.testing.assert_close(parameters(b), parameters(a), rtol=0, atol=1e-9)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-9)
    assert (whole.p, whole.signs) == (parts.p, parts.signs)


def test_parts_of_groups_are_refused() -> None:
    said = "micro must be a multiple of group, 4 images that StyleGAN2's discriminator compares.*; given 2"
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(STYLES, micro=2)
    with pytest.raises(ValueError, match=r"batch must be a multiple of group, 4 images.*; given 6"):
        dataclasses.replace(STYLES, batch=6)
    with pytest.raises(ValueError, match="groups of 4 images: batch 8 over 4 processes is 2 each; lower --group"):
        trainer(STYLES, world=World(0, 4))
    assert dataclasses.replace(STYLES, generator="r3gan", mixing=0.0, path_weight=0.0, micro=3).together == 1


def test_a_part_of_a_group_would_be_another_step() -> None:
    """A control of what is refused: it differs by far more than the tolerance above."""
    whole, parts = trainer(STYLES), trainer(STYLES)
    parts.recipe = dataclasses.replace(STYLES, group=2, micro=2)
    whole.step()
    parts.step()
    assert (parameters(whole.d) - parameters(parts.d)).abs().max() > 1e-5


# Adaptive augmentation


def test_the_probability_follows_the_signs_of_real_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up by 1 / 500,000 an image where D is sure of them, then down where it is not; at every fourth step alone."""
    ours = trainer(ADAPTIVE, "gan")
    step = ADAPT_EVERY * ADAPTIVE.batch / 500_000
    by, original = [50.0], ours.d.forward
    monkeypatch.setattr(ours.d, "forward", lambda x, labels: original(x, labels) + by[0])
    found = []
    for by[0] in (50.0, 50.0, -50.0):
        for _ in range(ADAPT_EVERY):
            found.append(ours.p)
            ours.step()
    assert found == pytest.approx([0.0] * 4 + [step] * 4 + [2 * step] * 4, abs=1e-15)
    assert ours.p == pytest.approx(step, abs=1e-15)
    assert ours.losses["real_sign"] == -1
    assert ours.losses["augmentation"] == ours.p


def test_half_of_the_signs_is_below_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of eight positive: mean sign .75, above .6; six: .5, below. Those of generated images do not matter."""
    for positive, expected in ((7, 1), (6, -1)):
        ours = trainer(ADAPTIVE, "gan")
        ours.p = 0.5
        logits = torch.tensor([1.0] * positive + [-1.0] * (8 - positive)).double()
        original, calls = ours.d.forward, count()

        def forward(x: torch.Tensor, labels: torch.Tensor, logits=logits, original=original, calls=calls):
            real = next(calls) % 3 == 0  # then generated ones, twice
            return original(x, labels) * 1e-6 + (logits if real else -logits)

        monkeypatch.setattr(ours.d, "forward", forward)
        for _ in range(ADAPT_EVERY):
            ours.step()
        assert math.copysign(1, ours.p - 0.5) == expected


def test_augmentation_acts_at_the_probability_found() -> None:
    one, other = trainer(ADAPTIVE, "gan"), trainer(ADAPTIVE, "gan")
    other.p = 0.5
    part = slice(0, 8)
    x = one.real(part)[0]
    assert torch.equal(one.augmented(x, 4, part), x)
    u = other.draw(torch.rand, (make_augment("ada").numbers,), 4, part, 0)
    assert torch.equal(other.augmented(x, 4, part), make_augment("ada")(x, u, 0.5))
    assert not torch.equal(other.augmented(x, 4, part), x)


@pytest.mark.parametrize(("coupling", "lazy_steps"), [("decoupled", "summed"), ("own-step", "corrected")])
def test_a_resumed_run_is_an_unbroken_one(coupling: str, lazy_steps: str) -> None:
    """Stopped between two changes of the probability; the average path length goes on as well."""
    recipe = dataclasses.replace(ADAPTIVE, lazy_steps=lazy_steps, corrected=True)
    unbroken, first, second = (trainer(recipe, coupling) for _ in range(3))
    unbroken.p = first.p = 0.5
    for each in (unbroken, first):
        for _ in range(6):
            each.step()
        each.signs += 20  # so that they decide, whatever two steps of eight images gave
    for _ in range(3):
        unbroken.step()
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second.load(torch.load(buffer, weights_only=True))
    assert second.signs == first.signs != 0
    for _ in range(3):
        second.step()
    for a, b in ((second.g, unbroken.g), (second.d, unbroken.d), (second.average, unbroken.average)):
        assert torch.equal(parameters(a), parameters(b))
    assert (second.p, second.signs, second.path) == (unbroken.p, unbroken.signs, unbroken.path)
    assert 0 < abs(second.p - 0.5) < 1e-3
    assert second.path > 0


# Styles


def test_path_lengths_of_a_linear_generator() -> None:
    """image = sum over layers of A_l style_l: the gradient in style_l is A_l' y, whatever the styles are."""
    b, k, s, c, h = 5, 3, 4, 2, 6
    a = torch.randn(k, s, c, h, h, dtype=torch.float64)
    styles = torch.randn(b, k, s, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(b, c, h, h, dtype=torch.float64)
    images = torch.einsum("bks,kschw->bchw", styles, a)
    expected = (torch.einsum("kschw,bchw->bks", a, noise) / h).square().sum(2).mean(1).sqrt()
    assert torch.allclose(path_lengths(images, styles, noise), expected, rtol=1e-12)


def test_path_lengths_differentiate() -> None:
    """For image = exp(w) style, one number each, the length is |exp(w) y|, and grows with w at its own rate."""
    w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    styles = torch.ones(1, 1, 1, dtype=torch.float64, requires_grad=True)
    y = torch.full((1, 1, 1, 1), -2.0, dtype=torch.float64)
    length = path_lengths((w.exp() * styles)[..., None], styles, y)
    (slope,) = torch.autograd.grad(length.sum(), w)
    assert float(length.detach()) == pytest.approx(2 * math.exp(0.3))
    assert float(slope) == pytest.approx(2 * math.exp(0.3))


def test_the_path_term_is_lazy_and_scaled() -> None:
    """Twice the interval at half the strength is the same step; the average moves by a hundredth when it acts."""
    ours = trainer(dataclasses.replace(STYLES, mixing=0.0), "gan")
    same = trainer(dataclasses.replace(STYLES, mixing=0.0, path_weight=1.0, path_every=4), "gan")
    without = trainer(dataclasses.replace(STYLES, mixing=0.0, path_weight=0.0), "gan")
    for each in (ours, same, without):
        each.step()
    assert ours.path == pytest.approx(0.01 * ours.losses["path_length"])
    assert torch.equal(parameters(ours.g), parameters(same.g))
    assert (parameters(ours.g) - parameters(without.g)).abs().max() > 1e-5
    before = ours.path
    ours.step()
    assert ours.path == before


def test_mixing() -> None:
    """The cut falls on layers 1 .. k - 1 alike; of 30,000 samples a frequency is within 5 deviations, one in 10^6."""
    n, k, p = 30_000, 5, 0.9
    u = torch.rand(n, 2, generator=torch.Generator().manual_seed(0))
    mixed = mix(torch.zeros(n, k, 1), torch.ones(n, k, 1), u, p)[..., 0]
    assert (mixed.diff(dim=1) >= 0).all()  # one cut
    assert not mixed[:, 0].any()
    for others in range(k):
        expected = 1 - p if others == 0 else p / (k - 1)
        found = float((mixed.sum(1) == others).double().mean())
        assert abs(found - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


def test_layers_listen_to_their_own_style() -> None:
    """A change of the last style changes the image, but not what the layers below hand on."""
    g = doubled(STYLES)[0].eval()
    assert isinstance(g, stylegan2.Generator)
    styles = g.styles(torch.randn(2, 6).double(), torch.tensor([0, 1])).detach()
    for layer in range(styles.shape[1]):
        other = styles.clone()
        other[:, layer] += 1
        assert (g.synthesis(other) - g.synthesis(styles)).abs().max() > 1e-4


def test_truncation() -> None:
    g = doubled(STYLES)[0].eval()
    assert isinstance(g, stylegan2.Generator)
    styles = g.styles(torch.randn(3, 6).double(), torch.tensor([0, 1, 2]))
    mean = styles[0, 0] + 1
    same = g.synthesis(truncated(styles, mean, 0.0))
    assert torch.allclose(same, g.synthesis(mean.expand_as(styles)))
    assert (same - same[0]).abs().max() < 1e-12
    assert torch.allclose(truncated(styles, mean, 1.0), styles)
    assert torch.allclose(truncated(styles, mean, 0.25) - mean, 0.25 * (styles - mean))
