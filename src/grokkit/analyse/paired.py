"""How many times the baseline's cost a method needs, seed by seed: an estimate, an interval, or only a bound.

A seed enters as what is known of it: both times, or one time and that the other is longer than some bound. A seed in
which neither run arrived tells nothing, and one with a time of zero (at the target before the first step) has no ratio.

- With three complete pairs or more, the ratio and its 95 % interval: the t interval on the logarithms of the ratios,
  and where a time is censored that of the model in :mod:`grokkit.analyse.censored_pairs`, which is the same without
  censoring. p is of the test that belongs to the interval: it is below 0.05 if and only if the interval excludes 1.
  What is not known exactly in all pairs alike, such as the seconds of a step, makes the interval longer at both ends.
  It is never shorter than what evaluations leave open: seeds that agree more closely agree on an evaluation.
- With fewer, no interval and no p. If all pairs are complete, the geometric mean of their ratios still describes them.
  If runs of one arm only are censored, there is a bound, the near end of the t interval with the censored times set to
  their bounds: "at least" where the method's are, "at most" where the baseline's are. For that the other arm has to
  have arrived in all seeds: without those in which neither did the rest are chosen by what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokkit.analyse.censored_pairs import Pairs, estimate
from grokkit.analyse.distributions import fisher_two_sided, t_quantile

ENOUGH = 3
"""Complete pairs that an interval takes."""

COARSE = 0.05
"""Share of a time beyond which not knowing it more finely may decide about a claim, however large the difference."""

Side = Literal["at least", "at most"]


class Time(NamedTuple):
    """A cost to the target: an event, or if not ``reached`` a bound that it exceeds. ``early``: an event may have
    happened as early as at this cost; it was only seen at ``value``."""

    value: float
    reached: bool
    early: float | None = None


class Error(NamedTuple):
    """By what factors a ratio may be ``smaller`` (at most 1) and ``larger`` (at least 1) than it is measured, because
    of what all pairs share."""

    smaller: float = 1.0
    larger: float = 1.0


EXACT = Error()


class PairedRatio(NamedTuple):
    """``value`` < 1: the method needs less than the baseline. None for what the pairs do not say.

    Attributes:
        value, low, high: the ratio and its 95 % interval.
        bound, side: where there is no interval, what the ratio surely (at 95 %) is at least, or at most.
        p: two-sided, of "the ratio is 1".
        p_unfavourable: the same with every event moved to the end of its resolution that speaks against the difference,
            if some resolution exceeds 5 % of its time, or the ratio is near 1 (:func:`is_near`); else None.
        pairs: seeds that say something, and ``complete``: those with both times.
        spread: standard deviation of the logarithm of one pair's ratio, as far as the interval's width tells it.
        resolution: by what factor the ratio could be larger, or smaller, whichever is more, for all that is known of
            when events happened.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    side: Side | None = None
    p: float | None = None
    p_unfavourable: float | None = None
    pairs: int = 0
    complete: int = 0
    spread: float | None = None
    resolution: float = 1.0


def paired_ratio(method: Mapping[int, Time], baseline: Mapping[int, Time], error: Error = EXACT) -> PairedRatio:
    """The paired ratio of two maps seed → time to target; ``error`` is that of all pairs alike."""
    told = _told(method, baseline)
    if not told:
        return PairedRatio()
    pairs = _pairs(told)
    n, complete = len(told), int(pairs.complete.sum())
    may_be = resolution(method, baseline)
    if complete < ENOUGH:
        value = float(np.exp((pairs.y - pairs.x).mean())) if complete == n else None
        bound, side = _bound(pairs, may_be, error) if n == len(method.keys() & baseline.keys()) else (None, None)
        return PairedRatio(value=value, bound=bound, side=side, pairs=n, complete=complete)
    found = estimate(pairs)
    value, low, high = (float(np.exp(log)) for log in found[:3])
    low, high = low * error.smaller, high * error.larger
    larger, smaller = may_be
    may_decide = any(_is_coarse(time) for pair in told for time in pair) or is_near(value, low, high, larger, smaller)
    ratio = PairedRatio(
        value=value,
        low=low,
        high=high,
        p=found.p if error == EXACT else _p_against(told, found.value, error),
        p_unfavourable=_p_unfavourable(told, found.value, error) if may_decide else None,
        pairs=n,
        complete=complete,
        spread=(found.high - found.low) / 2 / t_quantile(0.975, n - 1) * float(np.sqrt(n)),
    )
    return not_finer_than(ratio, larger, smaller, error)


def not_finer_than(ratio: PairedRatio, larger: float, smaller: float, error: Error = EXACT) -> PairedRatio:
    """The same with an interval no shorter than what evaluations leave open, by which the ratio may be so much
    ``larger`` and ``smaller``; where that is why it holds 1, nothing speaks against 1."""
    value, low, high = ratio.value, ratio.low, ratio.high
    if value is None or low is None or high is None:
        raise ValueError("a ratio without an interval")
    wide_low, wide_high = min(low, value * smaller * error.smaller), max(high, value * larger * error.larger)
    is_why = wide_low <= 1 <= wide_high and not low <= 1 <= high
    return ratio._replace(
        low=wide_low,
        high=wide_high,
        p=1.0 if is_why else ratio.p,
        resolution=max(larger, 1 / smaller if smaller else math.inf),
    )


