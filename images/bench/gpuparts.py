"""The parts of `python -m images.gpucheck` that need torch; each yields (name, result) as results come."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from images.bench.peers import randomise
from images.datasets.splits import FASHION
from images.denoisers.adm import ADM
from images.denoisers.precondition import DDPMScore, EDMScore, Network, Score
from images.denoisers.published import PUBLISHED
from images.denoisers.small import Denoiser
from images.denoisers.small import train as trained
from images.denoisers.song import SongConfig, SongUNet
from images.generators.families import augment_of, networks_of
from images.metrics.exact import exact
from images.metrics.features import CACHE
from images.plan import costs
from images.plan.__main__ import USABLE
from images.plan.costs import SCORES, Costs
from images.plan.devices import DEVICES
from images.plan.footprint import Footprint
from images.recipes import RECIPES, Recipe
from images.training.trainer import Trainer
from theory.common.errors import OutOfMemory, out_of_memory
from theory.common.provenance import version_of
from theory.levels import Level

Found = Iterator[tuple[str, Any]]
UNPLANNED = 32  # images at once that are tried first where there is no plan
NSR = (0.01, 1.0)  # of the comparison of precisions
EVERY = 10.0  # seconds between what the training tells


@dataclass(frozen=True)
class Given:
    """What the parts are given.

    plans: name of a recipe -> its costs at two sizes.
    seconds: of the training.
    """

    device: str
    tiny: bool
    out: Path
    names: tuple[str, ...] = ()
    plans: dict[str, tuple[Costs, Costs]] = field(default_factory=dict)
    seconds: float = 0.0


def device(given: Given) -> Found:
    """Versions, and the device's name, compute capability and memory."""
    versions = {name: version_of(name) for name in ("torch", "numpy")}
    found: dict[str, Any] = {"name": given.device, "compute_capability": None, "memory": None}
    if given.device != "cpu":
        if not torch.cuda.is_available():
            return
        known = torch.cuda.get_device_properties(0)
        found = {"name": known.name, "compute_capability": f"{known.major}.{known.minor}", "memory": known.total_memory}
        versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    yield "versions", versions
    yield "device", found


# A step of every recipe


def tiny(recipe: Recipe) -> Recipe:
    """The same code with small images and narrow networks, everything lazy at work, and every image augmented."""
    width = {"small": 4, "r3gan": 24, "stylegan2": 8, "biggan": 16, "aurora": 8}[recipe.generator]
    side = 64 if recipe.recipe in ("lsun-bedroom", "imagenet128-biggan") else 8  # larger images have other networks
    shape: dict[str, Any] = {"resolution": side, "width": width, "latent": 10, "batch": 4, "group": 2, "images": 16}
    return dataclasses.replace(recipe, **shape, burn_in=1 if any(recipe.augment) else recipe.burn_in)


def network_of(recipe: Recipe, small: bool) -> Network:
    """The network of the recipe's score model with random parameters, of its shape or small."""
    if not small:
        return costs.network_of(recipe)
    if recipe.recipe in SCORES:
        known = PUBLISHED[SCORES[recipe.recipe]].config
        heads: dict[str, Any] = {"head_channels": 16} if known.heads is None else {}
        return ADM(dataclasses.replace(known, width=32, blocks=1, multipliers=(1, 2), attention=(1,), **heads))
    if recipe.recipe.startswith("cifar10"):
        return SongUNet(SongConfig(width=16, multipliers=(1, 2), blocks=1))
    return Denoiser.of(recipe).network()


def score_of(recipe: Recipe, small: bool, device: str) -> Score:
    """The recipe's score model, frozen, on the device."""
    with torch.device(device):
        network = network_of(recipe, small)
    network.eval().requires_grad_(False)
    schedule = PUBLISHED[SCORES[recipe.recipe]].schedule if recipe.recipe in SCORES else None
    return (EDMScore(network) if schedule is None else DDPMScore(network, schedule)).to(device)


def planned(name: str) -> tuple[Costs, Costs]:
    """The costs of a recipe at its smallest number of images at once, and at twice that."""
    few = max(2, RECIPES[name].together)
    return costs.costs(RECIPES[name], "own-step", few), costs.costs(RECIPES[name], "own-step", 2 * few)


