"""Numbers of several seeds become one, against SciPy and by hand."""

import json
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from grokkit.analyse.paired import Time
from grokkit.errors import InputError
from grokkit.reproduce.measures import (
    find_measure,
    measured,
    measured_levels,
    measured_ratios,
    measured_share,
    measured_times,
    time_of,
)


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
    few = measured("first steps", runs(a=[None, None, 300]), CURVES, "a", None)
    assert few == (None, None, None, 3), "a median lies below all of three times once in eight"
    never = measured("first steps", runs(a=[None, None, None, 300, 400]), CURVES, "a", None)
    assert never == (None, 300, None, 5), "and below all of five once in thirty-two"


def test_a_ratio_is_paired_by_seed():
    found = measured("first steps", runs(a=[100, 200, 300], b=[200, 400, 600]), CURVES, "a", "b")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_delay_is_between_first_touches_and_one_not_seen_to_end_is_known_from_where_the_run_memorized():
    rows = runs(a=[None] * 5, b=[300] * 5)
    memorized = [400, 600, None, 700, 500, 300, 200, 350, 300, 300]  # one of a never; of b at once, before, after
    first = pl.Series([*[None] * 5, *[300] * 5])
    stays = pl.Series([*[None] * 5, *[900] * 5])
    rows = rows.with_columns(
        memorized_at=pl.Series(memorized), generalized_first_at=first, generalized_at=stays, first_resolution_steps=20
    )
    never = measured("delay", rows, CURVES, "a", None)
    assert (never.value, never.low, never.high) == (None, 300, None)  # of 300, 400, 500, 600 and all of 1,000
    found = measured("delay", rows, CURVES, "b", None)
    assert found.value == pytest.approx((20 * 100 * 50 * 20 * 20) ** (1 / 5)), "no finer than the evaluations"


def test_a_run_that_ended_at_the_target_before_it_memorized_is_known_until_there_and_no_longer():
    rows = runs(a=[100, 200, 300, None, None], b=[400, 400, 400, 400, 400]).with_columns(
        memorized_at=pl.Series([None, None, None, 600, None, *[200] * 5]),
        steps=pl.Series([150, 250, 350, 1000, 1000, *[450] * 5]),
    )
    alone = measured("memorized", rows, CURVES, "a", None)
    assert alone == (None, 150, None, 5), "of five times the least, 150 steps of the first run"
    assert measured("memorized", rows[:3], CURVES, "a", None) == (None, None, None, 3)
    assert time_of("memorized", rows[:1], CURVES) == (150, False)
    assert time_of("memorized", rows[4:5], CURVES) == (1000, False), "its whole budget was seen"
    at_all = measured("memorized at all", rows, CURVES, "a", None)
    assert at_all == (None, None, None, 5)
    assert measured("memorized at all", rows[3:5], CURVES, "a", None).value == 0.5
    assert measured("memorized at all", rows, CURVES, "b", None).value == 1


def test_a_share_has_the_exact_binomial_interval():
    found = measured("touched", runs(a=[100, 200, None, None]), CURVES, "a", None)
    expected = stats.binomtest(2, 4).proportion_ci(method="exact")
    assert found == pytest.approx((0.5, expected.low, expected.high, 4))
    rows = runs(a=[100, 200]).with_columns(deepest_dip=pl.Series([0.9, 0.02]))
    assert measured("fell back", rows, CURVES, "a", None).value == 0.5
    assert measured("fell to chance", rows, CURVES, "a", None).value == 0.5


def test_of_a_run_that_never_touched_the_target_nothing_is_known_of_what_came_after():
    for name in ("fell back", "fell to chance"):
        assert measured(name, runs(a=[100, None]), CURVES, "a", None) == (None, None, None, 2)


def test_seconds_to_a_first_touch_are_those_of_its_evaluation_and_not_of_the_target_that_stays():
    rows = runs(a=[300]).with_columns(generalized_at=900)
    curves = pl.DataFrame({"run_id": ["a0"] * 3, "step": [0, 300, 900], "train_seconds": [0.0, 3.5, 9.0]})
    assert measured("first seconds", rows, curves, "a", None).value == pytest.approx(3.5)


@pytest.mark.parametrize("name", ["seconds", "seconds a step"])
def test_seconds_of_two_processors_or_devices_make_no_ratio(name):
    slow, fast, gpu = ({"processor": "old"}, {"processor": "new"}, {"processor": "new", "device": "one GPU"})
    made = [slow, fast, fast, gpu, slow, fast, gpu, gpu]  # of four seeds of a, then of b
    seconds = pl.Series([40.0, 10, 10, 1, 20, 5, 1, 0.5])
    rows = runs(a=[100] * 4, b=[100] * 4).with_columns(
        provenance=pl.Series([json.dumps(where) for where in made]),
        train_seconds=seconds,
        train_seconds_to_target=seconds,
        train_seconds_below_until=seconds,
        start_seconds=0.0,
    )
    found = measured(name, rows, CURVES, "a", "b")
    assert (found.value, found.runs) == (pytest.approx(2), 3), "of seed 2 one was on the GPU and one was not"


