"""The experiments of the search: each a question, and the cells that answer it.

Networks are half as wide as those of `toy.run`. Four games recur:

    SATURATED   the ring in the plane, minimax; D trained ahead, learning four times as fast as in `toy.run`, and the
                generator started off the manifold: the game saturates
    SPACE       the ring in R^16, non-saturating, R1: a healthy game
    MODES       eight narrow modes, non-saturating, R1

Where the discriminator's side is tuned too, its learning rate and gamma, 0 included, are searched with R1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from toy.config import Config
from toy.search.design import JUDGED, Arm, Cell, Experiment
from toy.sweep.experiments import HEALTHY, INTERVALS, MODES, SATURATED, SPACE

replace = dataclasses.replace

GAMES = {"saturated": SATURATED, "space": SPACE, "modes": MODES}
OTHERS = {name: replace(HEALTHY, manifold=name) for name in ("torus", "grid")}  # a surface in R^4; 25 modes

COUPLINGS = [Arm("gan"), Arm("summed"), Arm("own-step"), Arm("two-adams"), Arm("decoupled"), Arm("bounded")]
FEW = ("gan", "summed", "own-step", "decoupled")


def tuned(name: str, config: Config, arms: Sequence[Arm], **keys: object) -> Cell:
    """A cell whose arms search the discriminator's side too: with R1 where the game has no regulariser."""
    regulariser = "r1" if config.regulariser == "none" else config.regulariser
    return Cell(name, {"game": name, **keys}, replace(config, regulariser=regulariser), arms)


def core() -> list[Cell]:
    cells = [tuned(name, config, COUPLINGS) for name, config in GAMES.items()]
    given = [Cell(f"{name}, D given", {"game": name}, config, COUPLINGS, tuned=False) for name, config in GAMES.items()]
    return cells + given


def game() -> list[Cell]:
    """With the game and without, at three bands of noise and on one that comes down from the highest to the lowest; and
    distribution matching on all three together.

    Without it lambda is not searched: the term's gradient is the only one, and Adam's step does not see its scale.
    """
    cells, alone = [], {"game": False, "weight": 1.0}
    for name, config in (GAMES | OTHERS).items():
        arms = [Arm("gan"), Arm("decoupled")]
        bands: list[dict[str, float]] = [{"low": a, "high": b} for a, b in ((0.05, 0.15), (0.15, 0.5), (0.5, 1.5))]
        bands.append({"low": 0.05, "high": 0.15, "anneal": 10.0})
        for band in bands:
            arms += [Arm("summed", {"term": term, **alone, **band}) for term in ("matching", "detached", "full")]
            arms += [Arm("decoupled", {"term": "matching", **band})]
        arms.append(Arm("summed", {"term": "matching", **alone, "low": 0.05, "high": 1.5}))
        cells.append(tuned(name, config, arms))
    return cells


def lazy() -> list[Cell]:
    """Every k-th step: the paper's sum, the authors' own step with and without correction and factor, and ours.

    An Adam of its own is left out: it does not see lambda, whose range then has no best value.
    """
    arms = [Arm("gan")]
    for k in (1, 4, 8, 16, 32):
        arms += [Arm(coupling, {"every": k}) for coupling in ("summed", "own-step", "decoupled")]
        if k > 1:
            arms.append(Arm("own-step", {"every": k, "corrected": True}))
    arms.append(Arm("own-step", {"every": 8, "scale_by_every": False}))
    return [tuned("space", SPACE, arms), tuned("saturated", SATURATED, arms)]


def automatic() -> list[Cell]:
    """A rule for lambda with one number for all cells, against the tuned lambda."""
    arms = [Arm("gan"), Arm("summed")]
    arms += [Arm("summed", {"weight_rule": "ratio", "weight": share}) for share in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)]
    arms += [Arm("summed", {"weight_rule": "annealed"})]
    arms += [Arm("summed", {"weight_rule": "budget", "weight": tv}) for tv in (0.01, 0.05)]
    return [tuned(name, config, arms) for name, config in GAMES.items()]


def band() -> list[Cell]:
    """The interval of the term's noise, from far below what claims C6 and I2 allow to far above."""
    arms = [Arm("gan"), *(Arm("summed", {"low": low, "high": high}) for low, high in ((0.005, 0.01), *INTERVALS))]
    return [tuned(name, config, arms) for name, config in GAMES.items()]


def width() -> list[Cell]:
    """Networks two and four times as wide."""
    arms = [Arm(name) for name in FEW]
    wider = [(name, width) for width in (64, 128) for name in GAMES]
    return [tuned(f"{name}, width {w}", replace(GAMES[name], width=w), arms, width=w) for name, w in wider]


def finite() -> list[Cell]:
    """So many training samples for D and the score: exact for the samples alone, learned from them, and that of the
    distribution, which only an ideal diffusion model has."""
    arms = [Arm("gan"), *(Arm("summed", {"score": score}) for score in ("analytic", "empirical", "learned"))]
    sizes = {n: replace(SPACE, training_samples=n) for n in (64, 256, 1024)}
    return [tuned(f"{n} samples", config, arms, training_samples=n) for n, config in sizes.items()]


def stabilisers() -> list[Cell]:
    """What else keeps D's gradient alive, at its own best strength, with the term and without: nothing, R1, noise that
    fades on D's input, and noise that D is told (Diffusion-GAN)."""
    regularisers = ("none", "instance-noise", "diffusion")
    arms = [Arm("gan"), Arm("summed")]
    arms += [Arm(coupling, {"regulariser": name}) for name in regularisers for coupling in ("gan", "summed")]
    return [tuned(name, config, arms) for name, config in GAMES.items()]


def default() -> list[Cell]:
    """The game of `toy.run` as it is given without options, whose discriminator is too strong, at its own width."""
    return [Cell("default", {"game": "default"}, Config(samples=1024), [Arm(name) for name in Config().arms], False)]


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "core", "Does the term help, in a given game and after all tuning? Speed or limit?", core, fewer={10: FEW}
        ),
        Experiment(
            "game", "Is the game needed? Matching, distillation and the term, with it and without", game, (1, 3)
        ),
        Experiment("lazy", "What does every k-th step cost, by coupling?", lazy, (1, 3)),
        Experiment("automatic", "Which rule for lambda loses least against the tuned one?", automatic, (1, 3)),
        Experiment("band", "Which band of noise is best, with everything else tuned?", band, (1,)),
        Experiment("width", "Does the term help wider networks?", width, (1,)),
        Experiment(
            "finite",
            "What does a score of N samples do, and does it copy them?",
            finite,
            (1,),
            JUDGED | {"copies": "lower"},
        ),
        Experiment("stabilisers", "Is the term needed beside R1, noise, and a D that is told it?", stabilisers, (1,)),
        Experiment("default", "Which settings has `toy.run`, in its own game?", default, (1,)),
    )
}
