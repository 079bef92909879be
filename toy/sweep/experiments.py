"""The experiments: each a question, and the cells that answer it.

Four regimes recur. Networks are half as wide as those of `toy.run`, so that every arm can be tuned in every cell.

    PLANE       the ring in the plane, minimax; the discriminator trained ahead, the generator started off the manifold
    SATURATED   the same with a discriminator that learns four times as fast: the game saturates
    SPACE       the ring in R^16, non-saturating, R1: a healthy game
    MODES       eight narrow modes, non-saturating, R1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from toy.config import BOUND, LOSSES, REGULARISERS, Config
from toy.sweep.design import Arm, Cell, Experiment

replace = dataclasses.replace

RATES = (1e-3, 4e-3, 1.6e-2)
SGD_RATES = (0.03, 0.1, 0.3)
WEIGHTS = (0.003, 0.03)

PLANE = Config(width=32, batch=64, samples=1024, steps=1000, d_ahead=1000)
SATURATED = replace(PLANE, d_lr=4e-3)
HEALTHY = replace(PLANE, loss="non-saturating", regulariser="r1", d_steps=1, d_ahead=0, d_lr=None, start=0.0)
SPACE = replace(HEALTHY, dim=16)
MODES = replace(HEALTHY, manifold="8-ring")
REGIMES = {"saturated": SATURATED, "plane": PLANE, "space": SPACE, "modes": MODES}


def arm(coupling: str, rates: Sequence[float] = RATES, **overrides: Any) -> Arm:
    return Arm(coupling, overrides, (0.0,) if coupling == "gan" else WEIGHTS, rates)


def scored(**overrides: Any) -> list[Arm]:
    """The paper's coupling and the recommended one."""
    return [arm("summed", **overrides), arm("bounded", **overrides)]


def short(quick: bool, cells: Sequence[Cell], kept: int = 2) -> list[Cell]:
    """The cells; of a quick sweep the first `kept`, with few steps and one setting an arm."""
    if not quick:
        return list(cells)
    small = {"steps": 60, "d_ahead": 50, "samples": 256, "score_steps": 50}
    quicker = []
    for cell in cells[:kept]:
        config = replace(cell.config, **{**small, "d_ahead": min(50, cell.config.d_ahead)})
        arms = [
            replace(a, rates=a.rates[:1], weights=a.weights[:1], overrides=shortened(a.overrides)) for a in cell.arms
        ]
        quicker.append(replace(cell, config=config, arms=arms))
    return quicker


