"""The fraction of runs that has generalized, over steps: Kaplan–Meier with a mark where runs ran out of budget."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from grokkit.analyse import fraction_reached, given_up, times_to_target
from grokkit.analyse.format import percent
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import Layers, drawn_of, layered, log_x, method_color, method_dash, span, tooltips


def fraction_data(runs: pl.DataFrame, methods: Sequence[str]) -> pl.DataFrame:
    """The Kaplan–Meier fraction 1 − S after each distinct time, for each method.

    Columns ``method``, ``steps``, ``fraction`` and ``censored``, the number of runs whose observation ends
    there without success. Each method starts with a row at step 0 and fraction 0.
    """
    rows: list[dict[str, object]] = []
    for method in methods:
        own = runs.filter(pl.col("method") == method)
        times = times_to_target(own)
        if not times.time.size or given_up(own):
            continue
        rows.append({"method": method, "steps": 0.0, "fraction": 0.0, "censored": 0})
        for step, fraction in zip(*fraction_reached(times), strict=True):
            censored = int(((times.time == step) & ~times.reached).sum())
            rows.append({"method": method, "steps": float(step), "fraction": float(fraction), "censored": censored})
    schema = {"method": pl.String, "steps": pl.Float64, "fraction": pl.Float64, "censored": pl.Int64}
    return pl.DataFrame(rows, schema=schema)


def fraction_chart(data: pl.DataFrame, methods: Sequence[str], *, legend: bool = False) -> Layers:
    """Rising steps from :func:`fraction_data`; an upright stroke marks censored runs."""
    later = data.filter(pl.col("steps") > 0)["steps"]
    low, high = span(later, 0.7, 1.05)
    # Step 0 has no place on a logarithmic axis: the first, flat part starts at its left edge.
    drawn = data.with_columns(pl.col("steps").clip(lower_bound=low))
    # Once all runs have generalized the fraction stays 1: led to the right edge, so that no line just stops.
    done = (
        drawn.filter(pl.col("fraction") > 1 - 1e-9)
        .unique("method", maintain_order=True)
        .with_columns(pl.lit(high).alias("steps"))
    )
    drawn = pl.concat([drawn, done])
    named = drawn_of(methods, data) if legend else []
    color = method_color(methods, named)
    x = log_x("steps", "optimizer steps", low, high)
    y = alt.Y(
        "fraction",
        type="quantitative",
        title=None,
        scale=alt.Scale(domain=[0, 1.03], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    said = tooltips(method="", steps=",", fraction=".1%")
    lines = (
        alt.Chart(drawn)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(x, y, color, method_dash(methods, named), tooltip=said)
    )
    marks = (
        alt.Chart(drawn.filter(pl.col("censored") > 0))
        .mark_point(shape="stroke", angle=90, size=160, strokeWidth=2.5, opacity=1)
        .encode(x, y, color, tooltip=[*said, *tooltips(censored=",")])
    )
    return layered(lines, marks)


def _ends(data: pl.DataFrame, methods: Sequence[str]) -> str:
    most = [(method, data.filter(pl.col("method") == method)["fraction"].max()) for method in drawn_of(methods, data)]
    return ", ".join(f"{method} {percent(float(str(fraction)))}" for method, fraction in most)


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    panel = Panel(
        "fraction",
        fraction_chart(data, view.methods, legend=view.is_image),
        "Fraction of runs generalized",
        f"Kaplan–Meier. An upright stroke: runs that ended without reaching {view.target.short}.",
        f"Fraction of runs generalized by the end: {_ends(data, view.methods)}.",
    )
    return [Row([panel], columns=2, key=tuple(view.methods))]


FRACTION_GENERALIZED = Figure(
    name="fraction-generalized",
    section="When runs generalize",
    title="fraction of runs generalized",
    reading="Kaplan–Meier; an upright stroke marks runs that ended without reaching the target",
    data=lambda view: fraction_data(view.runs, view.methods),
    draw=_draw,
    sizes=Sizes(page=(None, 280), image=(620, 320)),
    order=20,
)
