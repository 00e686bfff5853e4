"""Curves over training: a bold line for each method, the median over its seeds, and a thin line for each seed.

The x axis is logarithmic, because memorizing and generalizing lie decades apart; the evaluation before the first step,
at x = 0, has no place on it and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import numpy as np
import polars as pl

from grokkit.analyse.format import number, percent
from grokkit.analyse.target import Measure
from grokkit.report.parts import (
    Layers,
    drawn_of,
    layered,
    log_ticks,
    log_x,
    method_color,
    method_dash,
    span,
    spread,
    tooltips,
)


class _Axis(NamedTuple):
    title: str
    tick_format: str
    said: str
    """The format of a single value."""


CLOCKS = {
    "step": _Axis("optimizer steps", "~s", ","),
    "train_seconds": _Axis("seconds of training", ",~g", ",.3~r"),
    "flops": _Axis("training FLOPs", "~e", ".2e"),
}
"""The columns that a curve can be drawn against."""

NORMS = ("weight_norm", "weight_entropy", "gradient_entropy", "filtered_gradient_entropy", "gradient_angle")

HOW_TO_READ = "bold: median over seeds; thin: each seed, of very many the first"

IMAGE_POINTS = 120
"""Points of a thin line: over five decades of steps one every 10 %, so every 5 px of a chart."""

_SMALLEST_ANGLE = 10.0
"""An angle's axis goes to at least so many degrees, lest rounding look like a change."""


def target_columns(measure: Measure) -> tuple[str, ...]:
    """What a report on a target in ``measure`` draws: columns of curves.parquet, and the angle made of one."""
    return (*CLOCKS, f"train_{measure}", f"test_{measure}", *NORMS)


def seed_curves_data(
    runs: pl.DataFrame, curves: pl.DataFrame, columns: Sequence[str], points: int = IMAGE_POINTS
) -> pl.DataFrame:
    """The curves of each run, at no more than ``points`` evaluations, evenly spaced in the logarithm of steps.

    ``curves`` has the ``columns``, ``step`` among them, and a ``run_id`` to find method and seed in ``runs``. The angle
    is in degrees. Because this is for drawing, values are rounded to five significant digits, and null if not finite.
    """
    values = [_value(column).alias(column) for column in columns]
    labelled = _labelled(runs, curves).select("run_id", "method", "seed", *values).filter(pl.col("step") > 0)
    parts = [labelled.clear()]  # It has no row: with it there is something to concatenate even if there is no run.
    for own in labelled.partition_by("run_id"):
        parts.append(own[spread(own["step"].to_numpy(), points)])
    rounded = [drawable(column) for column in columns if column != "step"]
    return pl.concat(parts).drop("run_id").with_columns(rounded)


def median_curve_data(runs: pl.DataFrame, curves: pl.DataFrame, measure: str, x: str = "step") -> pl.DataFrame:
    """The median over seeds of ``measure`` against ``x``, for each method: columns ``method``, ``x``, ``value``.

    Between its evaluations a run's value is interpolated in log x. A run that stopped, because it had
    generalized, keeps its last value: were it dropped, the median would fall when the best runs finish.
    """
    x_value, y_value = pl.col(x).cast(pl.Float64), _value(measure).cast(pl.Float64)
    labelled = _labelled(runs, curves).select("method", "run_id", x_value.alias("x"), y_value.alias("y"))
    usable = labelled.filter((pl.col("x") > 0) & pl.col("y").is_finite()).sort("run_id", "x", maintain_order=True)
    parts = [pl.DataFrame(schema={"method": pl.String, "x": pl.Float64, "value": pl.Float64})]
    for own in usable.partition_by("method", maintain_order=True):
        # As arrays, and not as frames: of ten thousand runs these would take a minute.
        lengths = own.group_by("run_id", maintain_order=True).len()["len"].cast(pl.Int64)
        ends = np.cumsum(lengths.to_numpy())[:-1]
        at, found = own["x"].to_numpy(), own["y"].to_numpy()
        # The median starts where all runs have begun, and is taken wherever one of them was evaluated.
        start = at[np.concatenate([[0], ends])].max()
        grid = np.unique(at)
        grid = grid[grid >= start]
        grid = grid[spread(grid, IMAGE_POINTS)]
        values = []
        for own_at, own_found in zip(np.split(np.log(at), ends), np.split(found, ends), strict=True):
            values.append(np.interp(np.log(grid), own_at, own_found))  # Beyond a run's end this repeats its last value.
        median = pl.DataFrame({"x": grid, "value": np.median(values, axis=0)})
        parts.append(median.select(pl.lit(own["method"][0]).alias("method"), "x", "value"))
    return pl.concat(parts).with_columns(pl.col("x", "value").round_sig_figs(5))


