"""Adversarial training of one generator, with or without the score term, in any coupling.

One step, every loss a mean over the whole batch, whatever shares of it the processes hold:

    D:  loss(D(x), D(G(z))) + gamma/2 k_p (||grad D||^2 at x, and at G(z) under r1+r2)    this at every k_p-th step;
        all of it `d_steps` times, each on new images and latents
    G:  loss(D(G(z))) + lambda mean over pixels ||eps_theta(G(z)_t) - eps||^2             this at every k-th step
        + strength k_l (path length - its running mean)^2                                 this at every k_l-th step

`losses` holds each loss as a function; `update` moves parameters by the gradients, and says what a coupling is. A term
with a step of its own sees latents of its own, and the same real images and labels. Before each step of an optimiser
the networks take one power iteration of their spectral norms; running statistics of batch norms move once, in G's game.
"""

from __future__ import annotations

import copy
import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from images.datasets.dataset import batch_flips
from images.draws import INIT, OF_D, OF_G, OF_PATHS, OF_PENALTIES, OF_SCORE, PATH, SCORE, Streams, draw
from images.generators.augment import ADAPT_EVERY, adapted
from images.generators.styles import PATH_DECAY, Styles, mix
from images.interfaces import Augment, Data, Images, Labels, Logits, Pair, Scores
from images.layers.batchnorm import move, seen, watched
from images.layers.spectral import power_iteration
from images.recipes import COUPLINGS, DECOUPLED, OWN_STEP, Recipe
from images.sums import Pairs, added
from images.training.feed import Feed
from images.training.losses import (
    bounded,
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    score_term,
    squared_gradient,
)
from images.training.parallel import World
from images.training.speed import SLOW, Speed
from images.training.update import Update, adam_of_d, take
from theory.common.checks import choose, real, whole
from theory.common.errors import Diverged, OutOfMemory, out_of_memory
from theory.common.seeds import generator
from theory.levels import Interval


