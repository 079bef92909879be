"""Aurora's generator: its size, its parts against plain formulas, and router losses in training."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from images.draws import OF_G
from images.generators.aurora import (
    STAGES,
    Attention,
    AuroraConfig,
    Block,
    Discriminator,
    Experts,
    Fourier,
    Generator,
    Modulated,
    Stage,
    moved_conv,
    shape,
)
from images.generators.families import networks_of
from images.generators.stylegan2 import modulate, modulated_conv
from images.layers.attention import by_distance
from images.layers.experts import Blocks
from images.layers.resample import resample
from images.recipes import RECIPES, Recipe
from images.tests.test_trainer import TINY, Noise, parameters
from images.training.trainer import Totals, Trainer

SMALL = AuroraConfig(
    resolution=8, channels=1, classes=10, width=8, stages=(Stage(2, 1, moved=True), Stage(1, 2, 1, 3)), latent=4,
    style=6, heads=2, head=4, d_width=8, d_latent=6, group=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def millions(network: nn.Module) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6)


def stirred(network: Any) -> Any:
    """Every parameter away from where it starts: zeros hide what they multiply."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def test_parameters_are_as_many_as_the_released_shapes_have() -> None:
    """With classes; without experts; and without moved convolutions. A style serves 23 layers."""
    alone = tuple(dataclasses.replace(stage, experts=1) for stage in STAGES)
    still = tuple(dataclasses.replace(stage, moved=False) for stage in alone)
    with torch.device("meta"):
        g, recipe = Generator(AuroraConfig()), networks_of(RECIPES["imagenet64-aurora"])[0]
        assert [millions(Generator(AuroraConfig(stages=stages))) for stages in (alone, still)] == [601, 585]
    assert millions(g) == millions(recipe) == 1083
    assert sum(millions(part) for part in g.modules() if isinstance(part, Experts)) == pytest.approx(539, abs=9)
    assert 1 + sum(1 + (block.transformers is not None) for block in g.blocks) == 23
    assert shape() == {"width": 1600, "heads": 8, "style": 1024, "d_width": 512, "d_latent": 512}
    with pytest.raises(ValueError, match="resolution must be at most 64; given 128"):
        AuroraConfig(resolution=128)


# Convolutions


@pytest.mark.parametrize("up", [False, True])
def test_one_kernel_is_that_of_stylegan2(up: bool) -> None:
    """What demodulation divides by makes the scale of weights and styles irrelevant."""
    ours, x, w = stirred(Modulated(4, 5, 3, 6, up=up)), torch.randn(2, 4, 8, 8), torch.randn(2, 6)
    weight = ours.weight / ours.weight.square().mean((1, 2, 3), keepdim=True).sqrt()
    wanted = modulated_conv(x, modulate(weight, ours.affine(w)), up) + ours.bias[:, None, None]
    torch.testing.assert_close(ours(x, w), wanted, rtol=1e-4, atol=1e-5)


def test_several_kernels_are_mixed_by_the_style() -> None:
    """Each image has a kernel of its own: the softmax of a linear map of w."""
    ours, x, w = stirred(Modulated(4, 5, 3, 6, kernels=3)), torch.randn(2, 4, 8, 8), torch.randn(2, 6)
    for i in range(2):
        weight = ours.weight.view(3, 5, 4, 3, 3)
        weight = weight / weight.square().mean((2, 3, 4), keepdim=True).sqrt()
        kernel = torch.einsum("n,noikl->oikl", ours.select(w[i : i + 1])[0].softmax(0), weight)
        kernel = kernel * ours.affine(w[i : i + 1])[0, None, :, None, None]
        kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        wanted = F.conv2d(x[i : i + 1], kernel, ours.bias, padding=1)
        torch.testing.assert_close(ours(x, w)[i : i + 1], wanted, rtol=1e-3, atol=1e-4)


