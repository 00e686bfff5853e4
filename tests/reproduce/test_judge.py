"""Whether a published number holds, on numbers made by hand."""

import pytest

from grokkit.reproduce.judge import judged, state_of
from grokkit.reproduce.measures import Measured
from grokkit.reproduce.recipe import Claim


def claim(holds, published=100.0, tolerance=None):
    return Claim(says="x", arm="a", published=published, holds=holds, tolerance=tolerance)


@pytest.mark.parametrize(
    ("rule", "ours", "answer"),
    [
        ("interval", (110, 90, 130), "holds"),
        ("interval", (80, 70, 99), "does not hold"),
        ("interval", (140, 101, 150), "does not hold"),
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
