"""GrokTransfer's Figures 4, 10 and 11: neurons as arrows among the clusters, coloured by their outgoing weights."""

from __future__ import annotations

import altair as alt
import polars as pl

from grokkit.report.figure import Figure, Row, Sizes, View, a_panel_each
from grokkit.report.parts import Layers, drawn_of, last_of_first_seeds, layered
from grokkit.report.style import COLORS, MUTED

_METHODS = 12
_SIDE = 260


def neurons_data(table: pl.DataFrame) -> pl.DataFrame:
    """The last evaluation of each method's first seed, its longest neuron having length 1. Neurons that are not finite,
    of a run that diverged, are left out.

    Columns ``method``, ``x``, ``y`` and ``output``, ``positive`` or ``negative``.
    """
    last = last_of_first_seeds(table).filter(pl.all_horizontal(pl.col("x", "y").is_finite()))
    longest = (pl.col("x").pow(2) + pl.col("y").pow(2)).sqrt().max().over("method").clip(lower_bound=1e-12)
    sign = pl.when(pl.col("output") > 0).then(pl.lit("positive")).otherwise(pl.lit("negative"))
    return last.select("method", (pl.col("x", "y") / longest).round_sig_figs(3), output=sign)


def neurons_chart(data: pl.DataFrame) -> Layers:
    """The neurons of :func:`neurons_data`, without the method, from the origin; rings are the clusters' means."""
    span = alt.Scale(domain=[-1.3, 1.3], nice=False)
    axis = alt.Axis(values=[-1, 0, 1])
    x = alt.X("x", type="quantitative", title="first coordinate", scale=span, axis=axis)
    y = alt.Y("y", type="quantitative", title="second coordinate", scale=span, axis=axis)
    signs = alt.Scale(domain=["positive", "negative"], range=[COLORS[1], COLORS[2]])
    color = alt.Color("output", type="nominal", scale=signs, title="outgoing weight")
    means = pl.DataFrame({"x": [1, 1, -1, -1], "y": [1, -1, 1, -1], "class": ["1", "−1", "−1", "1"]})
    rings = alt.Chart(means).mark_point(size=220, color=MUTED)
    shapes = alt.Scale(domain=["1", "−1"], range=["circle", "square"])
    shape = alt.Shape("class", type="nominal", scale=shapes, legend=None)
    return layered(
        rings.encode(x, y, shape),
        alt.Chart(data).mark_rule(strokeWidth=1.5).encode(x, y, color, x2=alt.datum(0), y2=alt.datum(0)),
        alt.Chart(data).mark_point(filled=True, size=50).encode(x, y, color),
    )


def _data(view: View) -> pl.DataFrame:
    return neurons_data(view.tables["neurons"])


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    def chart(method: str) -> Layers:
        return neurons_chart(data.filter(pl.col("method") == method).drop("method"))

    return a_panel_each("neurons", drawn_of(view.methods, data)[:_METHODS], chart, "Where the neurons point")


NEURONS = Figure(
    name="neurons",
    section="The neurons",
    note="First seed, at the end, on the two coordinates that decide. Of many neurons the longest; the longest of all "
    "has length 1. Circles are the means of the two clusters of one class, squares those of the other.",
    title="the neurons",
    reading="first seed; arrows from the origin, coloured by the sign of the outgoing weight",
    columns={"neurons": {"step": int, "x": float, "y": float, "output": float}},
    of_lines=("neurons",),
    data=_data,
    draw=_draw,
    sizes=Sizes(page=(_SIDE, _SIDE), image=(_SIDE, _SIDE)),
    order=85,
)
