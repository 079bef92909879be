"""What needs a CUDA device; skipped where there is none."""

from __future__ import annotations

import dataclasses
import math
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import nn

from images.bench.peers import randomise
from images.denoisers.adm import ADM
from images.denoisers.precondition import EDMScore
from images.denoisers.published import PUBLISHED
from images.denoisers.small import Denoiser
from images.denoisers.song import SongConfig, SongUNet
from images.generators.families import augment_of, networks_of
from images.plan.costs import costs
from images.recipes import Recipe
from images.sample import Options, samples
from images.tests.test_plan import R3GAN, STYLEGAN2, Noise
from images.training.parallel import World
from images.training.trainer import Trainer
from theory.levels import Level

pytestmark = pytest.mark.cuda
OF_ADM = PUBLISHED["adm-imagenet64"].config
SMALL_ADM = dataclasses.replace(OF_ADM, width=64, resolution=32, blocks=1, classes=10, channels_out=3)
SMALL_SONG = SongConfig(32, 3, 3, 32, (1, 2), blocks=1, classes=10)


def trainer(recipe: Recipe, device: str) -> Trainer:
    torch.manual_seed(0)
    score = EDMScore(randomise(Denoiser.of(recipe).network()).eval().requires_grad_(False)).to(device)  # type: ignore[arg-type]
    augment = augment_of(recipe)
    return Trainer(recipe, "decoupled", 0, networks_of, Noise(recipe), score, device, augment=augment)


@pytest.mark.parametrize("recipe", [R3GAN, STYLEGAN2], ids=["r3gan", "stylegan2"])
def test_a_bf16_step_is_near_that_in_float32(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses and gradient penalties of a step: bf16 has 8 bits, and errors add up over some twenty layers."""
    low = trainer(recipe, "cuda")
    torch.manual_seed(1)  # the data are drawn
    low.step()
    assert all(math.isfinite(value) for value in low.losses.values())
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in low.g.parameters())
    full = trainer(recipe, "cuda")
    monkeypatch.setattr(full, "autocast", lambda: torch.autocast("cuda", enabled=False))
    torch.manual_seed(1)
    full.step()
    assert low.losses != full.losses  # bf16 was at work
    for name, value in full.losses.items():
        assert low.losses[name] == pytest.approx(value, rel=0.1, abs=0.02), name


@pytest.mark.parametrize("recipe", [R3GAN, STYLEGAN2], ids=["r3gan", "stylegan2"])
def test_networks_and_images_are_channels_last(recipe: Recipe) -> None:
    ours = trainer(recipe, "cuda")
    order = torch.channels_last
    weights = [p for network in (ours.g, ours.d) for p in network.parameters() if p.ndim == 4 and p.shape[-1] > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=order) for weight in weights)
    assert ours.real(slice(0, 2))[0].is_contiguous(memory_format=order)


@pytest.mark.parametrize("recipe", [R3GAN, STYLEGAN2], ids=["r3gan", "stylegan2"])
def test_sampling_gives_the_same_bytes_twice(recipe: Recipe) -> None:
    g = trainer(recipe, "cuda").average
    first, second = (
        list(samples(g, recipe, Options(Path(), count=40, batch=16), torch.device("cuda"), World())) for _ in range(2)
    )
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(first, second, strict=True))
    assert (first[0][0] != first[2][0]).any()  # of one class: a control


@pytest.mark.parametrize("recipe", [R3GAN, STYLEGAN2], ids=["r3gan", "stylegan2"])
def test_the_plan_s_memory_is_what_cuda_allocates(recipe: Recipe) -> None:
    """Within 15 %: allocations are rounded up to 512 bytes, and cuDNN has workspaces that the plan does not count."""
    recipe = dataclasses.replace(recipe, resolution=32, width=192, batch=16, burn_in=1, images=16)
    planned = costs(recipe, "decoupled", 16)
    ours = trainer(recipe, "cuda")
    for _ in range(2):
        ours.step()  # the optimisers hold what they will hold
    for step, plan_of in ((ours.d_step, planned.d_penalised), (ours.g_step, planned.g_scored)):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        assert torch.cuda.max_memory_allocated() - before == pytest.approx(plan_of.peak, rel=0.15)


@pytest.mark.parametrize("name", ["r3gan", "stylegan2"])
def test_generators_and_discriminators_compute_what_they_do_on_a_cpu(name: str) -> None:
    recipe = {"r3gan": R3GAN, "stylegan2": STYLEGAN2}[name]
    torch.manual_seed(0)
    g, d = (randomise(network).eval() for network in networks_of(recipe))
    z, labels = torch.randn(4, recipe.latent), torch.zeros(4, dtype=torch.long)
    with torch.no_grad(), exact():
        images, logits = g(z, labels), d(g(z, labels), labels)
        g, d, z, labels = g.cuda(), d.cuda(), z.cuda(), labels.cuda()
        near(g(z, labels), images)
        near(d(images.cuda(), labels), logits)


@pytest.mark.parametrize("network", [ADM(SMALL_ADM), SongUNet(SMALL_SONG)], ids=["adm", "song"])
def test_score_models_compute_what_they_do_on_a_cpu(network: nn.Module) -> None:
    score = EDMScore(randomise(network).eval())  # type: ignore[arg-type]
    torch.manual_seed(0)
    x, labels, level = torch.randn(2, 3, 32, 32), torch.tensor([0, 3]), Level.variance_exploding(0.3)
    with torch.no_grad(), exact():
        expected = score.denoise(x, level, labels)
        near(score.to("cuda").denoise(x.cuda(), level, labels.cuda()), expected)


def exact() -> AbstractContextManager[None]:
    """Convolutions in float32, not TF32 with its 10 bits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
