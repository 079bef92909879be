"""Generators, discriminators and augmentations: shapes, classes, derivatives, and what the papers say of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from images.generators import r3gan, stylegan2
from images.generators.augment import AUGMENTS, GATES, adapted, make_augment
from images.generators.families import make_discriminator, make_generator
from images.generators.r3gan import Residual
from images.generators.stylegan2 import Conv, Linear, modulate, modulated_conv, with_deviation
from images.layers import conv
from images.layers.conv import grouped_conv2d
from images.layers.filters import filtered, spread
from images.layers.resample import Resampling, resample
from images.training.losses import squared_gradient

SMALL = {"r3gan": {"width": 8, "cardinality": 4, "latent": 6}, "stylegan2": {"width": 8, "latent": 6}}
FAMILIES = pytest.mark.parametrize("name", SMALL)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pair(name: str, resolution: int = 8, classes: int = 3, channels: int = 3) -> tuple[nn.Module, nn.Module]:
    shape = resolution, channels, classes
    return make_generator(name, *shape, **SMALL[name]), make_discriminator(name, *shape, **SMALL[name])


def stirred(network: nn.Module) -> nn.Module:
    """Every parameter away from where it starts: zeros hide what they multiply."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@FAMILIES
@pytest.mark.parametrize(("resolution", "channels", "classes"), [(8, 1, 10), (16, 3, 0), (32, 3, 2), (64, 3, 4)])
def test_shapes(name: str, resolution: int, channels: int, classes: int) -> None:
    g, d = pair(name, resolution, classes, channels)
    labels = torch.tensor([0, 1]) if classes else None
    images = g(torch.randn(2, 6), labels)
    assert images.shape == (2, channels, resolution, resolution)
    assert images.std() > 0.01
    assert d(images, labels).shape == (2,)


@FAMILIES
def test_classes_and_latents_matter(name: str) -> None:
    g, d = (stirred(network) for network in pair(name))
    z = torch.randn(1, 6).expand(2, 6)
    g.eval()
    same, other = g(z, torch.tensor([0, 0])), g(z, torch.tensor([0, 1]))
    assert torch.allclose(same[0], same[1], atol=1e-5)
    assert (other[0] - other[1]).abs().max() > 1e-3
    assert (g(torch.randn(2, 6), torch.tensor([0, 0]))[0] - same[0]).abs().max() > 1e-3
    between = d(other, torch.tensor([0, 0])) - d(other, torch.tensor([1, 1]))
    assert between.abs().min() > 1e-4
    assert (between[0] - between[1]).abs() > 1e-4  # the class changes what is looked for, and not the logit alone


# The published sizes of the projects' models, in millions: R3GAN's for CIFAR10 and ImageNet 64, StyleGAN2-ADA's for
# conditional CIFAR10.
PUBLISHED = [
    ("r3gan", 32, 10, 768, 20.8, 21.3),
    ("r3gan", 64, 1000, 1536, 103.6, 107.2),
    ("stylegan2", 32, 10, 512, 20.2, 23.1),
]


@pytest.mark.parametrize(("name", "resolution", "classes", "width", "of_g", "of_d"), PUBLISHED)
def test_published_sizes(name: str, resolution: int, classes: int, width: int, of_g: float, of_d: float) -> None:
    for make, size in ((make_generator, of_g), (make_discriminator, of_d)):
        with torch.device("meta"):
            network = make(name, resolution, 3, classes, width)
        assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == size


# Convolutions and filters


def test_grouped_convolution_and_all_its_derivatives() -> None:
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(grouped_conv2d(x, weight, 2), F.conv2d(x, weight, padding=1, groups=2))
    assert gradcheck(lambda x, w: grouped_conv2d(x, w, 2), (x, weight))
    assert gradgradcheck(lambda x, w: grouped_conv2d(x, w, 2), (x, weight))


