"""Kaplan–Meier, its median and the log-rank test, against hand-computed values and other derivations."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from grokkit.analyse.survival import (
    Median,
    Times,
    delays,
    fraction_reached,
    logrank_p,
    median_time,
    times_to_target,
)


def times(*values: float) -> Times:
    """Positive values are events, negative ones censored at their size."""
    array = np.array(values, dtype=float)
    return Times(np.abs(array), array > 0)


def runs(**columns: list) -> pl.DataFrame:
    size = len(next(iter(columns.values())))
    defaults = {
        "budget": [1000] * size,
        "steps": [1000] * size,
        "generalized_at": [None] * size,
        "memorized_at": [None] * size,
        "delay_steps": [None] * size,
        "train_seconds": [10.0] * size,
        "train_seconds_to_target": [None] * size,
    }
    return pl.DataFrame({**defaults, **columns}, infer_schema_length=None)


def test_kaplan_meier_of_a_textbook_sample() -> None:
    # 6 runs: events at 1, 3, 5; censored at 2, 4, 6. S = 5/6, then × 3/4, then × 1/2.
    at, fraction = fraction_reached(times(1, -2, 3, -4, 5, -6))
    np.testing.assert_array_equal(at, [1, 2, 3, 4, 5, 6])
    s1, s3, s5 = 5 / 6, 5 / 6 * 3 / 4, 5 / 6 * 3 / 4 / 2
    np.testing.assert_allclose(1 - fraction, [s1, s1, s3, s3, s5, s5])


def test_ties_fall_in_one_step() -> None:
    at, fraction = fraction_reached(times(2, 2, 3, -3))
    np.testing.assert_array_equal(at, [2, 3])
    np.testing.assert_allclose(fraction, [0.5, 0.75])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_without_censoring_the_median_is_the_ordinary_one(values: list[int]) -> None:
    assert median_time(times(*values)).value == pytest.approx(np.median(values))


@pytest.mark.parametrize(
    ("sample", "median"),
    [
        ((100, 200, -1000), 200),
        ((100, -1000, -1000), None),  # S never falls to 1/2
        ((100, 200, -1000, -1000), 200),  # S = 1/2 from 200 on and nothing after: the first such time
        ((100, 300, 500, -1000), 400),  # S = 1/2 between 300 and 500
        ((-1000, -1000), None),
        ((700,), 700),
    ],
)
def test_median_with_censoring(sample: tuple[float, ...], median: float | None) -> None:
    assert median_time(times(*sample)).value == median


def test_one_run_has_a_median_but_no_interval_and_none_has_nothing() -> None:
    assert median_time(times(5)) == Median(5, None, None)
    assert median_time(times(-5)) == Median(None, None, None)
    assert median_time(times()) == Median(None, None, None)
    assert fraction_reached(times())[0].size == 0


def test_interval_is_where_the_loglog_band_crosses_one_half() -> None:
    """The band from Greenwood's formula, written out."""
    sample = times(3, 5, 6, 8, 9, -10, 12, 14, 15, 18, -20, 22)
    at, events = sample
    order = np.unique(at)
    survival, greenwood, low, high = 1.0, 0.0, None, None
    for t in order:
        risk, dead = int((at >= t).sum()), int(((at == t) & events).sum())
        survival *= 1 - dead / risk
        if dead == risk:
            break
        greenwood += dead / (risk * (risk - dead))
        if survival == 1:
            continue
        spread = 1.959964 * math.sqrt(greenwood) / abs(math.log(survival))
        upper = math.exp(-math.exp(math.log(-math.log(survival)) - spread))
        lower = math.exp(-math.exp(math.log(-math.log(survival)) + spread))
        low = t if low is None and lower <= 0.5 else low
        high = t if high is None and upper <= 0.5 else high
    found = median_time(sample)
    assert (found.low, found.high) == (low, high)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_interval_of_the_median_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        draw = rng.exponential(1.0, 40)
        found = median_time(Times(np.minimum(draw, 3.0), draw < 3.0))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= math.log(2) <= found.high
    assert 0.91 <= hits / 300 <= 0.985


def test_logrank_equals_the_sum_of_observed_minus_expected() -> None:
    a, b = times(1, 4, 6, -9), times(3, 7, 8, 9, -10)
    time = np.concatenate([a.time, b.time])
    reached = np.concatenate([a.reached, b.reached])
    in_a = np.arange(9) < 4
    difference = variance = 0.0
    for t in np.unique(time[reached]):
        risk, risk_a = (time >= t).sum(), ((time >= t) & in_a).sum()
        dead, dead_a = ((time == t) & reached).sum(), ((time == t) & reached & in_a).sum()
        difference += dead_a - dead * risk_a / risk
        if risk > 1:
            variance += dead * risk_a / risk * (1 - risk_a / risk) * (risk - dead) / (risk - 1)
    expected = stats.chi2.sf(difference**2 / variance, 1)
    assert logrank_p(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b"),
    [((-9, -9), (-9, -9)), ((1,), (2, 3, 4)), ((), (1, 2)), ((5, 5), (5, 5))],
    ids=["all censored", "one run", "no run", "all tied: zero variance"],
)
def test_logrank_is_none_where_it_says_nothing(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert logrank_p(times(*a), times(*b)) is None


def test_a_run_that_never_generalized_is_censored_at_its_budget_even_if_it_diverged_early() -> None:
    frame = runs(generalized_at=[400, None, None], steps=[600, 1000, 50])
    found = times_to_target(frame)
    np.testing.assert_array_equal(found.time, [400, 1000, 1000])
    np.testing.assert_array_equal(found.reached, [True, False, False])


def test_seconds_of_a_diverged_run_are_censored_at_its_own_pace_times_the_budget() -> None:
    frame = runs(
        generalized_at=[400, None, None],
        steps=[600, 1000, 50],
        train_seconds=[6.0, 10.0, 0.5],
        train_seconds_to_target=[4.0, None, None],
    )
    found = times_to_target(frame, "seconds")
    np.testing.assert_allclose(found.time, [4, 10, 10])


def test_a_run_that_never_memorized_does_not_shorten_the_delay() -> None:
    frame = runs(generalized_at=[500, None, None], memorized_at=[100, 200, None], delay_steps=[400, None, None])
    found = delays(frame)
    np.testing.assert_array_equal(found.time, [400, 800, 1000])
    np.testing.assert_array_equal(found.reached, [True, False, False])
    assert median_time(found).value is None


def test_columns_that_are_null_throughout_are_no_trouble() -> None:
    assert not times_to_target(runs(seed=[0, 1]), "seconds").reached.any()