def test_a_moved_convolution() -> None:
    """Without offsets it is a convolution; whole offsets read other pixels; half ones read the mean of two."""
    x, kernel, moves = torch.randn(2, 3, 6, 5), torch.randn(4, 3, 3, 3), torch.zeros(2, 27, 6, 5)
    plain = F.conv2d(x, kernel, padding=1)
    torch.testing.assert_close(moved_conv(x, kernel, moves), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved_conv(x, kernel.expand(2, -1, -1, -1, -1), moves), plain, rtol=1e-4, atol=1e-4)
    moves[:, :9] = 1  # a row down
    shifted = F.conv2d(F.pad(x, (1, 1, 0, 2)), kernel)
    torch.testing.assert_close(moved_conv(x, kernel, moves), shifted, rtol=1e-4, atol=1e-4)
    moves[:, :9] = 0.5
    torch.testing.assert_close(moved_conv(x, kernel, moves), (plain + shifted) / 2, rtol=1e-4, atol=1e-4)
    moves[:, :9], moves[:, 9:18] = 0, -1  # a column to the left
    left = F.conv2d(F.pad(x, (2, 0, 1, 1)), kernel)
    torch.testing.assert_close(moved_conv(x, kernel, moves), left, rtol=1e-4, atol=1e-4)
    moves[:, 9:18], moves[:, 18:] = 0, 50.0
    torch.testing.assert_close(moved_conv(x, kernel, moves), 2 * plain, rtol=1e-4, atol=1e-4)


def test_fourier_features_are_turned_and_moved_by_the_style() -> None:
    """Frequencies are uniform in a disc of radius 1; a quarter turn of w turns the square of places, with no mixing."""
    part = Fourier(4000, 6)
    length = part.frequency.norm(dim=1)
    assert length.max() <= 1
    assert length.square().mean() == pytest.approx(0.5, abs=0.02)
    part = Fourier(8, 6)
    with torch.no_grad():
        part.mix.copy_(8**0.5 * torch.eye(8))
        part.phase.zero_()
    plain = part(torch.zeros(1, 6))
    with torch.no_grad():
        part.affine.bias.copy_(torch.tensor([0.0, 3.0, 0.0, 0.0]))
    torch.testing.assert_close(part(torch.zeros(1, 6)), plain.rot90(-1, (2, 3)), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        part.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.25, 0.5]))  # a pixel to the right, two down
    torch.testing.assert_close(part(torch.zeros(1, 6))[..., 2:, 1:], plain[..., :-2, :-1], rtol=1e-4, atol=1e-4)


def test_a_block_is_that_of_the_description() -> None:
    """(conv2 conv1 x + skip x) times a gain, then (x + transformers x) times another, at twice the resolution."""
    config = dataclasses.replace(SMALL, residual_gain=0.4, attention_gain=0.3)
    block, given, w = stirred(Block(8, 6, SMALL.stages[1], config, up=True)), torch.randn(4, 8, 4, 4), torch.randn(4, 6)
    h = 2**0.5 * F.leaky_relu(block.conv1(given, w), 0.2)
    h = 2**0.5 * F.leaky_relu(block.conv2(h, w), 0.2)
    skip = torch.einsum("oi,bihw->bohw", block.skip.weight[:, :, 0, 0] / 8**0.5, resample(given, "up", (1, 3, 3, 1)))
    x = 0.4 * (h + skip)
    change, losses = block.transformers(x, w)
    assert change.abs().max() > 0.1
    torch.testing.assert_close(block(given, w), (0.3 * (x + change), losses), rtol=1e-4, atol=1e-5)


# Transformers


def test_attention_is_by_distance() -> None:
    layer, x, w = stirred(Attention(SMALL)), torch.randn(2, 5, 8), torch.randn(2, 6)
    q, k, v = (part(x).view(2, 5, 2, 4) for part in (layer.q, layer.k, layer.v))
    found = torch.zeros(2, 5, 2, 4)
    for head in range(2):
        share = (-torch.cdist(q[:, :, head], k[:, :, head]) / 2).softmax(-1)
        found[:, :, head] = share @ v[:, :, head]
    wanted = layer.out(found.reshape(2, 5, 8).mT[..., None], w)[..., 0].mT
    torch.testing.assert_close(layer(x, w), wanted, rtol=1e-3, atol=1e-4)


