"""The trainer against plain autograd and Adam; what its random numbers and its resumption depend on."""

from __future__ import annotations

import copy
import dataclasses
import io
import itertools
import math
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from images.bench.peers import randomise
from images.datasets.dataset import batch_flips, batch_indices
from images.denoisers.precondition import EDMScore
from images.denoisers.song import SongConfig, SongUNet
from images.draws import (
    DENOISER,
    EVALUATE,
    INIT,
    OF_D,
    OF_G,
    OF_PATHS,
    OF_PENALTIES,
    OF_SCORE,
    PATH,
    SAMPLE,
    SCORE,
    Streams,
    draw,
)
from images.generators.small import SmallDiscriminator, SmallGenerator
from images.recipes import COUPLINGS, DIGITS, INTERVALS, OFFERED, Recipe, interval
from images.training.losses import bounded
from images.training.parallel import World
from images.training.trainer import Trainer
from images.training.update import adam_of_d, correction, take
from theory.common.errors import Diverged, OutOfMemory
from theory.common.seeds import generator
from theory.levels import Level, index_interval

TINY = dataclasses.replace(
    DIGITS, width=4, latent=4, batch=8, images=800, burn_in=400, ema=40, every=2, penalty_every=2, gamma=(0.5, 0.1),
    lr=(1e-3, 1e-4), beta1=0.0, beta2=(0.9, 0.99), weight=0.5, decoupled_weight=0.5, clip=0.05, bound=1.2,
)  # fmt: skip


