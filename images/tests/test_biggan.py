"""BigGAN: its networks against the description, spectral and batch norms, and what its training has of its own."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from images.datasets.dataset import batch_indices
from images.draws import OF_D, OF_G, draw
from images.generators.biggan import Attention, BigGANConfig, Discriminator, Generator, shape
from images.generators.families import make_discriminator, make_generator, networks_of
from images.layers.batchnorm import MOMENTUM, BatchNorm, move, seen, watched
from images.layers.spectral import Spectral, power_iteration, spectral
from images.recipes import Recipe
from images.tests.test_trainer import TINY, Noise, networks, parameters, score_model
from images.training.losses import discriminator_loss, generator_loss
from images.training.parallel import World
from images.training.trainer import Trainer

WHOLE = slice(0, 8)
BIGGAN = dataclasses.replace(
    TINY, generator="biggan", width=4, latent=6, loss="hinge", penalty="none", group=4, d_steps=2, uniform_labels=True,
    ema_decay=0.9, ema_start=2, d_rate=3.0, adam_eps=1e-6,
)  # fmt: skip
SHARED: dict[str, Any] = {
    "resolution": 8, "channels": 1, "classes": 3, "widths": (16, 8), "d_widths": (8, 8, 16), "downs": 1, "latent": 6,
    "shared": 5, "attention": 8, "init": "orthogonal", "group": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# The networks


@pytest.mark.parametrize(
    ("resolution", "classes", "width", "of_g", "of_d"),
    [
        (32, 10, None, 4_304_387, 4_207_361),
        (128, 1000, None, 70_433_988, 87_982_370),
        (64, 1000, 64 * 16, 31_908_100, 20_566_721),
    ],
)
def test_parameters_are_as_many_as_the_authors(
    resolution: int, classes: int, width: int | None, of_g: int, of_d: int
) -> None:
    """Of the networks that their public code builds, to the last one."""
    for make, count in ((make_generator, of_g), (make_discriminator, of_d)):
        with torch.device("meta"):
            network = make("biggan", resolution, 3, classes, width)
        assert sum(p.numel() for p in network.parameters()) == count


def test_a_block_of_the_generator_is_that_of_the_description() -> None:
    """sc(up(x)) + conv2(relu(bn2(conv1(up(relu(bn1(x))))))), with gain 1 + l(y) and bias l(y)."""
    g = Generator(BigGANConfig(**SHARED)).eval()
    block: Any = g.blocks[0]
    x, y = torch.randn(4, 16, 4, 4), torch.randn(4, 8)  # 5 of the class, 3 of z

    def norm(of: Any, x: Tensor) -> Tensor:
        gain, bias = ((y @ part.weight.mT)[:, :, None, None] for part in (of.gain, of.bias))
        return (x / (1 + 1e-5) ** 0.5) * (1 + gain) + bias

    def up(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = F.conv2d(up(norm(block.norm1, x).relu()), block.conv1.weight, block.conv1.bias, padding=1)
    h = F.conv2d(norm(block.norm2, h).relu(), block.conv2.weight, block.conv2.bias, padding=1)
    wanted = F.conv2d(up(x), block.skip.weight, block.skip.bias) + h
    torch.testing.assert_close(block(x, y), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_a_block_of_the_discriminator_is_that_of_the_description(first: bool) -> None:
    """conv2(relu(conv1(relu(x)))), no relu before images, then the mean; beside it a 1 x 1 convolution and the mean."""
    d = Discriminator(BigGANConfig(**SHARED | {"downs": 2}))
    block: Any = d.blocks[0 if first else 1]
    x = torch.randn(4, 1 if first else 8, 8, 8)

    def mean(x: Tensor) -> Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    h = F.conv2d(x if first else x.relu(), block.conv1.weight, block.conv1.bias, padding=1)
    h = mean(F.conv2d(h.relu(), block.conv2.weight, block.conv2.bias, padding=1))
    wanted = h + mean(F.conv2d(x, block.skip.weight, block.skip.bias))
    torch.testing.assert_close(block(x), wanted, rtol=1e-4, atol=1e-5)


def test_the_discriminator_projects_on_the_class() -> None:
    """D(x, y) - D(x, y') = <f(x), e_y - e_y'>, with e the normalised embedding; f is a sum over pixels."""
    d = Discriminator(BigGANConfig(**SHARED))
    for _ in range(50):
        power_iteration(d)
    features: list[Tensor] = []
    d.blocks[-1].register_forward_hook(lambda _, __, out: features.append(out.relu().sum((2, 3))))
    x, y, other = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 2, 0, 2, 0])
    found = d(x, y) - d(x, other)
    (stored,) = (p for name, p in d.named_parameters() if name.startswith("labels"))
    e = stored / torch.linalg.matrix_norm(stored, 2)
    torch.testing.assert_close(found, (features[0] * (e[y] - e[other])).sum(1), rtol=1e-4, atol=1e-5)
    assert found.abs().min() > 1e-4
    assert not torch.allclose(found, (features[0] * (e[other] - e[y])).sum(1), atol=1e-4)


def test_attention_is_a_mean_of_values_and_starts_as_nothing() -> None:
    layer, x = Attention(16, "normal"), torch.randn(2, 16, 6, 6)
    assert torch.equal(layer(x), x)
    layer.gamma.data.fill_(0.7)
    maps = layer.theta, layer.phi, layer.g
    theta, phi, g = (torch.einsum("oi,bihw->bohw", part.weight[:, :, 0, 0], x) for part in maps)
    phi, g = (part.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)) for part in (phi, g))
    share = torch.einsum("bchw,bckl->bhwkl", theta, phi).flatten(3).softmax(-1)
    found = torch.einsum("bhwn,bcn->bchw", share, g.flatten(2))
    wanted = x + 0.7 * torch.einsum("oi,bihw->bohw", layer.o.weight[:, :, 0, 0], found)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_each_part_of_z_acts_where_it_should() -> None:
    """z in 2 parts: the second is the block's alone, and reaches the image; so does the class. Without shared
    embeddings the class reaches it by way of each norm."""
    g = Generator(BigGANConfig(**SHARED)).eval()
    z, y = torch.randn(1, 6).repeat(4, 1), torch.tensor([0, 0, 0, 1])
    z[1, :3] += 1
    z[2, 3:] += 1
    first: list[Tensor] = []
    g.linear.register_forward_hook(lambda _, __, out: first.append(out))
    images = g(z, y)
    assert (images[1:] - images[0]).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(first[0][2], first[0][0])
    assert not torch.equal(first[0][1], first[0][0])
    own = Generator(BigGANConfig(**SHARED | {"shared": 0})).eval()
    images = own(z[:1].repeat(2, 1), torch.tensor([0, 1]))
    assert (images[0] - images[1]).abs().max() > 1e-4


def test_no_such_networks() -> None:
    for bad, said in (
        ({"classes": 0}, "class-conditional: classes must be at least 1; given 0"),
        ({"latent": 7}, "latent must be a multiple of 2, a part for each stage; given 7"),
        ({"widths": (8,)}, "widths must be 2 whole numbers above 0"),
        ({"d_widths": ()}, "d_widths must be one or more whole numbers"),
        ({"downs": 4}, "downs must be at most 2; given 4"),
        ({"init": "uniform"}, "unknown init 'uniform'"),
    ):
        with pytest.raises(ValueError, match=said):
            BigGANConfig(**SHARED | bad)
    with pytest.raises(ValueError, match="resolution 8 to 128; given 256"):
        shape(256)
    with pytest.raises(ValueError, match="width must be a multiple of 16 at resolution 64; given 24"):
        shape(64, 24)


# Spectral norm


@pytest.mark.parametrize(("kind", "sizes"), [(nn.Conv2d, (3, 7, 3)), (nn.Linear, (9, 4)), (nn.Embedding, (6, 5))])
def test_the_norm_is_the_largest_singular_value(kind: Any, sizes: tuple[int, ...]) -> None:
    """And so is its gradient's; one iteration is not enough, and using a weight takes none."""
    layer = kind(*sizes)
    weight = layer.weight.detach().flatten(1).clone()
    layer = spectral(layer)
    assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) > 1.001
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    _ = layer.train().weight, layer.weight
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())
    for _ in range(300):
        power_iteration(layer)
    direction = torch.randn_like(layer.weight)
    (found,) = torch.autograd.grad((layer.weight * direction).sum(), list(layer.parameters())[-1:])
    weight.requires_grad_()
    normalised = weight / torch.linalg.matrix_norm(weight, 2)
    torch.testing.assert_close(layer.weight.flatten(1), normalised, rtol=1e-4, atol=1e-5)
    (wanted,) = torch.autograd.grad((normalised * direction.flatten(1)).sum(), weight)
    torch.testing.assert_close(found.flatten(1), wanted, rtol=1e-3, atol=1e-4)


