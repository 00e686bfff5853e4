"""Times to target with the runs that never got there: Kaplan–Meier, its median, and the log-rank test.

A run that reached the target at t is an event at t. A run that did not is *right-censored*: all that is known
is that its time is later than what it was given. With d_i events among n_i runs still at risk at t_i:

    S(t) = ∏_{t_i ≤ t} (1 − d_i / n_i)              (Kaplan–Meier; 1 − S is the fraction that has reached it)

The median is where S crosses 1/2. Its 95 % interval holds the times t at which the log-log (Greenwood) interval
of S(t) contains 1/2 (Brookmeyer & Crowley 1982). Few seeds set no upper limit; then it is None, not a guess.

Censoring times. A step budget is the same for all runs, so a run that did not generalize is censored at its
budget. That includes a diverged run: it cannot come back, so it is as late as the budget, and letting it leave
at the step where it broke would flatter its method. In seconds it is censored at its own pace times the budget.
"""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

Clock = Literal["steps", "seconds"]

_TOLERANCE = 1e-9  # S is a product of fractions: 1/2 is rarely hit to the last bit


class Times(NamedTuple):
    """Right-censored times: ``time[i]`` is an event where ``reached[i]``, else a lower bound."""

    time: NDArray[np.float64]
    reached: NDArray[np.bool_]

    def censored_data(self) -> stats.CensoredData:
        return stats.CensoredData(uncensored=self.time[self.reached], right=self.time[~self.reached])


class Median(NamedTuple):
    """A Kaplan–Meier median and its 95 % interval, in the unit of the times. None: the data do not say."""

    value: float | None
    low: float | None
    high: float | None


def times_to_target(runs: pl.DataFrame, clock: Clock = "steps") -> Times:
    """The times of ``runs`` (rows as in run.json), in optimizer steps or in seconds of training."""
    steps = runs["generalized_at"].cast(pl.Float64)
    reached = steps.is_not_null().to_numpy()
    if clock == "steps":
        events, bounds = steps, runs["budget"].cast(pl.Float64)
    else:
        events = runs["train_seconds_to_target"].cast(pl.Float64)
        pace = runs["train_seconds"].cast(pl.Float64) / runs["steps"].clip(lower_bound=1)
        # A run of full length costs exactly its train_seconds; only a diverged one is extended.
        bounds = pace * runs["budget"].clip(lower_bound=1)
    time = np.where(reached, events.fill_null(0.0).to_numpy(), bounds.to_numpy())
    return Times(time.astype(np.float64), reached.astype(np.bool_))


def delays(runs: pl.DataFrame) -> Times:
    """The delay between memorizing and generalizing, in steps.

    A run without one is censored at what was left of its budget after it memorized, or at the whole budget if
    it never memorized, so that failing to memorize cannot shorten a method's median delay.
    """
    delay = runs["delay_steps"].cast(pl.Float64)
    reached = delay.is_not_null().to_numpy()
    left = runs["budget"].cast(pl.Float64) - runs["memorized_at"].cast(pl.Float64).fill_null(0.0)
    time = np.where(reached, delay.fill_null(0.0).to_numpy(), left.to_numpy())
    return Times(time.astype(np.float64), reached.astype(np.bool_))


def fraction_reached(times: Times) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct times, and the Kaplan–Meier fraction 1 − S that has reached the target by each."""
    if times.time.size == 0:
        return np.empty(0), np.empty(0)
    survival = stats.ecdf(times.censored_data()).sf
    return survival.quantiles, 1.0 - survival.probabilities


def median_time(times: Times) -> Median:
    """The Kaplan–Meier median with its 95 % interval.

    Where S is exactly 1/2 between two events the median is the middle between them, so that without
    censoring it is the ordinary median. One run has a median but no interval.
    """
    if not times.reached.any():
        return Median(None, None, None)
    survival = stats.ecdf(times.censored_data()).sf
    # The log-log transform is undefined at S = 1 and S = 0: NaN there, which no crossing counts.
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        band = survival.confidence_interval(confidence_level=0.95, method="log-log")
    at = survival.quantiles
    return Median(
        _crossing(at, survival.probabilities),
        _crossing(at, band.low.probabilities),
        _crossing(at, band.high.probabilities),
    )


def _crossing(at: NDArray[np.float64], level: NDArray[np.float64]) -> float | None:
    """The first time a falling step function is ≤ 1/2 (the middle of the step where it is exactly 1/2)."""
    below = np.flatnonzero(level <= 0.5 + _TOLERANCE)  # NaN compares false
    if below.size == 0:
        return None
    first = below[0]
    lower = below[level[below] < 0.5 - _TOLERANCE]
    if abs(level[first] - 0.5) <= _TOLERANCE and lower.size:
        return float((at[first] + at[lower[0]]) / 2)
    return float(at[first])


def logrank_p(a: Times, b: Times) -> float | None:
    """Two-sided log-rank p-value for "both groups reach the target equally fast"; pairing is not used.

    None where the test says nothing: fewer than two runs in a group, or nothing reached the target in either.
    It is a large-sample test: with a handful of seeds read it as a hint.
    """
    if min(a.time.size, b.time.size) < 2 or not (a.reached.any() or b.reached.any()):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        p = float(stats.logrank(a.censored_data(), b.censored_data()).pvalue)
    return p if np.isfinite(p) else None
