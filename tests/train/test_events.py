import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokkit.train.events import EVENTS, evaluation_steps, find_events, find_loss_events

STEPS = [0, 10, 20, 30, 40, 50, 60]


def events(train, test, sustain=2, target=0.95, after=0):
    return find_events(STEPS[: len(test)], train, test, target=target, sustain=sustain, after=after)


def test_delayed_generalization():
    found = events([0, 1, 1, 1, 1, 1, 1], [0, 0, 0.2, 0.5, 0.95, 1, 1])
    assert (found.memorized_at, found.generalized_first_at, found.generalized_at) == (10, 40, 40)
    assert (found.delay_steps, found.resolution_steps, found.collapsed_at) == (30, 10, None)
    assert (found.below_until, found.stable_at, found.dips, found.deepest_dip) == (None, None, 0, 0.0)


def test_a_crossing_that_does_not_last_is_first_but_not_sustained():
    found = events([1] * 7, [0, 0.96, 0.5, 0.96, 0.97, 0.96, 0.9])
    assert (found.generalized_first_at, found.generalized_at) == (10, 30)
    assert (found.dips, found.deepest_dip) == (2, pytest.approx(0.45))


def test_never_generalizing_is_censored():
    found = events([1] * 7, [0.94] * 7)
    assert (found.generalized_at, found.generalized_first_at, found.delay_steps) == (None, None, None)
    assert (found.below_until, found.dips, found.deepest_dip) == (60, None, None)


def test_never_memorizing_has_no_delay():
    assert events([0.5] * 7, [1] * 7).delay_steps is None


def test_generalizing_before_memorizing_is_a_negative_delay():
    assert events([0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]).delay_steps == -10


@pytest.mark.parametrize(("at_target", "stays", "below"), [(1, None, 50), (2, None, 40), (3, 40, None)])
def test_a_window_that_the_end_of_the_run_cuts_short_is_no_success(at_target, stays, below):
    found = events([1] * 7, [0.9] * (7 - at_target) + [0.99] * at_target, sustain=2)
    assert found.generalized_first_at == STEPS[7 - at_target]
    assert (found.generalized_at, found.below_until) == (stays, below)


def test_at_the_target_from_the_start_without_a_window_nothing_is_known_but_that_it_takes_no_less_than_0_steps():
    found = events([1] * 2, [0.95, 0.96], sustain=2)
    assert (found.generalized_first_at, found.generalized_at, found.below_until) == (0, None, 0)


def test_without_an_evaluation_nothing_has_happened():
    found = events([], [], after=10)
    assert (found.generalized_first_at, found.generalized_at, found.stable_at, found.dips) == (None,) * 4


@pytest.mark.parametrize(
    ("test", "after", "stable"),
    [
        ([0, 0.95, 0.94, 0.95, 0.93, 0.95, 0.96], 20, 10),  # a point below is none too many, more is
        ([0, 0.95, 0.94, 0.95, 0.93, 0.95, 0.96], 10, 10),
        ([0, 0.95, 0.94, 0.95, 0.93, 0.95, 0.96], 30, None),
        ([0, 0.95, 0.93, 0.94, 0.95, 0.95, 0.96], 20, 40),  # not from 30 on: that is below the target itself
        ([0, 0.95, 0.93, 0.94, 0.95, 0.95, 0.96], 21, None),  # 61 steps are more than the run has
        ([0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95], 0, None),  # nobody asked
        ([0, 0.95, 0.95, 0.95, math.nan, 0.95, 0.95], 30, None),
    ],
)
def test_stable_is_never_more_than_a_point_below_for_as_long_as_was_asked(test, after, stable):
    assert events([1] * 7, test, after=after).stable_at == stable


def test_a_run_may_be_stable_before_it_stays_or_without():
    found = events([1] * 7, [0, 0.95, 0.945, 0.95, 0.945, 0.95, 0.945], after=20)
    assert (found.generalized_at, found.stable_at, found.below_until) == (None, 10, 60)


