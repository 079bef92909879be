"""The configuration of a run: every number that decides its result, and nothing else.

Two runs of one configuration give equal bits on one kind of processor, whatever the number of processes. No torch
here: `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from theory.common.checks import at_least, choose, flag, positive, share, told, whole
from theory.common.parts import TABLES, choose_or_own, is_own, label

# name -> what it is, in one line: the command line's help is made of these
MANIFOLDS = {
    "points": "two point masses",
    "8-ring": "8 narrow Gaussians on a circle",
    "grid": "5 x 5 Gaussians",
    "weighted": "4 Gaussians, unequally likely",
    "ring": "the unit circle",
    "concentric": "two circles about one centre",
    "sphere": "the unit sphere of R^3",
    "torus": "the product of two circles, in R^4",
    "segment": "a segment",
    "polyline": "a zigzag of three segments",
    "square": "the outline of a square",
    "star": "the outline of a star",
    "two-moons": "two half circles",
    "spiral": "half circles joined smoothly",
    "swiss-roll": "the spiral times an interval, in R^3",
    "subspace": "a Gaussian on a plane of R^3",
    "box": "a full square",
    "checkerboard": "the black squares of a board",
    "mixed": "a point, a circle and a full square",
}
LOSSES = {
    "saturating": "the generator minimises log(1 - D(fake)): the minimax game",
    "non-saturating": "the generator minimises -log D(fake)",
    "hinge": "the discriminator minimises max(0, 1 -+ D), the generator -D(fake)",
    "least-squares": "squared distances of the logits to 1 (real) and 0 (fake)",
    "wasserstein": "D(fake) - D(real), to be used with --regulariser gradient-penalty",
    "relativistic": "softplus(D(fake) - D(real)), the R3GAN game",
}
REGULARISERS = {
    "none": "an unregularised discriminator",
    "r1": "gamma/2 E ||grad D(real)||^2",
    "r2": "gamma/2 E ||grad D(fake)||^2",
    "r1-r2": "both",
    "gradient-penalty": "gamma E (||grad D|| - 1)^2 between real and fake",
    "spectral": "every weight divided by its largest singular value; gamma is not used",
    "diffusion": "s N(0, I) added to the discriminator's input, s uniform up to gamma, and D is told s",
    "instance-noise": "N(0, gamma^2 I) added to the discriminator's input, decayed with the learning rate",
}
PENALTY_STEPS = {
    "summed": "its gradient is added to the game's",
    "own-step": "in a step of its own, of the same Adam",
    "corrected": "own-step with StyleGAN2's correction, lr times c and betas to the power c, c = k / (k + 1)",
}
PENALISED = ("r1", "r2", "r1-r2", "gradient-penalty")
TERMS = {
    "full": "the paper's: the gradient runs through the score model",
    "detached": "score distillation: it does not",
    "matching": "distribution matching: detached, with the generator's own score in the place of eps",
}
SCORES = {
    "analytic": "exact",
    "learned": "a small denoiser trained on samples for --score-steps steps",
    "perturbed": "exact plus a smooth random field of size --score-error",
    "empirical": "exact for the --training-samples alone: what a learned one tends to that is trained for too long",
}
WEIGHT_RULES = {
    "fixed": "lambda is the arm's weight",
    "annealed": "from the weight to 0 along a cosine",
    "ratio": "lambda such that the mean score gradient is weight times as long as the adversarial one",
    "budget": "lambda whose predicted bias is a total variation of weight",
}
GENERATORS = {
    "gan": "an adversarial game",
    "vae": "a variational autoencoder",
    "flow": "a normalizing flow",
}
WEIGHTINGS = ("eps", "x0")
DEVICES = {
    "cpu": "the processor",
    "cuda": "a GPU of NVIDIA's (gpu means the same); random numbers are those of the CPU, digits are not",
}
OPTIMIZERS = ("adam", "sgd")
ARM_HELP = {
    "gan": "no score term",
    "summed": "the paper's: the score gradient is added to the adversarial one, one Adam",
    "own-step": "as StyleGAN2's lazy terms: the score gradient has a step of its own, of the same Adam",
    "two-adams": "the score gradient has an Adam of its own",
    "decoupled": "ours: the score gradient stays outside Adam's moments",
    "bounded": "decoupled, and the score gradient of a sample is bounded",
}
ARMS = tuple(ARM_HELP)
DECOUPLED = ("decoupled", "bounded")
OWN_STEP = ("own-step", "two-adams")  # the score gradient moves the generator in a step after the adversarial one
BOUND = 3.0
# Seeds trained in one stack, times width. Fewer pay for the interpreter, more leave the cache: python -m toy.bench
# --only stacks. Between the two a run's seeds are in two stacks, so that two processes have work.
FEWEST, MOST = 256, 1024


def listed(text: str, choices: dict[str, str]) -> Any:
    """The help of an option with named choices: each in a line."""
    return tyro.conf.arg(help="\n".join([text, *(f"- {name}: {what}" for name, what in choices.items()), ""]))


OWN = "or your own: FILE.py:NAME, see toy/OWN_PARTS.md"  # in the help of what can be the user's


@dataclass(frozen=True)
class Arm:
    """The options of an arm."""

    lr: float
    """Learning rate of the generator (Adam), decayed to 0 along a cosine."""
    weight: float = 0.0
    """lambda: the weight of the score term."""
    bound: float | None = None
    """Largest score gradient of a sample, in medians of its batch; None: no limit."""
    d_lr: float | None = None
    """Learning rate of the discriminator; None: that of the whole run."""
    gamma: float | None = None
    """Strength of the regulariser; None: that of the whole run."""


@dataclass(frozen=True)
class Config:
    """Train a GAN with and without the score matching regularity on a distribution whose score is known."""

    manifold: Annotated[
        str,
        listed(
            "The real distribution, or your own: FILE.csv, FILE.npy, FILE.py:NAME, see toy/OWN_PARTS.md.", MANIFOLDS
        ),
    ] = "ring"
    dim: int | None = None
    """Dimension of the space that the distribution is embedded in; its own if not given."""
    thickness: float = 0.0
    """tau: the distribution is thickened by N(0, tau^2 I)."""
    conditional: bool = False
    """Class-conditional on a mixture, whose parts are the classes: G, D and the score get the class."""
    training_samples: int | None = None
    """Samples that D and a learned or empirical score train on, the same for all seeds; fresh ones if not given."""
    generator: Annotated[str, listed(f"Kind of generator (the arm gan has no score term), {OWN}.", GENERATORS)] = "gan"
    score: Annotated[str, listed(f"Score model of the term, {OWN}.", SCORES)] = "analytic"
    score_steps: int = 4000
    """Training steps of a learned score."""
    score_error: float = 0.3
    """Root mean square error of a perturbed score, in eps, a coordinate."""
    arms: Annotated[tuple[str, ...], listed("What is compared, on the same seeds and random numbers.", ARM_HELP)] = (
        "gan",
        "summed",
        "decoupled",
    )
    seeds: int = 8
    """Number of seeds; every comparison is paired over them."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""

    game: bool = True
    """Whether the generator has an adversarial gradient; without, it has the score gradient of the arm summed alone."""
    loss: Annotated[str, listed(f"Losses of the game, {OWN}.", LOSSES)] = "saturating"
    regulariser: Annotated[
        str, listed(f"Regulariser of the discriminator, at each of its steps, {OWN}.", REGULARISERS)
    ] = "none"
    gamma: float = 1.0
    """Strength of the regulariser."""
    regulariser_every: int = 1
    """k: a penalty acts at every k-th discriminator step, at k times its strength."""
    regulariser_step: Annotated[str, listed("How a penalty meets the discriminator's Adam.", PENALTY_STEPS)] = "summed"
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
    """Samples of each kind in a step."""
    width: int = 64
    """Width of the hidden layers of all networks."""
    layers: int = 3
    """Number of hidden layers of all networks."""
    latent: int = 2
    """Dimension of z ~ N(0, I)."""
    optimizer: str = "adam"
    """Of the generator: adam or sgd (without momentum)."""
    beta1: float = 0.5
    """Decay of the first moment of every Adam."""
    beta2: float = 0.99
    """Decay of the second moment of every Adam."""
    ema: float = 0.995
    """Decay of the averaged generator, which is the one evaluated."""

    low: float = 0.05
    """Lower end of the interval of the score term's noise-to-signal ratio sigma/alpha."""
    high: float = 0.15
    """Upper end of that interval; the ratio is uniform on it."""
    anneal: float = 1.0
    """The interval begins this many times as high, and comes down geometrically over the run; 1: it stays."""
    every: int = 1
    """k: the score term acts at every k-th step."""
    scale_by_every: bool = True
    """Multiply the score term by k."""
    term: Annotated[str, listed("What the score term's gradient runs through.", TERMS)] = "full"
    weighting: str = "eps"
    """eps: ||eps* - eps||^2; x0: that times nsr^2, the squared distance of a sample to its denoised form."""
    corrected: bool = False
    """Arm own-step: StyleGAN2's correction, lr times c and betas to the power c, with c = k / (k + 1)."""
    weight_rule: Annotated[str, listed("How lambda follows from an arm's weight.", WEIGHT_RULES)] = "fixed"
    warm_up: int = 0
    """Steps over which lambda grows from 0 to its value."""
    max_norm: float | None = None
    """Largest norm of the main gradient, of each seed; None: no limit."""
    equal_length: bool = False
    """Decoupled arms: scale the whole step to the length of the adversarial step alone."""
    momentum: float = 0.9
    """Decoupled arms: decay a step of the average of the score gradient."""
    clip: float = 10.0
    """Decoupled arms: largest score step of a parameter, in learning rates."""

    gan: Arm = field(default_factory=lambda: Arm(4.997e-4))
    """The arm without a score term."""
    summed: Arm = field(default_factory=lambda: Arm(4.157e-3, 0.07211))
    """The arm of the paper."""
    own_step: Arm = field(default_factory=lambda: Arm(4.157e-3, 0.07211))
    """The arm that steps twice with one Adam."""
    two_adams: Arm = field(default_factory=lambda: Arm(4.157e-3, 0.07211))
    """The arm with an Adam for each gradient."""
    decoupled: Arm = field(default_factory=lambda: Arm(1.387e-3, 0.07706))
    """Our arm, without a bound."""
    bounded: Arm = field(default_factory=lambda: Arm(1.387e-3, 0.07706, BOUND))
    """Our arm, with a bound."""

    eval_every: int = 100
    """Steps between evaluations, at which a run can be stopped."""
    samples: int = 2048
    """Samples a seed in an evaluation."""
    device: Annotated[str, listed("Where the networks are trained.", DEVICES)] = "cpu"

    def __post_init__(self) -> None:
        """Puts every value into its one form: names as the tables above write them, numbers as int and float.

        Raises:
            ValueError: a value of the wrong type, out of range, or that does not go with the others; it is named.
        """
        for name, check in CHECKS.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                object.__setattr__(self, name, check(name, value))
        for name in ARMS:
            object.__setattr__(self, field_of(name), checked_arm(field_of(name), self.arm(name)))
        if self.first_seed + self.seeds > 2**62:
            raise ValueError(
                f"first_seed + seeds must be at most 2^62; given first_seed={self.first_seed}, seeds={self.seeds}"
            )
        if self.low > self.high:
            raise ValueError(f"the interval needs low <= high; given low={self.low}, high={self.high}")
        self.check_together()

    def check_together(self) -> None:
        """ValueError for choices that do not go together."""
        if not self.adversarial and self.conditional:
            raise ValueError(f"conditional is for generator gan; given generator {self.generator}")
        if not self.adversarial and self.weight_rule == "ratio":
            raise ValueError(f"weight_rule ratio needs an adversarial gradient; given generator {self.generator}")
        if self.score == "empirical" and self.training_samples is None:
            raise ValueError("score empirical is that of training_samples, whose number must be given; given None")
        if self.conditional and self.training_samples is not None:
            raise ValueError(f"conditional needs fresh samples of each class; given {self.training_samples} in all")
        if self.conditional and self.term == "matching":
            raise ValueError("conditional needs the score of each class; term matching learns that of all samples")
        if self.conditional and is_own(self.score):
            raise ValueError(f"conditional needs the score of each class; given score {label(self.score)}, one for all")
        if not self.game:
            self.check_without_game()
        if self.weight_rule == "budget":
            self.check_budget()
            for name in self.arms:
                given = self.arm(name).weight
                if not 0 <= given < 1:
                    option = f"{field_of(name)}.weight"
                    raise ValueError(f"{option} is a total variation in [0, 1) under budget; given {given}")

    def check_without_game(self) -> None:
        """ValueError where an option needs the adversarial gradient that is not there."""
        possible = {"generator": ("gan",), "arms": (("summed",),), "weight_rule": ("fixed", "annealed"), "every": (1,)}
        for name, choices in possible.items():
            given = "gan" if name == "generator" and self.adversarial else getattr(self, name)
            if given not in choices:
                wanted, given = (" ".join(x) if isinstance(x, tuple) else x for x in (choices[0], given))
                raise ValueError(f"without a game, {name} must be {wanted}; given {given}")

    def check_budget(self) -> None:
        """ValueError where the bias is not that of claim E3, so that no lambda follows from it."""
        predicted = {
            "generator": ("gan",),
            "conditional": (False,),
            "game": (True,),
            "loss": ("saturating", "non-saturating"),
            "term": ("full",),
            "weighting": ("eps",),
            "anneal": (1.0,),
            "training_samples": (None,),
        }
        for name, choices in predicted.items():
            given = "gan" if name == "generator" and self.adversarial else getattr(self, name)
            if given not in choices:
                wanted = " or ".join(map(str, choices))
                raise ValueError(f"weight_rule budget needs {name} {wanted}; given {given}")
        if is_own(self.manifold):
            raise ValueError(f"weight_rule budget needs a manifold of the list; given {label(self.manifold)}")

    def without_effect(self) -> dict[str, str]:
        """Option -> why it decides nothing beside the others; an arm's is written arm.option."""
        found: dict[str, str] = {}
        if not self.adversarial or not self.game:
            adversarial = [
                "loss",
                "regulariser",
                "gamma",
                "regulariser_every",
                "regulariser_step",
                "d_steps",
                "d_ahead",
                "d_lr",
            ]
            adversarial += ["start"] if not self.adversarial else []
            adversarial += [f"{field_of(name)}.{option}" for name in ARMS for option in ("d_lr", "gamma")]
            trained = f"generator {self.generator} is trained without a discriminator"
            found |= dict.fromkeys(adversarial, trained if not self.adversarial else "there is no game")
        if is_own(self.generator):
            found["start"] = "a generator of your own starts as it is made"
        if self.generator == "flow":
            found["latent"] = "a flow's z has the dimension of its samples"
        for name in ARMS:
            if name not in self.arms:
                found[field_of(name)] = f"{name} is not among the arms"
        if "own-step" not in self.arms:
            found["corrected"] = "own-step is not among the arms"
        if not any(name in DECOUPLED for name in self.arms):
            found |= dict.fromkeys(("momentum", "clip", "equal_length"), "no arm is decoupled")
        if self.optimizer == "sgd":
            found["clip"] = "sgd has no second moment to divide by"
        if self.every == 1:
            found["scale_by_every"] = "the score term acts at every step"
        if self.regulariser in ("none", "spectral"):
            strengths = ("gamma", *(f"{field_of(name)}.gamma" for name in ARMS))
            found |= dict.fromkeys(strengths, f"regulariser {self.regulariser} has no strength")
        if self.regulariser not in PENALISED and not is_own(self.regulariser):
            lazy = ("regulariser_every", "regulariser_step")
            found |= dict.fromkeys(lazy, f"regulariser {self.regulariser} has no penalty")
        if self.score != "learned":
            found["score_steps"] = f"score {self.score} is not trained"
        if self.score != "perturbed":
            found["score_error"] = f"score {self.score} is not perturbed"
        return found

    @property
    def adversarial(self) -> bool:
        """Whether the generator is one of a GAN: ours, or the user's."""
        return self.generator == "gan" or is_own(self.generator)

    def arm(self, name: str) -> Arm:
        """The options of an arm."""
        return getattr(self, field_of(name))

    def settings(self, name: str, rows: int, given: Sequence[Arm] | None) -> tuple[Arm, ...]:
        """The setting of each row of a stack: those given; without any, the arm's own for all.

        Raises:
            ValueError: they are not as many as the rows; or of own-step some have a score term and others none, whose
                second step would be Adam's on a gradient of 0.
        """
        found = (self.arm(name),) * rows if given is None else tuple(given)
        if len(found) != rows:
            raise ValueError(f"settings must be one for each of {rows} rows; given {len(found)}")
        if name in OWN_STEP and len({setting.weight > 0 for setting in found}) > 1:
            weights = sorted({setting.weight for setting in found})
            raise ValueError(f"weights of {name} in one stack must be all positive or all 0; given {weights}")
        return found

    def with_arm(self, name: str, arm: Arm) -> Config:
        """This configuration with other options for one arm."""
        changes: dict[str, Any] = {field_of(name): arm}
        return dataclasses.replace(self, **changes)

    def seed_groups(self) -> list[tuple[int, ...]]:
        """The seeds in stacks of FEWEST / width or, up to MOST / width, half of them, whatever the number of
        processes."""
        seeds, half = range(self.first_seed, self.first_seed + self.seeds), -(-self.seeds // 2)
        size = max(1, min(MOST // self.width, max(FEWEST // self.width, half)))
        return [tuple(seeds[i : i + size]) for i in range(0, self.seeds, size)]


def field_of(arm: str) -> str:
    """The name of the field of `Config` that holds an arm's options."""
    return arm.replace("-", "_")


def checked_arms(name: str, value: Any) -> tuple[str, ...]:
    """The arms, each by its name.

    Raises:
        ValueError: there are none, one is there twice, or is unknown.
    """
    if isinstance(value, str) or not isinstance(value, (tuple, list)):
        raise ValueError(f"{name} must be a tuple of names; given {told(value)}")
    arms = tuple(choose(arm, ARMS, "arm") for arm in value)
    if not arms or len(set(arms)) < len(arms):
        raise ValueError(f"{name} must name one or more different arms of {', '.join(ARMS)}; given {told(value)}")
    return arms


def checked_arm(name: str, arm: Any) -> Arm:
    """The options of the arm of this name.

    Raises:
        ValueError: they are no Arm, or one is out of range or has no place in this arm.
    """
    if not isinstance(arm, Arm):
        raise ValueError(f"{name} must be an Arm(lr, weight, bound); given {told(arm)}")
    lr, weight = positive(f"{name}.lr", arm.lr), at_least(f"{name}.weight", arm.weight, 0)
    bound = None if arm.bound is None else positive(f"{name}.bound", arm.bound)
    d_lr = None if arm.d_lr is None else positive(f"{name}.d_lr", arm.d_lr)
    gamma = None if arm.gamma is None else at_least(f"{name}.gamma", arm.gamma, 0)
    if name == "gan" and (weight or bound is not None):
        option, value = ("weight", arm.weight) if weight else ("bound", arm.bound)
        raise ValueError(f"gan is the arm without a score term, it takes no {option}; given gan.{option} {value}")
    if name == "bounded" and bound is None:
        raise ValueError("bounded.bound must be a number: without a bound the arm is decoupled; given None")
    return Arm(lr, weight, bound, d_lr, gamma)


def one_of(choices: Iterable[str]) -> Callable[[str, Any], str]:
    """A check: value is one of the choices."""
    return lambda name, value: choose(value, choices, name)


def one_of_or_own(choices: Iterable[str], kinds: Iterable[str] = ("py",)) -> Callable[[str, Any], str]:
    """A check: value is one of the choices, or an own part of one of these kinds."""
    return lambda name, value: choose_or_own(name, value, choices, kinds)


def at_least_(least: float, check: Callable[..., Any]) -> Callable[[str, Any], Any]:
    """A check: value is a number of at least that."""
    return lambda name, value: check(name, value, least)


def count_(most: int) -> Callable[[str, Any], int]:
    """A check: value is a whole number from 1 to that."""
    return lambda name, value: whole(name, value, 1, most)


CHOICES: dict[str, Iterable[str]] = {
    "generator": GENERATORS,
    "score": SCORES,
    "loss": LOSSES,
    "regulariser": REGULARISERS,
    "regulariser_step": PENALTY_STEPS,
    "optimizer": OPTIMIZERS,
    "term": TERMS,
    "weighting": WEIGHTINGS,
    "weight_rule": WEIGHT_RULES,
}
OWNED = ("generator", "score", "loss", "regulariser")  # may be an object of a file of the user's
COUNTS = (
    "seeds",
    "steps",
    "d_steps",
    "batch",
    "width",
    "layers",
    "latent",
    "every",
    "eval_every",
    "score_steps",
    "regulariser_every",
)
MOST_POINTS = 4096  # of an empirical score, a sum over all of them
LARGEST = {"seeds": 10**5, "dim": 10**5, "width": 10**5, "layers": 1000, "d_steps": 10**4}
"""Beyond these a mistake is likelier than a machine that can hold it."""
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "manifold": one_of_or_own(MANIFOLDS, (*TABLES, "py")),
    **{name: (one_of_or_own if name in OWNED else one_of)(choices) for name, choices in CHOICES.items()},
    "arms": checked_arms,
    "device": lambda name, value: choose("cuda" if value == "gpu" else value, DEVICES, name),
    **dict.fromkeys(("conditional", "game", "scale_by_every", "corrected", "equal_length"), flag),
    **{name: count_(LARGEST.get(name, 2**31 - 1)) for name in (*COUNTS, "dim")},
    "samples": lambda name, value: whole(name, value, 2, 2**31 - 1),
    "training_samples": lambda name, value: whole(name, value, 2, MOST_POINTS),
    **dict.fromkeys(("first_seed", "d_ahead", "warm_up"), at_least_(0, whole)),
    **dict.fromkeys(("thickness", "gamma", "start", "score_error"), at_least_(0, at_least)),
    **dict.fromkeys(("low", "high", "clip", "max_norm", "d_lr"), positive),
    "anneal": lambda name, value: at_least(name, value, 1),
    **dict.fromkeys(("beta1", "beta2", "momentum", "ema"), share),
}
"""Option -> its check, for all but the arms'."""
OPTIONAL = ("dim", "max_norm", "d_lr", "training_samples")  # may be None
ADDED = {"device": "cpu", "training_samples": None, "anneal": 1.0}
"""Options that a configuration on disk names only where they are not as here."""


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as config.json and the checkpoint hold it; what is in ADDED is named where it differs."""
    found = json.loads(json.dumps(dataclasses.asdict(config)))
    return {name: value for name, value in found.items() if name not in ADDED or value != ADDED[name]}


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


PRESETS = {
    # ring in the plane, a strong discriminator trained ahead, generator started off the manifold: the game saturates.
    # Lr and lambda of gan, summed, decoupled: `toy.search default`; bounded's are decoupled's, the others' summed's
    "saturated": Config(),
    # R^16, a regularised discriminator, every arm at its best of everything: `toy.search core`, the cell space, x1
    "healthy": Config(
        dim=16,
        loss="non-saturating",
        regulariser="r1",
        steps=1000,
        d_steps=1,
        d_ahead=0,
        d_lr=None,
        start=0.0,
        batch=64,
        width=32,
        gan=Arm(lr=0.009817, d_lr=0.0113, gamma=0.008465),
        summed=Arm(0.01154, 0.02522, None, 0.005317, 0.0042),
        own_step=Arm(0.009745, 0.001344, None, 0.008971, 0.1011),
        two_adams=Arm(0.005992, 0.02797, None, 0.01489, 0.0398),
        decoupled=Arm(0.009776, 0.0007908, None, 0.01492, 0.04933),
        bounded=Arm(0.006029, 2.174e-9, BOUND, 0.006182, 0.0),
    ),
}
# The same with the term at every 8th step: `toy.search lazy`; what it does not search is as in healthy
PRESETS["lazy"] = dataclasses.replace(
    PRESETS["healthy"],
    every=8,
    gan=Arm(lr=0.006484, d_lr=0.008933, gamma=0.009954),
    summed=Arm(0.01046, 0.0006504, None, 0.01745, 0.003203),
    own_step=Arm(0.009187, 7.739e-05, None, 0.009349, 0.007619),
    decoupled=Arm(0.007237, 2.75e-05, None, 0.007819, 0.005764),
)
