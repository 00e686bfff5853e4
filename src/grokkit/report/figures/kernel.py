"""How far the empirical neural tangent kernel turns between evaluations."""

from __future__ import annotations

import polars as pl

from grokkit.report.curves import HOW_TO_READ, curve_chart, ends_in_words, median_curve_data, seed_curves_data
from grokkit.report.figure import Figure, Panel, Row, Sizes, View

_COLUMN = "kernel_distance"


def _data(view: View) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Every run, and the medians over seeds."""
    table = view.tables["ntk"]
    if table.is_empty():
        return None
    seeds = seed_curves_data(view.lines, view.of_lines(table), ("step", _COLUMN), view.points)
    return seeds, median_curve_data(view.runs, table, _COLUMN)


def _draw(data: tuple[pl.DataFrame, pl.DataFrame], view: View) -> list[Row]:
    title = "distance from the kernel before" if view.is_image else None
    chart = curve_chart(*data, view.methods, _COLUMN, title=title)
    caption = "Change of the kernel"
    description = ends_in_words(caption, data[1], view.methods, _COLUMN)
    panel = Panel("kernel", chart, caption, "since the evaluation before", description)
    return [Row([panel], key=tuple(view.tables["ntk"]["method"].unique()))]


KERNEL_CHANGE = Figure(
    name="kernel-change",
    section="The tangent kernel",
    note="1 − cosine of the angle between the empirical neural tangent kernel, of the summed outputs, and that of the "
    "evaluation before. 0: features stand still. The more steps between two evaluations, the larger. Bold: median over "
    "seeds, a run that stopped keeping its last value. Thin: each seed, of very many the first.",
    title="change of the tangent kernel between evaluations",
    reading=HOW_TO_READ,
    columns={"ntk": {"step": int, _COLUMN: float}},
    data=_data,
    draw=_draw,
    sizes=Sizes(page=(None, 240), image=(620, 300)),
    order=90,
)
