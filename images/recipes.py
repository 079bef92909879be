"""Recipes: every number that decides what a training run computes, and the settings of the paper. No torch here.

    lambda, interval, frequency of the paper     CIFAR10 0.01, t 40-60     ImageNet and LSUN 0.1, t 25-35     every 8th

The paper does not say which schedule "t" is an index of, and two readings differ by a factor of 30 in noise (see
OFFERED). A recipe therefore stores an interval of nsr = sigma/alpha, in units of pixels that run from -1 to 1.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theory.common import colours
from theory.common.checks import at_least, choose, flag, positive, real, share, told, whole
from theory.common.parts import choose_or_own, is_own, part_of

NAMES = (
    "digits",
    "digits-vanilla",
    "photos",
    "fashion",
    "fashion-biggan",
    "cifar10-small",
    "stacked-mnist",
    "cifar10",
    "cifar10-stylegan2",
    "cifar10-biggan",
    "imagenet64",
    "imagenet64-aurora",
    "imagenet128",
    "imagenet128-biggan",
    "lsun-bedroom",
)
COUPLINGS = colours.COUPLINGS
OWN_STEP = ("own-step", "two-adams")
"""Couplings whose score gradient moves G in a step of its own, after the adversarial one and on latents of its own."""
DECOUPLED = ("decoupled", "bounded")
"""Couplings that keep it outside Adam's moments."""
LAZY_STEPS = ("summed", "own-step", "corrected")
PENALTIES = ("none", "r1", "r1+r2")
LOSSES = ("relativistic", "non-saturating", "hinge")
GENERATORS = ("small", "r3gan", "stylegan2", "biggan", "aurora")
GROUPS = {
    "stylegan2": "images that StyleGAN2's discriminator compares with each other",
    "biggan": "images over which BigGAN's batch norms take statistics",
    "aurora": "images that Aurora's discriminator, StyleGAN2's, compares with each other",
}
"""Generator -> what a group of images is."""
AUGMENTATIONS = ("ada", "diffaugment")
PRECISIONS = ("float32", "bfloat16")
READINGS = ("edm", "ddpm")
CLASSIFIED = ("fashion", "cifar10-small", "stacked-mnist")
"""Sources of images small enough for a CPU that are judged in the features of a classifier trained here."""
NARROWING = ("r3gan", "biggan")
"""Generators whose stages may halve in width."""


def _intervals() -> dict[tuple[str, int, int], tuple[float, float]]:
    with open(Path(__file__).with_name("readings.csv"), newline="") as file:
        return {
            (row["schedule"], int(row["first"]), int(row["last"])): (float(row["low"]), float(row["high"]))
            for row in csv.DictReader(file)
        }


INTERVALS = _intervals()
"""(schedule, first t, last t) -> (low, high) of nsr. `theory.levels.index_interval` made the table, and a test compares
them; it is a table because every processor must read the same numbers, and because that module needs torch."""
OFFERED = {
    "cifar10": {"edm": ("karras", 40, 60), "ddpm": ("ddpm-linear", 40, 60)},
    "cifar10-stylegan2": {"edm": ("karras", 40, 60), "ddpm": ("ddpm-linear", 40, 60)},
    "cifar10-biggan": {"edm": ("karras", 40, 60), "ddpm": ("ddpm-linear", 40, 60)},
    "imagenet64": {"edm": ("karras", 25, 35), "ddpm": ("ddpm-cosine", 25, 35)},
    "imagenet64-aurora": {"edm": ("karras", 25, 35), "ddpm": ("ddpm-cosine", 25, 35)},
    "imagenet128": {"edm": ("karras", 25, 35), "ddpm": ("ddpm-linear", 25, 35)},
    "imagenet128-biggan": {"edm": ("karras", 25, 35), "ddpm": ("ddpm-linear", 25, 35)},
    "lsun-bedroom": {"edm": ("karras", 25, 35), "ddpm": ("ddpm-linear", 25, 35)},
}
"""The choices of --reading: a recipe's range of t as indices of EDM's grid of 1000 noise levels, or of the DDPM
schedule of its ADM network."""