class Noise:
    """Images of noise, in float64."""

    def __init__(self, n: int = 30, recipe: Recipe = TINY):
        g = generator(5, 99)
        self.x = torch.rand(n, recipe.channels, recipe.resolution, recipe.resolution, generator=g).double() * 2 - 1
        self.classes = recipe.classes

    def __len__(self) -> int:
        return len(self.x)

    def labels(self, which: torch.Tensor) -> torch.Tensor:
        return which % self.classes

    def take(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[which], self.labels(which)


def networks(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    g = SmallGenerator(recipe.latent, recipe.classes, recipe.channels, recipe.width)
    return g.double(), SmallDiscriminator(recipe.classes, recipe.channels, recipe.width).double()


def score_model() -> EDMScore:
    network = SongUNet(SongConfig(8, 1, 1, width=8, multipliers=(1,), blocks=1, attention=(), classes=10))
    network = randomise(network).double()  # type: ignore[assignment]
    return EDMScore(network).requires_grad_(False).eval()


def trainer(coupling: str = "summed", recipe: Recipe = TINY, **options) -> Trainer:
    return Trainer(recipe, coupling, 3, networks, Noise(), score_model(), **options)


def parameters(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def reference(recipe: Recipe, coupling: str, steps: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The same training, written out: G, D and the average after so many steps."""
    t = trainer(coupling, recipe)
    parts: list[Any] = [copy.deepcopy(part) for part in (t.g, t.d, t.average, t.data, t.score)]
    g, d, average, data, score = parts
    whole = slice(0, recipe.batch)
    corrected = recipe.lazy_steps == "corrected"
    c_d = recipe.penalty_every / (recipe.penalty_every + 1) if corrected else 1.0
    more = [recipe.path_every] * corrected + [recipe.every] * (recipe.corrected and coupling == "own-step")
    c_g = 1 / (1 + sum(1 / k for k in more))
    g_adam, d_adam, second = (torch.optim.Adam(part.parameters(), lr=1.0, eps=1e-8) for part in (g, d, g))
    moments = [torch.zeros_like(p) for p in g.parameters()]

    def latent(streams: Streams, step: int) -> torch.Tensor:
        return draw(torch.randn, (recipe.latent,), 3, streams.latent, step, whole).double()

    def penalty(images: dict[str, torch.Tensor], y: torch.Tensor, gamma: float) -> torch.Tensor:
        found = [0 * d(images["real"], y).sum()]  # what it does not depend on has gradient 0, which Adam averages too
        for kind in ("real", "fake")[: 2 if recipe.penalty == "r1+r2" else 1]:
            (slope,) = torch.autograd.grad(d(images[kind], y).sum(), images[kind], create_graph=True)
            found.append(recipe.penalty_every * gamma / 2 * slope.pow(2).sum((1, 2, 3)).mean())
        return torch.stack(found).sum()

    def term(x: torch.Tensor, y: torch.Tensor, step: int) -> torch.Tensor:
        """Each image's mean over pixels."""
        eps = draw(torch.randn, (1, 8, 8), 3, SCORE, 2 * step, whole).double()
        u = draw(torch.rand, (), 3, SCORE, 2 * step + 1, whole).double()
        nsr = (recipe.low + (recipe.high - recipe.low) * u)[:, None, None, None]
        found = score(x + nsr * eps, Level(1.0, nsr[:, 0, 0, 0]), y)
        return F.mse_loss(found, eps, reduction="none").mean((1, 2, 3))

    def move(adam: torch.optim.Adam, loss: torch.Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    for step in range(steps):
        c = 0.5 * (1 + math.cos(math.pi * min(1, step * recipe.batch / recipe.burn_in)))
        lr, gamma, beta2 = (b + (a - b) * c for a, b in (recipe.lr, recipe.gamma, recipe.beta2))
        for adam, power in ((g_adam, c_g), (second, 1), (d_adam, c_d)):
            adam.param_groups[0].update(lr=lr * power, betas=(recipe.beta1**power, beta2**power))
        x, y = data.take(batch_indices(3, step, recipe.batch, len(data)))
        # discriminator
        images = {"real": x.clone().requires_grad_(), "fake": g(latent(OF_D, step), y).detach().requires_grad_()}
        real_logits, fake_logits = d(images["real"], y), d(images["fake"], y)
        if recipe.loss == "relativistic":
            loss = torch.log1p(torch.exp(fake_logits - real_logits)).mean()
        else:
            loss = -(torch.sigmoid(real_logits).log() + (1 - torch.sigmoid(fake_logits)).log()).mean()
        penalised = step % recipe.penalty_every == 0
        if penalised and recipe.lazy_steps == "summed":
            loss = loss + penalty(images, y, gamma)
        move(d_adam, loss)
        if penalised and recipe.lazy_steps != "summed":
            images["fake"] = g(latent(OF_PENALTIES, step), y).detach().requires_grad_()
            move(d_adam, penalty(images, y, gamma))
        # generator
        fake = g(latent(OF_G, step), y)
        margin = d(fake, y) - d(x, y) if recipe.loss == "relativistic" else d(fake, y)
        loss = torch.log1p(torch.exp(-margin)).mean()
        scored = coupling != "gan" and step % recipe.every == 0
        if scored and coupling in ("decoupled", "bounded"):
            inner = fake.detach().requires_grad_()
            (slope,) = torch.autograd.grad(recipe.decoupled_weight * term(inner, y, step).mean(), inner)
            if coupling == "bounded":
                lengths = slope.flatten(1).norm(dim=1)
                limit = recipe.bound * lengths.sort().values[(len(lengths) - 1) // 2]
                slope = torch.stack([s * min(1.0, float(limit / n)) for s, n in zip(slope, lengths, strict=True)])
            apart = torch.autograd.grad(fake, list(g.parameters()), slope, retain_graph=True)
        if scored and coupling == "summed":
            loss = loss + recipe.weight * term(fake, y, step).mean()
        move(g_adam, loss)
        if scored and coupling in ("decoupled", "bounded"):
            forget = recipe.momentum**recipe.every
            for p, m, a in zip(g.parameters(), moments, apart, strict=True):
                m.copy_(forget * m + (1 - forget) * a)
                v = g_adam.state[p]["exp_avg_sq"] / (1 - beta2 ** (c_g * (step + 1)))
                mean = m / (1 - forget ** (step // recipe.every + 1))
                p.data -= lr * c_g * (mean / (v.sqrt() + 1e-8)).clamp(-recipe.clip, recipe.clip)
        if scored and coupling in ("own-step", "two-adams"):
            own = recipe.weight * term(g(latent(OF_SCORE, step), y), y, step).mean()
            move(g_adam if coupling == "own-step" else second, own)
        keep = 0.5 ** (recipe.batch / min(recipe.ema, (step + 1) * recipe.batch / 20))
        for mean, now in zip(average.parameters(), g.parameters(), strict=True):
            mean.copy_(keep * mean + (1 - keep) * now.detach())
    return g, d, average


@pytest.fixture(autouse=True)
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer computes images in float32; here they stay in float64, so that the reference is met exactly."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    original = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, *a: original(self, *a).double())


@pytest.mark.parametrize(
    ("coupling", "options"),
    [
        *((coupling, {}) for coupling in COUPLINGS),
        ("decoupled", {"loss": "non-saturating", "penalty": "r1"}),
        ("own-step", {"corrected": True, "beta1": 0.5}),
        ("own-step", {"corrected": True, "lazy_steps": "corrected", "beta1": 0.5}),
        ("two-adams", {"lazy_steps": "own-step"}),
        ("decoupled", {"lazy_steps": "corrected", "loss": "non-saturating", "penalty": "r1", "clip": 100.0}),
    ],
)
def test_it_does_what_autograd_and_adam_do(coupling: str, options: dict) -> None:
    recipe = dataclasses.replace(TINY, **options)
    ours = trainer(coupling, recipe)
    for _ in range(5):
        ours.step()
    for found, wanted in zip((ours.g, ours.d, ours.average), reference(recipe, coupling, 5), strict=True):
        torch.testing.assert_close(parameters(found), parameters(wanted), rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [1, 4, 16])
def test_the_correction_makes_k_plus_one_steps_count_as_k(k: int) -> None:
    """Adam moves by lr along a constant gradient at every step: k + 1 corrected steps by k lr. Its second moment keeps
    the same share of what it was. Two terms at every second step bring as many steps as one at each."""
    recipe = dataclasses.replace(TINY, penalty_every=k, lazy_steps="corrected")
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = adam_of_d([x], recipe)
    for _ in range(k + 1):
        adam.move([torch.tensor([-3.0]).double()], 0.01, 0.9)
    assert x.item() == pytest.approx(k * 0.01, rel=1e-6)  # Adam's eps is 1e-8 of a gradient of 3
    state = adam.optimizer.state[x]
    assert state["exp_avg_sq"].item() == pytest.approx(9 * (1 - 0.9**k), rel=1e-12)
    assert correction([2, 2]) == pytest.approx(correction([1]))


def test_a_bounded_gradient_keeps_its_direction() -> None:
    x = torch.randn(6, 2, 3, 3, dtype=torch.float64, generator=generator(0, 1))
    x[0] = 0
    lengths = x.flatten(1).norm(dim=1)
    found = bounded(x, lengths.median())
    assert torch.allclose(found.flatten(1).norm(dim=1), lengths.clamp(max=lengths.median()))
    assert torch.allclose(found * lengths[:, None, None, None], x * found.flatten(1).norm(dim=1)[:, None, None, None])


def test_a_step_of_its_own_has_latents_of_its_own() -> None:
    """The streams of all gradients differ; the score term of own-step sees other images than the game."""
    streams = [*OF_D, *OF_G, *OF_PENALTIES, *OF_PATHS, *OF_SCORE, INIT, SCORE, DENOISER, EVALUATE, PATH, SAMPLE]
    assert len(set(streams)) == len(streams)
    seen: dict[str, list[Streams]] = {}
    for coupling in ("summed", "own-step"):
        ours, used = trainer(coupling), seen.setdefault(coupling, [])
        original = ours.generated

        def generated(streams: Streams, *given: Any, original: Any = original, used: list[Streams] = used) -> Any:
            used.append(streams)
            return original(streams, *given)

        ours.generated = generated  # type: ignore[method-assign, assignment]
        ours.g_step()
    assert seen == {"summed": [OF_G] * 3, "own-step": [OF_G, OF_SCORE, OF_SCORE]}


def test_the_reference_tells_couplings_apart() -> None:
    """A control: what the test above compares differs by far more than its tolerance."""
    found = [parameters(reference(TINY, coupling, 3)[0]) for coupling in COUPLINGS]
    found += [parameters(reference(dataclasses.replace(TINY, corrected=True), "own-step", 3)[0])]
    found += [parameters(reference(dataclasses.replace(TINY, lazy_steps="corrected"), "gan", 3)[0])]
    assert min((a - b).abs().max() for a, b in itertools.combinations(found, 2)) > 1e-6


class Augmentation:
    """Twice the image; keeps the numbers that it was given."""

    numbers = 1

    def __init__(self) -> None:
        self.given: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor, u: torch.Tensor, p: float) -> torch.Tensor:
        assert p == 1
        self.given.append(u[:, 0])
        return 2 * images


AUGMENTED = dataclasses.replace(TINY, augment=(1.0, 1.0))


def test_penalties_are_taken_before_augmentation() -> None:
    """D sees 2x: the gradient in x is twice that of D at 2x, the penalty four times as large."""
    ours = trainer("gan", AUGMENTED, augment=Augmentation())
    d, x = copy.deepcopy(ours.d), []
    for kind in ("real", "fake"):
        images, labels = ours.real(slice(0, 8))
        if kind == "fake":
            images = ours.generated(OF_D, slice(0, 8), labels)[0].detach()
        at = (2 * images).requires_grad_()
        (slope,) = torch.autograd.grad(d(at, labels).sum(), at)
        x.append(4 * float(slope.square().sum()) / 8)
    ours.step()
    assert [ours.losses["r1"], ours.losses["r2"]] == pytest.approx(x, rel=1e-9)


def test_real_and_generated_images_are_augmented_independently() -> None:
    """Four batches in a step, none of which shares a number with another: real and generated ones for D, and for G."""
    augment = Augmentation()
    trainer("gan", AUGMENTED, augment=augment).step()
    assert len(augment.given) == 4
    assert len(torch.cat(augment.given).unique()) == 4 * AUGMENTED.batch


def test_mirrored_images() -> None:
    """Those that `batch_flips` names, in every part of the batch."""
    ours, plain = trainer(recipe=dataclasses.replace(TINY, mirror=True)), trainer()
    flips = batch_flips(3, 0, 8)
    assert flips.any()
    assert not flips.all()
    for part in (slice(0, 8), slice(3, 8)):
        x, mirrored = plain.real(part)[0], ours.real(part)[0]
        for image, found, flip in zip(x, mirrored, flips[part], strict=True):
            assert torch.equal(found, image.flip(-1) if flip else image)


@pytest.mark.parametrize("coupling", ["summed", "own-step", "decoupled", "bounded"])
def test_parts_of_a_batch_add_up(coupling: str) -> None:
    recipe = dataclasses.replace(TINY, lazy_steps="own-step", bound=0.8)
    whole, parts = trainer(coupling, recipe), trainer(coupling, dataclasses.replace(recipe, micro=3))
    for _ in range(3):
        whole.step()
        parts.step()
    torch.testing.assert_close(parameters(parts.g), parameters(whole.g), rtol=0, atol=1e-9)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-9)


def test_numbers_do_not_depend_on_who_draws_them() -> None:
    whole = draw(torch.randn, (3,), 1, SCORE, 7, slice(0, 40))
    parts = [draw(torch.randn, (3,), 1, SCORE, 7, slice(a, b)) for a, b in ((0, 5), (5, 32), (32, 40))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(draw(torch.randn, (3,), 1, SCORE, 8, slice(0, 40)), whole)
    assert not torch.equal(draw(torch.randn, (3,), 2, SCORE, 7, slice(0, 40)), whole)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_resumed_run_is_an_unbroken_one(coupling: str) -> None:
    unbroken, first, second = (trainer(coupling) for _ in range(3))
    for _ in range(5):
        unbroken.step()
    for _ in range(3):
        first.step()
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second.load(torch.load(buffer, weights_only=True))
    for _ in range(2):
        second.step()
    for a, b in ((second.g, unbroken.g), (second.d, unbroken.d), (second.average, unbroken.average)):
        assert torch.equal(parameters(a), parameters(b))
    assert second.losses == unbroken.losses


def test_arms_start_alike_and_see_the_same() -> None:
    arms = [trainer(coupling) for coupling in COUPLINGS]
    assert all(torch.equal(parameters(arms[0].g), parameters(arm.g)) for arm in arms)
    for arm in arms:
        arm.d_step()
    assert all(torch.equal(parameters(arms[0].d), parameters(arm.d)) for arm in arms)
    assert not torch.equal(parameters(trainer().g), parameters(Trainer(TINY, "gan", 4, networks, Noise()).g))


def test_the_score_model_stays_as_it_is() -> None:
    ours = trainer("decoupled")
    assert isinstance(ours.score, EDMScore)
    before = parameters(ours.score)
    ours.step()
    assert torch.equal(parameters(ours.score), before)


def test_what_diverges_is_named() -> None:
    ours = trainer("summed")
    ours.g.out.bias.data.fill_(math.nan)
    with pytest.raises(Diverged, match=r"summed, seed 3: d_loss is not finite after step 1"):
        ours.step()


ON_A_CPU = RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
ON_CUDA = torch.OutOfMemoryError, "CUDA out of memory"


@pytest.mark.parametrize(("kind", "text"), [ON_A_CPU, ON_CUDA], ids=["cpu", "cuda"])
@pytest.mark.parametrize(
    ("call", "count", "said"),
    [
        ("images.training.trainer.draw", 1, "the discriminator's step, 8 images at once: lower --micro"),
        ("images.training.losses.torch.autograd.grad", 1, "the penalties of the discriminator, 8 images at once"),
        ("images.training.losses.torch.autograd.grad", 3, "the discriminator's backward pass, 8 images at once"),
        ("images.training.update.torch.optim.Adam.step", 1, "the discriminator's optimiser: lower --width"),
        ("images.training.trainer.draw", 2, "the generator's step, 8 images at once: lower --micro"),
        ("images.training.losses.score_matching_loss", 1, "the score term, 8 images at once: lower --micro"),
        ("images.training.losses.torch.autograd.grad", 4, "the generator's backward pass, 8 images at once"),
        ("images.training.update.torch.optim.Adam.step", 2, "the generator's optimiser: lower --width"),
    ],
)
def test_out_of_memory_names_the_part(
    call: str, count: int, said: str, kind: type[RuntimeError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count-th call of a function in a step fails."""
    ours = trainer("summed")
    original, calls = resolve_name(call), itertools.count(1)

    def fails(*given: Any, **named: Any) -> Any:
        if next(calls) == count:
            raise kind(text)
        return original(*given, **named)

    monkeypatch.setattr(call, fails)
    with pytest.raises(OutOfMemory, match=f"cpu ran out of memory in {said}"):
        ours.step()


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("images.training.losses.score_matching_loss", fails)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trainer("summed").step()


def test_networks_too_large_for_memory_are_named() -> None:
    with pytest.raises(OutOfMemory, match="cpu ran out of memory in the networks: lower --width"):
        trainer(recipe=dataclasses.replace(TINY, width=10**9))


def test_unequal_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 processes; given 8"):
        trainer(world=World(0, 3))


def test_readings_are_those_of_theory() -> None:
    """The table of recipes against the function that made it, to the rounding of 1000 float64 terms, 1e-13."""
    assert set(INTERVALS) == {key for readings in OFFERED.values() for key in readings.values()}
    for (schedule, first, last), (low, high) in INTERVALS.items():
        found = index_interval(schedule, first, last)
        assert (low, high) == pytest.approx((found.low, found.high), rel=1e-11)
    assert all(set(readings) == {"edm", "ddpm"} for readings in OFFERED.values())
    assert interval("cifar10", "ddpm")[0] / interval("cifar10", "edm")[0] == pytest.approx(28.4, abs=0.1)
    with pytest.raises(ValueError, match="the paper gives no interval for digits"):
        interval("digits", "edm")


def test_states_that_optimisers_cannot_have_are_refused() -> None:
    """Before torch looks at them: it indexes a tensor by their names, and warns past Python."""
    theta = torch.ones(2, requires_grad=True)
    adam = torch.optim.Adam([theta])
    theta.grad = torch.ones(2)
    adam.step()
    state = adam.state_dict()
    take(adam, state)
    wrongs: list[object] = [torch.ones(2), {"step": {}}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"^the optimiser's state of parameter 0 must hold tensors by name$"):
            take(adam, {**state, "state": {0: wrong}})
