"""Quantiles and tails of the distributions that tests refer to.

They are those of :mod:`scipy.stats`, made of :mod:`scipy.special`, which is imported in a quarter of the time: a report
takes seconds, and one of them would be that.
"""

from __future__ import annotations

from math import comb

from scipy import special


def t_quantile(probability: float, freedom: int) -> float:
    """Of Student's t with ``freedom`` degrees of freedom."""
    return float(special.stdtrit(freedom, probability))


def t_two_sided(t: float, freedom: int) -> float:
    """P(|T| > |t|)."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def noncentral_t_tail(t: float, freedom: int, shift: float) -> float:
    """P(T > t), where T is a standard normal variable plus ``shift``, over the root of a χ² over its ``freedom``."""
    return float(1 - special.nctdtr(freedom, shift, t))


def normal_two_sided(z: float) -> float:
    """P(|Z| > |z|)."""
    return float(2 * special.ndtr(-abs(z)))


def binomial_quantile(probability: float, runs: int, chance: float) -> int:
    """The smallest k with P(X <= k) >= ``probability``, X the successes of ``runs`` of one ``chance`` each."""
    return next(k for k in range(runs + 1) if special.bdtr(k, runs, chance) >= probability)


def share_interval(successes: int, runs: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of the chance of success."""
    low = special.betaincinv(successes, runs - successes + 1, 0.025) if successes else 0.0
    high = special.betaincinv(successes + 1, runs - successes, 0.975) if successes < runs else 1.0
    return float(low), float(high)


def fisher_two_sided(successes: int, runs: int, base_successes: int, base_runs: int) -> float:
    """Fisher's exact test of "both succeed equally often": the probability, given how many succeeded in all, of a table
    that is no more likely than this one.

    >>> fisher_two_sided(3, 3, 0, 3)
    0.1
    """
    total = successes + base_successes
    possible = range(max(0, total - base_runs), min(total, runs) + 1)
    ways = {count: comb(runs, count) * comb(base_runs, total - count) for count in possible}
    return sum(way for way in ways.values() if way <= ways[successes]) / comb(runs + base_runs, total)