def test_a_gradient_of_images_leaves_out_that_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient penalty computes the gradients in the weights that it needs, two for each convolution, and no more;
    they are those of conv2d."""
    taken: list[bool] = []
    apply = conv._ToWeight.apply

    def counted(*args: Any) -> Tensor:
        taken.append(True)
        return apply(*args)

    monkeypatch.setattr(conv._ToWeight, "apply", counted)
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def penalty(convolution: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        logits = convolution(convolution(x, weight).relu(), weight).square().sum((1, 2, 3))
        return squared_gradient(logits, x).sum()

    found = penalty(lambda x, w: grouped_conv2d(x, w, 2))
    assert not taken
    (own,) = grad(found, weight)
    assert len(taken) == 4
    (wanted,) = grad(penalty(lambda x, w: F.conv2d(x, w, padding=1, groups=2)), weight)
    torch.testing.assert_close(own, wanted)
    taken.clear()
    grad(grouped_conv2d(x, weight, 2).sum(), x)  # outside of it
    assert len(taken) == 1


@pytest.mark.parametrize("taps", [(1, 2, 1), (1, 3, 3, 1), (1, 1)])
def test_resampling_is_zero_insertion_convolution_and_decimation(taps: tuple[int, ...]) -> None:
    x = torch.randn(1, 2, 6, 8)
    line, border = np.array(taps) / sum(taps), (len(taps) - 1) // 2

    def along(x: np.ndarray, axis: int, way: str) -> np.ndarray:
        def one(row: np.ndarray) -> np.ndarray:
            if way == "up":
                inserted = np.zeros(2 * len(row))
                inserted[::2] = row
                return np.convolve(inserted, 2 * line)[border:][: len(inserted)]
            return np.convolve(row, line)[len(taps) - 1 - border :: 2][: len(row) // 2]

        return np.apply_along_axis(one, axis, x)

    for way in ("up", "down"):
        expected = along(along(x.numpy(), 2, way), 3, way)
        np.testing.assert_allclose(resample(x, way, taps).numpy(), expected, atol=1e-6)


TAPS = pytest.mark.parametrize("taps", [r3gan.TAPS, stylegan2.TAPS], ids=["r3gan", "stylegan2"])


@TAPS
@pytest.mark.parametrize("way", ["up", "down"])
def test_resampling_keeps_constants_means_and_mirror_images(taps: tuple[int, ...], way: Resampling) -> None:
    """Constants away from the border, which has zeros beyond it; the mean of an impulse, times 4 for as many pixels;
    and left and right are alike: pixel centres stay where they are."""
    x = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    x[..., 6, 7] = 1
    flat = resample(torch.ones_like(x), way, taps)[..., 2:-2, 2:-2]
    assert torch.allclose(flat, torch.ones_like(flat), atol=1e-12)
    assert resample(x, "up", taps).sum().item() == pytest.approx(4)
    noise = torch.randn_like(x)
    for axis in (2, 3):
        assert torch.allclose(resample(noise.flip(axis), way, taps), resample(noise, way, taps).flip(axis), atol=1e-12)


@FAMILIES
def test_networks_of_symmetric_kernels_do_not_tell_left_from_right(name: str) -> None:
    """With all kernels and the constant mirrored onto themselves, G's images are, and D gives an image and its mirror
    image one logit. A filter that shifts by half a pixel breaks both."""
    g, d = (stirred(network).double().eval() for network in pair(name, 16))
    linear: Any = d.linear
    with torch.no_grad():
        for parameter in [*g.parameters(), *d.parameters()]:
            if parameter.ndim >= 3:
                parameter.copy_((parameter + parameter.flip(-1)) / 2)
        for parameter_name, parameter in g.named_parameters():
            if parameter_name.endswith("strength"):  # of StyleGAN2's noise, which is not symmetric
                parameter.zero_()
        if name == "stylegan2":  # D's last layer sees 4 x 4 pixels, flat
            weight = linear.weight.unflatten(1, (-1, 4, 4))
            weight.copy_((weight + weight.flip(-1)) / 2)
    z, labels, x = torch.randn(2, 6).double(), torch.tensor([0, 1]), torch.randn(2, 3, 16, 16).double()
    images = g(z, labels)
    assert images.std() > 0.01
    assert torch.allclose(images, images.flip(-1), atol=1e-9)
    logits = d(x, labels)
    assert torch.allclose(d(x.flip(-1), labels), logits, rtol=1e-9, atol=1e-9)
    assert (d(x.flip(-2), labels) - logits).abs().max() > 1e-6  # a control: up and down are not alike


@pytest.mark.parametrize(("stride", "pad", "side"), [(2, 1, 6), (2, 1, 7), (1, 2, 5), (2, 0, 8)])
def test_filters_and_all_their_derivatives(stride: int, pad: int, side: int) -> None:
    x = torch.randn(2, 3, side, side + 1, dtype=torch.float64, requires_grad=True)
    line = torch.tensor([1.0, 2.0, 4.0, 1.0], dtype=torch.float64)
    weight = torch.outer(line, line.flip(0))
    y = filtered(x, weight, stride, pad)
    assert torch.allclose(y, F.conv2d(x, weight.expand(3, 1, 4, 4), stride=stride, padding=pad, groups=3))
    v = torch.randn_like(y, requires_grad=True)
    back = spread(v, weight, stride, pad, (side, side + 1))
    assert torch.allclose((y * v).sum(), (x * back).sum())  # its adjoint
    assert gradcheck(lambda v: spread(v, weight, stride, pad, (side, side + 1)), v)
    assert gradgradcheck(lambda x: filtered(x, weight, stride, pad).square(), x)


@FAMILIES
def test_penalties_do_not_go_over_channels(name: str) -> None:
    """Four times the channels, the same number of operations; PyTorch's own derivatives would take them one by one."""

    class Count(TorchDispatchMode):
        operations = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.operations += 1
            return func(*args, **(kwargs or {}))

    def operations(width: int) -> int:
        d = make_discriminator(name, 16, 3, 0, width, **({"cardinality": width // 4} if name == "r3gan" else {}))
        x = torch.randn(2, 3, 16, 16, requires_grad=True)
        with Count() as count:
            (gradient,) = grad(d(x).sum(), x, create_graph=True)
            grad(gradient.square().sum(), list(d.parameters()), materialize_grads=True)
        return count.operations

    assert operations(8) == operations(32)


# StyleGAN2


def test_demodulated_weights_have_unit_norm() -> None:
    weight, style = torch.randn(5, 4, 3, 3), 3 * torch.randn(2, 4)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            modulated = modulate(weight, style)
        assert modulated.dtype == torch.float32
        assert torch.allclose(modulated.square().sum((2, 3, 4)), torch.ones(2, 5), atol=1e-5)
    assert torch.allclose(modulate(weight, style, demodulate=False)[1, 2, 3], weight[2, 3] * style[1, 3])


def test_each_image_has_its_own_weight() -> None:
    x, weight = torch.randn(2, 4, 6, 6), torch.randn(2, 5, 4, 3, 3)
    expected = torch.cat([F.conv2d(x[i : i + 1], weight[i], padding=1) for i in range(2)])
    assert torch.allclose(modulated_conv(x, weight), expected, atol=1e-5)
    upsampled = resample(x, "up", stylegan2.TAPS)
    expected = torch.cat([F.conv2d(upsampled[i : i + 1], weight[i].flip(2, 3), padding=1) for i in range(2)])
    inner = slice(2, -2)  # at the border one of the two has lost what the filter spread beyond it
    found = modulated_conv(x, weight, up=True)
    assert found.shape == (2, 5, 12, 12)
    assert torch.allclose(found[..., inner, inner], expected[..., inner, inner], atol=1e-4)


@pytest.mark.parametrize(
    "make", [lambda: Linear(256, 64, bias=1.0), lambda: Linear(256, 64, rate=0.01), lambda: Conv(32, 64, 3)]
)
def test_equalised_learning_rate(make: Callable[[], Linear | Conv]) -> None:
    """Layers start with weights of deviation 1 / sqrt(inputs); a step of Adam, lr a parameter, moves them by
    lr rate / sqrt(inputs). The deviation of n numbers is off by 1 / sqrt(2 n): 5 of these, one in 10^6 fails."""
    layer = make().double()  # a step is near a weight's last place in float32
    inputs, rate = layer.weight[0].numel(), getattr(layer, "rate", 1.0)
    deviation = 1 / math.sqrt(inputs)
    before = (layer.weight * layer.gain).detach().clone()
    assert abs(before.std() / deviation - 1) < 5 / math.sqrt(2 * before.numel())
    lr = 1e-3
    optimizer = torch.optim.Adam(layer.parameters(), lr=lr, eps=1e-30)  # else small gradients move less
    x = torch.randn(3, 256) if isinstance(layer, Linear) else torch.randn(3, 32, 4, 4)
    apply: Any = F.linear if isinstance(layer, Linear) else F.conv2d
    options = {} if isinstance(layer, Linear) else {"padding": 1}
    assert layer.bias is not None
    assert torch.allclose(layer(x.double()), apply(x.double(), before, layer.bias * rate, **options))
    layer(x.double()).square().sum().backward()
    optimizer.step()
    moved = (layer.weight * layer.gain - before).abs()
    assert torch.allclose(moved, torch.full_like(moved, lr * rate * deviation), rtol=0.02, atol=1e-7)


def test_minibatch_deviation() -> None:
    x = torch.zeros(4, 2, 1, 1)
    x[:, 0, 0, 0] = torch.tensor([0.0, 6.0, 1.0, 1.0])  # with group 2, images 0 and 1, 2 and 3 are compared
    channel = with_deviation(x, 2)[:, 2, 0, 0]
    assert torch.allclose(channel, torch.tensor([1.5, 1.5, 0.0, 0.0]), atol=1e-3)  # means of (3, 0), (0, 0)
    assert torch.equal(with_deviation(x[:2], 2), with_deviation(x, 2)[:2])  # whole groups are on their own
    with pytest.raises(ValueError, match="groups of 3 images: b must be a multiple; given 4"):
        with_deviation(x, 3)


def test_noise() -> None:
    g = stirred(make_generator("stylegan2", 16, 3, 0, **SMALL["stylegan2"]))
    z = torch.randn(2, 6)
    assert g.noise_size == 16 + 2 * 64 + 2 * 256
    noise = torch.randn(2, int(g.noise_size))
    assert torch.equal(g(z, None, noise), g(z, None, noise))
    assert not torch.equal(g(z), g(z))
    g.eval()
    assert torch.equal(g(z), g(z))


def test_the_logit_is_linear_in_the_mapped_class() -> None:
    """<features, mapped class> / sqrt(n): the mapping's last layer at twice its size doubles the logit, as a leaky ReLU
    is positively homogeneous. (With the mapped class at unit norm it would not change.)"""
    d: Any = stirred(make_discriminator("stylegan2", 16, 3, 3, **SMALL["stylegan2"])).double()
    x, labels = torch.randn(4, 3, 16, 16).double(), torch.tensor([0, 1, 2, 0])
    before = d(x, labels)
    with torch.no_grad():
        for parameter in d.labels.layers[-1].parameters():
            parameter.mul_(2)
    assert torch.allclose(d(x, labels), 2 * before, rtol=1e-9)
    assert before.abs().min() > 1e-6


# R3GAN


def test_fixup_starts_as_the_identity_at_the_depth_s_scale() -> None:
    """The deviation of n numbers is off by 1 / sqrt(2 n): 5 of these, one in 10^6 fails."""
    x = torch.randn(2, 32, 4, 4)
    for count in (1, 16):
        block = Residual(32, 64, 4, count)
        assert torch.equal(block(x), x)
        gain = math.sqrt(2 / 1.04) * count**-0.25
        for weight in (block.expand.weight, block.weight):
            expected = gain / weight[0].numel() ** 0.5
            assert abs(weight.std() / expected - 1) < 5 / math.sqrt(2 * weight.numel())


# Both families


@FAMILIES
def test_r1_differentiates_twice(name: str) -> None:
    """The gradient of ||grad D||^2 in a direction of the parameters is what finite differences of it say."""
    d = stirred(pair(name)[1]).double()
    images, labels = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0])

    def penalty() -> torch.Tensor:
        x = images.clone().requires_grad_()
        (gradient,) = grad(d(x, labels).sum(), x, create_graph=True)
        return gradient.square().sum()

    parameters = list(d.parameters())
    found = grad(penalty(), parameters, materialize_grads=True)
    direction = [torch.randn_like(p) for p in parameters]
    slope = sum((a * b).sum() for a, b in zip(found, direction, strict=True))
    h, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, by in zip(parameters, direction, strict=True):
                parameter.add_(by, alpha=sign * h)
        values.append(penalty().item())
    assert isinstance(slope, torch.Tensor)
    assert slope.item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


@FAMILIES
def test_bf16_and_channels_last(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 both memory orders give the same: another order of sums is 1e-15 of images and logits up to 100. bf16
    has 8 bits, and its errors add up over some ten layers."""
    g, d = (stirred(network).eval().double() for network in pair(name))
    z, labels = torch.randn(4, 6).double(), torch.tensor([0, 1, 2, 0])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "float", lambda self: self)  # StyleGAN2 modulates in float32 at least
        plain = g(z, labels)
        last = g.to(memory_format=torch.channels_last)(z, labels)  # type: ignore[call-overload]
        assert torch.allclose(plain, last, rtol=0, atol=1e-10)
        logits, last = d(plain, labels), d(plain.to(memory_format=torch.channels_last), labels)
        assert torch.allclose(logits, last, rtol=0, atol=1e-10)
    g, d, z, plain = g.float(), d.float(), z.float(), plain.float()
    with torch.autocast("cpu", torch.bfloat16):
        images = g(z, labels)
        logits = d(images.float(), labels).float()
    assert (images - plain).abs().mean() < 0.05 * plain.abs().mean()
    gradients = grad(logits.sum(), list(d.parameters()), materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)


@FAMILIES
def test_bad_input(name: str) -> None:
    g, d = pair(name)
    z, labels, images = torch.randn(2, 6), torch.tensor([0, 1]), torch.randn(2, 3, 8, 8)
    for call, said in (
        (lambda: g(torch.randn(2, 5), labels), r"z must be \[b, 6\]; given \(2, 5\)"),
        (lambda: g(z), "class-conditional: give labels, 2 numbers in 0..2"),
        (lambda: g(z, torch.tensor([0, 3])), r"labels must lie in 0..2, the classes of this network; given 0..3"),
        (lambda: d(images, torch.tensor([0])), r"labels must be \[2\] whole numbers"),
        (lambda: d(torch.randn(2, 3, 16, 16), labels), r"images must be \[b, 3, 8, 8\]; given \(2, 3, 16, 16\)"),
        (lambda: pair(name, classes=0)[1](images, labels), "has no classes: give no labels"),
        (lambda: pair(name, classes=0)[0](z, labels), "has no classes: give no labels"),
        (lambda: pair(name, resolution=24), "resolution must be a power of two from 8 to 1024; given 24"),
        (lambda: make_generator(name, 8, 3, 0, widht=3), "unknown option of .*did you mean 'width"),
        (lambda: make_generator("r3gam", 8, 3, 0), "unknown generator 'r3gam'.*did you mean 'r3gan'"),
        (lambda: make_generator(name, 8, 3, 0, latent=0), "latent must be a whole number of at least 1; given 0"),
        (lambda: make_generator("r3gan", 8, 3, 0, 10, cardinality=3), "cardinality must divide every width"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


# Augmentations


@pytest.mark.parametrize("name", ["diffaugment", "ada"])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_are_differentiable(name: str, channels: int) -> None:
    """They are affine in the images: x + v goes to A(x) + J v, J the Jacobian that autograd has, forth and back."""
    augment = make_augment(name)
    x, v, w = (torch.randn(6, channels, 16, 16) for _ in range(3))
    u = torch.rand(6, augment.numbers)
    x.requires_grad_()
    w.requires_grad_()
    out = augment(x, u, 1.0)
    assert out.shape == x.shape
    change = augment(x + v, u, 1.0) - out
    (back,) = grad(out, x, w, create_graph=True)  # J' w
    expected = (w * change).sum((1, 2, 3))
    scale = (w.norm() * change.norm()).item()
    assert torch.allclose((back * v).sum((1, 2, 3)), expected, atol=1e-5 * scale)
    (forth,) = grad(back, w, v)  # J v
    assert torch.allclose(forth, change, atol=1e-4)


@pytest.mark.parametrize("name", AUGMENTS)
def test_augmentations_at_probability_0_and_1(name: str) -> None:
    augment = make_augment(name)
    x, u = torch.randn(8, 3, 16, 16), torch.rand(8, augment.numbers)
    assert torch.equal(augment(x, u, 0.0), x)
    if augment.numbers:
        assert ((augment(x, u, 1.0) - x).flatten(1).abs().amax(1) > 1e-3).all()
        with pytest.raises(ValueError, match=rf"u must be \[8, {augment.numbers}\] for {name}; given \(8, 1\)"):
            augment(x, u[:, :1], 0.5)
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]; given 1.5"):
            augment(x, u, 1.5)


def only(gate: str, **numbers: float) -> torch.Tensor:
    """The uniform numbers [1, n] with which ada does one thing alone at p = 1/2."""
    u = torch.ones(1, AUGMENTS["ada"].numbers)
    u[0, GATES.index(gate)] = 0.0
    for index, value in numbers.items():
        u[0, len(GATES) + int(index[1:])] = value
    return u


def test_what_each_augmentation_does() -> None:
    ada, x = make_augment("ada"), torch.randn(1, 3, 16, 16)
    grey = x.mean(1, keepdim=True)
    assert torch.equal(ada(x, torch.ones(1, ada.numbers), 0.5), x)
    exact = [
        (only("flip", _0=0.4), x.flip(-1)),
        (only("flip", _0=0.6), x),
        (only("quarter", _1=0.3), x.rot90(1, (2, 3))),
        (only("quarter", _1=0.6), x.rot90(2, (2, 3))),
        (only("turn", _5=0.0), x.flip(-1, -2)),
        (only("brightness", _10=0.5), x),
        (only("negative", _12=0.1), x - 2 * grey),
        (only("hue", _13=0.5 + 1 / 3), x.roll(1, 1)),  # a third of a turn: red to green to blue
    ]
    for u, expected in exact:
        assert torch.allclose(ada(x, u, 0.5), expected, atol=2e-5)
    moved = ada(x, only("jump", _2=0.99, _3=0.5), 0.5)  # 2 pixels, an eighth
    assert torch.allclose(moved[..., :-2], x[..., 2:], atol=2e-5)
    more = ada(x, only("saturation", _14=0.9), 0.5)
    factor = 2 ** float(torch.special.ndtri(torch.tensor(0.9)))
    assert torch.allclose(more, grey + factor * (x - grey), atol=1e-4)
    contrast = ada(x, only("contrast", _11=0.9), 0.5)
    assert torch.allclose(contrast, x * factor**0.5, atol=1e-4)


def test_brightness_has_deviation_a_fifth() -> None:
    """ADA adds N(0, 0.2^2) to pixels of -1 to 1. Over n images the mean is off by 0.2 / sqrt(n), the deviation by
    0.2 / sqrt(2 n): 5 of these, one in 10^6 fails."""
    ada, n = make_augment("ada"), 20_000
    u = only("brightness").expand(n, -1).clone()
    u[:, len(GATES) + 10] = torch.rand(n)
    added = ada(torch.zeros(n, 3, 1, 1), u, 0.5)[:, 0, 0, 0].double()
    assert abs(added.mean()) < 5 * 0.2 / math.sqrt(n)
    assert abs(added.std() / 0.2 - 1) < 5 / math.sqrt(2 * n)


def test_diff_augment_cuts_and_shifts() -> None:
    augment, x = make_augment("diffaugment"), torch.randn(1, 1, 16, 16)
    u = torch.ones(1, 10)
    u[0, 1], u[0, 6], u[0, 7] = 0.0, 0.0, 0.5  # translation alone: 2 rows down
    shifted = augment(x, u, 0.5)
    assert torch.equal(shifted[..., 2:, :], x[..., :-2, :])
    assert not shifted[..., :2, :].any()
    u = torch.ones(1, 10)
    u[0, 2], u[0, 8], u[0, 9] = 0.0, 0.5, 0.5  # cutout alone, around the centre
    expected = x.clone()
    expected[..., 4:12, 4:12] = 0
    assert torch.equal(augment(x, u, 0.5), expected)


def test_two_rotations_leave_an_image_alone_with_probability_one_minus_p() -> None:
    """Of 20000 images, the fraction turned has deviation .0034 around p = .36; 5 of these, one in 10^6 fails."""
    ada, p = make_augment("ada"), 0.36
    u = torch.ones(20_000, ada.numbers)
    for gate, number in (("turn", 5), ("turn again", 7)):
        u[:, GATES.index(gate)] = torch.rand(len(u))
        u[:, len(GATES) + number] = 0.3
    x = torch.randn(1, 1, 4, 4).expand(len(u), -1, -1, -1)
    turned = (ada(x, u, p) - x).flatten(1).abs().amax(1) > 0
    assert abs(turned.double().mean() - p) < 5 * math.sqrt(p * (1 - p) / len(u))


def test_adaptive_probability() -> None:
    assert adapted(0.2, signs=0.9, seen=5000) == pytest.approx(0.21)
    assert adapted(0.2, signs=0.1, seen=5000) == pytest.approx(0.19)
    assert adapted(0.001, signs=0.1, seen=5000) == 0
    assert adapted(1.0, signs=0.9, seen=5000) == 1
    assert adapted(0.2, signs=0.6, seen=5000) == 0.2