def test_gradients_of_attention_by_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of finite differences, where a query is a key too; an image at a time gives the same."""
    q, k, v = (torch.randn(3, 2, 4, 3, dtype=torch.float64) for _ in range(3))
    k[0, 0, 0] = q[0, 0, 0]
    given = [x.requires_grad_() for x in (q, k, v)]
    whole = by_distance(q, k, v)
    monkeypatch.setattr("images.layers.attention.AT_ONCE", 1)
    torch.testing.assert_close(by_distance(q, k, v), whole)
    assert gradcheck(by_distance, given, atol=1e-4)


@pytest.mark.parametrize("sent", [[0] * 17, [2] * 17, [2, 0, 1, 1, 0, 2, 2, 2, 0, 1, 0, 0, 0, 2, 1, 0, 2], [0]])
def test_blocks_multiply_each_token_by_its_expert_s_matrix(sent: list[int]) -> None:
    """However unequal the shares are; gradients too."""
    x, weight, bias = torch.randn(len(sent), 4), torch.randn(3, 4, 5), torch.randn(3, 5)
    x.requires_grad_()
    blocks = Blocks.of(torch.tensor(sent), 3)
    found = blocks.empty(blocks.linear(blocks.fill(x), weight, bias))
    wanted = torch.stack([x[i] @ weight[e] + bias[e] for i, e in enumerate(sent)])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    y = torch.randn_like(found)
    torch.testing.assert_close(*(torch.autograd.grad((out * y).sum(), x)[0] for out in (found, wanted)))
    assert len(blocks.owner) * blocks.size <= len(sent) + 3 * blocks.size


def test_the_router_sends_each_token_to_its_likeliest_expert() -> None:
    """Its losses are those of the papers, here of each image: with E^2 times the mean over experts."""
    layer, x, w = stirred(Experts(8, 3, 6)), torch.randn(2, 7, 8), torch.randn(2, 6)
    found, losses = layer(x, w)
    logits = F.leaky_relu(layer.router(x.mT[..., None], w)[..., 0].mT, 0.2) * 2**0.5
    p = logits.softmax(-1)
    chosen = p.argmax(-1)
    assert len(chosen.unique()) > 1
    for i in range(2):
        for j in range(7):
            e = int(chosen[i, j])
            a, b = (x[i, j] @ layer.weight1[e] + layer.bias1[e]).chunk(2)
            wanted = p[i, j, e] * ((a * F.gelu(b)) @ layer.weight2[e] + layer.bias2[e])
            torch.testing.assert_close(found[i, j], wanted, rtol=1e-4, atol=1e-4)
        shares = F.one_hot(chosen[i], 3).float().mean(0)
        balance = 3**2 * (shares * p[i].mean(0)).mean()
        entropy = logits[i].exp().sum(-1).log().square().mean()
        assert losses[i].item() == pytest.approx(1e-3 * balance.item() + 1e-3 * entropy.item(), rel=1e-4)


# Training

AURORA = dataclasses.replace(
    TINY, generator="aurora", width=8, latent=4, loss="non-saturating", penalty="r1", group=4, every=1
)


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    original = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, *a: original(self, *a).double())


def trainer(recipe: Recipe) -> Trainer:
    def make(_: Recipe) -> tuple[nn.Module, nn.Module]:
        return stirred(Generator(SMALL)).double(), stirred(Discriminator(SMALL)).double()

    return Trainer(recipe, "gan", 3, make, Noise(recipe=recipe))


@pytest.mark.usefixtures("in_double")
def test_parts_of_whole_groups_add_up_and_routers_learn() -> None:
    whole, parts = trainer(AURORA), trainer(dataclasses.replace(AURORA, micro=4))
    routers = [part.router.weight for part in whole.g.modules() if isinstance(part, Experts) and part.router]
    before: list[Tensor] = [weight.detach().clone() for weight in routers]
    for each in (whole, parts):
        for _ in range(2):
            each.step()
    for a, b in ((whole.g, parts.g), (whole.d, parts.d)):
        torch.testing.assert_close(parameters(b), parameters(a), rtol=0, atol=1e-9)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-9)
    assert whole.losses["router_loss"] > 1e-3
    assert all((a - b).abs().max() > 1e-5 for a, b in zip(routers, before, strict=True))


@pytest.mark.usefixtures("in_double")
def test_router_losses_are_part_of_the_generator_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's gradient is that of its game and of the routers together."""
    ours = trainer(AURORA)
    with_losses = ours.g_gradient(Totals())
    with monkeypatch.context() as patch:
        for weight in ("BALANCE", "ENTROPY"):
            patch.setattr(f"images.generators.aurora.{weight}", 0.0)
        without = ours.g_gradient(Totals())
    losses = ours.generated(OF_G, slice(0, 8), ours.labels(slice(0, 8)))[1]
    assert losses is not None
    wanted = torch.autograd.grad(losses.mean(), list(ours.g.parameters()), materialize_grads=True)
    for a, b, c in zip(with_losses, without, wanted, strict=True):
        torch.testing.assert_close(a - b, c, rtol=1e-6, atol=1e-12)
