"""Score models of networks that are not ours, and the score term in a training loop that is not ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from images.denoisers import eps_model, published
from images.denoisers.precondition import EDMScore
from images.denoisers.song import SongConfig, SongUNet
from images.draws import SCORE, draw
from images.training.regularity import ScoreRegularity
from theory.levels import Interval, Level, index_level
from theory.regularity import score_matching_loss

diffusers = pytest.importorskip("diffusers")

ALPHA, SIGMA = 0.8, 0.6  # of index 1 below
ALPHA_BAR = torch.tensor([0.98, ALPHA**2, 0.2]).double()


def randn(*shape: int, seed: int = 0, **options: Any) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


class Called(nn.Module):
    """A network that is a function of (input, time), and remembers what it was called with."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.dropout = nn.Dropout(0.5)

    def forward(self, y: Tensor, t: Tensor, labels: Tensor | None = None) -> Any:
        self.seen = y, t, labels
        return self.function(y, t) if labels is None else self.function(y, t) * labels[:, None, None, None]


# Pixels of N(0, 1): with y = x_t / alpha, eps* = s x_t', x0* = a x_t', v* = 0 at a^2 + s^2 = 1, x_t' = a y
FACTORS = {"eps": SIGMA, "x0": ALPHA, "v": 0.0}
READ = {  # as which it is read -> the factor of x_t' that is then taken for eps, of F = f x_t'
    "eps": lambda f: f,
    "x0": lambda f: (1 - ALPHA * f) / SIGMA,
    "v": lambda f: SIGMA + ALPHA * f,
}


@pytest.mark.parametrize("levels", ["index", "sigma"])
@pytest.mark.parametrize("predicts", FACTORS)
@pytest.mark.parametrize("read", READ)
def test_the_exact_score_of_a_gaussian_in_each_parametrisation(predicts: str, read: str, levels: str) -> None:
    """Right where it is read as what it is; elsewhere off by the stated factor, which differs by 0.2 at least."""
    x_t = randn(2, 3, 4, 4).double()
    ratio = SIGMA / ALPHA

    def network(y: Tensor, t: Tensor) -> Tensor:
        return FACTORS[predicts] * (y if levels == "index" else ALPHA * y)

    module = Called(network)
    known: Any = {"levels": ALPHA_BAR} if levels == "index" else {"levels": "sigma", "interval": (0.1, 2.0)}
    model = eps_model(module, predicts=read, **known)
    found = model(x_t, Level(ALPHA, SIGMA))
    torch.testing.assert_close(found, READ[read](FACTORS[predicts]) * x_t, rtol=1e-12, atol=1e-12)
    assert ((found - SIGMA * x_t).norm() / x_t.norm() < 0.19) == (predicts == read)
    y, t, _ = module.seen
    torch.testing.assert_close(y, x_t if levels == "index" else x_t / ALPHA)
    torch.testing.assert_close(t, torch.full((2,), 1.0 if levels == "index" else ratio).double())
    louder = model(
        3 * x_t, Level(3 * ALPHA, torch.full((2,), 3 * SIGMA, dtype=torch.float64))
    )  # the same nsr, at another alpha
    torch.testing.assert_close(louder, found, rtol=1e-12, atol=1e-12)
    exact = score_matching_loss(x_t, model, Level(ALPHA, SIGMA), torch.zeros_like(x_t), event_dims=3)
    wanted = (READ[read](FACTORS[predicts]) * ALPHA * x_t).square().sum((1, 2, 3))
    torch.testing.assert_close(exact, wanted, rtol=1e-12, atol=1e-12)


def test_times_between_two_indices_and_named_schedules() -> None:
    module = Called(lambda y, t: y)
    half = (ALPHA_BAR[1:] ** -1 - 1).prod() ** 0.25  # the geometric mean of two nsr
    eps_model(module, predicts="eps", levels=ALPHA_BAR)(randn(1, 1, 2, 2).double(), Level(1.0, half))
    assert float(module.seen[1]) == pytest.approx(1.5)
    model = eps_model(module, predicts="eps", levels="ddpm-cosine")
    model(randn(2, 1, 2, 2).double(), index_level("ddpm-cosine", torch.tensor([3, 700])))
    assert module.seen[1].tolist() == pytest.approx([3, 700])
    model = eps_model(module, predicts="eps", levels="ddpm-linear")
    model(randn(1, 1, 2, 2).double(), index_level("ddpm-cosine", torch.tensor([700])))
    assert module.seen[1].tolist() != pytest.approx([700], abs=50)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "name", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
