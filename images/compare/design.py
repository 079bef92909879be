"""What is searched and compared: the cells, their arms, the settings that each arm tries, and what a run of them costs.

Every arm of a cell tries TRIALS settings on one tuning seed, the first points of one Sobol sequence: those of different
arms share the learning rates. At each of RUNGS the worse half is stopped (successive halving: Jamieson and Talwalkar
2016). The best is trained on SEEDS fresh seeds; in the shortest runs so is the plain GAN, at the rates and gamma that
an arm with the term chose: what the term does at that setting. No torch here.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import qmc

from images.recipes import RECIPES, Recipe

NAMES = ("fashion", "fashion-biggan", "cifar10-small", "stacked-mnist")
ARMS = ("gan", "summed", "own-step", "decoupled")
"""The first is the one that the others are compared with."""
WITHOUT = "without"
"""The runs of the plain GAN at the settings of the others."""
STEPS, LENGTHS = 720, (1, 3)
"""Generator steps of the shortest runs, and lengths in multiples of them."""
TRIALS, RUNGS = 12, (0.25, 0.5)
TUNING, SEEDS = 1000, 10
"""The seed of the searches, and how many fresh ones, from 0: with 10 an exact sign-flip test of 24 rows can decide."""
SELECTED = "frechet_train"
"""A search takes the least of it at the end."""
JUDGED = {"frechet_test": "lower", "coverage": "higher"}
"""Metrics with a verdict -> which way is better."""
GAMES = ("saturated", "healthy")
RANGES = {"lr": (3e-4, 1e-2), "d_lr": (3e-4, 1e-2), "gamma": (1e-2, 1e1), "weight": (1e-3, 1e1)}
"""Option -> the ends between which it is searched, by logarithms."""
EDGE = 0.1  # of a range, at either end: a best value there says that the range was too small
SECONDS = {"gan": 0.094, "summed": 0.116, "own-step": 0.116, "decoupled": 0.116}
"""Of a step of `fashion`, until runs have told their own: mean of both games over 16 steps each on one core of a busy
machine (0.082; with a term 0.104), and 0.012 for the evaluations, which is an estimate."""


@dataclass(frozen=True)
class Cell:
    """A game at a length."""

    game: str
    times: int

    @property
    def name(self) -> str:
        return f"{self.game}, x{self.times}"

    @property
    def steps(self) -> int:
        return STEPS * self.times

    def options(self, arm: str) -> list[str]:
        """What an arm searches here."""
        without = {"gamma"} if self.game == "saturated" else set()
        without |= {"weight"} if arm == ARMS[0] else set()
        return [name for name in RANGES if name not in without]

    def recipe(self, base: Recipe, arm: str, values: dict[str, float]) -> Recipe:
        """The recipe of one run: constant learning rates and gamma, evaluated at the rungs and at the end."""
        healthy = self.game == "healthy"
        gamma = values.get("gamma", 0.0)
        images = self.steps * base.images_a_step
        return dataclasses.replace(
            base,
            couplings=(arm,), images=images, burn_in=images, lr=(values["lr"],) * 2, rates=(1.0,) * 6,
            d_rate=values["d_lr"] / values["lr"], gamma=(gamma,) * 2, penalty="r1+r2" if healthy else "none",
            loss=base.loss if healthy or base.loss == "hinge" else "non-saturating",
            weight=values.get("weight", 0.0), decoupled_weight=values.get("weight", 0.0),
            evaluate_every=self.steps // 4, save_every=self.steps // 4,
        )  # fmt: skip


CELLS = tuple(Cell(game, times) for times, game in product(LENGTHS, GAMES))


def trials(cell: Cell, arm: str, base: Recipe) -> list[dict[str, float]]:
    """The settings that an arm tries. The first has the recipe's lambda, the paper's for CIFAR10, if it has one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # TRIALS is no power of 2
        points = qmc.Sobol(len(RANGES), rng=np.random.default_rng(0)).random(TRIALS)
    found = []
    for point in points:
        places = dict(zip(RANGES, point.tolist(), strict=True))
        found.append({name: value(name, places[name]) for name in cell.options(arm)})
    if "weight" in found[0]:
        found[0]["weight"] = base.weight
    return found


def value(name: str, place: float) -> float:
    """The value at a place of a range, 0 its lower end and 1 its upper one."""
    low, high = RANGES[name]
    return low * (high / low) ** place


def edges(values: dict[str, float]) -> list[str]:
    """The options whose value lies at an edge of its range."""
    at = {name: np.log(x / RANGES[name][0]) / np.log(RANGES[name][1] / RANGES[name][0]) for name, x in values.items()}
    return [name for name, place in at.items() if not EDGE <= place <= 1 - EDGE]


def kept(numbers: dict[int, float]) -> list[int]:
    """Of these trials the better half, the best first; inf: it diverged."""
    ranked = sorted(numbers, key=lambda trial: (numbers[trial], trial))
    return ranked[: -(-len(ranked) // 2)]


def planned_steps(cell: Cell) -> dict[str, int]:
    """Steps of an arm's search and of its comparison."""
    left, before, total = TRIALS, 0.0, 0
    for share in (*RUNGS, 1.0):
        total += left * round((share - before) * cell.steps)
        left, before = -(-left // 2), share
    return {"search": total, "comparison": SEEDS * cell.steps}


def base_of(name: str) -> Recipe:
    """The recipe that a comparison varies."""
    return RECIPES[name]