def interval(recipe: str, reading: str) -> tuple[float, float]:
    """(low, high) of nsr for a recipe's range of t in a reading.

    Raises:
        ValueError: the paper gives no such range.
    """
    if recipe not in OFFERED:
        raise ValueError(f"the paper gives no interval for {recipe}: --reading is for {', '.join(OFFERED)}")
    return INTERVALS[OFFERED[recipe][reading]]


def named(what: str, choices: Sequence[str]) -> Callable[[str, Any], str]:
    """A check: the choice of this name, whatever its case."""
    return lambda _, value: choose(value, choices, what)


def or_own(check: Callable[[str, Any], str]) -> Callable[[str, Any], str]:
    """A check: FILE.py:NAME, then with the digest of the file's content, or what passes the other check.

    Raises:
        FileError: the file cannot be read, or is not the one that a digest is of.
    """

    def checked(name: str, value: Any) -> str:
        part = part_of(value) if isinstance(value, str) else None
        return choose_or_own(name, value, ()) if part is not None and part.kind == "py" else check(name, value)

    return checked


def file_name(name: str, value: Any) -> str:
    """A check: the name of a file, or none; whether it exists is looked at where it is used."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a file, or FILE.py:NAME; given {told(value)}")
    return value


def each(check: Callable[[str, Any], Any], n: int) -> Callable[[str, Any], tuple]:
    """A check: n values, each of which passes the check."""

    def checked(name: str, value: Any) -> tuple:
        if not isinstance(value, list | tuple) or len(value) != n:
            raise ValueError(f"{name} must be {n} numbers; given {told(value)}")
        return tuple(check(name, part) for part in value)

    return checked


def couplings(name: str, value: Any) -> tuple[str, ...]:
    """A check: at least one coupling, and none twice."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{name} must hold at least one of {', '.join(COUPLINGS)}; given {told(value)}")
    found = tuple(choose(part, COUPLINGS, "coupling") for part in value)
    if len(set(found)) != len(found):
        raise ValueError(f"{name} must hold none twice; given {told(value)}")
    return found


def probability(name: str, value: Any) -> float:
    """A check: a number in [0, 1]."""
    if not 0 <= real(name, value) <= 1:
        raise ValueError(f"{name} must lie in [0, 1]; given {told(value)}")
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """A check: a finite number of at least 0."""
    return at_least(name, value, 0)


def counted(least: int) -> Callable[[str, Any], int]:
    """A check: a whole number of at least `least`."""
    return lambda name, value: whole(name, value, least)


def side(name: str, value: Any) -> int:
    """A check: a power of two, at least 4."""
    if whole(name, value) < 4 or value & (value - 1):
        raise ValueError(f"{name} must be a power of two, at least 4; given {told(value)}")
    return int(value)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "recipe": named("recipe", NAMES),
    "resolution": side,
    "classes": counted(0),
    "generator": or_own(named("generator", GENERATORS)),
    "score": or_own(file_name),
    "score_precision": named("score_precision", PRECISIONS),
    "couplings": couplings,
    "first_seed": counted(0),
    "loss": named("loss", LOSSES),
    "penalty": named("penalty", PENALTIES),
    "gamma": each(not_negative, 2),
    "lr": each(not_negative, 2),
    "d_rate": not_negative,
    "rates": each(not_negative, len(COUPLINGS)),
    "beta1": share,
    "beta2": each(share, 2),
    "adam_eps": positive,
    "ema": counted(0),
    "ema_decay": share,
    "ema_start": counted(0),
    "uniform_labels": flag,
    "mirror": flag,
    "narrow": flag,
    "augmentation": named("augmentation", AUGMENTATIONS),
    "augment": each(probability, 2),
    "target": share,
    "mixing": probability,
    "path_weight": not_negative,
    "lazy_steps": named("lazy_steps", LAZY_STEPS),
    "weight": not_negative,
    "decoupled_weight": not_negative,
    "corrected": flag,
    "bound": positive,
    "low": positive,
    "high": positive,
    "momentum": share,
    "clip": positive,
    "micro": counted(0),
    "retry": counted(0),
} | dict.fromkeys(
    (
        "channels", "width", "latent", "seeds", "images", "batch", "d_steps", "penalty_every", "path_every", "group",
        "burn_in", "every", "save_every", "evaluate_every",
    ),
    counted(1),
)  # fmt: skip
"""Field of a recipe -> check(name, value): the value in its one form, or a ValueError that names it."""