def test_what_a_scheduler_of_diffusers_calls_noise_is_eps(name: str, kind: str) -> None:
    """Its own add_noise and get_velocity make a network that is right: eps is then the noise that it added."""
    scheduler = getattr(diffusers, name)(prediction_type=kind, beta_schedule="scaled_linear", beta_start=0.001)
    ddpm = diffusers.DDPMScheduler.from_config(scheduler.config)
    x, noise, t = randn(3, 2, 4, 4), randn(3, 2, 4, 4, seed=1), torch.tensor([20, 300, 900])
    x_t = ddpm.add_noise(x, noise, t)
    target = {"epsilon": noise, "sample": x, "v_prediction": ddpm.get_velocity(x, noise, t)}[kind]
    module = Called(lambda y, t: (torch.cat([target, target], 1),))  # a learned variance, and a tuple
    alpha_bar = ddpm.alphas_cumprod[t]
    level = Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
    found = eps_model(module, scheduler)(x_t, level)
    torch.testing.assert_close(found, noise, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(module.seen[0].float(), x_t, rtol=1e-5, atol=1e-6)
    assert module.seen[1].tolist() == pytest.approx(t.tolist(), abs=0.01)
    wrong = {"epsilon": "sample", "sample": "v_prediction", "v_prediction": "epsilon"}[kind]
    other = eps_model(module, type(scheduler).from_config(scheduler.config, prediction_type=wrong))(x_t, level)
    assert (other - noise).square().mean() > 0.1


def test_infinite_noise_is_left_out() -> None:
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert scheduler.alphas_cumprod[-1] == 0
    interval = eps_model(Called(lambda y, t: y), scheduler).interval
    last = float(scheduler.alphas_cumprod[-2])
    assert interval.high == pytest.approx(((1 - last) / last) ** 0.5, rel=1e-6)


def tiny_unet(**options: Any) -> Any:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": (8, 8)}
    return diffusers.UNet2DModel(
        **(shape | options), layers_per_block=1, norm_num_groups=4, dropout=0.5,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def test_a_network_of_diffusers() -> None:
    """Its own call, by hand; frozen; its level must be one an image."""
    unet, scheduler = tiny_unet(num_class_embeds=5), diffusers.DDPMScheduler()
    model = eps_model(unet, scheduler)
    assert not unet.training
    assert not any(p.requires_grad for p in unet.parameters())
    x, noise, labels = randn(8, 3, 8, 8).requires_grad_(), randn(8, 3, 8, 8, seed=1), torch.arange(8) % 5
    alpha_bar = scheduler.alphas_cumprod[250]
    alpha, sigma = float(alpha_bar.sqrt()), float((1 - alpha_bar).sqrt())
    level = Level(torch.full((8,), alpha), torch.full((8,), sigma))
    loss = score_matching_loss(x, model.of(labels), level, noise, event_dims=3)
    by_hand = unet(alpha * x + sigma * noise, torch.tensor(250), labels).sample
    torch.testing.assert_close(loss, (by_hand - noise).square().sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    (slope,) = torch.autograd.grad(loss.sum(), x)
    assert slope.flatten(1).norm(dim=1).min() > 0
    with pytest.raises(ValueError, match=r"level.alpha must be a number or have the shape \(8, 3, 8\)"):
        score_matching_loss(x, model.of(labels), level, noise)  # a level [8] along the width of 8
    with pytest.raises(ValueError, match=r"level.alpha must be a number or \[8\]; given \[8, 1, 1, 1\]"):
        model(x, Level(torch.ones(8, 1, 1, 1), torch.ones(8)), labels)


def test_half_precision() -> None:
    module = Called(lambda y, t: y).to(torch.bfloat16)
    found = eps_model(module, predicts="eps", levels="ddpm-linear")(randn(2, 1, 4, 4), index_level("ddpm-linear", 999))
    assert (found.dtype, module.seen[0].dtype, module.seen[1].dtype) == (torch.float32, torch.bfloat16, torch.float32)
    assert module.seen[1].tolist() == pytest.approx([999, 999])  # bfloat16 has 996 and 1000


def test_everything_is_on_the_networks_device() -> None:
    """Where a CUDA device would be: on meta, whose tensors no tensor of the CPU may meet."""
    unet, scheduler = tiny_unet(), diffusers.DDPMScheduler()
    model = eps_model(unet.to("meta"), scheduler)
    x = randn(2, 3, 8, 8).to("meta").requires_grad_()
    for level in (Level.variance_exploding(0.3), Level.variance_preserving(torch.tensor([0.3, 0.4]))):
        assert model(x, level).device.type == "meta"
    moved = eps_model(tiny_unet(), scheduler).to("meta")
    assert moved(x, Level.variance_exploding(torch.tensor([0.3, 0.4], device="meta"))).device.type == "meta"


def test_a_file(tmp_path: Path) -> None:
    score = EDMScore(SongUNet(SongConfig(8, 1, 1, 8, (1,), blocks=1, attention=())))
    published.save(score, tmp_path / "score.pt")
    x, level = randn(2, 1, 8, 8), Level.variance_exploding(0.3)
    torch.testing.assert_close(eps_model(tmp_path / "score.pt")(x, level), score.eval()(x, level))
    assert eps_model(str(tmp_path / "score.pt")).interval == score.interval
    with pytest.raises(ValueError, match="a file says itself what its network predicts"):
        eps_model(tmp_path / "score.pt", predicts="eps")


class Needs(nn.Module):
    def forward(self, y: Tensor, t: Tensor, encoder_hidden_states: Tensor, more: int = 0) -> Tensor:
        return y


PLAIN = Called(lambda y, t: y)
STATED: dict[str, Any] = {"predicts": "eps", "levels": "ddpm-linear"}
REFUSED: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    (3, (), {}, "eps_model needs a file or an nn.Module; given int"),
    (PLAIN, (), {}, "give the scheduler of diffusers, or predicts (eps, v, x0) and levels (ddpm-linear, "),
    (PLAIN, (), {"predicts": "eps"}, "give the scheduler of diffusers, or predicts (eps, v, x0) and levels (ddpm-li"),
    (PLAIN, (diffusers.DDPMScheduler(),), {"predicts": "v"}, "the scheduler says what the network predicts and at"),
    (PLAIN, (diffusers.EDMEulerScheduler(),), {}, "EDMEulerScheduler has no alphas_cumprod, and so no levels of"),
    (PLAIN, (diffusers.FlowMatchEulerDiscreteScheduler(),), {}, "FlowMatchEulerDiscreteScheduler has no alphas_cump"),
    (PLAIN, (), {**STATED, "predicts": "noise"}, "unknown prediction 'noise': choose from eps, v, x0"),
    (PLAIN, (), {**STATED, "levels": "karras"}, "unknown levels 'karras': choose from ddpm-linear, ddpm-cosine, sigma"),
    (PLAIN, (), {**STATED, "levels": "sigma"}, "levels sigma need an interval: the noise-to-signal ratios that it"),
    (PLAIN, (), {**STATED, "levels": ALPHA_BAR.flip(0)}, "levels must be alpha_bar, falling within (0, 1); given [3]"),
    (PLAIN, (), {**STATED, "levels": ALPHA_BAR + 0.1}, "levels must be alpha_bar, falling within (0, 1); given [3]"),
    (PLAIN, (), {**STATED, "interval": (0.1, 200.0)}, "interval must lie within the schedule's, 0.010001 to 157.41; g"),
    (
        Needs(),
        (),
        STATED,
        "Needs needs encoder_hidden_states too: wrap it in a module of (input, time) that ",
    ),
    (eps_model(PLAIN, **STATED), (), STATED, "this is a score model already: use it as it is"),
]


@pytest.mark.parametrize(("model", "more", "options", "says"), REFUSED, ids=[says[:40] for *_, says in REFUSED])
def test_what_is_refused(model: Any, more: tuple[Any, ...], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}[^\n]*$"):
        eps_model(model, *more, **options)


def test_whole_times_only() -> None:
    unet = tiny_unet(time_embedding_type="learned", num_train_timesteps=100)
    with pytest.raises(ValueError, match=r"^UNet2DModel has an embedding for each whole t: levels between them cannot"):
        eps_model(unet, diffusers.DDPMScheduler())


@pytest.mark.parametrize("nsr", [0.009, 158.0])
def test_a_level_beyond_the_models_range(nsr: float) -> None:
    model = eps_model(PLAIN, **STATED)
    says = r"^the level's sigma/alpha must lie in \[0.010001, 157.41\], this model's interval; given \[[^\n]*\]$"
    with pytest.raises(ValueError, match=says):
        model(randn(2, 1, 4, 4), Level.variance_exploding(nsr))
    narrower = eps_model(PLAIN, **STATED, interval=(0.1, 0.2))
    with pytest.raises(ValueError, match=r"must lie in \[0.1, 0.2\]"):
        narrower(randn(2, 1, 4, 4), Level.variance_exploding(0.3))


# The term in a loop


def test_the_term_is_the_loss_at_every_kth_step() -> None:
    """By hand: mean over images and pixels, weight, noise by (seed, step); 0 between, and another one elsewhere."""
    module = Called(lambda y, t: y.tanh())
    term = ScoreRegularity(eps_model(module, **STATED), (0.1, 0.5), weight=3.0, every=2, seed=5)
    x = randn(4, 2, 4, 4).double().requires_grad_()
    noise = draw(torch.randn, (2, 4, 4), 5, SCORE, 8, slice(0, 4)).double()
    nsr = 0.1 + 0.4 * draw(torch.rand, (), 5, SCORE, 9, slice(0, 4)).double()[:, None, None, None]
    x_t = x + nsr * noise
    by_hand = 3.0 * ((x_t / (1 + nsr**2) ** 0.5).tanh() - noise).square().mean()
    found = term(x, 4)
    torch.testing.assert_close(found, by_hand.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in (found, by_hand)), rtol=1e-5, atol=1e-8)
    assert torch.equal(term(x, 4), found)
    assert [float(term(x, step)) == 0 for step in (3, 5)] == [True, True]
    assert not torch.isclose(term(x, 6), found, rtol=1e-3)
    other = ScoreRegularity(term.eps_model, (0.1, 0.5), weight=3.0, every=2, seed=6)
    assert not torch.isclose(other(x, 4), found, rtol=1e-3)
    labelled = term(x, 4, torch.ones(4, dtype=torch.long))
    torch.testing.assert_close(labelled, found)
    assert not torch.isclose(term(x, 4, torch.zeros(4, dtype=torch.long)), found, rtol=1e-3)


def test_gradients_are_those_of_the_term() -> None:
    generator = nn.Linear(3, 16)
    term = ScoreRegularity(eps_model(Called(lambda y, t: y.tanh()), **STATED), Interval(0.1, 0.5), 1.0, every=3)
    unused = nn.Parameter(torch.ones(2))
    fake = generator(randn(5, 3)).view(5, 1, 4, 4)
    found = term.gradients(fake, 3, [*generator.parameters(), unused])
    assert found is not None
    assert term.gradients(fake, 4, generator.parameters()) is None
    fake.square().mean().backward()  # the graph is still there
    generator.zero_grad()
    term(generator(randn(5, 3)).view(5, 1, 4, 4), 3).backward()
    for gradient, parameter in zip(found, [*generator.parameters(), unused], strict=True):
        torch.testing.assert_close(gradient, torch.zeros(2) if parameter is unused else parameter.grad)


def test_the_model_stays_frozen_and_in_evaluation_and_the_loss_in_float32() -> None:
    """Whatever the loop did to it, and under autocast: a network left in training mode would drop half."""
    unet = tiny_unet()
    term = ScoreRegularity(eps_model(unet, diffusers.DDPMScheduler()), (0.1, 0.5), weight=1.0, every=1)
    x = randn(4, 3, 8, 8)
    plain = term(x, 0)
    unet.train().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = term(x.requires_grad_(), 0)
        coarse = unet(x, torch.tensor(10)).sample
    assert coarse.dtype == torch.bfloat16  # so would the term be
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain, rtol=1e-6, atol=0)
    half.backward()
    assert not unet.training
    assert all(p.grad is None for p in unet.parameters())
    assert term(x.to(torch.bfloat16), 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"interval": (0.5, 0.1)}, "an interval needs low <= high"),
        ({"interval": (0.001, 0.1)}, "interval must lie within the score model's, 0.010001 to 157.41; given 0.001 to"),
        ({"weight": -1.0}, "weight must be at least 0"),
        ({"every": 0}, "every must be a whole number of at least 1"),
        ({"spacing": "log"}, "spacing must be 'uniform' or 'log-uniform'"),
    ],
)
def test_a_term_that_cannot_be_meant(change: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"interval": (0.1, 0.5), "weight": 1.0, "every": 2} | change
    with pytest.raises(ValueError, match=f"^{re.escape(says)}[^\n]*$"):
        ScoreRegularity(eps_model(PLAIN, **STATED), **given)
    with pytest.raises(ValueError, match=r"^images must be \[b, c, h, w\]; given \(3, 8\)$"):
        ScoreRegularity(PLAIN, (0.1, 0.5), 1.0)(randn(3, 8), 0)