def test_the_entropy_rises_to_where_a_run_memorized_and_falls_to_the_target():
    rows = runs(a=[400, None]).with_columns(memorized_at=200)
    one = {"step": [0, 100, 200, 300, 400, 500], "gradient_entropy": [None, 2.0, 8.0, 4.0, 3.0, 1.0]}
    curves = pl.concat([pl.DataFrame({"run_id": [run_id] * 6, **one}) for run_id in ("a0", "a1")])
    assert measured("entropy rise", rows[:1], curves, "a", None).value == pytest.approx(8 / 2)
    assert measured("entropy fall", rows[:1], curves, "a", None).value == pytest.approx(3 / 8)
    assert measured("entropy rise", rows, curves, "a", None).value == pytest.approx(8 / 2)
    assert measured("entropy fall", rows, curves, "a", None).value is None, "one run never got to the target"


def test_a_spike_of_the_entropy_is_over_the_run_s_median():
    curves = pl.DataFrame(
        {
            "run_id": ["a0"] * 4,
            "step": [0, 10, 20, 30],
            "gradient_entropy": [None, 1.0, 9.0, 3.0],
            "filtered_gradient_entropy": [None, 2.0, 4.0, 6.0],
        }
    )
    found = measured("entropy spike after over before", runs(a=[30]), curves, "a", None)
    assert found.value == pytest.approx((6 / 4) / (9 / 3))


def test_a_run_that_ends_at_its_target_before_it_memorizes_has_a_delay_of_what_it_went_on_for():
    rows = runs(a=[300, 300, 300]).with_columns(
        memorized_at=pl.Series([None] * 3, dtype=pl.Int64), generalized_at=300, steps=350
    )
    assert measured("delay", rows, CURVES, "a", None) == (None, None, None, 3)
    assert time_of("delay", rows[:1], CURVES) == (50.0, False)


def test_times_of_experiments_are_divided_as_those_of_a_study_are():
    own = {0: Time(3000, True), 1: Time(3100, True), 2: Time(2900, True), 3: Time(3200, True), 4: Time(5000, False)}
    other = {seed: Time(1000.0, True) for seed in own}
    found = measured_times(own, other)
    assert found.value is not None
    assert found.low is not None
    assert 3 < found.value < 6, "a run that did not arrive is not left out"
    assert found.low > 1
    late = measured_times({seed: Time(5000, False) for seed in own}, other)
    assert late == (None, pytest.approx(5), None, 5)


def test_the_time_of_one_run_is_known_or_longer_than_its_budget():
    assert time_of("first steps", runs(a=[300]), CURVES) == (300.0, True)
    assert time_of("first steps", runs(a=[None]), CURVES)[1] is False


def test_a_peak_is_that_before_the_target():
    assert measured("peak loss", runs(a=[300]), CURVES, "a", None).value == 7.0
    assert measured("peak loss", runs(a=[None]), CURVES, "a", None).value == 9.0


def test_a_seed_without_a_number_leaves_none():
    assert measured_levels([1.0, None]).value is None
    assert measured_levels([]).value is None
    assert measured_levels([2.0]) == (2.0, None, None, 1)
    assert measured_share([1.0, None]) == (None, None, None, 2)


def test_ratios_of_an_experiment_are_those_of_a_study():
    expected = measured("first steps", runs(a=[100, 300, 900], b=[200, 200, 200]), CURVES, "a", "b")
    assert measured_ratios([0.5, 1.5, 4.5]) == pytest.approx((expected.value, expected.low, expected.high, 3))
    assert expected.value == pytest.approx(1.5)
    for unknown in (None, 0.0, math.nan, math.inf):
        assert measured_ratios([0.5, 1.5, unknown]) == (None, None, None, 3)


@pytest.mark.parametrize("spoilt", [math.inf, math.nan])
def test_what_is_not_finite_is_no_level_to_compare_with(spoilt):
    rows = runs(a=[100, 200, 300], b=[100, 200, 300])
    for losses in ([spoilt, 2.0, 3.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 1.0, spoilt, 1.0]):
        found = measured("best loss", rows.with_columns(best_test_loss=pl.Series(losses)), CURVES, "a", "b")
        assert found == (None, None, None, 3)


def test_a_share_of_seeds_has_the_exact_interval_and_stays_between_none_and_all():
    found = measured_share([1.0, 1.0] + [0.0] * 8)
    expected = stats.binomtest(2, 10).proportion_ci(method="exact")
    assert found == pytest.approx((0.2, expected.low, expected.high, 10))
    assert measured_share([1.0] * 10).high == 1


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
