"""What reaching the target costs, in seconds and in FLOPs: what went before the first step, and the training."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from grokkit.analyse.format import NOT_REACHED, number
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import REACHED, Layers, layered, outcomes, tooltips
from grokkit.report.style import BAR, INK, WEAK

PARTS = {"before the first step": WEAK, "training": BAR}
"""Part → colour, pale enough for letters on it."""

_PLACES = {part: place for place, part in enumerate(PARTS)}

_COSTS = {
    "seconds": ("train_seconds", "Seconds", "of training, on one machine", "seconds of training"),
    "flops": ("flops", "FLOPs", "of matrix products, whatever the machine", "training FLOPs"),
}
"""Cost → a run's column of it, caption and note on the page, and the title of the axis in the PNG."""


_SEEN = 0.01
"""Of a run's seconds of training: less is not seen in a bar, such as what reading the norms of some weights takes."""


def has_start(runs: pl.DataFrame) -> bool:
    """Whether a run had a cost before its first step that can be seen beside its training's."""
    if "start_seconds" not in runs.columns:
        return False
    return bool((runs["start_seconds"] > _SEEN * runs["train_seconds"]).any())


def cost_data(runs: pl.DataFrame, methods: Sequence[str], cost: str) -> pl.DataFrame:
    """Mean cost of the runs of each method that reached the target, up to there, and of those that did not, or were
    given up, in all.

    Columns ``method``, ``outcome`` (``reached``, ``not reached`` or ``given up``), ``runs`` (how many), ``part``
    (``before the first step``, or ``training``, the rest) and ``cost``. A start that is null costs 0.
    """
    spent = _COSTS[cost][0]
    reached, start = pl.col("generalized_at").is_not_null(), pl.col(f"start_{cost}").fill_null(0)
    whole = pl.when(reached).then(f"{spent}_to_target").otherwise(spent)
    weak, training = PARTS
    means = (
        runs.with_columns(outcome=outcomes(runs))
        .group_by("method", "outcome")
        .agg(pl.len().alias("runs"), start.mean().alias(weak), (whole - start).mean().alias(training))
    )
    parts = means.unpivot([weak, training], index=means.columns[:3], variable_name="part", value_name="cost")
    rows = {method: row for row, method in enumerate(methods)}
    return parts.sort(
        pl.col("method").replace_strict(rows),
        pl.col("outcome") != REACHED,
        pl.col("outcome") != NOT_REACHED,
        pl.col("part").replace_strict(_PLACES),
    )


def cost_chart(data: pl.DataFrame, cost: str, *, x_title: str | None = None) -> Layers:
    """A bar for each method and outcome of :func:`cost_data`, its parts one behind the other; paler for the runs that
    did not reach the target."""
    missed = pl.format("{} {}", "runs", "outcome")
    both = pl.col("outcome").n_unique().over("method") > 1
    words = pl.when(outcome=REACHED).then("method").when(both).then(missed)
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
        format=",.3~r" if cost == "seconds" else "~e",
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
    pale = alt.condition(f"datum.outcome === '{REACHED}'", alt.value(1), alt.value(0.4))
    tooltip = tooltips(method="", outcome="", runs="", part="", cost=".3~s")
    order = alt.Order("place", type="quantitative")
    bars = alt.Chart(drawn).mark_bar().encode(x, y, color, order, opacity=pale, tooltip=tooltip)
    return layered(bars, *_labels(drawn, cost, x, y))


def _labels(drawn: pl.DataFrame, cost: str, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The bars' lengths in figures: inside the end of a long one, beside which there may be no room."""
    totals = drawn.group_by("row", "method", maintain_order=True).agg(pl.col("cost").sum())
    words = []
    for total in totals["cost"]:
        words.append(f"{number(total)} s" if cost == "seconds" else f"{total:.2e}")
    labelled = totals.with_columns(pl.Series("label", words, dtype=pl.String))
    is_long = pl.col("cost") > 0.5 * pl.col("cost").max()
    text = alt.Text("label", type="nominal")
    inside = alt.Chart(labelled.filter(is_long)).encode(x, y, text=text)
    beside = alt.Chart(labelled.filter(~is_long)).encode(x, y, text=text)
    return [
        inside.mark_text(align="right", dx=-5, fontSize=11, color=INK),
        beside.mark_text(align="left", dx=5, fontSize=11, color=INK),
    ]


def _in_words(data: pl.DataFrame) -> str:
    wholes = data.group_by("method", "outcome", maintain_order=True).agg(pl.col("cost").sum())
    return ", ".join(f"{method} ({outcome}) {cost:.3g}" for method, outcome, cost in wholes.iter_rows())


def _data(view: View) -> dict[str, pl.DataFrame] | None:
    """Cost → numbers; nothing if all runs began with their first step."""
    if not has_start(view.runs):
        return None
    return {cost: cost_data(view.runs, view.methods, cost) for cost in _COSTS}


def _draw(data: dict[str, pl.DataFrame], view: View) -> list[Row]:
    panels = []
    for cost, numbers in data.items():
        _, caption, note, axis = _COSTS[cost]
        chart = cost_chart(numbers, cost, x_title=axis if view.is_image else None)
        # Bars high enough for two lines of letters.
        height = 34 * numbers.select("method", "outcome").n_unique() + 10
        sizes = Sizes(page=(None, height), image=(340, height))
        title = f"{caption} to {view.target.short}"
        panels.append(Panel(f"cost:{cost}", chart, title, note, f"{title}: {_in_words(numbers)}.", sizes=sizes))
    return [Row(panels, columns=2)]


COST_TO_TARGET = Figure(
    name="cost-to-target",
    section="What it costs",
    note="Mean over the runs that reached the target, up to there. Paler: over those that did not, or were given up, "
    "all that they spent. Weak models are what a method trains before its first step, every attempt counted.",
    title="cost to the target",
    reading="mean over runs; paler: those that did not, all that they spent",
    data=_data,
    draw=_draw,
    order=40,
)
