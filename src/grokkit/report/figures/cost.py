"""What reaching the target costs, in seconds or in FLOPs: what went before the first step, and the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import altair as alt
import polars as pl

from grokkit.analyse.format import NOT_REACHED, number
from grokkit.report.figures.parts import layered
from grokkit.report.looks import INK

Measure = Literal["seconds", "flops"]

PARTS = {"weak models": "#E69F00", "training": "#A9BACB"}
"""Part → colour, pale enough for letters on it."""

_PLACES = {part: place for place, part in enumerate(PARTS)}
_REACHED = "reached"


class _Columns(NamedTuple):
    """Of a run. The first is part of the other two."""

    start: str
    to_target: str
    spent: str


_COLUMNS: dict[Measure, _Columns] = {
    "seconds": _Columns("start_seconds", "train_seconds_to_target", "train_seconds"),
    "flops": _Columns("start_flops", "flops_to_target", "flops"),
}


def has_start(runs: pl.DataFrame) -> bool:
    """Whether a run had a cost before its first step."""
    return "start_seconds" in runs.columns and bool((runs["start_seconds"] > 0).any())


def cost_data(runs: pl.DataFrame, methods: Sequence[str], measure: Measure) -> pl.DataFrame:
    """Mean cost of the runs of each method that reached the target, up to there, and of those that did not, in all.

    Columns ``method``, ``outcome`` (``reached`` or ``not reached``), ``runs`` (how many), ``part`` (``weak models``, or
    ``training``, the rest) and ``cost``. A start that is null costs 0.
    """
    start, to_target, spent = _COLUMNS[measure]
    reached, start = pl.col("generalized_at").is_not_null(), pl.col(start).fill_null(0)
    outcome = pl.when(reached).then(pl.lit(_REACHED)).otherwise(pl.lit(NOT_REACHED)).alias("outcome")
    whole = pl.when(reached).then(to_target).otherwise(spent)
    weak, training = PARTS
    means = runs.group_by("method", outcome).agg(
        pl.len().alias("runs"), start.mean().alias(weak), (whole - start).mean().alias(training)
    )
    parts = means.unpivot([weak, training], index=means.columns[:3], variable_name="part", value_name="cost")
    rows = {method: row for row, method in enumerate(methods)}
    return parts.sort(
        pl.col("method").replace_strict(rows), pl.col("outcome") != _REACHED, pl.col("part").replace_strict(_PLACES)
    )


def cost_chart(data: pl.DataFrame, measure: Measure, *, x_title: str | None = None) -> alt.LayerChart:
    """A bar for each method and outcome of :func:`cost_data`, its parts one behind the other; paler for the runs that
    did not reach the target."""
    missed = pl.format("{} {}", "runs", pl.lit(NOT_REACHED))
    both = pl.col("outcome").n_unique().over("method") > 1
    words = pl.when(outcome=_REACHED).then("method").when(both).then(missed)
    # Rows are told apart by all of it; what follows the first line is written beside them.
    row = pl.format("{} {}\n{}", "method", "outcome", words.otherwise(pl.format("{}\n{}", "method", missed)))
    drawn = data.with_columns(row.alias("row"), pl.col("part").replace_strict(_PLACES).alias("place"))
    y = alt.Y(
        "row",
        type="nominal",
        title=None,
        sort=drawn["row"].unique(maintain_order=True).to_list(),
        scale=alt.Scale(paddingInner=0.25, paddingOuter=0.2),
        axis=alt.Axis(
            labelLimit=150,
            domain=False,
            ticks=False,
            grid=False,
            labelExpr=r"slice(split(datum.label, '\n'), 1)",
            # Vega centres the first line of two.
            labelOffset={"condition": {"test": r"length(split(datum.value, '\n')) > 2", "value": -7}, "value": 0},
        ),
    )
    # Linear from 0, since lengths are compared.
    axis = alt.Axis(
        format=",.3~r" if measure == "seconds" else "~e",
        tickCount=4,
        grid=False,  # every bar has its figure
        labelExpr="datum.value ? datum.label : '0'",
    )
    x = alt.X("cost", type="quantitative", title=x_title, axis=axis)
    color = alt.Color(
        "part",
        type="nominal",
        scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())),
        legend=alt.Legend(symbolType="square", symbolOpacity=1),
    )
    pale = alt.condition(f"datum.outcome === '{NOT_REACHED}'", alt.value(0.4), alt.value(1))
    tooltip = [
        *(alt.Tooltip(name, type="nominal") for name in ("method", "outcome", "runs", "part")),
        alt.Tooltip("cost", type="quantitative", format=".3~s"),
    ]
    order = alt.Order("place", type="quantitative")
    bars = alt.Chart(drawn).mark_bar().encode(x, y, color, order, opacity=pale, tooltip=tooltip)
    return layered(bars, *_labels(drawn, measure, x, y))


def cost_height(data: pl.DataFrame) -> int:
    """Of a chart of ``data``, its bars high enough for two lines of letters."""
    return 34 * data.select("method", "outcome").n_unique() + 10


def _labels(drawn: pl.DataFrame, measure: Measure, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The bars' lengths in figures: inside the end of a long one, beside which there may be no room."""
    totals = drawn.group_by("row", maintain_order=True).agg(pl.col("cost").sum())
    words = [f"{number(cost)} s" if measure == "seconds" else f"{cost:.2e}" for cost in totals["cost"]]
    labelled = totals.with_columns(pl.Series("label", words, dtype=pl.String))
    long = pl.col("cost") > 0.5 * pl.col("cost").max()
    inside, beside = (
        alt.Chart(labelled.filter(which)).encode(x, y, text=alt.Text("label", type="nominal"))
        for which in (long, ~long)
    )
    return [
        inside.mark_text(align="right", dx=-5, fontSize=11, color=INK),
        beside.mark_text(align="left", dx=5, fontSize=11, color=INK),
    ]
