"""Curves over training: accuracies, weight norm, entropies of weights and gradients, what a method does to them.

Each method has a bold line, the median over its seeds, and a thin line for each seed. The x axis is logarithmic,
because memorizing and generalizing lie decades apart; the evaluation before the first step, at x = 0, has no
place on it and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import altair as alt
import numpy as np
import polars as pl

from grokkit.analyse.target import Measure, Target
from grokkit.report.figures.parts import drawn_of, layered, log_ticks, log_x, method_color, method_dash, span, spread
from grokkit.report.figures.quick_checks import quick_checks_marks

Clock = Literal["step", "train_seconds", "flops"]


class _Axis(NamedTuple):
    title: str
    tick_format: str


CLOCKS: dict[Clock, _Axis] = {
    "step": _Axis("optimizer steps", "~s"),
    "train_seconds": _Axis("seconds of training", ",~g"),
    "flops": _Axis("training FLOPs", "~e"),
}

MEASURES = (
    "weight_norm",
    "weight_entropy",
    "gradient_entropy",
    "filtered_gradient_entropy",
    "gradient_angle",
)
_SMALLEST_ANGLE = 10.0  # that an axis goes to: below it is rounding, or near enough
_DERIVED = {"gradient_angle": pl.col("gradient_cosine").arccos().degrees()}


def seed_curves_data(
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    points: int = 120,
    columns: Sequence[str] = (*CLOCKS, "train_accuracy", "test_accuracy", *MEASURES),
) -> pl.DataFrame:
    """The curves of each run, at no more than ``points`` evaluations evenly spaced in the logarithm of steps.

    ``curves`` has the columns of curves.parquet, or others to draw as ``columns``, the first of them ``step``, and a
    ``run_id`` to find method and seed in ``runs``. The angle is in degrees. Values are rounded to five significant
    digits and non-finite ones become null: this is for drawing. The default leaves a point every 9 % over five
    decades, finer than a line's width on a screen.
    """
    values = [_value(column).alias(column) for column in columns]
    labelled = _labelled(runs, curves).select("run_id", "method", "seed", *values).filter(pl.col("step") > 0)
    kept = [own[spread(own["step"].to_numpy(), points)] for own in labelled.partition_by("run_id")]
    frame = pl.concat(kept) if kept else labelled
    return frame.drop("run_id").with_columns(
        pl.when(pl.col(column).is_finite()).then(pl.col(column).round_sig_figs(5)).alias(column)
        for column in columns
        if column != "step"
    )


def target_columns(measure: Measure) -> tuple[str, ...]:
    """The columns that a report on a target in ``measure`` draws."""
    return (*CLOCKS, f"train_{measure}", f"test_{measure}", *MEASURES)


def median_curve_data(
    runs: pl.DataFrame, curves: pl.DataFrame, measure: str, x: Clock = "step", points: int = 120
) -> pl.DataFrame:
    """The median over seeds of ``measure`` against ``x``, for each method: columns ``method``, ``x``, ``value``.

    Between its evaluations a run's value is interpolated in log x. A run that stopped, because it had
    generalized, keeps its last value: were it dropped, the median would fall when the best runs finish.
    """
    labelled = _labelled(runs, curves).select(
        "method", "run_id", pl.col(x).cast(pl.Float64).alias("x"), _value(measure).cast(pl.Float64).alias("y")
    )
    usable = labelled.filter((pl.col("x") > 0) & pl.col("y").is_finite()).sort("x")
    parts = []
    for (method,), own in usable.partition_by("method", as_dict=True, maintain_order=True).items():
        members = [(run["x"].to_numpy(), run["y"].to_numpy()) for run in own.partition_by("run_id")]
        start = max(at[0] for at, _ in members)
        grid = np.unique(np.concatenate([at for at, _ in members]))
        grid = grid[grid >= start]
        grid = grid[spread(grid, points)]
        values = np.median([np.interp(np.log(grid), np.log(at), y) for at, y in members], axis=0)
        parts.append(pl.DataFrame({"x": grid, "value": values}).select(pl.lit(method).alias("method"), "x", "value"))
    if not parts:
        return pl.DataFrame(schema={"method": pl.String, "x": pl.Float64, "value": pl.Float64})
    return pl.concat(parts).with_columns(pl.col("x", "value").round_sig_figs(5))


def curve_chart(
    seeds: pl.DataFrame,
    medians: pl.DataFrame,
    methods: Sequence[str],
    measure: str,
    x: Clock = "step",
    *,
    y_title: str | None = None,
    legend: bool = False,
    include: Sequence[float] = (),
    checks: pl.DataFrame | None = None,
) -> alt.LayerChart:
    """``measure`` against ``x``: thin lines from :func:`seed_curves_data`, bold ones from :func:`median_curve_data`.

    Behind them are dots from :func:`quick_checks_data`, if ``checks`` are given. The y axis is 0 to 100 % for an
    accuracy, starts at 0° for an angle, else is logarithmic where all values are positive and span more than a factor
    30, else linear; it reaches as far as ``include``. A ``legend`` names the methods that are drawn.
    """
    clock = CLOCKS[x]
    points = seeds.select(pl.col(x).cast(pl.Float64), measure)
    if checks is not None:
        points = pl.concat([points, checks.select(pl.col(x).cast(pl.Float64), measure)])
    at = points.filter(pl.col(measure).is_not_null())[x]
    low, high = span(at.filter(at > 0))
    drawn = [*points[measure].drop_nulls(), *include]
    y_scale, y_axis = _y(measure, pl.Series(drawn, dtype=pl.Float64))
    named = drawn_of(methods, medians) if legend else []
    color, dash = method_color(methods, named), method_dash(methods, named)

    def x_of(field: str) -> alt.X:
        return log_x(field, clock.title, low, high, clock.tick_format)

    def y_of(field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", title=y_title, scale=y_scale, axis=y_axis)

    thin = (
        alt.Chart(seeds)
        .mark_line(strokeWidth=1, opacity=0.3, clip=True)
        .encode(x_of(x), y_of(measure), color, dash, alt.Detail("seed", type="nominal"))
    )
    bold = alt.Chart(medians).mark_line(strokeWidth=2.5, clip=True).encode(x_of("x"), y_of("value"), color, dash)
    if checks is None:
        return layered(thin, bold)
    return layered(quick_checks_marks(checks, color, x_of(x), y_of(measure)), thin, bold)


def learning_chart(
    seeds: pl.DataFrame,
    medians: pl.DataFrame,
    methods: Sequence[str],
    split: Literal["train", "test"],
    x: Clock = "step",
    *,
    target: Target,
    checks: pl.DataFrame | None = None,
    y_title: str | None = None,
    legend: bool = False,
) -> alt.LayerChart:
    """What the target is a value of, on the training or the held-out data, with a fine rule at the target.

    ``checks``: what quick checks found, from :func:`quick_checks_data`.
    """
    lines = curve_chart(
        seeds,
        medians,
        methods,
        f"{split}_{target.measure}",
        x,
        y_title=y_title,
        legend=legend,
        include=[target.value],
        checks=checks,
    )
    rule = (
        alt.Chart(pl.DataFrame({"target": [target.value]}))
        .mark_rule(stroke="#9aa4ad", strokeWidth=1, strokeDash=[2, 2])
        .encode(alt.Y("target", type="quantitative", title=y_title))
    )
    return layered(rule, lines)


def _y(measure: str, values: pl.Series) -> tuple[alt.Scale, alt.Axis]:
    if measure.endswith("_accuracy"):
        return alt.Scale(domain=[0, 1]), alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    if measure == "gradient_angle":
        scale = alt.Scale(domain=[0, max([_SMALLEST_ANGLE, *values])], nice=True)
        return scale, alt.Axis(labelExpr="datum.label + '°'", tickCount=5)
    low, high = span(values.filter(values > 0))
    if values.len() and (values > 0).all() and high > 30 * low:
        prefixed = "~s" if low >= 1e-3 else "~e"
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        return scale, alt.Axis(format=prefixed, values=log_ticks(low, high))
    return alt.Scale(zero=False), alt.Axis(format="~s", tickCount=5)


def _value(column: str) -> pl.Expr:
    return _DERIVED.get(column, pl.col(column))


def _labelled(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    bare = curves.drop("method", "seed", strict=False)
    return bare.join(runs.select("run_id", "method", "seed"), on="run_id", maintain_order="left")
