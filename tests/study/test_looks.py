"""What a folder remembers of its claims."""

import polars as pl
import pytest

from grokkit.errors import InputError
from grokkit.study.looks import looked, settled


def study(*methods, claim=None, primary=None, baseline=None):
    return {"methods": list(methods), "claim": claim, "primary": primary, "baseline": baseline}


def test_a_new_study_claims_in_flops_and_remembers_its_arms():
    made = settled(None, study("adamw", "x"), has_runs=False)
    assert (made["claim"], made["primary"], made["family"], made["looks"]) == ("flops", None, ["adamw", "x"], [])


def test_what_was_said_once_holds_when_it_is_left_out():
    before = settled(None, study("adamw", "x", claim="steps", primary="x"), has_runs=False)
    made = settled(before, study("adamw", "x"), has_runs=True)
    assert (made["claim"], made["primary"]) == ("steps", "x")
    assert settled(before, study("adamw", "x", claim="steps", primary="x"), has_runs=True) == made


def test_arms_that_are_left_out_later_stay_in_the_family():
    before = settled(None, study("adamw", "x", "y"), has_runs=False)
    assert settled(before, study("adamw", "z", "x"), has_runs=True)["family"] == ["adamw", "x", "y", "z"]
    older = {"methods": ["adamw", "x", "y"]}  # of before there was a family
    assert settled(older, study("adamw"), has_runs=True)["family"] == ["adamw", "x", "y"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"claim": "seconds"}, r"--claim seconds comes too late: .* made with --claim flops, .* another --out"),
        ({"primary": "x"}, r"--primary x comes too late: this study had no --primary, and has finished runs"),
        ({"baseline": "x"}, r"--baseline x comes too late: this study was to be made with --baseline adamw"),
    ],
    ids=str,
)
def test_cost_and_primary_arm_are_settled_by_the_first_finished_run(asked, message):
    before = settled(None, study("adamw", "x"), has_runs=False)
    with pytest.raises(InputError, match=message):
        settled(before, study("adamw", "x", **asked), has_runs=True)
    made = settled(before, study("adamw", "x", **asked), has_runs=False)
    assert asked.items() <= made.items()


def runs(**seeds):
    return pl.DataFrame([{"method": method, "seed": seed} for method, numbers in seeds.items() for seed in numbers])


def test_more_seeds_are_another_look_and_the_same_ones_are_not():
    first = looked(settled(None, study("adamw", "x"), has_runs=False), runs(adamw=[0, 1], x=[0, 1]))
    assert [look["seeds"] for look in first["looks"]] == [[0, 1]]
    assert looked(first, runs(adamw=[1, 0], x=[0])) == first
    second = looked(first, runs(adamw=[0, 1, 2], x=[0, 1]))
    assert [look["seeds"] for look in second["looks"]] == [[0, 1], [0, 1, 2]]
    assert all(len(look["date"]) == 10 for look in second["looks"])


def test_a_new_arm_is_no_look_but_more_seeds_of_it_are_one_also_where_others_have_them_already():
    first = looked(settled(None, study("adamw"), has_runs=False), runs(adamw=[0, 1, 2]))
    joined = looked(settled(first, study("adamw", "x"), has_runs=True), runs(adamw=[0, 1, 2], x=[0]))
    assert [look["arms"] for look in joined["looks"]] == [{"adamw": [0, 1, 2], "x": [0]}]
    again = looked(joined, runs(adamw=[0, 1, 2], x=[0, 1]))
    assert [look["arms"]["x"] for look in again["looks"]] == [[0], [0, 1]]


def test_a_look_of_before_there_were_arms_in_it_is_left_as_it_is():
    before = {"methods": ["adamw"], "looks": [{"seeds": [0, 1], "date": "2026-01-01"}]}
    assert looked(before, runs(adamw=[0, 1])) == before
    assert len(looked(before, runs(adamw=[0, 1, 2]))["looks"]) == 2
