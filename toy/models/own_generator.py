"""A generator of the user's: any torch module, one a seed, trained in one stack. See toy/OWN_PARTS.md."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from theory.common.errors import FileError
from theory.common.parts import load, part_of, tried
from toy.models.networks import Parts

TRIED = 4  # points of the check


class Passed(list[Tensor]):
    """[z, x], as `Network.forward` begins and ends, with what autograd needs of the way between."""

    def __init__(self, z: Tensor, x: Tensor, leaves: list[Tensor]):
        super().__init__([z, x.detach()])
        self.x, self.leaves = x, leaves


class OwnGenerator:
    """What `Trainer` needs of its generators, of the user's modules; its gradients are autograd's.

    All seeds run at once, by torch.func.vmap over stacked parameters; one by one where vmap cannot run the module.

    Attributes:
        theta: all trained parameters in one flat tensor [P].
        constants: buffers and frozen parameters by name, [seed, ...].

    Args:
        generator: FILE.py:NAME, a class or function (latent, dim) of a module z [n, latent] -> x [n, dim].

    Raises:
        FileError: it is none, or it raises; it has no parameters, or some that are not of torch's default dtype.
    """

    def __init__(self, generator: str, latent: int, dim: int, seeds: int):
        self.generator, self.name = generator, str(part_of(generator))
        self.latent, self.dim, self.seeds = latent, dim, seeds
        self.module = self.made(0)
        trained = {name: part for name, part in self.module.named_parameters() if part.requires_grad}
        if not trained:
            raise FileError(f"{self.name} has no parameters to train")
        for name, part in trained.items():
            if part.dtype != torch.get_default_dtype():
                raise FileError(f"{self.name}: its {name} must be {torch.get_default_dtype()}; given {part.dtype}")
        self.shapes = {name: part.shape for name, part in trained.items()}
        self.theta = torch.zeros(seeds * sum(shape.numel() for shape in self.shapes.values()))
        self.constants: dict[str, Tensor] = {}
        self.at_once = True

    def made(self, seed: int) -> nn.Module:
        """A module as the user's function makes it, from torch's random numbers seeded so."""
        make: Callable[..., Any] = load(self.generator)
        if not callable(make) or isinstance(make, nn.Module):
            given = type(make).__name__
            raise FileError(f"{self.name} must be a class or function (latent, dim) of a module; given {given}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = tried(self.name, "makes no generator", make, self.latent, self.dim)
        if not isinstance(found, nn.Module):
            raise FileError(f"{self.name} must return a torch.nn.Module; given {type(found).__name__}")
        return found

    def views(self, flat: Float[Tensor, " p"]) -> Parts:
        """Every parameter as a view [seed, ...] into a flat tensor laid out as theta, and no biases apart."""
        sizes = [self.seeds * shape.numel() for shape in self.shapes.values()]
        parts = zip(flat.split(sizes), self.shapes.values(), strict=True)
        return [part.view(self.seeds, *shape) for part, shape in parts], []

    @property
    def weights(self) -> list[Tensor]:
        return self.views(self.theta)[0]

    @property
    def biases(self) -> list[Tensor]:
        return []

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """A module of each seed's own numbers, as the user's function starts it.

        Raises:
            FileError: its parameters have not the same shapes for all seeds; or as `check`.
        """
        modules = [self.made(int(torch.randint(2**62, (), generator=g))) for g in generators]
        states = [dict([*module.named_parameters(), *module.named_buffers()]) for module in modules]
        if any(
            {n: p.shape for n, p in state.items()} != {n: p.shape for n, p in states[0].items()} for state in states
        ):
            raise FileError(f"{self.name} must make modules of the same shapes for all seeds")
        with torch.no_grad():
            stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
            for name, view in zip(self.shapes, self.views(self.theta)[0], strict=True):
                view.copy_(stacked.pop(name))
        self.constants = stacked
        self.check()

    def check(self) -> None:
        """FileError where the module is no differentiable function of z alone, with finite values [n, dim]."""
        z = torch.randn(self.seeds, TRIED, self.latent, generator=torch.Generator().manual_seed(0))
        z = z.to(self.theta)
        before = {name: part.clone() for name, part in self.constants.items()}
        with torch.random.fork_rng(devices=[]):
            try:
                found = self.forward(z)
            except Exception:
                self.at_once, self.constants = False, {name: part.clone() for name, part in before.items()}
                found = tried(self.name, "does not run", self.forward, z)
            shape, given = [TRIED, self.dim], list(found[1].shape[1:])
            if given != shape or found[1].dtype != self.theta.dtype:
                raise FileError(
                    f"{self.name} must return x {shape} of z {list(z.shape[1:])}, {self.theta.dtype}; "
                    f"given {given}, {found[1].dtype}"
                )
            if not found[1].isfinite().all():
                raise FileError(f"{self.name} returns NaN or infinity at its start")
            if not found.x.requires_grad:
                raise FileError(f"{self.name} is not differentiable in its parameters")
            again = self(z)
        if not torch.equal(again, found[1]) or any(not torch.equal(self.constants[n], before[n]) for n in before):
            raise FileError(
                f"{self.name} must be a function of z alone: it draws random numbers, or changes its buffers as it runs"
            )

    def forward(self, z: Float[Tensor, "s b z"]) -> Passed:
        """[z, x] with the graph from the parameters to x."""
        with torch.enable_grad():
            leaves = [view.detach().requires_grad_() for view in self.weights]
            return Passed(z, self.run(leaves, z), leaves)

    @torch.no_grad()
    def __call__(self, z: Float[Tensor, "s b z"]) -> Float[Tensor, "s b d"]:
        return self.run(self.weights, z)

    def run(self, parameters: list[Tensor], z: Float[Tensor, "s b z"]) -> Float[Tensor, "s b d"]:
        """x of the modules with these parameters, [seed, ...] each."""
        state = {**dict(zip(self.shapes, parameters, strict=True)), **self.constants}

        def one(state: dict[str, Tensor], z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
            return functional_call(self.module, state, (z,))

        if self.at_once:
            return vmap(one)(state, z)
        return torch.stack([one({name: part[s] for name, part in state.items()}, z[s]) for s in range(self.seeds)])

    def parameter_gradient(self, hidden: Any, grad: Float[Tensor, "s b d"], out: Parts) -> None:
        """Writes J^T grad, from `forward`'s list, into views of a tensor laid out as theta."""
        found = torch.autograd.grad(
            hidden.x, hidden.leaves, grad, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for into, part in zip(out[0], found, strict=True):
            into.copy_(part)

    def like(self, theta: Float[Tensor, " p"]) -> OwnGenerator:
        """The same modules with other parameters."""
        found = copy.copy(self)
        found.theta = theta
        return found

    def to(self, device: torch.device) -> None:
        """Moves parameters and constants to a device; tried there again, as a module may hold tensors of its own."""
        self.theta, self.module = self.theta.to(device), self.module.to(device)
        self.constants = {name: part.to(device) for name, part in self.constants.items()}
        if device.type == "cuda":
            self.check()
