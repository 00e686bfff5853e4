"""The picture of an item: what was published, what is ours, and what of either is only a bound."""

import pytest

from grokkit.reproduce.measures import Measured
from grokkit.reproduce.picture import picture_of
from grokkit.reproduce.recipe import find_recipe
from grokkit.reproduce.result import found


def marks_of(item, ours):
    """What each panel shows of each claim: how it is called, and where it stands."""
    recipe = find_recipe(item)
    drawn = picture_of(recipe, found(recipe, dict(enumerate(ours)), {}, seeds=None, quick=False))
    panels = [panel.get("data", drawn.get("data"))["values"] for panel in drawn["vconcat"]]
    return [[(row["which"], row["value"], row["low"]) for row in rows] for rows in panels], drawn


@pytest.mark.parametrize(
    ("ours", "which", "value", "low"),
    [
        (Measured(2.0, 1.5, 2.5, 5), "ours, 95 % interval", 2.0, 1.5),
        (Measured(2.0, 1.5, None, 5), "ours, its upper limit unknown", 2.0, 1.5),
        (Measured(2.0, None, 3.0, 5), "ours, its lower limit unknown", 2.0, 2.0),
        (Measured(None, 5.0, None, 5), "ours: at least", 5.0, None),
        (Measured(None, None, 0.5, 5), "ours: at most", 0.5, None),
    ],
)
def test_a_bound_is_drawn_as_one_ours_and_theirs(ours, which, value, low):
    nothing = Measured(None, None, None, 0)
    panels, drawn = marks_of("groktransfer:weak-width", [ours, nothing])
    assert panels == [[("published: above", 1.0, None), (which, value, low), ("published: above", 1.0, None)]]
    shapes = drawn["vconcat"][0]["layer"][1]["encoding"]["shape"]["scale"]
    assert shapes["domain"] == ["published: above", which], "a legend has what is there"
    assert shapes["range"][0] == "triangle-right"


def test_a_bound_that_is_ours_for_their_words_is_not_called_their_number():
    panels, _ = marks_of("groktransfer:fig-12", [Measured(0.7, 0.6, 0.8, 10)])
    assert panels[0][0] == ("published in words: above", 0.5, None)


def test_a_number_is_a_diamond_and_a_share_says_of_what():
    share = Measured(1.0, 0.5, 1.0, 5)
    _, unsorted = marks_of(
        "neuralgrok:table-1-add", [Measured(900.0, None, None, 1), *[Measured(800.0, 700, 900, 5)] * 4]
    )
    claims = unsorted["vconcat"][0]["layer"][0]["encoding"]["y"]["sort"]
    assert [claim.split(",")[0] for claim in claims] == ["Standard", "Grokfast-MA", "Grokfast-EMA", "NeuralGrok"]
    panels, drawn = marks_of("groktransfer:fig-2-add", [Measured(0.5, 0.4, 0.6, 5), share, share, share])
    assert panels[0][0] == ("published: below", 1.0, None)
    assert panels[1][0] == ("published", 1.0, None)
    assert drawn["vconcat"][1]["layer"][1]["encoding"]["x"]["title"] == "touched, share of runs"