# Batch norm


def test_batch_norm_is_pytorch_s() -> None:
    """On one group, in training and after it: outputs and running statistics. Two groups: each for itself."""
    ours, theirs, x = BatchNorm(3, 6), nn.BatchNorm2d(3, affine=False, momentum=MOMENTUM), torch.randn(6, 3, 4, 4)
    with watched(ours) as norms:
        torch.testing.assert_close(ours(2 * x + 1), theirs(2 * x + 1))
        move(norms, seen(norms))
    assert ours.watched is None
    torch.testing.assert_close((ours.mean, ours.var), (theirs.running_mean, theirs.running_var))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    pairs = BatchNorm(3, 2)
    found = pairs(x)
    torch.testing.assert_close(found, torch.cat([F.batch_norm(part, None, None, training=True) for part in x.split(2)]))
    torch.testing.assert_close(found[2:4], pairs(x[2:4]))
    assert not torch.allclose(found, BatchNorm(3, 6)(x), atol=1e-2)
    with pytest.raises(ValueError, match="statistics of 4 images: b must be a multiple; given 6"):
        BatchNorm(3, 4)(x)


# Training


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images stay in float64, as in the trainer's own tests."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    original = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, *a: original(self, *a).double())


def doubled(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    g, d = networks_of(recipe)
    return g.double(), d.double()


def trainer(
    recipe: Recipe = BIGGAN, coupling: str = "own-step", make: Any = doubled, world: World | None = None
) -> Trainer:
    return Trainer(recipe, coupling, 3, make, Noise(recipe=recipe), score_model(), "cpu", world)


@pytest.mark.parametrize("coupling", ["own-step", "decoupled"])
@pytest.mark.usefixtures("in_double")
def test_parts_of_whole_groups_add_up(coupling: str) -> None:
    """Parameters, singular vectors and running statistics; another group is another step."""
    recipes = BIGGAN, dataclasses.replace(BIGGAN, micro=4), dataclasses.replace(BIGGAN, group=8)
    whole, parts, other = (trainer(recipe, coupling) for recipe in recipes)
    for each in (whole, parts, other):
        for _ in range(3):
            each.step()
    for a, b in ((whole.g, parts.g), (whole.d, parts.d), (whole.average, parts.average)):
        for name, value in a.state_dict().items():
            torch.testing.assert_close(b.state_dict()[name], value, rtol=0, atol=1e-9)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-9)
    assert (parameters(other.g) - parameters(whole.g)).abs().max() > 1e-5
    with pytest.raises(ValueError, match=r"micro must be a multiple of group, 4 images over which BigGAN's batch"):
        dataclasses.replace(BIGGAN, micro=2)