@dataclass(frozen=True)
class Recipe:
    """A configuration of training. Lengths of schedules are counted in real images that the discriminator saw.

    Pairs (a, b) go from a to b along a cosine over the first `burn_in` images, and stay at b.

    Raises:
        ValueError: a value that cannot be meant.
    """

    recipe: str = "digits"
    """digits, digits-vanilla, photos, fashion, fashion-biggan, cifar10-small, stacked-mnist, cifar10,
    cifar10-stylegan2, cifar10-biggan, imagenet64, imagenet64-aurora, imagenet128, imagenet128-biggan or lsun-bedroom:
    the source of the other defaults."""
    resolution: int = 8
    """Pixels a side."""
    channels: int = 1
    """Of an image: 1 is grey, 3 is RGB."""
    classes: int = 10
    """Classes of the images; 0: unconditional."""
    generator: str = "small"
    """small (for 8x8 on a CPU), r3gan, stylegan2, biggan or aurora; the discriminator is of the same family, Aurora's
    StyleGAN2's. Or your own pair: FILE.py:NAME, see images/OWN_PARTS.md."""
    width: int = 32
    """Channels of the widest stage."""
    narrow: bool = False
    """r3gan, biggan: each stage has half the channels of the one at half its resolution; R3GAN also one block a stage,
    not expanded. Small enough for a CPU."""
    latent: int = 32
    """Dimension of z ~ N(0, I)."""

    couplings: tuple[str, ...] = ("gan",)
    """Arms to train, on the same seeds and random numbers: gan (no score term), summed (its gradient is added to the
    adversarial one, one Adam), own-step (it has a step of its own, of the same Adam), two-adams (an Adam of its own),
    decoupled (it stays outside Adam's moments), bounded (decoupled, and each image's score gradient is bounded)."""
    seeds: int = 1
    """Runs of every arm; comparisons are paired over seeds."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""

    images: int = 96_000
    """Length of training, in real images."""
    batch: int = 64
    """Real images of a discriminator step, over all processes together."""
    d_steps: int = 1
    """Discriminator steps a generator step, each on new real images and latents."""
    loss: str = "relativistic"
    """relativistic: softplus(D(fake) - D(real)) of pairs; non-saturating, hinge: each image for itself."""
    uniform_labels: bool = False
    """Classes of generated images are drawn uniformly; if not, they are those of the step's real images."""
    penalty: str = "r1+r2"
    """Squared gradients of the discriminator at real images (r1), at real and generated ones (r1+r2), or none."""
    penalty_every: int = 4
    """Penalties act at every k-th discriminator step, k times as strong."""
    lazy_steps: str = "summed"
    """Penalties and path lengths: summed (in the step of the game), own-step (a step of their own after it, of the same
    Adam), corrected (own-step, with StyleGAN2's correction of lr and betas by c = k / (k + 1))."""
    gamma: tuple[float, float] = (0.2, 0.2)
    """Strength of the penalties: gamma / 2 times the squared norm."""
    lr: tuple[float, float] = (1e-3, 0.0)
    """Learning rate of both Adams."""
    d_rate: float = 1.0
    """The discriminator's learning rate is this times lr."""
    rates: tuple[float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """Factors of lr in the arms gan, summed, own-step, two-adams, decoupled and bounded."""
    beta1: float = 0.0
    """Adam's decay of the first moment."""
    beta2: tuple[float, float] = (0.99, 0.99)
    """Adam's decay of the second moment."""
    adam_eps: float = 1e-8
    """Adam's eps."""
    burn_in: int = 96_000
    """Images until lr, gamma, beta2 and augment are at the second of their values."""
    ema: int = 3_000
    """Half-life of the averaged generator, in images; at most a twentieth of those seen."""
    ema_decay: float = 0.0
    """If above 0, the average keeps this share of itself at each generator step, instead."""
    ema_start: int = 0
    """For so many generator steps the averaged generator is a copy of the trained one."""
    mirror: bool = False
    """Real images are mirrored from left to right with probability 1/2."""
    augmentation: str = "ada"
    """Of the images that the discriminator sees: ada (its geometry and colours) or diffaugment."""
    augment: tuple[float, float] = (0.0, 0.0)
    """Probability of each augmentation."""
    target: float = 0.0
    """If above 0, that probability adapts instead, from 0 up, to hold E sign D(real) at this target."""

    mixing: float = 0.0
    """StyleGAN2: probability that a sample has, from a random layer on, the styles of another latent."""
    path_weight: float = 0.0
    """StyleGAN2: strength of path length regularisation."""
    path_every: int = 4
    """StyleGAN2: it acts at every k-th generator step, k times as strong."""
    group: int = 32
    """Images that belong together, whole groups to a process: StyleGAN2's discriminator compares them, BigGAN's batch
    norms take statistics over them."""

    score: str = ""
    """Diffusion checkpoint for the score term (python -m images.scores describes one), or your own score: FILE.py:NAME,
    see images/OWN_PARTS.md."""
    score_precision: str = "float32"
    """float32 or bfloat16: of the score model on CUDA. The other networks are in bfloat16 there, and all in float32 on
    a CPU."""
    weight: float = 0.1
    """lambda of summed, own-step and two-adams. It multiplies the mean over pixels, as in the paper's code; the paper's
    formula has the sum, whose lambda is smaller by the number of pixels."""
    decoupled_weight: float = 0.1
    """lambda of decoupled and bounded, whose step is linear in it: the two lambdas are not comparable."""
    every: int = 8
    """k: the score term acts at every k-th generator step, and is not multiplied by k."""
    low: float = 0.1
    """The score term's noise: nsr = sigma/alpha from low ..."""
    high: float = 0.3
    """... to high, uniformly. --reading sets both to one reading of the paper's range of t."""
    corrected: bool = False
    """Own-step: the score step counts in StyleGAN2's correction of lr and betas."""
    bound: float = 3.0
    """Bounded: the largest score gradient of an image, in medians of its batch."""
    momentum: float = 0.9
    """Decoupled: the share of the average of score gradients that a generator step keeps."""
    clip: float = 10.0
    """Decoupled: bound of the preconditioned score gradient, a parameter."""

    micro: int = 0
    """Images that a process handles at once; gradients add up. 0: all of its share. A lower number takes less memory
    and changes the result by rounding alone. For StyleGAN2 and BigGAN a multiple of --group."""
    save_every: int = 500
    """Steps between checkpoints."""
    retry: int = 0
    """Times that a run which diverged goes back to its last checkpoint and takes other noise; then it fails."""
    evaluate_every: int = 250
    """Steps between evaluations and sample grids."""

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.target and any(self.augment):
            raise ValueError(f"augment is a schedule, target adapts: give one; given {self.augment}, {self.target}")
        if self.narrow and not is_own(self.generator) and self.generator not in NARROWING:
            raise ValueError(f"narrow is for {' and '.join(NARROWING)}; given generator {self.generator!r}")
        if self.generator != "stylegan2" and (self.mixing or self.path_weight):
            raise ValueError(f"mixing and path_weight are for stylegan2; given generator {self.generator!r}")
        if self.low > self.high:
            raise ValueError(f"an interval needs 0 < low <= high; given low={self.low}, high={self.high}")
        if self.images < self.images_a_step:
            many = f"batch, {self.batch}" + (f", times d_steps, {self.d_steps}" if self.d_steps > 1 else "")
            raise ValueError(f"images must be at least {many}; given {self.images}")
        for name in ("batch", "micro"):
            if (value := getattr(self, name)) % self.together:
                what = GROUPS[self.generator]
                raise ValueError(f"{name} must be a multiple of group, {self.together} {what}; given {value}")

    @property
    def together(self) -> int:
        """Images that a process must handle at once, or the step is another one."""
        return min(self.group, self.batch) if self.generator in GROUPS else 1

    @property
    def images_a_step(self) -> int:
        """Real images that the discriminator sees at each generator step."""
        return self.batch * self.d_steps

    @property
    def steps(self) -> int:
        """Of the generator."""
        return self.images // self.images_a_step

    @property
    def source(self) -> str:
        """The recipe with whose images and score model it trains."""
        return {"digits-vanilla": "digits", "fashion-biggan": "fashion"}.get(self.recipe, self.recipe)

    def arm(self, coupling: str) -> Recipe:
        """The recipe with this arm's learning rate."""
        rate = self.rates[COUPLINGS.index(choose(coupling, COUPLINGS, "coupling"))]
        return dataclasses.replace(self, lr=(rate * self.lr[0], rate * self.lr[1]))


DIGITS = Recipe(
    width=16, couplings=("gan", "summed", "decoupled"), seeds=8, images=38_400, burn_in=38_400, lr=(2e-3, 2e-3),
    weight=0.3, decoupled_weight=0.1, save_every=300, evaluate_every=100,
)  # fmt: skip
"""Rates and weights of both recipes of digits: `python -m images.tune`, results/digits-tuning.csv."""
VANILLA = dataclasses.replace(
    DIGITS, recipe="digits-vanilla", loss="non-saturating", penalty_every=1_000_000, gamma=(0.0, 0.0),
    rates=(2.0,) * 6, weight=1.0,
)  # fmt: skip
"""The game of Goodfellow et al. 2014: a discriminator without a regulariser."""
PHOTOS = Recipe(
    recipe="photos", resolution=32, channels=3, classes=2, generator="r3gan", width=24, latent=16,
    couplings=("gan", "decoupled"), images=640, batch=16, penalty_every=1, gamma=(0.05, 0.05), lr=(2e-4, 5e-5),
    beta2=(0.9, 0.99), burn_in=640, ema=160, every=4, save_every=20, evaluate_every=20,
)  # fmt: skip
"""A smoke test of the code of cifar10: 40 steps are too few for a comparison."""
FASHION = Recipe(
    recipe="fashion", resolution=32, channels=1, classes=10, generator="r3gan", width=64, narrow=True, latent=32,
    couplings=("gan", "own-step", "decoupled"), seeds=3, images=96_000, batch=32, penalty_every=4, gamma=(1.0, 1.0),
    lr=(2e-3, 2e-3), burn_in=96_000, ema=2_000, weight=0.01, decoupled_weight=0.01,
    low=INTERVALS["ddpm-linear", 40, 60][0], high=INTERVALS["ddpm-linear", 40, 60][1], save_every=500,
    evaluate_every=500,
)  # fmt: skip
"""Fashion-MNIST with the lambda, frequency and interval of the paper's CIFAR10 (read as the DDPM schedule's)."""
FASHION_BIGGAN = dataclasses.replace(
    FASHION, recipe="fashion-biggan", generator="biggan", loss="hinge", uniform_labels=True, penalty="none",
    gamma=(0.0, 0.0), lr=(5e-4, 5e-4), d_rate=2.0, beta2=(0.999, 0.999), group=32,
)  # fmt: skip
CIFAR10_SMALL = dataclasses.replace(FASHION, recipe="cifar10-small", resolution=16, channels=3, mirror=True)
STACKED_MNIST = dataclasses.replace(FASHION, recipe="stacked-mnist", channels=3, classes=0)
"""Three digits are the channels of an image: 1000 modes (Metz et al. 2017)."""
CIFAR10 = Recipe(
    recipe="cifar10", resolution=32, channels=3, classes=10, generator="r3gan", width=768, latent=64,
    couplings=("own-step",), images=200_000_000, batch=512, penalty_every=1, gamma=(0.05, 0.005), lr=(2e-4, 5e-5),
    beta2=(0.9, 0.99), burn_in=20_000_000, ema=5_000_000, mirror=True, augment=(0.0, 0.55),
    weight=0.01, decoupled_weight=0.01,
    low=INTERVALS["karras", 40, 60][0], high=INTERVALS["karras", 40, 60][1], save_every=2000, evaluate_every=2000,
)  # fmt: skip
CIFAR10_STYLEGAN2 = dataclasses.replace(
    CIFAR10, recipe="cifar10-stylegan2", generator="stylegan2", width=512, latent=512, loss="non-saturating",
    penalty="r1", penalty_every=16, batch=64, gamma=(0.01, 0.01), lr=(2.5e-3, 2.5e-3), beta2=(0.99, 0.99),
    images=100_000_000, burn_in=100_000_000, ema=500_000, mirror=False, augment=(0.0, 0.0), target=0.6, group=32,
    lazy_steps="corrected",
)  # fmt: skip
CIFAR10_BIGGAN = dataclasses.replace(
    CIFAR10, recipe="cifar10-biggan", generator="biggan", width=256, latent=128, loss="hinge", uniform_labels=True,
    penalty="none", gamma=(0.0, 0.0), batch=50, d_steps=4, group=50, lr=(2e-4, 2e-4), beta2=(0.999, 0.999),
    images=25_000_000, burn_in=25_000_000, ema_decay=0.9999, ema_start=1000, mirror=False, augment=(0.0, 0.0),
)  # fmt: skip
IMAGENET64 = dataclasses.replace(
    CIFAR10, recipe="imagenet64", resolution=64, classes=1000, width=1536, images=500_000_000, batch=4096,
    gamma=(1.0, 0.1), burn_in=200_000_000, ema=50_000_000, augment=(0.0, 0.4), weight=0.1, decoupled_weight=0.1,
    low=INTERVALS["ddpm-cosine", 25, 35][0], high=INTERVALS["ddpm-cosine", 25, 35][1], save_every=500,
    evaluate_every=500,
)  # fmt: skip
IMAGENET64_AURORA = dataclasses.replace(
    IMAGENET64, recipe="imagenet64-aurora", generator="aurora", width=1600, latent=128, loss="non-saturating",
    penalty="r1", penalty_every=16, batch=256, group=8, gamma=(1.0, 1.0), lr=(1e-3, 1e-3), beta2=(0.99, 0.99),
    images=100_000_000, burn_in=100_000_000, ema=500_000, augment=(0.0, 0.0),
)  # fmt: skip
IMAGENET128 = dataclasses.replace(
    IMAGENET64, recipe="imagenet128", resolution=128, batch=1024, low=INTERVALS["ddpm-linear", 25, 35][0],
    high=INTERVALS["ddpm-linear", 25, 35][1],
)  # fmt: skip
IMAGENET128_BIGGAN = dataclasses.replace(
    IMAGENET128, recipe="imagenet128-biggan", generator="biggan", width=1536, latent=120, loss="hinge",
    uniform_labels=True, penalty="none", gamma=(0.0, 0.0), batch=2048, group=32, lr=(1e-4, 1e-4), d_rate=4.0,
    adam_eps=1e-6, beta2=(0.999, 0.999), images=307_200_000, burn_in=307_200_000, ema_decay=0.9999, ema_start=20_000,
    mirror=False, augment=(0.0, 0.0),
)  # fmt: skip
BEDROOM = dataclasses.replace(
    IMAGENET128, recipe="lsun-bedroom", resolution=256, classes=0, generator="stylegan2", width=512,
    latent=512, loss="non-saturating", penalty="r1", penalty_every=16, batch=64, gamma=(1.0, 1.0),
    lr=(2.5e-3, 2.5e-3), beta2=(0.99, 0.99), images=25_000_000, burn_in=25_000_000, ema=20_000, mirror=False,
    augment=(0.0, 0.0), mixing=0.9, path_weight=2.0, path_every=4, group=8, lazy_steps="corrected",
)  # fmt: skip
ALL = (
    DIGITS, VANILLA, PHOTOS, FASHION, FASHION_BIGGAN, CIFAR10_SMALL, STACKED_MNIST, CIFAR10, CIFAR10_STYLEGAN2,
    CIFAR10_BIGGAN, IMAGENET64, IMAGENET64_AURORA, IMAGENET128, IMAGENET128_BIGGAN, BEDROOM,
)  # fmt: skip
RECIPES = {recipe.recipe: recipe for recipe in ALL}
"""Where each number is from: `images.plan.provenance`, which `python -m images.plan` prints."""

FREE = ("save_every", "evaluate_every", "micro", "retry", "seeds", "couplings", "first_seed")
"""Fields that may differ when a run is continued: they change no step of it before it diverges."""


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as config.json and checkpoints hold it."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def from_dict(values: dict[str, Any]) -> Recipe:
    """The inverse of `as_dict`. Raises TypeError, ValueError: it is none."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Recipe(**given)


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """'name is a there, b here' for each value in which two recipes (as dicts) differ."""
    names = dict.fromkeys([*there, *here])
    return [f"{n} is {there.get(n)} there, {here.get(n)} here" for n in names if there.get(n) != here.get(n)]
