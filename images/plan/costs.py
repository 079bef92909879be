"""FLOPs and memory of a training step, computed by running the trainer on tensors without values.

FLOPs are those of convolutions, matrix products and attention, a multiplication and an addition being two. Memory is
what PyTorch allocates for tensors; the device's context, its libraries' workspaces and the allocator's gaps come on
top.
"""

from __future__ import annotations

import dataclasses
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import (
    conv_flop_count,
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
    shape_wrapper,
)

from images.denoisers.adm import ADM
from images.denoisers.blocks import channels_last
from images.denoisers.precondition import DDPMScore, EDMScore, Network, Score
from images.denoisers.published import PUBLISHED
from images.denoisers.small import Denoiser
from images.denoisers.song import SongConfig, SongUNet
from images.generators.families import augment_of, networks_of
from images.interfaces import Images, Labels
from images.recipes import OFFERED, Recipe
from images.training.speed import SLOW, Speed
from images.training.trainer import Trainer
from images.training.update import Adam, Update
from theory.levels import Level
from theory.regularity import EpsModel


class Cost(NamedTuple):
    """FLOPs of a call, and the most bytes that it holds at once beyond those held before."""

    flops: int
    peak: int


@dataclass(frozen=True)
class Costs:
    """Costs of a recipe, on one process with `batch` images at once.

    generator, discriminator, score: parameters.
    moments: bytes of the optimisers.
    d, d_penalised: one step of the discriminator without and with penalties, in a step of their own too.
    g, g_path, g_scored: steps of the generator, plain, with path lengths, with path lengths and the score term.
    """

    batch: int
    generator: int
    discriminator: int
    score: int
    moments: int
    d: Cost
    d_penalised: Cost
    g: Cost
    g_path: Cost
    g_scored: Cost


@cache
def costs(recipe: Recipe, coupling: str, batch: int, low: bool = True, speed: Speed = SLOW) -> Costs:
    """The costs of a step with `batch` images at once, in bfloat16 where autocast has it (low), or float32.

    Raises:
        ValueError: the coupling has no score term; there are no networks of this shape.
    """
    if coupling == "gan":
        raise ValueError("a plan is for a coupling with a score term; given gan")
    recipe = dataclasses.replace(recipe, batch=batch, images=max(recipe.images, batch), micro=0)
    recipe = dataclasses.replace(recipe, d_steps=1, penalty_every=2, every=2, path_every=3)
    # step 0 has all terms, step 1 none
    with (mode := FakeTensorMode(allow_non_fake_inputs=True)):
        network = network_of(recipe)
    score = Unchecked(score_of(recipe, network))  # schedules have values
    with mode, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # deepcopy does, for no harm
        trainer = Probe(recipe, coupling, score, low, speed)
        known = list(trainer.tensors())
        trainer.at = 1
        d, g = measured(trainer.d_step, known), measured(trainer.g_step, known)
        trainer.at = 3
        g_path = measured(trainer.g_step, known) if recipe.path_weight else g
        trainer.at = 0
        d_penalised, g_scored = measured(trainer.d_step, known), measured(trainer.g_step, known)
        held = [trainer.g] * (2 if coupling == "two-adams" else 1) + [trainer.d]
        moments = 2 * size(chain(*(part.parameters() for part in held))) + size(trainer.update.moments)
    sizes = count(trainer.g), count(trainer.d), count(network)
    return Costs(batch, *sizes, moments, d, d_penalised, g, g_path, g_scored)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes."""
    return sum(tensor.nbytes for tensor in tensors)


# The score model of each recipe

SCORES = {
    "imagenet64": "adm-imagenet64",
    "imagenet64-aurora": "adm-imagenet64",
    "imagenet128": "adm-imagenet128",
    "imagenet128-biggan": "adm-imagenet128",
    "lsun-bedroom": "adm-bedroom256",
}


def network_of(recipe: Recipe) -> Network:
    """The network of the recipe's score model with random parameters: EDM's SongUNet for CIFAR10, guided-diffusion's
    ADM for ImageNet and LSUN, the small SongUNets for what a CPU trains."""
    if recipe.recipe in SCORES:
        return ADM(PUBLISHED[SCORES[recipe.recipe]].config)
    return SongUNet(SongConfig()) if recipe.recipe in OFFERED else Denoiser.of(recipe).network()


def score_of(recipe: Recipe, network: Network) -> Score:
    """The score model, frozen."""
    network.eval().requires_grad_(False)
    schedule = PUBLISHED[SCORES[recipe.recipe]].schedule if recipe.recipe in SCORES else None
    return EDMScore(network) if schedule is None else DDPMScore(network, schedule)


class Unchecked:
    """A score model without checks of levels and labels, which have no values here."""

    def __init__(self, score: Score):
        self.score, self.network = score, score.network

    def of(self, labels: Labels | None = None) -> EpsModel:
        def eps_model(x_t: Tensor, level: Level) -> Tensor:
            nsr = torch.as_tensor(level.nsr, dtype=torch.float64).expand(len(x_t))
            return self.score.eps(x_t, nsr, labels)[:, : x_t.shape[1]]

        return eps_model


# The trainer without values


class Probe(Trainer):
    """The trainer with empty images and draws, and with optimisers that do not move."""

    score: Unchecked

    def __init__(self, recipe: Recipe, coupling: str, score: Unchecked, low: bool, speed: Speed):
        super().__init__(recipe, coupling, 0, pair, NoData(), score, augment=augment_of(recipe), speed=speed)
        speed.prepare(score.network)
        self.low, self.p = low, 0.5  # augmentation is at work
        self.update = Still(self.g.parameters(), recipe, coupling)
        self.d_adam = StillAdam(self.d.parameters(), recipe)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors that it holds between steps."""
        for module in (self.g, self.d, self.average, self.score.score):
            yield from module.parameters()
            yield from module.buffers()
        yield from self.update.moments

    def real(self, part: slice) -> tuple[Images, Labels | None]:
        recipe, n = self.recipe, part.stop - part.start
        images = torch.empty(n, recipe.channels, recipe.resolution, recipe.resolution)
        return images.to(memory_format=torch.channels_last), self.labels(part)

    def labels(self, part: slice) -> Labels | None:
        return torch.empty(part.stop - part.start, dtype=torch.long) if self.recipe.classes else None

    def draw(self, kind: Callable[..., Tensor], shape: tuple[int, ...], stream: int, part: slice, step: int) -> Tensor:
        return torch.empty(part.stop - part.start, *shape)

    def now(self, ends: tuple[float, float]) -> float:
        return max(ends)

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.low else nullcontext()