class Trainer:
    """One arm with one seed. `step()` is the discriminator's steps and one of the generator; `state()` and `load()`
    continue it bit for bit on a CPU.

    Args:
        coupling: of `recipes.COUPLINGS`.
        make: (recipe) -> the two networks, called with torch's random numbers seeded.
        score: needed unless the coupling is gan; its parameters stay as they are.
        augment: of the images that D sees.
        workers: processes that read real images ahead, where they are on disk.
        speed: what to do beside the step's numbers; it prepares `score`, too.

    Raises:
        ValueError: no such coupling; a coupling without its score model; a batch without equal shares, or shares
            without whole groups. OutOfMemory: for the networks.
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
        workers: int = 0,
        speed: Speed = SLOW,
    ):
        self.recipe, self.coupling, self.seed = recipe, choose(coupling, COUPLINGS, "coupling"), seed
        self.data, self.score, self.speed = data, score, speed
        if self.coupling != "gan" and score is None:
            raise ValueError(f"coupling {coupling!r} needs a score model; given none")
        self.device, self.world, self.augment = torch.device(device), world or World(), augment
        self.feed = Feed(data, seed, recipe.batch, self.world, self.device, workers)
        self.share = self.world.share(recipe.batch)
        if (each := self.share.stop - self.share.start) % recipe.together:
            raise ValueError(
                f"the networks take whole groups of {recipe.together} images: batch {recipe.batch} over "
                f"{self.world.size} processes is {each} each; lower --group or take fewer processes"
            )
        self.interval = Interval(recipe.low, recipe.high)
        with self.memory():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(generator(seed, INIT).initial_seed())
                networks = make(recipe)
            layout = torch.channels_last
            self.g, self.d = (network.to(self.device, memory_format=layout).train() for network in networks)  # type: ignore[call-overload]
            self.average = copy.deepcopy(self.g).eval().requires_grad_(False)
            self.update = Update(self.g.parameters(), recipe, self.coupling)
            speed.prepare(self.g, self.d, score)
        self.d_adam = adam_of_d(self.d.parameters(), recipe)
        self.at = self.retry = self.turn = 0  # turn: of D's steps in one step
        self.losses: dict[str, float] = {}
        self.p, self.signs = 0.0, 0.0  # of adaptive augmentation: its probability; sum of sign D(real) since it moved
        self.path = 0.0  # average path length

    # One step

    def step(self) -> None:
        """Trains D, as often as the recipe says, then G, then moves the average.

        Raises:
            Diverged: a loss is not finite. OutOfMemory: names the part of the step.
        """
        with self.memory():
            found = self.d_step() | self.g_step()
            self.average_step()
        self.at += 1
        sums = {name: float(x) for name, x in zip(found, self.world.sum(list(found.values())), strict=True)}
        self.losses |= {name: total / self.recipe.batch for name, total in sums.items()}
        self.adapt(sums)
        if bad := [name for name in found if not math.isfinite(self.losses[name])]:
            raise Diverged(f"{self.coupling}, seed {self.seed}: {bad[0]} is not finite after step {self.at}")

    def adapt(self, sums: dict[str, float]) -> None:
        """Moves the probability of augmentation and the average path length by what the step measured."""
        if "path_length" in sums:
            self.path += PATH_DECAY * (self.losses["path_length"] - self.path)
        if "real_sign" in sums:
            self.signs += sums["real_sign"]  # a sum of whole numbers: exact in any order
            if self.at % ADAPT_EVERY == 0:
                seen = ADAPT_EVERY * self.recipe.batch
                self.p = adapted(self.p, self.signs / seen, seen, self.recipe.target)
                self.signs = 0.0
            self.losses["augmentation"] = self.p

    def d_step(self) -> dict[str, Tensor]:
        """D <- Adam(game + penalties), or two steps, `d_steps` times; means of its losses over the times, summed
        over this process's samples."""
        recipe, found = self.recipe, list[dict[str, Tensor]]()
        apart, (lr, beta2) = recipe.lazy_steps != "summed", self.pace()
        for self.turn in range(recipe.d_steps):
            totals = Totals()
            penalised = recipe.penalty != "none" and self.place % recipe.penalty_every == 0
            power_iteration(self.g, self.d)
            game = self.d_gradient(totals, OF_D, game=True, penalised=penalised and not apart)
            self.d_adam.move(game, lr * recipe.d_rate, beta2)
            if penalised and apart:
                power_iteration(self.g, self.d)
                penalties = self.d_gradient(totals, OF_PENALTIES, game=False, penalised=True)
                self.d_adam.move(penalties, lr * recipe.d_rate, beta2)
            found.append(totals.values)
        return averaged(found)

    def g_step(self) -> dict[str, Tensor]:
        """G <- Adam(game), with path lengths and the score term in it, beside it or after it when they act; its losses,
        summed over this process's samples."""
        recipe, totals = self.recipe, Totals()
        measured = recipe.path_weight > 0 and self.at % recipe.path_every == 0
        scored = self.coupling != "gan" and self.at % recipe.every == 0
        own_path, own_score = recipe.lazy_steps != "summed", self.coupling in OWN_STEP
        power_iteration(self.g, self.d)
        game, score = self.g_gradient(totals), None
        if measured and not own_path:
            game = [a + b for a, b in zip(game, self.path_gradient(totals, OF_G), strict=True)]
        if scored and not own_score:
            score = self.score_gradient(totals, OF_G)
        self.update.step(game, score, *self.pace())
        if measured and own_path:
            power_iteration(self.g)
            self.update.step(self.path_gradient(totals, OF_PATHS), None, *self.pace())
        if scored and own_score:
            power_iteration(self.g)
            self.update.own_step(self.score_gradient(totals, OF_SCORE), *self.pace())
        return totals.values

    # Gradients of a step, over the whole batch

    def d_gradient(self, totals: Totals, streams: Streams, game: bool, penalised: bool) -> list[Tensor]:
        """Of D's game, of its penalties, or of both at once."""
        recipe, gradients = self.recipe, Gradients(self.d.parameters(), self.world.in_pairs)
        r2 = penalised and recipe.penalty == "r1+r2"
        for part in self.parts():
            real, labels = self.real(part)
            real.requires_grad_(penalised)  # before augmentation, where R1 and R2 are taken
            d_real = self.judged(real, streams.real, part, labels, penalised)
            loss = torch.zeros_like(d_real)
            if game or r2:
                wanted = self.wanted(streams, part, labels)
                with torch.no_grad(), self.autocast():
                    fake, _ = self.generated(streams, part, wanted)
                fake.requires_grad_(r2)
                d_fake = self.judged(fake, streams.fake, part, wanted, r2)
            if game:
                loss = loss + totals.add("d_loss", discriminator_loss(recipe.loss, d_real, d_fake))
                if recipe.target:
                    totals.add("real_sign", d_real.sign())
            if penalised:
                penalty = totals.add("r1", squared_gradient(d_real, real))
                if r2:
                    penalty = penalty + totals.add("r2", squared_gradient(d_fake, fake))
                loss = loss + 0.5 * self.now(recipe.gamma) * recipe.penalty_every * penalty
            gradients.backward(loss.sum() / recipe.batch)
        return self.world.sum(gradients.sums)

    def g_gradient(self, totals: Totals) -> list[Tensor]:
        """Of G's game. Moves the running statistics of its batch norms by what passes them."""
        recipe, gradients = self.recipe, Gradients(self.g.parameters(), self.world.in_pairs)
        self.d.requires_grad_(False)
        with watched(self.g) as norms:
            for part in self.parts():
                d_real = None
                if recipe.loss == "relativistic":
                    real, labels = self.real(part)
                    with torch.no_grad():
                        d_real = self.judged(real, OF_G.real, part, labels)
                    wanted = self.wanted(OF_G, part, labels)
                else:
                    wanted = self.wanted(OF_G, part)
                with self.autocast():
                    fake, extra = self.generated(OF_G, part, wanted)
                d_fake = self.judged(fake, OF_G.fake, part, wanted)
                loss = totals.add("g_loss", generator_loss(recipe.loss, d_real, d_fake))
                if extra is not None and hasattr(self.g, "routed"):
                    loss = loss + totals.add("router_loss", extra)
                gradients.backward(loss.sum() / recipe.batch)
            statistics = [found / self.world.size for found in seen(norms)]
        self.d.requires_grad_(True)
        move(norms, self.world.sum(statistics))
        return self.world.sum(gradients.sums)

    def path_gradient(self, totals: Totals, streams: Streams) -> list[Tensor]:
        """Of StyleGAN2's path length regularisation."""
        recipe, gradients = self.recipe, Gradients(self.g.parameters(), self.world.in_pairs)
        for part in self.parts():
            with self.autocast(), self.speed.twice():
                fake, styles = self.generated(streams, part, self.wanted(streams, part))
            assert styles is not None
            noise = self.draw(torch.randn, tuple(fake.shape[1:]), PATH, part, self.at)
            lengths = totals.add("path_length", path_lengths(fake, styles, noise))
            loss = recipe.path_weight * recipe.path_every * path_length_penalty(lengths, self.path)
            gradients.backward(loss.sum() / recipe.batch)
        return self.world.sum(gradients.sums)

    def score_gradient(self, totals: Totals, streams: Streams) -> list[Tensor]:
        """A, the gradient of lambda L_score, by way of the images x = G(z): A = J^T d (lambda L_score) / d x.

        So what the score model keeps for its backward pass is freed before what G keeps is there, and the gradient of
        an image can be bounded.
        """
        recipe, gradients = self.recipe, Gradients(self.g.parameters(), self.world.in_pairs)
        weight = recipe.decoupled_weight if self.coupling in DECOUPLED else recipe.weight
        slopes: list[Images] = []  # of each part
        for part in self.parts():
            labels = self.wanted(streams, part)
            with torch.no_grad(), self.autocast():
                x, _ = self.generated(streams, part, labels)
            loss = totals.add("score_loss", self.score_loss(x.requires_grad_(), labels, part))
            slopes += torch.autograd.grad(weight * loss.sum() / recipe.batch, x)
        if self.coupling == "bounded":
            lengths = torch.cat([slope.flatten(1).norm(dim=1) for slope in slopes])
            limit = recipe.bound * torch.cat(self.world.gather(lengths)).median()
            slopes = [bounded(slope, limit) for slope in slopes]
        for part, slope in zip(self.parts(), slopes, strict=True):
            with self.autocast():
                x, _ = self.generated(streams, part, self.wanted(streams, part))
            gradients.backward((x * slope).sum())
        return self.world.sum(gradients.sums)

    def score_loss(self, x: Images, labels: Labels | None, part: slice) -> Float[Tensor, " b"]:
        """The score term of each sample, with nsr uniform on the recipe's interval."""
        assert self.score is not None
        noise = self.draw(torch.randn, tuple(x.shape[1:]), SCORE, part, 2 * self.at)
        nsr = self.interval.nsr(self.draw(torch.rand, (), SCORE, part, 2 * self.at + 1))
        with self.autocast() if self.recipe.score_precision == "bfloat16" else nullcontext():
            return score_term(x, self.score.of(labels), nsr, noise)

    @torch.no_grad()
    def average_step(self) -> None:
        """average <- G with half-life `ema`, or a twentieth of the images seen where that is less; or by `ema_decay`.

        Running statistics are averaged, too. The singular vectors of the average's own weights follow by a power
        iteration.
        """
        recipe, size = self.recipe, self.recipe.images_a_step
        half_life = min(recipe.ema, (self.at + 1) * size / 20)
        keep = recipe.ema_decay or (0.5 ** (size / half_life) if half_life else 0.0)
        if self.at < recipe.ema_start:
            keep = 0.0
        pairs = zip(tensors(self.average), tensors(self.g), strict=True)
        for mean, now in pairs:
            mean.lerp_(now, 1 - keep)
        power_iteration(self.average)

    # What a step is made of

    def now(self, ends: tuple[float, float]) -> float:
        """From the first to the second along a cosine over `burn_in` images."""
        t = min(1.0, self.at * self.recipe.images_a_step / self.recipe.burn_in)
        return ends[1] + (ends[0] - ends[1]) * 0.5 * (1 + math.cos(math.pi * t))

    @property
    def place(self) -> int:
        """The number of D's step, which numbers real images and draws; in G's step that of the last of D's."""
        return self.at * self.recipe.d_steps + self.turn

    def pace(self) -> tuple[float, float]:
        """lr and beta2 of the step."""
        return self.now(self.recipe.lr), self.now(self.recipe.beta2)

    def parts(self) -> Iterator[slice]:
        """This process's share of the batch, `micro` samples at a time."""
        size = self.recipe.micro or (self.share.stop - self.share.start)
        for start in range(self.share.start, self.share.stop, size):
            yield slice(start, min(start + size, self.share.stop))

    def real(self, part: slice) -> tuple[Images, Labels | None]:
        """The real images of a part of this process's share, mirrored with probability 1/2 if the recipe says so."""
        images, labels = self.feed(self.place)
        here = slice(part.start - self.share.start, part.stop - self.share.start)
        images, labels = images[here], None if labels is None else labels[here]
        if self.recipe.mirror:
            flips = batch_flips(self.seed, self.place, self.recipe.batch, self.world.rank, self.world.size)
            flips = flips[here].to(self.device)
            images = torch.where(flips[:, None, None, None], images.flip(-1), images)
        return images, labels

    def labels(self, part: slice) -> Labels | None:
        """Those of `real`, without its images."""
        labels = self.feed.labels(self.place)
        return None if labels is None else labels[part.start - self.share.start : part.stop - self.share.start]

    def wanted(self, streams: Streams, part: slice, labels: Labels | None = None) -> Labels | None:
        """The labels of generated images: those of the real ones, which may be given, or uniform ones."""
        recipe = self.recipe
        if not (recipe.uniform_labels and recipe.classes):
            return self.labels(part) if labels is None else labels
        u = self.draw(torch.rand, (), streams.labels, part, self.place)
        return (u * recipe.classes).long().clamp(max=recipe.classes - 1)

    def draw(self, kind: Callable[..., Tensor], shape: tuple[int, ...], stream: int, part: slice, step: int) -> Tensor:
        return draw(kind, shape, self.seed, stream, step, part, self.retry, self.device)

    def judged(self, x: Images, stream: int, part: slice, labels: Labels | None, penalised: bool = False) -> Logits:
        """D's logits of augmented images; differentiated twice if penalised."""
        with self.autocast(), self.speed.twice() if penalised else nullcontext():
            return self.d(self.augmented(x, stream, part), labels).float()

    def generated(self, streams: Streams, part: slice, labels: Labels | None) -> tuple[Images, Styles | Logits | None]:
        """G's images, and StyleGAN2's styles or the router losses of sparse experts; what noise StyleGAN2 adds in its
        layers is drawn as the latents are."""
        g: Any = self.g
        size, latent = getattr(g, "noise_size", 0), self.recipe.latent
        z, noise = self.draw(torch.randn, (latent + size,), streams.latent, part, self.place).split([latent, size], 1)
        if hasattr(g, "routed"):
            x, losses = g.routed(z, labels)
            return x.float(), losses
        if not size:
            return g(z, labels).float(), None
        styles = g.styles(z, labels)
        if self.recipe.mixing:
            others = g.styles(self.draw(torch.randn, (latent,), streams.mix, part, 2 * self.place), labels)
            u = self.draw(torch.rand, (2,), streams.mix, part, 2 * self.place + 1)
            styles = mix(styles, others, u, self.recipe.mixing)
        return g.synthesis(styles, noise).float(), styles

    def augmented(self, x: Images, stream: int, part: slice) -> Images:
        """Each augmentation with the step's probability, by the random numbers of this stream."""
        p = self.p if self.recipe.target else self.now(self.recipe.augment)
        if self.augment is None or not p:
            return x
        return self.augment(x, self.draw(torch.rand, (self.augment.numbers,), stream, part, self.place), p)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 on CUDA."""
        cuda = self.device.type == "cuda"
        return torch.autocast("cuda", dtype=torch.bfloat16) if cuda else nullcontext()

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Names the part that ran out of memory, and what to lower."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            part, lower = part_of(error)
            micro = self.recipe.micro or self.share.stop - self.share.start
            at_once = f", {micro} images at once: lower --micro (gradients add up to the same), --batch or --width"
            raise OutOfMemory(f"{self.device} ran out of memory in {part}{lower or at_once}") from None

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
            "retry": self.retry,
            "g": self.g.state_dict(),
            "d": self.d.state_dict(),
            "average": self.average.state_dict(),
            "update": self.update.state(),
            "d_adam": self.d_adam.optimizer.state_dict(),
            "losses": dict(self.losses),
            "adaptive": [self.p, self.signs, self.path],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`.

        Raises:
            ValueError: a number of steps that cannot be. Others: tensors of other names or shapes.
        """
        self.at, self.retry = whole("at", state["at"], 0, self.recipe.steps), whole("retry", state["retry"])
        self.losses = {name: float(value) for name, value in state["losses"].items()}
        self.g.load_state_dict(state["g"])
        self.d.load_state_dict(state["d"])
        self.average.load_state_dict(state["average"])
        self.update.load(state["update"])
        take(self.d_adam.optimizer, state["d_adam"])
        self.p, self.signs, self.path = (real("adaptive", value) for value in state["adaptive"])


