"""Whether a published number holds, on numbers made by hand."""

import pytest

from grokkit.reproduce.judge import judged, state_of
from grokkit.reproduce.measures import Measured
from grokkit.reproduce.recipe import Claim


def claim(holds, published=100.0, tolerance=None, **more):
    return Claim(says="x", arm="a", published=published, holds=holds, tolerance=tolerance, **more)


@pytest.mark.parametrize(
    ("rule", "ours", "answer"),
    [
        ("interval", (110, 90, 130), "holds"),
        ("interval", (80, 70, 99), "does not hold"),
        ("interval", (140, 101, 150), "does not hold"),
        ("interval", (99.99999999999999,) * 3, "holds"),  # a hundred five times, by way of logarithms
        ("interval", (100, None, None), "undecided"),  # one run has no interval
        ("interval", (None, 60, None), "undecided"),  # censored before the published number could be seen
        ("interval", (None, 120, None), "does not hold"),  # already later
        ("below", (50, 40, 60), "holds"),
        ("below", (90, 70, 120), "undecided"),
        ("below", (150, 120, 180), "does not hold"),
        ("below", (50, None, None), "undecided"),
        ("above", (150, 120, 180), "holds"),
        ("above", (None, 120, None), "holds"),
        ("above", (50, 40, 60), "does not hold"),
        ("above", (110, 90, 130), "undecided"),
    ],
)
def test_a_rule_says_what_our_number_means(rule, ours, answer):
    assert judged(claim(rule), Measured(*ours, 5)) == answer


@pytest.mark.parametrize(("value", "answer"), [(109, "holds"), (91, "holds"), (111, "does not hold")])
def test_within_a_share(value, answer):
    assert judged(claim("within", tolerance=0.1), Measured(value, None, None, 1)) == answer


@pytest.mark.parametrize(
    ("measure", "answer"), [("first steps", "undecided"), ("touched", "holds"), ("distance", "holds")]
)
def test_an_interval_of_times_that_agrees_with_everything_agrees_with_nothing(measure, answer):
    assert judged(claim("interval", measure=measure), Measured(100, 20, 400, 2)) == answer
    assert judged(claim("interval", measure=measure), Measured(100, 60, 400, 5)) == "holds"


def test_so_does_one_of_an_experiment_s_ratios():
    wide, narrow = Measured(1, 0.25, 4, 3), Measured(1, 0.5, 2, 3)
    ratio = Claim(says="x", measure="a over b", published=1.5, kind="ratio")
    assert (judged(ratio, wide), judged(ratio, narrow)) == ("undecided", "holds")


def test_and_one_of_a_level_over_another_arm_s():
    """Grokfast's QM9: losses whose ratio may be anything from a fifth to three agree with each published number."""
    wide, over = Measured(0.8, 0.2, 3, 5), {"measure": "best loss", "published": 0.528}
    assert judged(claim("interval", beside="b", **over), wide) == "undecided"
    assert judged(claim("interval", **over), wide) == "holds"


@pytest.mark.parametrize(("share", "answer"), [((0, 0, 0.5), "undecided"), ((0.8, 0.3, 0.99), "does not hold")])
def test_what_long_runs_did_not_show_is_not_shown_by_short_ones(share, answer):
    never = claim("interval", published=0, measure="touched", within_steps=10**6)
    assert judged(never, Measured(*share, 5), budget=20_000) == answer
    assert judged(never, Measured(0, 0, 0.5, 5), budget=10**6) == "holds"


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        (["holds", "holds"], "reproduced"),
        (["holds", "undecided"], "in part"),
        (["holds", "does not hold"], "in part"),
        (["does not hold", "undecided"], "not reproduced"),
        (["undecided"], "undecided"),
    ],
)
def test_in_part_is_not_reproduced(answers, state):
    assert state_of(answers) == state
