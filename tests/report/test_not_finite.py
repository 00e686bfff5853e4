"""Numbers that are not finite, in the data of a figure or in its drawing: JSON has none, and the page is made of it."""

import json

import altair as alt
import polars as pl
import pytest

from grokkit.report.chart_sections import page_figures
from grokkit.report.figure import Figure
from grokkit.report.page import _json


def figure(name, numbers, end=3.0):
    """Somebody's, whose x axis ends at ``end``."""

    def draw(data, view):
        scale = alt.Scale(domain=[0.0, end])
        return alt.Chart(data).mark_point().encode(alt.X("x", type="quantitative", scale=scale), y="y:Q")

    data = pl.DataFrame({"x": numbers, "y": [1.0, 2.0, 3.0]})
    return Figure(name=name, section=name, title=name, data=lambda view: data, draw=draw)


@pytest.fixture
def page(synthetic):
    """What the page's script reads of these figures, and which of them could not be drawn."""

    def make(*figures):
        failures = {}
        _, script = page_figures(figures, synthetic.view(), failures)
        return json.loads(_json(script)), failures

    return make


def test_in_the_data_they_are_null_and_the_others_stand(page):
    script, failures = page(figure("mine", [0.5, float("nan"), float("inf")]))
    (data,) = script["charts"]["mine"]["uses"]
    assert script["datasets"][data] == {"x": [0.5, None, None], "y": [1.0, 2.0, 3.0]}
    assert failures == {}


def test_a_drawing_that_needs_one_is_left_out_and_the_others_are_drawn(page):
    script, failures = page(figure("bad", [0.0, 1.0, 2.0], end=float("nan")), figure("good", [0.0, 1.0, 2.0]))
    assert list(script["charts"]) == ["good"]
    assert list(failures) == ["bad"]
    assert "not JSON compliant" in failures["bad"]
