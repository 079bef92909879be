"""Comparisons over seeds: intervals by the bootstrap, p-values by an exact sign-flip test.

The last axis is always the seed; leading axes (metrics, arms) are treated one by one.

Which bootstrap: at n = 8 seeds the textbook intervals are too short. Coverage of nominal 95 % intervals for a mean,
4000 data sets each, 2000 resamples (standard error .004):

    n = 8                      normal  laplace  uniform  exponential  lognormal  share close to 1
    percentile                   .889     .871     .904         .845       .777              .899
    BCa                          .883     .849     .925         .860       .800              .972
    bootstrap-t                  .952     .930     .972         .933       .899   .980 (unbounded)
    Student t (no bootstrap)     .948     .963     .951         .890       .830              .904
    expanded percentile          .944     .940     .953         .897       .840              .981

Used here is the last: the percentile bootstrap asked for a higher level, such that for normal data its length is
that of Student's interval (Hesterberg, "What teachers should know about the bootstrap", 2015, section 5.3). The
bootstrap-t covers skewed data better but divides by the deviation of a resample, which is 0 when seeds tie, as
coverage and off-manifold shares do: its intervals are then of any length. At n = 5 the expanded percentile covers
.92 of normal data, below that less: an interval cannot leave the range of the data. Use 8 seeds or more.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

Values = Float[np.ndarray, "*m"] | np.float64  # an array, or a number where one row of seeds was given


EXACT = 36  # seeds up to which all sign patterns are counted; beyond, FLIPS random ones
FLIPS = 200_000
TIE = 1e-9  # sums of a pattern closer than this, relative to the largest sum, count as equal


class Interval(NamedTuple):
    """A mean and the ends of its interval, [...]."""

    mean: Values
    low: Values
    high: Values


def interval(per_seed: Float[np.ndarray, "*m seed"], level: float = 0.95) -> Interval:
    """Mean over seeds and its expanded percentile bootstrap interval.   [..., seed] -> [...]

    Equal values give an interval of no width: no variation was seen. One seed gives NaN for both ends.

    Raises:
        ValueError: no seeds, a value is NaN or infinite, or level is not in (0, 1).
    """
    x = _checked(per_seed, "per_seed")
    return Interval(x.mean(-1), *_bootstrap((x,), _mean, level))


def compare(a: Float[np.ndarray, "*m seed"], b: Float[np.ndarray, ...], level: float = 0.95) -> dict[str, Values]:
    """Paired comparison: {difference, low, high, p}, each [...].

    difference is the mean of a - b over seeds, (low, high) its interval as in `interval`, p that of the two-sided
    `sign_flip` test of its mean. p cannot be below 2^(1 - n): .0078 for 8 seeds, .0625 for 5.

    Raises:
        ValueError: as `interval`, or the shapes of a and b differ.
    """
    a, b = _paired(a, b)
    difference, low, high = interval(a - b, level)
    p = np.apply_along_axis(sign_flip, -1, a - b)[()]
    return {"difference": difference, "low": low, "high": high, "p": p}


def sign_flip(differences: Float[np.ndarray, " seed"]) -> float:
    """Two-sided p of the sign-flip test of mean 0: the share of the 2^n sign patterns s with |sum s d| >= |sum d|.

    Exact up to EXACT seeds: the sums of both halves of the seeds are listed, sorted and matched, 2^(n/2) each. Beyond,
    (1 + hits) / (1 + FLIPS) over random patterns, which is a valid p too. The null is that each difference is as likely
    as its negative. Source: Fisher, The Design of Experiments, 1935, section 21; Pitman 1937.

    Raises:
        ValueError: no differences, or one is NaN or infinite.
    """
    d = differences_of(differences)
    observed = abs(float(d.sum()))
    least = observed - TIE * float(np.abs(d).sum())
    if len(d) > EXACT:
        return _random_flips(d, least)
    if least <= 0:
        return 1.0
    first, second = (np.sort(_signed_sums(part)) for part in (d[: len(d) // 2], d[len(d) // 2 :]))
    above = len(second) - np.searchsorted(second, least - first, side="left")
    return float(2 * above.sum() / (len(first) * len(second)))  # s and -s: as many sums lie below as above


def _signed_sums(d: Float[np.ndarray, " n"]) -> Float[np.ndarray, " pattern"]:
    """sum s d for each of the 2^n sign patterns s."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_flips(d: Float[np.ndarray, " seed"], least: float) -> float:
    generator, hits, block = np.random.default_rng(0), 0, 10_000
    eights = np.pad(d, (0, -len(d) % 8)).reshape(-1, 8)
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums = eights @ patterns.T  # [eight, pattern]: of those whose sign stays
    for _ in range(FLIPS // block):
        octets = generator.integers(0, 256, (block, len(eights)), dtype=np.uint8)
        positive = np.sum([of[octet] for of, octet in zip(sums, octets.T, strict=True)], axis=0)
        hits += int((np.abs(2 * positive - d.sum()) >= least).sum())
    return (1 + hits) / (1 + FLIPS)


def differences_of(values: np.ndarray) -> Float[np.ndarray, " seed"]:
    """They as float64; ValueError unless they are one finite number a seed."""
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 1 or not len(d) or not np.isfinite(d).all():
        raise ValueError(f"differences must be one finite number a seed; given {values!r}")
    return d


def ratio(a: Float[np.ndarray, "*m seed"], b: Float[np.ndarray, ...], level: float = 0.95) -> Interval:
    """mean(a) / mean(b) and its paired expanded percentile bootstrap interval.   [..., seed] -> [...]

    For quantities >= 0. What is resampled is the share s = mean(a) / (mean(a) + mean(b)), which is bounded; the
    ratio is s / (1 - s). A resample with mean(b) = 0 counts as an infinite ratio.

    Raises:
        ValueError: as `compare`, or a value is negative, or the mean of b is 0.
    """
    a, b = _paired(a, b)
    for name, x in (("a", a), ("b", b)):
        if (x < 0).any():
            raise ValueError(f"{name} must be >= 0; given {x.min()}")
    if (b.mean(-1) == 0).any():
        raise ValueError("b must have a mean above 0; given zeros only")
    with np.errstate(divide="ignore"):
        low, high = (share / (1 - share) for share in _bootstrap((a, b), _share, level))
    return Interval(a.mean(-1) / b.mean(-1), low, high)


def summary(table: pd.DataFrame) -> dict[str, dict]:
    """The content of summary.json from a tidy table (arm, seed, step, metric, value), at each metric's last step.

        arms.<arm>.<metric> = {mean, low, high, per_seed}                       per_seed in the order of seeds
        comparisons.<metric>.<"arm - other"> = {difference, low, high, p}       for metrics that both arms have

    Pairs are written later arm minus earlier arm, in the table's order: "summed - gan". What one seed cannot give
    (an interval) is None. All numbers are Python floats.

    Raises:
        ValueError: a column is missing, a row is there twice, an arm lacks a seed, or a value is NaN or infinite.
    """
    key = ["arm", "seed", "step", "metric"]
    if missing := [column for column in [*key, "value"] if column not in table.columns]:
        raise ValueError(f"table must have the columns {[*key, 'value']}; {missing} are missing")
    if (twice := table.duplicated(key)).any():
        raise ValueError(f"table must have one value a row; it has two for {_name(table[twice], key)}")
    last = table.sort_values("step", kind="stable").drop_duplicates(["arm", "seed", "metric"], keep="last")
    if (bad := ~np.isfinite(last["value"].to_numpy(np.float64))).any():
        raise ValueError(f"value must be finite; it is not for {_name(last[bad], key)}")

    seeds = sorted(table["seed"].unique().tolist())
    arms: dict[str, dict] = {str(arm): {} for arm in table["arm"].unique()}
    per_seed: dict[tuple[str, str], np.ndarray] = {}
    for (arm, metric), rows in last.groupby(["arm", "metric"], sort=False):
        rows = rows.sort_values("seed")
        if rows["seed"].tolist() != seeds:
            raise ValueError(f"every arm must have every seed, {seeds}; {metric} of {arm} has {rows['seed'].tolist()}")
        x = per_seed[arm, metric] = rows["value"].to_numpy(np.float64)
        arms[arm][metric] = _numbers(interval(x)._asdict()) | {"per_seed": x.tolist()}
    comparisons: dict[str, dict] = {}
    for other, arm in combinations(arms, 2):
        for metric in [name for name in arms[arm] if name in arms[other]]:
            found = compare(per_seed[arm, metric], per_seed[other, metric])
            comparisons.setdefault(metric, {})[f"{arm} - {other}"] = _numbers(found)
    return {"arms": arms, "comparisons": comparisons}


def expanded(level: float, n: int) -> float:
    """The level at which a percentile bootstrap interval of n normal values is as long as Student's of `level`.

    1 - 2 Phi(-sqrt(n / (n - 1)) t), t the (1 + level)/2 quantile of Student's law with n - 1 degrees of freedom.
    """
    t = stats.t.ppf((1 + level) / 2, n - 1)
    return float(1 - 2 * stats.norm.cdf(-math.sqrt(n / (n - 1)) * t))


def _bootstrap(data: tuple[np.ndarray, ...], statistic, level: float) -> tuple[Values, Values]:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1); given {level}")
    n = data[0].shape[-1]
    if n < 2:
        nothing = np.full(data[0].shape[:-1], np.nan)[()]
        return nothing, nothing
    ends = stats.bootstrap(
        data, statistic, paired=True, axis=-1, method="percentile", confidence_level=expanded(level, n),
        rng=np.random.default_rng(0), batch=1000,
    ).confidence_interval  # fmt: skip
    return ends.low, ends.high


def _mean(x: np.ndarray, axis: int) -> np.ndarray:
    return x.mean(axis)


def _share(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    top, bottom = a.mean(axis), b.mean(axis)
    return np.divide(top, top + bottom, out=np.ones_like(top), where=bottom > 0)


def _numbers(values: dict[str, Values]) -> dict[str, float | None]:
    """As JSON has them: None for NaN."""
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def _name(rows: pd.DataFrame, key: list[str]) -> str:
    return ", ".join(f"{column} {rows[column].iloc[0]}" for column in key)


def _checked(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one seed on its last axis; given shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite; given {x[~np.isfinite(x)][0]}")
    return x


def _paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = _checked(a, "a"), _checked(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, paired over seeds; given {a.shape} and {b.shape}")
    return a, b
