"""Predicted against true numbers: of each method's first seed, the test part."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from grokkit.report.figures.parts import layered
from grokkit.report.looks import looks

SIDE = 300


def predictions_data(table: pl.DataFrame) -> pl.DataFrame:
    """Of predictions.parquet of all runs that have it the first seed of each method; four significant digits.

    Columns ``method``, ``target``, ``predicted`` and ``unit``. Predictions that are not finite are left out.
    """
    first = pl.col("seed") == pl.col("seed").min().over("method")
    own = table.filter(first & pl.col("predicted").is_finite())
    return own.select("method", pl.col("target", "predicted").round_sig_figs(4), "unit")


def predictions_chart(data: pl.DataFrame, method: str, methods: Sequence[str]) -> alt.LayerChart:
    """A dot a row of :func:`predictions_data`, in the method's colour; the line is where they should lie.

    Both axes are the same, and those of all methods: what predicts wildly runs over their edge.
    """
    own, unit = data.filter(pl.col("method") == method), data["unit"][0]
    low, high = _limits(data)
    scale = alt.Scale(domain=[low, high], nice=False, clamp=True)
    x = alt.X("target", type="quantitative", title=f"true ({unit})", scale=scale)
    y = alt.Y("predicted", type="quantitative", title=f"predicted ({unit})", scale=scale)
    diagonal = (
        alt.Chart(pl.DataFrame({"target": [low, high], "predicted": [low, high]}))
        .mark_line(color="#9aa4ad", strokeWidth=1)
        .encode(x, y)
    )
    dots = (
        alt.Chart(own.select("target", "predicted"))
        .mark_point(filled=True, size=22, opacity=0.55, color=looks(methods)[method].color)
        .encode(x, y, tooltip=["target", "predicted"])
    )
    return layered(diagonal, dots)


def _limits(data: pl.DataFrame) -> tuple[float, float]:
    """From the least to the greatest true number, and a quarter of that more on both sides."""
    low, high = data.select(low=pl.col("target").min(), high=pl.col("target").max()).row(0)
    room = 0.25 * (high - low) or 1.0
    return low - room, high + room