def curve_chart(
    seeds: pl.DataFrame,
    medians: pl.DataFrame,
    methods: Sequence[str],
    measure: str,
    x: str = "step",
    *,
    title: str | None = None,
    include: Sequence[float] = (),
    dots: pl.DataFrame | None = None,
) -> Layers:
    """``measure`` against ``x``: thin lines from :func:`seed_curves_data`, bold ones from :func:`median_curve_data`.

    Behind them stands a pale dot for each row of ``dots``. The scale of the y axis is chosen for the values drawn and
    those in ``include``. On the page the text around a chart says what its y axis is and explains the colours; where a
    chart stands alone, it has a ``title`` of the y axis, and with that a legend.
    """
    clock = CLOCKS[x]
    points = pl.concat(
        [
            seeds.select(pl.col(x).cast(pl.Float64), pl.col(measure).cast(pl.Float64)),
            medians.select(pl.col("x").alias(x), pl.col("value").alias(measure)),
        ]
    )
    if dots is not None:
        points = pl.concat([points, dots.select(pl.col(x).cast(pl.Float64), pl.col(measure).cast(pl.Float64))])
    drawn_x = points.filter(pl.col(measure).is_not_null())[x]
    low, high = span(drawn_x.filter(drawn_x > 0))
    y_scale, y_axis = _y(measure, pl.Series([*points[measure].drop_nulls(), *include], dtype=pl.Float64))
    explained = drawn_of(methods, medians) if title else []
    color, dash = method_color(methods, explained), method_dash(methods, explained)

    def x_of(field: str) -> alt.X:
        return log_x(field, clock.title, low, high, clock.tick_format)

    def y_of(field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", title=title, scale=y_scale, axis=y_axis)

    def said(*, is_median: bool) -> list[alt.Tooltip]:
        words = measure.replace("_", " ").replace("test ", "held-out ")
        how = ".1%" if measure.endswith("_accuracy") else ".4~g"
        at = alt.Tooltip("x" if is_median else x, type="quantitative", format=clock.said, title=clock.title)
        if is_median:
            value = alt.Tooltip("value", type="quantitative", format=how, title=f"median {words}")
            return [*tooltips(method=""), at, value]
        return [*tooltips(method="", seed=""), at, alt.Tooltip(measure, type="quantitative", format=how, title=words)]

    # The opacity is the stroke's and the fill's, and nothing is clipped, since all values lie within the scales: for a
    # mark's own opacity, and for a clip, a PNG would be drawn in layers, a picture of its full size for every line.
    thin = alt.Chart(seeds).mark_line(strokeWidth=1, strokeOpacity=0.3)
    thin = thin.encode(
        x_of(x), y_of(measure), color, dash, alt.Detail("seed", type="nominal"), tooltip=said(is_median=False)
    )
    bold = alt.Chart(medians).mark_line(strokeWidth=2.5)
    bold = bold.encode(x_of("x"), y_of("value"), color, dash, tooltip=said(is_median=True))
    if dots is None:
        return layered(thin, bold)
    marks = alt.Chart(dots).mark_circle(size=9, opacity=1, fillOpacity=0.3)
    marks = marks.encode(color, x_of(x), y_of(measure), tooltip=said(is_median=False))
    return layered(marks, thin, bold)


def ends_in_words(caption: str, medians: pl.DataFrame, methods: Sequence[str], measure: str) -> str:
    """What a chart of ``medians`` says to one who does not see it: where each method's median ends."""
    ends = []
    for method in drawn_of(methods, medians):
        last = medians.filter(pl.col("method") == method)["value"][-1]
        ends.append(f"{method} {percent(last) if measure.endswith('_accuracy') else number(last)}")
    return f"{caption} over training. Median at the end: {', '.join(ends)}." if ends else caption


def drawable(column: str) -> pl.Expr:
    """The column with five significant digits, and null for what is not finite."""
    return pl.when(pl.col(column).is_finite()).then(pl.col(column).round_sig_figs(5)).alias(column)


def _y(measure: str, values: pl.Series) -> tuple[alt.Scale, alt.Axis]:
    """It is 0 to 100 % for an accuracy, starts at 0° for an angle, else is logarithmic if all values are positive and
    span more than a factor 30, else linear."""
    if measure.endswith("_accuracy"):
        return alt.Scale(domain=[0, 1]), alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    if measure == "gradient_angle":
        scale = alt.Scale(domain=[0, max([_SMALLEST_ANGLE, *values])], nice=True)
        return scale, alt.Axis(labelExpr="datum.label + '°'", tickCount=5)
    low, high = span(values.filter(values > 0))
    if values.len() and (values > 0).all() and high > 30 * low:
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        ticks = log_ticks(low, high)
        return scale, alt.Axis(format="~e", values=ticks) if low < 1e-3 else alt.Axis(labelExpr=_SHORT, values=ticks)
    return alt.Scale(zero=False), alt.Axis(labelExpr=_SHORT, tickCount=5)


_SHORT = "abs(datum.value) < 1 ? format(datum.value, '~g') : format(datum.value, '~s')"
"""Thousands are 5k, but a half is 0.5 and not 500m, which one takes for metres or millions."""


def _value(column: str) -> pl.Expr:
    """The column itself; of the angle the curves hold the cosine."""
    return pl.col("gradient_cosine").arccos().degrees() if column == "gradient_angle" else pl.col(column)


def _labelled(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    bare = curves.drop("method", "seed", strict=False)
    return bare.join(runs.select("run_id", "method", "seed"), on="run_id", maintain_order="left")
