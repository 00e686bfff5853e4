"""What a search would have found with fewer trials, against all orders counted one by one."""

from itertools import permutations

import pytest

from grokkit.analyse.search_curve import Trial, best_after, best_over_repeats


def better(trial):
    return not trial.arrived, trial.cost


TRIALS = [Trial(300, True), Trial(100, True), Trial(90, False), Trial(200, True), Trial(150, False)]


@pytest.mark.parametrize("k", range(1, 6))
def test_over_all_orders_it_is_what_counting_them_gives(k):
    bests = [min(order[:k], key=better) for order in permutations(TRIALS)]
    ranked = sorted(bests, key=better)

    def quantile(share):
        trial = ranked[max(0, -int(-share * len(ranked) // 1) - 1)]  # the least that so many do not exceed
        return trial.cost if trial.arrived else None

    found = best_after(TRIALS, any_order=True)[k - 1]
    assert found.trials == k
    assert [found.low, found.median, found.high] == [quantile(0.1), quantile(0.5), quantile(0.9)]
    assert found.mean == pytest.approx(sum(trial.cost for trial in bests) / len(bests), rel=1e-12)
    assert found.is_bound == any(not trial.arrived for trial in bests)


def test_as_searched_the_best_so_far_counts_and_no_trial_that_did_not_arrive_is_better():
    found = best_after([TRIALS[2], TRIALS[0], TRIALS[4], TRIALS[1]], any_order=False)
    assert [row.median for row in found] == [None, 300, 300, 100]
    assert [(row.mean, row.is_bound) for row in found] == [(90, True), (300, False), (300, False), (100, False)]
    assert all(row.low is None and row.high is None for row in found)


def test_over_repeats_the_band_is_of_what_each_had_found_by_then():
    repeats = [[Trial(100 * cost, True), Trial(50 * cost, True)] for cost in range(1, 12)]
    repeats[10] = [Trial(10, False), Trial(20, False), Trial(5, True)]  # longer than the others, and late
    first, second = best_over_repeats(repeats)
    assert (first.low, first.median, first.high) == (200, 600, 1000), "the 2nd, 6th and 10th of eleven"
    assert (second.low, second.median, second.high) == (100, 300, 500)
    assert first.is_bound
    assert first.mean == pytest.approx((sum(range(1, 11)) * 100 + 10) / 11, rel=1e-12)
    every = best_over_repeats([[Trial(10, False)]] * 3)[0]
    assert (every.low, every.median, every.high) == (None, None, None)
    assert best_over_repeats([[], [Trial(1, True)]]) == []
