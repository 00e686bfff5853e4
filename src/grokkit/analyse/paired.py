"""How many times the baseline's time a method needs, seed by seed.

    ratio = exp( mean_s ln( t_method(s) / t_baseline(s) ) )          over the seeds s in which both generalized

The geometric mean rather than the median of the ratios: swapping method and baseline gives exactly the inverse,
every seed counts, and its bootstrap moves smoothly where that of a median of three values knows three values.
The logarithm keeps one slow seed from ruling it.

The interval is the 2.5 % to 97.5 % percentile of 10,000 resamples of the seeds with replacement. Below about
five pairs it can reach no further than the extremes seen, and is then narrower than 95 % deserves. Seeds in
which one of the two never generalized have no ratio; `pairs` says how many are left, and the success rates
beside it say what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000


class PairedRatio(NamedTuple):
    """``value`` < 1: the method needs less than the baseline. ``low``, ``high``: 95 % interval."""

    value: float | None
    low: float | None
    high: float | None
    pairs: int


def paired_ratio(method: Mapping[int, float], baseline: Mapping[int, float], seed: int = 0) -> PairedRatio:
    """The paired ratio of two maps seed → time to target that hold only the runs that got there.

    ``seed`` is the bootstrap's own, so that the same runs always give the same interval. A time of zero
    (at the target before the first step) has no ratio and makes no pair.
    """
    shared = sorted(s for s in method.keys() & baseline.keys() if method[s] > 0 and baseline[s] > 0)
    if not shared:
        return PairedRatio(None, None, None, 0)
    logs = np.log([method[s] for s in shared]) - np.log([baseline[s] for s in shared])
    value = float(np.exp(logs.mean()))
    if len(shared) == 1:
        return PairedRatio(value, None, None, 1)
    draws = np.random.default_rng(seed).integers(len(shared), size=(RESAMPLES, len(shared)))
    low, high = np.exp(np.quantile(logs[draws].mean(axis=1), [0.025, 0.975]))
    return PairedRatio(value, float(low), float(high), len(shared))
