"""What a recipe's claim measures: one number of each run, and how the numbers of several seeds become one.

A time (``steps``) is positive and may be censored; its mean is geometric, its 95 % interval the t interval on
logarithms. Where runs are censored the number is Kaplan and Meier's median, whose upper limit may be unknown. A share
is a count of runs with Clopper and Pearson's interval. A level is a mean with its t interval. Beside another method,
times are divided seed by seed (:mod:`grokkit.analyse.paired`), levels too, and shares are subtracted without an
interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from grokkit.analyse.paired import Time, paired_ratio
from grokkit.analyse.survival import Times, column, delays, median_time
from grokkit.errors import unknown

Kind = Literal["time", "share", "level"]


class Measured(NamedTuple):
    """Our number with its 95 % interval. None: the runs do not say; a limit of None beside a value is open.

    ``runs``: how many stand behind it.
    """

    value: float | None
    low: float | None
    high: float | None
    runs: int


class Measure(NamedTuple):
    """``of(runs, curves)`` gives one value a run, null where the event did not happen; see ``kind``."""

    kind: Kind
    about: str
    of: Callable[[pl.DataFrame, pl.DataFrame], pl.Series]
    until: Callable[[pl.DataFrame], pl.Series] = partial(column, name="budget")
    """The cost up to which a run without an event is known to have had none."""


def _column(name: str) -> Callable[[pl.DataFrame, pl.DataFrame], pl.Series]:
    return lambda runs, curves: column(runs, name)


def _delay(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """One step where a run generalizes as soon as it memorizes, or before: a ratio needs a positive time."""
    return column(runs, "delay_steps").clip(lower_bound=1)


def _delay_until(runs: pl.DataFrame) -> pl.Series:
    """Of a run that memorized and did not generalize, what was left after it memorized."""
    return pl.Series("delay", delays(runs).time).clip(lower_bound=1)


def _reached(name: str) -> Callable[[pl.DataFrame, pl.DataFrame], pl.Series]:
    return lambda runs, curves: column(runs, name).is_not_null().cast(pl.Float64)


def _fell_back(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    return (column(runs, "dips").fill_null(0.0) > 0).cast(pl.Float64)


def _peak_test_loss(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The greatest held-out loss at an evaluation before the first touch of the target, or in the whole run."""
    untils = runs.select("run_id", until=pl.col("generalized_first_at"))
    before = curves.join(untils, on="run_id").filter(pl.col("until").is_null() | (pl.col("step") <= pl.col("until")))
    return _of_each(runs, before, "test_loss", max)