def pair(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    """The recipe's networks in channels-last order, to which `.to` does nothing: it does not work without values."""
    made = networks_of(recipe)
    for network in made:
        channels_last(network)
        network.to = lambda *_, network=network, **__: network  # type: ignore[method-assign]
    return made


class NoData:
    def __len__(self) -> int:
        return 1

    def labels(self, which: Tensor) -> Labels | None:
        raise NotImplementedError

    def take(self, which: Tensor) -> tuple[Images, Labels | None]:
        raise NotImplementedError


class Still(Update):
    def step(self, *given: Any) -> None: ...
    def own_step(self, *given: Any) -> None: ...


class StillAdam(Adam):
    def move(self, *given: Any) -> None: ...


# Measuring


def measured(call: Callable[[], object], known: Iterable[Tensor]) -> Cost:
    """The cost of a call under FakeTensorMode; `known` are the tensors held before."""
    with Meter(known) as meter:
        call()
    return Cost(meter.flops, meter.peak)


class Meter(TorchDispatchMode):
    """Counts FLOPs, and the bytes of all storages from the operation that returns them until they are freed.

    (PyTorch's FlopCounterMode cannot watch gradients of gradients; its formulas are used here.)
    """

    def __init__(self, known: Iterable[Tensor] = ()):
        super().__init__()
        self.flops = self.held = self.peak = 0
        self.known: dict[int, Any] = {tensor.untyped_storage()._cdata: None for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in FORMULAS:
            self.flops += FORMULAS[func._overloadpacket](*args, **kwargs, out_val=out)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.see(leaf.untyped_storage())
        if func._overloadpacket in (aten.convolution, aten.convolution_backward):
            self.peak = max(self.peak, self.held + reordered(*args))
        return out

    def see(self, storage: torch.UntypedStorage) -> None:
        key, n = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known[key] = weakref.ref(storage, partial(self.gone, key, n))
            self.held += n
            self.peak = max(self.peak, self.held)

    def gone(self, key: int, n: int, _: Any) -> None:
        del self.known[key]
        self.held -= n


def reordered(*args: Any) -> int:
    """Bytes of the copies that a convolution makes of tensors in another memory order than its own, which is channels
    last if its image or its weight is. (A double backward convolves transposed images.)"""
    tensors = [arg for arg in args[:3] if isinstance(arg, Tensor) and arg.ndim == 4]
    image, weight = tensors[-2:]  # behind the gradient, if there is one
    last = torch.channels_last in (suggest_memory_format(image), suggest_memory_format(weight))
    order = torch.channels_last if last else torch.contiguous_format
    return sum(tensor.nbytes for tensor in tensors if not tensor.is_contiguous(memory_format=order))


def conv_backward(grad: Any, x: Any, weight: Any, *rest: Any, out_shape: Any) -> int:
    """FLOPs of the gradients: each of the two costs as much as the convolution."""
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, mask = rest
    return conv_flop_count(x, weight, grad, transposed=transposed) * (bool(mask[0]) + bool(mask[1]))


def attention(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any, **named: Any) -> int:
    return sdpa_flop_count(q, k, v)


def attention_backward(grad: Any, q: Any, k: Any, v: Any, *rest: Any, out_shape: Any, **named: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


aten = torch.ops.aten
FORMULAS: dict[Any, Callable[..., int]] = flop_registry | {
    aten.convolution_backward: shape_wrapper(conv_backward),
    aten._scaled_dot_product_flash_attention_for_cpu: shape_wrapper(attention),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: shape_wrapper(attention_backward),
}
"""PyTorch's formulas, with two for attention on a CPU that it lacks, and one corrected: PyTorch 2.13 counts the
gradient of a grouped convolution in the weight too often, by the number of groups."""