PARTS = {
    "squared_gradient": "the penalties of the discriminator",
    "score_loss": "the score term",
    "score_gradient": "the score term",
    "path_lengths": "the path length regularisation",
    "backward": "the {}'s backward pass",
    "move": "the {}'s optimiser",
    "score_step_": "the {}'s optimiser",
    "d_step": "the discriminator's step",
    "g_step": "the generator's step",
    "average_step": "the averaged generator",
}
"""Functions of a step, and the part of it that each is."""


def part_of(error: BaseException) -> tuple[str, str]:
    """(the part that raised the error, what to lower): by the innermost function of its traceback in PARTS."""
    calls = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    owner = "discriminator" if "d_step" in calls else "generator"
    name = next((name for name in reversed(calls) if name in PARTS), None)
    part = "the networks" if name is None else PARTS[name].format(owner)
    return part, ": lower --width" if name in (None, "move", "score_step_", "average_step") else ""


class Gradients:
    """Sums of gradients over the parts of a batch, one after the other, or in pairs."""

    def __init__(self, parameters: Iterable[Tensor], in_pairs: bool = False):
        self.parameters = list(parameters)
        self.pairs, self.in_pairs = Pairs(), in_pairs

    def backward(self, loss: Tensor, keep: bool = False) -> None:
        """Adds the loss's gradient, zero for a parameter that it does not depend on; `keep` keeps the graph."""
        found = torch.autograd.grad(loss, self.parameters, retain_graph=keep, materialize_grads=True)
        if self.pairs.held and not self.in_pairs:  # which would hold more than one sum
            found = tuple(added(self.pairs.held.pop()[1], found))
        self.pairs.add(found)

    @property
    def sums(self) -> list[Tensor]:
        return self.pairs.total()


def tensors(network: torch.nn.Module) -> Iterator[Tensor]:
    """All of its parameters and buffers."""
    return chain(network.parameters(), network.buffers())


def averaged(found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each name's mean over those that have it."""
    names = dict.fromkeys(name for each in found for name in each)
    values = {name: [each[name] for each in found if name in each] for name in names}
    return {name: torch.stack(parts).mean(0) if len(parts) > 1 else parts[0] for name, parts in values.items()}


class Totals:
    """Sums of losses over the samples of the parts of a batch."""

    def __init__(self) -> None:
        self.pairs: dict[str, Pairs] = {}

    def add(self, name: str, losses: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The losses as given, after their sum is added to the total of this name."""
        self.pairs.setdefault(name, Pairs()).add([losses.detach().double().sum()])
        return losses

    @property
    def values(self) -> dict[str, Tensor]:
        return {name: pairs.total()[0] for name, pairs in self.pairs.items()}
