"""What a folder remembers of its claims."""

import polars as pl
import pytest

from grokkit.errors import InputError
from grokkit.study.looks import continued, looked


def study(*methods, claim=None, primary=None):
    return {"methods": list(methods), "claim": claim, "primary": primary}


def test_a_new_study_claims_in_flops_and_remembers_its_arms():
    made = continued(None, study("adamw", "x"), has_runs=False)
    assert (made["claim"], made["primary"], made["family"], made["looks"]) == ("flops", None, ["adamw", "x"], [])


def test_what_was_said_once_holds_when_it_is_left_out():
    before = continued(None, study("adamw", "x", claim="steps", primary="x"), has_runs=False)
    made = continued(before, study("adamw", "x"), has_runs=True)
    assert (made["claim"], made["primary"]) == ("steps", "x")
    assert continued(before, study("adamw", "x", claim="steps", primary="x"), has_runs=True) == made


def test_arms_that_are_left_out_later_stay_in_the_family():
    before = continued(None, study("adamw", "x", "y"), has_runs=False)
    assert continued(before, study("adamw", "z", "x"), has_runs=True)["family"] == ["adamw", "x", "y", "z"]
    older = {"methods": ["adamw", "x", "y"]}  # of before there was a family
    assert continued(older, study("adamw"), has_runs=True)["family"] == ["adamw", "x", "y"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"claim": "seconds"}, r"--claim seconds comes too late: .* made with --claim flops, .* another --out"),
        ({"primary": "x"}, r"--primary x comes too late: this study had no --primary, and has finished runs"),
    ],
    ids=str,
)
def test_cost_and_primary_arm_are_settled_by_the_first_finished_run(asked, message):
    before = continued(None, study("adamw", "x"), has_runs=False)
    with pytest.raises(InputError, match=message):
        continued(before, study("adamw", "x", **asked), has_runs=True)
    made = continued(before, study("adamw", "x", **asked), has_runs=False)
    assert asked.items() <= made.items()


def test_more_seeds_are_another_look_and_the_same_ones_are_not():
    first = looked(continued(None, study("adamw", "x"), has_runs=False), pl.DataFrame({"seed": [0, 0, 1, 1]}))
    assert [look["seeds"] for look in first["looks"]] == [[0, 1]]
    assert looked(first, pl.DataFrame({"seed": [1, 0, 0]})) == first
    second = looked(first, pl.DataFrame({"seed": [0, 1, 2]}))
    assert [look["seeds"] for look in second["looks"]] == [[0, 1], [0, 1, 2]]
    assert all(len(look["date"]) == 10 for look in second["looks"])
