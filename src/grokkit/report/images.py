"""The figures as PNG files' bytes, drawn without a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import altair as alt
import polars as pl
import vl_convert

from grokkit.report.figures import (
    curve_chart,
    fraction_chart,
    fraction_data,
    learning_chart,
    median_curve_data,
    seed_curves_data,
    times_chart,
    times_data,
    times_height,
)
from grokkit.report.figures.parts import specification
from grokkit.report.looks import CONFIG

NORMS = {
    "weight_norm": "weight norm",
    "weight_entropy": "weight entropy (AWE)",
    "gradient_entropy": "gradient entropy (AGE)",
}
"""The curves of the figure on norms and entropies: column → axis title."""

_CURVES = "bold: median over seeds; thin: each seed"


def vega_lite_version() -> str:
    """The version of Vega-Lite that the installed altair writes, as vl_convert names it ("6.4")."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def images(study: Mapping[str, Any], runs: pl.DataFrame, curves: pl.DataFrame) -> dict[str, bytes]:
    """File name → PNG, at two pixels a point."""

    def title(what: str, how_to_read: str) -> alt.TitleParams:
        return alt.TitleParams(f"{study['title']}: {what}", subtitle=how_to_read)

    methods, target = list(study["methods"]), study["target"]
    seeds = seed_curves_data(runs, curves)

    def medians(measure: str) -> pl.DataFrame:
        return median_curve_data(runs, curves, measure)

    def learning(split: Literal["train", "test"], words: str) -> alt.LayerChart:
        return learning_chart(
            seeds, medians(f"{split}_accuracy"), methods, split, target=target, y_title=words, legend=True
        ).properties(width=400, height=300)

    learned = alt.hconcat(learning("test", "held-out accuracy"), learning("train", "train accuracy"), spacing=28)
    norms = [
        curve_chart(seeds, medians(measure), methods, measure, y_title=words, legend=True).properties(
            width=280, height=240
        )
        for measure, words in NORMS.items()
    ]
    charts: dict[str, alt.TopLevelMixin] = {
        "learning-curves.png": learned.properties(title=title("learning curves", _CURVES)),
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
        "norms-and-entropy.png": alt.hconcat(*norms, spacing=24).properties(
            title=title("norms and entropies", _CURVES)
        ),
    }
    return {name: _png(chart) for name, chart in charts.items()}


def _png(chart: alt.TopLevelMixin) -> bytes:
    spec = specification(chart)
    spec["padding"] = 16
    return vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2, config=CONFIG)
