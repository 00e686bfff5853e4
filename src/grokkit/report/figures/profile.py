"""Performance profiles of a suite: on how many tasks each method is within a factor of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from grokkit.analyse.format import COST_WORDS
from grokkit.report.figure import Figure, Panel, Row, View
from grokkit.report.parts import drawn_of, log_ticks, method_color, method_dash, tooltips

_WIDEST = 100.0
"""Beyond this factor nobody asks; what comes later is left out."""


def profile_data(profiles: Mapping[str, Sequence[Sequence[float]]], until: float | None) -> pl.DataFrame:
    """One row a step of a method's profile: ``method``, ``tau``, ``share``; the last one at the right end."""
    largest = max((tau for steps in profiles.values() for tau, _ in steps), default=1.0)
    end = min(max(1.05 * largest, 2.0), until or _WIDEST, _WIDEST)
    rows = []
    for method, steps in profiles.items():
        shown = [(tau, share) for tau, share in steps if tau <= end]
        rows += [{"method": method, "tau": tau, "share": share} for tau, share in [*shown, (end, shown[-1][1])]]
    return pl.DataFrame(rows, schema={"method": pl.String(), "tau": pl.Float64(), "share": pl.Float64()})


def profile_chart(data: pl.DataFrame, methods: Sequence[str], unit: str, *, legend: bool) -> alt.Chart:
    """Rising steps from :func:`profile_data`."""
    end: Any = data["tau"].max()
    named = drawn_of(methods, data) if legend else []
    scale = alt.Scale(type="log", domain=[1.0, end], nice=False)
    x = alt.X(
        "tau",
        type="quantitative",
        title=f"factor of the best method's {unit}",
        scale=scale,
        axis=alt.Axis(values=log_ticks(1.0, end), format="~g"),
    )
    y = alt.Y(
        "share",
        type="quantitative",
        title="share of the tasks",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%"),
    )
    return (
        alt.Chart(data)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(
            x,
            y,
            method_color(methods, named),
            method_dash(methods, named),
            tooltip=tooltips(method="", tau=".2f", share=".0%"),
        )
    )


def _data(view: View) -> pl.DataFrame | None:
    found = view.study.get("profiles")
    return profile_data(found, view.study.get("profiles_until")) if found else None


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    chart = profile_chart(data, view.methods, COST_WORDS[view.study["claim"]], legend=view.is_image)
    until = view.study.get("profiles_until")
    end = " Drawn as far as no run was given up." if until else ""
    note = f"Left: how often a method is the best. Right: how often it arrives at all, within its budget.{end}"
    return [Row([Panel("profile", chart, "Share of tasks within a factor of the best", note)], key=tuple(view.methods))]


PROFILE = Figure(
    name="profile",
    section="How near the best, on how many tasks",
    title="share of tasks within a factor of the best",
    note="In each seed of each task the costs of all methods are divided by the least of them. Tasks count alike, "
    "however many seeds they have. A run that did not arrive is never within any factor.",
    reading="a run that did not arrive is never within any factor",
    data=_data,
    draw=_draw,
    order=130,
)
