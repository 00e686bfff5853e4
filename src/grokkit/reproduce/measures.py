"""What a recipe's claim measures: one number of each run, and how the numbers of several seeds become one.

A time (``steps``) is positive and may be censored; its mean is geometric, its 95 % interval the t interval on
logarithms. Where runs are censored the number is Kaplan and Meier's median, whose upper limit may be unknown; where
half of them or more are, there is only what the median surely (at 95 %) is at least. A share is a count of runs with
Clopper and Pearson's interval. A level is a mean with its t interval. A ratio, of two numbers that an experiment found
with one seed, has the mean and the interval of a time, and is never censored. Beside another method, times are divided
seed by seed (:mod:`grokkit.analyse.paired`), those that an experiment found as well, levels too, and shares are
subtracted without an interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from grokkit.analyse.distributions import binomial_quantile, share_interval, t_quantile
from grokkit.analyse.paired import Time, paired_ratio
from grokkit.analyse.survival import Times, column, delays, median_time
from grokkit.errors import unknown

Kind = Literal["time", "share", "level", "ratio"]

_FALL = 0.5
"""How far below the target a dip is a fall to chance, where chance is a percent or a seventh."""


class Measured(NamedTuple):
    """Our number with its 95 % interval. None: the runs do not say; a limit of None beside a value is open.

    ``runs``: how many stand behind it.
    """

    value: float | None
    low: float | None
    high: float | None
    runs: int


class Measure(NamedTuple):
    """``of(runs, curves)`` gives one value a run, null where the event did not happen; see ``kind``.

    ``about`` says what is measured. A kept result is of this text, so a measure that means another thing gets another.
    ``is_clocked``: it is of seconds, which of two processors or devices make no ratio.
    """

    kind: Kind
    about: str
    of: Callable[[pl.DataFrame, pl.DataFrame], pl.Series]
    until: Callable[[pl.DataFrame], pl.Series] = partial(column, name="budget")
    """The cost up to which a run without an event is known to have had none."""
    is_clocked: bool = False


def _column(name: str) -> Callable[[pl.DataFrame, pl.DataFrame], pl.Series]:
    return lambda runs, curves: column(runs, name)


def _steps_until(runs: pl.DataFrame) -> pl.Series:
    """Its last evaluation below the target, or where there is none on record its budget."""
    return column(runs, "below_until").fill_null(column(runs, "budget"))


def _trained_until(runs: pl.DataFrame) -> pl.Series:
    """Its last step if it ended there because it stayed at the target, and else its budget."""
    ended = column(runs, "generalized_at").is_not_null()
    return pl.select(pl.when(ended).then(column(runs, "steps")).otherwise(column(runs, "budget"))).to_series()


def _memorized_at_all(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """Of a run that ended at the target before it memorized nobody knows whether it would have."""
    memorized, ended = column(runs, "memorized_at").is_not_null(), column(runs, "generalized_at").is_not_null()
    return pl.select(pl.when(memorized | ~ended).then(memorized.cast(pl.Float64))).to_series()


def _delay(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """|first evaluation at the target − first evaluation with the training rows memorized|, at least the steps between
    two evaluations there: a ratio needs a positive time, and nothing shorter was looked for."""
    finest = column(runs, "first_resolution_steps").fill_null(1.0).clip(lower_bound=1.0)
    delay = (column(runs, "generalized_first_at") - column(runs, "memorized_at")).abs()
    return pl.select(pl.max_horizontal(delay, pl.when(delay.is_not_null()).then(finest))).to_series()


def _delay_until(runs: pl.DataFrame) -> pl.Series:
    """Of a run that memorized and did not generalize, what was left after it memorized; of one that ended at the target
    before it memorized, what came after it got there."""
    memorized, first = column(runs, "memorized_at"), column(runs, "generalized_first_at")
    since_first = pl.when(memorized.is_null() & first.is_not_null()).then(column(runs, "steps") - first)
    left = pl.select(pl.coalesce(since_first, pl.Series(delays(runs).time))).to_series()
    return left.cast(pl.Float64).clip(lower_bound=1)


def _first_seconds(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The seconds of training at the first evaluation at the target."""
    at = curves.select("run_id", pl.col("step").alias("generalized_first_at"), "train_seconds")
    keys = ["run_id", "generalized_first_at"]
    firsts = runs.select("run_id", pl.col("generalized_first_at").cast(at.schema["generalized_first_at"]))
    return firsts.join(at, on=keys, how="left", maintain_order="left")["train_seconds"].cast(pl.Float64)


def _reached(name: str) -> Callable[[pl.DataFrame, pl.DataFrame], pl.Series]:
    return lambda runs, curves: column(runs, name).is_not_null().cast(pl.Float64)


