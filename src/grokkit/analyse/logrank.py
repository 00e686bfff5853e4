"""The log-rank test: do two groups reach the target equally fast? Pairing is not used.

At every event time, with n_i runs at risk of which k_i are of the first group, and d_i events, the test compares the
events of the first group with what was to be expected, d_i·k_i/n_i, and adds the differences up. The statistic is that
sum over its standard deviation (Mantel 1966).

Its normal limit is wrong for a handful of runs: with three runs a group it claims a difference that is none twice as
often as it says. Where either group has fewer than ten runs the p value is therefore counted: of all ways to label the
runs, the share with a statistic at least as large. Few runs have few labellings, so the least p that was possible is
given beside it. Of more than 100,000 labellings as many are drawn, always the same, and the one that was seen is added.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokkit.analyse.distributions import normal_two_sided
from grokkit.analyse.survival import Times

COUNTED_BELOW = 10
"""Runs in each group from which on the normal limit is good enough."""

_MOST_LABELLINGS = 100_000

_ROUNDING = 1e-9  # labellings that give the same statistic may differ by rounding

Direction = Literal["earlier", "later", "equal"]


class LogRank(NamedTuple):
    """``p``, two-sided; the ``direction`` of the first group; and the ``least`` p that these runs could have had (0
    where the normal limit is used)."""

    p: float
    direction: Direction
    least: float


def logrank(a: Times, b: Times) -> LogRank | None:
    """The log-rank test of group ``a`` against group ``b``.

    None where it says nothing: fewer than two runs in a group, or nothing reached the target in either.
    """
    if min(a.time.size, b.time.size) < 2 or not (a.reached.any() or b.reached.any()):
        return None
    time, reached = np.concatenate([a.time, b.time]), np.concatenate([a.reached, b.reached])
    seen = np.arange(len(time)) < a.time.size
    observed = _statistics(time, reached, seen[None])[0]
    if abs(observed) <= _ROUNDING:
        direction: Direction = "equal"
    else:
        direction = "earlier" if observed > 0 else "later"
    if min(a.time.size, b.time.size) >= COUNTED_BELOW:
        return LogRank(normal_two_sided(observed), direction, 0.0)
    every = np.abs(_statistics(time, reached, _labellings(seen)))
    p = (every >= abs(observed) - _ROUNDING).mean()
    least = (every >= every.max() - _ROUNDING).mean()
    return LogRank(float(p), direction, float(least))


def _labellings(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every way to label so many runs as ``seen`` does, a row each; or some of them, with ``seen``."""
    runs, group = len(seen), int(seen.sum())
    if comb(runs, group) > _MOST_LABELLINGS:
        drawn = np.random.default_rng(0).permuted(np.tile(seen, (_MOST_LABELLINGS, 1)), axis=1)
        return np.concatenate([seen[None], drawn])
    chosen = np.array(list(combinations(range(runs), group)))
    labels = np.zeros((len(chosen), runs), dtype=bool)
    np.put_along_axis(labels, chosen, True, axis=1)
    return labels


def _statistics(
    time: NDArray[np.float64], reached: NDArray[np.bool_], labels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The statistic of each row of ``labels``, which is true for the runs of the first group; positive if it is
    earlier."""
    surplus, variance = np.zeros(len(labels)), np.zeros(len(labels))
    for at in np.unique(time[reached]):
        at_risk, event = time >= at, reached & (time == at)
        n, events = at_risk.sum(), event.sum()
        share = labels[:, at_risk].sum(axis=1) / n
        surplus += labels[:, event].sum(axis=1) - events * share
        if n > 1:  # the variance of a hypergeometric count: ``events`` drawn from n runs
            variance += events * share * (1 - share) * (n - events) / (n - 1)
    # Where every run at risk has one label at every event there is no variance, and no difference either.
    return np.divide(surplus, np.sqrt(variance), out=np.zeros(len(labels)), where=variance > 0)
