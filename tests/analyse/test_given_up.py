"""Runs that were given up enter the paired ratio, and nothing else."""

import polars as pl
import pytest
from made_studies import record

from grokkit.analyse import leaderboard, verdict
from grokkit.report.figures.fraction import fraction_data
from grokkit.report.figures.times import times_data
from grokkit.report.table import arrivals, missing_time
from grokkit.study.store import RUNS

STUDY = {"title": "a*b", "methods": ["base", "late"], "baseline": "base", "seeds": [0, 1, 2, 3], "budget": 1000}
STUDY |= {"target": 0.95, "claim": "steps", "family": ["base", "late"]}


def runs(late):
    """Steps of the second method, seed after seed; a negative one was given up there."""
    rows = [record("base", seed, 100 + 10 * seed) for seed in range(4)]
    for seed, at in enumerate(late):
        ended = {"status": "given up", "below_until": -at, "steps": -at} if at < 0 else {}
        rows.append(record("late", seed, None if at < 0 else at, **ended))
    return pl.DataFrame(rows, schema=RUNS)


def test_a_ratio_takes_them_as_longer_than_that_and_no_other_number_is_made_of_them():
    _, mixed = leaderboard(runs([200, 220, 240, -390]), ["base", "late"], "base", "steps")
    _, plain = leaderboard(runs([200, 220, 240, 390]), ["base", "late"], "base", "steps")
    assert (mixed["given_up"], plain["given_up"]) == (1, 0)
    assert mixed["complete_pairs"] == 3
    assert mixed["pairs"] == 4
    assert mixed["ratio_steps_vs_baseline"] > plain["ratio_steps_vs_baseline"]
    assert mixed["ratio_ci_low"] is not None
    for name in ("success_rate", "median_steps", "median_flops", "median_delay_steps", "best_accuracy", "logrank_p"):
        assert mixed[name] is None, name
    assert mixed["p_success"] is None
    assert plain["success_rate"] == 1


def test_where_all_were_given_up_there_is_a_bound_and_it_is_said_so():
    found = leaderboard(runs([-300, -330, -360, -390]), ["base", "late"], "base", "steps")
    late = found[1]
    assert late["ratio_bound"] == pytest.approx(3.0, rel=1e-6)
    assert late["ratio_bound_side"] == "at least"
    assert late["p"] is None
    assert (arrivals(late), missing_time(late)) == ("4/4 given up", "given up")
    text = verdict(found, STUDY)
    assert "given up: late (4 of 4 runs given up, at least 3.00× the steps)" in text.lower()
    assert "never held" not in text


def test_no_curve_is_drawn_of_them_and_their_marks_say_it():
    table = runs([200, -330, -360, 390])
    assert set(fraction_data(table, ["base", "late"])["method"]) == {"base"}
    marks = times_data(table, ["base", "late"]).filter(method="late")
    assert marks["outcome"].to_list() == ["reached", "given up", "given up", "reached"]
    assert marks["median"].is_null().all()
    assert times_data(table, ["base"])["median"].unique().to_list() == [115.0]
