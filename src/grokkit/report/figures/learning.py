"""Learning curves: what the target is a value of, on held-out and on training rows, over training.

Quick checks of a few rows, made between full evaluations, stand behind them as dots. A dot is a single run's, as its
thin line is, and scatters about it: of 128 rows an accuracy is known to four points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import numpy as np
import polars as pl

from grokkit.analyse.target import Measure, Target
from grokkit.report.curves import CLOCKS, HOW_TO_READ, curve_chart, drawable, ends_in_words, median_curve_data
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import Layers, layered, spread
from grokkit.report.style import RULE

_FOUND = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


class _Data(NamedTuple):
    seeds: pl.DataFrame
    medians: dict[tuple[str, str], pl.DataFrame]
    """By part of the data and x axis."""

    checks: pl.DataFrame


def quick_checks_data(curves: pl.DataFrame, checks: pl.DataFrame, measure: Measure, points: int = 60) -> pl.DataFrame:
    """The quick checks of the table ``checks`` that no full evaluation followed at once, at most ``points`` a run.

    Returns ``method``, ``seed``, ``step``, ``train_seconds`` and ``flops``, of which a check knows only the first, so
    that the others lie on the straight line between the evaluations of ``curves`` around it, or at the last of them,
    and what it found in the ``measure`` of the target. Values are rounded to five significant digits and non-finite
    ones become null: this is for drawing.
    """
    found = [f"train_{measure}", f"test_{measure}"]
    keys = checks.select("run_id", "method", "seed", "step", *found)
    parts = [keys.with_columns(train_seconds=pl.lit(0.0), flops=pl.lit(0.0)).clear()]
    evaluated = curves.partition_by("run_id", as_dict=True)
    for (run_id,), own in keys.partition_by("run_id", as_dict=True, maintain_order=True).items():
        curve = evaluated[(run_id,)].sort("step")
        between = own.filter(~pl.col("step").is_in(curve["step"].implode()))
        if between.is_empty():
            continue
        kept = between[spread(between["step"].to_numpy(), points)]
        for cost in ("train_seconds", "flops"):
            spent = np.asarray(np.interp(kept["step"], curve["step"], curve[cost]))
            kept = kept.with_columns(pl.Series(cost, spent))
        parts.append(kept)
    rounded = [drawable(column) for column in ("train_seconds", "flops", *found)]
    return pl.concat(parts).drop("run_id").with_columns(rounded)


def learning_chart(
    seeds: pl.DataFrame,
    medians: pl.DataFrame,
    methods: Sequence[str],
    column: str,
    x: str = "step",
    *,
    target: Target,
    checks: pl.DataFrame | None = None,
    title: str | None = None,
) -> Layers:
    """The curves of ``column``, such as ``test_accuracy``, with a fine rule at the target.

    ``checks``: what quick checks found, from :func:`quick_checks_data`.
    """
    lines = curve_chart(seeds, medians, methods, column, x, title=title, include=[target.value], dots=checks)
    at = alt.Chart(pl.DataFrame({"target": [target.value]}))
    rule = at.mark_rule(stroke=RULE, strokeWidth=1, strokeDash=[2, 2])
    return layered(rule.encode(alt.Y("target", type="quantitative", title=title)), lines)


def _data(view: View) -> _Data:
    measure = view.target.measure
    clocks = ["step"] if view.is_image else list(CLOCKS)
    medians = {}
    for part in ("test", "train"):
        for clock in clocks:
            medians[part, clock] = median_curve_data(view.runs, view.curves, f"{part}_{measure}", clock)
    checks = quick_checks_data(
        view.of_lines(view.curves), view.of_lines(view.tables["quick_checks"]), measure, view.points // 2
    )
    return _Data(view.seed_curves, medians, checks)


def _draw(data: _Data, view: View) -> list[Row]:
    measure = view.target.measure
    panels = []
    for part, words in (("test", "held-out"), ("train", "train")):
        title = f"{words} {measure}" if view.is_image else None
        charts = {}
        for (of, clock), medians in data.medians.items():
            if of == part:
                charts[clock] = learning_chart(
                    data.seeds,
                    medians,
                    view.methods,
                    f"{part}_{measure}",
                    clock,
                    target=view.target,
                    checks=data.checks,
                    title=title,
                )
        caption, medians = f"{words.capitalize()} {measure}", data.medians[part, "step"]
        description = ends_in_words(caption, medians, view.methods, f"{part}_{measure}")
        panels.append(Panel(part, charts, caption, description=description))
    return [Row(panels, columns=2, key=tuple(view.methods))]


LEARNING_CURVES = Figure(
    name="learning-curves",
    section="Learning curves",
    note="Bold: median over seeds. Thin: each seed, of very many the first. Dots: quick checks of a few rows, which "
    "scatter. A run that stopped after generalizing keeps its last value in the median. The fine line is the target.",
    title="learning curves",
    reading=f"{HOW_TO_READ}; dots: quick checks",
    columns={"quick_checks": {"step": int} | dict.fromkeys(_FOUND, float)},
    of_lines=("quick_checks",),
    data=_data,
    draw=_draw,
    sizes=Sizes(page=(None, 280), image=(400, 300)),
    order=10,
)
