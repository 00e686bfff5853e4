"""A suite's numbers on runs small enough to do by hand."""

import math

import polars as pl
import pytest
from made_suites import runs, suite_of

from grokkit.analyse.paired import Time, plain_ratio, resolution
from grokkit.analyse.suite import Cell, over_tasks, profiles
from grokkit.analyse.suite_verdict import suite_verdict

T2 = 4.302652729911275  # of Student's t with two degrees of freedom, two-sided 95 %, from a table


def test_the_number_is_the_geometric_mean_and_its_interval_the_t_interval_over_tasks():
    found = over_tasks([Cell(0.5), Cell(0.8), Cell(0.4)])
    logs = [math.log(0.5), math.log(0.8), math.log(0.4)]
    mean = sum(logs) / 3
    spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2)
    assert found.value == pytest.approx((0.5 * 0.8 * 0.4) ** (1 / 3), rel=1e-12)
    assert found.low == pytest.approx(math.exp(mean - T2 * spread / math.sqrt(3)), rel=1e-9)
    assert found.high == pytest.approx(math.exp(mean + T2 * spread / math.sqrt(3)), rel=1e-9)
    # With two degrees of freedom, p = 1 − t/√(2 + t²).
    t = abs(mean) / (spread / math.sqrt(3))
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9)
    assert (found.pairs, found.complete) == (3, 3)


@pytest.mark.parametrize(
    ("cells", "value", "bound", "side"),
    [
        ([Cell(0.5), Cell(2.0)], 1.0, None, None),
        # log₂ of the ratios: −1, −1, 2, with the mean 0 and the standard deviation √3; and −1, −1, −2, with −4/3 and √⅓
        ([Cell(0.5), Cell(0.5), Cell(4.0, "at least")], None, 2.0**-T2, "at least"),
        ([Cell(0.5), Cell(0.5), Cell(0.25, "at most")], None, 2 ** (-4 / 3 + T2 / 3), "at most"),
        ([Cell(0.5), Cell(4.0, "at least")], None, None, None),
        ([Cell(0.5), Cell(2.0, "at least"), Cell(0.25, "at most")], None, None, None),
        ([Cell(None), Cell(None)], None, None, None),
    ],
)
def test_fewer_than_three_tasks_or_a_bound_have_no_interval_and_no_test(cells, value, bound, side):
    found = over_tasks(cells)
    assert found.value == (value if value is None else pytest.approx(value, rel=1e-12))
    assert found.bound == (bound if bound is None else pytest.approx(bound, rel=1e-9))
    assert (found.side, found.low, found.high, found.p) == (side, None, None, None)


def test_a_task_that_says_nothing_is_counted_and_left_out():
    assert over_tasks([Cell(0.5), Cell(None), Cell(0.5), Cell(2.0)]).pairs == 3


def test_what_evaluations_leave_open_may_take_a_claim_away():
    surely = [Cell(0.5), Cell(0.5), Cell(0.51)]
    found = over_tasks([cell._replace(larger=1.9, smaller=0.9) for cell in surely])
    moved = over_tasks([Cell(cell.value * 1.9) for cell in surely])
    assert over_tasks(surely).p_unfavourable is None
    assert found.p == over_tasks(surely).p < 0.001
    assert found.p_unfavourable == pytest.approx(moved.p, rel=1e-9)
    assert over_tasks([cell._replace(larger=2.1) for cell in surely]).p_unfavourable == 1.0


def test_a_ratio_with_censored_runs_is_at_their_bounds_and_says_which_way_that_is_wrong():
    base = {0: Time(100, True), 1: Time(400, True), 2: Time(50, False)}
    cases = [
        ({0: Time(200, True), 1: Time(200, True)}, 1.0, None),
        ({0: Time(200, True), 1: Time(800, False)}, 2.0, "at least"),
        ({0: Time(200, True), 2: Time(25, True)}, 1.0, "at most"),
    ]
    for own, ratio, way in cases:
        value, side = plain_ratio(own, base)
        assert (value, side) == (pytest.approx(ratio, rel=1e-12), way)
    assert plain_ratio({0: Time(200, False), 2: Time(25, True)}, base) == (None, None)
    assert plain_ratio({2: Time(25, False)}, base) == (None, None)


def test_the_resolution_is_how_much_earlier_each_side_may_have_arrived():
    base = {0: Time(100, True, 50), 1: Time(100, True, 100)}
    larger, smaller = resolution({0: Time(80, True, 20), 1: Time(80, True, 80)}, base)
    assert larger == pytest.approx(math.sqrt(2), rel=1e-12)
    assert smaller == pytest.approx(0.5, rel=1e-12)
    assert resolution({0: Time(80, True, 80)}, {0: Time(100, True, 100)}) == (1.0, 1.0)


def test_a_method_that_fails_on_a_task_does_not_get_away_with_the_others():
    easy, hard = runs(base=[100, 100, 100], own=[50, 50, 50]), runs(base=[100, 100, 100], own=[-800, -800, 100])
    rows, said = suite_of(easy, easy, hard)
    own = rows[1]
    assert own["ratio_flops_vs_baseline"] is None
    assert own["ratio_flops_bound"] == pytest.approx(2.0**-T2, rel=1e-9), "8, 8 and 1 make 4"
    assert (own["successes"], own["runs"], own["whole"], own["tasks"]) == (7, 9, 2, 3)
    verdict = suite_verdict(rows, said)
    assert "a bound alone, and no claim: own at least 0.0507× (7 of 9 runs arrived)" in verdict