def shortened(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a tenth of the steps of a warm-up and of a score's training, for a quick sweep."""
    return {name: max(1, v // 10) if name in ("warm_up", "score_steps") else v for name, v in overrides.items()}


def frequency(quick: bool) -> list[Cell]:
    adam = [arm("gan"), *(one for k in (1, 2, 4, 8, 16) for one in scored(every=k))]
    adam.append(arm("summed", every=8, scale_by_every=False))
    sgd = [arm("gan", SGD_RATES), *(arm("summed", SGD_RATES, every=k) for k in (1, 2))]
    return short(
        quick,
        [
            Cell("Adam", {"optimizer": "adam"}, SPACE, adam),
            Cell("SGD", {"optimizer": "sgd"}, replace(SPACE, d_lr=4e-3, optimizer="sgd"), sgd),
        ],
    )


INTERVALS = ((0.01, 0.03), (0.03, 0.1), (0.1, 0.3), (0.3, 0.55), (0.55, 0.75), (0.75, 1.5))


def interval(quick: bool) -> list[Cell]:
    arms = [arm("gan"), *(one for low, high in INTERVALS for one in scored(low=low, high=high))]
    return short(quick, [Cell("space", {"regime": "space"}, SPACE, arms)])


def beyond_gan(quick: bool) -> list[Cell]:
    cells = []
    for kind in ("vae", "flow"):
        for law in ("ring", "8-ring", "two-moons"):
            config = replace(HEALTHY, generator=kind, manifold=law)
            arms = [arm("gan"), arm("summed"), arm("decoupled")]
            cells.append(Cell(f"{kind}, {law}", {"generator": kind, "manifold": law}, config, arms))
    return short(quick, [cells[0], cells[3], *cells[1:3], *cells[4:]])


def non_manifold(quick: bool) -> list[Cell]:
    laws = {"box": {}, "checkerboard": {}, "ring": {"thickness": 0.1}, "points": {}}
    return short(
        quick,
        [
            Cell(
                f"{law}{' thickened' if more else ''}",
                {"manifold": law},
                replace(HEALTHY, manifold=law, **more),
                [arm("gan"), *scored()],
            )
            for law, more in laws.items()
        ],
    )


GAMMA = {"instance-noise": 0.2}


def regularizers(quick: bool) -> list[Cell]:
    arms = []
    for regulariser in (name for name in REGULARISERS if name != "diffusion"):  # which is not measured yet
        options: dict[str, Any] = {"regulariser": regulariser, "gamma": GAMMA.get(regulariser, 1.0)}
        arms += [arm("gan", **options), *scored(**options)]
    return short(quick, [Cell("saturated", {"regime": "saturated"}, SATURATED, arms)])


def score_quality(quick: bool) -> list[Cell]:
    arms = [arm("gan"), *scored()]
    for steps in (100, 400, 1600):
        arms += scored(score="learned", score_steps=steps)
    for error in (0.1, 0.3, 1.0):
        arms += scored(score="perturbed", score_error=error)
    return short(quick, [Cell("space", {"regime": "space"}, SPACE, arms)])


def lambda_(quick: bool) -> list[Cell]:
    cells = []
    for loss in ("saturating", "non-saturating"):
        config = replace(HEALTHY, manifold="mixed", loss=loss)
        arms = [arm("gan"), *(one for weight in (0.01, 0.03, 0.1, 0.3, 1.0) for one in scored(weight=weight))]
        cells.append(Cell(loss, {"loss": loss}, config, arms))
    return short(quick, cells)


def dimension(quick: bool) -> list[Cell]:
    return short(
        quick,
        [
            Cell(f"R^{dim}", {"dim": dim}, replace(SPACE, dim=dim), [arm("gan"), *scored()])
            for dim in (2, 4, 8, 16, 32, 64)
        ],
    )


def modes(quick: bool) -> list[Cell]:
    cells = []
    for law in ("8-ring", "points", "grid", "two-moons", "weighted"):
        arms = [arm("gan"), *scored(), arm("bounded", term="matching")]
        cells.append(Cell(law, {"manifold": law, "conditional": False}, replace(MODES, manifold=law), arms))
    known = replace(MODES, conditional=True)
    cells.append(
        Cell("8-ring, conditional", {"manifold": "8-ring", "conditional": True}, known, [arm("gan"), *scored()])
    )
    return short(quick, cells)


def healthy(quick: bool) -> list[Cell]:
    cells = []
    for loss in LOSSES:
        for regulariser in ("none", "r1", "spectral"):
            if loss == "wasserstein" and regulariser == "none":
                regulariser = "gradient-penalty"  # without a bound on its slope this game has no value
            keys = {"loss": loss, "regulariser": regulariser}
            cells.append(Cell(f"{loss}, {regulariser}", keys, replace(SPACE, **keys), [arm("gan"), *scored()]))
    return short(quick, cells)


def decoupling(quick: bool) -> list[Cell]:
    cells = []
    for name, config in REGIMES.items():
        arms = [
            arm("gan"),
            arm("summed"),
            arm("summed", max_norm=1.0),
            arm("summed", beta2=0.9),
            arm("summed", beta2=0.999),
            arm("decoupled"),
            arm("decoupled", momentum=0.0),
            arm("decoupled", equal_length=True),
            arm("decoupled", warm_up=500),
            arm("summed", bound=BOUND),
            arm("bounded"),
        ]
        cells.append(Cell(name, {"regime": name}, config, arms))
    return short(quick, cells)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("decoupling", "Is it decoupling that helps, or step length, clipping, beta2? (L3)", decoupling),
        Experiment("healthy", "Does the term help where the game is healthy? Losses by regularisers", healthy),
        Experiment(
            "regularizers",
            "What is left for it once the discriminator is regularised? (NC2)",
            regularizers,
            baseline={"arm": "gan", "regulariser": "none"},
        ),
        Experiment("dimension", "How does it depend on the dimension of the space?", dimension),
        Experiment("frequency", "How often must the term act? Adam and SGD (OQ1, L1, L2)", frequency),
        Experiment("interval", "At which noise? (OQ2, I1 to I3)", interval),
        Experiment("modes", "What does it do to disconnected supports? (P4)", modes),
        Experiment("non-manifold", "And to data that fill the space, or are points? (NC1)", non_manifold),
        Experiment("score-quality", "How good must the score be? Learned and perturbed (NC3, P6)", score_quality),
        Experiment("beyond-gan", "Does it help VAEs and normalizing flows? (OQ3)", beyond_gan),
        Experiment(
            "lambda",
            "What does it cost? Measured bias against the predicted one (E2, E3)",
            lambda_,
            {"mean_distance": "lower", "bias": "lower", "total_variation": "lower"},
            measure="toy.sweep.predicted:shares",
        ),
    )
}
