"""What a search would have found with fewer trials: the cost to the target of the best of the first k.

Trials that could as well have come in any order (random and quasi-random search that gives no run up) are taken in all
orders at once: the best of k of n trials is at most the i-th best one with probability 1 − C(n−i, k)/C(n, k). What is
given are the median and the middle 80 % of that, and the mean. Trials that learn from those before are taken as they
came.

A trial that did not arrive is worse than all that did. Where a quantile falls on such a trial there is none, and in the
mean it counts with what it had spent, so that the mean is too small: ``is_bound``.

Where a search whose trials learn from those before was repeated, the median, the middle 80 % and the mean are over the
repeats, each taken as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, comb
from typing import NamedTuple


class Trial(NamedTuple):
    """The cost of a setting to the target, a bound unless it ``arrived``."""

    cost: float
    arrived: bool


class BestAfter(NamedTuple):
    """Of the best of ``trials`` trials; None where it has not arrived."""

    trials: int
    median: float | None
    low: float | None
    high: float | None
    mean: float
    is_bound: bool


def best_after(trials: Sequence[Trial], *, any_order: bool) -> list[BestAfter]:
    """One row for each number of trials, from 1 to all.

    >>> found = best_after([Trial(100, True), Trial(300, True), Trial(200, True)], any_order=True)
    >>> [(row.trials, row.median, round(row.mean)) for row in found]
    [(1, 200, 200), (2, 100, 133), (3, 100, 100)]
    >>> [row.median for row in best_after([Trial(50, False), Trial(300, True), Trial(200, True)], any_order=False)]
    [None, 300, 200]
    """
    if not any_order:
        return [_as_searched(trials[:k]) for k in range(1, len(trials) + 1)]
    ranked = sorted(trials, key=_rank)
    return [_over_orders(ranked, k) for k in range(1, len(ranked) + 1)]


def best_over_repeats(repeats: Sequence[Sequence[Trial]]) -> list[BestAfter]:
    """One row for each number of trials, from 1 to those of the shortest of the ``repeats``.

    >>> one, other = [Trial(100, True), Trial(80, True)], [Trial(300, False), Trial(90, True)]
    >>> [(row.median, row.low, row.high, row.mean) for row in best_over_repeats([one, other, other])]
    [(None, 100, None, 233.33333333333334), (90, 80, 90, 86.66666666666667)]
    """
    return [_over_repeats([min(trials[:k], key=_rank) for trials in repeats], k) for k in _counts(repeats)]


def _counts(repeats: Sequence[Sequence[Trial]]) -> range:
    return range(1, min(map(len, repeats), default=0) + 1)


def _rank(trial: Trial) -> tuple[bool, float]:
    return not trial.arrived, trial.cost


def _as_searched(trials: Sequence[Trial]) -> BestAfter:
    best = min(trials, key=_rank)
    return BestAfter(len(trials), best.cost if best.arrived else None, None, None, best.cost, not best.arrived)


def _over_repeats(bests: Sequence[Trial], k: int) -> BestAfter:
    ranked = sorted(bests, key=_rank)

    def quantile(share: float) -> float | None:
        trial = ranked[max(ceil(share * len(ranked) - 1e-12), 1) - 1]
        return trial.cost if trial.arrived else None

    return BestAfter(
        trials=k,
        median=quantile(0.5),
        low=quantile(0.1),
        high=quantile(0.9),
        mean=sum(trial.cost for trial in ranked) / len(ranked),
        is_bound=not ranked[-1].arrived,
    )


def _over_orders(ranked: Sequence[Trial], k: int) -> BestAfter:
    n = len(ranked)
    within = [1.0 - comb(n - i, k) / comb(n, k) for i in range(1, n + 1)]  # the best is one of the i best

    def quantile(share: float) -> float | None:
        trial = next(trial for trial, reached in zip(ranked, within, strict=True) if reached >= share - 1e-12)
        return trial.cost if trial.arrived else None

    chances = [now - before for now, before in zip(within, [0.0, *within], strict=False)]
    pairs = list(zip(ranked, chances, strict=True))
    return BestAfter(
        trials=k,
        median=quantile(0.5),
        low=quantile(0.1),
        high=quantile(0.9),
        mean=sum(trial.cost * chance for trial, chance in pairs),
        is_bound=any(chance > 0 and not trial.arrived for trial, chance in pairs),
    )
