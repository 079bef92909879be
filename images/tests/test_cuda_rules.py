"""A step of every recipe and coupling on a device that is not the CPU, under the rules of CUDA's kernels.

The device is PyTorch's "meta": tensors with shapes, strides and dtypes, without values. What CUDA asks of a call, and a
CPU does not, is checked at each operator: one device, layouts and dtypes that its kernels read, nothing copied from the
host, nothing that the host waits for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch._meta_registrations  # operators without values that are written in Python
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from images.bench import gpuparts
from images.bench.gpuparts import tiny
from images.denoisers.precondition import Score
from images.generators.families import augment_of, networks_of
from images.recipes import COUPLINGS, RECIPES, Recipe
from images.training.trainer import Trainer

DEVICE = torch.device("meta")
aten = torch.ops.aten
ONE_DTYPE = aten.convolution, aten.convolution_backward, aten.native_group_norm, aten.grid_sampler_2d, aten.mm, aten.bmm
WAITS = aten._local_scalar_dense, aten.nonzero, aten.masked_select
SCALARS = aten.add, aten.add_, aten.sub, aten.sub_, aten.mul, aten.mul_, aten.div, aten.div_, aten.rsub, aten.pow
"""They hand a number on the CPU to the kernel."""


class Rules(TorchDispatchMode):
    """Checks each operator that has a tensor on the device; `copies` are those from the host.

    Sources: PyTorch's native/group_norm.cpp (off the CPU its input must be contiguous in NCHW, and its backward kernel
    reads the output's gradient so, unchecked), native/cuda/group_norm_kernel.cu (weights of the input's dtype),
    native/Convolution.cpp and native/GridSampler.h (one dtype).
    """

    def __init__(self, device: torch.device = DEVICE) -> None:
        super().__init__()
        self.device, self.counting = device, True
        self.copies: list[str] = []
        self.seen: set[Any] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, func._overloadpacket
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [x for x in given if x.device == self.device]
        self.seen.add(packet)
        if there:
            self.check(packet, there, [x for x in given if x.device != self.device])
        out = func(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if self.counting and packet is aten._to_copy and not there and any(x.device == self.device for x in results):
            self.copies.append(str(func))
        return out

    def check(self, packet: Any, there: list[Tensor], here: list[Tensor]) -> None:
        assert packet not in WAITS or self.device != DEVICE, f"{packet} stops the host until the device is done"
        assert all(x.ndim == 0 for x in here), f"{packet} has tensors on two devices"
        if here and packet not in SCALARS and self.counting:
            self.copies.append(str(packet))
        if self.device == DEVICE and packet in (aten.native_group_norm, aten.native_group_norm_backward):
            for x in there:
                assert x.is_contiguous(), f"{packet} has {tuple(x.shape)} with strides {x.stride()}: not contiguous"
        if packet in ONE_DTYPE:
            assert len({x.dtype for x in there}) == 1, f"{packet} has {', '.join(str(x.dtype) for x in there)}"


class Lists(TorchFunctionMode):
    """Counts tensors on the device from Python's lists and numbers among the copies: without values nothing is copied,
    so that operators do not show it. A list as an index is one, too."""

    def __init__(self, found: Rules):
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and out.device == DEVICE
        known = made and any(isinstance(part, Tensor) for part in args[-1:])
        indexed = func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device == DEVICE
        by = indexed and (args[1] if isinstance(args[1], tuple) else args[1:2])
        if self.found.counting and ((made and not known) or (by and any(isinstance(part, list) for part in by))):
            self.found.copies.append(str(func))
        return out


@contextmanager
def rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rules]:
    """The rules at work. The device has no autocast."""
    enabled, autocast = torch.is_autocast_enabled, torch.autocast

    def context(kind: str, *given: Any, **named: Any) -> Any:
        return nullcontext() if kind == DEVICE.type else autocast(kind, *given, **named)

    with monkeypatch.context() as patch, Rules() as found, Lists(found):
        patch.setattr(torch, "is_autocast_enabled", lambda kind: kind != DEVICE.type and enabled(kind))
        patch.setattr(torch, "autocast", context)
        yield found


class Images:
    def __init__(self, recipe: Recipe):
        self.recipe = recipe

    def __len__(self) -> int:
        return 64

    def labels(self, which: Tensor) -> Tensor | None:
        return torch.zeros(len(which), dtype=torch.long) if self.recipe.classes else None

    def take(self, which: Tensor) -> tuple[Tensor, Tensor | None]:
        recipe = self.recipe
        return torch.zeros(len(which), recipe.channels, recipe.resolution, recipe.resolution), self.labels(which)


def score_of(recipe: Recipe) -> Score:
    """The recipe's score model, small, on the CPU."""
    torch.manual_seed(0)
    return gpuparts.score_of(recipe, True, "cpu")


