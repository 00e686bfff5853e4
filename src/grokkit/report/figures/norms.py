"""Weights and gradients over training: norm, entropies, and what a method does to the gradient."""

from __future__ import annotations

import polars as pl

from grokkit.report.curves import HOW_TO_READ, NORMS, curve_chart, ends_in_words, median_curve_data
from grokkit.report.figure import Figure, Panel, Row, Sizes, View

_WORDS = {
    "weight_norm": ("Weight norm", "ℓ₂ norm over all weights", "weight norm"),
    "weight_entropy": ("Weight entropy", "AWE, −Σ|w| ln|w|", "weight entropy (AWE)"),
    "gradient_entropy": ("Gradient entropy", "AGE of the raw gradient, −Σ|g| ln|g|", "gradient entropy (AGE)"),
    "filtered_gradient_entropy": (
        *("Entropy after the method", "AGE of the gradient that the optimizer steps on", "AGE after the method"),
    ),
    "gradient_angle": (
        *("Angle between the two", "over the whole model; 0° without a method", "angle between the two"),
    ),
}
"""Measure → caption and note on the page, and the title of the axis in the PNG."""


def _data(view: View) -> dict[str, pl.DataFrame]:
    """Measure → medians over seeds."""
    return {measure: median_curve_data(view.runs, view.curves, measure) for measure in NORMS}


def _draw(data: dict[str, pl.DataFrame], view: View) -> list[Row]:
    weights, gradients = [], []
    for measure, medians in data.items():
        caption, note, axis = _WORDS[measure]
        title = axis if view.is_image else None
        chart = curve_chart(view.seed_curves, medians, view.methods, measure, title=title)
        row, width = (weights, 440) if measure.startswith("weight") else (gradients, 274)
        description = ends_in_words(caption, medians, view.methods, measure)
        row.append(Panel(measure, chart, caption, note, description, sizes=Sizes(page=(None, 220), image=(width, 240))))
    key = tuple(view.methods)
    return [Row(weights, columns=2, key=key), Row(gradients, columns=3, key=key)]


NORMS_AND_ENTROPY = Figure(
    name="norms-and-entropy",
    section="Weights and gradients",
    note="Against steps. Bold: median over seeds. Thin: each seed, of very many the first.",
    title="norms and entropies",
    reading=HOW_TO_READ,
    data=_data,
    draw=_draw,
    order=60,
)
