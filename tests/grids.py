"""Grids of test cases in which every two values meet, instead of all combinations."""

from __future__ import annotations

from itertools import combinations, product


def pairwise(*choices):
    """Combinations, one value of each of ``choices``, in which any two values of two choices stand together.

    Most faults need one value or two to show; of 4 × 3 × 4 combinations 16 hold all pairs.
    """
    every = [tuple(values) for values in product(*choices)]
    open_pairs = {pair for case in every for pair in _pairs(case)}
    chosen = []
    while open_pairs:
        best = max(every, key=lambda case: len(open_pairs & _pairs(case)))
        open_pairs -= _pairs(best)
        chosen.append(best)
    return chosen


def _pairs(case):
    return set(combinations(enumerate(case), 2))
