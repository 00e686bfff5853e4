"""The figures as PNG files' bytes, drawn without a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import altair as alt
import polars as pl
import vl_convert

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
from grokkit.report.figures.embedding import SIDE
from grokkit.report.figures.parts import drawn_of, specification
from grokkit.report.figures.predictions import SIDE as SQUARE
from grokkit.report.figures.quality import Clock
from grokkit.report.looks import CONFIG
from grokkit.report.schemas import completed

WEIGHTS = {"weight_norm": "weight norm", "weight_entropy": "weight entropy (AWE)"}
GRADIENTS = {
    "gradient_entropy": "gradient entropy (AGE)",
    "filtered_gradient_entropy": "AGE after the method",
    "gradient_angle": "angle between the two",
}
"""The curves of the figure on norms and entropies: column → axis title."""

DIVERGENCES = {
    "median": "KL from uniform, median tensor (nats)",
    "largest": "KL from uniform, largest tensor (nats)",
}
"""The curves of the figure on the learned amplifier: column → axis title."""

KERNEL = "kernel_distance"

_COSTS: dict[Measure, str] = {"seconds": "seconds of training", "flops": "training FLOPs"}

_CURVES = "bold: median over seeds; thin: each seed"


def vega_lite_version() -> str:
    """The version of Vega-Lite that the installed altair writes, as vl_convert names it ("6.4")."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def images(
    study: Mapping[str, Any], runs: pl.DataFrame, curves: pl.DataFrame, tables: Mapping[str, pl.DataFrame]
) -> dict[str, bytes]:
    """File name → PNG, at two pixels a point. Of what not every run has, such as an amplifier, only if one has it."""
    tables = completed(tables)

    def title(what: str, how_to_read: str) -> alt.TitleParams:
        return alt.TitleParams(f"{study['title']}: {what}", subtitle=how_to_read)

    methods, target = list(study["methods"]), target_of(study)
    seeds = seed_curves_data(runs, curves, columns=target_columns(target.measure))
    checks = quick_checks_data(curves, tables["quick_checks"], target.measure)

    def medians(measure: str) -> pl.DataFrame:
        return median_curve_data(runs, curves, measure)

    def learning(split: Literal["train", "test"], words: str) -> alt.LayerChart:
        return learning_chart(
            seeds,
            medians(f"{split}_{target.measure}"),
            methods,
            split,
            target=target,
            checks=checks,
            y_title=words,
            legend=True,
        ).properties(width=400, height=300)

    learned = alt.hconcat(
        learning("test", f"held-out {target.measure}"), learning("train", f"train {target.measure}"), spacing=28
    )

    def norm(measure: str, words: str, width: int) -> alt.LayerChart:
        return curve_chart(seeds, medians(measure), methods, measure, y_title=words, legend=True).properties(
            width=width, height=240
        )

    weights = alt.hconcat(*(norm(*about, width=440) for about in WEIGHTS.items()), spacing=24)
    gradients = alt.hconcat(*(norm(*about, width=274) for about in GRADIENTS.items()), spacing=24)
    charts: dict[str, alt.TopLevelMixin] = {
        "learning-curves.png": learned.properties(title=title("learning curves", f"{_CURVES}; dots: quick checks")),
        "fraction-generalized.png": fraction_chart(fraction_data(runs, methods), methods, legend=True).properties(
            width=620,
            height=320,
            title=title(
                "fraction of runs generalized",
                "Kaplan–Meier; an upright stroke marks runs that ended without reaching the target",
            ),
        ),
        "time-to-target.png": times_chart(times_data(runs, methods), methods).properties(
            width=560,
            height=times_height(methods),
            title=title(
                "steps to the target", "one mark a run, a line joins runs of the same seed, a bar is the median"
            ),
        ),
        "norms-and-entropy.png": alt.vconcat(weights, gradients, spacing=24).properties(
            title=title("norms and entropies", _CURVES)
        ),
    }
    if not tables["amplifier"].is_empty():
        charts["learned-amplifier.png"] = _amplifier(runs, tables, methods).properties(
            title=title(
                "the learned amplifier",
                "above: its value less that at 0, first seed; below: how unequal it makes the weights within a tensor; "
                "bold: median over seeds",
            )
        )
    embeddings = embedding_charts(tables, methods)
    if embeddings:
        charts["embedding.png"] = _embeddings(embeddings).properties(
            title=title("the embedding", "first seed; a number has one colour, its place on the circle")
        )
    if not tables["ntk"].is_empty():
        charts["kernel-change.png"] = curve_chart(
            seed_curves_data(runs, tables["ntk"], columns=("step", KERNEL)),
            median_curve_data(runs, tables["ntk"], KERNEL),
            methods,
            KERNEL,
            y_title="distance from the kernel before",
            legend=True,
        ).properties(width=620, height=300, title=title("change of the tangent kernel between evaluations", _CURVES))
    predictions = predictions_data(tables["predictions"])
    if not predictions.is_empty():
        panels = [
            predictions_chart(predictions, method, methods).properties(width=SQUARE, height=SQUARE, title=method)
            for method in drawn_of(methods, predictions)
        ]
        charts["predictions.png"] = alt.concat(*panels, columns=3, spacing=28).properties(
            title=title("predicted and true", "first seed, up to 500 rows of the test part, after the last step")
        )
    quality = quality_data(runs, tables["attempts"])
    if not quality.is_empty():
        panels = [
            quality_chart(quality, methods, clock, legend=True).properties(width=310, height=260)
            for clock in get_args(Clock)
        ]
        charts["weak-quality.png"] = alt.hconcat(*panels).properties(
            title=title("which weak model?", "one mark a run; an open triangle did not reach the target")
        )
    if has_start(runs):
        charts["cost-to-target.png"] = _costs(runs, methods).properties(
            title=title("cost to the target", "mean over runs; paler: those that never reached it, all that they spent")
        )
    return {name: _png(chart) for name, chart in charts.items()}


