"""What a run says of itself: of each seed one word, from its last evaluations, the two gradients and the floor.

In this order, the first that holds:

    diverged   a value is not finite or missing at the end, or sliced W2 is FAR times that of the start
    converged  KL of the noised laws is within CLOSE nats of that of real samples
    saturated  more than OFF of the samples are off the manifold, and the game's loss is flat there: the adversarial
               gradient times the distance, which is the change of the loss on the way to M to first order, is less
               than FLAT nats (medians over samples)
    moving     sliced W2 above its floor fell by more than MOVING of itself in the last quarter of the run
    collapsed  total variation exceeds that of real samples by more than LOST: so much mass is in the wrong cells
    resting    none of these: it stays, at another law than the real one

CLOSE: by Pinsker's inequality TV <= sqrt(KL / 2), and a mean of KL of 0.08 bounds the root mean square of the total
variations of the noised laws by 0.2. LOST: half of the mass. FLAT: beside the log 2 = 0.69 nats by which the loss of an
undecided discriminator differs from 0. A game whose loss has other units (Wasserstein) is not flat by this measure.
Learning rates decay to 0: what is moving at the end has had too few steps, and what rests may do so for that alone.
No torch here, but for `floors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from toy.config import Config

FLOOR_SEEDS = 4  # real samples of which the floor is the mean
FAR, CLOSE, OFF, FLAT, MOVING, LOST = 3.0, 0.08, 0.5, 0.01, 0.1, 0.5
SAID = {
    "diverged": "went away from the real distribution, or has a value that is not finite",
    "converged": "as near to the real distribution as real samples are, but for 0.08 nats",
    "saturated": "off the manifold, where the game's loss is flat",
    "moving": "still getting better when the run ended",
    "collapsed": "has lost more than half of the mass",
    "resting": "comes to rest at another distribution",
}
WORDS = tuple(SAID)  # of two words of equally many seeds an arm has the first
NEEDED = ("kl", "off_manifold", "distance_median", "total_variation", "sliced_w2")
NUMBERS = (*NEEDED, "coverage_on", "total_variation_on", "adversarial_gradient", "score_gradient", "gradient_cosine")

Floor = Mapping[str, Mapping[str, float]]  # metric -> mean and std over real samples
Outcome = dict[str, Any]


def floors(config: Config) -> dict[str, dict[str, float]]:
    """{mean, std} of every metric of real samples, as many as the run evaluates; takes a second, and imports torch."""
    from theory.common.seeds import one_thread
    from toy.laws import law_of, training_set
    from toy.metrics import copies, floor, real_samples

    with one_thread():
        law = law_of(config)
        found = floor(law, config.samples, FLOOR_SEEDS)
        if config.training_samples is not None:
            fresh = real_samples(law, config.samples, FLOOR_SEEDS)
            found = found | {"copies": copies(fresh, training_set(config))}
    return {
        name: {"mean": values.double().mean().item(), "std": values.double().std().item()}
        for name, values in found.items()
        if values.isfinite().all()
    }


def outcomes(table: pd.DataFrame, floor: Floor) -> dict[str, Outcome]:
    """Of each arm {word, shares, numbers}: the word of most seeds, each word's share, means over seeds at the end.

    `flatness` among the numbers is the median adversarial gradient times the median distance. A number that a seed does
    not have, or that the kind of generator has not, is None.

    Args:
        table: tidy, as metrics.csv: arm, seed, step, metric, value.
    """
    steps = int(table.step.max())
    return {str(arm): _of_arm(rows, steps, floor) for arm, rows in table.groupby("arm", sort=False)}


def word(history: pd.DataFrame, steps: int, floor: Floor) -> str:
    """The word of one seed.

    Args:
        history: a row a step, in order, a column a metric.
        steps: the last step of the run.
    """
    end = history.loc[steps] if steps in history.index else pd.Series(dtype=float)
    if not all(math.isfinite(end.get(name, math.nan)) for name in NEEDED):
        return "diverged"
    moved = history.sliced_w2
    if end.sliced_w2 > FAR * moved.iloc[0]:
        return "diverged"
    if end.kl - floor["kl"]["mean"] <= CLOSE:
        return "converged"
    if end.off_manifold > OFF and flatness(end) < FLAT:
        return "saturated"
    before = moved[moved.index <= 0.75 * steps].iloc[-1]
    if before - end.sliced_w2 > MOVING * max(0.0, before - floor["sliced_w2"]["mean"]):
        return "moving"
    if end.total_variation - floor["total_variation"]["mean"] > LOST:
        return "collapsed"
    return "resting"


def flatness(end: pd.Series) -> float:
    """The loss's change on the way to M, in nats, to first order; NaN of a generator without a discriminator."""
    return float(end.get("adversarial_gradient", math.nan) * end.distance_median)


def sentence(arm: str, outcome: Outcome, floor: Floor) -> str:
    """'gan: saturated: off the manifold, where the game's loss is flat. KL 35 (real samples 0.0078), 88% off ...'"""
    numbers, shares = outcome["numbers"], outcome["shares"]
    found = [f"{name} {share:.0%}" for name, share in shares.items() if share]
    parts = [f"{arm}: {outcome['word']}" + (f" ({', '.join(found)})" if len(found) > 1 else "")]
    parts[0] += f": {SAID[outcome['word']]}."
    measured = {
        f"KL {{:.2g}} (real samples {floor['kl']['mean']:.2g})": numbers["kl"],
        "{:.0%} off the manifold": numbers["off_manifold"],
        f"total variation {{:.2g}} (real samples {floor['total_variation']['mean']:.2g})": numbers["total_variation"],
        "loss changes by {:.1g} nats on the way to it": numbers["flatness"],
        "the two gradients have a cosine of {:.2f}": numbers["gradient_cosine"],
    }
    told = [text.format(value) for text, value in measured.items() if value is not None]
    return " ".join([*parts, f"{', '.join(told)}." if told else ""]).strip()


def _of_arm(rows: pd.DataFrame, steps: int, floor: Floor) -> Outcome:
    histories = [_history(own) for _, own in rows.groupby("seed")]
    words = [word(history, steps, floor) for history in histories]
    shares = {name: words.count(name) / len(words) for name in WORDS}
    ends = pd.DataFrame([history.loc[steps] for history in histories if steps in history.index])
    ends["flatness"] = [flatness(end) for _, end in ends.iterrows()] if "distance_median" in ends else None
    complete = len(ends) == len(histories)
    return {
        "word": max(WORDS, key=shares.__getitem__),
        "shares": shares,
        "numbers": {name: _mean(ends, name) if complete else None for name in (*NUMBERS, "flatness")},
    }


def _history(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.pivot(index="step", columns="metric", values="value").sort_index()


def _mean(ends: pd.DataFrame, name: str) -> float | None:
    """None where a seed lacks it."""
    mean = float(ends[name].mean(skipna=False)) if name in ends else math.nan
    return mean if math.isfinite(mean) else None