def _fell_back(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    return _after_touching(runs, column(runs, "dips").fill_null(0.0) > 0)


def _fell_to_chance(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    return _after_touching(runs, column(runs, "deepest_dip").fill_null(0.0) > _FALL)


def _after_touching(runs: pl.DataFrame, happened: pl.Series) -> pl.Series:
    """Of a run that never touched the target nothing is known about what comes after."""
    touched = column(runs, "generalized_first_at").is_not_null()
    return pl.select(pl.when(touched).then(happened.cast(pl.Float64))).to_series()


def _peak_test_loss(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The greatest held-out loss at an evaluation before the first touch of the target, or in the whole run."""
    untils = runs.select("run_id", until=pl.col("generalized_first_at"))
    before = curves.join(untils, on="run_id").filter(pl.col("until").is_null() | (pl.col("step") <= pl.col("until")))
    return _of_each(runs, before, "test_loss", max)


def _entropy_rise(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The absolute gradient entropy at the evaluation that memorized, over that at the first that has one."""
    return _entropy_at(runs, curves, "memorized_at") / _of_each(runs, curves, "gradient_entropy", lambda own: own[0])


def _entropy_fall(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """The absolute gradient entropy at the first evaluation at the target, over that at the one that memorized."""
    return _entropy_at(runs, curves, "generalized_first_at") / _entropy_at(runs, curves, "memorized_at")


def _entropy_at(runs: pl.DataFrame, curves: pl.DataFrame, event: str) -> pl.Series:
    ats = runs.select("run_id", at=pl.col(event))
    there = curves.join(ats, on="run_id").filter(pl.col("step") == pl.col("at"))
    return _of_each(runs, there, "gradient_entropy", lambda own: own[0])


def _entropy_spike(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.Series:
    """How high the spike of the transformed gradient's absolute entropy is over how high the gradient's is; a spike is
    a run's greatest value over its median one."""
    after, before = (
        _of_each(runs, curves, name, _height) for name in ("filtered_gradient_entropy", "gradient_entropy")
    )
    return after / before


def _height(values: Sequence[float]) -> float:
    return max(values) / float(np.median(values))


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
    "steps": Measure("time", "steps to the target that stays", _column("generalized_at"), _steps_until),
    "memorized": Measure("time", "steps to memorizing the training rows", _column("memorized_at"), _trained_until),
    "delay": Measure(
        "time", "steps between the first evaluations that memorized and that reached the target", _delay, _delay_until
    ),
    "first seconds": Measure(
        "time",
        "seconds of training to the first evaluation at the target, weak models in it",
        _first_seconds,
        partial(column, name="train_seconds_below_until"),
        is_clocked=True,
    ),
    "seconds": Measure(
        "time",
        "seconds of training to the target that stays, weak models in it",
        _column("train_seconds_to_target"),
        partial(column, name="train_seconds_below_until"),
        is_clocked=True,
    ),
    "flops": Measure(
        "time",
        "FLOPs of training to the target that stays, weak models in it",
        _column("flops_to_target"),
        partial(column, name="flops_below_until"),
    ),
    "all seconds": Measure("level", "seconds of training of the whole run", _column("train_seconds"), is_clocked=True),
    "seconds a step": Measure(
        "level", "seconds of training a step, without a start's", _seconds_a_step, is_clocked=True
    ),
    "start seconds": Measure("level", "seconds of the weak models", _column("start_seconds"), is_clocked=True),
    "memory": Measure("level", "peak memory, bytes", _column("peak_memory_bytes")),
    "reached": Measure("share", "share of runs that stay at the target", _reached("generalized_at")),
    "memorized at all": Measure(
        "share", "share of runs that memorize the training rows, where none ended before that", _memorized_at_all
    ),
    "touched": Measure("share", "share of runs that touch the target", _reached("generalized_first_at")),
    "fell back": Measure("share", "share of runs that dip after the first touch", _fell_back),
    "fell to chance": Measure("share", "share of runs that fall by half after the first touch", _fell_to_chance),
    "dips": Measure("level", "dips after the first touch", _column("dips")),
    "deepest dip": Measure("level", "how far below the target the deepest dip went", _column("deepest_dip")),
    "best accuracy": Measure("level", "best held-out accuracy", _column("best_test_accuracy")),
    "final accuracy": Measure("level", "held-out accuracy at the end", _column("final_test_accuracy")),
    "best loss": Measure("level", "least held-out loss", _column("best_test_loss")),
    "entropy rise": Measure("level", "AGE where it memorized over AGE at the first evaluation", _entropy_rise),
    "entropy fall": Measure("level", "AGE at the first touch of the target over AGE where it memorized", _entropy_fall),
    "entropy spike after over before": Measure(
        "level", "greatest over median AGE, of the transformed gradient over that of the gradient", _entropy_spike
    ),
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
    if beside is None:
        return _alone(measure.kind, _of(measure, runs, curves, arm))
    if measure.is_clocked:
        runs = _made_alike(runs, arm, beside)
    return _beside(measure.kind, _of(measure, runs, curves, arm), _of(measure, runs, curves, beside))


def measured_levels(values: Sequence[float | None]) -> Measured:
    """The mean of one number a seed with its t interval; a seed without a number leaves none."""
    known = _whole(values)
    return Measured(None, None, None, len(values)) if known is None else Measured(*_mean(np.array(known)), len(known))


def measured_share(values: Sequence[float | None]) -> Measured:
    """The share of ones among zeros and ones, with Clopper and Pearson's interval; a seed without one leaves none."""
    known = _whole(values)
    if known is None:
        return Measured(None, None, None, len(values))
    return Measured(sum(known) / len(known), *share_interval(int(sum(known)), len(known)), len(known))


def measured_ratios(values: Sequence[float | None]) -> Measured:
    """The geometric mean of one ratio a seed with the t interval on logarithms; a seed without a positive one leaves
    none."""
    known = _whole(values)
    return Measured(None, None, None, len(values)) if known is None or min(known) <= 0 else _geometric(known)


def measured_times(own: Mapping[int, Time], other: Mapping[int, Time]) -> Measured:
    """Times over others of the same seeds, known or only known to be longer."""
    found = paired_ratio(own, other)
    low = found.bound if found.side == "at least" else found.low
    high = found.bound if found.side == "at most" else found.high
    return Measured(found.value, low, high, found.pairs)


def time_of(name: str, runs: pl.DataFrame, curves: pl.DataFrame) -> tuple[float, bool]:
    """The measure ``name``, a time, of the one run of ``runs``, and whether it happened: else it is longer."""
    measure = find_measure(name)
    (value,), (bound,) = measure.of(runs, curves).to_list(), measure.until(runs).to_list()
    return (float(bound), False) if value is None else (float(value), True)


def _geometric(values: Sequence[float]) -> Measured:
    mean, low, high = _mean(np.log(values))
    return Measured(_exp(mean), _exp(low), _exp(high), len(values))


def _whole(values: Sequence[float | None]) -> list[float] | None:
    """The values, if there are any and all are numbers."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return known if values and len(known) == len(values) else None


def _made_alike(runs: pl.DataFrame, arm: str, beside: str) -> pl.DataFrame:
    """Without the seeds of which one arm's run was made on another processor or device than the other's."""
    machines: dict[int, set[tuple[str, ...]]] = {}
    of_both = runs.filter(pl.col("method").is_in([arm, beside]))
    for seed, provenance in of_both.select("seed", "provenance").iter_rows():
        made = json.loads(provenance)
        machines.setdefault(seed, set()).add((made.get("processor", ""), made.get("device", "cpu")))
    return runs.filter(pl.col("seed").is_in([seed for seed, made in machines.items() if len(made) == 1]))


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
        return measured_share(values)
    if kind == "level":
        return measured_levels(values)
    known = [value for value in values if value is not None]
    if len(known) == n and min(known) > 0:
        return _geometric(known)
    times = [own.bounds[seed] if value is None else value for seed, value in own.values.items()]
    median = median_time(Times(np.array(times, dtype=np.float64), np.array([value is not None for value in values])))
    if median.value is None:
        return Measured(None, _at_least(times), None, n)
    return Measured(median.value, median.low, median.high, n)


def _at_least(times: Sequence[float]) -> float | None:
    """What the median of such times surely (at 95 %) is at least, where some are known to be later than they say: the
    k-th smallest, below which a median lies with the chance that fewer than k of n coins show heads."""
    k = binomial_quantile(0.05, len(times), 0.5)
    return sorted(times)[k - 1] if k else None


def _beside(kind: Kind, own: _Own, other: _Own) -> Measured:
    seeds = sorted(own.values.keys() & other.values.keys())
    n = len(seeds)
    if kind == "time":
        return measured_times(_times(own), _times(other))
    firsts, seconds = ([arm.values[seed] for seed in seeds] for arm in (own, other))
    a_whole, b_whole = _whole(firsts), _whole(seconds)
    if a_whole is None or b_whole is None:
        return Measured(None, None, None, n)
    known = list(zip(a_whole, b_whole, strict=True))
    if kind == "share":
        return Measured(sum(a - b for a, b in known) / n, None, None, n)
    if any(a <= 0 or b <= 0 for a, b in known):  # without a logarithm the ratio of the means is all there is
        below = sum(b for _, b in known)
        return Measured(sum(a for a, _ in known) / below if below else None, None, None, n)
    return _geometric([a / b for a, b in known])


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
    half = t_quantile(0.975, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)