class Noise:
    """Images of noise, of the recipe's shape; an `images.interfaces.Data`."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.shape = recipe, (recipe.channels, recipe.resolution, recipe.resolution)

    def __len__(self) -> int:
        return 1 << 16

    def labels(self, which: Tensor) -> Tensor | None:
        return which % self.recipe.classes if self.recipe.classes else None

    def take(self, which: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.rand(len(which), *self.shape) * 2 - 1, self.labels(which)


def recipes(given: Given) -> Found:
    """Seconds and peak memory of a step of D and of G of each recipe, over the plan's.

    All images that memory allows are handled at once, and are the batch: a power of two times the smallest number.

    Raises:
        RuntimeError: of CUDA, after which a process can compute nothing more there.
    """
    for name in given.names:
        try:
            yield name, of_recipe(name, given)
        except Exception as error:
            if "CUDA error" in str(error):
                raise
            yield name, {"failed": told(error)}
        gc.collect()
        if given.device != "cpu":
            torch.cuda.empty_cache()


def of_recipe(name: str, given: Given) -> dict[str, Any]:
    recipe, plan = tiny(RECIPES[name]) if given.tiny else RECIPES[name], given.plans.get(name)
    images = at_once(recipe, plan, given.device)
    while True:
        try:
            found = step_of(recipe, images, given)
            break
        except (OutOfMemory, RuntimeError) as error:
            if not (isinstance(error, OutOfMemory) or out_of_memory(error)) or images // 2 < recipe.together:
                raise
            images //= 2
        gc.collect()
    return found if plan is None else found | over_plan(found, plan, given.device)


def at_once(recipe: Recipe, plan: tuple[Costs, Costs] | None, device: str) -> int:
    """Images at once: what the plan says that memory allows, at most the batch."""
    few = max(2, recipe.together)
    if device == "cpu":
        return few
    many = few
    limit = USABLE * torch.cuda.get_device_properties(0).total_memory
    while 2 * many <= recipe.batch and (
        2 * many <= UNPLANNED
        if plan is None
        else Footprint(shrunk(recipe, 2 * many), "own-step", *plan).memory(1, 2 * many)["total"] <= limit
    ):
        many *= 2
    return many


def shrunk(recipe: Recipe, images: int) -> Recipe:
    """With so many images a batch, all at once; at step 0 all lazy terms act, at step 1 none."""
    known: dict[str, Any] = {"batch": images, "images": max(recipe.images, images), "micro": 0}
    return dataclasses.replace(recipe, **known, d_steps=1, penalty_every=2, every=2, path_every=3)


def step_of(recipe: Recipe, images: int, given: Given) -> dict[str, Any]:
    recipe = shrunk(recipe, images)

    def make(recipe: Recipe) -> Any:
        with torch.device(given.device):
            return networks_of(recipe)

    score = score_of(recipe, given.tiny, given.device)
    trainer = Trainer(
        recipe, "own-step", 0, make, Noise(recipe), score, given.device, augment=augment_of(recipe)
    )  # fmt: skip
    trainer.p = 0.5
    trainer.step()  # libraries choose their algorithms, optimisers allocate
    found: dict[str, Any] = {"images": images, "score_precision": recipe.score_precision, "losses": trainer.losses}
    for at, names in ((0, ("d_penalised", "g_scored")), (1, ("d", "g"))):
        trainer.at = at
        for name, call in zip(names, (trainer.d_step, trainer.g_step), strict=True):
            seconds, peak = measured(call, given.device)
            found[name] = {"seconds": seconds, "peak_bytes": peak}
    return found


def measured(call: Callable[[], object], device: str) -> tuple[float, int | None]:
    """Seconds of a call, and the most bytes that it allocates on a CUDA device."""
    if device == "cpu":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start, None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, start = torch.cuda.memory_allocated(), time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() - before


def over_plan(found: dict[str, Any], plan: tuple[Costs, Costs], device: str) -> dict[str, Any]:
    """Each step with its plan: FLOPs, the share of the device's peak rate that was reached, measured over planned
    memory."""
    some, more = plan
    rate = None if device == "cpu" else rate_of(torch.cuda.get_device_name(0))
    steps: dict[str, Any] = {}
    for name in ("d", "d_penalised", "g", "g_scored"):
        here, images = found[name], found["images"]
        flops = getattr(some, name).flops * images / some.batch
        peak = getattr(some, name).peak
        peak += (getattr(more, name).peak - peak) / (more.batch - some.batch) * (images - some.batch)
        steps[name] = here | {
            "flops": flops,
            "share_of_peak_rate": None if rate is None else flops / here["seconds"] / rate,
            "memory_over_plan": None if here["peak_bytes"] is None else here["peak_bytes"] / peak,
        }
    return steps


def rate_of(name: str) -> float | None:
    """The peak rate of the device of this name, if its data sheet was read."""
    plain = name.lower().replace(" ", "").replace("geforce", "")
    known = sorted((key for key in DEVICES if key.split("-")[0] in plain), key=len)
    named = [key for key in known if all(part in plain for part in key.split("-"))]
    return DEVICES[named[-1]].flops if named else None


# bfloat16


def unets(given: Given) -> Found:
    """Both U-Nets under autocast to bfloat16 against float32 without TF32: relative errors of eps, an image each, at
    noise-to-signal ratios NSR, and the ratio of times."""
    for name, recipe in (("ADM", RECIPES["imagenet64"]), ("SongUNet", RECIPES["cifar10"])):
        small = tiny(recipe) if given.tiny else recipe
        score = score_of(small, given.tiny, given.device)
        randomise(score.network)
        n, side = 4 if given.tiny else 32, small.resolution
        draws = torch.Generator().manual_seed(0)
        nsr = torch.logspace(math.log10(NSR[0]), math.log10(NSR[1]), n)
        x = torch.randn(n, 3, side, side, generator=draws) * (0.25 + nsr.square()).sqrt()[:, None, None, None]
        labels = (torch.arange(n) % recipe.classes).to(given.device)
        x, level = x.to(given.device), Level.variance_exploding(nsr.to(given.device))
        kind = torch.device(given.device).type
        eps: dict[str, Tensor] = {}
        seconds: dict[str, float] = {}
        with torch.no_grad(), exact():
            for precision in ("float32", "bfloat16"):
                low = torch.autocast(kind, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
                with low:
                    eps[precision] = score(x, level, labels).float()
                    times = [measured(lambda: score(x, level, labels), given.device)[0] for _ in range(3)]  # noqa: B023
                seconds[precision] = median(times)
        errors = (eps["bfloat16"] - eps["float32"]).flatten(1).norm(dim=1) / eps["float32"].flatten(1).norm(dim=1)
        yield (
            name,
            {
                "images": n,
                "nsr": list(NSR),
                "largest_error": float(errors.max()),
                "mean_error": float(errors.mean()),
                "time_over_float32": seconds["bfloat16"] / seconds["float32"],
            },
        )


# A short training


def training(given: Given) -> Found:
    """Losses against real images seen, until the time is over, and the picture gpucheck.png, both every EVERY seconds.

    The recipe is fashion where its images are, else photos; its last arm.
    """
    from images.training.inputs import real_images, score_model

    start = last = time.monotonic()
    name = "digits" if given.tiny else "fashion" if FASHION.is_dir() else "photos"
    recipe = dataclasses.replace(RECIPES[name], images=10**12)  # until the time is over
    data = real_images(recipe, None, CACHE)
    score: Any
    if given.tiny:
        score = trained(dataclasses.replace(Denoiser.of(recipe), steps=0), data)
    else:
        score = score_model(recipe, data, CACHE, given.device)
    coupling = recipe.couplings[-1]
    trainer = Trainer(recipe, coupling, 0, networks_of, data, score, given.device, augment=augment_of(recipe))
    curves: list[dict[str, float]] = []
    ready = time.monotonic() - start
    while True:
        trainer.step()
        now = time.monotonic()
        over = now - start > given.seconds or (given.tiny and trainer.at >= 8)
        if trainer.at & (trainer.at - 1) == 0 or trainer.at % recipe.evaluate_every == 0:
            curves.append({"images": trainer.at * recipe.images_a_step, **trainer.losses})
        if over or now - last > EVERY:
            last = now
            draw(trainer, curves, given.out / "gpucheck.png")
            seen = trainer.at * recipe.images_a_step
            yield (
                name,
                {
                    "coupling": coupling,
                    "steps": trainer.at,
                    "images_a_second": seen / (time.monotonic() - start - ready),
                    "seconds_before_the_first_step": ready,
                    "losses": trainer.losses,
                    "curves": curves[-200:],
                },
            )
        if over:
            return


def draw(trainer: Trainer, curves: list[dict[str, float]], path: Path) -> None:
    """The averaged generator's images, and the losses against real images seen."""
    from images.training import pictures

    recipe = trainer.recipe
    n = pictures.PAIRS * 4
    z = torch.randn(n, recipe.latent, generator=torch.Generator().manual_seed(0))
    x = trainer.sample(z, torch.arange(n) % recipe.classes if recipe.classes else None).numpy()
    figure, (left, right) = pictures.plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    pictures.show(left, x.reshape(4, -1, *x.shape[1:]), f"{recipe.recipe}, {trainer.coupling}: averaged generator")
    for name in ("d_loss", "g_loss", "score_loss"):
        points = [(row["images"], row[name]) for row in curves if name in row]
        right.plot(*zip(*points, strict=True), label=pictures.PANELS[name])
    right.set_xlabel("real images")
    right.set_xscale("log")
    right.legend(fontsize=8)
    pictures.save(figure, path)


def told(error: BaseException) -> str:
    """One line of an exception."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
