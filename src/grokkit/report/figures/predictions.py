"""Predicted against true numbers: of each method's first seed, the test part."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from grokkit.report.figure import Figure, Row, Sizes, View, a_panel_each
from grokkit.report.parts import Layers, drawn_of, layered, of_first_seeds
from grokkit.report.style import RULE, styles_of


def predictions_data(table: pl.DataFrame) -> pl.DataFrame:
    """Of predictions.parquet of all runs that have it the first seed of each method; four significant digits.

    Columns ``method``, ``target``, ``predicted`` and ``unit``. Predictions that are not finite are left out.
    """
    own = of_first_seeds(table).filter(pl.col("predicted").is_finite())
    return own.select("method", pl.col("target", "predicted").round_sig_figs(4), "unit")


def predictions_chart(data: pl.DataFrame, method: str, methods: Sequence[str]) -> Layers:
    """A dot a row of :func:`predictions_data`, in the method's colour; the line is where they should lie.

    Both axes are the same, and those of all methods: what predicts wildly runs over their edge.
    """
    own, unit = data.filter(pl.col("method") == method), data["unit"][0]
    low, high = _limits(data)
    scale = alt.Scale(domain=[low, high], nice=False, clamp=True)
    x = alt.X("target", type="quantitative", title=f"true ({unit})", scale=scale)
    y = alt.Y("predicted", type="quantitative", title=f"predicted ({unit})", scale=scale)
    ends = pl.DataFrame({"target": [low, high], "predicted": [low, high]})
    diagonal = alt.Chart(ends).mark_line(color=RULE, strokeWidth=1).encode(x, y)
    color = styles_of(methods)[method].color
    dots = alt.Chart(own.select("target", "predicted")).mark_point(filled=True, size=22, opacity=0.55, color=color)
    return layered(diagonal, dots.encode(x, y, tooltip=["target", "predicted"]))


def _limits(data: pl.DataFrame) -> tuple[float, float]:
    """From the least to the greatest true number, and a quarter of that more on both sides."""
    low, high = data.select(low=pl.col("target").min(), high=pl.col("target").max()).row(0)
    room = 0.25 * (high - low) or 1.0
    return low - room, high + room


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    methods = drawn_of(view.methods, data)
    says = "Predicted against true values"
    return a_panel_each("predictions", methods, lambda method: predictions_chart(data, method, view.methods), says)


PREDICTIONS = Figure(
    name="predictions",
    section="Predicted and true",
    note="Up to 500 rows of the test part, by the model as it was in the end, first seed. On the line, prediction and "
    "truth are equal; a dot at the edge lies beyond it.",
    title="predicted and true",
    reading="first seed, up to 500 rows of the test part, after the last step",
    columns={"predictions": {"target": float, "predicted": float, "unit": str}},
    of_lines=("predictions",),
    data=lambda view: predictions_data(view.tables["predictions"]),
    draw=_draw,
    sizes=Sizes(page=(300, 300), image=(300, 300)),
    order=120,
)
