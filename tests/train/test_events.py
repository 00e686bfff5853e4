from itertools import pairwise

import pytest

from grokkit.train.events import evaluation_steps, find_events

STEPS = [0, 10, 20, 30, 40, 50, 60]


def events(train, test, sustain=2, target=0.95):
    return find_events(STEPS[: len(test)], train, test, target=target, sustain=sustain)


def test_delayed_generalization():
    found = events([0, 1, 1, 1, 1, 1, 1], [0, 0, 0.2, 0.5, 0.95, 1, 1])
    assert (found.memorized_at, found.generalized_first_at, found.generalized_at) == (10, 40, 40)
    assert (found.delay_steps, found.resolution_steps, found.confirmed, found.collapsed_at) == (30, 10, True, None)


def test_a_crossing_that_does_not_last_is_first_but_not_sustained():
    found = events([1] * 7, [0, 0.96, 0.5, 0.96, 0.97, 0.96, 0.9])
    assert (found.generalized_first_at, found.generalized_at) == (10, 30)


def test_never_generalizing_is_censored():
    found = events([1] * 7, [0.94] * 7)
    assert (found.generalized_at, found.generalized_first_at, found.delay_steps) == (None, None, None)
    assert not found.confirmed


def test_never_memorizing_has_no_delay():
    assert events([0.5] * 7, [1] * 7).delay_steps is None


def test_generalizing_before_memorizing_is_a_negative_delay():
    assert events([0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]).delay_steps == -10


def test_crossing_at_the_very_end_counts_but_is_not_confirmed():
    found = events([1] * 7, [0, 0, 0, 0, 0, 0, 0.99])
    assert (found.generalized_at, found.confirmed) == (60, False)


def test_collapse_needs_a_fall_well_below_the_target():
    assert events([1] * 7, [0.96, 0.96, 0.96, 0.9, 0.96, 0.96, 0.96], sustain=1).collapsed_at is None
    assert events([1] * 7, [0.96, 0.96, 0.96, 0.9, 0.3, 0.96, 0.96], sustain=1).collapsed_at == 40


@pytest.mark.parametrize(
    ("budget", "every", "growth"), [(1, 10, 0.03), (1000, 10, 0.03), (997, 7, 0.0), (5000, 1, 0.1)]
)
def test_evaluation_grid(budget, every, growth):
    grid = evaluation_steps(budget, every, growth)
    assert (grid[0], grid[-1]) == (0, budget)
    for before, after in pairwise(grid):
        assert 0 < after - before <= max(every, growth * before)
