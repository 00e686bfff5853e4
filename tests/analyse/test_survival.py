"""Kaplan–Meier and its median, against hand-computed values, other derivations and lifelines."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

from grokkit.analyse.survival import (
    Median,
    Times,
    delays,
    fraction_reached,
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
        ((100, 200, -1000, -1000), None),  # S = 1/2 from 200 on: half of the runs come later, nobody knows when
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


@pytest.mark.parametrize("seed", range(4))
def test_curve_and_median_are_lifelines(seed: int) -> None:
    draw = np.random.default_rng(seed).exponential(1.0, 15)
    sample = Times(np.minimum(draw, 1.5), draw < 1.5)
    fitter = KaplanMeierFitter().fit(sample.time, sample.reached)
    at, fraction = fraction_reached(sample)
    np.testing.assert_allclose(1 - fraction, fitter.survival_function_at_times(at).to_numpy(), rtol=1e-12)
    assert median_time(sample).value == fitter.median_survival_time_  # of an odd number, S is never exactly 1/2


def test_a_run_that_did_not_stay_is_censored_at_its_last_evaluation_below_the_target() -> None:
    frame = runs(generalized_at=[400, None, None], steps=[600, 1000, 50], below_until=[None, 970, 1000])
    found = times_to_target(frame)
    np.testing.assert_array_equal(found.time, [400, 970, 1000])
    np.testing.assert_array_equal(found.reached, [True, False, False])


def test_where_a_record_has_no_bound_the_budget_is_taken_at_the_run_s_own_pace() -> None:
    frame = runs(
        generalized_at=[400, None, None],
        steps=[600, 1000, 50],
        train_seconds=[6.0, 10.0, 0.5],
        train_seconds_to_target=[4.0, None, None],
        flops=[6e9, 1e10, 5e8],
        flops_to_target=[4e9, None, None],
    )
    np.testing.assert_allclose(times_to_target(frame).time, [400, 1000, 1000])
    np.testing.assert_allclose(times_to_target(frame, "seconds").time, [4, 10, 10])
    np.testing.assert_allclose(times_to_target(frame, "flops").time, [4e9, 1e10, 1e10])
    bounded = frame.with_columns(pl.Series("train_seconds_below_until", [None, 9.7, 10.0]))
    np.testing.assert_allclose(times_to_target(bounded, "seconds").time, [4, 9.7, 10])


def test_a_run_that_never_memorized_does_not_shorten_the_delay() -> None:
    frame = runs(generalized_at=[500, None, None], memorized_at=[100, 200, None], delay_steps=[400, None, None])
    found = delays(frame)
    np.testing.assert_array_equal(found.time, [400, 800, 1000])
    np.testing.assert_array_equal(found.reached, [True, False, False])
    assert median_time(found).value is None


def test_the_delay_of_a_run_that_did_not_stay_is_longer_than_until_its_last_evaluation_below() -> None:
    frame = runs(
        generalized_at=[None, None], memorized_at=[200, None], delay_steps=[None, None], below_until=[970, 980]
    )
    np.testing.assert_array_equal(delays(frame).time, [770, 980])


def test_columns_that_are_null_throughout_are_no_trouble() -> None:
    assert not times_to_target(runs(seed=[0, 1]), "seconds").reached.any()


def test_a_run_that_ended_at_the_target_before_it_memorized_has_a_delay_below_zero():
    frame = pl.DataFrame(
        {
            "delay_steps": [None, 300.0, 500.0],
            "memorized_at": [None, 100.0, 100.0],
            "generalized_at": [200.0, 400.0, 600.0],
            "steps": [250, 450, 650],
            "below_until": [None, None, None],
            "budget": [1000, 1000, 1000],
        }
    )
    found = delays(frame)
    np.testing.assert_array_equal(found.time, [-50, 300, 500])
    assert found.reached.all()
    assert median_time(found).value == 300, "and not that of a run which never arrived"