def trainer(recipe: Recipe, coupling: str, device: torch.device, kind: type[Trainer] = Trainer) -> Trainer:
    score = score_of(recipe).to(device)
    found = kind(recipe, coupling, 0, networks_of, Images(recipe), score, device, augment=augment_of(recipe))
    found.p = 0.5  # of adaptive augmentation
    return found


def steps(recipe: Recipe, coupling: str, found: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of D, of G and of the average; images, labels and draws are copied from the host uncounted."""
    found.counting = False
    ours = trainer(recipe, coupling, DEVICE)

    def uncounted(call: Any) -> Any:
        def made(*given: Any) -> Any:
            found.counting = False
            try:
                return call(*given)
            finally:
                found.counting = True

        return made

    for name in ("real", "labels", "draw"):
        monkeypatch.setattr(ours, name, uncounted(getattr(ours, name)))
    found.counting = True
    losses = ours.d_step() | ours.g_step()
    ours.average_step()
    assert all(loss.device == DEVICE for loss in losses.values())
    wanted = {"d_loss", "g_loss"} | ({"r1"} if recipe.penalty != "none" else set())
    wanted |= {"score_loss"} if coupling != "gan" else set()
    assert wanted <= set(losses)
    assert all(p.device == DEVICE for network in (ours.g, ours.d, ours.average) for p in network.parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_follows_the_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with rules(monkeypatch) as found:
        steps(tiny(RECIPES[name]), RECIPES[name].couplings[-1], found, monkeypatch)
    assert found.copies == []


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_every_coupling_follows_the_rules(coupling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(tiny(RECIPES["digits"]), micro=2, lazy_steps="corrected", corrected=True)
    with rules(monkeypatch) as found:
        steps(recipe, coupling, found, monkeypatch)
    assert found.copies == []


class Low(Trainer):
    """In bf16, as on CUDA."""

    def autocast(self) -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("name", ["cifar10", "cifar10-stylegan2", "cifar10-biggan", "imagenet64", "imagenet64-aurora"])
def test_kernels_have_one_dtype_in_bf16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, which has layouts of its own. CUDA's autocast takes group_norm to float32, the CPU's does not."""
    original = F.group_norm

    def group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        return original(x.float(), groups, weight, bias, eps)

    monkeypatch.setattr(F, "group_norm", group_norm)
    cpu = torch.device("cpu")
    found, ours = Rules(cpu), trainer(tiny(RECIPES[name]), "own-step", cpu, Low)
    with found:
        ours.d_step()
        ours.g_step()
    assert found.seen >= {aten.convolution, aten.convolution_backward, aten.native_group_norm}


# The rules themselves


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.tensor([1.0, 2.0], device=DEVICE),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.as_tensor(1.0, device=DEVICE),
        lambda x: torch.ones(2).to(DEVICE),
        lambda x: x[:, [0, 1]],
        lambda x: x.__setitem__([0, 1], 2.0),
    ],
)
def test_copies_from_the_host_are_seen(call: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(2, 4, device=DEVICE)
    with rules(monkeypatch) as found:
        x.new_full((2,), 0.5) * 2 + torch.as_tensor(2.0)
        torch.where(x > 0, x, 0)[:, 1:2].fill_(3.0)
        torch.as_tensor(x)
        assert found.copies == []
        call(x)
    assert len(found.copies) == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: F.group_norm(x, 2), None),
        (lambda x: torch.native_group_norm(x, None, None, 2, 4, 9, 2, 1e-5), "not contiguous"),
        (lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1, dtype=torch.bfloat16, device=DEVICE)), "bfloat16"),
        (lambda x: x + torch.ones(4, 1, 1), "tensors on two devices"),
        (lambda x: float(x.sum()), "stops the host"),
    ],
)
def test_what_cuda_refuses_is_refused(
    call: Callable[[Tensor], object], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.ones(2, 4, 3, 3, device=DEVICE).to(memory_format=torch.channels_last)
    with rules(monkeypatch), nullcontext() if said is None else pytest.raises(AssertionError, match=said):
        call(x)
