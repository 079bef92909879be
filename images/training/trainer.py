"""Adversarial training of one generator, with the score matching regularity coupled as in the paper or decoupled.

One step, every loss a mean over the whole batch, whatever shares of it the processes hold:

    D:  loss(D(x), D(G(z))) + gamma/2 k_p (||grad D||^2 at x, and at G(z) under r1+r2)    this at every k_p-th step
    G:  loss(D(G(z))) + lambda mean over pixels ||eps_theta(G(z)_t) - eps||^2             this at every k-th step
        + strength k_l (path length - its running mean)^2                                 this at every k_l-th step

`update.py` says how the two gradients of G become one step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from images.datasets.dataset import batch_flips, batch_indices
from images.draws import AUGMENT_D, AUGMENT_G, INIT, LATENT_D, LATENT_G, MIX_D, MIX_G, PATH, SCORE, draw
from images.generators.augment import ADAPT_EVERY, adapted
from images.generators.styles import PATH_DECAY, Styles, mix, path_lengths
from images.recipes import Recipe
from images.training.losses import discriminator_loss, generator_loss, squared_gradient
from images.training.parallel import World
from images.training.update import Update, adam, optimizer_of
from theory.common.errors import Diverged, OutOfMemory
from theory.common.seeds import generator
from theory.levels import Interval, Level
from theory.regularity import EpsModel, score_matching_loss

Labels = Int[Tensor, " b"]
Images = Float[Tensor, "b c h w"]
Pair = tuple[nn.Module, nn.Module]  # G(z, labels) -> images; D(images, labels) -> [b]


class Data(Protocol):
    """Real images: how many, and some of them with pixels from -1 to 1 and labels (None: unconditional)."""

    def __len__(self) -> int: ...
    def take(self, which: Int[Tensor, " b"]) -> tuple[Images, Labels | None]: ...


class Scores(Protocol):
    """A class-conditional score model: `of(labels)` is eps_theta(x_t, level) for these classes."""

    def of(self, labels: Labels | None = None) -> EpsModel: ...


class Augment(Protocol):
    """(images, u, p) -> images, differentiable: each augmentation with probability p; the uniform u decide."""

    numbers: int

    def __call__(self, x: Images, u: Float[Tensor, "b numbers"], p: float) -> Images: ...


class Trainer:
    """One arm with one seed. `step()` is one discriminator and one generator step; `state()` and `load()` continue it
    bit for bit on a CPU.

    Args:
        make: (recipe) -> the two networks, called with torch's random numbers seeded.
        score: needed unless the coupling is none; its parameters stay as they are.
        augment: of what D sees.
    """

    def __init__(
        self,
        recipe: Recipe,
        coupling: str,
        seed: int,
        make: Callable[[Recipe], Pair],
        data: Data,
        score: Scores | None = None,
        device: torch.device | str = "cpu",
        world: World | None = None,
        augment: Augment | None = None,
    ):
        self.recipe, self.coupling, self.seed, self.data, self.score = recipe, coupling, seed, data, score
        if coupling != "none" and score is None:
            raise ValueError(f"coupling {coupling!r} needs a score model; given none")
        self.device, self.world, self.augment = torch.device(device), world or World(), augment
        self.share = self.world.share(recipe.batch)
        if (each := self.share.stop - self.share.start) % recipe.together:
            raise ValueError(
                f"StyleGAN2's discriminator compares groups of {recipe.together} images: batch {recipe.batch} over "
                f"{self.world.size} processes is {each} each; lower --group or take fewer processes"
            )
        self.interval = Interval(recipe.low, recipe.high)
        with self.memory("the networks", "--width"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(generator(seed, INIT).initial_seed())
                networks = make(recipe)
            layout = torch.channels_last
            self.g, self.d = (network.to(self.device, memory_format=layout).train() for network in networks)  # type: ignore[call-overload]
            self.average = copy.deepcopy(self.g).eval().requires_grad_(False)
            self.update = Update(list(self.g.parameters()), recipe)
        self.d_optimizer = optimizer_of(self.d.parameters(), recipe)
        self.at = 0
        self.losses: dict[str, float] = {}
        self.p, self.signs = 0.0, 0.0  # of adaptive augmentation: its probability; sum of sign D(real) since it moved
        self.path = 0.0  # average path length

    # One step

    def step(self) -> None:
        """Trains D, then G, then moves the average.

        Raises:
            Diverged: a loss is not finite. OutOfMemory: names the part.
        """
        found = self.d_step() | self.g_step()
        self.average_step()
        self.at += 1
        sums = {name: float(x) for name, x in zip(found, self.world.sum(list(found.values())), strict=True)}
        self.losses |= {name: total / self.recipe.batch for name, total in sums.items()}
        self.adapt(sums)
        if bad := [name for name in found if not math.isfinite(self.losses[name])]:
            raise Diverged(f"{self.coupling}, seed {self.seed}: {bad[0]} is not finite after step {self.at}")

    def adapt(self, sums: dict[str, float]) -> None:
        """Moves what follows the batches: the probability of augmentation, and the average path length."""
        if "path_length" in sums:
            self.path += PATH_DECAY * (self.losses["path_length"] - self.path)
        if "real_sign" in sums:
            self.signs += sums["real_sign"]  # a sum of whole numbers: exact, whoever held which of them
            if self.at % ADAPT_EVERY == 0:
                seen = ADAPT_EVERY * self.recipe.batch
                self.p = adapted(self.p, self.signs / seen, seen, self.recipe.target)
                self.signs = 0.0
            self.losses["augmentation"] = self.p

    def d_step(self) -> dict[str, Tensor]:
        """One step of D; its losses, summed over this process's samples."""
        recipe, parameters = self.recipe, list(self.d.parameters())
        penalised = self.at % recipe.penalty_every == 0
        strength = 0.5 * self.now(recipe.gamma) * recipe.penalty_every
        totals = Totals()
        gradients = Gradients(parameters)
        for part in self.parts():
            with self.memory("the discriminator's step"):
                real, labels = self.real(part)
                with torch.no_grad(), self.autocast():
                    fake, _ = self.generated(LATENT_D, part, labels)
                real, fake = (self.augmented(x, AUGMENT_D, part) for x in (real, fake))
                real.requires_grad_(penalised)
                fake.requires_grad_(penalised and recipe.penalty == "r1+r2")
                with self.autocast():
                    d_real, d_fake = (self.d(x, labels).float() for x in (real, fake))
                loss = discriminator_loss(recipe.loss, d_real, d_fake)
                totals.add("d_loss", loss)
                if recipe.target:
                    totals.add("real_sign", d_real.sign())
            if penalised:
                with self.memory("the penalties of the discriminator"):
                    penalty = squared_gradient(d_real, real)
                    totals.add("r1", penalty)
                    if fake.requires_grad:
                        other = squared_gradient(d_fake, fake)
                        totals.add("r2", other)
                        penalty = penalty + other
                    loss = loss + strength * penalty
            with self.memory("the discriminator's backward pass"):
                gradients.add(loss.sum() / recipe.batch)
        rates = self.now(recipe.lr), self.now(recipe.beta2)
        with self.memory("the discriminator's optimiser", "--width"):
            adam(self.d_optimizer, parameters, self.world.sum(gradients.sums), *rates)
        return totals.values

    def g_step(self) -> dict[str, Tensor]:
        """One step of G, with the score term if it acts; its losses as those of `d_step`."""
        recipe = self.recipe
        scored = self.coupling != "none" and self.at % recipe.every == 0
        measured = recipe.path_weight > 0 and self.at % recipe.path_every == 0
        parameters = list(self.g.parameters())
        totals, main = Totals(), Gradients(parameters)
        apart = Gradients(parameters) if scored and self.coupling == "decoupled" else None
        self.d.requires_grad_(False)
        for part in self.parts():
            with self.memory("the generator's step"):
                real, labels = self.real(part)
                with self.autocast():
                    fake, styles = self.generated(LATENT_G, part, labels)
                    d_real = None
                    if recipe.loss == "relativistic":
                        with torch.no_grad():
                            d_real = self.d(self.augmented(real, AUGMENT_G, part), labels).float()
                    d_fake = self.d(self.augmented(fake, AUGMENT_G, part), labels).float()
                loss = generator_loss(recipe.loss, d_real, d_fake)
                totals.add("g_loss", loss)
                loss = loss.sum() / recipe.batch
            if scored:
                with self.memory("the score term"):
                    score = self.score_term(fake, labels, part)
                    totals.add("score_loss", score)
                    score = score.sum() / recipe.batch
                    if apart is not None:
                        apart.add(recipe.decoupled_weight * score, keep=True)
                    else:
                        loss = loss + recipe.weight * score
            if measured:
                with self.memory("the path length regularisation"):
                    assert styles is not None
                    lengths = path_lengths(
                        fake, styles, self.draw(torch.randn, tuple(fake.shape[1:]), PATH, part, self.at)
                    )
                    totals.add("path_length", lengths)
                    off = (lengths - self.path).square().sum() / recipe.batch
                    loss = loss + recipe.path_weight * recipe.path_every * off
            with self.memory("the generator's backward pass"):
                main.add(loss)
        self.d.requires_grad_(True)
        n = len(parameters)
        with self.memory("the generator's optimiser", "--width"):
            sums = self.world.sum(main.sums + (apart.sums if apart is not None else []))
            self.update.step(sums[:n], sums[n:] or None, self.now(recipe.lr), self.now(recipe.beta2))
        return totals.values

    def score_term(self, x: Images, labels: Labels | None, part: slice) -> Float[Tensor, " b"]:
        """Each sample's mean over pixels of (eps_theta(x_t) - eps)^2, nsr uniform on the interval."""
        assert self.score is not None
        eps = self.draw(torch.randn, tuple(x.shape[1:]), SCORE, part, 2 * self.at)
        nsr = self.interval.nsr(self.draw(torch.rand, (), SCORE, part, 2 * self.at + 1))
        with self.autocast():
            loss = score_matching_loss(x, self.score.of(labels), Level.variance_exploding(nsr), eps.to(x), event_dims=3)
        return loss.float() / math.prod(x.shape[1:])

    @torch.no_grad()
    def average_step(self) -> None:
        """average <- G with half-life `ema`, or a twentieth of the images seen where that is less."""
        seen = (self.at + 1) * self.recipe.batch
        half_life = min(self.recipe.ema, seen / 20)
        keep = 0.5 ** (self.recipe.batch / half_life) if half_life else 0.0
        for mean, now in zip(self.average.parameters(), self.g.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for mean, now in zip(self.average.buffers(), self.g.buffers(), strict=True):
            mean.copy_(now)

    # What a step is made of

    def now(self, ends: tuple[float, float]) -> float:
        """From the first to the second along a cosine over `burn_in` images."""
        t = min(1.0, self.at * self.recipe.batch / self.recipe.burn_in)
        return ends[1] + (ends[0] - ends[1]) * 0.5 * (1 + math.cos(math.pi * t))

    def parts(self) -> Iterator[slice]:
        """This process's share of the batch, `micro` samples at a time."""
        size = self.recipe.micro or (self.share.stop - self.share.start)
        for start in range(self.share.start, self.share.stop, size):
            yield slice(start, min(start + size, self.share.stop))

    def real(self, part: slice) -> tuple[Images, Labels | None]:
        """The real images of a part of this process's share, mirrored with probability 1/2 if the recipe says so."""
        where = self.seed, self.at, self.recipe.batch
        within = slice(part.start - self.share.start, part.stop - self.share.start)
        which = batch_indices(*where, len(self.data), self.world.rank, self.world.size)[within]
        images, labels = self.data.take(which)
        if self.recipe.mirror:
            flips = batch_flips(*where, self.world.rank, self.world.size)[within]
            images = torch.where(flips[:, None, None, None], images.flip(-1), images)
        images = images.to(self.device, memory_format=torch.channels_last)
        return images, None if labels is None else labels.to(self.device)

    def draw(self, kind: Callable[..., Tensor], shape: tuple[int, ...], stream: int, part: slice, step: int) -> Tensor:
        return draw(kind, shape, self.seed, stream, step, part).to(self.device)

    def generated(self, stream: int, part: slice, labels: Labels | None) -> tuple[Images, Styles | None]:
        """G's images, and StyleGAN2's styles; what noise it adds in its layers is drawn as the latents are."""
        g: Any = self.g
        size, latent = getattr(g, "noise_size", 0), self.recipe.latent
        z, noise = self.draw(torch.randn, (latent + size,), stream, part, self.at).split([latent, size], 1)
        if not size:
            return g(z, labels).float(), None
        styles = g.styles(z, labels)
        if self.recipe.mixing:
            stream = MIX_D if stream == LATENT_D else MIX_G
            others = g.styles(self.draw(torch.randn, (latent,), stream, part, 2 * self.at), labels)
            u = self.draw(torch.rand, (2,), stream, part, 2 * self.at + 1)
            styles = mix(styles, others, u, self.recipe.mixing)
        return g.synthesis(styles, noise).float(), styles

    def augmented(self, x: Images, stream: int, part: slice) -> Images:
        """Each augmentation with the step's probability; what shares a place in the batch is augmented alike."""
        p = self.p if self.recipe.target else self.now(self.recipe.augment)
        if self.augment is None or not p:
            return x
        return self.augment(x, self.draw(torch.rand, (self.augment.numbers,), stream, part, self.at), p)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 on CUDA."""
        cuda = self.device.type == "cuda"
        return torch.autocast("cuda", dtype=torch.bfloat16) if cuda else nullcontext()

    @contextmanager
    def memory(self, part: str, lower: str = "") -> Iterator[None]:
        """Says which part ran out of memory, and what to lower: images at once, if nothing else is given."""
        try:
            yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            micro = self.recipe.micro or self.share.stop - self.share.start
            at_once = f", {micro} images at once: lower --micro (gradients add up to the same), --batch or --width"
            raise OutOfMemory(
                f"{self.device} ran out of memory in {part}{f': lower {lower}' if lower else at_once}"
            ) from None

    # Samples, and what is stored

    @torch.no_grad()
    def sample(self, z: Float[Tensor, "n z"], labels: Labels | None, chunk: int = 256) -> Images:
        """Images of the averaged generator, on the CPU.   [n, z], [n] -> [n, c, h, w]"""
        found = []
        for at in range(0, len(z), chunk):
            part = None if labels is None else labels[at : at + chunk].to(self.device)
            with self.autocast():
                found.append(self.average(z[at : at + chunk].to(self.device), part).float().cpu())
        return torch.cat(found).contiguous()

    def state(self) -> dict[str, Any]:
        """Everything that decides the rest of the run. The random numbers and the sampler's place are those of `at`."""
        return {
            "at": self.at,
            "g": self.g.state_dict(),
            "d": self.d.state_dict(),
            "average": self.average.state_dict(),
            "update": self.update.state(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "losses": dict(self.losses),
            "adaptive": [self.p, self.signs, self.path],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.at, self.losses = state["at"], dict(state["losses"])
        self.g.load_state_dict(state["g"])
        self.d.load_state_dict(state["d"])
        self.average.load_state_dict(state["average"])
        self.update.load(state["update"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.p, self.signs, self.path = state["adaptive"]


class Gradients:
    """Sums of gradients over the parts of a batch."""

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters = list(parameters)
        self.sums: list[Tensor] = []

    def add(self, loss: Tensor, keep: bool = False) -> None:
        """Adds the loss's gradient; zero where a parameter has none. `keep` leaves the graph for another."""
        found = torch.autograd.grad(loss, self.parameters, retain_graph=keep, materialize_grads=True)
        self.sums = [a + b for a, b in zip(self.sums, found, strict=True)] if self.sums else list(found)


class Totals:
    """Sums of losses over the samples of the parts of a batch."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, losses: Float[Tensor, " b"]) -> None:
        self.values[name] = self.values.get(name, 0) + losses.detach().double().sum()
