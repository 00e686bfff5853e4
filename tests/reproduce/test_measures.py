"""Numbers of several seeds become one, against SciPy and by hand."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from grokkit.errors import InputError
from grokkit.reproduce.measures import find_measure, measured, measured_levels


def runs(**arms):
    """A run for each value of each arm: steps to the first touch, or None within 1,000."""
    rows = []
    for method, values in arms.items():
        for seed, at in enumerate(values):
            rows.append(
                {"run_id": f"{method}{seed}", "method": method, "seed": seed, "budget": 1000, "steps": at or 1000}
                | {"generalized_first_at": at, "generalized_at": at, "dips": None if at is None else seed % 2}
            )
    return pl.DataFrame(rows, infer_schema_length=None)


CURVES = pl.DataFrame({"run_id": ["a0", "a0", "a0"], "step": [0, 100, 500], "test_loss": [3.0, 7.0, 9.0]})


def test_times_have_a_geometric_mean_with_the_t_interval_of_logarithms():
    found = measured("first steps", runs(a=[100, 200, 400]), CURVES, "a", None)
    logs = np.log([100, 200, 400])
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert found == pytest.approx((200, math.exp(low), math.exp(high), 3))


def test_censored_runs_leave_a_median_or_a_bound():
    found = measured("first steps", runs(a=[100, 200, None]), CURVES, "a", None)
    assert found.value == 200
    never = measured("first steps", runs(a=[None, None, 300]), CURVES, "a", None)
    assert never.value is None
    assert never.low == 1000
    assert never.high is None


def test_a_ratio_is_paired_by_seed():
    found = measured("first steps", runs(a=[100, 200, 300], b=[200, 400, 600]), CURVES, "a", "b")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_delay_that_was_not_seen_to_end_is_known_from_where_the_run_memorized():
    rows = runs(a=[None, None, None], b=[300, 300, 300])
    memorized = [400, 600, None, 300, 200, 350]  # one run of a never memorized; runs of b: at once, after 100, before
    delay = [None, None, None, 0, 100, -50]
    rows = rows.with_columns(memorized_at=pl.Series(memorized), delay_steps=pl.Series(delay))
    never = measured("delay", rows, CURVES, "a", None)
    assert (never.value, never.low, never.high) == (None, 600, None)  # the median of 600, 400 and all of 1,000
    assert measured("delay", rows, CURVES, "b", None).value == pytest.approx(100 ** (1 / 3))


def test_a_share_has_the_exact_binomial_interval():
    found = measured("touched", runs(a=[100, 200, None, None]), CURVES, "a", None)
    expected = stats.binomtest(2, 4).proportion_ci(method="exact")
    assert found == pytest.approx((0.5, expected.low, expected.high, 4))
    assert measured("fell back", runs(a=[100, 200]), CURVES, "a", None).value == 0.5


def test_a_peak_is_that_before_the_target():
    assert measured("peak loss", runs(a=[300]), CURVES, "a", None).value == 7.0
    assert measured("peak loss", runs(a=[None]), CURVES, "a", None).value == 9.0


def test_a_seed_without_a_number_leaves_none():
    assert measured_levels([1.0, None]).value is None
    assert measured_levels([]).value is None
    assert measured_levels([2.0]) == (2.0, None, None, 1)


def test_an_unknown_measure_is_named():
    with pytest.raises(InputError, match="unknown measure 'step'; did you mean 'steps'"):
        find_measure("step")


def test_a_cost_that_was_not_reached_is_at_least_what_was_spent():
    late = {"flops_to_target": None, "flops_below_until": 8e9}
    soon = {"flops_to_target": 2e9, "flops_below_until": 2e9}
    rows = [
        {"method": method, "seed": seed, "budget": 100, **own}
        for seed in range(5)
        for method, own in (("a", late), ("b", soon))
    ]
    found = measured("flops", pl.DataFrame(rows), pl.DataFrame(), "a", "b")
    assert (found.value, found.low) == (None, pytest.approx(4.0))