@pytest.mark.parametrize(
    ("test", "counts", "below", "since"),
    [
        ([0, 0.95, 0.94, 0.95, 0.93, 0.95, 0.96], 10, None, 50),  # a dip after the window changes nothing
        ([0, 0.95, 0.93, 0.94, 0.95, 0.95, 0.96], 40, None, 40),
        ([0, 0.95, 0.95, 0.93, 0.94, 0.95, 0.95], None, 40, 50),  # it may be stable from 50 on, and nobody saw it
        ([0, 0.95, 0.95, 0.93, 0.94, 0.94, 0.94], None, 60, None),
        ([0, 0.95, 0.93, 0.95, 0.93, 0.95, math.nan], None, 60, None),
    ],
)
def test_where_stable_is_what_counts_all_of_it_is_of_that_event(test, counts, below, since):
    found = find_events(STEPS, [1] * 7, test, target=0.95, sustain=0, after=20, event="stable")
    assert (found.generalized_at, found.stable_at, found.below_until, found.holds_since) == (
        counts,
        counts,
        below,
        since,
    )
    assert found.generalized_first_at == 10
    assert found.delay_steps == counts


def test_a_collapse_of_what_is_stable_comes_after_its_window():
    values = [0, 0.96, 0.96, 0.96, 0.5, 0.96, 0.96]
    found = find_events(STEPS, [1] * 7, values, target=0.95, sustain=0, after=20, event="stable")
    assert (found.generalized_at, found.collapsed_at) == (10, 40)
    losses = [-value for value in values]
    stable = find_loss_events(
        STEPS, losses, [3, 0.1, 0.1, 0.1, 0.5, 0.1, 0.1], target=0.2, sustain=0, after=20, event="stable"
    )
    assert (stable.generalized_at, stable.collapsed_at) == (10, 40)


def test_dips_are_stretches_of_evaluations():
    found = events([1] * 7, [0.2, 0.96, 0.8, 0.7, 0.945, 0.9, 0.96])
    assert (found.dips, found.deepest_dip) == (2, pytest.approx(0.25))
    assert events([1] * 7, [0.2, 0.96, math.nan, 0.7, 0.95, 0.95, 0.95]).deepest_dip == math.inf


def test_dips_of_losses_are_above_1_1_times_the_target():
    losses = [3.0, 0.2, 0.22, 0.221, 0.5, 0.1, 0.23]
    found = find_loss_events(STEPS, [0.0] * 7, losses, target=0.2, sustain=2, after=10)
    assert (found.dips, found.deepest_dip) == (2, pytest.approx(0.3))
    assert (found.generalized_first_at, found.stable_at, found.below_until) == (10, 10, 60)


def test_dips_of_small_losses_are_above_1_1_times_the_target_too():
    found = find_loss_events(STEPS[:4], [0.0] * 4, [1, 1e-9, 1.2e-9, 1e-9], target=1e-9, sustain=0)
    assert (found.dips, found.deepest_dip) == (1, pytest.approx(0.2e-9))


def test_a_collapse_is_told_as_a_dip_is_from_rounding_and_from_what_is_no_number():
    assert find_events([0, 1, 2], [1] * 3, [0, 0.8, 0.7], target=0.8, sustain=0).collapsed_at is None
    assert find_loss_events([0, 1, 2], [1] * 3, [1, 0.1, math.nan], target=0.2, sustain=0).collapsed_at == 2


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


# Values around the target, one and ten points below it, in steps of a quarter point, so that every rule is touched.
ACCURACIES = st.one_of(
    st.integers(0, 40).map(lambda quarters: 0.96 - quarters / 400), st.sampled_from([0.0, 0.5, 0.95, 0.94, math.nan])
)


@st.composite
def evaluated_runs(draw):
    """Evaluations at uneven steps, the first at 0, and how far back each is certain."""
    gaps = draw(st.lists(st.integers(1, 30), max_size=25))
    steps = [0]
    for gap in gaps:
        steps.append(steps[-1] + gap)
    values = st.lists(ACCURACIES, min_size=len(steps), max_size=len(steps))
    certain = [0] + [draw(st.integers(before, after - 1)) for before, after in pairwise(steps)]
    return steps, draw(values), draw(values), certain