def test_power_iterations_are_taken_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each of D's two steps, G's and the score term's, however many parts a batch has."""
    calls: list[int] = []
    monkeypatch.setattr(Spectral, "iterate", lambda self, _: calls.append(id(self)))
    for micro in (0, 4):
        ours = trainer(dataclasses.replace(BIGGAN, micro=micro), make=networks_of)
        ours.data.x = ours.data.x.float()  # type: ignore[attr-defined]
        ours.score.float()  # type: ignore[union-attr]
        calls.clear()
        ours.step()
        for network, times in ((ours.d, 3), (ours.g, 4), (ours.average, 1)):
            norms = [module for module in network.modules() if isinstance(module, Spectral)]
            assert norms
            assert {calls.count(id(norm)) for norm in norms} == {times}


@pytest.mark.usefixtures("in_double")
def test_the_average_has_running_statistics() -> None:
    """A copy of G's before ema_start, then a decaying average of them; images do not depend on those beside them."""
    ours, wanted = trainer(), None
    for step in range(5):
        ours.step()
        now = [(norm.mean.clone(), norm.var.clone()) for norm in ours.g.modules() if isinstance(norm, BatchNorm)]
        old = now if wanted is None or step < BIGGAN.ema_start else wanted
        wanted = [tuple(0.9 * a + 0.1 * b for a, b in zip(*pair, strict=True)) for pair in zip(old, now, strict=True)]
        found = [(norm.mean, norm.var) for norm in ours.average.modules() if isinstance(norm, BatchNorm)]
        for pair in zip(found, wanted, strict=True):
            torch.testing.assert_close(*pair)
        assert torch.equal(parameters(ours.average), parameters(ours.g)) == (step < BIGGAN.ema_start)
    assert all(float(mean.abs().max()) > 1e-4 for mean, _ in found)
    z, labels = torch.randn(6, 6).double(), torch.arange(6)
    torch.testing.assert_close(ours.sample(z, labels)[:2], ours.sample(z[:2], labels[:2]))


