"""Which settings a search tries: quasi-random ones first, then those that Optuna's TPE expects to be good."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from scipy.stats import qmc

from toy.search.space import Range, at_edges

FIRST, LATER = 32, 16  # trials of the first round, and of each round after it
FIRST_FROM = 16  # of the first round of a search that begins at settings
Values = dict[str, float]  # searched option -> value


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Attributes:
        number: `kl`, the mean over the tuning seeds at the last step it was trained to; inf if a seed diverged.
        share: of the run's steps, those it was trained for: 1 unless it was stopped.
    """

    values: Values
    number: float
    share: float
    round: int = 0


def propose(
    ranges: Sequence[Mapping[str, Range]],
    told: Sequence[Sequence[Trial]],
    seed: int,
    starts: Sequence[Values] | None = None,
) -> list[Values]:
    """The settings of the next round.

    The first round is a scrambled Sobol sequence, behind the settings that the search begins at, if any. Later ones are
    Optuna's TPE (Bergstra et al. 2011), told all rounds before, of which the trials that were stopped rank below those
    that went further. Where a range was extended, half of the round looks at the new part of it, at the best values of
    the other options.

    Args:
        ranges: of each round, this one's last.
        told: the trials of each round before.
        seed: of the search.
        starts: the settings that it begins at; None where it looks everywhere.
    """
    now = ranges[-1]
    if not told:
        return sobol(now, FIRST, seed) if starts is None else [*starts, *sobol(now, FIRST_FROM, seed)][:FIRST_FROM]
    chosen = best([trial for trials in told for trial in trials])
    parts = new_parts(ranges[-2], now)
    beyond = sobol(parts, LATER // 2, seed) if parts and chosen is not None else []
    return [
        *({**chosen.values, **values} for values in beyond if chosen),
        *tpe(ranges, told, LATER - len(beyond), seed),
    ]


def sobol(ranges: Mapping[str, Range], count: int, seed: int) -> list[Values]:
    """`count` settings, a power of 2, of a scrambled Sobol sequence (scipy.stats.qmc); half of those of a range with 0
    are 0."""
    names = [*ranges, *(f"{name} is 0" for name, searched in ranges.items() if searched.zero)]
    points = qmc.Sobol(len(names), rng=np.random.default_rng(seed)).random(count)
    found = []
    for point in points:
        at = dict(zip(names, point.tolist(), strict=True))
        found.append(
            {
                name: 0.0 if searched.zero and at[f"{name} is 0"] < 0.5 else searched.value(at[name])
                for name, searched in ranges.items()
            }
        )
    return found


def new_parts(before: Mapping[str, Range], now: Mapping[str, Range]) -> dict[str, Range]:
    """Of each range that was extended, the part that was not there before."""
    found = {}
    for name, old in before.items():
        if now[name].low < old.low:
            found[name] = Range(now[name].low, old.low)
        elif now[name].high > old.high:
            found[name] = Range(old.high, now[name].high)
    return found


def tpe(ranges: Sequence[Mapping[str, Range]], told: Sequence[Sequence[Trial]], count: int, seed: int) -> list[Values]:
    """`count` settings of Optuna's TPE."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, constant_liar=True, seed=seed)
        study = optuna.create_study(sampler=sampler)
        for at, trials in enumerate(told):
            for trial in trials:
                study.add_trial(as_optunas(trial, ranges[at]))
        asked = [study.ask(distributions(ranges[-1])) for _ in range(count)]
    return [values_of(trial.params, ranges[-1]) for trial in asked]


def distributions(ranges: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """What Optuna draws from: each range by its logarithm, and for one with 0 whether it is that."""
    found: dict[str, BaseDistribution] = {
        name: FloatDistribution(x.low, x.high, log=True) for name, x in ranges.items()
    }
    return found | {f"{name} is 0": CategoricalDistribution([False, True]) for name, x in ranges.items() if x.zero}


def values_of(params: Mapping[str, Any], ranges: Mapping[str, Range]) -> Values:
    """The values that Optuna's draws stand for."""
    return {name: 0.0 if params.get(f"{name} is 0") else float(params[name]) for name in ranges}


def as_optunas(trial: Trial, ranges: Mapping[str, Range]) -> optuna.trial.FrozenTrial:
    """The trial as Optuna holds it, its number by its logarithm; one that was stopped is pruned there."""
    number = math.log(min(max(trial.number, 1e-9), 1e9))
    params: dict[str, Any] = {}
    for name, searched in ranges.items():
        value = trial.values[name]
        if searched.zero:
            params[f"{name} is 0"] = value == 0
        params[name] = math.sqrt(searched.low * searched.high) if searched.zero and value == 0 else value
    whole = trial.share == 1
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if whole else optuna.trial.TrialState.PRUNED,
        params=params,
        distributions=distributions(ranges),
        value=number if whole else None,
        intermediate_values={} if whole else {round(1000 * trial.share): number},
    )


def best(trials: Sequence[Trial]) -> Trial | None:
    """The least number among those trained to the end; None where all of them diverged."""
    whole = [trial for trial in trials if trial.share == 1 and math.isfinite(trial.number)]
    return min(whole, key=lambda trial: trial.number, default=None)


def best_inside(trials: Sequence[Trial], ranges: Mapping[str, Range], count: int) -> list[Values]:
    """So many settings of least number among those trained to the end, without those at an edge of the ranges."""
    whole = [trial for trial in trials if trial.share == 1 and math.isfinite(trial.number)]
    inner = [trial for trial in whole if not at_edges(trial.values, ranges)]
    return [trial.values for trial in sorted(inner, key=lambda trial: trial.number)[:count]]