def plainly(steps, train, test, certain, target, sustain, after, event):
    """The definitions as they are said, each evaluation asked about every other."""
    places = range(len(steps))
    reached = [i for i in places if test[i] >= target]
    memorized = [i for i in places if train[i] >= target]
    dips = [not test[i] >= target - 0.01 - 1e-9 for i in places]
    stays = [i for i in reached if i + sustain < len(steps) and all(j in reached for j in range(i, i + sustain + 1))]
    stable = [
        i
        for i in reached
        if after > 0
        and steps[i] + after <= steps[-1]
        and not any(dips[j] for j in places if steps[i] < steps[j] <= steps[i] + after)
    ]
    counts = stable if event == "stable" else stays
    since = [i for i in reached if not any(dips[i:])]
    collapses = []
    if counts:
        begin = counts[0]
        past = [i for i in places if (steps[i] > steps[begin] + after if event == "stable" else i > begin + sustain)]
        collapses = [i for i in past if not test[i] >= target - 0.10 - 1e-9]
    before = [i for i in places if i not in reached and not (event == "stable" and since and i > since[0])]
    dipping = [i for i in places if reached and i > reached[0] and dips[i]]
    depths = [math.inf if math.isnan(test[i]) else target - test[i] for i in dipping]

    def first(found, of=steps):
        return of[found[0]] if found else None

    gaps = [step - back for step, back in zip(steps, certain, strict=True)]
    return {
        "memorized_at": first(memorized),
        "generalized_first_at": first(reached),
        "generalized_at": first(counts),
        "stable_at": first(stable),
        "collapsed_at": first(collapses),
        "below_until": None if counts else max([0, *(steps[i] for i in before)]),
        "holds_since": first(since),
        "dips": len([i for i in dipping if not dips[i - 1]]) if reached else None,
        "deepest_dip": max([0.0, *depths]) if reached else None,
        "memorized_resolution_steps": first(memorized, gaps),
        "first_resolution_steps": first(reached, gaps),
        "resolution_steps": first(counts, gaps),
    }


@given(run=evaluated_runs(), sustain=st.integers(0, 6), after=st.integers(0, 120), event=st.sampled_from(EVENTS))
def test_events_are_what_the_definitions_say(run, sustain, after, event):
    steps, train, test, certain = run
    found = find_events(steps, train, test, target=0.95, sustain=sustain, after=after, event=event, certain=certain)
    assert vars(found) == plainly(steps, train, test, certain, 0.95, sustain, after, event)


@given(
    run=evaluated_runs(),
    sustain=st.integers(0, 6),
    after=st.integers(1, 120),
    longer=evaluated_runs(),
    counts=st.sampled_from(EVENTS),
)
def test_what_has_happened_in_a_run_does_not_change_when_it_goes_on(run, sustain, after, longer, counts):
    """So the trainer may stop as soon as all has happened, and a run resumed is the run it was."""
    steps, train, test, _ = run
    further = [steps[-1] + 1 + step for step in longer[0]], longer[1], longer[2]
    short = find_events(steps, train, test, target=0.95, sustain=sustain, after=after, event=counts)
    whole = find_events(
        *(mine + more for mine, more in zip((steps, train, test), further, strict=True)),
        target=0.95,
        sustain=sustain,
        after=after,
        event=counts,
    )
    for event in ("memorized_at", "generalized_first_at", "generalized_at", "stable_at", "collapsed_at"):
        if getattr(short, event) is not None:
            assert getattr(whole, event) == getattr(short, event), event
    if whole.generalized_at is not None and short.generalized_at is None:
        assert whole.generalized_at > short.below_until or short.below_until == 0, "the bound holds"
    if short.dips is not None:
        assert whole.dips >= short.dips
