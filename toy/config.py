"""What a run is: every number that decides its result, and nothing else.

No torch here: `--help` answers at once. A configuration is complete, so two runs with equal ones give equal bits
(on one kind of machine), whatever the number of processes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from theory.commandline import choose

SCORES = ("analytic",)
LOSSES = ("saturating", "non-saturating")
ARMS = ("gan", "smart", "smart-decoupled")
STACKED = 256  # seeds trained in one stack, times width: their activations then fit a core's cache


@dataclass(frozen=True)
class Arm:
    """What may differ between the arms."""

    lr: float
    """Learning rate of the generator (Adam), decayed to 0 along a cosine."""
    weight: float = 0.0
    """lambda: the weight of the score term."""


@dataclass(frozen=True)
class Config:
    """Train a GAN with and without the score matching regularity on a law whose score is known.

    Arms, on the same seeds and random numbers: gan (no score term); smart (the paper: its gradient is added to the
    adversarial one, one Adam); smart-decoupled (ours: it stays outside Adam's moments).
    """

    manifold: str = "ring"
    """The real law: a name of the catalogue (python -c "from theory.manifolds import names; print(names())")."""
    dim: int | None = None
    """Dimension of the space that the law is embedded in; its own if not given."""
    thickness: float = 0.0
    """tau: the law is thickened by N(0, tau^2 I)."""
    score: str = "analytic"
    """Whose score regularises: analytic, the exact one."""
    arms: tuple[str, ...] = ARMS
    """Which arms: gan, smart, smart-decoupled."""
    seeds: int = 8
    """Number of seeds; every comparison is paired over them."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""

    loss: str = "saturating"
    """The generator's adversarial loss: saturating, log(1 - D), or non-saturating, -log D."""
    r1: float = 0.0
    """gamma of the R1 penalty, gamma/2 E ||grad D(real)||^2, at every discriminator step."""
    steps: int = 1500
    """Generator steps."""
    d_steps: int = 2
    """Discriminator steps before each generator step."""
    d_ahead: int = 1000
    """Discriminator steps before the generator starts."""
    d_lr: float | None = 1e-3
    """Learning rate of the discriminator, the same for all arms; None for each arm's own lr."""
    start: float = 3.0
    """The generator starts this far from the origin, in a random direction."""
    batch: int = 128
    width: int = 64
    layers: int = 3
    """Hidden layers of both networks."""
    latent: int = 2
    """Dimension of z ~ N(0, I)."""
    beta1: float = 0.5
    beta2: float = 0.99
    ema: float = 0.995
    """Decay of the averaged generator, which is the one evaluated."""

    low: float = 0.05
    """Interval of the noise-to-signal ratio sigma/alpha of the score term: from low ..."""
    high: float = 0.15
    """... to high, uniformly."""
    every: int = 1
    """k: the score term acts at every k-th step, k times as strong."""
    detach: bool = False
    """Leave out the score model's Jacobian (score distillation)."""
    momentum: float = 0.9
    """Decoupled: how much of the average of the score gradient is kept a step."""
    clip: float = 10.0
    """Decoupled: the largest score step of a parameter, in learning rates."""

    gan: Arm = field(default_factory=lambda: Arm(2.5e-4))
    smart: Arm = field(default_factory=lambda: Arm(8e-3, 0.1))
    smart_decoupled: Arm = field(default_factory=lambda: Arm(2e-3, 0.1))

    eval_every: int = 100
    """Steps between evaluations, each of which is also a checkpoint."""
    samples: int = 2048
    """Samples a seed in an evaluation."""

    def __post_init__(self) -> None:
        choose(self.score, SCORES, "score")
        choose(self.loss, LOSSES, "loss")
        for arm in self.arms:
            choose(arm, ARMS, "arm")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"arms must name one or more different arms of {', '.join(ARMS)}; given {self.arms}")
        for name in ("seeds", "steps", "d_steps", "batch", "width", "layers", "latent", "every", "eval_every"):
            at_least(name, getattr(self, name), 1)
        at_least("samples", self.samples, 2)
        for name in ("first_seed", "d_ahead", "thickness", "r1", "start"):
            at_least(name, getattr(self, name), 0)
        positive("clip", self.clip)
        if self.d_lr is not None:
            positive("d_lr", self.d_lr)
        for name in ("beta1", "beta2", "momentum", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1); given {getattr(self, name)}")
        positive("low", self.low)
        positive("high", self.high)
        if self.low > self.high:
            raise ValueError(f"the interval needs low <= high; given low={self.low}, high={self.high}")
        for name in ARMS:
            positive(f"{name}.lr", self.arm(name).lr)
            at_least(f"{name}.weight", self.arm(name).weight, 0)
        if self.gan.weight:
            raise ValueError(f"gan.weight must be 0, the arm without the score term; given {self.gan.weight}")

    def arm(self, name: str) -> Arm:
        """The options of an arm, by its name on the command line."""
        return getattr(self, name.replace("-", "_"))

    def with_arm(self, name: str, arm: Arm) -> Config:
        """This configuration with other options for one arm."""
        changes: dict[str, Any] = {name.replace("-", "_"): arm}
        return dataclasses.replace(self, **changes)

    def seed_groups(self) -> list[tuple[int, ...]]:
        """The seeds in stacks of at most STACKED / width, whatever the number of processes."""
        seeds, size = range(self.first_seed, self.first_seed + self.seeds), max(1, STACKED // self.width)
        return [tuple(seeds[i : i + size]) for i in range(0, self.seeds, size)]


def at_least(name: str, value: float, least: int) -> None:
    """ValueError unless least <= value < inf."""
    if not least <= value < math.inf:
        raise ValueError(f"{name} must be at least {least} and finite; given {value}")


def positive(name: str, value: float) -> None:
    """ValueError unless 0 < value < inf."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite; given {value}")


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as config.json and the checkpoint hold it."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """'name: old, new' for each option in which two configurations (as dicts) differ."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a} there, {b} here")
    return found


# The arms' options are what `--tune` found, each arm at its own best of one grid.
PRESETS = {
    # ring in the plane, discriminator ahead, generator far off the manifold: where the paper's theory lives
    "saturated": Config(),
    # a regularised discriminator and a high-dimensional space
    "healthy": Config(
        dim=32,
        loss="non-saturating",
        r1=1.0,
        steps=2000,
        d_steps=1,
        d_ahead=0,
        d_lr=None,
        start=0.0,
        gan=Arm(8e-3),
        smart=Arm(8e-3, 3e-4),
        smart_decoupled=Arm(2e-3, 3e-3),
    ),
}
PRESETS["lazy"] = dataclasses.replace(PRESETS["healthy"], every=8, smart_decoupled=Arm(4e-3, 1e-3))