def test_a_task_of_which_one_seed_alone_tells_is_no_estimate():
    """Both arms arrive in one seed of three and in no other; the rest is chosen by what is asked."""
    rows, said = suite_of(*[runs(base=[100, -900, -900], own=[own, -900, -900]) for own in (50, 48, 52)])
    assert rows[1]["pairs"] == 0
    assert "No number: own (3 of 9 runs arrived)" in suite_verdict(rows, said)


def test_a_claim_an_interval_that_claims_nothing_and_too_few_tasks_are_told_apart():
    half = [runs(base=[100, 100, 100], own=[own, own, own]) for own in (50, 51, 49)]
    rows, said = suite_of(*half)
    assert "own needs 0.50× the FLOPs of the tuned base (95 % interval 0.48–0.53)" in suite_verdict(rows, said)
    either = [runs(base=[100, 100, 100], own=[own, own, own]) for own in (50, 200, 90)]
    verdict = suite_verdict(*suite_of(*either))
    assert "nothing was shown to need less than the tuned base" in verdict
    assert "Nothing is claimed of these, whose intervals leave it open" in verdict
    assert "So many tasks could have shown a ratio of 5." in verdict
    assert "Fewer than 3 tasks make no interval, and so no claim: own 0.50×" in suite_verdict(*suite_of(*half[:2]))


def test_a_baseline_without_a_run_is_said_and_not_that_no_run_has_finished():
    rows, said = suite_of(runs(own=[50, 51, 49]))
    assert suite_verdict(rows, said) == "On the held-out tasks of mine, no run of base has finished to compare with."


def test_what_keeps_a_method_from_a_claim_is_called_by_its_name():
    tasks = [runs(base=[100] * 3, own=[own] * 3, other=[other] * 3) for own, other in ((50, 60), (58, 50), (70, 74))]
    looks = suite_verdict(*suite_of(*[task.filter(pl.col("method") != "other") for task in tasks], looks=[{}, {}]))
    assert "Not claimed, because the suite was looked at before: own 0.59×" in looks
    assert "so many methods" not in looks
    many = suite_verdict(*suite_of(*tasks, methods=("base", "own", "other")))
    assert "Not claimed, because so many methods were tried: own 0.59× (0.39–0.89) and other 0.61×" in many


def test_a_primary_method_without_a_claim_keeps_the_others_from_one():
    tasks = [runs(base=[100] * 3, own=[own] * 3, first=[first] * 3) for own, first in ((50, 50), (51, 200), (49, 90))]
    verdict = suite_verdict(*suite_of(*tasks, methods=("base", "own", "first"), primary="first"))
    assert "Not claimed, because the method that is tested first has no claim: own 0.50×" in verdict
    assert "first was named to be tested first, and without its claim there is none of the others." in verdict


def test_profiles_count_tasks_alike_and_runs_that_did_not_arrive_as_never():
    one = runs(base=[100, 100], own=[50, 400])  # best: own and base
    other = runs(base=[-1000], own=[300])
    steps, until = profiles([one, other], ["base", "own"], "flops")
    assert until is None
    # Of the first task each seed is a quarter of the whole, the second task's only one is a half.
    assert steps["base"] == [[1.0, 0.25], [2.0, 0.5]]
    assert steps["own"] == [[1.0, 0.75], [4.0, 1.0]]


def test_profiles_are_known_as_far_as_no_run_was_given_up():
    early = runs(base=[100, 100], own=[150, -400]).with_columns(
        status=pl.when(pl.col("generalized_at").is_null()).then(pl.lit("given up")).otherwise(pl.col("status"))
    )
    steps, until = profiles([early], ["base", "own"], "flops")
    assert until == 4.0
    assert steps["own"] == [[1.0, 0.0], [1.5, 0.5]]


def given_up(task, method):
    """The task's runs, with those of ``method`` that did not arrive given up."""
    is_late = pl.col("generalized_at").is_null() & (pl.col("method") == method)
    return task.with_columns(status=pl.when(is_late).then(pl.lit("given up")).otherwise("status"))


def test_how_often_a_method_arrives_of_which_runs_were_given_up_is_not_said():
    tasks = [runs(base=[100] * 4, own=[150, 160 + seen, 170, -400], late=[-300] * 4) for seen in range(3)]
    ended = [given_up(given_up(task, "own"), "late") for task in tasks]
    rows, said = suite_of(*ended, methods=("base", "own", "late"))
    assert [row["given_up"] for row in rows] == [0, 3, 12]
    assert [row["success_rate"] for row in rows] == [1, None, None]
    text = suite_verdict(rows, said)
    assert "3 of 12 runs given up" in text
    assert "Runs did not arrive or were given up, so there is a bound alone, and no claim: late" in text
    assert "12 of 12 runs given up" in text
    assert "arrived" not in text
    rows, said = suite_of(*tasks, methods=("base", "own", "late"))
    assert [row["success_rate"] for row in rows] == [1, 0.75, 0]
    assert "9 of 12 runs arrived" in suite_verdict(rows, said)


def test_seeds_that_one_method_lacks_are_in_no_profile():
    steps, _ = profiles([runs(base=[100, 100], own=[50])], ["base", "own"], "flops")
    assert steps == {"base": [[1.0, 0.0], [2.0, 1.0]], "own": [[1.0, 1.0]]}