# What the recipe has for it, on other networks


def test_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.5, 3.0])
    assert discriminator_loss("hinge", real, fake).tolist() == [0, 0.5 + 1.5, 2 + 4]
    assert generator_loss("hinge", None, fake).tolist() == [2, -0.5, -3]


@pytest.mark.usefixtures("in_double")
def test_steps_and_rates_are_those_of_plain_adam() -> None:
    """Three steps of D a step of G, each on new images, latents and labels; two rates; eps; the average by steps."""
    recipe = dataclasses.replace(
        TINY, loss="hinge", penalty="none", d_steps=3, d_rate=4.0, adam_eps=1e-3, uniform_labels=True, ema_decay=0.75,
        ema_start=2, images=8 * 3 * 20, burn_in=8 * 3 * 20,
    )  # fmt: skip
    assert (recipe.images_a_step, recipe.steps) == (24, 20)
    ours = trainer(recipe, "gan", networks)
    g, d, average = copy.deepcopy(ours.g), copy.deepcopy(ours.d), copy.deepcopy(ours.average)
    rate = [0.0]
    g_adam, d_adam = (torch.optim.Adam(part.parameters(), lr=1.0, betas=(0.0, 0.9), eps=1e-3) for part in (g, d))

    def generated(streams: Any, turn: int) -> tuple[Tensor, Tensor]:
        z = draw(torch.randn, (recipe.latent,), 3, streams.latent, turn, WHOLE).double()
        labels = (draw(torch.rand, (), 3, streams.labels, turn, WHOLE) * 10).floor().long()
        return g(z, labels), labels

    def moved(adam: torch.optim.Adam, loss: Tensor, times: float) -> None:
        adam.param_groups[0].update(lr=times * rate[0], betas=(0.0, beta2))
        adam.zero_grad()
        loss.backward()
        adam.step()

    drawn = []
    for step in range(4):
        c = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / 20).double()).item())
        rate[0], beta2 = (b + (a - b) * c for a, b in (recipe.lr, recipe.beta2))
        for turn in range(3 * step, 3 * step + 3):
            x, y = ours.data.take(batch_indices(3, turn, 8, len(ours.data)))
            fake, labels = generated(OF_D, turn)
            drawn.append(labels)
            moved(d_adam, ((1 - d(x, y)).clamp(min=0) + (1 + d(fake.detach(), labels)).clamp(min=0)).mean(), 4)
        fake, labels = generated(OF_G, 3 * step + 2)
        moved(g_adam, -d(fake, labels).mean(), 1)
        for mean, now in zip(average.parameters(), g.parameters(), strict=True):
            mean.copy_(now.detach() if step < 2 else 0.75 * mean + 0.25 * now.detach())
        ours.step()
    for found, wanted in ((ours.g, g), (ours.d, d), (ours.average, average)):
        torch.testing.assert_close(parameters(found), parameters(wanted), rtol=0, atol=1e-9)
    counts = torch.cat(drawn).bincount(minlength=10)
    assert counts.min() > 0
    assert "r1" not in ours.losses
