"""Times to target with the runs that never got there: Kaplan–Meier and its median.

A run that reached the target at t is an event at t. A run that did not is *right-censored*: all that is known
is that its time is later than what it was given. With d_i events among n_i runs still at risk at t_i:

    S(t) = ∏_{t_i ≤ t} (1 − d_i / n_i)              (Kaplan–Meier; 1 − S is the fraction that has reached it)

The median is where S crosses 1/2. Its 95 % interval holds the times t at which the log-log (Greenwood) interval
of S(t) contains 1/2 (Brookmeyer & Crowley 1982). Few seeds set no upper limit; then it is None, not a guess.

Censoring. A run that did not stay at the target is censored at its last evaluation below it, not at its budget: the
last window that fits into the run begins before the budget ends. A diverged run cannot come back, so it is as late as
the budget; letting it leave at the step where it broke would flatter its method. In seconds and FLOPs a run is
censored at what it had spent by then. A run that was given up is censored where it was, which depends on the time of
its baseline: no curve or median may be made of such runs, and :func:`given_up` counts them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

Cost = Literal["steps", "seconds", "flops"]
COSTS: tuple[Cost, ...] = get_args(Cost)


class CostColumns(NamedTuple):
    """Columns of a run: the cost at which it generalized, that of its last evaluation below the target if it did not,
    what it spent in all, and of that before the first step; None where a start costs nothing."""

    to_target: str
    below_until: str
    spent: str
    start: str | None


COLUMNS: dict[Cost, CostColumns] = {
    "steps": CostColumns("generalized_at", "below_until", "steps", None),
    "seconds": CostColumns("train_seconds_to_target", "train_seconds_below_until", "train_seconds", "start_seconds"),
    "flops": CostColumns("flops_to_target", "flops_below_until", "flops", "start_flops"),
}

_Z = 1.959963984540054  # of which 95 % of a standard normal variable lie on either side

_TOLERANCE = 1e-9  # S is a product of fractions: 1/2 is rarely hit to the last bit


class Times(NamedTuple):
    """Right-censored times: ``time[i]`` is an event where ``reached[i]``, else a lower bound."""

    time: NDArray[np.float64]
    reached: NDArray[np.bool_]


class Median(NamedTuple):
    """A Kaplan–Meier median and its 95 % interval, in the unit of the times. None: the data do not say."""

    value: float | None
    low: float | None
    high: float | None


def times_to_target(runs: pl.DataFrame, cost: Cost = "steps") -> Times:
    """The times of ``runs`` (rows as in run.json), in steps, seconds of training or FLOPs.

    Columns that ``runs`` lacks count as null. A bound that is null is taken to be the budget, at the run's own pace.
    """
    columns = COLUMNS[cost]
    steps, budget = column(runs, "steps"), column(runs, "budget")
    reached = column(runs, "generalized_at").is_not_null()
    if cost == "steps":
        at_budget = budget
    else:  # a run of full length costs exactly what it spent; only a diverged one is extended
        at_budget = column(runs, columns.spent) / steps.clip(lower_bound=1) * budget.clip(lower_bound=1)
    bounds = column(runs, columns.below_until).fill_null(at_budget)
    time = np.where(reached, column(runs, columns.to_target).to_numpy(), bounds.to_numpy())
    return Times(time.astype(np.float64), reached.to_numpy().astype(np.bool_))


def given_up(runs: pl.DataFrame) -> int:
    """How many of ``runs`` were ended because their baseline was so much earlier. What their budget would have shown
    nobody knows, so that of a method with such runs only paired ratios say something."""
    return int((runs["status"] == "given up").sum()) if "status" in runs.columns else 0


def column(runs: pl.DataFrame, name: str) -> pl.Series:
    """The column as floating-point numbers, null throughout if ``runs`` lacks it."""
    if name not in runs.columns:
        return pl.Series(name, [None] * runs.height, dtype=pl.Float64)
    return runs[name].cast(pl.Float64)


def delays(runs: pl.DataFrame) -> Times:
    """The delay between memorizing and generalizing, in steps.

    A run without one is censored at what was left after it memorized until its last evaluation below the target, or at
    all of it if it never memorized, so that failing to memorize cannot shorten a method's median delay. One that ended
    at the target before it memorized has the longest delay that is possible: it would have memorized after its last
    step, and so the delay is below 0.
    """
    ended = column(runs, "generalized_at").is_not_null() & column(runs, "memorized_at").is_null()
    longest = pl.select(pl.when(ended).then(column(runs, "generalized_at") - column(runs, "steps"))).to_series()
    delay = column(runs, "delay_steps").fill_null(longest)
    reached = delay.is_not_null()
    bound = column(runs, "below_until").fill_null(column(runs, "budget"))
    left = (bound - column(runs, "memorized_at").fill_null(0.0)).clip(lower_bound=0.0)
    time = np.where(reached, delay.fill_null(0.0).to_numpy(), left.to_numpy())
    return Times(time.astype(np.float64), reached.to_numpy().astype(np.bool_))


def fraction_reached(times: Times) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct times, and the Kaplan–Meier fraction 1 − S that has reached the target by each."""
    if times.time.size == 0:
        return np.empty(0), np.empty(0)
    at, survival, _ = _kaplan_meier(times)
    return at, 1.0 - survival


def _kaplan_meier(times: Times) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The distinct times; S behind each, the product of 1 − d/n over those until then, of whose n runs not yet ended d
    arrived; and the sum of d/(n·(n − d)), of which Greenwood's variance of log S is made."""
    at, places = np.unique(times.time, return_inverse=True)
    ended, events = np.bincount(places), np.bincount(places, weights=times.reached)
    at_risk = ended[::-1].cumsum()[::-1]
    with np.errstate(divide="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
    return at, np.asarray(np.cumprod(1 - events / at_risk), np.float64), greenwood


def median_time(times: Times) -> Median:
    """The Kaplan–Meier median with its 95 % interval.

    Where S is exactly 1/2 between two events the median is the middle between them, so that without
    censoring it is the ordinary median. If no event follows, half of the runs are censored later, and the median is
    not reached. One run has a median but no interval.
    """
    if not times.reached.any():
        return Median(None, None, None)
    at, survival, greenwood = _kaplan_meier(times)
    # The interval is symmetric in log(−log S), which is undefined at S = 1 and S = 0: NaN there, which no crossing
    # counts.
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = _Z * np.sqrt(greenwood) / np.abs(np.log(survival))
        low, high = (survival ** np.exp(sign * reach) for sign in (1, -1))
        low, high = (np.where((survival > 0) & (survival < 1), side, np.nan) for side in (low, high))
    return Median(_middle(at, survival), _crossing(at, low), _crossing(at, high))


def _middle(at: NDArray[np.float64], level: NDArray[np.float64]) -> float | None:
    """Where a falling step function is 1/2: halfway along its step there, or where it first lies below; None if it ends
    at 1/2 or above."""
    lower = np.flatnonzero(level < 0.5 - _TOLERANCE)
    if lower.size == 0:
        return None
    first = _crossing(at, level)
    is_half = np.abs(level - 0.5) <= _TOLERANCE
    return float((first + at[lower[0]]) / 2) if is_half.any() and first is not None else first


def _crossing(at: NDArray[np.float64], level: NDArray[np.float64]) -> float | None:
    """The first time at which a falling step function is at most 1/2; None if it never is."""
    below = np.flatnonzero(level <= 0.5 + _TOLERANCE)  # NaN compares false
    return float(at[below[0]]) if below.size else None
