"""The charts of the page as Vega-Lite, ready to be embedded: each fits its container, data sets are shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import altair as alt
import polars as pl

from grokkit.analyse.target import target_of
from grokkit.report.figures import (
    amplifier_chart,
    amplifier_data,
    cost_chart,
    cost_data,
    cost_height,
    curve_chart,
    divergence_data,
    embedding_charts,
    fraction_chart,
    fraction_data,
    has_start,
    learning_chart,
    median_curve_data,
    predictions_chart,
    predictions_data,
    quality_chart,
    quality_data,
    quick_checks_data,
    seed_curves_data,
    target_columns,
    times_chart,
    times_data,
    times_height,
)
from grokkit.report.figures.cost import Measure
from grokkit.report.figures.curves import CLOCKS
from grokkit.report.figures.embedding import SIDE
from grokkit.report.figures.parts import drawn_of, specification
from grokkit.report.figures.predictions import SIDE as SQUARE
from grokkit.report.figures.quality import Clock
from grokkit.report.images import DIVERGENCES, GRADIENTS, KERNEL, WEIGHTS
from grokkit.report.looks import CONFIG

SEED_POINTS = 6_000
"""Points of thin lines in a page, over all runs: at some 200 bytes each they stay near a megabyte."""


def page_charts(
    study: Mapping[str, Any], runs: pl.DataFrame, curves: pl.DataFrame, tables: Mapping[str, pl.DataFrame]
) -> dict[str, Any]:
    """``charts`` (name → spec and the data sets it uses), ``datasets`` and ``config``, as the page's script reads them.

    The learning curves exist once for each x axis, named ``step:train``, ``train_seconds:test`` and so on; each
    method's amplifier is ``amplifier:<method>``, its embedding ``spectrum:<method>``, ``circle:`` and ``pca:``, what it
    predicts ``predictions:<method>``. What needs a table is there if that has a row, ``cost:seconds`` and
    ``cost:flops`` if a run has a start, ``quality:steps`` and ``quality:seconds`` if weak models differ enough.
    """
    methods, target = list(study["methods"]), target_of(study)
    points = max(30, min(120, SEED_POINTS // max(runs.height, 1)))
    seeds = seed_curves_data(runs, curves, points, target_columns(target.measure))
    checks = quick_checks_data(curves, tables["quick_checks"], target.measure, points // 2)
    drawn: dict[str, alt.Chart | alt.LayerChart] = {
        f"{clock}:{split}": learning_chart(
            seeds,
            median_curve_data(runs, curves, f"{split}_{target.measure}", clock),
            methods,
            split,
            clock,
            target=target,
            checks=checks,
        ).properties(width="container", height=280)
        for clock in CLOCKS
        for split in ("train", "test")
    }
    drawn["fraction"] = fraction_chart(fraction_data(runs, methods), methods).properties(width="container", height=280)
    drawn["times"] = times_chart(times_data(runs, methods), methods).properties(
        width="container", height=times_height(methods)
    )
    for measure in (*WEIGHTS, *GRADIENTS):
        drawn[measure] = curve_chart(seeds, median_curve_data(runs, curves, measure), methods, measure).properties(
            width="container", height=220
        )
    if not tables["amplifier"].is_empty():
        drawn |= _amplifier_charts(runs, tables, methods, points)
    if not tables["ntk"].is_empty():
        seeds = seed_curves_data(runs, tables["ntk"], points, columns=("step", KERNEL))
        medians = median_curve_data(runs, tables["ntk"], KERNEL)
        drawn["kernel"] = curve_chart(seeds, medians, methods, KERNEL).properties(width="container", height=240)
    for method, of_method in embedding_charts(tables, methods).items():
        for kind, chart in of_method.items():
            flat = kind == "spectrum"
            size = {"width": "container", "height": SIDE} if flat else {"width": SIDE, "height": SIDE}
            drawn[f"{kind}:{method}"] = chart.properties(**size)
    predictions = predictions_data(tables["predictions"])
    for method in drawn_of(methods, predictions):
        drawn[f"predictions:{method}"] = predictions_chart(predictions, method, methods).properties(
            width=SQUARE, height=SQUARE
        )
    if has_start(runs):
        for measure in get_args(Measure):
            data = cost_data(runs, methods, measure)
            drawn[f"cost:{measure}"] = cost_chart(data, measure).properties(width="container", height=cost_height(data))
    quality = quality_data(runs, tables["attempts"])
    if not quality.is_empty():
        for clock in get_args(Clock):
            drawn[f"quality:{clock}"] = quality_chart(quality, methods, clock).properties(width="container", height=260)

    charts: dict[str, Any] = {}
    datasets: dict[str, Any] = {}
    for name, chart in drawn.items():
        spec = specification(chart)
        own = spec.pop("datasets", {})
        if spec["width"] == "container":
            spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        charts[name] = {"spec": spec, "uses": list(own)}
        datasets |= own  # altair names a data set by its content, so equal ones meet here
    return {"charts": charts, "datasets": datasets, "config": CONFIG}


def _amplifier_charts(
    runs: pl.DataFrame, tables: Mapping[str, pl.DataFrame], methods: list[str], points: int
) -> dict[str, alt.Chart | alt.LayerChart]:
    data, divergences = amplifier_data(tables["amplifier"]), divergence_data(tables["softmax"])
    seeds = seed_curves_data(runs, divergences, points, columns=("step", *DIVERGENCES))
    charts: dict[str, alt.Chart | alt.LayerChart] = {
        f"amplifier:{method}": amplifier_chart(data, method).properties(width="container", height=260)
        for method in methods
        if method in data["method"]
    }
    for measure in DIVERGENCES:
        medians = median_curve_data(runs, divergences, measure)
        charts[f"divergence:{measure}"] = curve_chart(seeds, medians, methods, measure).properties(
            width="container", height=220
        )
    return charts
