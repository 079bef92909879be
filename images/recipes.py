"""Recipes: everything that decides what a training run computes, and the settings of the paper. No torch here.

    lambda, interval and frequency of the paper     CIFAR10 .01, t 40-60     ImageNet and LSUN .1, t 25-35     every 8th

What "t" means the paper leaves open, and the readings differ by a factor of 30 in noise (see READINGS). An interval is
therefore stored as one of nsr = sigma/alpha, in units of pixels that run from -1 to 1.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from theory.common.checks import choose

NAMES = (
    "digits",
    "digits-vanilla",
    "photos",
    "cifar10",
    "cifar10-stylegan2",
    "imagenet64",
    "imagenet128",
    "lsun-bedroom",
)
COUPLINGS = ("none", "paper", "decoupled")
PENALTIES = ("r1", "r1+r2")
LOSSES = ("relativistic", "non-saturating")
GENERATORS = ("small", "r3gan", "stylegan2")
NOT_YET = ("biggan", "aurora")
AUGMENTATIONS = ("ada", "diffaugment")

READINGS: dict[tuple[str, tuple[int, int]], tuple[float, float]] = {
    ("edm", (40, 60)): (0.005063260272095194, 0.007721202344655429),
    ("ddpm-linear", (40, 60)): (0.14370423559579795, 0.2085455528425588),
    ("edm", (25, 35)): (0.00362539312582526, 0.0045377125659532514),
    ("ddpm-cosine", (25, 35)): (0.05154256905544668, 0.06752776050850366),
    ("ddpm-linear", (25, 35)): (0.09548381277412847, 0.1276131843384851),
}
"""(reading, range of t) -> the interval of nsr: t as an index of EDM's grid of 1000 (sigma .002 to 80, rho 7), or of a
DDPM schedule. `theory.levels.index_interval` computes these numbers, and a test compares them."""


@dataclass(frozen=True)
class Recipe:
    """One configuration of training. Lengths of schedules are counted in real images that the discriminator saw.

    Pairs (a, b) go from a to b along a cosine over the first `burn_in` images, and stay at b.

    Raises:
        ValueError: a value that cannot be meant.
    """

    recipe: str = "digits"
    """digits, digits-vanilla, photos, cifar10, cifar10-stylegan2, imagenet64, imagenet128 or lsun-bedroom: where the
    other defaults come from."""
    resolution: int = 8
    channels: int = 1
    classes: int = 10
    """0: unconditional."""
    generator: str = "small"
    """small (for 8x8 on a CPU), r3gan or stylegan2; the discriminator is of the same family. Not there yet: BigGAN,
    Aurora."""
    width: int = 32
    """Channels of the widest stage."""
    latent: int = 32
    """Dimension of z ~ N(0, I)."""

    couplings: tuple[str, ...] = ("none",)
    """Arms to train, on the same seeds and random numbers: none (no score term), paper (its gradient is added to the
    adversarial one, one Adam), decoupled (it stays outside Adam's moments)."""
    seeds: int = 1
    """Runs of every arm; comparisons are paired over seeds."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""

    images: int = 96_000
    """Length of training, in real images."""
    batch: int = 64
    """Over all processes together."""
    loss: str = "relativistic"
    """relativistic: softplus(D(fake) - D(real)) of pairs; non-saturating: each image for itself."""
    penalty: str = "r1+r2"
    """Squared gradients of the discriminator at real images (r1), or at real and generated ones (r1+r2)."""
    penalty_every: int = 4
    """Penalties act at every k-th discriminator step, k times as strong."""
    gamma: tuple[float, float] = (0.2, 0.2)
    """Strength of the penalties: gamma / 2 times the squared norm."""
    lr: tuple[float, float] = (1e-3, 0.0)
    rates: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Times lr, in the arms none, paper and decoupled."""
    beta1: float = 0.0
    beta2: tuple[float, float] = (0.99, 0.99)
    burn_in: int = 96_000
    """Images until lr, gamma and beta2 are at the second of their values."""
    ema: int = 3_000
    """Half-life of the averaged generator, in images; at most a twentieth of those seen."""
    mirror: bool = False
    """Real images are mirrored from left to right with probability 1/2."""
    augmentation: str = "ada"
    """Of what the discriminator sees: ada (its geometry and colours) or diffaugment."""
    augment: tuple[float, float] = (0.0, 0.0)
    """Probability of each augmentation."""
    target: float = 0.0
    """If above 0, that probability adapts instead, from 0 up, to hold E sign D(real) at this target."""

    mixing: float = 0.0
    """StyleGAN2: probability that a sample's layers have the style of another latent from a random one on."""
    path_weight: float = 0.0
    """StyleGAN2: strength of path length regularisation."""
    path_every: int = 4
    """StyleGAN2: it acts at every k-th generator step, k times as strong."""
    group: int = 32
    """StyleGAN2: images that the discriminator compares with each other; a process handles whole groups."""

    weight: float = 0.1
    """lambda of the paper's coupling. It multiplies the mean over pixels, as in the paper's code; the paper's formula
    has the sum, whose lambda is smaller by the number of pixels."""
    decoupled_weight: float = 0.1
    """lambda of the decoupled coupling, which means another thing there: the step is linear in it."""
    every: int = 8
    """k: the score term acts at every k-th generator step, and is not multiplied by k."""
    low: float = 0.1
    """The score term's noise: nsr = sigma/alpha from low ..."""
    high: float = 0.3
    """... to high, uniformly. --reading sets both to what the paper's range of t may mean."""
    momentum: float = 0.9
    """Decoupled: the average of score gradients forgets so much a generator step."""
    clip: float = 10.0
    """Decoupled: bound of the preconditioned score gradient, a parameter."""

    micro: int = 0
    """Images a process handles at once, gradients being added up; 0: all of its share. Lower it if memory is short: it
    changes nothing else. For StyleGAN2 a multiple of --group."""
    save_every: int = 500
    """Steps between checkpoints."""
    evaluate_every: int = 250
    """Steps between evaluations and sample grids."""

    def __post_init__(self) -> None:
        choose(self.recipe, NAMES, "recipe")
        if self.generator.lower() in NOT_YET:
            raise ValueError(f"generator {self.generator!r} is not there yet; choose from: {', '.join(GENERATORS)}")
        choose(self.generator, GENERATORS, "generator")
        choose(self.augmentation, AUGMENTATIONS, "augmentation")
        choose(self.loss, LOSSES, "loss")
        choose(self.penalty, PENALTIES, "penalty")
        for coupling in self.couplings:
            choose(coupling, COUPLINGS, "coupling")
        if not self.couplings or len(set(self.couplings)) != len(self.couplings):
            raise ValueError(f"couplings must hold at least one, and none twice; given {self.couplings}")
        for name in WHOLE:
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1; given {value}")
        for name in ("classes", "micro", "first_seed", "ema"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name} must be at least 0; given {value}")
        for name in ("gamma", "lr", "rates", "weight", "decoupled_weight", "path_weight"):
            value = getattr(self, name)
            if not all(0 <= part < math.inf for part in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} must lie in [0, inf); given {value}")
        for name in ("beta1", "beta2", "momentum"):
            value = getattr(self, name)
            if not all(0 <= part < 1 for part in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} must lie in [0, 1); given {value}")
        for name in ("augment", "mixing"):
            value = getattr(self, name)
            if not all(0 <= part <= 1 for part in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} must lie in [0, 1]; given {value}")
        if not 0 <= self.target < 1:
            raise ValueError(f"target must lie in [0, 1), 0 for a schedule; given {self.target}")
        if self.target and any(self.augment):
            raise ValueError(f"augment is a schedule, target adapts: give one; given {self.augment}, {self.target}")
        if self.generator != "stylegan2" and (self.mixing or self.path_weight):
            raise ValueError(f"mixing and path_weight are for stylegan2; given generator {self.generator!r}")
        if not 0 < self.low <= self.high < math.inf:
            raise ValueError(f"an interval needs 0 < low <= high; given low={self.low}, high={self.high}")
        if not 0 < self.clip < math.inf:
            raise ValueError(f"clip must lie in (0, inf); given {self.clip}")
        if self.resolution < 4 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two, at least 4; given {self.resolution}")
        if self.images < self.batch:
            raise ValueError(f"images must be at least batch, {self.batch}; given {self.images}")
        for name in ("batch", "micro"):
            if (value := getattr(self, name)) % self.together:
                raise ValueError(
                    f"{name} must be a multiple of group, {self.together} images that StyleGAN2's discriminator "
                    f"compares with each other; given {value}"
                )

    @property
    def together(self) -> int:
        """Images that a process must handle at once, or the step is another one."""
        return min(self.group, self.batch) if self.generator == "stylegan2" else 1

    @property
    def steps(self) -> int:
        return self.images // self.batch

    @property
    def source(self) -> str:
        """The recipe whose images and score model it has."""
        return "digits" if self.recipe == "digits-vanilla" else self.recipe

    def arm(self, coupling: str) -> Recipe:
        """The recipe with this arm's learning rate."""
        rate = self.rates[COUPLINGS.index(coupling)]
        return dataclasses.replace(self, lr=(rate * self.lr[0], rate * self.lr[1]))


WHOLE = (
    "channels", "width", "latent", "seeds", "images", "batch", "penalty_every", "path_every", "group", "burn_in",
    "every", "save_every", "evaluate_every",
)  # fmt: skip

DIGITS = Recipe(
    width=16, couplings=COUPLINGS, seeds=8, images=38_400, burn_in=38_400, lr=(2e-3, 2e-3), weight=0.3,
    decoupled_weight=0.1, save_every=300, evaluate_every=100,
)  # fmt: skip
"""Rates and weights of both recipes of digits: `python -m images.tune`, results/digits-tuning.csv."""
VANILLA = dataclasses.replace(
    DIGITS, recipe="digits-vanilla", loss="non-saturating", penalty_every=1_000_000, gamma=(0.0, 0.0),
    rates=(2.0, 2.0, 2.0), weight=1.0,
)  # fmt: skip
"""The game of Goodfellow et al. 2014: a discriminator that nothing holds back."""
PHOTOS = Recipe(
    recipe="photos", resolution=32, channels=3, classes=2, generator="r3gan", width=24, latent=16,
    couplings=("none", "decoupled"), images=640, batch=16, penalty_every=1, gamma=(0.05, 0.05), lr=(2e-4, 5e-5),
    beta2=(0.9, 0.99), burn_in=640, ema=160, every=4, save_every=20, evaluate_every=20,
)  # fmt: skip
"""A smoke test of what cifar10 goes through: 40 steps learn nothing that could be compared."""
CIFAR10 = Recipe(
    recipe="cifar10", resolution=32, channels=3, classes=10, generator="r3gan", width=768, latent=64,
    couplings=("paper",), images=200_000_000, batch=512, penalty_every=1, gamma=(0.05, 0.005), lr=(2e-4, 5e-5),
    beta2=(0.9, 0.99), burn_in=20_000_000, ema=5_000_000, mirror=True, augment=(0.0, 0.55),
    weight=0.01, decoupled_weight=0.01,
    low=READINGS["edm", (40, 60)][0], high=READINGS["edm", (40, 60)][1], save_every=2000, evaluate_every=2000,
)  # fmt: skip
CIFAR10_STYLEGAN2 = dataclasses.replace(
    CIFAR10, recipe="cifar10-stylegan2", generator="stylegan2", width=512, latent=512, loss="non-saturating",
    penalty="r1", penalty_every=16, batch=64, gamma=(0.01, 0.01), lr=(2.5e-3, 2.5e-3), beta2=(0.99, 0.99),
    images=100_000_000, burn_in=100_000_000, ema=500_000, mirror=False, augment=(0.0, 0.0), target=0.6, group=32,
)  # fmt: skip
IMAGENET64 = dataclasses.replace(
    CIFAR10, recipe="imagenet64", resolution=64, classes=1000, width=1536, images=500_000_000, batch=4096,
    gamma=(1.0, 0.1), burn_in=200_000_000, ema=50_000_000, augment=(0.0, 0.4), weight=0.1, decoupled_weight=0.1,
    low=READINGS["ddpm-cosine", (25, 35)][0], high=READINGS["ddpm-cosine", (25, 35)][1], save_every=500,
    evaluate_every=500,
)  # fmt: skip
IMAGENET128 = dataclasses.replace(
    IMAGENET64, recipe="imagenet128", resolution=128, batch=1024, low=READINGS["ddpm-linear", (25, 35)][0],
    high=READINGS["ddpm-linear", (25, 35)][1],
)  # fmt: skip
BEDROOM = dataclasses.replace(
    IMAGENET128, recipe="lsun-bedroom", resolution=256, classes=0, generator="stylegan2", width=512,
    latent=512, loss="non-saturating", penalty="r1", penalty_every=16, batch=64, gamma=(1.0, 1.0),
    lr=(2.5e-3, 2.5e-3), beta2=(0.99, 0.99), images=25_000_000, burn_in=25_000_000, ema=20_000, mirror=False,
    augment=(0.0, 0.0), mixing=0.9, path_weight=2.0, path_every=4, group=8,
)  # fmt: skip
ALL = DIGITS, VANILLA, PHOTOS, CIFAR10, CIFAR10_STYLEGAN2, IMAGENET64, IMAGENET128, BEDROOM
RECIPES = {recipe.recipe: recipe for recipe in ALL}
"""Where each number is from: `images.plan.provenance`, which `python -m images.plan` prints."""

OFFERED = {
    "cifar10": {"edm": ("edm", (40, 60)), "ddpm": ("ddpm-linear", (40, 60))},
    "cifar10-stylegan2": {"edm": ("edm", (40, 60)), "ddpm": ("ddpm-linear", (40, 60))},
    "imagenet64": {"edm": ("edm", (25, 35)), "ddpm": ("ddpm-cosine", (25, 35))},
    "imagenet128": {"edm": ("edm", (25, 35)), "ddpm": ("ddpm-linear", (25, 35))},
    "lsun-bedroom": {"edm": ("edm", (25, 35)), "ddpm": ("ddpm-linear", (25, 35))},
}
"""What --reading chooses from: a recipe's range of t read as EDM's index, or as that of a DDPM schedule."""
Reading = Literal["recipe", "edm", "ddpm"]


def interval(recipe: str, reading: str) -> tuple[float, float]:
    """The interval of nsr of a recipe's range of t in a reading.

    Raises:
        ValueError: the paper has no such range.
    """
    if recipe not in OFFERED:
        raise ValueError(f"the paper gives no interval for {recipe}: --reading is for {', '.join(OFFERED)}")
    return READINGS[OFFERED[recipe][reading]]


FREE = ("save_every", "evaluate_every", "micro", "seeds", "couplings", "first_seed")
"""What may differ where runs go on: it changes no step of a run."""


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