def _entropy_rise(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The largest absolute gradient entropy of a run over its first."""
    return _of_each(runs, curves, "gradient_entropy", lambda values: max(values) / values[0])


def _entropy_fall(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The last absolute gradient entropy of a run over its largest."""
    return _of_each(runs, curves, "gradient_entropy", lambda values: values[-1] / max(values))


def _entropy_after(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The mean over a run of the gradient's absolute entropy after the transformation over that before it."""
    together = curves.with_columns(quotient=pl.col("filtered_gradient_entropy") / pl.col("gradient_entropy"))
    return _of_each(runs, together, "quotient", lambda values: sum(values) / len(values))


def _of_each(runs: pl.DataFrame, curves: pl.DataFrame, name: str, number: Callable[[list[float]], float]) -> pl.Series:
    """``number`` of the column ``name`` of each run's curves, null where it has no value."""
    found = []
    for run_id in runs["run_id"]:
        values = curves.filter(pl.col("run_id") == run_id).sort("step")[name].drop_nulls().drop_nans().to_list()
        found.append(number(values) if values else None)
    return pl.Series(name, found, dtype=pl.Float64)


def _seconds_a_step(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    started = column(runs, "start_seconds").fill_null(0.0)
    return (column(runs, "train_seconds") - started) / column(runs, "steps").clip(lower_bound=1)


MEASURES: Mapping[str, Measure] = {
    "first steps": Measure("time", "steps to the first evaluation at the target", _column("generalized_first_at")),
    "steps": Measure("time", "steps to the target that stays", _column("generalized_at")),
    "memorized": Measure("time", "steps to memorizing the training rows", _column("memorized_at")),
    "delay": Measure("time", "steps between memorizing and generalizing", _delay, _delay_until),
    "seconds": Measure(
        "time",
        "seconds of training to the target, weak models in it",
        _column("train_seconds_to_target"),
        partial(column, name="train_seconds_below_until"),
    ),
    "flops": Measure(
        "time",
        "FLOPs of training to the target, weak models in it",
        _column("flops_to_target"),
        partial(column, name="flops_below_until"),
    ),
    "all seconds": Measure("level", "seconds of training of the whole run", _column("train_seconds")),
    "seconds a step": Measure("level", "seconds of training a step, without a start's", _seconds_a_step),
    "start seconds": Measure("level", "seconds of the weak models", _column("start_seconds")),
    "memory": Measure("level", "peak memory, bytes", _column("peak_memory_bytes")),
    "reached": Measure("share", "share of runs that stay at the target", _reached("generalized_at")),
    "touched": Measure("share", "share of runs that touch the target", _reached("generalized_first_at")),
    "fell back": Measure("share", "share of runs that dip after the first touch", _fell_back),
    "dips": Measure("level", "dips after the first touch", _column("dips")),
    "deepest dip": Measure("level", "how far below the target the deepest dip went", _column("deepest_dip")),
    "best accuracy": Measure("level", "best held-out accuracy", _column("best_test_accuracy")),
    "final accuracy": Measure("level", "held-out accuracy at the end", _column("final_test_accuracy")),
    "best loss": Measure("level", "least held-out loss", _column("best_test_loss")),
    "entropy rise": Measure("level", "largest absolute gradient entropy over the first", _entropy_rise),
    "entropy fall": Measure("level", "last absolute gradient entropy over the largest", _entropy_fall),
    "entropy after over before": Measure("level", "AGE of the transformed gradient over AGE", _entropy_after),
    "peak loss": Measure("level", "greatest held-out loss before the target", _peak_test_loss),
}


def find_measure(name: str) -> Measure:
    """The measure called ``name``.

    Raises:
        InputError: if there is none.
    """
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES)
    return MEASURES[name]


def measured(name: str, runs: pl.DataFrame, curves: pl.DataFrame, arm: str, beside: str | None) -> Measured:
    """The measure of ``arm``'s runs, or its ratio to that of ``beside``'s on the same seeds."""
    measure = find_measure(name)
    own = _of(measure, runs, curves, arm)
    if beside is None:
        return _alone(measure.kind, own)
    return _beside(measure.kind, own, _of(measure, runs, curves, beside))


def measured_levels(values: Sequence[float | None]) -> Measured:
    """The mean of one number a seed, of an experiment, with its t interval; a seed without a number leaves none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not values or len(known) < len(values):
        return Measured(None, None, None, len(values))
    mean, low, high = _mean(np.array(known))
    return Measured(mean, low, high, len(known))


class _Own(NamedTuple):
    """One arm's runs: value by seed, None where the event did not happen, and the bound that holds then."""

    values: Mapping[int, float | None]
    bounds: Mapping[int, float]


def _of(measure: Measure, runs: pl.DataFrame, curves: pl.DataFrame, arm: str) -> _Own:
    own = runs.filter(pl.col("method") == arm)
    seeds = own["seed"].to_list()
    values = measure.of(own, curves).to_list()
    bounds = measure.until(own).to_list()
    return _Own(dict(zip(seeds, values, strict=True)), dict(zip(seeds, bounds, strict=True)))


def _alone(kind: Kind, own: _Own) -> Measured:
    values, n = list(own.values.values()), len(own.values)
    if not n:
        return Measured(None, None, None, 0)
    if kind == "share":
        yes = int(sum(value or 0 for value in values))
        found = stats.binomtest(yes, n).proportion_ci(method="exact")
        return Measured(yes / n, found.low, found.high, n)
    if kind == "level":
        return measured_levels(values)
    known = [value for value in values if value is not None]
    if len(known) == n and min(known) > 0:
        mean, low, high = _mean(np.log(known))
        return Measured(_exp(mean), _exp(low), _exp(high), n)
    times = [own.bounds[seed] if value is None else value for seed, value in own.values.items()]
    median = median_time(Times(np.array(times, dtype=np.float64), np.array([value is not None for value in values])))
    if median.value is None:  # half of the runs or more are later than this
        return Measured(None, float(np.median(times)), None, n)
    return Measured(median.value, median.low, median.high, n)


def _beside(kind: Kind, own: _Own, other: _Own) -> Measured:
    seeds = sorted(own.values.keys() & other.values.keys())
    n = len(seeds)
    if kind == "time":
        found = paired_ratio(_times(own), _times(other))
        low = found.bound if found.side == "at least" else found.low
        high = found.bound if found.side == "at most" else found.high
        return Measured(found.value, low, high, found.pairs)
    pairs = [(own.values[seed], other.values[seed]) for seed in seeds]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < n or not n:
        return Measured(None, None, None, n)
    if kind == "share":
        return Measured(sum(a - b for a, b in known) / n, None, None, n)
    if any(a <= 0 or b <= 0 for a, b in known):  # without a logarithm the ratio of the means is all there is
        below = sum(b for _, b in known)
        return Measured(sum(a for a, _ in known) / below if below else None, None, None, n)
    mean, low, high = _mean(np.log([a / b for a, b in known]))
    return Measured(_exp(mean), _exp(low), _exp(high), n)


def _times(own: _Own) -> dict[int, Time]:
    return {
        seed: Time(own.bounds[seed] if value is None else value, value is not None)
        for seed, value in own.values.items()
    }


def _mean(values: np.ndarray) -> tuple[float, float | None, float | None]:
    """The mean and its 95 % t interval; one value has none."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, None, None
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)