def _embeddings(embeddings: Mapping[str, Mapping[str, alt.Chart | alt.LayerChart]]) -> alt.VConcatChart:
    """A row for each method."""
    rows = [
        alt.hconcat(
            *(
                chart.properties(width=420 if kind == "spectrum" else SIDE, height=SIDE)
                for kind, chart in charts.items()
            ),
            spacing=24,
            title=method,
        ).resolve_scale(color="independent")
        for method, charts in embeddings.items()
    ]
    return alt.vconcat(*rows, spacing=28)


def _costs(runs: pl.DataFrame, methods: list[str]) -> alt.HConcatChart:
    panels = []
    for measure, words in _COSTS.items():
        data = cost_data(runs, methods, measure)
        panels.append(cost_chart(data, measure, x_title=words).properties(width=340, height=cost_height(data)))
    return alt.hconcat(*panels, spacing=28)


def _amplifier(runs: pl.DataFrame, tables: Mapping[str, pl.DataFrame], methods: list[str]) -> alt.VConcatChart:
    """The amplifiers' curves above how far their weights are from equal."""
    data, divergences = amplifier_data(tables["amplifier"]), divergence_data(tables["softmax"])
    seeds = seed_curves_data(runs, divergences, columns=("step", *DIVERGENCES))
    with_one = [method for method in methods if method in data["method"]]
    above = [
        amplifier_chart(data, method, y_title="log weight (nats)").properties(
            width=400 if len(with_one) > 1 else 880, height=260, title=method
        )
        for method in with_one
    ]
    below = [
        curve_chart(
            seeds, median_curve_data(runs, divergences, measure), methods, measure, y_title=words, legend=True
        ).properties(width=400, height=240)
        for measure, words in DIVERGENCES.items()
    ]
    rows = alt.concat(*above, columns=2, spacing=28).resolve_scale(color="independent"), alt.hconcat(*below, spacing=28)
    return alt.vconcat(*rows, spacing=28).resolve_scale(color="independent", strokeDash="independent")


def _png(chart: alt.TopLevelMixin) -> bytes:
    spec = specification(chart)
    spec["padding"] = 16
    return vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2, config=CONFIG)
