"""Timing two ways of doing the same thing in turns, so that what the machine does meanwhile befalls both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Side = Callable[[int], float]
"""One way of doing it: does the work of a round, given its number from 0, and gives the seconds that count."""


@dataclass(frozen=True)
class Duel:
    """Two sides of one comparison.

    Attributes:
        plain, ours: the sides.
        warmup: rounds that nobody counts, before the others.
        note: what else there is to say, once all rounds are done.
    """

    plain: Side
    ours: Side
    warmup: int = 2
    note: Callable[[], str] = str


@dataclass(frozen=True)
class Comparison:
    """Medians over the rounds; a round's ratio is of its own two times."""

    plain_ms: float
    ours_ms: float
    ratio: float
    ratio_min: float
    ratio_max: float


def timed(work: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.perf_counter) -> Side:
    """The side that does ``work`` a number of times a round; its seconds are those of one time.

    >>> timed(lambda: None, times=4, clock=iter([10.0, 12.0]).__next__)(0)
    0.5
    """

    def side(_: int) -> float:
        start = clock()
        for _ in range(times):
            work()
        return (clock() - start) / times

    return side


def alternate(
    duel: Duel, rounds: int, after_round: Callable[[int], None] = lambda done: None
) -> list[tuple[float, float]]:
    """Seconds of (plain, ours), one pair a round; who begins changes with every round."""
    for _ in range(duel.warmup):
        duel.plain(0)
        duel.ours(0)
    pairs = []
    for number in range(rounds):
        if number % 2:
            ours, plain = duel.ours(number), duel.plain(number)
        else:
            plain, ours = duel.plain(number), duel.ours(number)
        pairs.append((plain, ours))
        after_round(number + 1)
    return pairs


def compare(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Medians of both sides in milliseconds, and of the paired ratios ours/plain with their smallest and largest.

    >>> compare([(1.0, 0.5), (4.0, 1.0), (1.0, 1.0)])
    Comparison(plain_ms=1000.0, ours_ms=1000.0, ratio=0.5, ratio_min=0.25, ratio_max=1.0)
    """
    ratios = [ours / plain for plain, ours in pairs]
    return Comparison(
        plain_ms=1e3 * statistics.median(plain for plain, _ in pairs),
        ours_ms=1e3 * statistics.median(ours for _, ours in pairs),
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
    )
