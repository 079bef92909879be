"""The networks against diffusers' and scipy's, their preconditioning against its formulas and exact scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d, upfirdn
from torch import Tensor, nn
from torch.nn import functional as F

from images.bench.measure import ratios
from images.bench.peers import peer_of, randomise
from images.denoisers.adm import ADM, ADMConfig
from images.denoisers.blocks import Attention, Block, GroupNormSiLU, Style, norm_silu, sinusoids
from images.denoisers.precondition import DDPMScore, EDMScore, Network
from images.denoisers.published import PUBLISHED
from images.denoisers.song import SongConfig, SongUNet
from images.layers.resample import resample
from theory.levels import Interval, Level, index_level
from theory.regularity import score_matching_loss

torch.set_num_threads(1)
FIR = (1, 3, 3, 1)


def adm(**options: Any) -> ADM:
    given: dict[str, Any] = {
        "resolution": 8,
        "width": 32,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (1,),
        "head_channels": 16,
    }
    return ADM(ADMConfig(**(given | options)))


def song(**options: Any) -> SongUNet:
    given: dict[str, Any] = {
        "resolution": 8,
        "width": 16,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (1,),
        "classes": 4,
    }
    return SongUNet(SongConfig(**(given | options)))


def randn(*shape: int, seed: int = 0, **options: Any) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: adm(multipliers=(1, 2, 2), attention=(1, 2), classes=5, channels_out=6),
        lambda: adm(scale_shift=False, classes=0, blocks=2, attention=(0,)),
        lambda: song(width=128, multipliers=(1, 1), attention=(0,), classes=0),
        lambda: song(width=32, multipliers=(1, 2, 2), attention=(1, 2), classes=0, least_group=1),
    ],
    ids=["adm", "adm-additive", "song-at-top", "song"],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_networks_compute_what_diffusers_computes(make: Any, layout: torch.memory_format) -> None:
    """Outputs and gradients to images and parameters."""
    network: Network = make()
    randomise(network)
    peer = peer_of(network)
    labels = torch.tensor([1, 3]) if network.config.classes else None
    y, t = randn(2, 3, 8, 8), torch.tensor([3.0, 700.0])
    mine, theirs = y.clone(memory_format=layout).requires_grad_(), y.clone().requires_grad_()
    a, b = network(mine, t, labels), peer(theirs, t, labels).sample
    a.square().sum().backward()
    b.square().sum().backward()
    assert a.std() > 0.1
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-3)
    first, last = network.encoder[0].weight, network.time[0].weight  # they feel every block
    torch.testing.assert_close(first.grad, peer.conv_in.weight.grad, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(last.grad, peer.time_embedding.linear_1.weight.grad, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [adm, song], ids=["adm", "song"])
def test_every_block_works_channels_last(make: Any, channels: int) -> None:
    network = make(channels_in=channels)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    seen = []
    for block in blocks:
        block.register_forward_hook(lambda _, given, made: seen.extend([given[0], made]))
    network(randn(2, channels, 8, 8), torch.tensor([3.0, 700.0]))
    assert len(seen) == 2 * len(blocks)
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4]
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in [*seen, *kernels])


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: SongUNet(SongConfig()), 55.7e6),
        (lambda: ADM(PUBLISHED["edm-imagenet64"].config), 295.9e6),
    ],
)
def test_published_sizes(network: Any, parameters: float) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in network().parameters())
    assert abs(count - parameters) <= 0.05e6


def test_group_norm_and_silu_have_the_slopes_of_their_parts() -> None:
    x = randn(3, 8, 4, 5, dtype=torch.float64).requires_grad_()
    weight, bias = (randn(8, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2))
    torch.testing.assert_close(
        GroupNormSiLU.apply(x, 2, weight, bias, 1e-5), F.silu(F.group_norm(x, 2, weight, bias, 1e-5))
    )
    assert torch.autograd.gradcheck(lambda *args: GroupNormSiLU.apply(args[0], 2, *args[1:], 1e-5), (x, weight, bias))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_scale_and_shift_in_the_norm(layout: torch.memory_format) -> None:
    norm = nn.GroupNorm(2, 8).double()
    randomise(norm)
    x = randn(3, 8, 4, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    scale, shift = (randn(3, 8, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2))
    plain = F.silu(norm(x) * (1 + scale)[..., None, None] + shift[..., None, None])
    torch.testing.assert_close(norm_silu(x, norm, scale, shift), plain)
    assert torch.autograd.gradcheck(lambda *args: norm_silu(args[0], norm, *args[1:]), (x, scale, shift))


@pytest.mark.parametrize("taps", [(1, 1), FIR])
def test_resampling_is_scipys(taps: tuple[int, ...]) -> None:
    x = randn(1, 1, 6, 6, dtype=torch.float64)
    line = np.array(taps) / sum(taps)
    pad = (len(taps) - 1) // 2

    def along(array: np.ndarray, axis: int, way: str) -> np.ndarray:
        if way == "up":
            return upfirdn(2 * line, array, up=2, axis=axis).take(range(pad, pad + 12), axis=axis)
        return upfirdn(line, array, axis=axis).take(range(len(taps) - 1 - pad, 6 + len(taps) - 1 - pad, 2), axis=axis)

    for way in ("up", "down"):
        expected = along(along(x[0, 0].numpy(), 0, way), 1, way)
        np.testing.assert_allclose(resample(x, way, taps)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("taps", [(1, 1), FIR])
def test_upsampling_is_four_times_the_adjoint_of_downsampling(taps: tuple[int, ...]) -> None:
    x, y = randn(2, 3, 4, 4, dtype=torch.float64), randn(2, 3, 8, 8, seed=1, dtype=torch.float64)
    torch.testing.assert_close((resample(x, "up", taps) * y).sum(), 4 * (x * resample(y, "down", taps)).sum())


def test_residual_input_is_one_convolution_with_the_filter_inside() -> None:
    """conv, bordered, then the filter and stride: a 6 x 6 convolution of stride 2, by scipy."""
    network = song(residual=True, taps=FIR)
    randomise(network)
    conv: Any = network.inputs[0]
    image = randn(1, 3, 8, 8)
    found = resample(conv(image), "down", FIR, bordered=True)[0, 5]
    line = np.array(FIR) / 8
    convolve: Any = convolve2d
    expected = sum(
        convolve(np.pad(image[0, c].numpy(), 2), convolve(conv.weight[5, c].detach().numpy()[::-1, ::-1],
                   np.outer(line, line)), mode="valid")[::2, ::2]
        for c in range(3)
    )  # fmt: skip
    np.testing.assert_allclose(found.detach(), expected + conv.bias[5].item(), atol=1e-5)


def test_attention_is_permutation_equivariant_and_averages() -> None:
    """With q = 0 every pixel gets the mean of v; pixels permuted permute the output."""
    attention = Attention(8, 2, Style(False, 1e-5, 1))
    randomise(attention)
    x = randn(2, 8, 3, 3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    moved = attention(x.flatten(2)[..., order].view_as(x))
    torch.testing.assert_close(moved.flatten(2), attention(x).flatten(2)[..., order], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        attention.qkv.weight[:8] = attention.qkv.bias[:8] = 0
    update = attention(x) - x
    torch.testing.assert_close(update, update[..., :1, :1].expand_as(update), rtol=1e-4, atol=1e-5)


def test_sinusoids() -> None:
    found = sinusoids(torch.tensor([2.0]), 4)
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.02]]).cos().flatten().new_tensor(
        [[np.cos(2), np.cos(0.02), np.sin(2), np.sin(0.02)]]))  # fmt: skip
    last = sinusoids(torch.tensor([1e4]), 8, inclusive=True)[0, 3]
    torch.testing.assert_close(last, torch.tensor(np.cos(1.0), dtype=torch.float32))


def test_a_fresh_block_is_its_skip_connection() -> None:
    block = Block(32, 32, 8, Style(True, 1e-5, 1), heads=2)
    x = randn(2, 32, 4, 4)
    torch.testing.assert_close(block(x, randn(2, 8)), x)


def test_dropout_acts_in_training_only() -> None:
    network = randomise(song(dropout=0.5))
    y, t = randn(2, 3, 8, 8), torch.ones(2)
    torch.manual_seed(0)
    assert not torch.equal(network.train()(y, t), network(y, t))
    assert torch.equal(network.eval()(y, t), network(y, t))


class Echo(nn.Module):
    """A network that notes what it is given."""

    def __init__(self, channels_out: int = 3):
        super().__init__()
        self.config = ADMConfig(8, width=64, classes=0, channels_out=channels_out)

    def forward(self, y: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        self.y, self.t, self.labels = y, t, labels
        return torch.cat([0.5 * y + 1, 99 + y], dim=1)[:, : self.config.channels_out]


def of(echo: Echo) -> Any:
    return echo


@pytest.mark.parametrize("name", ["ddpm-linear", "ddpm-cosine"])
def test_ddpm_levels_give_back_their_indices(name: str) -> None:
    """At the schedule's own alpha and sigma the network sees x_t itself and the whole index; alpha = 1 is the same."""
    echo = Echo(6)
    score = DDPMScore(of(echo), name)
    t = torch.tensor([0, 25, 500, 999])
    level = index_level(name, t)
    x_t = randn(4, 3, 8, 8)
    eps = score(x_t, level)
    torch.testing.assert_close(echo.t, t.float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(echo.y, x_t, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(eps, 0.5 * x_t + 1, rtol=1e-5, atol=1e-5)  # the variance's channels are dropped
    nsr = level.nsr
    exploding = x_t / level.alpha[:, None, None, None].float()  # type: ignore[index]
    torch.testing.assert_close(score(exploding, Level.variance_exploding(nsr)), eps, rtol=1e-4, atol=1e-4)
    between = score.index(torch.as_tensor(nsr)[1:2] * 1.01)
    assert 25 < float(between) < 26


def test_edm_is_the_papers_denoiser() -> None:
    """(y - D) / sigma with c_skip, c_out, c_in, c_noise of table 1, whatever the level's alpha."""
    echo = Echo()
    y, sigma, alpha = randn(3, 3, 8, 8), torch.tensor([0.01, 0.5, 40.0]), torch.tensor([1.0, 0.7, 0.02])
    found = EDMScore(of(echo), 0.5, time_scale=1000)(y * alpha[:, None, None, None], Level(alpha, alpha * sigma))
    s = sigma[:, None, None, None].double()
    c_in = 1 / (s**2 + 0.25).sqrt()
    denoised = 0.25 / (s**2 + 0.25) * y + s * 0.5 * c_in * (0.5 * c_in * y + 1)
    torch.testing.assert_close(found, ((y - denoised) / s).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(echo.t, 250 * sigma.log(), rtol=1e-4, atol=1e-3)


def test_edm_without_a_network_is_the_exact_score_of_a_gaussian() -> None:
    """F = 0, as fresh networks have it: eps* of N(0, sigma_data^2 I), x0hat its posterior mean."""
    score = EDMScore(song(), 0.3)
    y, nsr = randn(2, 3, 8, 8), 0.4
    level = Level.variance_preserving(nsr)
    torch.testing.assert_close(
        score(y, level), float(level.sigma) * y / (float(level.alpha) ** 2 * 0.09 + float(level.sigma) ** 2)
    )
    gain = float(level.alpha) * 0.09 / (float(level.alpha) ** 2 * 0.09 + float(level.sigma) ** 2)
    torch.testing.assert_close(score.denoise(y, level), gain * y)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("kind", ["edm", "ddpm"])
def test_score_matching_regularity_reaches_the_images(kind: str, detach: bool) -> None:
    """One loss an image, at a level an image; its slope along a random direction is autograd's."""
    network = randomise(adm(classes=3, channels_out=6 if kind == "ddpm" else 3)).requires_grad_(False).double()
    score = (DDPMScore(network, "ddpm-cosine") if kind == "ddpm" else EDMScore(network)).eval()  # type: ignore[arg-type]
    x, noise = (randn(2, 3, 8, 8, seed=seed, dtype=torch.float64) for seed in (0, 1))
    labels, level = torch.tensor([0, 2]), Level.variance_preserving(torch.tensor([0.05, 0.3], dtype=torch.float64))

    def loss(x: Tensor) -> Tensor:
        return score_matching_loss(x, score.of(labels), level, noise, detach=detach, event_dims=3)

    x.requires_grad_()
    losses = loss(x)
    assert losses.shape == (2,)
    (slope,) = torch.autograd.grad(losses.sum(), x)
    assert slope.abs().amin(dim=(1, 2, 3)).gt(0).all()
    if not detach:
        v = randn(2, 3, 8, 8, seed=2, dtype=torch.float64)
        step = 1e-4  # the embeddings are computed in float32, but of the level, which stays
        numeric = (loss(x + step * v) - loss(x - step * v)).detach().sum() / (2 * step)
        torch.testing.assert_close((slope * v).sum(), numeric, rtol=1e-5, atol=1e-6)
    swapped = score_matching_loss(x, score.of(labels.flip(0)), level, noise, event_dims=3)
    assert not torch.isclose(losses, swapped).any()  # classes matter


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s, x: s(x[:, :1], Level(1.0, 0.5), torch.tensor([0, 1])), r"x_t must be \[b, 3, h, w\]"),
        (lambda s, x: s(x, Level(1.0, 0.5)), "class-conditional: give labels, 2 numbers in 0..2"),
        (lambda s, x: s(x, Level(1.0, 0.5), torch.tensor([0, 3])), r"labels must lie in 0..2.*given 0..3"),
        (lambda s, x: s(x, Level(1.0, 0.5), torch.tensor([0])), r"labels must be \[2\] whole numbers"),
        (lambda s, x: s(x, Level(1.0, 0.5), torch.tensor([0.0, 1.0])), "whole numbers; given"),
        (lambda s, x: s(x, Level(1.0, 1e-3), torch.tensor([0, 1])), r"sigma/alpha must lie in \[0.0064"),
        (lambda s, x: s(x, Level(1.0, torch.tensor([1.0, 1e9])), torch.tensor([0, 1])), "sigma/alpha must lie"),
    ],
)
def test_misuse_is_named(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call(DDPMScore(adm(classes=3), "ddpm-cosine"), randn(2, 3, 8, 8))


def test_labels_where_there_are_no_classes() -> None:
    with pytest.raises(ValueError, match="has no classes"):
        EDMScore(song(classes=0))(randn(1, 3, 8, 8), Level(1.0, 0.5), torch.tensor([0]))


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (ADMConfig, {"width": 10**9}, "width must be a whole number in 1..1024"),
        (ADMConfig, {"resolution": 30}, "resolution must be a multiple of 8"),
        (ADMConfig, {"multipliers": ()}, "multipliers must be 1 to 8"),
        (ADMConfig, {"attention": (4,)}, r"attention must hold levels in 0..3"),
        (ADMConfig, {"heads": 4}, "heads or head_channels"),
        (ADMConfig, {"width": 96}, "head_channels must divide"),
        (SongConfig, {"embedding": "learned"}, "embedding must be"),
        (SongConfig, {"taps": (1, 2, 1)}, "taps must be"),
        (SongConfig, {"dropout": 1.0}, "dropout must lie"),
        (SongConfig, {"blocks": True}, "blocks must be a whole number"),
    ],
)
def test_shapes_that_no_network_has(config: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config(**options)


def test_widths_that_groups_cannot_share() -> None:
    with pytest.raises(ValueError, match="48 channels, which 32 groups cannot share"):
        adm(width=16)


def test_the_interval_of_a_score() -> None:
    assert DDPMScore(of(Echo(6)), "ddpm-linear").interval == Interval(
        float(index_level("ddpm-linear", 0).nsr), float(index_level("ddpm-linear", 999).nsr)
    )


def test_benchmark_measures_memory() -> None:
    """A network that keeps less for the backward pass than its peer; of itself over itself it would be 1."""
    network = randomise(adm(resolution=32, classes=0, attention=(), multipliers=(1, 1)))
    found = ratios(network, torch.device("cpu"), rounds=1)  # type: ignore[arg-type]
    assert 0.3 < found["memory"] < 1
    assert found["time"] > 0
