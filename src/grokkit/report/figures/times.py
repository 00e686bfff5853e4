"""Time to target, one mark a run, in rows by method, with a line through the runs of the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from grokkit.analyse import given_up, median_time, times_to_target
from grokkit.analyse.format import NOT_REACHED, number
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import (
    Layers,
    layered,
    log_x,
    method_color,
    method_rows,
    outcomes,
    seed_offset,
    span,
    tooltips,
)
from grokkit.report.style import FAINT, MUTED, NOT_REACHED_SHAPE, PAPER, styles_of

_INNER, _OUTER = 0.35, 0.25  # of a row's height, what is empty between rows, and above the first and below the last


def times_data(runs: pl.DataFrame, methods: Sequence[str]) -> pl.DataFrame:
    """One row per run: ``run_id``, ``method``, ``seed``, ``steps`` (to the target, or the last evaluation below it),
    ``reached``, its ``outcome`` in words, and the Kaplan–Meier ``median`` of its method (null if not reached, or if
    runs were given up). In the order of ``methods``, then of seeds."""
    frames = []
    for method in methods:
        own = runs.filter(pl.col("method") == method).sort("seed")
        times = times_to_target(own)
        frames.append(
            pl.DataFrame(
                {
                    **{name: own[name] for name in ("run_id", "method", "seed")},
                    "steps": times.time,
                    "reached": times.reached,
                    "outcome": outcomes(own),
                }
            ).with_columns(
                pl.lit(None if given_up(own) else median_time(times).value, dtype=pl.Float64).alias("median")
            )
        )
    return pl.concat(frames)


def times_chart(data: pl.DataFrame, methods: Sequence[str]) -> Layers:
    """Filled marks reached the target, open triangles did not until there; a bar is the median."""
    styles = styles_of(methods)
    # A run may be known to be late from step 0 on, or begin at the target; a logarithmic axis has no place for 0.
    data = data.with_columns(pl.col("steps", "median").clip(lower_bound=1))
    low, high = span(data["steps"], 0.8, 1.15)
    place = {method: i for i, method in enumerate(methods)}
    drawn = data.with_columns(
        pl.col("method").replace_strict(place, return_dtype=pl.Int64).alias("row"),
    )
    x = log_x("steps", "optimizer steps to the target", low, high)
    y, offset = method_rows(methods, inner=_INNER, outer=_OUTER), seed_offset(drawn)
    tooltip = [
        *(alt.Tooltip("method", type="nominal"), alt.Tooltip("seed", type="ordinal")),
        *tooltips(steps=",", outcome=""),
    ]
    same_seed = (
        alt.Chart(drawn)
        .mark_line(color=FAINT, strokeWidth=1)
        .encode(x, y, offset, detail=alt.Detail("seed", type="nominal"), order=alt.Order("row", type="quantitative"))
    )
    medians = (
        alt.Chart(drawn.filter(pl.col("median").is_not_null()).unique("method", maintain_order=True))
        .mark_point(shape="stroke", angle=90, size=1600, strokeWidth=2.5, opacity=0.5)
        .encode(log_x("median", "optimizer steps to the target", low, high), y, method_color(methods))
    )
    shape = alt.Shape(
        "method",
        type="nominal",
        scale=alt.Scale(domain=list(styles), range=[style.shape for style in styles.values()]),
        legend=None,
    )
    reached = (
        alt.Chart(drawn.filter("reached"))
        .mark_point(size=70, filled=True, opacity=1)
        .encode(x, y, offset, shape, method_color(methods), tooltip=tooltip)
    )
    missed_rows = drawn.filter(~pl.col("reached"))
    missed = (
        alt.Chart(missed_rows)
        .mark_point(size=80, filled=False, fill=PAPER, strokeWidth=2, opacity=1, shape=NOT_REACHED_SHAPE)
        .encode(x, y, offset, method_color(methods), tooltip=tooltip)
    )
    text = alt.Chart(_labels(missed_rows)).encode(x, y, text=alt.Text("label", type="nominal"))
    # In the gap above the row, where no mark lies; a white rim keeps the lines of the seeds off the words.
    between_rows = _height(methods) / (len(methods) - _INNER + 2 * _OUTER)
    place_at = {"align": "right", "dx": 9, "dy": -between_rows / 2, "fontSize": 11}
    rim = text.mark_text(**place_at, stroke=PAPER, strokeWidth=5, strokeJoin="round")
    label = text.mark_text(**place_at, color=MUTED)
    return layered(same_seed, medians, reached, missed, rim, label)


def _height(methods: Sequence[str]) -> int:
    """Of the panel: rows high enough for a label between them, lower where there are many."""
    return max(140, (62 if len(methods) <= 6 else 52) * len(methods))


def _labels(missed: pl.DataFrame) -> pl.DataFrame:
    """``2 not reached`` left of the open triangles of each method."""
    counted = missed.group_by("method", "outcome", maintain_order=True).agg(pl.len().alias("n"), pl.col("steps").min())
    named = counted.with_columns(pl.format("{} {}", "n", "outcome").alias("label"))
    return named.group_by("method", maintain_order=True).agg(pl.col("steps").min(), pl.col("label").str.join(", "))


def _medians(data: pl.DataFrame, methods: Sequence[str]) -> str:
    found = dict(data.select("method", "median").iter_rows())
    late = {*data.filter(outcome="given up")["method"]}
    missing = {method: "given up" if method in late else NOT_REACHED for method in found}
    return ", ".join(f"{method} {number(found[method], missing[method])}" for method in methods if method in found)


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    target, height = view.target.short, _height(view.methods)
    panel = Panel(
        "times",
        times_chart(data.drop("run_id"), view.methods),
        f"Steps to {target}, by seed",
        "One mark a run, of very many the first seeds; a line joins the runs of a seed; a bar is the median of all. An "
        "open triangle stands where a run that did not get there was last seen below the target.",
        f"Steps to {target} of every run, paired by seed. Median: {_medians(data, view.methods)}.",
        sizes=Sizes(page=(None, height), image=(560, height)),
    )
    return [Row([panel], columns=2, key=tuple(view.methods))]


TIME_TO_TARGET = Figure(
    name="time-to-target",
    section="When runs generalize",
    title="steps to the target",
    reading="one mark a run, a line joins runs of the same seed, a bar is the median",
    data=lambda view: view.of_lines(times_data(view.runs, view.methods)),
    draw=_draw,
    order=30,
)
