"""The figures: for each, a function that returns its numbers as a frame, and one that draws them."""

from grokkit.report.figures.amplifier import amplifier_chart, amplifier_data, divergence_data
from grokkit.report.figures.cost import cost_chart, cost_data, cost_height, has_start
from grokkit.report.figures.curves import (
    curve_chart,
    learning_chart,
    median_curve_data,
    seed_curves_data,
    target_columns,
)
from grokkit.report.figures.embedding import (
    circle_chart,
    circle_data,
    embedding_charts,
    pca_chart,
    pca_data,
    spectrum_chart,
    spectrum_data,
)
from grokkit.report.figures.fraction import fraction_chart, fraction_data
from grokkit.report.figures.predictions import predictions_chart, predictions_data
from grokkit.report.figures.quality import quality_chart, quality_data
from grokkit.report.figures.quick_checks import quick_checks_data
from grokkit.report.figures.times import times_chart, times_data, times_height

__all__ = [
    "amplifier_chart",
    "amplifier_data",
    "circle_chart",
    "circle_data",
    "cost_chart",
    "cost_data",
    "cost_height",
    "curve_chart",
    "divergence_data",
    "embedding_charts",
    "fraction_chart",
    "fraction_data",
    "has_start",
    "learning_chart",
    "median_curve_data",
    "pca_chart",
    "pca_data",
    "predictions_chart",
    "predictions_data",
    "quality_chart",
    "quality_data",
    "quick_checks_data",
    "seed_curves_data",
    "spectrum_chart",
    "spectrum_data",
    "target_columns",
    "times_chart",
    "times_data",
    "times_height",
]
