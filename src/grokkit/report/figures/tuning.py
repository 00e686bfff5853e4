"""What tuning took: the cost to the target, on validation rows, of the best setting after so many trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from grokkit.analyse.format import listed
from grokkit.analyse.search_curve import Trial, best_after, best_over_repeats
from grokkit.analyse.verdict import unequal_search
from grokkit.report.figure import Figure, Panel, Row, View
from grokkit.report.parts import (
    Layers,
    drawn_of,
    layered,
    log_ticks,
    method_color,
    method_dash,
    span,
    tooltips,
    whole_ticks,
)

_COSTS = {"steps": "optimizer steps", "flops": "FLOPs"}


def tuning_data(tuned: Mapping[str, Any], methods: Sequence[str]) -> pl.DataFrame:
    """One row a method and number of trials: ``best`` (the median over orders or repeats, or as searched; null where it
    had not arrived), ``low`` and ``high`` (the middle 80 % of orders or repeats), ``mean``."""
    rows = []
    for method in methods:
        if method not in tuned:
            continue
        searches = _searches(tuned[method])
        repeated = len(searches) > 1
        any_order = tuned[method]["any_order"]
        for found in best_over_repeats(searches) if repeated else best_after(searches[0], any_order=any_order):
            best = {"best": found.median, "low": found.low, "high": found.high, "mean": found.mean}
            rows.append({"method": method, "trials": found.trials, **best})
    numbers = dict.fromkeys(("best", "low", "high", "mean"), pl.Float64())
    return pl.DataFrame(rows, schema={"method": pl.String(), "trials": pl.Int64(), **numbers})


def _searches(tuned: Mapping[str, Any]) -> list[list[Trial]]:
    """The trials of each repeat of a search; a record of before has one, and does not say so."""
    found: dict[int, list[Trial]] = {}
    for cost, arrived, *repeat in tuned["costs"]:
        found.setdefault(repeat[0] if repeat else 0, []).append(Trial(cost, arrived))
    return list(found.values()) or [[]]


def tuning_chart(
    data: pl.DataFrame, methods: Sequence[str], cost: str, *, legend: bool, beside: Sequence[str] = ()
) -> Layers:
    """Falling steps from :func:`tuning_data`, with a band where orders or repeats differ. A picture has one legend for
    all its charts, so it names methods drawn ``beside`` this one as well."""
    shown = _arrived(data)
    low, high = span(pl.concat([shown["best"], shown["low"].drop_nulls(), shown["high"].drop_nulls()]), 0.9, 1.1)
    drawn = {*drawn_of(methods, shown), *beside}
    named = [method for method in methods if method in drawn] if legend else []
    ticks = whole_ticks(int(str(data["trials"].max())))
    x = alt.X("trials", type="quantitative", title="trials", axis=alt.Axis(values=ticks, format="d"))
    scale = alt.Scale(type="log", domain=[low, high], nice=False, clamp=True)
    axis = alt.Axis(values=log_ticks(low, high), format="~s" if cost == "steps" else ".1e")

    def y(name: str) -> alt.Y:
        return alt.Y(name, type="quantitative", title=f"{_COSTS[cost]} to the target", scale=scale, axis=axis)

    band = (
        alt.Chart(shown.filter(pl.col("low").is_not_null()).with_columns(pl.col("high").fill_null(high)))
        .mark_area(interpolate="step-after", opacity=0.12)
        .encode(x, y("low"), alt.Y2("high"), method_color(methods, named))
    )
    line = (
        alt.Chart(shown)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(x, y("best"), method_color(methods, named), method_dash(methods, named))
    )
    marks = (
        alt.Chart(shown)
        .mark_point(size=30, filled=True, opacity=1)
        .encode(
            x, y("best"), method_color(methods, named), tooltip=tooltips(method="", trials="", best=".3s", mean=".3s")
        )
    )
    return layered(band, line, marks)


def _arrived(data: pl.DataFrame) -> pl.DataFrame:
    return data.filter(pl.col("best").is_not_null())


def _data(view: View) -> dict[str, pl.DataFrame] | None:
    """By the cost that methods were searched in, which may be another for those of another search, their numbers."""
    tuned = view.study.get("tuned") or {}
    in_cost: dict[str, list[str]] = {}
    for method in view.methods:
        if method in tuned:
            in_cost.setdefault(tuned[method]["cost"], []).append(method)
    found = {cost: tuning_data(tuned, methods) for cost, methods in in_cost.items()}
    return {cost: data for cost, data in found.items() if not data["best"].is_null().all()} or None


def _over(tuned: Mapping[str, Any]) -> str:
    """What the line of a method is over, and its band."""
    if (repeats := len(_searches(tuned))) > 1:
        return f"the median over {repeats} repeats of the search, and the middle 80 % of them"
    return "the median over all orders, and the middle 80 % of them" if tuned["any_order"] else "as searched"


def _all_over(tuned: Mapping[str, Any], methods: Sequence[str]) -> str:
    """The same of ``methods``, which are named where they differ in it."""
    alike: dict[str, list[str]] = {}
    for method in methods:
        alike.setdefault(_over(tuned[method]), []).append(method)
    if len(alike) == 1:
        return next(iter(alike))
    return "; ".join(f"of {listed(own)} {over}" for over, own in alike.items())


def _draw(found: dict[str, pl.DataFrame], view: View) -> list[Row]:
    tuned, panels = view.study["tuned"], []
    drawn = [method for data in found.values() for method in drawn_of(view.methods, _arrived(data))]
    for cost, data in found.items():
        methods = data["method"].unique(maintain_order=True).to_list()
        chart = tuning_chart(data, view.methods, cost, legend=view.is_image, beside=drawn)
        note = (
            f"Of the best setting so far, on validation rows and tuning seeds: {_all_over(tuned, methods)}. A line "
            "begins where one arrives."
        )
        if not panels and (unequal := unequal_search(tuned, view.methods)):
            note += f" But {unequal}."
        last = _arrived(data).unique("method", keep="last", maintain_order=True)
        best = ", ".join(f"{method} {value:.3g}" for method, value in last.select("method", "best").iter_rows())
        description = f"{_COSTS[cost]} to the target of the best setting after all trials: {best}."
        of_one = len(found) == 1
        what = "Cost" if of_one else f"Of what was searched in {_COSTS[cost]}: cost"
        caption = f"{what} to the target after so many trials"
        panels.append(Panel("tuning" if of_one else f"tuning:{cost}", chart, caption, note, description))
    return [Row([panel], key=tuple(view.methods)) for panel in panels]


TUNING = Figure(
    name="tuning",
    section="What tuning took",
    title="cost to the target after so many trials",
    note="A trial is a setting that is run on the tuning seeds, which are none of a comparison's. A method that is "
    "good early is good; one that is good late was searched for long.",
    reading="of the best setting so far, on validation rows",
    data=_data,
    draw=_draw,
    order=100,
)