def plain_ratio(method: Mapping[int, Time], baseline: Mapping[int, Time]) -> tuple[float | None, Side | None]:
    """The geometric mean of the ratios with every censored time at its bound, and which way that is wrong: "at least"
    where runs of the method are censored, "at most" where the baseline's are, None where none is.

    Both are None where runs of both are censored, or no seed says anything.
    """
    told = _told(method, baseline)
    if not told or len(told) < len(method.keys() & baseline.keys()):
        return None, None
    pairs = _pairs(told)
    if not (pairs.x_known.all() or pairs.y_known.all()):
        return None, None
    side: Side | None = None if pairs.complete.all() else "at least" if pairs.x_known.all() else "at most"
    return float(np.exp((pairs.y - pairs.x).mean())), side


def resolution(method: Mapping[int, Time], baseline: Mapping[int, Time]) -> tuple[float, float]:
    """By what factors the ratio would be larger, and smaller, if the baseline's events, or the method's, were all as
    early as they may have been."""
    told = _told(method, baseline)
    if not told:
        return 1.0, 1.0
    with np.errstate(divide="ignore"):
        base, own = (
            np.log([_earliest(time).value / time.value for time in times]) for times in zip(*told, strict=True)
        )
    return float(np.exp(-base.mean())), float(np.exp(own.mean()))


def is_near(value: float, low: float, high: float, larger: float, smaller: float) -> bool:
    """Whether evaluations, by which a ratio may be so much larger and smaller, may decide about it: its interval leaves
    1 out and would hold it, were the ratio so much nearer; or that were more than half of its way to 1, as at a level
    stricter than the interval's that alone may decide."""
    is_less = value < 1
    would_hold = high < 1 <= high * larger if is_less else low * smaller <= 1 < low
    return would_hold or (value < 1 <= value * larger**2 if is_less else value * smaller**2 <= 1 < value)


def _told(method: Mapping[int, Time], baseline: Mapping[int, Time]) -> list[tuple[Time, Time]]:
    """(baseline's, method's) of each seed that says something."""
    return [
        (baseline[seed], method[seed])
        for seed in sorted(method.keys() & baseline.keys())
        if (method[seed].reached or baseline[seed].reached) and method[seed].value > 0 and baseline[seed].value > 0
    ]


def _pairs(told: list[tuple[Time, Time]]) -> Pairs:
    base, own = zip(*told, strict=True)

    def logs(times: tuple[Time, ...]) -> NDArray[np.float64]:
        return np.log([time.value for time in times])

    def known(times: tuple[Time, ...]) -> NDArray[np.bool_]:
        return np.array([time.reached for time in times])

    return Pairs(logs(base), logs(own), known(base), known(own))


def _bound(pairs: Pairs, may_be: tuple[float, float], error: Error) -> tuple[float | None, Side | None]:
    """Censored times set to their bounds make every ratio too small if they are the method's, and too large if they
    are the baseline's; where both occur, nothing follows. Events that may have been earlier, by which the ratio
    ``may_be`` larger and smaller, are taken to have been so. Nothing follows where the bound excludes 1, and arms that
    are alike could well have arrived as differently often as these."""
    n = len(pairs.x)
    if n < 2 or pairs.complete.all() or not (pairs.x_known.all() or pairs.y_known.all()):
        return None, None
    differences = pairs.y - pairs.x
    reach = t_quantile(0.975, n - 1) * float(differences.std(ddof=1) / np.sqrt(n))
    larger, smaller = may_be
    side: Side = "at least" if pairs.x_known.all() else "at most"
    if side == "at least":
        value = float(np.exp(differences.mean() - reach)) * smaller * error.smaller
    else:
        value = float(np.exp(differences.mean() + reach)) * larger * error.larger
    excludes_one = value > 1 if side == "at least" else value < 1
    if excludes_one and fisher_two_sided(int(pairs.x_known.sum()), n, int(pairs.y_known.sum()), n) > 0.05:
        return None, None
    return value, side


def _p_unfavourable(told: list[tuple[Time, Time]], log_ratio: float, error: Error) -> float:
    """p where each arm's events lie as the difference would least have it.

    An arm that seems faster keeps the costs at which its events were seen; the other's may have been earlier.
    """
    if log_ratio < 0:
        return _p_against([(_earliest(base), own) for base, own in told], log_ratio, error)
    return _p_against([(base, _earliest(own)) for base, own in told], log_ratio, error)


def _p_against(told: list[tuple[Time, Time]], log_ratio: float, error: Error) -> float:
    """p of a difference in the direction of ``log_ratio`` with the ratio off by what of ``error`` speaks against it."""
    factor = error.larger if log_ratio < 0 else error.smaller
    if factor <= 0 or any(time.value <= 0 for pair in told for time in pair):
        return 1.0
    found = estimate(_pairs([(base, own._replace(value=own.value * factor)) for base, own in told]))
    return found.p if found.value * log_ratio > 0 else 1.0


def _is_coarse(time: Time) -> bool:
    return time.reached and time.early is not None and time.value - time.early > COARSE * time.value


def _earliest(time: Time) -> Time:
    return time if time.early is None or not time.reached else time._replace(value=time.early)
